package drivertest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// chosenPartition writes keyed events where their hash would not put them: the engine
// decides.
func chosenPartition(s *suite) {
	w := s.writer()
	n := len(s.layout(w).Places)
	want := make([][]hubferry.Event, n)
	for p := range n {
		for i := range 8 {
			want[p] = append(want[p], sample(fmt.Sprintf("%d of partition %d", i, p), func(e *hubferry.Event, _ *hubferry.Content) {
				e.Key = hubferry.Text(fmt.Sprint("key ", i))
			}))
		}
		s.write(w, p, withOrigin(want[p]))
	}
	for p := range n {
		s.equal(fmt.Sprintf("partition %d", p), want[p], s.h.Dump(s.t, p))
	}
}

func (s *suite) layout(w hubferry.Writer) hubferry.Layout {
	s.t.Helper()
	var l hubferry.Layout
	s.must("ask for the layout", func(ctx context.Context) (err error) {
		l, err = w.Layout(ctx)
		return err
	})
	for i, p := range l.Places {
		if p.Index != i {
			s.t.Errorf("place %d has index %d", i, p.Index)
		}
	}
	if len(l.Places) == 0 {
		s.t.Fatal("the layout has no places")
	}
	return l
}

// bigRun writes more at once than any service takes in one request.
func bigRun(s *suite) {
	body := bytes.Repeat([]byte("x"), 1024)
	events := make([]hubferry.Event, 3000)
	for i := range events {
		events[i] = sample("", func(e *hubferry.Event, c *hubferry.Content) {
			e.Key = hubferry.Text("key")
			c.Body = append(fmt.Appendf(nil, "%d ", i), body...)
		})
	}
	s.write(s.writer(), 0, withOrigin(events))
	s.equal("written", events, s.h.Dump(s.t, 0))
}

func concurrentPartitions(s *suite) {
	w := s.writer()
	n := min(len(s.layout(w).Places), 8)
	want := make([][]hubferry.Event, n)
	errs := make([]error, n)
	var group sync.WaitGroup
	for p := range n {
		want[p] = withOrigin(numbered(200))
		group.Go(func() {
			ctx, cancel := context.WithTimeout(s.ctx(), s.h.patience())
			defer cancel()
			for from := 0; from < 200; from += 20 {
				r, err := w.Write(ctx, hubferry.Run{Partition: p, Events: pointers(want[p][from : from+20])})
				if err != nil || r.N != 20 {
					errs[p] = fmt.Errorf("%d of 20 are durable: %w", r.N, err)
					return
				}
			}
		})
	}
	group.Wait()
	for p := range n {
		if errs[p] != nil {
			s.t.Errorf("partition %d: %v", p, errs[p])
		}
		s.equal(fmt.Sprintf("partition %d", p), want[p], s.h.Dump(s.t, p))
	}
}

// sized returns an event with a body of n bytes.
func sized(n int) hubferry.Event {
	return sample("", func(e *hubferry.Event, c *hubferry.Content) {
		e.Key = hubferry.Text("key")
		c.Body = bytes.Repeat([]byte{'b'}, n)
	})
}

func tooLarge(s *suite) {
	events := withOrigin([]hubferry.Event{sized(1), sized(2), sized(s.caps.MaxEvent + 1), sized(3), sized(4)})
	w := s.writer()
	receipt, err := s.tryWrite(w, 0, events)
	s.wants("write an event over the limit", err, hubferry.TooLarge)
	if receipt.N != 2 {
		s.t.Errorf("two events come before the one that is too large, the receipt says %d", receipt.N)
	}
	s.equal("before it", events[:2], s.h.Dump(s.t, 0))
	receipt, err = s.tryWrite(w, 0, events[2:])
	s.wants("write it again", err, hubferry.TooLarge)
	if receipt.N != 0 {
		s.t.Errorf("nothing comes before it, the receipt says %d", receipt.N)
	}
	s.write(w, 0, events[3:])
	s.equal("without it", []hubferry.Event{events[0], events[1], events[3], events[4]}, s.h.Dump(s.t, 0))
}

// sizeLimit finds the largest event that is taken, byte by byte.
func sizeLimit(s *suite) {
	w := s.writer()
	lo, hi := 0, s.caps.MaxEvent+1
	var want []hubferry.Event
	for lo+1 < hi {
		n := (lo + hi) / 2
		events := withOrigin([]hubferry.Event{sized(n)})
		receipt, err := s.tryWrite(w, 0, events)
		if err != nil {
			s.wants(fmt.Sprintf("write %d bytes", n), err, hubferry.TooLarge)
			if receipt.N != 0 {
				s.t.Fatalf("an event that is refused counts as durable")
			}
			hi = n
			continue
		}
		want = append(want, events[0])
		lo = n
	}
	if lo < s.caps.MaxEvent/2 {
		s.t.Errorf("the largest body is %d bytes, the driver promises events of %d", lo, s.caps.MaxEvent)
	}
	s.equal("what was taken", want, s.h.Dump(s.t, 0))
	if s.caps.Source && s.h.Inject != nil {
		got, err := s.tryRead(s.fromStart(s.source(), 0), len(want), hubferry.Limit{Events: 100, Bytes: 1000})
		if err != nil {
			s.t.Fatal(err)
		}
		s.equal("what is read", want, got)
	}
}

