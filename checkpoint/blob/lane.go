package blob

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// lane orders the writes of one partition's checkpoint, and remembers its version.
type lane struct {
	turn chan struct{} // one token: who writes holds it, and what follows belongs to him

	known    bool   // what follows was true when this handle looked last
	foreign  bool   // somebody else has written it since this handle wrote
	etag     string // of the checkpoint; "" means that there is none
	last     *hubferry.Checkpoint
	beside   metadata  // what others have put beside the values
	stored   *before   // what the SDKs see; nil if that is nothing
	extraTag string    // the ETag of our record beside the checkpoint
	extra    *extra    // what it says, if that is known
	extraAt  time.Time // when this handle wrote it; zero if it did not

	mu      sync.Mutex
	waiting *waiter
}

// waiter is a call that waits for its turn.
type waiter struct {
	beaten chan struct{} // closed when a newer call waits, which is next
	next   *waiter
	done   chan struct{} // closed when it has ended, with err
	err    error
}

// lane returns the lane of a partition. Where the group was listed before, a partition
// that has none had no checkpoint.
func (s *Store) lane(id hubferry.ID) *lane {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.lanes[id]
	if l == nil {
		l = &lane{turn: make(chan struct{}, 1), known: s.listed[id.Group()]}
		s.lanes[id] = l
	}
	return l
}

// do calls a function when no other call of the lane is under way. When a newer call
// comes while this one waits, it takes that one's result for its own: the newer
// checkpoint says all that this one would have said.
func (l *lane) do(ctx context.Context, write func() error) error {
	me := &waiter{beaten: make(chan struct{}), done: make(chan struct{})}
	l.mu.Lock()
	if before := l.waiting; before != nil {
		before.next = me
		close(before.beaten)
	}
	l.waiting = me
	l.mu.Unlock()
	defer close(me.done)
	select {
	case <-me.beaten:
	case <-ctx.Done():
		me.err = ctx.Err()
		return me.err
	case l.turn <- struct{}{}:
		l.mu.Lock()
		mine := l.waiting == me
		if mine {
			l.waiting = nil
		}
		l.mu.Unlock()
		if mine {
			me.err = write()
		}
		<-l.turn
		if mine {
			return me.err
		}
	}
	select {
	case <-me.next.done:
		me.err = me.next.err
	case <-ctx.Done():
		me.err = ctx.Err()
	}
	return me.err
}

// seen notes a listed checkpoint, unless a write is under way, which knows better.
func (l *lane) seen(at, beside item, e *extra) {
	select {
	case l.turn <- struct{}{}:
		if !l.known || at.etag != l.etag {
			l.foreign = l.known
			l.note(at, beside, e)
		}
		<-l.turn
	default:
	}
}

// note takes over what is stored. The caller has the turn.
func (l *lane) note(at, beside item, e *extra) {
	l.known, l.etag, l.last, l.beside = true, at.etag, nil, at.meta.unknown()
	l.extraTag, l.extra = beside.etag, nil
	if e != nil && !e.Body {
		l.extra = e
	}
	l.stored = nil
	if position, err := parseCheckpoint(at.meta); err == nil {
		l.stored = &before{position.Sequence, position.OffsetText()}
		c := join(position, e, at.modified)
		l.last = &hubferry.Checkpoint{Position: c.Position, Incarnation: c.Incarnation, Beginning: c.Beginning}
	}
}

// wrote notes a write that the service has confirmed. The caller has the turn.
func (l *lane) wrote(v stamp, c hubferry.Checkpoint) {
	l.known, l.foreign, l.etag = true, false, v.etag
	l.stored = &before{c.Position.Sequence, c.Position.OffsetText()}
	l.last = &hubferry.Checkpoint{Position: c.Position, Incarnation: c.Incarnation, Beginning: c.Beginning}
}

// jitter is a random moment.
func jitter() time.Duration { return time.Duration(rand.Int64N(int64(50 * time.Millisecond))) }
