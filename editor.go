package hubferry

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"
)

// Editor maps events to events. The engine makes one per source partition, so an
// editor needs no locks. Untouched events pass: nothing can be lost by omission (G-11).
// An error of Edit is about the editor as a whole (its reference data cannot be read,
// say), stops the partition and is retried; an error about one event is a Reject.
type Editor interface {
	Edit(ctx context.Context, d *Draft) error
}

// Flusher is the optional side of an Editor that holds events back.
type Flusher interface {
	// Due returns when Flush wants to be called next; the zero time if it holds nothing.
	Due() time.Time
	// Flush merges what is due into the draft, which is empty otherwise; with all set it
	// releases everything, oldest first: the window is full, the task stops or pauses.
	Flush(ctx context.Context, d *Draft, all bool) error
}

// Resumer is the optional side of an Editor whose state outlives a restart.
type Resumer interface {
	// Resume takes the state that was stored with the checkpoint, and the events that
	// were found on the target after it. Called again it rewinds.
	Resume(ctx context.Context, state []byte, tail []Event) error
	// State returns the state as of the events that were edited so far, at most 1 KiB.
	State() []byte
}

// Closer is the optional side of an Editor that holds something open: a program, a file, a
// connection. The engine closes an editor once, when its partition is given up or begins
// anew.
type Closer interface {
	Close(ctx context.Context) error
}

// EditorFunc makes an Editor of a function that sees one event at a time. The function
// may edit e in place. It returns nil to pass e on, an empty slice that is not nil to
// drop it, or the events that take its place. An error makes the event poison.
type EditorFunc func(ctx context.Context, e *Event) ([]Event, error)

// Edit implements Editor.
func (f EditorFunc) Edit(ctx context.Context, d *Draft) error {
	for i := range d.Events {
		parts, err := f(ctx, &d.Events[i])
		switch {
		case err != nil:
			d.Reject(i, err)
		case parts != nil:
			d.Replace(i, parts...)
		}
	}
	return ctx.Err()
}

// Ticket stands for one input of a task, from the moment it is read until it is
// settled. Editors that hold events keep their tickets.
type Ticket struct {
	Origin   *Place
	Sequence int64
	// Token is the engine's own note; editors leave it alone.
	Token any
}

// Verdict is an input that produced no output, for the engine to settle.
type Verdict struct {
	Ticket Ticket
	// Err is why the event is poison, or nil for a deliberate drop.
	Err error
	Why string // why it was dropped, for counters: a constant text
}

// Draft is a run of events on its way through the editors. Indexes are stable during
// one Edit: Drop, Reject, Replace and Hold only mark an event.
type Draft struct {
	// Events may be changed in place through Event.Edit. Editors do not resize it.
	Events   []Event
	slots    []slot
	verdicts []Verdict
	merged   []output
	dirty    bool
}

// slot is what a Draft knows of the event with the same index.
type slot struct {
	ticket Ticket
	more   []Ticket // further inputs, when the event is an aggregate
	parts  []Event
	gone   bool
}

// output is an event made by Merge.
type output struct {
	before  int // the event of the draft that it precedes
	event   Event
	tickets []Ticket
}

// Reset empties the draft for reuse. For the engine.
func (d *Draft) Reset() {
	clear(d.Events)
	clear(d.slots)
	clear(d.verdicts)
	d.Events, d.slots, d.verdicts, d.merged, d.dirty = d.Events[:0], d.slots[:0], d.verdicts[:0], nil, false
}

// Add appends an input, or an aggregate of several. For the engine.
func (d *Draft) Add(e Event, t Ticket, more ...Ticket) {
	d.Events = append(d.Events, e)
	d.slots = append(d.slots, slot{ticket: t, more: more})
}

// Drop removes event i deliberately: it counts as settled. Why is a short constant
// text that becomes a counter's label.
func (d *Draft) Drop(i int, why string) {
	for _, t := range d.take(i) {
		d.verdicts = append(d.verdicts, Verdict{Ticket: t, Why: why})
	}
}

// Reject declares event i poison; the task's onError policy decides what happens.
func (d *Draft) Reject(i int, err error) {
	for _, t := range d.take(i) {
		d.verdicts = append(d.verdicts, Verdict{Ticket: t, Err: err})
	}
}

