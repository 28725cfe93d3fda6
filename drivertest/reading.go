package drivertest

import (
	"context"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

func readOrder(s *suite) {
	events := numbered(700)
	for from := 0; from < len(events); from += 70 {
		s.h.Inject(s.t, 0, events[from:from+70])
	}
	src := s.source()
	r := s.fromStart(src, 0)
	got := s.read(r, len(events))
	s.equal("read", events, got)
	for i := 1; i < len(got); i++ {
		if got[i].Pos.Sequence != got[i-1].Pos.Sequence+1 && !s.places(src)[0].Sparse {
			s.t.Fatalf("event %d comes after event %d", got[i].Pos.Sequence, got[i-1].Pos.Sequence)
		}
		if got[i].Origin != got[0].Origin {
			s.t.Fatal("events of one reader have several origins: a Place is shared")
		}
	}
	s.nothing(r)
}

func readLimits(s *suite) {
	events := append(numbered(50), bodySamples(s)...) // the last has 64 KiB
	s.h.Inject(s.t, 0, events)
	src := s.source()
	for _, limit := range []hubferry.Limit{{Events: 1, Bytes: 1 << 20}, {Events: 7, Bytes: 1 << 20}, {Events: 1000, Bytes: 1}, {Events: 1000, Bytes: 2000}} {
		got, err := s.tryRead(s.fromStart(src, 0), len(events), limit)
		if err != nil {
			s.t.Fatal(err)
		}
		s.equal("read", events, got)
	}
	// One Batch is passed again and again.
	r := s.fromStart(src, 0)
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 5, Bytes: 1 << 20}}
	var got []hubferry.Event
	for len(got) < len(events) {
		s.must("read", func(ctx context.Context) error { return r.Read(ctx, &b) })
		s.checkBatch(&b, got)
		got = append(got, b.Events...)
	}
	last := got[len(got)-1]
	if b.Next.Sequence != last.Pos.Sequence {
		s.t.Errorf("Next is %d, the last event %d", b.Next.Sequence, last.Pos.Sequence)
	}
	if end := s.places(src)[0].End.Sequence; b.End.Sequence >= b.Next.Sequence && b.End.Sequence != end {
		s.t.Errorf("the batch says that the partition ends at %d, the source %d", b.End.Sequence, end)
	}
}

// readWhatIsThere reads less than the limit without waiting for more.
func readWhatIsThere(s *suite) {
	s.h.Inject(s.t, 0, numbered(3))
	r := s.fromStart(s.source(), 0)
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1000, Bytes: 1 << 20}}
	for n := 0; n < 3; n += len(b.Events) {
		s.must("read", func(ctx context.Context) error { return r.Read(ctx, &b) })
	}
}

// readHoles reads on to the end of a partition that does not end with an event. Otherwise
// its lag would never be zero.
func readHoles(s *suite) {
	events := numbered(3)
	s.h.Inject(s.t, 0, events[:2])
	s.h.Hole(s.t, 0)
	src := s.source()
	info := s.places(src)[0]
	r := s.open(src, info.Place, info.Begin, hubferry.NoEpoch)
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	var got []hubferry.Event
	for b.Next.Sequence < info.End.Sequence || len(got) < 2 {
		before := b.Next
		s.must("read up to the end", func(ctx context.Context) error { return r.Read(ctx, &b) })
		if len(b.Events) == 0 && b.Next == before {
			s.t.Fatal("Read brought no event, and Next has not moved")
		}
		s.checkBatch(&b, got)
		got = append(got, b.Events...)
	}
	s.equal("before the hole", events[:2], got)
	s.h.Inject(s.t, 0, events[2:])
	s.equal("behind the hole", events[2:], s.read(r, 1))
	s.equal("resumed in the hole", events[2:], s.read(s.open(src, info.Place, b.Next, hubferry.NoEpoch), 1))
}

func readWaits(s *suite) {
	src := s.source()
	r := s.fromStart(src, 0)
	events := numbered(3)
	var group sync.WaitGroup
	var got []hubferry.Event
	var err error
	group.Go(func() { got, err = s.tryRead(r, 3, hubferry.Limit{Events: 10, Bytes: 1 << 20}) })
	s.pause(30 * time.Millisecond)
	for i := range events {
		s.h.Inject(s.t, 0, events[i:i+1])
	}
	group.Wait()
	if err != nil {
		s.t.Fatal(err)
	}
	s.equal("read", events, got)
}

// readCancel ends a Read that waits by its context.
func readCancel(s *suite) {
	src := s.source()
	r := s.fromStart(src, 0)
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	ctx, cancel := context.WithTimeout(s.ctx(), 50*time.Millisecond)
	defer cancel()
	for {
		err := s.doWith(ctx, "read", func(ctx context.Context) error { return r.Read(ctx, &b) })
		if err != nil {
			break
		}
		if len(b.Events) > 0 {
			s.t.Fatal("an empty partition delivers events")
		}
	}
	s.must("close the reader", r.Close)
	gone, over := context.WithCancel(s.ctx())
	over()
	r = s.fromStart(src, 0)
	if err := s.doWith(gone, "read", func(ctx context.Context) error { return r.Read(ctx, &b) }); err == nil {
		s.t.Error("Read of an empty partition succeeds, with a context that is over")
	}
}

