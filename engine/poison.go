package engine

import (
	"errors"
	"fmt"

	"github.com/hubferry/hubferry"
)

// poison applies the onError policy to one input. It was read from this worker's
// partition; err says why it can never be delivered.
// What it returns is closed when the dead letter that comes of it is confirmed.
func (w *worker) poison(t hubferry.Ticket, err error) []<-chan struct{} {
	b, ok := t.Token.(*batch)
	if !ok {
		return w.poisonOutput(t.Token.(*output), err) //nolint:forcetypeassert // the engine made every ticket
	}
	err = fmt.Errorf("event %s@%d: %w", w.place, t.Sequence, err)
	switch w.OnError {
	case OnErrorDrop:
		w.count(func(c *hubferry.Counts) { c.Dropped["poison"]++ })
		w.log.Warn("event dropped as onError says", "partition", w.place.Partition, "sequence", t.Sequence, "error", err)
		b.settle(1)
	case OnErrorDeadLetter:
		if _, twice := b.dead.LoadOrStore(t.Sequence, true); twice {
			b.settle(1) // another part of it is on its way to the dead letters
			return nil
		}
		return []<-chan struct{}{w.deadLetter(b, t, err)}
	default:
		w.fail(&hubferry.Error{
			Kind: hubferry.Refused, Op: "stop", Err: err,
			Hint: "onError is stop: repair the cause and resume or restart the task, or set onError: dead-letter or drop",
		})
	}
	return nil
}

// poisonOutput applies the policy to every input of an output.
func (w *worker) poisonOutput(o *output, err error) []<-chan struct{} {
	if o.dead != nil {
		w.fail(fmt.Errorf("the dead-letter target refused the event: %w", err))
		return nil
	}
	var buried []<-chan struct{}
	for _, t := range o.tickets() {
		buried = append(buried, w.poison(t, err)...)
	}
	return buried
}

// The properties that tell why an event is among the dead letters. The first two are
// those that Service Bus uses.
const (
	deadLetterReason      = "DeadLetterReason"
	deadLetterDescription = "DeadLetterErrorDescription"
	deadLetterTask        = "DeadLetterTask"
	deadLetterPosition    = "DeadLetterPosition"
)

// deadLetter sends an input, as it was read, to the dead-letter target. It is settled when
// it is durable there, and what deadLetter returns is closed then.
func (w *worker) deadLetter(b *batch, t hubferry.Ticket, cause error) <-chan struct{} {
	b.kept.Store(true)
	var e hubferry.Event
	if in := b.input(t.Sequence); in != nil {
		e = in.Share()
	}
	c, err := e.Edit()
	if err != nil {
		// The content cannot be decoded: its position tells where it can be fetched.
		key, at, pos, origin := e.Key, e.Time, e.Pos, e.Origin
		c = &hubferry.Content{BodyKind: hubferry.BodyNull}
		e = hubferry.NewEvent(c)
		e.Key, e.Time, e.Pos, e.Origin = key, at, pos, origin
	}
	reason := "poison"
	if e, ok := errors.AsType[*hubferry.Error](cause); ok {
		reason = e.Kind.String()
	}
	c.Properties.Set(deadLetterReason, hubferry.String(reason))
	c.Properties.Set(deadLetterDescription, hubferry.String(cause.Error()))
	c.Properties.Set(deadLetterTask, hubferry.String(w.Name))
	c.Properties.Set(deadLetterPosition, hubferry.String(fmt.Sprintf("%s@%d", w.place, t.Sequence)))
	w.log.Warn("event dead-lettered", "partition", w.place.Partition, "sequence", t.Sequence, "error", cause)
	p := w.dead.partition(&e, w.deadRoute.layout.Partition)
	o := &output{event: &e, ticket: t, dead: make(chan struct{})}
	w.lane(w.deadRoute, p).put(newItem(o, w))
	return o.dead
}
