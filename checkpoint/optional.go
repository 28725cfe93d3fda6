package checkpoint

import (
	"context"
	"time"

	"github.com/hubferry/hubferry"
)

// Clock is the optional side of a store that can say what time it is by the clock that
// Ownership.Modified is measured by. With it an instance that has just started can tell
// that a record has expired, without watching it for one expiry first. It should cost
// next to nothing: a store may remember the time of its last answer and move it on.
type Clock interface {
	ServerTime(ctx context.Context) (time.Time, error)
}

// Fenced is the optional side of a store that can save a checkpoint only if the
// partition still has the given owner, and only forwards, in one step: not if it lies
// Behind the stored one. Its error is of kind Lost when the records say otherwise. It makes
// sure of INV-9 where time cannot: a process that was frozen between looking at its lease
// and saving, and a request that arrives when its sender has given it up long ago.
type Fenced interface {
	SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error
}

// Lister is the optional side of a store that can list its groups, for inspection. The
// groups of presence records are among them: see IsPresence.
type Lister interface {
	Groups(ctx context.Context) ([]hubferry.ID, error)
}

// Joint is the optional side of a store that lists the ownership records of a group and of
// its presence group with one request. The records of both come in one list.
type Joint interface {
	ListJoint(ctx context.Context, group, presence hubferry.ID) ([]hubferry.Ownership, error)
}

// Forward is the optional side of a store that keeps ownership and checkpoint in two
// places, and so cannot be Fenced, but that saves a checkpoint only over the version that
// this handle has seen or written last. SaveForward refuses to go back, as SaveOwned does.
// If somebody else has written the checkpoint since, it also asks whether the partition
// still has the given owner, but not in the same step: what remains is that a frozen
// process saves once more after it lost the partition, if its successor has not saved
// yet, a checkpoint that is true, whether or not the successor knows of it. Its refusal
// is an error of kind Lost.
type Forward interface {
	SaveForward(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error
}
