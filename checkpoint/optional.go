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
// partition still has the given owner, and only forwards, in one step. Forwards means
// not to a lower sequence number, unless the incarnation is another one or the position's
// epoch is higher. Its error is of kind Lost when the records say otherwise. It makes
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
