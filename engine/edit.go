package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// chain is a list of editors, made for one source partition, and the draft that they
// work on.
type chain struct {
	scope string // what precedes the editors' names in a checkpoint: "route/", or nothing
	steps []step
	draft hubferry.Draft
}

type step struct {
	name   string
	editor hubferry.Editor
}

// newChain makes the editors and gives each the state that came with the checkpoint. After
// an error the chain holds those that were made, to be closed.
func newChain(ctx context.Context, scope string, steps []Step, states map[string][]byte) (chain, error) {
	c := chain{scope: scope}
	for i := range steps {
		e, err := steps[i].New()
		if err != nil {
			return c, &hubferry.Error{Kind: hubferry.Fatal, Op: "start editor " + steps[i].Name, Err: err}
		}
		c.steps = append(c.steps, step{steps[i].Name, e})
		if r, ok := resumer(e); ok {
			if err := r.Resume(ctx, states[scope+steps[i].Name], nil); err != nil {
				return c, fmt.Errorf("resume editor %s: %w", steps[i].Name, err)
			}
		}
	}
	return c, nil
}

// close closes the editors that hold something open.
func (c *chain) close(ctx context.Context) error {
	var errs []error
	for i := range c.steps {
		if e, ok := closer(c.steps[i].editor); ok {
			if err := e.Close(ctx); err != nil {
				errs = append(errs, fmt.Errorf("close editor %s: %w", c.steps[i].name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// debt is what a ticket stands for: something that must be settled as often as expected.
type debt interface {
	add(delta int64) // see batch.add
}

// output is an event on its way to a route, and the inputs that it settles. It is itself
// a debt: the editors of a route see outputs of the task's editors as their inputs.
type output struct {
	event  *hubferry.Event // nobody else's: of the batch that was read, or made for this output
	ticket hubferry.Ticket
	more   []hubferry.Ticket
	dead   chan struct{} // closed when it is settled, if it is on its way to the dead letters
}

func (o *output) add(delta int64) {
	debtOf(o.ticket).add(delta)
	for _, t := range o.more {
		debtOf(t).add(delta)
	}
}

// settle notes that the output is done.
func (o *output) settle() {
	o.add(-1)
	if o.dead != nil {
		close(o.dead)
	}
}

// single reports whether settling the output is no more than settling its one ticket.
func (o *output) single() bool { return len(o.more) == 0 && o.dead == nil }

// expect notes that the inputs wait for n more.
func (o *output) expect(n int) { o.add(int64(n)) }

// span returns the lowest and the highest sequence number of the inputs.
func (o *output) span() (lo, hi int64) {
	if _, plain := o.ticket.Token.(*batch); plain && len(o.more) == 0 {
		return o.ticket.Sequence, o.ticket.Sequence
	}
	tickets := o.tickets()
	lo, hi = tickets[0].Sequence, tickets[0].Sequence
	for _, t := range tickets[1:] {
		lo, hi = min(lo, t.Sequence), max(hi, t.Sequence)
	}
	return lo, hi
}

// tickets returns the inputs as they were read.
func (o *output) tickets() []hubferry.Ticket {
	var all []hubferry.Ticket
	for _, t := range append([]hubferry.Ticket{o.ticket}, o.more...) {
		if inner, ok := t.Token.(*output); ok {
			all = append(all, inner.tickets()...)
			continue
		}
		all = append(all, t)
	}
	return all
}

// debtOf returns the engine's own side of a ticket. Every ticket was made by the engine,
// so anything else is an editor's bug that must not pass as "settled".
func debtOf(t hubferry.Ticket) debt { return t.Token.(debt) } //nolint:forcetypeassert // see above

// edit runs the task's editors over a batch. Inputs that came to nothing are settled
// here, or go the way of poison.
func (w *worker) edit(b *batch) ([]output, error) {
	if len(w.tasks.steps) == 0 {
		return w.plain(b), nil
	}
	w.tasks.draft.Reset()
	var poison []hubferry.Verdict
	for i := range b.inputs {
		e := &b.inputs[i]
		ticket := hubferry.Ticket{Origin: e.Origin, Sequence: e.Pos.Sequence, Token: b}
		if _, err := e.Content(); err != nil { // it is poison for every editor
			poison = append(poison, hubferry.Verdict{Ticket: ticket, Err: fmt.Errorf("decode: %w", err)})
			continue
		}
		w.tasks.draft.Add(e.Share(), ticket)
	}
	w.judge(poison)
	return w.tasks.run(w.ctx, w.judge)
}

// states returns the editors' states as of the events that were edited so far.
func (w *worker) states() map[string][]byte {
	states := w.tasks.states(nil)
	for i := range w.routes {
		states = w.routes[i].states(states)
	}
	return states
}

// plain returns the events of a batch as outputs. Whether one can be decoded is then the
// target's question.
func (w *worker) plain(b *batch) []output {
	outputs := w.blank(b)
	for i := range b.inputs {
		e := &b.inputs[i]
		outputs[i].event = e
		outputs[i].ticket = hubferry.Ticket{Origin: e.Origin, Sequence: e.Pos.Sequence, Token: b}
	}
	return outputs
}

// blank returns outputs for the events of a batch: those of one that was given back, if this
// one will be.
func (w *worker) blank(b *batch) []output {
	n := len(b.inputs)
	if b.free == nil {
		return make([]output, n)
	}
	b.spare = &w.spare
	if o, ok := w.spare.Get().(*[]output); ok && cap(*o) >= n {
		*o = (*o)[:n]
		b.outputs = o
	} else {
		o := make([]output, n)
		b.outputs = &o
	}
	return *b.outputs
}

// run passes the draft through the editors and returns what comes out.
func (c *chain) run(ctx context.Context, judge func([]hubferry.Verdict)) ([]output, error) {
	for i := range c.steps {
		c.divide(judge)
		if len(c.draft.Events) == 0 {
			break
		}
		if err := c.steps[i].editor.Edit(ctx, &c.draft); err != nil {
			return nil, fmt.Errorf("editor %s: %w", c.steps[i].name, err)
		}
		c.draft.Sweep()
	}
	return c.collect(judge), nil
}

// flush makes the editors release what is due, or all that they hold. What one editor
// releases passes through those after it.
func (c *chain) flush(ctx context.Context, all bool, judge func([]hubferry.Verdict)) ([]output, error) {
	c.draft.Reset()
	for i := range c.steps {
		c.divide(judge)
		if len(c.draft.Events) > 0 {
			if err := c.steps[i].editor.Edit(ctx, &c.draft); err != nil {
				return nil, fmt.Errorf("editor %s: %w", c.steps[i].name, err)
			}
			c.draft.Sweep()
			c.divide(judge)
		}
		f, ok := flusher(c.steps[i].editor)
		if !ok || (!all && (f.Due().IsZero() || f.Due().After(time.Now()))) {
			continue
		}
		if err := f.Flush(ctx, &c.draft, all); err != nil {
			return nil, fmt.Errorf("flush editor %s: %w", c.steps[i].name, err)
		}
		c.draft.Sweep()
	}
	return c.collect(judge), nil
}

// divide gives each part of an input that the last editor split a ticket of its own: the
// next editor may drop, hold or split one part and pass the others, and the input is done
// when all of them are.
func (c *chain) divide(judge func([]hubferry.Verdict)) {
	split := false
	for i := 1; i < len(c.draft.Events) && !split; i++ {
		a, _ := c.draft.Tickets(i - 1)
		b, _ := c.draft.Tickets(i)
		split = sameInput(a, b)
	}
	if !split {
		return
	}
	outputs := c.collect(judge)
	c.draft.Reset()
	for i := range outputs {
		o := &outputs[i]
		c.draft.Add(o.event.Share(), hubferry.Ticket{Origin: o.ticket.Origin, Sequence: o.ticket.Sequence, Token: o})
	}
}

// collect takes the events out of the draft. An input with several outputs is settled
// when all of them are.
func (c *chain) collect(judge func([]hubferry.Verdict)) []output {
	outputs := make([]output, len(c.draft.Events))
	events := make([]hubferry.Event, len(outputs))
	for i := range outputs {
		o := &outputs[i]
		events[i] = c.draft.Events[i].Share()
		o.event = &events[i]
		o.ticket, o.more = c.draft.Tickets(i)
		// The parts of one input stand side by side.
		if i > 0 && sameInput(o.ticket, outputs[i-1].ticket) {
			o.expect(1)
		}
	}
	judge(slices.Clone(c.draft.Verdicts()))
	return outputs
}

// number tells each output which part of its input it is, and each aggregate of which
// inputs it was made (G-3).
func number(outputs []output) {
	for from := 0; from < len(outputs); {
		first := outputs[from].tickets()
		to := from + 1
		for to < len(outputs) && sameInput(first[0], outputs[to].tickets()[0]) {
			to++
		}
		for i := from; i < to; i++ {
			o := &outputs[i]
			tickets := o.tickets()
			if to-from > 1 || len(tickets) > 1 {
				o.event.SetLineage(&hubferry.Lineage{Part: i - from, More: i < to-1, Members: members(tickets)})
			}
			if o.event.Origin == nil {
				adopt(o.event, tickets[len(tickets)-1])
			}
		}
		from = to
	}
}

func sameInput(a, b hubferry.Ticket) bool { return a.Sequence == b.Sequence && a.Token == b.Token }

// members returns the inputs of an aggregate as ranges, or nil for a single input.
func members(tickets []hubferry.Ticket) []hubferry.Range {
	if len(tickets) < 2 {
		return nil
	}
	var ranges []hubferry.Range
	for _, t := range tickets {
		last := len(ranges) - 1
		if last >= 0 && ranges[last].Place == t.Origin && ranges[last].To == t.Sequence-1 {
			ranges[last].To = t.Sequence
			continue
		}
		ranges = append(ranges, hubferry.Range{Place: t.Origin, From: t.Sequence, To: t.Sequence})
	}
	return ranges
}

// adopt gives an event that an editor made the origin of its newest input.
func adopt(e *hubferry.Event, t hubferry.Ticket) {
	e.Origin, e.Pos.Sequence = t.Origin, t.Sequence
	if b, ok := t.Token.(*batch); ok {
		if in := b.input(t.Sequence); in != nil {
			e.Pos, e.Time = in.Pos, in.Time
		}
	}
}

// due returns when an editor wants to flush, or the zero time.
func (c *chain) due() time.Time {
	var at time.Time
	for i := range c.steps {
		if f, ok := flusher(c.steps[i].editor); ok {
			if d := f.Due(); !d.IsZero() && (at.IsZero() || d.Before(at)) {
				at = d
			}
		}
	}
	return at
}

// states adds what resumable editors want stored with the checkpoint.
func (c *chain) states(states map[string][]byte) map[string][]byte {
	for i := range c.steps {
		if r, ok := resumer(c.steps[i].editor); ok {
			if states == nil {
				states = map[string][]byte{}
			}
			states[c.scope+c.steps[i].name] = slices.Clone(r.State())
		}
	}
	return states
}

// flush releases what editors hold and sends it.
func (w *worker) flush(all bool) error {
	if len(w.tasks.steps) > 0 {
		outputs, err := w.tasks.flush(w.ctx, all, w.judge)
		if err != nil {
			return err
		}
		if err := w.send(outputs); err != nil {
			return err
		}
	}
	for i := range w.routes {
		if len(w.routes[i].steps) == 0 {
			continue
		}
		outputs, err := w.routes[i].flush(w.ctx, all, w.judge)
		if err != nil {
			return err
		}
		number(outputs)
		w.enqueue(i, outputs)
	}
	return nil
}

// judge settles inputs that came to nothing: drops are counted, poison obeys the policy.
func (w *worker) judge(verdicts []hubferry.Verdict) {
	for _, v := range verdicts {
		if v.Err == nil {
			w.count(func(c *hubferry.Counts) { c.Dropped[v.Why]++ })
			debtOf(v.Ticket).add(-1)
			continue
		}
		w.poison(v.Ticket, v.Err)
	}
}
