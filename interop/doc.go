// Package interop tests the embedded hub with the official Azure SDK clients, unmodified: Go, JavaScript, Python
// (blocking and asyncio) and Java. It holds tests only.
//
// # Running
//
// scripts/setup-interop.sh installs the clients of the other languages; without it their cases are skipped and say so.
// HUBFERRY_INTEROP=1 turns every such skip into a failure, which is how make test runs. HUBFERRY_INTEROP_LONG=1 lengthens
// the load cases from seconds to the full minute. The flag -update rewrites RESULTS.md from what the run has shown.
//
// # Blobs
//
// scripts/setup-azurite.sh fetches Azurite, which is sent the same requests as the hub's storage account: TestBlobAnswers
// compares what comes back. TestCheckpointSample runs the sample of the asyncio checkpoint store against our binary, and
// TestMixedFleet that sample, unchanged, beside two processes of ours and processors in JavaScript and Java on one group;
// HUBFERRY_LONG=1 makes seconds of it into minutes.
//
// # The clients
//
// Each language has one small program under clients that serves requests: one JSON object a line on stdin, one JSON
// object a line on stdout, answers in any order, matched by id. All take the same requests, so that one table of cases
// drives all; the Go client answers them in process. A program ends when its stdin does.
//
//	{"id":1,"op":"send","conn":{…},"partition":"0","events":[…]}
//	{"id":1,"sent":3}
//	{"id":1,"error":{"class":"AmqpException","condition":"amqp:not-found","text":"…","retryable":false}}
//
// Every request but hello, read and close names its connection: string (a connection string), hub, transport
// ("websocket" or absent), endpoint (host:port to dial instead of the one in the string), ca (file of the certificate to trust; programs that can only trust a certificate for the whole
// process read HUBFERRY_INTEROP_CA), retries. Operations and their fields:
//
//	hello       -> sdk, version
//	send        partition or key or neither; events; direct: past the batch API, where the SDK allows it; or batches, a list
//	            of such, sent one after the other with one producer -> sent
//	buffered    events, each with its own partition, key or neither, through the buffered producer -> sent, failed
//	open        group, partition, from {kind: earliest|latest|offset|sequence|time, value, inclusive}, epoch, metrics -> reader
//	read        reader, count, waitMs -> events (up to count) and the error that ended the reading, if any
//	close       reader
//	process     group, count, waitMs: the event processor over all partitions -> events, checkpoints
//	properties  -> hubInfo {name, createdMs, partitions}
//	partition   partition -> partitionInfo {hub, id, begin, last, lastOffset, lastTimeMs, empty}
//	store       blob (a connection string), container, namespace, hub, group, action: one call of the SDK's Blob
//	            checkpoint store: claim (records) -> ownership, owners -> ownership, save (at), saved -> saved
//	load        rate, seconds, size, waitMs: paced sends by key with readers on all partitions -> sent, sentMs,
//	            received, lost, doubled, disordered, errors
//
// An event has body (base64) or data (several sections) or amqpValue or amqpSequence; properties, message (the
// properties section, by the specification's names), annotations and footer as lists of [name, value]; a received one
// also has partition, seq, offset, enqueuedMs, key and, if asked for, metrics. What a client cannot do it answers with an
// error of class NotOffered.
//
// A value is {"t": type, "v": …} with the AMQP type's name: boolean as true or false, integers, timestamps (ms) and chars
// (code point) as decimal text, floats and decimals as the hexadecimal digits of their bits, binary as base64, uuid, string
// and symbol as text, list as a list of values, map as a list of pairs. A received value shows what the SDK shows: where
// an SDK merges types, the program says so with the merged name, and the test's view of that SDK knows it.
package interop
