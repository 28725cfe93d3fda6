package hubferry

import (
	"context"
	"time"
)

// Target is a place to write to, on one connection, for one task. Its methods may be
// called by several goroutines at once.
type Target interface {
	// Open returns a writer to a hub (queue, topic, table) of the connection. Its name
	// may come from a template, so Open is also called while the task runs. The trail
	// is what the writer adds to each event.
	Open(ctx context.Context, hub string, trail Trail) (Writer, error)
	// Close frees what the target holds, its writers included. It may be called twice.
	Close(ctx context.Context) error
}

// Layout is what a writer says of its hub.
type Layout struct {
	// Places are the target's partitions, by index. A queue or table has one.
	Places []*Place
	// Partition maps a key to one of n partitions as the service's own producers do.
	// It is a pure function, or nil where there is nothing to choose.
	Partition func(k Key, n int) int
	// Late is how long after the start of a Write its events may still be stored, although
	// the Write has failed or its process is gone (G-9). Who wants to know what became of
	// them waits so long before reading. 0 where a failed Write is over when it returns.
	Late time.Duration
}

// Run is a piece of work for a Writer: events of one target partition, in the order in
// which they must be stored. It may mix several sources. Every event has an Origin.
type Run struct {
	Partition int // index into Layout.Places
	Events    []*Event
}

// Receipt says what a Write achieved.
type Receipt struct {
	// N says that the first N events of the run are known to be durable (INV-1), also when
	// the outcome of the rest is unsure.
	N    int
	Last Position // of event N-1, where the service tells; otherwise Sequence -1
}

// Writer writes to the partitions of one hub.
type Writer interface {
	// Layout returns the hub's partitions as of now.
	Layout(ctx context.Context) (Layout, error)
	// Write stores the events of a run in order. Like an io.Writer's its error is about
	// event N of the receipt; the events after it were not tried. It does not retry,
	// unless the protocol makes repeating free of duplicates and disorder. It is never
	// called twice at once for one partition, but for several partitions at once.
	// The run's slice is the engine's again when Write returns, also after an error. A
	// writer survives its errors: it connects again by itself when it is next used.
	Write(ctx context.Context, r Run) (Receipt, error)
	// Close frees the writer. It may be called twice.
	Close(ctx context.Context) error
}

// Submitter is the optional side of a Writer that can have several runs of one
// partition in flight and still never store them out of order (G-5). Submit returns
// when the run is queued; done is called once, in order of submission per partition,
// when its fate is known. When one run fails, all later ones of that partition that are
// not confirmed fail too, and so does every Submit with an error of kind Aborted until a
// Write has succeeded: who submits may not have heard of the failure yet, and would store
// a run behind one that failed. No Write for a partition is called while it has runs in
// flight.
//
// Submit is called by one goroutine per partition and may wait while the writer has as much
// in flight as it can. When ctx ends the run fails in its turn, unless it is on its way
// already; done is called all the same. The run's slice is the engine's again when done is
// called, which may be before Submit returns.
type Submitter interface {
	Submit(ctx context.Context, r Run, done func(Receipt, error))
}

// Copier is the optional side of a Writer that keeps nothing of an event, nor of the bytes of
// its content, once it has reported it as written: what it needs it has copied. What the
// event lived in is used again then (see Batch.Free).
type Copier interface {
	Copies()
}

// Committer is the optional side of a Writer whose service stores positions together
// with the events: a database, Kafka transactions (G-12).
type Committer interface {
	// Adopt returns the position that the target itself holds for a source partition,
	// or nil, and fences everybody who adopted it earlier: of a Commit that was under way
	// the result is final when Adopt returns.
	Adopt(ctx context.Context, id ID) (*Checkpoint, error)
	// Commit stores the runs and the new checkpoint in one transaction, if the stored
	// checkpoint still equals prev (nil: there is none); otherwise the error is of kind
	// Lost and nothing is stored. Checkpoints are equal when their sequence number and
	// incarnation are. There may be no run, and then only the position moves. An error
	// that is Unsure says that the transaction may have been committed; one about a single
	// event names it as Error.Event. Never called twice at once for one id, and the slices
	// are the engine's again when it returns.
	Commit(ctx context.Context, id ID, runs []Run, prev, next *Checkpoint) error
}

// Tailer is the optional side of a Writer that can read its own hub, to find what an
// earlier attempt has stored (G-8). Its methods may be called by several goroutines at
// once, and while Write is under way.
type Tailer interface {
	// Tail reads what a partition holds after a position. The reader ends with ErrEnd at
	// the end as of the call. If the position is not there any more it begins with the
	// first event that is.
	Tail(ctx context.Context, partition int, after Position) (Reader, error)
	// Partitions returns what the hub's partitions hold, by index, as of now: what every
	// Write had stored before the call counts.
	Partitions(ctx context.Context) ([]PartitionInfo, error)
}

// PiecemealTailer is the optional side of a Tailer whose service is asked about each
// partition on its own and allows only so many questions, as Piecemeal is for a Source.
type PiecemealTailer interface {
	// Partition returns what Partitions would say of one partition, by index.
	Partition(ctx context.Context, partition int) (PartitionInfo, error)
}
