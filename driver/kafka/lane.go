package kafka

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
)

// lane stores the batches of one partition in their order, several of them in flight. A
// goroutine runs while there is something to do, and owns all fields below mu; it hears of
// new runs by the inbox.
//
// What is in flight is repeated in order under the sequence numbers that it has, which
// makes repeating free of duplicates and of disorder: the broker takes a batch only after
// the one before it, and once. When a batch fails for good, everything behind it fails
// (G-5), and the next Write begins under a new epoch, which the broker prefers to whatever
// may still be on its way.
type lane struct {
	w         *writer
	place     *hubferry.Place
	partition int
	slots     chan struct{} // bounds the batches of this lane
	wake      chan struct{}
	answers   chan answer
	ready     chan prepared

	mu      sync.Mutex
	inbox   []message
	running bool

	id       producerID
	have     bool  // id is known
	to       int32 // the leader, if known
	known    bool
	sequence int32 // of the next batch
	proven   bool  // a batch was stored under this epoch
	failed   bool  // a run failed and no Write succeeded since
	torn     bool  // sequence numbers were given to batches that are not stored

	runs      []*pending
	queue     []*batch // not stored yet, oldest first
	sent      int      // so many of the queue are on their way
	flying    int
	preparing bool

	trouble  error     // why what is on its way must be sent again
	since    time.Time // of the first trouble without success
	again    time.Time // when to send again
	tries    int
	division *batch // too large for the broker: to be divided
}

// pending is a run that was handed over and is not settled.
type pending struct {
	ctx   context.Context //nolint:containedctx // of the caller who waits for this run
	write bool            // by Write: it may begin after a failure
	done  func(hubferry.Receipt, error)
	stop  func() bool // of the watch on ctx

	receipt hubferry.Receipt
	left    int  // batches that are not stored
	closed  bool // no more batches come
	err     error
	over    atomic.Bool // failed; whoever makes more batches may stop
}

// end fails a run.
func (p *pending) end(err error) {
	p.err = err
	p.over.Store(true)
}

// message is news of a run: that it begins, a batch of it, or that this was all.
type message struct {
	run    *pending
	begin  bool
	batch  *batch
	poison error
}

type prepared struct {
	id  producerID
	to  int32
	err error
}

const (
	// inFlight is how many batches of one producer a broker remembers to recognise them.
	inFlight = 5
	// laneBatches bounds what one partition holds, so that a leader who is away does not
	// take all memory.
	laneBatches = 8
	// lanePatience is how long a lane tries before it fails a batch that is not stored for
	// certain: an outage is the engine's business soon.
	lanePatience = 5 * time.Second
)

func newLane(w *writer, place *hubferry.Place, partition int) *lane {
	return &lane{
		w: w, place: place, partition: partition,
		slots: make(chan struct{}, laneBatches), wake: make(chan struct{}, 1),
		answers: make(chan answer, inFlight), ready: make(chan prepared, 1),
	}
}

// put gives the lane a message and sees to it that somebody reads it.
func (l *lane) put(m message) {
	l.mu.Lock()
	l.inbox = append(l.inbox, m)
	start := !l.running
	l.running = true
	l.mu.Unlock()
	if start {
		go l.run()
		return
	}
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run moves what there is until there is nothing.
func (l *lane) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	closed := l.w.life.Done()
	for {
		if l.w.life.Err() != nil {
			closed = nil
			l.fail(0, hubferry.ErrClosed)
		}
		l.intake()
		l.expire()
		l.advance()
		l.settle()
		if l.rest() {
			return
		}
		if l.trouble != nil && l.flying == 0 && !l.preparing {
			timer.Reset(max(time.Until(l.again), time.Millisecond))
		}
		select {
		case a := <-l.answers:
			l.answered(a)
		case p := <-l.ready:
			l.prepared(p)
		case <-l.wake:
		case <-timer.C:
		case <-closed:
		}
	}
}

// rest reports that there is nothing to do, and nobody to hear of the next thing.
func (l *lane) rest() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.inbox) > 0 || len(l.runs) > 0 || l.flying > 0 || l.preparing {
		return false
	}
	l.running = false
	return true
}

// intake reads the inbox.
func (l *lane) intake() {
	l.mu.Lock()
	inbox := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for i, m := range inbox {
		if m.begin && l.mustWait(m.run) {
			l.mu.Lock()
			l.inbox = append(inbox[i:len(inbox):len(inbox)], l.inbox...)
			l.mu.Unlock()
			return
		}
		l.take(m)
	}
}

// mustWait reports that a Write comes after a failure and has to wait until all that was
// in flight is known: nothing of it may be stored behind what is written now.
func (l *lane) mustWait(p *pending) bool {
	return l.failed && p.write && (len(l.runs) > 0 || l.flying > 0 || l.preparing) && p.ctx.Err() == nil && l.w.life.Err() == nil
}

