package drivertest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
)

func partitionInfos(s *suite) {
	src := s.source()
	infos := s.places(src)
	if s.caps.Partitions && len(infos) < 4 {
		s.t.Fatalf("the harness gives %d partitions, the suite needs 4", len(infos))
	}
	paths := map[string]bool{}
	for i, info := range infos {
		p := info.Place
		if p.Index != i || p.Namespace == "" || p.Hub == "" || p.Partition == "" || paths[p.Path()] {
			s.t.Errorf("partition %d has the place %+v", i, *p)
		}
		paths[p.Path()] = true
		if info.Begin.Sequence != info.End.Sequence {
			s.t.Errorf("empty partition %d begins at %d and ends at %d", i, info.Begin.Sequence, info.End.Sequence)
		}
	}
	s.h.Inject(s.t, 0, numbered(7))
	after := s.places(src)
	for i := range infos {
		grown := after[i].End.Sequence - infos[i].End.Sequence
		if want := int64(7); (i == 0 && grown != want) || (i > 0 && grown != 0) {
			s.t.Errorf("partition %d grew by %d", i, grown)
		}
		if after[i].Begin != infos[i].Begin {
			s.t.Errorf("partition %d begins at %v and then at %v", i, infos[i].Begin, after[i].Begin)
		}
	}
	events := s.read(s.open(src, after[0].Place, after[0].Begin, hubferry.NoEpoch), 7)
	if first := events[0].Pos.Sequence; first != after[0].Begin.Sequence+1 {
		s.t.Errorf("the first event is %d, the partition begins after %d", first, after[0].Begin.Sequence)
	}
	last := events[6]
	if last.Pos.Sequence != after[0].End.Sequence || (after[0].End.Offset != "" && last.Pos.OffsetText() != after[0].End.Offset) {
		s.t.Errorf("the last event is at %v, the end at %v", last.Pos, after[0].End)
	}
	if at := after[0].EndTime; !at.IsZero() && !at.Equal(last.Time) {
		s.t.Errorf("the last event is of %v, the partition's end of %v", last.Time, at)
	}
}

func placesAgree(s *suite) {
	infos := s.places(s.source())
	var layout hubferry.Layout
	w := s.writer()
	s.must("ask for the layout", func(ctx context.Context) (err error) {
		layout, err = w.Layout(ctx)
		return err
	})
	if len(layout.Places) != len(infos) {
		s.t.Fatalf("the source has %d partitions, the target %d", len(infos), len(layout.Places))
	}
	for i := range infos {
		a, b := infos[i].Place, layout.Places[i]
		if a.Path() != b.Path() || a.Index != b.Index || a.Incarnation != b.Incarnation {
			s.t.Errorf("the source calls partition %d %+v, the target %+v (G-1)", i, *a, *b)
		}
	}
	if layout.Partition == nil && s.caps.Keys && s.caps.Partitions {
		s.t.Error("the layout has no rule for keys")
	}
}

// keyPartitions compares the writer's rule with where the service puts keys.
func keyPartitions(s *suite) {
	var events []hubferry.Event
	for i := range 60 {
		events = append(events, sample("by key", func(e *hubferry.Event, _ *hubferry.Content) {
			e.Key = hubferry.Text(fmt.Sprintf("device-%d-%s", i*i, []string{"", "ß", "世界", "a longer key than twelve bytes"}[i%4]))
		}))
	}
	s.h.Send(s.t, events)
	var layout hubferry.Layout
	w := s.writer()
	s.must("ask for the layout", func(ctx context.Context) (err error) {
		layout, err = w.Layout(ctx)
		return err
	})
	if layout.Partition == nil {
		s.t.Fatal("the layout has no rule for keys")
	}
	found := 0
	for i := range layout.Places {
		for _, e := range s.h.Dump(s.t, i) {
			found++
			if p := layout.Partition(e.Key, len(layout.Places)); p != i {
				s.t.Errorf("key %q is in partition %d, the writer says %d", e.Key.Bytes, i, p)
			}
		}
	}
	if found != len(events) {
		s.t.Errorf("%d events were sent, %d are there", len(events), found)
	}
}

func (s *suite) resolved(src hubferry.Source, p *hubferry.Place, start hubferry.Start) hubferry.Position {
	s.t.Helper()
	var pos hubferry.Position
	s.must("resolve", func(ctx context.Context) (err error) {
		pos, err = src.Resolve(ctx, p, start)
		return err
	})
	return pos
}