// Replace puts the parts, in their order, in the place of event i. Each is settled on
// its own; the input is when all are. Parts without an origin get that of the event.
// No parts is a Drop.
func (d *Draft) Replace(i int, parts ...Event) {
	if d.slots[i].gone {
		return
	}
	if len(parts) == 0 {
		d.Drop(i, "replaced by nothing")
		return
	}
	d.slots[i].parts, d.slots[i].gone, d.dirty = parts, true, true
}

// Hold takes event i out of the draft without settling it. The editor keeps the
// tickets until it passes them to Merge.
func (d *Draft) Hold(i int) []Ticket { return d.take(i) }

// Merge adds events that settle held inputs, ahead of event number before of the draft, or
// at the end with len(d.Events): what was held of a key comes ahead of what follows it
// (INV-4). The inputs are done when all these events are confirmed; with no events they
// are dropped. The tickets of one Hold go into one Merge. It panics when there are events
// but no tickets, because nothing would be settled by them.
func (d *Draft) Merge(before int, held []Ticket, into ...Event) {
	if len(into) == 0 {
		for _, t := range held {
			d.verdicts = append(d.verdicts, Verdict{Ticket: t, Why: "merged into nothing"})
		}
		return
	}
	if len(held) == 0 {
		panic("hubferry: Merge of events without the tickets that they settle")
	}
	for _, e := range into {
		d.merged = append(d.merged, output{before: before, event: e, tickets: held})
	}
	d.dirty = true
}

// take marks event i as gone and returns its tickets, or none if it is gone already.
func (d *Draft) take(i int) []Ticket {
	s := &d.slots[i]
	if s.gone {
		return nil
	}
	s.gone, d.dirty = true, true
	return append([]Ticket{s.ticket}, s.more...)
}

// Sweep carries out what an editor marked, so that the next editor sees a plain list.
// For the engine.
func (d *Draft) Sweep() {
	if !d.dirty {
		return
	}
	events := make([]Event, 0, len(d.Events)+len(d.merged))
	slots := make([]slot, 0, len(d.Events)+len(d.merged))
	add := func(e Event, from *Event, tickets []Ticket) {
		if from != nil && e.Origin == nil {
			e.Key, e.Time, e.Pos, e.Origin = pick(e.Key, from.Key), from.Time, from.Pos, from.Origin
			if _, pinned := e.Pinned(); !pinned {
				e.pin = from.pin
			}
		}
		events = append(events, e)
		slots = append(slots, slot{ticket: tickets[0], more: tickets[1:]})
	}
	// A stable sort keeps merges at one place in the order in which they were made.
	slices.SortStableFunc(d.merged, func(a, b output) int { return cmp.Compare(a.before, b.before) })
	merged := d.merged
	release := func(before int) {
		for ; len(merged) > 0 && merged[0].before <= before; merged = merged[1:] {
			add(merged[0].event.Share(), nil, merged[0].tickets)
		}
	}
	for i := range d.Events {
		release(i)
		s := &d.slots[i]
		tickets := append([]Ticket{s.ticket}, s.more...)
		if !s.gone {
			add(d.Events[i].Share(), nil, tickets)
		}
		for j := range s.parts {
			add(s.parts[j].Share(), &d.Events[i], tickets)
		}
	}
	release(math.MaxInt)
	d.Events, d.slots, d.merged, d.dirty = events, slots, nil, false
}

func pick(own, other Key) Key {
	if own.Kind != NoKey {
		return own
	}
	return other
}

// Tickets returns the inputs that event i settles. For the engine, after Sweep.
func (d *Draft) Tickets(i int) (first Ticket, more []Ticket) {
	return d.slots[i].ticket, d.slots[i].more
}

// Verdicts returns the inputs that were dropped or rejected. For the engine.
func (d *Draft) Verdicts() []Verdict { return d.verdicts }

// EditorKind is a named sort of editor that a configuration can ask for.
type EditorKind struct {
	Name    string
	Options func() Options // a fresh struct, decoded strictly
	// Lane says that the editor runs after a target partition was chosen, one instance
	// per source and target partition (G-18).
	Lane bool
	// New makes an editor for one source partition. It compiles and checks what its
	// options hold, so that a mistake shows when the task starts.
	New func(o Options, env Env) (Editor, error)
}

// Condition decides about an event, for routes. It does not change the event. It may be
// called by several goroutines at once, for different events.
type Condition func(e *Event) (bool, error)
