package drivertest

// Cases returns the suite, in the order in which it runs.
func Cases() []Case {
	both := need(source, target)
	logs := []Shape{Log, Queue}
	writers := []Shape{Log, Queue, Table}
	return []Case{
		// Fidelity: what arrives is what was sent (INV-5).
		{Name: "read/bodies", shapes: logs, missing: source, run: readSamples(bodySamples)},
		{Name: "read/keys", shapes: logs, missing: need(source, keys), run: readSamples(keySamples)},
		{Name: "read/empty key", shapes: logs, missing: need(source, keys), run: readSamples(emptyKey)},
		{Name: "read/property types", shapes: logs, missing: source, run: readSamples(typeSamples)},
		{Name: "read/repeated names", shapes: logs, missing: need(source, repeated), run: readSamples(repeatedNames)},
		{Name: "read/fields", shapes: logs, missing: source, run: readSamples(fieldSamples)},
		{Name: "read/null body", shapes: logs, missing: need(source, nullBody), run: readSamples(nullBodies)},
		{Name: "read/AMQP bodies", shapes: logs, missing: need(source, amqpBodies), run: readSamples(amqpSamples)},
		{Name: "write/bodies", shapes: writers, missing: target, run: writeSamples(bodySamples)},
		{Name: "write/keys", shapes: writers, missing: need(target, keys), run: writeSamples(keySamples)},
		{Name: "write/empty key", shapes: writers, missing: need(target, keys), run: writeSamples(emptyKey)},
		{Name: "write/property types", shapes: writers, missing: target, run: writeSamples(typeSamples)},
		{Name: "write/repeated names", shapes: writers, missing: need(target, repeated), run: writeSamples(repeatedNames)},
		{Name: "write/fields", shapes: writers, missing: target, run: writeSamples(fieldSamples)},
		{Name: "write/null body", shapes: writers, missing: need(target, nullBody), run: writeSamples(nullBodies)},
		{Name: "write/AMQP bodies", shapes: writers, missing: need(target, amqpBodies), run: writeSamples(amqpSamples)},
		{Name: "write/encoded events", shapes: writers, missing: target, run: writeForms},
		{Name: "write/undecodable event", missing: target, run: writeUndecodable},
		{Name: "write/provenance", missing: target, run: writeProvenance},
		{Name: "write/provenance of earlier hops", missing: target, run: writeHops},
		{Name: "round trip", missing: both, run: roundTrip},

		// Places and positions.
		{Name: "partitions", missing: source, run: partitionInfos},
		{Name: "places agree", missing: both, run: placesAgree},
		{Name: "partition of a key", missing: need(target, partitions, keys, sends), run: keyPartitions},
		{Name: "resolve", missing: source, run: resolve},
		{Name: "resolve/empty partition", missing: source, run: resolveEmpty},
		{Name: "resume", missing: source, run: resume},
		{Name: "resume/beyond the end", missing: source, run: beyondTheEnd},
		{Name: "resume/expired", missing: need(source, trims), run: expired},
		{Name: "recreated", missing: need(source, recreates), run: recreated},

		// Reading.
		{Name: "read/order", missing: source, run: readOrder},
		{Name: "read/limits", missing: source, run: readLimits},
		{Name: "read/what is there", missing: source, run: readWhatIsThere},
		{Name: "read/what is no event", missing: need(source, holes), run: readHoles},
		{Name: "read/waits", missing: source, run: readWaits},
		{Name: "read/cancel", shapes: logs, missing: source, run: readCancel},
		{Name: "read/close ends it", shapes: logs, missing: source, run: readClose},
		{Name: "read/two readers", missing: source, run: twoReaders},
		{Name: "read/stolen", missing: need(source, epochs), run: stolen},
		{Name: "read/cut", missing: need(source, cuts), run: readCut},

		// Writing.
		{Name: "write/order", missing: target, run: writeOrder},
		{Name: "write/chosen partition", missing: need(target, partitions), run: chosenPartition},
		{Name: "write/nothing", shapes: writers, missing: target, run: writeNothing},
		{Name: "write/leaves events alone", shapes: writers, missing: target, run: leavesEventsAlone},
		{Name: "write/more than a batch", missing: target, run: bigRun},
		{Name: "write/partitions at once", missing: need(target, partitions), run: concurrentPartitions},
		{Name: "write/too large in the middle", shapes: writers, missing: need(target, limited), run: tooLarge},
		{Name: "write/size limit", missing: need(target, limited), run: sizeLimit},
		{Name: "write/cancelled", shapes: writers, missing: target, run: writeCancelled},
		{Name: "write/stalled", shapes: writers, missing: need(target, stalls), run: writeStalled},
		{Name: "write/cut", missing: need(target, cuts), run: writeCut},
		{Name: "write/submit", missing: target, run: submit},
		{Name: "write/submit and cut", missing: need(target, cuts), run: submitCut},
		{Name: "tail", missing: target, run: tail},

		// Queues and tables.
		{Name: "settle", shapes: []Shape{Queue}, missing: source, run: settle},
		{Name: "settle/close settles nothing", shapes: []Shape{Queue}, missing: source, run: closeSettlesNothing},
		{Name: "commit", shapes: []Shape{Log, Table}, missing: target, run: commit},
		{Name: "commit/all or nothing", shapes: []Shape{Log, Table}, missing: need(target, limited), run: commitAll},

		// Life and errors.
		{Name: "unknown hub", shapes: writers, run: unknownHub},
		{Name: "bad credential", shapes: writers, missing: refuses, run: badCredential},
		{Name: "use after close", shapes: writers, run: useAfterClose},
		{Name: "close twice", shapes: writers, run: closeTwice},
		{Name: "options", shapes: writers, run: options},
	}
}