func resolve(s *suite) {
	events := numbered(12)
	s.h.Inject(s.t, 0, events[:5])
	s.pause(60 * time.Millisecond)
	s.h.Inject(s.t, 0, events[5:10])
	s.pause(60 * time.Millisecond)
	src := s.source()
	info := s.places(src)[0]
	all := s.read(s.open(src, info.Place, info.Begin, hubferry.NoEpoch), 10)
	latest := s.resolved(src, info.Place, hubferry.Start{Kind: hubferry.StartLatest})
	late := s.resolved(src, info.Place, hubferry.Start{Kind: hubferry.StartTime, Time: time.Now()})
	s.h.Inject(s.t, 0, events[10:])
	all = append(all, s.read(s.open(src, info.Place, all[9].Pos, hubferry.NoEpoch), 2)...)
	// firstAt returns the number of the first event at that time or later.
	firstAt := func(at time.Time) int {
		for i := range all {
			if !all[i].Time.Before(at) {
				return i
			}
		}
		return len(all)
	}
	type startCase struct {
		name  string
		first int // number of the first event that must come
		pos   hubferry.Position
	}
	at := func(t time.Time) hubferry.Position {
		return s.resolved(src, info.Place, hubferry.Start{Kind: hubferry.StartTime, Time: t})
	}
	cases := []startCase{
		{"latest", 10, latest},
		{"a time after the last event", 10, late},
		{"earliest", 0, s.resolved(src, info.Place, hubferry.Start{})},
		{"after event 3", 4, s.resolved(src, info.Place, hubferry.Start{Kind: hubferry.StartAfter, Position: all[3].Pos})},
		{"a time before everything", 0, at(all[0].Time.Add(-time.Hour))},
	}
	for i, t := range []time.Time{all[0].Time, all[5].Time, all[10].Time, all[5].Time.Add(-20 * time.Millisecond)} {
		cases = append(cases, startCase{fmt.Sprint("time ", i), firstAt(t), at(t)})
	}
	for _, c := range cases {
		got := s.read(s.open(src, info.Place, c.pos, hubferry.NoEpoch), len(all)-c.first)
		if len(got) > 0 && got[0].Pos.Sequence != all[c.first].Pos.Sequence {
			s.t.Errorf("%s: the first event is %s, want %s", c.name, label(&got[0]), label(&all[c.first]))
		}
	}
}

func resolveEmpty(s *suite) {
	src := s.source()
	place := s.places(src)[0].Place
	starts := []hubferry.Start{
		{Kind: hubferry.StartEarliest},
		{Kind: hubferry.StartLatest},
		{Kind: hubferry.StartTime, Time: time.Now().Add(-time.Hour)},
		{Kind: hubferry.StartTime, Time: time.Now()},
	}
	positions := make([]hubferry.Position, len(starts))
	readers := make([]hubferry.Reader, len(starts))
	for i, start := range starts {
		positions[i] = s.resolved(src, place, start)
		readers[i] = s.open(src, place, positions[i], hubferry.NoEpoch)
	}
	events := numbered(2)
	s.h.Inject(s.t, 0, events)
	for i := range starts {
		s.equal(fmt.Sprintf("start kind %d", starts[i].Kind), events, s.read(readers[i], 2))
		s.equal(fmt.Sprintf("start kind %d, opened later", starts[i].Kind), events,
			s.read(s.open(src, place, positions[i], hubferry.NoEpoch), 2))
	}
}

// resume opens a reader after every event in turn.
func resume(s *suite) {
	events := numbered(12)
	s.h.Inject(s.t, 0, events)
	src := s.source()
	place := s.places(src)[0].Place
	all := s.read(s.fromStart(src, 0), len(events))
	for i := range all[:len(all)-1] {
		next := s.read(s.open(src, place, all[i].Pos, hubferry.NoEpoch), 1)
		if next[0].Pos != all[i+1].Pos {
			s.t.Errorf("after %v comes %v, want %v", all[i].Pos, next[0].Pos, all[i+1].Pos)
		}
		// A position that was stored as a number alone does as well.
		next = s.read(s.open(src, place, hubferry.Position{Sequence: all[i].Pos.Sequence}, hubferry.NoEpoch), 1)
		if next[0].Pos != all[i+1].Pos {
			s.t.Errorf("after sequence %d comes %v, want %v", all[i].Pos.Sequence, next[0].Pos, all[i+1].Pos)
		}
	}
	last := s.open(src, place, all[len(all)-1].Pos, hubferry.NoEpoch)
	s.nothing(last)
	more := numbered(13)[12:]
	s.h.Inject(s.t, 0, more)
	s.equal("after the last event", more, s.read(s.open(src, place, all[len(all)-1].Pos, hubferry.NoEpoch), 1))
}

