package simulation

// rule is one that can be put out of force. No switch of the product does that: a world's
// services lie to it, or it is given other settings than the judge knows of.
type rule string

const (
	identity  rule = "identity"
	mapping   rule = "mapping"
	order     rule = "order"
	window    rule = "window"
	watermark rule = "watermark"
	clean     rule = "clean"
	tail      rule = "tail"
	lease     rule = "lease"
	late      rule = "late"
)

// rules are those that a world can be without.
var rules = []struct {
	rule
	number, text, how string
}{
	{identity, "G-3", "what was written names the task that wrote it", "every task takes the others' events for its own"},
	{mapping, "G-4", "a key has one target partition", "each instance maps keys in its own way"},
	{order, "G-5", "what is at the target is a prefix of what was sent", "the last event of a run may be stored before the others"},
	{window, "G-6", "a window of events at most lies behind the checkpoint", "the window has no end, and checkpoints are saved by the hour"},
	{watermark, "G-7", "a watermark was read before anything behind it was sent", "the ends that the target names are too high"},
	{clean, "G-7", "a checkpoint is clean only if nothing was sent after it", "every checkpoint says that it is"},
	{tail, "G-8", "the target is read to its end before anything is sent", "the search begins at the end"},
	{lease, "G-9", "who is not sure of his claim does not write", "instances do not hear that a claim is lost"},
	{late, "G-9", "what is under way arrives in time, or is waited for", "the target stores later than it says"},
}

// fault is a kind of thing that goes wrong.
type fault string

const (
	joined         fault = "instance: started"
	stopped        fault = "instance: stopped in good order"
	killed         fault = "instance: killed"
	diedWriting    fault = "instance: died in a write"
	frozen         fault = "instance: frozen, up to beyond its lease"
	storeAway      fault = "instance: cut off from the store, up to beyond its lease"
	changed        fault = "instance: started with another configuration"
	storeRefused   fault = "store: call refused"
	storeLost      fault = "store: done, answer lost"
	storeSlow      fault = "store: slow"
	storeSlowReply fault = "store: done, answer slow"
	storeLinger    fault = "store: done after the caller has given up"
	storePart      fault = "store: some of several claims done"
	clockSet       fault = "store: clock set"
	sourceCut      fault = "source: connections cut"
	sourceStolen   fault = "source: reader pushed out by a higher epoch"
	sourceGrown    fault = "source: partition added"
	targetGrown    fault = "target: partition added"
	targetCut      fault = "target: connections cut"
	writeThrottled fault = "write: throttled"
	writeLost      fault = "write: stored, answer lost"
	writeVanished  fault = "write: not stored, answer lost"
	writeHalf      fault = "write: half stored, and said so"
	writeHalfLost  fault = "write: half confirmed, the rest stored, answer lost"
	writeLate      fault = "write: stored late, answer lost"
	writeSlow      fault = "write: slow"
	writeMissed    fault = "write: deadline missed while frozen, not sent"
	readRefused    fault = "target read: refused"
	readBroken     fault = "target read: broken in the middle"
	foreign        fault = "target: events of other producers"
	forgotten      fault = "target: oldest events gone"
	compacted      fault = "target: compacted"
)
