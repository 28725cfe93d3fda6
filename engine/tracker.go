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

	committers []*committer // to be told when something may be committed

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
	// it adds for can be settled, so left reaches zero once. What waits for a committer and
	// nothing else is parked: it counts in the upper half.
	left atomic.Int64
	dead sync.Map // sequence numbers already dead-lettered: an input is so once

	free    func()      // gives back what the inputs live in; nil if others may see them
	kept    atomic.Bool // somebody may look at the inputs although they are settled
	outputs *[]output   // to be used again with them
	spare   *sync.Pool  // where outputs belongs
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
// came of it. Free may be nil.
func (t *tracker) add(inputs []hubferry.Event, next hubferry.Position, bytes int64, free func()) *batch {
	b := &batch{tracker: t, inputs: inputs, bytes: bytes, free: free, mark: mark{position: next, events: len(inputs)}}
	b.left.Store(int64(len(inputs)) + 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = append(t.queue, b)
	t.unsaved += len(inputs)
	t.inFlight += len(inputs)
	t.held += bytes
	return b
}

const (
	parked = 1 << 32    // one that waits for a committer, in batch.left
	park   = parked - 1 // makes one of the outstanding wait for a committer
)

// add changes what is outstanding: by n that will be settled, -n that are, park, or -parked
// when a committer is done.
func (b *batch) add(delta int64) {
	switch left := b.left.Add(delta); {
	case left == 0 && delta != 0:
		b.tracker.advance()
		b.tracker.wake()
	case ready(left) && delta > -parked:
		b.tracker.wake()
	}
}

// settle notes that n of what is outstanding is done.
func (b *batch) settle(n int) { b.add(int64(-n)) }

// ready reports whether nothing of a batch is outstanding but what waits for committers.
func ready(left int64) bool { return uint32(left) == 0 }

// advance moves low past every finished batch at the head of the queue.
func (t *tracker) advance() {
	t.mu.Lock()
	n := 0
	var freed int64
	var free []*batch
	for n < len(t.queue) && t.queue[n].left.Load() == 0 {
		b := t.queue[n]
		if t.low.position == t.saved.position {
			t.lowSince = time.Now()
		}
		t.low = mark{position: b.mark.position, states: b.mark.states, events: t.low.events + b.mark.events}
		t.inFlight -= len(b.inputs)
		freed += b.bytes
		if b.free != nil && !b.kept.Load() {
			free = append(free, b)
		}
		n++
	}
	t.queue = slices.Delete(t.queue, 0, n)
	if t.closed {
		freed = 0 // close gave it back already
	}
	t.held -= freed
	empty := len(t.queue) == 0
	t.mu.Unlock()
	for _, b := range free {
		b.giveBack()
	}
	t.budget.release(freed)
	if n > 0 {
		signal(t.moved)
	}
	if empty {
		signal(t.emptied)
	}
}

// giveBack gives back what a settled batch lived in.
func (b *batch) giveBack() {
	if o := b.outputs; o != nil {
		b.outputs = nil
		clear(*o)
		b.spare.Put(o)
	}
	b.inputs = nil
	b.free()
}

// keep makes sure that the batches of items are not given back: something failed, and
// somebody may still look at their events.
func keep(run []item) {
	for i := range run {
		if b, plain := run[i].ticket.Token.(*batch); plain {
			b.kept.Store(true)
		}
	}
}

// ready returns the newest mark that can be committed, with a sequence number of at most
// limit: everything up to it is settled or waits for committers. Beyond the first batch after
// a sequence number that is there already, it keeps to the size of a transaction.
func (t *tracker) ready(after, limit int64) mark {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, inputs, bytes := t.low, 0, int64(0)
	for _, b := range t.queue {
		at := b.mark.position.Sequence
		if at > limit || !ready(b.left.Load()) {
			break
		}
		if at > after {
			inputs, bytes = inputs+len(b.inputs), bytes+b.bytes
			if m.position.Sequence > after && (inputs > maxCommitInputs || bytes > maxCommitBytes) {
				break
			}
		}
		m = b.mark
	}
	return m
}

// wake tells the committers that there may be something to commit.
func (t *tracker) wake() {
	for _, c := range t.committers {
		signal(c.ready)
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

// retire forgets the batches that were not finished.
func (t *tracker) retire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue = nil
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
