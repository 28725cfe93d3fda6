package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
)

// tracker knows which inputs of one source partition are settled, and therefore how far
// the partition is done without a hole (INV-2). It counts per batch, not per event: with
// a thousand partitions batches are small, and what is done once per batch dominates.
type tracker struct {
	budget *budget
	window int

	mu       sync.Mutex
	queue    []*batch // in source order, the unfinished one first
	unsaved  int      // events between the saved checkpoint and the newest one read
	inFlight int
	low      mark      // done without a hole
	saved    mark      // stored as checkpoint
	lowSince time.Time // when low first differed from saved
	held     int64     // bytes taken from the budget
	closed   bool

	moved   chan struct{} // signals that low moved; capacity 1, as the others
	emptied chan struct{} // signals that nothing is in flight
	room    chan struct{} // signals that the window has room
}

// mark is a position that can become a checkpoint.
type mark struct {
	position hubferry.Position
	states   map[string][]byte
	events   int // since the mark before it
}

// batch is what one Read delivered, until all of it is settled.
type batch struct {
	tracker *tracker
	inputs  []hubferry.Event // as they were read; dead letters are made of them
	mark    mark
	bytes   int64
	// left counts what is outstanding: each output of each input, each held input, and
	// the worker while it is busy with the batch. The worker adds before anything that
	// it adds for can be settled, so left reaches zero once.
	left atomic.Int64
	dead sync.Map // sequence numbers already dead-lettered: an input is so once
}

// newTracker returns a tracker that begins at from. Saved is the stored checkpoint, which
// an earlier worker may have left behind from: what lies between counts as unsaved.
func newTracker(from, saved mark, window int, b *budget) *tracker {
	t := &tracker{
		budget: b, window: window, low: from, saved: saved, unsaved: from.events,
		moved: make(chan struct{}, 1), emptied: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
	if from.position != saved.position {
		signal(t.moved)
	}
	return t
}

// rest returns where a worker that is over has left the partition.
func (t *tracker) rest() (low, saved mark) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.low, t.saved
}

// add takes a batch up. The caller settles it once itself when it has handed on all that
// came of it.
func (t *tracker) add(inputs []hubferry.Event, next hubferry.Position, bytes int64) *batch {
	b := &batch{tracker: t, inputs: inputs, bytes: bytes, mark: mark{position: next, events: len(inputs)}}
	b.left.Store(int64(len(inputs)) + 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, b)
	t.unsaved += len(inputs)
	t.inFlight += len(inputs)
	t.held += bytes
	return b
}

// settle notes that n of what is outstanding is done.
func (b *batch) settle(n int) {
	if n > 0 && b.left.Add(int64(-n)) == 0 {
		b.tracker.advance()
	}
}

// expect notes that n more than known will be settled.
func (b *batch) expect(n int) { b.left.Add(int64(n)) }

// advance moves low past every finished batch at the head of the queue.
func (t *tracker) advance() {
	t.mu.Lock()
	n := 0
	var freed int64
	for n < len(t.queue) && t.queue[n].left.Load() == 0 {
		b := t.queue[n]
		if t.low.position == t.saved.position {
			t.lowSince = time.Now()
		}
		t.low = mark{position: b.mark.position, states: b.mark.states, events: t.low.events + b.mark.events}
		t.inFlight -= len(b.inputs)
		freed += b.bytes
		n++
	}
	t.queue = slices.Delete(t.queue, 0, n)
	if t.closed {
		freed = 0 // close gave it back already
	}
	t.held -= freed
	empty := len(t.queue) == 0
	t.mu.Unlock()
	t.budget.release(freed)
	if n > 0 {
		signal(t.moved)
	}
	if empty {
		signal(t.emptied)
	}
}

// waitRoom waits until the window has room, and returns for how many events. Confirmed
// events count until their checkpoint is stored, because a crash would repeat them too
// (G-6). Full is called, now and then, while there is none.
func (t *tracker) waitRoom(ctx context.Context, full func()) (int, error) {
	for {
		t.mu.Lock()
		n := t.window - t.unsaved
		t.mu.Unlock()
		if n > 0 {
			return n, nil
		}
		full()
		select {
		case <-t.room:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// pending returns the mark that can be saved and since when, or false if the saved one is
// up to date. Half says that the window is at least half full of unsaved events.
func (t *tracker) pending() (m mark, since time.Time, half, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.low, t.lowSince, t.unsaved*2 >= t.window, t.low.position != t.saved.position
}

// clean reports whether nothing is in flight.
func (t *tracker) clean() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) == 0
}

// stored notes that m is saved.
func (t *tracker) stored(m mark) {
	t.mu.Lock()
	t.saved = mark{position: m.position, states: m.states}
	t.low.events -= m.events
	t.unsaved -= m.events
	t.lowSince = time.Now()
	t.mu.Unlock()
	signal(t.room)
}

// close gives the memory budget of everything unfinished back: its worker is over.
func (t *tracker) close() {
	t.mu.Lock()
	held := t.held
	t.held, t.closed = 0, true
	t.mu.Unlock()
	t.budget.release(held)
}

// oldest returns when the oldest unsettled input was enqueued at the source.
func (t *tracker) oldest() (time.Time, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range t.queue {
		if len(b.inputs) > 0 {
			return b.inputs[0].Time, true
		}
	}
	return time.Time{}, false
}

// input returns the event that a ticket stands for, as it was read.
func (b *batch) input(sequence int64) *hubferry.Event {
	i, ok := slices.BinarySearchFunc(b.inputs, sequence, func(e hubferry.Event, s int64) int {
		return int(e.Pos.Sequence - s)
	})
	if !ok {
		return nil
	}
	return &b.inputs[i]
}

// signal wakes the receiver of a channel of capacity 1, if it is not awake already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
