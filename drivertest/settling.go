package drivertest

import (
	"context"
	"errors"
	"fmt"

	"github.com/hubferry/hubferry"
)

func (s *suite) settle(r hubferry.Reader, outcome hubferry.Outcome, events ...hubferry.Event) error {
	s.t.Helper()
	settler, ok := r.(hubferry.Settler)
	if !ok {
		s.t.Fatal("a reader of a queue is a Settler")
	}
	var list []hubferry.Settlement
	for i := range events {
		list = append(list, hubferry.Settlement{Position: events[i].Pos, Outcome: outcome, Reason: "suite"})
	}
	return s.do("settle", func(ctx context.Context) error { return settler.Settle(ctx, list) })
}

// settle settles events out of order, each in its own way.
func settle(s *suite) {
	events := numbered(6)
	s.h.Inject(s.t, 0, events)
	src := s.source()
	r := s.fromStart(src, 0)
	got := s.read(r, 6)
	s.equal("read", events, got)
	for _, step := range []struct {
		outcome hubferry.Outcome
		events  []hubferry.Event
	}{
		{hubferry.Done, []hubferry.Event{got[4], got[1]}}, {hubferry.Reject, got[2:3]}, {hubferry.Release, []hubferry.Event{got[3], got[0]}},
	} {
		if err := s.settle(r, step.outcome, step.events...); err != nil {
			s.t.Fatalf("settle with outcome %d: %v", step.outcome, err)
		}
	}
	if err := s.settle(r, hubferry.Done, got[4]); err != nil {
		s.wants("settle an event twice", err, hubferry.Lost)
	}
	if s.h.Rejected != nil && s.h.Rejected(s.t) != 1 {
		s.t.Errorf("%d events were rejected, want 1", s.h.Rejected(s.t))
	}
	again := s.read(r, 2)
	s.equal("released", []hubferry.Event{events[0], events[3]}, again)
	if err := s.settle(r, hubferry.Done, again...); err != nil {
		s.t.Fatal(err)
	}
	if err := s.settle(r, hubferry.Done, got[5]); err != nil {
		s.t.Fatal(err)
	}
	s.nothing(r)
	if s.h.Dump != nil {
		if left := s.h.Dump(s.t, 0); len(left) > 0 {
			s.t.Errorf("%d events are left: %s", len(left), labels(left))
		}
	}
}

func closeSettlesNothing(s *suite) {
	events := numbered(3)
	s.h.Inject(s.t, 0, events)
	src := s.source()
	r := s.fromStart(src, 0)
	s.read(r, 3)
	s.must("close the reader", r.Close)
	s.equal("read again, when the locks are over", events, s.read(s.fromStart(src, 0), 3))
}

func (s *suite) committer() hubferry.Committer {
	s.t.Helper()
	c, ok := s.writer().(hubferry.Committer)
	switch {
	case !ok && s.h.Shape == Table:
		s.t.Fatal("a writer to a table is a Committer")
	case !ok:
		s.t.Skip("the writer is no Committer")
	}
	return c
}

func (s *suite) adopt(c hubferry.Committer, id hubferry.ID) *hubferry.Checkpoint {
	s.t.Helper()
	var cp *hubferry.Checkpoint
	s.must("adopt", func(ctx context.Context) (err error) {
		cp, err = c.Adopt(ctx, id)
		return err
	})
	return cp
}

func (s *suite) commit(c hubferry.Committer, id hubferry.ID, events []hubferry.Event, prev, next *hubferry.Checkpoint) error {
	s.t.Helper()
	runs := []hubferry.Run{{Events: pointers(events)}}
	return s.do("commit", func(ctx context.Context) error { return c.Commit(ctx, id, runs, prev, next) })
}

func at(sequence int64) *hubferry.Checkpoint {
	return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: sequence, Offset: fmt.Sprint("o", sequence)}, Incarnation: "first"}
}

func commit(s *suite) {
	id := hubferry.ID{Namespace: "source.example", Hub: "hub", ConsumerGroup: "group", Partition: "0"}
	other := id
	other.Partition = "1"
	first, second := s.committer(), s.committer()
	events := withOrigin(numbered(6))
	if cp := s.adopt(first, id); cp != nil {
		s.t.Fatalf("an empty table holds the position %v", cp)
	}
	if err := s.commit(first, id, events[:2], nil, at(41)); err != nil {
		s.t.Fatal(err)
	}
	s.wants("commit on a position that has moved", s.commit(first, id, events[2:4], nil, at(43)), hubferry.Lost)
	s.equal("committed", events[:2], s.h.Dump(s.t, 0))
	if cp := s.adopt(second, id); cp == nil || cp.Position != at(41).Position || cp.Incarnation != "first" {
		s.t.Fatalf("the table holds the position %+v", cp)
	}
	s.wants("commit after another adopted", s.commit(first, id, events[2:4], at(41), at(43)), hubferry.Lost)
	s.equal("committed", events[:2], s.h.Dump(s.t, 0))
	if err := s.commit(second, id, events[2:4], at(41), at(43)); err != nil {
		s.t.Fatal(err)
	}
	if cp := s.adopt(first, other); cp != nil {
		s.t.Errorf("another partition has the position %v", cp)
	}
	if err := s.commit(first, other, events[4:], nil, at(7)); err != nil {
		s.t.Errorf("another partition: %v", err)
	}
	s.equal("committed", events, s.h.Dump(s.t, 0))
}

// commitAll commits runs of which one has an event that is refused: nothing is stored.
func commitAll(s *suite) {
	id := hubferry.ID{Namespace: "source.example", Hub: "hub", ConsumerGroup: "group", Partition: "0"}
	c := s.committer()
	s.adopt(c, id)
	events := withOrigin([]hubferry.Event{sized(1), sized(s.caps.MaxEvent + 1), sized(2)})
	err := s.commit(c, id, events, nil, at(43))
	s.wants("commit an event over the limit", err, hubferry.TooLarge)
	if e, ok := errors.AsType[*hubferry.Error](err); !ok || e.Event != &events[1] {
		s.t.Error("the error does not say which event it is: set Error.Event")
	}
	if left := s.h.Dump(s.t, 0); len(left) > 0 {
		s.t.Errorf("%d events of a commit that failed are there", len(left))
	}
	if err := s.commit(c, id, events[:1], nil, at(41)); err != nil {
		s.t.Errorf("the position moved with a commit that failed: %v", err)
	}
}
