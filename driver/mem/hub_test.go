package mem_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

func readAll(t *testing.T, r hubferry.Reader, until int64) (text string, next int64) {
	t.Helper()
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 100, Bytes: 1 << 20}}
	for next = -1; next < until; next = b.Next.Sequence {
		if err := r.Read(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		text += bodies(t, b.Events)
	}
	return text, next
}

func TestCompactKeepsTheNewestOfEachKey(t *testing.T) {
	b, h, _ := setUp(t, mem.HubOptions{Sparse: true})
	h.Inject(0, *event("a", "1"), *event("b", "2"), *event("", "-"), *event("a", "3"), *event("c", "4"), *event("a", "5"))
	h.Compact(0)
	if got := bodies(t, h.Dump(0)); got != "2-45" {
		t.Errorf("left %q", got)
	}
	if got, next := readAll(t, open(t, b, -1), 5); got != "2-45" || next != 5 {
		t.Errorf("read %q up to %d", got, next)
	}
	infos, err := mem.NewSource(b, "ns", "hub", nil).Partitions(t.Context())
	if err != nil || !infos[0].Sparse || infos[0].Begin.Sequence != -1 || infos[0].End.Sequence != 5 {
		t.Errorf("%+v, %v", infos, err)
	}
}

func TestSkipMovesNextAlone(t *testing.T) {
	b, h, _ := setUp(t, mem.HubOptions{})
	h.Inject(0, *event("a", "1"))
	h.Skip(0, 3)
	r := open(t, b, 0)
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
	if err := r.Read(t.Context(), &batch); err != nil || len(batch.Events) != 0 || batch.Next.Sequence != 3 {
		t.Errorf("%+v, %v", batch, err)
	}
	h.Inject(0, *event("a", "2"))
	if got, next := readAll(t, r, 4); got != "2" || next != 4 {
		t.Errorf("read %q up to %d", got, next)
	}
}

func TestGrow(t *testing.T) {
	b, h, w := setUp(t, mem.HubOptions{Partitions: 2})
	h.Grow(5)
	h.Grow(3)
	layout, err := w.Layout(t.Context())
	if err != nil || len(layout.Places) != 5 || h.Partitions() != 5 {
		t.Errorf("%d places, %v", len(layout.Places), err)
	}
	if _, err := write(t, w, 4, "x"); err != nil || bodies(t, h.Dump(4)) != "x" {
		t.Errorf("write to a new partition: %v", err)
	}
	if _, err := write(t, w, 5, "x"); hubferry.KindOf(err) != hubferry.NotFound {
		t.Errorf("write to no partition: %v", err)
	}
	_, err = mem.NewSource(b, "ns", "hub", nil).Open(t.Context(), hubferry.NewPlace("ns", "hub", "9", "", 9), hubferry.Position{}, 0)
	if hubferry.KindOf(err) != hubferry.NotFound {
		t.Errorf("open no partition: %v", err)
	}
}

// An event that nobody can decode passes from an encoded hub to another as it is.
func TestBrokenEventsPassUndecoded(t *testing.T) {
	b, h, w := setUp(t, mem.HubOptions{Encoded: true})
	cause := errors.New("cannot be decoded")
	broken := mem.Broken(cause)
	broken.Key = hubferry.Text("k")
	h.Inject(0, broken)
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
	if err := open(t, b, -1).Read(t.Context(), &batch); err != nil {
		t.Fatal(err)
	}
	e := &batch.Events[0]
	if _, err := e.Content(); !errors.Is(err, cause) {
		t.Errorf("content: %v", err)
	}
	if receipt, err := w.Write(t.Context(), hubferry.Run{Events: []*hubferry.Event{e}}); err != nil || receipt.N != 1 {
		t.Errorf("%+v, %v", receipt, err)
	}
	stored := h.Dump(0)[1]
	if _, err := stored.Content(); !errors.Is(err, cause) || stored.Key.String() != "k" {
		t.Errorf("stored: %v, key %q", err, stored.Key)
	}
}

func TestRefuseAndHeal(t *testing.T) {
	_, h, w := setUp(t, mem.HubOptions{})
	h.Refuse(func(e *hubferry.Event) *hubferry.Error {
		if c, err := e.Content(); err == nil && string(c.Body) == "b" {
			return &hubferry.Error{Kind: hubferry.Refused, Op: "write"}
		}
		return nil
	})
	h.Fail(mem.Fault{Op: mem.OpLayout, Times: -1, Err: &hubferry.Error{Kind: hubferry.Throttled, Op: "layout", After: time.Second}})
	receipt, err := write(t, w, 0, "abc")
	if hubferry.KindOf(err) != hubferry.Refused || receipt.N != 1 || bodies(t, h.Dump(0)) != "a" {
		t.Errorf("%+v, %v", receipt, err)
	}
	if _, err := w.Layout(t.Context()); hubferry.KindOf(err) != hubferry.Throttled {
		t.Errorf("layout: %v", err)
	}
	h.Heal()
	if _, err := write(t, w, 0, "bc"); err != nil {
		t.Error(err)
	}
	if _, err := w.Layout(t.Context()); err != nil {
		t.Error(err)
	}
	if n := h.Count(mem.OpLayout); n != 2 {
		t.Errorf("%d layouts were asked for", n)
	}
}

func TestFaultsOfReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, w := setUp(t, mem.HubOptions{Partitions: 2})
		if _, err := write(t, w, 0, "a"); err != nil {
			t.Fatal(err)
		}
		lost := &hubferry.Error{Kind: hubferry.Lost, Op: "read"}
		h.Fail(mem.Fault{Op: mem.OpOpenReader, Err: &hubferry.Error{Kind: hubferry.Unauthorized, Op: "open"}})
		h.Fail(mem.Fault{Op: mem.OpRead, Skip: 1, Err: lost})
		h.Fail(mem.Fault{Op: mem.OpRead, Delay: time.Hour})
		if _, err := mem.NewSource(b, "ns", "hub", nil).Open(t.Context(), h.Place(0), hubferry.Position{Sequence: -1}, 0); hubferry.KindOf(err) != hubferry.Unauthorized {
			t.Errorf("open: %v", err)
		}
		r := open(t, b, -1)
		start := time.Now()
		batch := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
		if err := r.Read(t.Context(), &batch); err != nil || time.Since(start) != time.Hour {
			t.Errorf("a stalled read: %v after %v", err, time.Since(start))
		}
		for range 2 {
			if err := r.Read(t.Context(), &batch); !errors.Is(err, lost) {
				t.Errorf("a reader that failed: %v", err)
			}
		}
		r = open(t, b, 0)
		go func() { time.Sleep(time.Second); h.Cut(1); time.Sleep(time.Second); h.Cut(0) }()
		start = time.Now()
		if err := r.Read(t.Context(), &batch); hubferry.KindOf(err) != hubferry.Transient || time.Since(start) != 2*time.Second {
			t.Errorf("a reader that was cut: %v after %v", err, time.Since(start))
		}
	})
}

func TestFaultOfACommit(t *testing.T) {
	_, h, w := setUp(t, mem.HubOptions{Kind: mem.Table})
	c := w.(hubferry.Committer)
	id := hubferry.ID{Namespace: "n", Hub: "h", Partition: "0"}
	if _, err := c.Adopt(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	unsure := &hubferry.Error{Kind: hubferry.Transient, Op: "commit", Unsure: true}
	h.Fail(mem.Fault{Op: mem.OpCommit, Err: unsure})
	h.Fail(mem.Fault{Op: mem.OpCommit, Err: unsure, Store: mem.StoreAll})
	next := &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 1}}
	runs := []hubferry.Run{{Events: []*hubferry.Event{event("k", "x")}}}
	for _, stored := range []int{0, 1} {
		if err := c.Commit(t.Context(), id, runs, nil, next); !errors.Is(err, unsure) || len(h.Dump(0)) != stored {
			t.Errorf("%v, %d are stored", err, len(h.Dump(0)))
		}
	}
	h.Restore(id, nil)
	if err := c.Commit(t.Context(), id, runs, nil, next); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("commit after a backup was played in: %v", err)
	}
}

// A partition whose pipeline failed takes nothing until a Write has mended it.
func TestSubmitAfterAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, w := setUp(t, mem.HubOptions{Pipeline: 2, Partitions: 2})
		submit := func(partition int, text string) error {
			result := make(chan error, 1)
			run := hubferry.Run{Partition: partition, Events: []*hubferry.Event{event("k", text)}}
			w.(hubferry.Submitter).Submit(t.Context(), run, func(_ hubferry.Receipt, err error) { result <- err })
			return <-result
		}
		h.Fail(mem.Fault{Err: &hubferry.Error{Kind: hubferry.Transient, Op: "write"}})
		if err := submit(0, "a"); hubferry.KindOf(err) != hubferry.Transient {
			t.Errorf("the run that fails: %v", err)
		}
		if err := submit(0, "b"); hubferry.KindOf(err) != hubferry.Aborted {
			t.Errorf("the run after it: %v", err)
		}
		if err := submit(1, "c"); err != nil {
			t.Errorf("another partition: %v", err)
		}
		if _, err := write(t, w, 0, "a"); err != nil {
			t.Fatal(err)
		}
		if err := submit(0, "b"); err != nil || bodies(t, h.Dump(0)) != "ab" {
			t.Errorf("after a Write: %v, %q", err, bodies(t, h.Dump(0)))
		}
	})
}

func TestWritersAreWhatTheHubIs(t *testing.T) {
	tests := []struct {
		name                  string
		o                     mem.HubOptions
		tail, submit, commits bool
	}{
		{"log", mem.HubOptions{}, true, false, false},
		{"no tail", mem.HubOptions{NoTail: true}, false, false, false},
		{"pipeline", mem.HubOptions{Pipeline: 1}, true, true, false},
		{"queue", mem.HubOptions{Kind: mem.Queue}, false, false, false},
		{"table", mem.HubOptions{Kind: mem.Table}, false, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, w := setUp(t, tt.o)
			_, tail := w.(hubferry.Tailer)
			_, submit := w.(hubferry.Submitter)
			_, commits := w.(hubferry.Committer)
			if tail != tt.tail || submit != tt.submit || commits != tt.commits {
				t.Errorf("tailer %v, submitter %v, committer %v", tail, submit, commits)
			}
		})
	}
}

func BenchmarkWriteAndRead(b *testing.B) {
	broker := mem.NewBroker()
	h := broker.Create("ns", "hub", mem.HubOptions{})
	w, err := mem.NewTarget(broker, "ns").Open(b.Context(), "hub", hubferry.Trail{})
	if err != nil {
		b.Fatal(err)
	}
	r, err := mem.NewSource(broker, "ns", "hub", nil).Open(b.Context(), h.Place(0), hubferry.Position{Sequence: -1}, 0)
	if err != nil {
		b.Fatal(err)
	}
	run := hubferry.Run{}
	for range 100 {
		run.Events = append(run.Events, event("k", "body"))
	}
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 100, Bytes: 1 << 20}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(b.Context(), run); err != nil {
			b.Fatal(err)
		}
		if err := r.Read(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
		h.Trim(0, batch.Next.Sequence)
	}
}