func writeCancelled(s *suite) {
	w := s.writer()
	events := withOrigin(numbered(3))
	ctx, cancel := context.WithCancel(s.ctx())
	cancel()
	var receipt hubferry.Receipt
	err := s.doWith(ctx, "write", func(ctx context.Context) (err error) {
		receipt, err = w.Write(ctx, hubferry.Run{Events: pointers(events)})
		return err
	})
	if err == nil && receipt.N != len(events) {
		s.t.Errorf("no error, and %d of %d events", receipt.N, len(events))
	}
	if err != nil && hubferry.KindOf(err) != hubferry.Transient {
		s.t.Errorf("a write whose context is over: %v, of kind %v, want transient", err, hubferry.KindOf(err))
	}
	s.write(w, 0, events) // the writer is as good as before
	dump := s.h.Dump(s.t, 0)
	if len(dump) < receipt.N+len(events) {
		s.t.Errorf("%d events are confirmed, %d are there", receipt.N+len(events), len(dump))
	}
}

// writeStalled cancels a write that the service does not answer. Whether it is stored is
// then unknown, and the error says so (G-9).
func writeStalled(s *suite) {
	w := s.writer()
	events := withOrigin(numbered(4))
	s.write(w, 0, events[:2])
	release := s.h.Stall(s.t)
	ctx, cancel := context.WithTimeout(s.ctx(), 200*time.Millisecond)
	defer cancel()
	var receipt hubferry.Receipt
	err := s.doWith(ctx, "write to a service that is stalled", func(ctx context.Context) (err error) {
		receipt, err = w.Write(ctx, hubferry.Run{Events: pointers(events[2:])})
		return err
	})
	stored := len(s.dumpAfter(release)) - 2
	if err == nil || receipt.N > stored {
		s.t.Fatalf("a write that was not answered: %d events are durable, %v; %d are there", receipt.N, err, stored)
	}
	if hubferry.KindOf(err) != hubferry.Transient {
		s.t.Errorf("the error is of kind %v, want transient: %v", hubferry.KindOf(err), err)
	}
	s.retry(w, 0, events[2:])
	s.firsts("after the stall", events, s.h.Dump(s.t, 0))
}

func (s *suite) dumpAfter(release func()) []hubferry.Event {
	s.t.Helper()
	release()
	return s.h.Dump(s.t, 0)
}

// retry writes a run until all of it is durable, as the engine does: from the event that
// the receipt names.
func (s *suite) retry(w hubferry.Writer, partition int, events []hubferry.Event) {
	s.t.Helper()
	for deadline := time.Now().Add(s.h.patience()); len(events) > 0; {
		receipt, err := s.tryWrite(w, partition, events)
		events = events[receipt.N:]
		if err == nil {
			continue
		}
		s.wants("write after a fault", err, hubferry.Transient, hubferry.Throttled, hubferry.Aborted)
		if time.Now().After(deadline) {
			s.t.Fatalf("the writer does not come back: %v", err)
		}
		s.pause(10 * time.Millisecond)
	}
}

// firsts checks that first deliveries are complete and in order (INV-3, INV-4).
func (s *suite) firsts(where string, want, got []hubferry.Event) {
	s.t.Helper()
	seen := map[string]bool{}
	var first []hubferry.Event
	for i := range got {
		if name := label(&got[i]); !seen[name] {
			seen[name] = true
			first = append(first, got[i])
		}
	}
	s.equal(where, want, first)
}

// writeCut breaks the connection while writes are under way.
func writeCut(s *suite) {
	w := s.writer()
	events := withOrigin(numbered(600))
	stop := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for range 5 {
			s.pause(5 * time.Millisecond)
			s.h.Cut(s.t)
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for from := 0; from < len(events); from += 20 {
		s.retry(w, 0, events[from:from+20])
		if dump := s.h.Dump(s.t, 0); len(dump) < from+20 {
			s.t.Fatalf("%d events are confirmed, %d are there (INV-1)", from+20, len(dump))
		}
	}
	close(stop)
	group.Wait()
	s.firsts("after cuts", events, s.h.Dump(s.t, 0))
}

// submit has many runs in flight, if the writer is a Submitter.
func submit(s *suite) {
	w := s.writer()
	sub, ok := w.(hubferry.Submitter)
	if !ok {
		s.t.Skip("the writer is no Submitter")
	}
	events := withOrigin(numbered(400))
	var mu sync.Mutex
	var order []int
	all := make(chan struct{})
	for i := range 40 {
		run := hubferry.Run{Events: pointers(events[i*10 : i*10+10])}
		sub.Submit(s.ctx(), run, func(r hubferry.Receipt, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil || r.N != 10 {
				s.t.Errorf("run %d: %d events are durable, %v", i, r.N, err)
			}
			if order = append(order, i); len(order) == 40 {
				close(all)
			}
		})
	}
	s.await("all runs to be done", all)
	for i, n := range order {
		if n != i {
			s.t.Fatalf("run %d was done as number %d", n, i)
		}
	}
	s.equal("written", events, s.h.Dump(s.t, 0))
}

func (s *suite) await(what string, done <-chan struct{}) {
	s.t.Helper()
	timer := time.NewTimer(s.h.patience())
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.t.Fatalf("waited too long for %s", what)
	}
}

