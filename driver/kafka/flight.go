package kafka

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/hubferry/hubferry"
)

// advance sends what may be sent.
func (l *lane) advance() {
	if l.trouble != nil && !l.recover() {
		return
	}
	for l.sent < len(l.queue) && l.flying < l.window() && !l.preparing {
		if l.queue[l.sent].acked { // while one before it has to be sent again
			l.sent++
			continue
		}
		if !l.have || !l.known {
			l.prepare()
			return
		}
		l.launch(l.queue[l.sent])
	}
}

// window is how many batches may be in flight. Until one is stored it is one: brokers take
// the first batch of a producer that they do not know with any sequence number.
func (l *lane) window() int {
	if l.proven && l.w.target.producer.idempotent() {
		return inFlight
	}
	return 1
}

// prepare asks for what sending needs, in the background.
func (l *lane) prepare() {
	l.preparing = true
	id, have := l.id, l.have
	go func() {
		p := l.w.target.producer
		var out prepared
		if out.id = id; !have {
			out.id, out.err = p.newID(p.life)
		}
		if out.err == nil {
			out.to, out.err = p.leader(p.life, l.w.topic, l.partition)
		}
		l.ready <- out
	}()
}

func (l *lane) prepared(p prepared) {
	l.preparing = false
	if p.err == nil {
		l.id, l.have, l.to, l.known = p.id, true, p.to, true
		return
	}
	switch hubferry.KindOf(p.err) {
	case hubferry.Transient, hubferry.Throttled:
		l.stumble(p.err)
	default:
		l.failHead(p.err)
	}
}

// launch sends one batch in the background.
func (l *lane) launch(b *batch) {
	if !b.sealed {
		b.seal(l.id, false)
		b.sealed = true
	}
	l.sent++
	l.flying++
	b.flying = true
	l.w.target.producer.sink(l.to, l.partition).put(shipment{topic: l.w.topic, partition: l.partition, batch: b, answers: l.answers})
}

// withdraw takes batches of this lane back that wait to be sent. Their answers say so.
func (l *lane) withdraw(which func(b *batch) bool) {
	if l.flying > 0 && l.known {
		l.w.target.producer.sink(l.to, l.partition).withdraw(l.answers, which)
	}
}

// answered takes in what became of a batch.
func (l *lane) answered(a answer) {
	b := a.batch
	l.flying--
	b.flying = false
	switch {
	case b.run.over.Load():
		l.release(b)
	case a.err != nil:
		b.unsure = b.unsure || !a.unsent
		if kind, _ := kindOf(a.err); kind == hubferry.Unauthorized || !l.w.target.producer.idempotent() && b.unsure {
			l.failRun(b.run, l.failure(b, a.err))
			return
		}
		l.stumble(a.err)
	case a.code == nil:
		l.stored(b, a.offset)
	default:
		l.judge(b, a.code)
	}
}

// stored notes a batch as confirmed (INV-1).
func (l *lane) stored(b *batch, offset int64) {
	b.acked, b.offset = true, offset
	l.proven = true
	if l.trouble == nil {
		l.calm() // else one before it has failed, and its time runs on
	}
	for len(l.queue) > 0 && l.queue[0].acked {
		b := l.queue[0]
		l.queue[0] = nil
		l.queue = l.queue[1:]
		l.sent = max(l.sent-1, 0)
		b.run.left--
		b.run.receipt.N += b.n
		if b.run.receipt.Last.Sequence = -1; b.offset >= 0 {
			b.run.receipt.Last.Sequence = b.offset + int64(b.n) - 1
		}
		l.w.target.producer.recycle(b.data)
		l.release(b)
	}
}

// judge decides what a broker's refusal means.
func (l *lane) judge(b *batch, code *kerr.Error) {
	kind, _ := kindOf(code)
	switch {
	case code.Code == kerr.RequestTimedOut.Code || code.Code == kerr.NotEnoughReplicasAfterAppend.Code:
		b.unsure = true
		if !l.w.target.producer.idempotent() {
			l.failRun(b.run, l.failure(b, code))
			return
		}
		l.stumble(code)
	case code.Code == kerr.OutOfOrderSequenceNumber.Code && b != l.queue[0]:
		l.stumble(code) // one before it has not arrived
	case kind.Poison() && b.n > 1:
		// Nothing of it is stored. One record is at fault, or the batch as a whole is too
		// large, and which of them is found by dividing it.
		l.division = b
		l.stumble(code)
	case code.Retriable || code.Code == kerr.ConcurrentTransactions.Code:
		l.stumble(code)
	default:
		l.failRun(b.run, l.failure(b, code))
	}
}

// failure is the error of a run by that of its batch.
func (l *lane) failure(b *batch, cause error) error {
	err := classify("write", cause)
	e, ok := errors.AsType[*hubferry.Error](err)
	if !ok {
		return err
	}
	own := *e
	own.Place, own.Unsure = l.place, b.unsure || !own.Kind.Poison() && l.doubtful(b.run)
	if own.Kind.Poison() {
		own.Event, own.Err = b.events[0], eventError(b.events[0], own.Err)
	}
	return &own
}

// failHead fails the oldest run.
func (l *lane) failHead(cause error) {
	if len(l.queue) > 0 {
		l.failRun(l.queue[0].run, l.failure(l.queue[0], cause))
	}
}

// stumble notes that what is in flight must be sent again, once all of it has been answered.
func (l *lane) stumble(cause error) {
	now := time.Now()
	if l.trouble != nil { // one cause is enough
		return
	}
	l.trouble = cause
	l.withdraw(func(*batch) bool { return true }) // it would only be refused, and has to be waited for
	if l.since.IsZero() {
		l.since = now
	}
	if l.again = now; l.division == nil {
		l.again = now.Add(backoff(l.tries))
		l.tries++
	}
}

// recover makes ready to send again, in the same order under the same sequence numbers. It
// reports whether that can begin.
func (l *lane) recover() bool {
	if l.flying > 0 || l.preparing || len(l.queue) == 0 {
		return false
	}
	if l.division != nil {
		err := l.divide(l.division)
		if l.division = nil; err != nil {
			l.failHead(err)
			return false
		}
		l.again, l.since = time.Now(), time.Now()
	}
	head := l.queue[0]
	limit := min(lanePatience, l.w.target.conn.options.deliveryTimeout())
	if head.unsure {
		limit = l.w.target.conn.options.deliveryTimeout()
	}
	now := time.Now()
	if now.Sub(l.since) > limit {
		l.failHead(l.trouble)
		return false
	}
	if now.Before(l.again) {
		return false
	}
	// One goes ahead: a leader who has lost what it knew of the producer would take any.
	l.trouble, l.sent, l.known, l.proven = nil, 0, false, false
	l.w.target.producer.forget(l.w.topic)
	return true
}

// divide replaces a batch by its halves, which together have the same sequence numbers.
func (l *lane) divide(b *batch) error {
	at := slices.Index(l.queue, b)
	if at < 0 {
		return nil
	}
	half := b.n / 2
	first, err := l.w.rebatch(b.events[:half], b)
	if err != nil {
		return err
	}
	second, err := l.w.rebatch(b.events[half:], b)
	if err != nil {
		return err
	}
	first.sequence, first.cost, first.slot = b.sequence, b.cost, b.slot
	second.sequence = nextSequence(b.sequence, half)
	l.queue = slices.Replace(l.queue, at, at+1, first, second)
	b.run.left++
	return nil
}