// beyondTheEnd resumes at a position that does not exist yet: the hub is not the one
// that it was. The service may refuse it or wait; it must not deliver what lies before.
func beyondTheEnd(s *suite) {
	s.h.Inject(s.t, 0, numbered(3))
	src := s.source()
	info := s.places(src)[0]
	after := hubferry.Position{Sequence: info.End.Sequence + 1000}
	r, err := s.tryOpen(src, info.Place, after, hubferry.NoEpoch)
	if err != nil {
		s.wants("open beyond the end", err, hubferry.Gap)
		return
	}
	ctx, cancel := context.WithTimeout(s.ctx(), min(s.h.patience(), 2*time.Second))
	defer cancel()
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	err = s.doWith(ctx, "read", func(ctx context.Context) error { return r.Read(ctx, &b) })
	switch {
	case errors.Is(err, context.DeadlineExceeded) || (err != nil && ctx.Err() != nil):
	case err != nil:
		s.wants("read beyond the end", err, hubferry.Gap)
	default:
		for i := range b.Events {
			if b.Events[i].Pos.Sequence <= after.Sequence {
				s.t.Errorf("a reader that was opened after %d delivers %d, without an error", after.Sequence, b.Events[i].Pos.Sequence)
			}
		}
	}
}

// expired resumes at an event that retention has removed.
func expired(s *suite) {
	events := numbered(20)
	s.h.Inject(s.t, 0, events)
	src := s.source()
	all := s.read(s.fromStart(src, 0), 20)
	s.h.Trim(s.t, 0, all[11].Pos.Sequence)
	var info hubferry.PartitionInfo
	s.eventually("the partition begins later", func() bool {
		info = s.places(src)[0]
		return info.Begin.Sequence == all[11].Pos.Sequence
	})
	if info.End.Sequence != all[19].Pos.Sequence {
		s.t.Errorf("the end moved to %v", info.End)
	}
	s.equal("from the new beginning", events[12:], s.read(s.open(src, info.Place, info.Begin, hubferry.NoEpoch), 8))
	r, err := s.tryOpen(src, info.Place, all[4].Pos, hubferry.NoEpoch)
	if err == nil {
		var got []hubferry.Event
		got, err = s.tryRead(r, 8, hubferry.Limit{Events: 100, Bytes: 1 << 20})
		if err == nil {
			s.equal("what is left", events[12:], got)
			return
		}
	}
	s.wants("resume at an expired position", err, hubferry.Gap)
}

// recreated deletes the hub and creates it again under a reader.
func recreated(s *suite) {
	s.h.Inject(s.t, 0, numbered(5))
	src := s.source()
	before := s.places(src)[0].Place
	r := s.open(src, before, hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	got := s.read(r, 5)
	s.h.Recreate(s.t)
	s.h.Inject(s.t, 0, numbered(12))
	var after *hubferry.Place
	s.eventually("the new hub is seen", func() bool {
		var infos []hubferry.PartitionInfo
		err := s.do("list partitions", func(ctx context.Context) (err error) {
			infos, err = src.Partitions(ctx)
			return err
		})
		if err != nil {
			return false
		}
		after = infos[0].Place
		return before.Incarnation == "" || after.Incarnation != before.Incarnation
	})
	if after.Path() != before.Path() {
		s.t.Errorf("the new hub is %v, the old one was %v", after, before)
	}
	// The reader of the old hub must not pass the new one's events off as the old one's.
	events, err := s.tryRead(r, 1, hubferry.Limit{Events: 10, Bytes: 1 << 20})
	if err == nil && events[0].Origin.Incarnation == before.Incarnation && before.Incarnation != "" {
		s.t.Errorf("the reader goes on with event %d as if nothing had happened, after %d", events[0].Pos.Sequence, got[4].Pos.Sequence)
	}
}
