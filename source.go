package hubferry

import (
	"context"
	"time"
)

// NoEpoch opens a reader that claims nothing: it can be one of several and gives way
// to a reader with an epoch. Tails, peeks and audits read so.
const NoEpoch int64 = -1

// Source is one hub to read from, or a selection of them, for one task. Its methods may be called by several
// goroutines at once. It does not retry: it classifies errors (see Error).
type Source interface {
	// Partitions returns all partitions, ordered by Place.Hub and Place.Index, as of now.
	Partitions(ctx context.Context) ([]PartitionInfo, error)
	// Resolve turns a start into the position that Open resumes after. A time later
	// than the last event resolves to the end.
	Resolve(ctx context.Context, p *Place, s Start) (Position, error)
	// Open returns a reader of the events strictly after a position, as the owner of
	// that epoch or with NoEpoch. If the position is not there any more the reader
	// may begin with the first event that is: the engine compares sequence numbers
	// (G-2). A position that the service refuses, and a hub that the service can tell to
	// have another incarnation than p, is an Error of kind Gap.
	Open(ctx context.Context, p *Place, after Position, epoch int64) (Reader, error)
	// Close ends all readers and frees what the source holds. It may be called twice.
	Close(ctx context.Context) error
}

// Piecemeal is the optional side of a Source whose service is asked about each partition on
// its own and allows only so many questions: Partitions then costs as many as there are
// partitions.
type Piecemeal interface {
	// Places returns the places that Partitions would, in the same order, and asks about no
	// partition.
	Places(ctx context.Context) ([]*Place, error)
	// Partition returns what Partitions would say of one of them, as of now.
	Partition(ctx context.Context, p *Place) (PartitionInfo, error)
}

// PlacesOf returns the places of a source's partitions, at the least cost.
func PlacesOf(ctx context.Context, s Source) ([]*Place, error) {
	if p, ok := s.(Piecemeal); ok {
		return p.Places(ctx)
	}
	infos, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	places := make([]*Place, len(infos))
	for i := range infos {
		places[i] = infos[i].Place
	}
	return places, nil
}

// Limit bounds one Read. At least one event is delivered whatever its size.
type Limit struct {
	Events int
	Bytes  int // by Event.Size
}

// Batch is what one Read delivers. The engine owns it and passes the same one again
// and again.
type Batch struct {
	Limit Limit
	// Events are consecutive events in source order. Read sets the slice anew, reusing
	// its array; the engine copies what it keeps.
	Events []Event
	// Next is the position up to which the partition has been read: that of the last
	// event, or further where something that is no event follows it (Kafka's control
	// records, compacted ends). It may move although Events is empty.
	Next Position
	// End is the position of the last event of the partition as far as the reader
	// knows, for lag; its Sequence is less than Next's when it does not know.
	End Position
	// Free, if not nil, says that the events, with their array and all that they point to, are
	// the engine's until it calls Free, and the reader's again then: the engine need not copy
	// them, and the reader need not make new ones. Read sets it anew. It is called once, by any
	// goroutine, when nobody will look at the events any more, or never, and does not wait.
	Free func()
}

// Reader delivers the events of one partition in order. One goroutine calls Read;
// Close may be called by another at any time.
type Reader interface {
	// Read waits until there is at least one event or Next has moved, then fills b
	// without waiting for more. It returns ErrEnd from a tail that is exhausted, an
	// Error of kind Lost when another owner took the partition, of kind Gap when the
	// service itself says that events are gone, and ErrClosed after Close. It ends
	// within a second of its context. After an error the reader is only good for Close.
	Read(ctx context.Context, b *Batch) error
	// Close frees the reader and ends a Read that waits. It settles nothing and may be
	// called twice.
	Close(ctx context.Context) error
}

// Outcome is what became of an event of a queue.
type Outcome uint8

// The outcomes of a Settlement.
const (
	Done    Outcome = iota // confirmed at every target: remove it
	Release                // not done: give it to somebody, perhaps us, again
	Reject                 // refused for good: the service's own dead-letter queue
)

// Settlement is the outcome of one event, named by its position.
type Settlement struct {
	Position Position
	Outcome  Outcome
	Reason   string // for Reject
}

// Settler is the optional side of a Reader of a queue, where each event is settled on
// its own and in any order, instead of by a checkpoint. It renews the locks of events
// that are not settled yet. Settle may be called by several goroutines at once.
type Settler interface {
	Settle(ctx context.Context, s []Settlement) error
}

// Coordinated is the optional side of a Source whose service deals the partitions out
// itself (a Kafka group, Service Bus sessions). Other sources get the balancer of
// package checkpoint over a CheckpointStore.
type Coordinated interface {
	Coordinate(ctx context.Context, m Member) (Coordinator, error)
}

// Member says for whom an instance takes part in a consumer group.
type Member struct {
	// Task is whose group it is. Instances of other tasks, and other programs, are kept
	// out of it, or keep us out (G-10).
	Task string
	// Shared says that other programs share the work of the group, so that they are not.
	Shared bool
}

// Coordinator deals out the partitions that this instance is to move.
type Coordinator interface {
	// Next waits for the next partition to become ours. One goroutine calls it.
	Next(ctx context.Context) (*Claim, error)
	// Close gives nothing back by itself: the engine releases each claim first.
	Close(ctx context.Context) error
}

// Claim is the right to move one partition, until Lost is closed.
type Claim struct {
	Place *Place
	// Checkpoint is where the last owner stopped, or nil when there is none.
	Checkpoint *Checkpoint
	// Ending is closed when the partition is wanted elsewhere but still ours: stop
	// reading, finish, Save, Release.
	Ending <-chan struct{}
	// Lost is closed when the claim is over or no longer certain: start no write and
	// save nothing from then on (INV-9).
	Lost <-chan struct{}
	Holder
}

// Holder is what the owner of a claim may do. Its methods may be called by several
// goroutines at once.
type Holder interface {
	// Open returns a reader of the claimed partition, with the claim's epoch.
	Open(ctx context.Context, after Position) (Reader, error)
	// Save stores a checkpoint. It never moves one backwards (see Checkpoint.Behind), and
	// returns an Error of kind Lost when the claim is over.
	Save(ctx context.Context, c *Checkpoint) error
	// Release gives the partition up, so that others take it over at once.
	Release(ctx context.Context) error
}

// Leased is the optional side of a Holder whose claim ends by itself unless it is renewed.
type Leased interface {
	// Until returns until when the claim is certain as of now, by the monotonic clock
	// (G-9), or the zero time when it is over. Who was frozen sees it here before Lost is
	// closed.
	Until() time.Time
}
