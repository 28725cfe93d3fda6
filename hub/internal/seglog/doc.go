// Package seglog is an append-only, segmented log: the storage of one
// partition of a hub.
//
// [Open] gives a [Log], on disk when [Options.Dir] is set and in memory when
// it is not; both behave the same. [Log.Append] stores a batch, [Log.Read]
// returns records from a sequence number on, [Log.Watch] tells when there is
// more to read. A Log starts no goroutine of its own except while a batch
// waits for fsync: retention ([Log.Trim]), compaction ([Log.Compact]) and
// timed syncs ([Log.Sync]) are called by whoever owns the log.
package seglog
