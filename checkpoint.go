package hubferry

import (
	"context"
	"time"
)

// ID names what a checkpoint is about: the progress of one consumer group in one
// partition. With an empty Partition it names the group in all of them. Its parts are
// canonical: lower case where the service ignores case (G-1).
type ID struct {
	Namespace     string
	Hub           string
	ConsumerGroup string
	Partition     string
}

// Group returns the ID without its partition.
func (id ID) Group() ID {
	id.Partition = ""
	return id
}

// String returns "namespace/hub/group[/partition]" for errors and logs.
func (id ID) String() string {
	s := escapeName(id.Namespace) + "/" + escapeName(id.Hub) + "/" + escapeName(id.ConsumerGroup)
	if id.Partition != "" {
		s += "/" + escapeName(id.Partition)
	}
	return s
}

// Checkpoint says how far a partition has been moved: everything up to and including
// Position is confirmed (INV-2). Reading resumes strictly after it.
type Checkpoint struct {
	Position Position
	// Incarnation is that of the place when the checkpoint was made; a hub with another
	// one is a new hub under an old name (G-1). "" if unknown.
	Incarnation string
	// Beginning is which beginning of the partition Position belongs to: 0 for the first,
	// and one more each time that its task began anew behind a gap, because the position
	// was not there any more (G-2). Positions of two beginnings are not compared: after a
	// hub was restored from a backup they stand for different events, although the
	// incarnation is the same.
	Beginning int64
	Time      time.Time // when it was made, by the clock of who made it
	// Clean says that nothing was in flight, so that a successor need not look for
	// events beyond it.
	Clean bool
	// Marks are watermarks by the path of a target place: lower bounds of where the
	// events after this checkpoint may be found (G-7).
	Marks map[string]Position
	// States are notes that travel with the checkpoint: of Resumers by the editor's name
	// ("route/editor" for those of a route), and the engine's own under names that begin
	// with "engine.".
	States map[string][]byte
	// Err is set by a store that found a record and cannot read it. That partition
	// alone reports it; the others go on.
	Err error
}

// Behind reports whether c lies behind the checkpoint that is there, so that it must not
// take its place: one of an earlier beginning does, and so does one with a lower sequence
// number in the same log. A log is another one when its incarnation is, as far as both are
// known, or when the position's epoch is higher: then it was made anew or cut back.
func (c *Checkpoint) Behind(there *Checkpoint) bool {
	switch {
	case c.Beginning != there.Beginning:
		return c.Beginning < there.Beginning
	case c.Incarnation != "" && there.Incarnation != "" && c.Incarnation != there.Incarnation:
		return false
	}
	return c.Position.Sequence < there.Position.Sequence && c.Position.Epoch <= there.Position.Epoch
}

// Checkpoints is where progress is kept. Kafka groups and databases have it as well.
// Its methods may be called by several goroutines at once.
type Checkpoints interface {
	// ListCheckpoints returns all checkpoints of a group. One bad record never hides
	// the others: see Checkpoint.Err.
	ListCheckpoints(ctx context.Context, group ID) (map[ID]Checkpoint, error)
	// SaveCheckpoint stores a checkpoint, replacing the one that is there.
	SaveCheckpoint(ctx context.Context, id ID, c Checkpoint) error
}

// Ownership says who moves a partition. A record that was not renewed for the agreed
// expiry is anybody's.
type Ownership struct {
	ID ID
	// Owner names the owner; "" means relinquished.
	Owner string
	// ETag identifies this version of the record; "" means that there is none yet.
	ETag string
	// Modified is when the record was last written, by the store's own clock.
	Modified time.Time
}

// CheckpointStore keeps checkpoints and ownership for several instances, exactly as
// the event processors of the Azure SDKs use theirs.
type CheckpointStore interface {
	Checkpoints
	// ListOwnership returns the ownership records of a group, relinquished and expired
	// ones too.
	ListOwnership(ctx context.Context, group ID) ([]Ownership, error)
	// ClaimOwnership writes each record if its ETag is still the stored one (or "" and
	// there is none), and returns those that were written, with new ETag and Modified.
	// Losing a race is not an error: the record is simply not among the results. When
	// the store failed in between, it returns those it is sure of, and the error.
	ClaimOwnership(ctx context.Context, want []Ownership) ([]Ownership, error)
	Close(ctx context.Context) error
}
