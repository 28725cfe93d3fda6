// Package seglog is an append-only, segmented log: the storage of one
// partition of a hub.
//
// [Open] gives a [Log], on disk when [Options.Dir] is set and in memory when
// it is not; both behave the same. [Log.Append] stores a batch, [Log.Read]
// returns records from a sequence number on, [Log.Watch] tells when there is
// more to read. A Log starts no goroutine of its own except while a batch
// waits for fsync: retention ([Log.Trim]), compaction ([Log.Compact]) and
// timed syncs ([Log.Sync]) are called by whoever owns the log.
//
// # What survives what
//
// A batch is written to the file before it is confirmed, so what was
// confirmed survives the death of the process under every [Fsync] policy: the
// operating system holds it. A loss of power is another matter: FsyncBatch
// loses nothing that was confirmed, FsyncInterval may lose what was confirmed
// since the last [Log.Sync], FsyncNever may lose more and may leave segments
// that Open refuses.
//
// # Files
//
// A segment NNNNNNNNNNNNNNNNNNNN.seg is named after its first sequence number
// and holds a header and then one frame per batch, in order. All integers are
// little-endian, all checksums CRC-32C.
//
//	header  magic[8] base-sequence[8] floor[24] end-sequence[8] last[24]
//	        flags[4] zero[16] checksum[4]
//	frame   marker[4] length[4] sequence[8] offset[8] time[8] count[4]
//	        body-checksum[4] header-checksum[4] records end-marker[4]
//	record  sequence-delta offset-delta flags[1] (key-length key)
//	        (publisher-length publisher) message-length message
//
// Deltas and lengths of records are unsigned varints; key and publisher are
// there if flags say so. floor is where the log stood before the segment
// (next offset, newest offset, newest time), so that numbers and time go on
// from there when retention has removed all records. end-sequence and last,
// where the log stood at its end, are set in compacted segments only.
//
// NNN.idx holds a segment's summary and sparse index and is only an
// acceleration: without it, or when it does not fit the segment, the segment
// is read through. The newest segment has one only after a clean Close. The
// file "begin" holds the first retained sequence number and its checksum.
//
// # Recovery
//
// Frames are written one after the other, so a crash leaves at most one
// unfinished frame, at the end of the newest segment. Open cuts it off when
// it is certain that it is unfinished: it ends before its length says, or its
// end was never written (zeros). A frame that is complete but does not match
// its checksum was confirmed once and is damage, as is anything wrong in an
// older segment: that is a [DamageError], never a silent cut.
package seglog