func (l *lane) take(m message) {
	p := m.run
	switch {
	case m.begin:
		l.begin(p)
	case m.batch != nil && p.over.Load():
		l.release(m.batch)
	case m.batch != nil:
		b := m.batch
		b.sequence = l.sequence
		l.sequence = nextSequence(l.sequence, b.n)
		l.queue = append(l.queue, b)
		p.left++
	default:
		p.closed = true
		if !p.over.Load() {
			p.err = m.poison
			l.failed = l.failed || m.poison != nil // nothing behind it goes
		}
	}
}

func (l *lane) begin(p *pending) {
	l.runs = append(l.runs, p)
	switch {
	case l.w.life.Err() != nil:
		p.end(hubferry.ErrClosed)
	case p.ctx.Err() != nil:
		p.end(&hubferry.Error{Kind: hubferry.Transient, Op: "write", Place: l.place, Err: context.Cause(p.ctx)})
	case l.failed && !p.write:
		p.end(l.aborted(false))
	case l.torn:
		l.nextEpoch()
	}
	l.failed = l.failed || p.over.Load()
}

func (l *lane) aborted(unsure bool) error {
	return &hubferry.Error{Kind: hubferry.Aborted, Op: "write", Place: l.place, Unsure: unsure, Hint: "an earlier run failed; write again from it"}
}

// nextEpoch begins the sequence numbers anew. Nothing is in flight.
func (l *lane) nextEpoch() {
	if l.w.target.producer.idempotent() {
		l.id.epoch++
		l.have = l.have && l.id.epoch > 0 // it may have wrapped
	}
	l.sequence, l.proven, l.torn = 0, false, false
}

// expire fails the first run whose caller does not wait any more, and all behind it.
func (l *lane) expire() {
	for i, p := range l.runs {
		if !p.over.Load() && p.ctx.Err() != nil && (p.left > 0 || !p.closed) {
			l.fail(i, &hubferry.Error{Kind: hubferry.Transient, Op: "write", Place: l.place, Unsure: l.doubtful(p), Err: context.Cause(p.ctx)})
			return
		}
	}
}

// doubtful reports whether a batch of a run may be stored and is not part of its receipt:
// nobody has heard of it, or it was confirmed before one that comes earlier.
func (l *lane) doubtful(p *pending) bool {
	for _, b := range l.queue {
		if b.run == p && (b.unsure || b.flying || b.acked) {
			return true
		}
	}
	return false
}

// failRun ends a run with an error and all behind it.
func (l *lane) failRun(p *pending, err error) { l.fail(slices.Index(l.runs, p), err) }

// fail ends the i-th run with an error and all behind it.
func (l *lane) fail(i int, err error) {
	if i < 0 || i >= len(l.runs) {
		return
	}
	l.failed = true
	for _, p := range l.runs[i:] {
		if p.over.Load() {
			continue
		}
		p.end(err)
		err = l.aborted(false)
	}
	for _, p := range l.runs[i:] {
		if e, ok := p.err.(*hubferry.Error); ok && e.Kind == hubferry.Aborted { //nolint:errorlint // made above
			e.Unsure = l.doubtful(p)
		}
	}
	l.drop()
}

// drop takes the batches of runs that are over out of the queue. Those that are in flight
// are released by their answers.
func (l *lane) drop() {
	l.withdraw(func(b *batch) bool { return b.run.over.Load() }) // INV-9
	kept, sent := l.queue[:0], 0
	for n, b := range l.queue {
		if !b.run.over.Load() {
			kept = append(kept, b)
			if n < l.sent {
				sent++
			}
			continue
		}
		l.torn = l.torn || !b.acked
		if !b.flying {
			l.release(b)
		}
	}
	clear(l.queue[len(kept):])
	l.queue, l.sent = kept, sent
	if l.division != nil && l.division.run.over.Load() {
		l.division = nil
	}
	if len(l.queue) == 0 {
		l.calm()
	}
}

// calm forgets troubles.
func (l *lane) calm() { l.trouble, l.since, l.tries = nil, time.Time{}, 0 }

// settle tells callers, in order.
func (l *lane) settle() {
	for len(l.runs) > 0 {
		p := l.runs[0]
		if !p.closed || !p.over.Load() && p.left > 0 {
			return
		}
		l.runs = l.runs[1:]
		p.stop()
		if p.write && p.err == nil {
			l.failed = false
		}
		p.done(p.receipt, p.err)
	}
	l.runs = nil
}

// release gives the memory of a batch back.
func (l *lane) release(b *batch) {
	l.w.target.producer.conn.batchMemory().Release(b.cost)
	if b.slot {
		<-l.slots
	}
	b.data, b.events = nil, nil
}
