package edittest

import (
	"context"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

func emptyDraft(s *suite) {
	e := s.editor()
	p := &pass{}
	var d hubferry.Draft
	d.Reset()
	if err := s.within("Edit", func(ctx context.Context) error { return e.Edit(ctx, &d) }); err != nil {
		s.t.Fatalf("edit an empty draft: %v", err)
	}
	s.collect(p, &d)
	s.flush(e, p, true)
	if n := len(p.outputs) + len(p.verdicts); n > 0 {
		s.t.Errorf("no inputs became %d outputs and verdicts", n)
	}
}

func settled(s *suite) {
	for _, size := range []int{1, 3, 7, len(s.inputs)} {
		s.account(s.whole(size), s.inputs)
	}
}

// inputsStay looks at the inputs before and after. Other routes and the dead letters use
// the same bytes.
func inputsStay(s *suite) {
	before := make([]uint64, len(s.inputs))
	for i := range s.inputs {
		own := s.inputs[i].Share()
		before[i] = sum(&own)
	}
	for _, size := range []int{1, len(s.inputs)} {
		p := s.whole(size)
		outputs := p.prints()
		for i := range s.inputs {
			own := s.inputs[i].Share()
			if sum(&own) != before[i] {
				s.t.Fatalf("input %d changed to %s", s.inputs[i].Pos.Sequence, show(&own))
			}
		}
		s.whole(size) // another pass leaves the outputs of this one alone
		s.same("outputs of an earlier pass", outputs, p.prints())
	}
}

// keyOrder checks that what comes of the events of one key comes in their order (INV-4).
func keyOrder(s *suite) {
	for _, size := range []int{1, 5, len(s.inputs)} {
		p := s.whole(size)
		newest := map[string]int64{}
		for i := range p.outputs {
			for _, t := range p.outputs[i].tickets {
				key := s.input(t).Key.String()
				if t.Sequence < newest[key] {
					s.t.Fatalf("in drafts of %d: output %d settles input %d of key %q, after one that settles input %d",
						size, i, t.Sequence, key, newest[key])
				}
				newest[key] = t.Sequence
			}
		}
	}
}

func draftSizes(s *suite) {
	if s.Lasting {
		s.t.Skip("what comes out depends on time or drafts")
	}
	want := s.whole(1)
	for _, size := range []int{2, 7, len(s.inputs)} {
		s.same("larger drafts", want.prints(), s.whole(size).prints())
	}
}

// origins checks that an output which settles one input is known by its position, which
// its provenance and identity are made of (G-3).
func origins(s *suite) {
	p := s.whole(6)
	for i := range p.outputs {
		o := &p.outputs[i]
		if len(o.tickets) != 1 || o.event.Origin == nil {
			continue // the engine gives an aggregate its origin
		}
		in := s.input(o.tickets[0])
		if o.event.Origin != in.Origin || o.event.Pos != in.Pos || !o.event.Time.Equal(in.Time) {
			s.t.Errorf("output %d of input %d is at %v@%v of %v", i, in.Pos.Sequence, o.event.Origin, o.event.Pos, o.event.Time)
		}
	}
}

// twoInstances runs two instances side by side and in turn: the engine makes one for each
// partition, and nothing of one shows in the other.
func twoInstances(s *suite) {
	if s.Lasting {
		s.t.Skip("what comes out depends on time or drafts")
	}
	want := s.whole(4)
	a, b := s.editor(), s.editor()
	pa, pb := &pass{}, &pass{}
	for i := range s.inputs {
		s.edit(a, pa, s.inputs[i:i+1], 1)
		s.edit(b, pb, s.inputs[i:i+1], 1)
	}
	s.flush(a, pa, true)
	s.flush(b, pb, true)
	s.same("the first of two in turn", want.prints(), pa.prints())
	s.same("the second of two in turn", want.prints(), pb.prints())
	if s.t.Failed() {
		return // side by side they would only race
	}
	var group sync.WaitGroup
	for range 2 {
		e := s.editor()
		own := make([]hubferry.Event, len(s.inputs))
		for i := range s.inputs {
			own[i] = s.inputs[i].Share()
		}
		group.Go(func() {
			p := &pass{}
			s.edit(e, p, own, 3)
			s.flush(e, p, true)
		})
	}
	group.Wait() // for the race detector
}

func flush(s *suite) {
	e := s.editor()
	f, ok := e.(hubferry.Flusher)
	if !ok {
		s.t.Skip("the editor holds nothing")
	}
	p := &pass{}
	for i := range s.inputs {
		s.edit(e, p, s.inputs[i:i+1], 1)
		held := i + 1 - p.settled()
		if due := f.Due(); held > 0 && due.IsZero() {
			s.t.Fatalf("%d inputs are held, and no flush is due", held)
		} else if held == 0 && !due.IsZero() {
			s.t.Fatalf("nothing is held, and a flush is due at %v", due)
		}
	}
	s.flush(e, p, true)
	s.account(p, s.inputs)
	if due := f.Due(); !due.IsZero() {
		s.t.Errorf("everything was released, and a flush is due at %v", due)
	}
	before := len(p.outputs) + len(p.verdicts)
	s.flush(e, p, true)
	if after := len(p.outputs) + len(p.verdicts); after != before {
		s.t.Errorf("the second flush released %d more", after-before)
	}
	s.edit(e, &pass{}, s.inputs, 3) // the editor is as good as before
}

// settled returns how many inputs are accounted for.
func (p *pass) settled() int {
	seen := map[int64]bool{}
	for i := range p.outputs {
		for _, t := range p.outputs[i].tickets {
			seen[t.Sequence] = true
		}
	}
	for _, v := range p.verdicts {
		seen[v.Ticket.Sequence] = true
	}
	return len(seen)
}

// flushDue waits until a flush is due, and flushes what is.
func flushDue(s *suite) {
	e := s.editor()
	f, ok := e.(hubferry.Flusher)
	if !ok {
		s.t.Skip("the editor holds nothing")
	}
	p := &pass{}
	s.edit(e, p, s.inputs, 4)
	for range len(s.inputs) + 1 {
		due := f.Due()
		if due.IsZero() {
			s.account(p, s.inputs)
			return
		}
		wait := time.Until(due)
		if wait > time.Hour {
			s.t.Skip("a flush is due in " + wait.String())
		}
		timer := time.NewTimer(wait)
		<-timer.C
		before := p.settled()
		s.flush(e, p, false)
		if p.settled() == before && f.Due().Equal(due) {
			s.t.Fatal("a flush that was due released nothing")
		}
	}
	s.t.Error("there is always one more flush due")
}

// stateful returns an editor as a Resumer, or skips.
func (s *suite) stateful() (hubferry.Editor, hubferry.Resumer) {
	s.t.Helper()
	e := s.editor()
	r, ok := e.(hubferry.Resumer)
	if !ok {
		s.t.Skip("the editor keeps no state")
	}
	s.resume(r, nil)
	return e, r
}

func (s *suite) resume(r hubferry.Resumer, state []byte) {
	s.t.Helper()
	if err := s.within("Resume", func(ctx context.Context) error { return r.Resume(ctx, state, nil) }); err != nil {
		s.t.Fatalf("resume: %v", err)
	}
}

// resume restarts the editor after each input in turn: what comes after is the same.
func resume(s *suite) {
	for cut := range s.inputs {
		e, r := s.stateful()
		s.edit(e, &pass{}, s.inputs[:cut], 3)
		state := append([]byte{}, r.State()...)
		want := &pass{}
		s.edit(e, want, s.inputs[cut:], 3)
		fresh, again := s.stateful()
		s.resume(again, state)
		got := &pass{}
		s.edit(fresh, got, s.inputs[cut:], 3)
		s.same("after a restart", want.prints(), got.prints())
	}
}

// rewind takes the editor back to an earlier state: a write failed and its events come
// again.
func rewind(s *suite) {
	e, r := s.stateful()
	half := len(s.inputs) / 2
	s.edit(e, &pass{}, s.inputs[:half], 3)
	state := append([]byte{}, r.State()...)
	want := &pass{}
	s.edit(e, want, s.inputs[half:], 3)
	s.resume(r, state)
	got := &pass{}
	s.edit(e, got, s.inputs[half:], 3)
	s.same("after a rewind", want.prints(), got.prints())
	s.resume(r, nil)
	first := &pass{}
	s.edit(e, first, s.inputs, 3)
	fresh, _ := s.stateful()
	want = &pass{}
	s.edit(fresh, want, s.inputs, 3)
	s.same("after a rewind to the beginning", want.prints(), first.prints())
}

func stateIsKept(s *suite) {
	e, r := s.stateful()
	for i := range s.inputs {
		s.edit(e, &pass{}, s.inputs[i:i+1], 1)
		state := r.State()
		if len(state) > 1024 {
			s.t.Fatalf("the state takes %d bytes, at most 1,024 are kept", len(state))
		}
		before := string(state)
		if again := string(r.State()); again != before {
			s.t.Fatalf("State changes the state: %q and then %q", before, again)
		}
		s.edit(e, &pass{}, s.inputs[:1], 1)
		r.State()
		if string(state) != before {
			s.t.Fatal("a state that was handed out changes with the editor")
		}
	}
}

// cancelled edits with a context that is over: the call comes back.
func cancelled(s *suite) {
	e := s.editor()
	var d hubferry.Draft
	d.Reset()
	for i := range s.inputs {
		d.Add(s.inputs[i].Share(), hubferry.Ticket{Origin: s.inputs[i].Origin, Sequence: s.inputs[i].Pos.Sequence})
	}
	err := s.within("Edit with a context that is over", func(ctx context.Context) error {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return e.Edit(ctx, &d)
	})
	_ = err // it may have needed no waiting; what counts is that it came back
	s.whole(len(s.inputs))
}

func check(s *suite) {
	if s.Check == nil {
		s.t.Skip("the subject has no check")
	}
	p := s.whole(5)
	s.Check(s.t, s.inputs, p.events())
}
