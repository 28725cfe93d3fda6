package edittest

import (
	"context"
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// suite is what one case works with.
type suite struct {
	t testing.TB
	Subject
	inputs []hubferry.Event
}

// output is an event that came out, and the inputs that it settles.
type output struct {
	event   hubferry.Event
	tickets []hubferry.Ticket
}

// pass accounts for one way of the inputs through an editor.
type pass struct {
	outputs  []output
	verdicts []hubferry.Verdict
	drafts   []int // number of outputs after each draft
}

func (s *suite) editor() hubferry.Editor {
	s.t.Helper()
	e, err := s.New()
	if err != nil {
		s.t.Fatalf("make an editor: %v", err)
	}
	return e
}

// within runs one call of the editor, which must end when its context does.
func (s *suite) within(what string, call func(ctx context.Context) error) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.t.Context()), s.Patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	timer := time.NewTimer(s.Patience + s.Patience/2)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		s.t.Fatalf("%s takes longer than %v", what, s.Patience)
		return nil
	}
}

// edit passes inputs through an editor in drafts of a size.
func (s *suite) edit(e hubferry.Editor, p *pass, inputs []hubferry.Event, size int) {
	s.t.Helper()
	var d hubferry.Draft
	for from := 0; from < len(inputs); from += size {
		d.Reset()
		for i := range inputs[from:min(from+size, len(inputs))] {
			in := &inputs[from+i]
			d.Add(in.Share(), hubferry.Ticket{Origin: in.Origin, Sequence: in.Pos.Sequence, Token: p})
		}
		n := len(d.Events)
		if err := s.within("Edit", func(ctx context.Context) error { return e.Edit(ctx, &d) }); err != nil {
			s.t.Fatalf("edit: %v", err)
		}
		if len(d.Events) != n {
			s.t.Fatalf("the editor made %d events of %d by itself; Drop, Replace and Merge are the way", len(d.Events), n)
		}
		s.collect(p, &d)
	}
}

// flush releases what an editor holds, if it is a Flusher.
func (s *suite) flush(e hubferry.Editor, p *pass, all bool) {
	s.t.Helper()
	f, ok := e.(hubferry.Flusher)
	if !ok {
		return
	}
	var d hubferry.Draft
	d.Reset()
	if err := s.within("Flush", func(ctx context.Context) error { return f.Flush(ctx, &d, all) }); err != nil {
		s.t.Fatalf("flush: %v", err)
	}
	s.collect(p, &d)
}

// collect takes the events and verdicts out of a draft.
func (s *suite) collect(p *pass, d *hubferry.Draft) {
	s.t.Helper()
	d.Sweep()
	for i := range d.Events {
		first, more := d.Tickets(i)
		p.outputs = append(p.outputs, output{d.Events[i].Share(), append([]hubferry.Ticket{first}, more...)})
	}
	p.verdicts = append(p.verdicts, d.Verdicts()...)
	p.drafts = append(p.drafts, len(p.outputs))
}

// whole passes all inputs through a fresh editor and flushes it.
func (s *suite) whole(size int) *pass {
	s.t.Helper()
	p := &pass{}
	e := s.editor()
	s.edit(e, p, s.inputs, size)
	s.flush(e, p, true)
	return p
}

// account checks that each of the inputs is settled once: by one verdict, or by outputs
// that stand side by side, which is how the engine knows the parts of one input.
func (s *suite) account(p *pass, inputs []hubferry.Event) {
	s.t.Helper()
	settled := map[int64]string{}
	last := map[int64]int{}
	for i := range p.outputs {
		for _, t := range p.outputs[i].tickets {
			s.known(p, t)
			if at, twice := last[t.Sequence]; twice && (at != i-1 || p.draft(at) != p.draft(i)) {
				s.t.Errorf("input %d is settled by outputs %d and %d, which do not stand side by side in one draft", t.Sequence, at, i)
			}
			last[t.Sequence] = i
			settled[t.Sequence] = "an output"
		}
	}
	for _, v := range p.verdicts {
		s.known(p, v.Ticket)
		if by, twice := settled[v.Ticket.Sequence]; twice {
			s.t.Errorf("input %d is settled by %s and by a verdict (%q, %v)", v.Ticket.Sequence, by, v.Why, v.Err)
		}
		settled[v.Ticket.Sequence] = "a verdict"
		if v.Err == nil && v.Why == "" {
			s.t.Errorf("input %d is dropped without a reason to count it by", v.Ticket.Sequence)
		}
	}
	for i := range inputs {
		if _, ok := settled[inputs[i].Pos.Sequence]; !ok {
			s.t.Errorf("input %d is never settled", inputs[i].Pos.Sequence)
		}
	}
}

// draft returns in which draft an output came.
func (p *pass) draft(output int) int {
	for i, n := range p.drafts {
		if output < n {
			return i
		}
	}
	return len(p.drafts)
}

func (s *suite) known(p *pass, t hubferry.Ticket) {
	s.t.Helper()
	if t.Token != p || t.Origin == nil {
		s.t.Fatalf("an output settles ticket %+v, which the engine did not give for it", t)
	}
}

// input returns the input of a ticket.
func (s *suite) input(t hubferry.Ticket) *hubferry.Event { return &s.inputs[t.Sequence-100] }

// events returns the outputs as plain events.
func (p *pass) events() []hubferry.Event {
	events := make([]hubferry.Event, len(p.outputs))
	for i := range p.outputs {
		events[i] = p.outputs[i].event.Share()
	}
	return events
}

// prints returns what each output shows, for comparison.
func (p *pass) prints() []string {
	prints := make([]string, len(p.outputs))
	for i := range p.outputs {
		prints[i] = show(&p.outputs[i].event)
	}
	return prints
}

// show returns all that an event shows, as text.
func show(e *hubferry.Event) string {
	c, err := e.Content()
	if err != nil {
		return "undecodable: " + err.Error()
	}
	return fmt.Sprintf("key %d %q at %v: body %d %q properties %q message %q annotations %q footer %q",
		e.Key.Kind, e.Key.Bytes, e.Pos, c.BodyKind, c.Body, c.Properties, c.Message, c.Annotations, c.Footer)
}

// sum is a checksum of all that an event shows.
func sum(e *hubferry.Event) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(show(e)))
	return h.Sum64()
}

// same compares two passes output by output.
func (s *suite) same(what string, want, got []string) {
	s.t.Helper()
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			s.t.Errorf("%s: output %d is\n  %s\nand was\n  %s", what, i, got[i], want[i])
			return
		}
	}
	if len(want) != len(got) {
		s.t.Errorf("%s: %d outputs, there were %d", what, len(got), len(want))
	}
}