// readClose ends a Read that waits by closing the reader, and another by closing the
// source.
func readClose(s *suite) {
	src := s.source()
	closers := []func(r hubferry.Reader) func(ctx context.Context) error{
		func(r hubferry.Reader) func(ctx context.Context) error { return r.Close },
		func(hubferry.Reader) func(ctx context.Context) error { return src.Close },
	}
	for _, closer := range closers {
		r := s.fromStart(src, 0)
		result := make(chan error, 1)
		go func() {
			b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
			for {
				if err := r.Read(s.ctx(), &b); err != nil {
					result <- err
					return
				}
			}
		}()
		s.pause(20 * time.Millisecond)
		s.must("close while Read waits", closer(r))
		timer := time.NewTimer(s.h.patience())
		select {
		case err := <-result:
			s.note("read", err)
			s.closed("a Read that waited", err)
		case <-timer.C:
			s.t.Fatal("Close does not end a Read that waits")
		}
		timer.Stop()
	}
}

// twoReaders reads one partition twice at once, and another partition beside it.
func twoReaders(s *suite) {
	src := s.source()
	events, others := numbered(40), bodySamples(s)
	s.h.Inject(s.t, 0, events)
	a, b := s.fromStart(src, 0), s.fromStart(src, 0)
	s.equal("half of the first", events[:20], s.read(a, 20))
	s.equal("the second", events, s.read(b, 40))
	s.equal("the rest of the first", events[20:], s.read(a, 20))
	if s.caps.Partitions {
		s.h.Inject(s.t, 1, others)
		s.equal("another partition", others, s.read(s.fromStart(src, 1), len(others)))
	}
	s.nothing(a)
	s.nothing(b)
}

// stolen opens readers with epochs: a higher or equal one takes the partition, a lower
// one is refused, and one without gives way.
func stolen(s *suite) {
	events := numbered(10)
	s.h.Inject(s.t, 0, events)
	src := s.source()
	info := s.places(src)[0]
	lost := func(what string, r hubferry.Reader) {
		s.t.Helper()
		b := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1 << 20}}
		var err error
		for range len(events) + 1 { // what was on its way may still come
			if err = s.do("read", func(ctx context.Context) error { return r.Read(ctx, &b) }); err != nil {
				break
			}
		}
		s.wants(what, err, hubferry.Lost)
	}
	begin := info.Begin
	none := s.open(src, info.Place, begin, hubferry.NoEpoch)
	s.read(none, 1)
	first := s.open(src, info.Place, begin, 3)
	s.equal("epoch 3", events[:2], s.read(first, 2))
	lost("a reader without an epoch, after epoch 3 came", none)
	equal := s.open(src, info.Place, begin, 3)
	s.equal("epoch 3 again", events[:2], s.read(equal, 2))
	lost("epoch 3, after epoch 3 came again", first)
	higher := s.open(src, info.Place, begin, 4)
	s.equal("epoch 4", events, s.read(higher, 10))
	lost("epoch 3, after epoch 4 came", equal)
	refused := func(what string, epoch int64) {
		s.t.Helper()
		r, err := s.tryOpen(src, info.Place, begin, epoch)
		if err == nil {
			lost(what, r)
			return
		}
		s.wants(what, err, hubferry.Lost)
	}
	refused("epoch 2 beside epoch 4", 2)
	refused("no epoch beside epoch 4", hubferry.NoEpoch)
	more := numbered(11)[10:]
	s.h.Inject(s.t, 0, more)
	s.equal("epoch 4 goes on", more, s.read(higher, 1))
}

// readCut breaks the connection again and again and reads on after it.
func readCut(s *suite) {
	events := numbered(300)
	s.h.Inject(s.t, 0, events[:100])
	src := s.source()
	info := s.places(src)[0]
	next := info.Begin
	var got []hubferry.Event
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 20, Bytes: 1 << 20}}
	cuts := 0
	deadline := time.Now().Add(s.h.patience())
	var r hubferry.Reader
	failed := func(what string, err error) {
		s.t.Helper()
		s.wants(what, err, hubferry.Transient, hubferry.Throttled)
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: it does not come back: %v", what, err)
		}
		s.pause(10 * time.Millisecond)
	}
	for len(got) < len(events) {
		var err error
		if r == nil {
			if r, err = s.tryOpen(src, info.Place, next, hubferry.NoEpoch); err != nil {
				failed("open after a cut", err)
				continue
			}
		}
		if err = s.do("read", func(ctx context.Context) error { return r.Read(ctx, &b) }); err != nil {
			failed("read after a cut", err)
			r = nil
			continue
		}
		deadline = time.Now().Add(s.h.patience())
		s.checkBatch(&b, got)
		s.kept.keep(b.Events)
		got = append(got, b.Events...)
		next = b.Next
		if want := len(got) * 3 / len(events); cuts < 3 && (want > cuts || len(got) == 100 || len(got) == 200) {
			s.h.Cut(s.t)
			cuts++
			s.h.Inject(s.t, 0, events[min(cuts*100, 300):min((cuts+1)*100, 300)])
		}
	}
	s.equal("read", events, got)
}