// submitCut breaks the connection under runs in flight. After a failure the runs behind
// it fail too, so what is there is a prefix of what was sent (G-5), and a Write mends
// the pipeline.
func submitCut(s *suite) {
	w := s.writer()
	sub, ok := w.(hubferry.Submitter)
	if !ok {
		s.t.Skip("the writer is no Submitter")
	}
	events := withOrigin(numbered(400))
	for from := 0; from < len(events); {
		half := func() {}
		if from < 200 {
			half = func() { s.h.Cut(s.t) }
		}
		durable, failed := s.submitAll(sub, events[from:min(from+200, len(events))], half)
		from += durable
		if failed {
			n := min(10, len(events)-from)
			s.retry(w, 0, events[from:from+n])
			from += n
		}
	}
	s.firsts("after cuts", events, s.h.Dump(s.t, 0))
}

// submitAll submits events in runs of ten and returns how many of them are durable
// without a hole, and whether a run failed. It calls half in the middle.
func (s *suite) submitAll(sub hubferry.Submitter, events []hubferry.Event, half func()) (durable int, failed bool) {
	s.t.Helper()
	var mu sync.Mutex
	all := make(chan struct{})
	left := (len(events) + 9) / 10
	for from := 0; from < len(events); from += 10 {
		if from == len(events)/20*10 {
			half()
		}
		run := hubferry.Run{Events: pointers(events[from:min(from+10, len(events))])}
		sub.Submit(s.ctx(), run, func(r hubferry.Receipt, err error) {
			s.note("submit", err)
			mu.Lock()
			defer mu.Unlock()
			if failed && (err == nil || r.N > 0) {
				s.t.Errorf("a run stored %d events after an earlier one failed, %v", r.N, err)
			}
			failed = failed || err != nil
			durable += r.N
			if left--; left == 0 {
				close(all)
			}
		})
	}
	s.await("all runs to be done", all)
	return durable, failed
}

// tail reads a target's own hub to the end as of the call, if the writer is a Tailer.
func tail(s *suite) {
	w := s.writer()
	tailer, ok := w.(hubferry.Tailer)
	if !ok {
		s.t.Skip("the writer is no Tailer")
	}
	read := func(after hubferry.Position) []hubferry.Event {
		s.t.Helper()
		var r hubferry.Reader
		s.must("open the tail", func(ctx context.Context) (err error) {
			r, err = tailer.Tail(ctx, 0, after)
			return err
		})
		s.close("tail", r)
		b := hubferry.Batch{Limit: hubferry.Limit{Events: 7, Bytes: 1 << 20}}
		var events []hubferry.Event
		for {
			err := s.do("read the tail", func(ctx context.Context) error { return r.Read(ctx, &b) })
			if isEnd(err) {
				return events
			}
			if err != nil {
				s.t.Fatalf("read the tail: %v, want ErrEnd", err)
			}
			s.checkBatch(&b, events)
			events = append(events, b.Events...)
			if len(events) > 1000 {
				s.t.Fatal("the tail does not end")
			}
		}
	}
	start := hubferry.Position{Sequence: -1}
	reaches := func(end int64) {
		s.t.Helper()
		s.must("list the target's partitions", func(ctx context.Context) error {
			infos, err := tailer.Partitions(ctx)
			if err != nil {
				return err
			}
			if len(infos) == 0 || infos[0].Place == nil || infos[0].Place.Index != 0 {
				return fmt.Errorf("got %+v, want the partitions by index", infos)
			}
			if got := infos[0].End.Sequence; got < end || (end < 0 && got >= 0) {
				return fmt.Errorf("partition 0 ends at %d, want %d", got, end)
			}
			return nil
		})
	}
	reaches(-1)
	s.equal("the tail of nothing", nil, read(start))
	events := withOrigin(numbered(30))
	s.write(w, 0, events)
	all := read(start)
	s.equal("the whole tail", events, all)
	reaches(all[29].Pos.Sequence)
	s.equal("the tail after event 12", events[13:], read(all[12].Pos))
	s.equal("the tail after the last event", nil, read(all[29].Pos))
}
