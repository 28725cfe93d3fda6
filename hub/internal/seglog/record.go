package seglog

// Flags describe a record.
type Flags uint8

const (
	// FlagKey marks a record that has a partition key. An empty key is a
	// key; without the flag the record has none.
	FlagKey Flags = 1 << iota
	// FlagTombstone marks a record whose message has no content. On a
	// compacted log it deletes its key.
	FlagTombstone
)

// Entry is what the caller stores: everything about a record that the log
// does not assign itself.
type Entry struct {
	// Key is the partition key, valid only with FlagKey.
	Key []byte
	// Publisher is the name of the publisher; empty means none.
	Publisher []byte
	// Message is stored byte for byte.
	Message []byte
	// Flags describe the record.
	Flags Flags
}

// HasKey reports whether the entry has a partition key, which may be empty.
func (e *Entry) HasKey() bool { return e.Flags&FlagKey != 0 }

// Record is an entry with what the log assigned to it.
type Record struct {
	// Sequence starts at 0 and grows by one per record.
	Sequence int64
	// Offset starts at 0 and grows with the bytes stored.
	Offset int64
	// Enqueued is the time of the append in milliseconds since the Unix
	// epoch. It never decreases within a log.
	Enqueued int64
	Entry
}

// Batch is the result of a Read and the memory behind it. A Batch belongs to
// one reader at a time; everything reachable from Records is valid, and must
// not be written to, until the Batch is used for the next Read.
type Batch struct {
	// Records are in sequence order. On a compacted log sequence numbers
	// may be missing between them.
	Records []Record
	// Next is where the following Read continues. Equal to the sequence
	// number that the next append will get when the reader has caught up.
	Next int64

	place place
}

// Span says where a batch was stored.
type Span struct {
	// First and Last are the sequence numbers of its first and last record.
	First, Last int64
	// FirstOffset and LastOffset are the offsets of these two records.
	FirstOffset, LastOffset int64
	// Enqueued is the time that all records of the batch got, in
	// milliseconds since the Unix epoch.
	Enqueued int64
}

// Info is a snapshot of a log's ends, as readers see them.
type Info struct {
	// Begin is the first sequence number that is retained. When nothing is
	// retained it is Last+1.
	Begin int64
	// Last is the last sequence number given out, -1 when nothing was ever
	// appended. It stays when retention removes the record.
	Last int64
	// LastOffset is the offset of that record, -1 when there was none.
	LastOffset int64
	// LastEnqueued is its time in milliseconds since the Unix epoch. It has
	// no meaning when Last is -1.
	LastEnqueued int64
	// Bytes is the room that the retained segments take.
	Bytes int64
	// Empty is true when no record is retained.
	Empty bool
}
