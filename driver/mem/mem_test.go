package mem_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

func event(key, body string) *hubferry.Event {
	e := hubferry.NewEvent(&hubferry.Content{Body: []byte(body)})
	if key != "" {
		e.Key = hubferry.Text(key)
	}
	return &e
}

func bodies(t *testing.T, events []hubferry.Event) string {
	t.Helper()
	var s strings.Builder
	for i := range events {
		c, err := events[i].Content()
		if err != nil {
			t.Fatal(err)
		}
		s.WriteString(string(c.Body))
	}
	return s.String()
}

func write(t *testing.T, w hubferry.Writer, partition int, text string) (hubferry.Receipt, error) {
	t.Helper()
	run := hubferry.Run{Partition: partition}
	for _, r := range text {
		run.Events = append(run.Events, event("k", string(r)))
	}
	return w.Write(t.Context(), run)
}

func open(t *testing.T, b *mem.Broker, after int64) hubferry.Reader {
	t.Helper()
	s := mem.NewSource(b, "ns", "hub", nil)
	r, err := s.Open(t.Context(), b.Hub("ns", "hub").Place(0), hubferry.Position{Sequence: after}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func setUp(t *testing.T, o mem.HubOptions) (*mem.Broker, *mem.Hub, hubferry.Writer) {
	t.Helper()
	b := mem.NewBroker()
	h := b.Create("ns", "hub", o)
	w, err := mem.NewTarget(b, "ns").Open(t.Context(), "hub", hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	return b, h, w
}

func TestReadWaitsForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, w := setUp(t, mem.HubOptions{})
		r := open(t, b, -1)
		go func() {
			time.Sleep(time.Minute)
			if _, err := write(t, w, 0, "abc"); err != nil {
				t.Error(err)
			}
		}()
		batch := hubferry.Batch{Limit: hubferry.Limit{Events: 2, Bytes: 1 << 20}}
		var got string
		for len(got) < 3 {
			if err := r.Read(t.Context(), &batch); err != nil {
				t.Fatal(err)
			}
			got += bodies(t, batch.Events)
		}
		if got != "abc" || batch.Next.Sequence != 2 {
			t.Errorf("read %q up to %d", got, batch.Next.Sequence)
		}
		if got := bodies(t, h.Dump(0)); got != "abc" {
			t.Errorf("dump %q", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := r.Read(ctx, &batch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read of nothing: %v", err)
		}
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := r.Read(t.Context(), &batch); !errors.Is(err, hubferry.ErrClosed) {
			t.Errorf("read after close: %v", err)
		}
	})
}

func TestFaults(t *testing.T) {
	boom := &hubferry.Error{Kind: hubferry.Transient, Op: "write"}
	unsure := &hubferry.Error{Kind: hubferry.Transient, Op: "write", Unsure: true}
	tests := []struct {
		name   string
		fault  mem.Fault
		n      int
		stored string // after the failed write
	}{
		{"before storing", mem.Fault{Err: boom}, 0, ""},
		{"after some", mem.Fault{Err: boom, Store: 2}, 2, "ab"},
		{"after storing", mem.Fault{Err: unsure, Store: mem.StoreAll}, 0, "abc"},
		{"late", mem.Fault{Late: true}, 0, ""},
		{"other partition", mem.Fault{Partition: 1, Err: boom}, 3, "abc"},
		{"all partitions", mem.Fault{Partition: mem.AllPartitions, Err: boom}, 0, ""},
		{"later", mem.Fault{Skip: 1, Err: boom}, 3, "abc"},
		{"slow", mem.Fault{Delay: time.Hour}, 3, "abc"},
		{"another event", mem.Fault{Err: boom, Match: func(e *hubferry.Event) bool { return e.Key.String() == "x" }}, 3, "abc"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, h, w := setUp(t, mem.HubOptions{})
				h.Fail(tt.fault)
				receipt, err := write(t, w, 0, "abc")
				if receipt.N != tt.n || (err != nil) != (tt.n < 3) {
					t.Errorf("receipt %+v, %v", receipt, err)
				}
				if got := bodies(t, h.Dump(0)); got != tt.stored {
					t.Errorf("stored %q, want %q", got, tt.stored)
				}
				if tt.fault.Late && (h.StoreLate() != 3 || bodies(t, h.Dump(0)) != "abc") {
					t.Error("the late run was not stored")
				}
			})
		})
	}
}

func TestBlockedWriteEndsWithCutAndCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, w := setUp(t, mem.HubOptions{})
		release := make(chan struct{})
		h.Fail(mem.Fault{Block: release, Times: 2})
		go func() { time.Sleep(time.Second); b.Cut("ns") }()
		_, err := write(t, w, 0, "a")
		if e, ok := errors.AsType[*hubferry.Error](err); !ok || !e.Unsure || e.Kind != hubferry.Transient {
			t.Errorf("cut: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := w.Write(ctx, hubferry.Run{Events: []*hubferry.Event{event("", "a")}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("cancel: %v", err)
		}
		if len(h.Dump(0)) != 0 {
			t.Error("something was stored")
		}
	})
}

func TestQueueSettlesOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, h, w := setUp(t, mem.HubOptions{Kind: mem.Queue, Lock: time.Minute})
		if _, err := write(t, w, 0, "abcd"); err != nil {
			t.Fatal(err)
		}
		first, second := open(t, b, -1), open(t, b, -1)
		batch := hubferry.Batch{Limit: hubferry.Limit{Events: 3, Bytes: 1 << 20}}
		if err := first.Read(t.Context(), &batch); err != nil || bodies(t, batch.Events) != "abc" {
			t.Fatal(bodies(t, batch.Events), err)
		}
		settle := func(seq int64, o hubferry.Outcome) error {
			return first.(hubferry.Settler).Settle(t.Context(), []hubferry.Settlement{{Position: hubferry.Position{Sequence: seq}, Outcome: o, Reason: "bad"}})
		}
		for seq, o := range []hubferry.Outcome{hubferry.Release, hubferry.Done, hubferry.Reject} {
			if err := settle(int64(seq), o); err != nil {
				t.Error(err)
			}
		}
		if err := settle(1, hubferry.Done); hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("settled twice: %v", err)
		}
		if got := bodies(t, h.Dump(0)); got != "ad" || len(h.Rejected()) != 1 {
			t.Errorf("left %q, rejected %v", got, h.Rejected())
		}
		if err := first.Read(t.Context(), &batch); err != nil || bodies(t, batch.Events) != "ad" {
			t.Fatal(bodies(t, batch.Events), err)
		}
		time.Sleep(time.Hour) // the reader renews its locks
		if err := first.Close(t.Context()); err != nil {
			t.Error(err)
		}
		start := time.Now()
		if err := second.Read(t.Context(), &batch); err != nil || bodies(t, batch.Events) != "ad" {
			t.Fatal(bodies(t, batch.Events), err)
		}
		if d := time.Since(start); d != time.Minute {
			t.Errorf("the locks lasted %v", d)
		}
	})
}

func TestTableComparesAndFences(t *testing.T) {
	b, h, w := setUp(t, mem.HubOptions{Kind: mem.Table})
	c := w.(hubferry.Committer)
	id := hubferry.ID{Namespace: "src", Hub: "hub", Partition: "0"}
	at := func(n int64) *hubferry.Checkpoint {
		return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: n}}
	}
	commit := func(c hubferry.Committer, prev, next *hubferry.Checkpoint) error {
		return c.Commit(t.Context(), id, []hubferry.Run{{Events: []*hubferry.Event{event("k", "x")}}}, prev, next)
	}
	if err := commit(c, nil, at(1)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("commit without adopting: %v", err)
	}
	if stored, err := c.Adopt(t.Context(), id); stored != nil || err != nil {
		t.Fatal(stored, err)
	}
	if err := commit(c, nil, at(1)); err != nil {
		t.Error(err)
	}
	if err := commit(c, nil, at(2)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("wrong previous position: %v", err)
	}
	second, err := mem.NewTarget(b, "ns").Open(t.Context(), "hub", hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	if stored, err := second.(hubferry.Committer).Adopt(t.Context(), id); err != nil || stored.Position.Sequence != 1 {
		t.Errorf("second adopts %v, %v", stored, err)
	}
	if err := commit(c, at(1), at(2)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("a fenced writer commits: %v", err)
	}
	if len(h.Dump(0)) != 1 || h.Committed(id).Position.Sequence != 1 {
		t.Errorf("stored %d rows at %v", len(h.Dump(0)), h.Committed(id))
	}
}

func TestGapsAndEpochs(t *testing.T) {
	b, h, w := setUp(t, mem.HubOptions{})
	if _, err := write(t, w, 0, "abcdef"); err != nil {
		t.Fatal(err)
	}
	h.Trim(0, 2)
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	if err := open(t, b, 0).Read(t.Context(), &batch); err != nil || batch.Events[0].Pos.Sequence != 3 {
		t.Errorf("after the trim: %v, %v", batch.Events, err)
	}
	s := mem.NewSource(b, "ns", "hub", nil)
	if _, err := s.Open(t.Context(), h.Place(0), hubferry.Position{Sequence: 9}, 0); hubferry.KindOf(err) != hubferry.Gap {
		t.Errorf("beyond the end: %v", err)
	}
	epoch := func(n int64) (hubferry.Reader, error) {
		return s.Open(t.Context(), h.Place(0), hubferry.Position{Sequence: -1}, n)
	}
	old, err := epoch(5)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int64]bool{4: false, hubferry.NoEpoch: false, 5: true} {
		if _, err := epoch(n); (err == nil) != want {
			t.Errorf("epoch %d: %v", n, err)
		}
	}
	if err := old.Read(t.Context(), &batch); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("the old reader: %v", err)
	}
	b.Create("ns", "hub", mem.HubOptions{})
	if fresh := b.Hub("ns", "hub"); fresh.Place(0).Incarnation == h.Place(0).Incarnation {
		t.Error("a new hub has the old incarnation")
	}
	if _, err := write(t, w, 0, "a"); hubferry.KindOf(err) != hubferry.NotFound {
		t.Errorf("write to a deleted hub: %v", err)
	}
}

func TestSubmitKeepsOrderWhenOneFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, h, w := setUp(t, mem.HubOptions{Pipeline: 3})
		h.Fail(mem.Fault{Delay: time.Second, Skip: 1, Err: &hubferry.Error{Kind: hubferry.Transient, Op: "write"}})
		var fates []string
		for i := range 3 {
			run := hubferry.Run{Events: []*hubferry.Event{event("k", fmt.Sprint(i))}}
			w.(hubferry.Submitter).Submit(t.Context(), run, func(_ hubferry.Receipt, err error) {
				fates = append(fates, fmt.Sprint(i, err == nil))
			})
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := fmt.Sprint(fates); got != "[0 true 1 false 2 false]" {
			t.Error(got)
		}
		if got := bodies(t, h.Dump(0)); got != "0" {
			t.Errorf("stored %q", got)
		}
	})
}
