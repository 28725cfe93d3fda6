package hubferry_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

// The walks take the contract through what drivers and the engine need of it, with a bare
// loop in the place of the engine, so that a flaw shows before something is built on it.

// walkRig is a source hub with events of ten keys.
func walkRig(partitions, events int) (*mem.Broker, *mem.Hub) {
	b := mem.NewBroker()
	h := b.Create("west", "in", mem.HubOptions{Partitions: partitions})
	for i := range events {
		e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Append(nil, i)})
		e.Key = hubferry.Text(fmt.Sprint("key-", i%10))
		h.Send(e)
	}
	return b, h
}

// readAll reads a partition from after a position to its end as of now.
func readAll(t *testing.T, s hubferry.Source, info *hubferry.PartitionInfo, after hubferry.Position) []hubferry.Event {
	t.Helper()
	r, err := s.Open(t.Context(), info.Place, after, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(t.Context()) }()
	return drainReader(t, r, info.End.Sequence)
}

// drainReader reads until a sequence number or ErrEnd.
func drainReader(t *testing.T, r hubferry.Reader, until int64) []hubferry.Event {
	t.Helper()
	var all []hubferry.Event
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 7, Bytes: 1 << 20}, Next: hubferry.Position{Sequence: -1}}
	for b.Next.Sequence < until {
		if err := r.Read(t.Context(), &b); errors.Is(err, hubferry.ErrEnd) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for i := range b.Events {
			all = append(all, b.Events[i].Share())
		}
	}
	return all
}

// TestWalkEffectivelyOnce copies 8 partitions to 5 with a writer whose answers get lost,
// finds what is there by reading the target's tail, and sends the rest: prefix by source
// place, exactly once (G-5, G-7, G-8).
func TestWalkEffectivelyOnce(t *testing.T) {
	b, source := walkRig(8, 1000)
	target := b.Create("east", "out", mem.HubOptions{Partitions: 5})
	target.Fail(mem.Fault{
		Op: mem.OpWrite, Partition: mem.AllPartitions, Times: 9, Store: 3,
		Err: &hubferry.Error{Kind: hubferry.Transient, Op: "send", Unsure: true},
	})
	in := mem.NewSource(b, "west", "in", nil)
	w, err := mem.NewTarget(b, "east").Open(t.Context(), "out", hubferry.Trail{Task: "t", Route: "r"})
	if err != nil {
		t.Fatal(err)
	}
	layout, err := w.Layout(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tailer, ok := w.(hubferry.Tailer)
	if !ok {
		t.Fatal("the writer cannot read its own hub")
	}
	infos, err := in.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range infos {
		runs := make([][]*hubferry.Event, len(layout.Places))
		events := readAll(t, in, &infos[i], infos[i].Begin)
		for j := range events {
			p := layout.Partition(events[j].Key, len(layout.Places))
			runs[p] = append(runs[p], &events[j])
		}
		for p, run := range runs {
			for len(run) > 0 {
				// The answer of an attempt is not to be trusted: what reading shows is.
				_, err := w.Write(t.Context(), hubferry.Run{Partition: p, Events: run})
				if err == nil {
					break
				}
				done := delivered(t, tailer, p, infos[i].Place)
				for len(run) > 0 && run[0].Pos.Sequence <= done {
					run = run[1:]
				}
			}
		}
	}
	seen := map[string]bool{}
	for p := range target.Partitions() {
		for _, e := range target.Dump(p) {
			hop := hubferry.Hops(&e)[0]
			if at := hop.Source + "@" + hop.Sequence; seen[at] {
				t.Errorf("%s is there twice", at)
			} else {
				seen[at] = true
			}
		}
	}
	if len(seen) != 1000 || source.Partitions() != 8 {
		t.Errorf("%d events arrived, want 1000", len(seen))
	}
}

// delivered returns the highest source sequence of a place on a target partition.
func delivered(t *testing.T, tailer hubferry.Tailer, partition int, place *hubferry.Place) int64 {
	t.Helper()
	r, err := tailer.Tail(t.Context(), partition, hubferry.Position{Sequence: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(t.Context()) }()
	highest := int64(-1)
	for _, e := range drainReader(t, r, 1<<60) {
		hop := hubferry.Hops(&e)[0]
		n, err := strconv.ParseInt(hop.Sequence, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if hop.Source == place.Path() {
			highest = max(highest, n)
		}
	}
	return highest
}

// TestWalkPipeline has several runs in flight, as Kafka's idempotent producer does: when one
// fails, those behind it have failed too, and nothing overtakes (G-5).
func TestWalkPipeline(t *testing.T) {
	b, _ := walkRig(1, 100)
	target := b.Create("east", "out", mem.HubOptions{Pipeline: 4})
	target.Fail(mem.Fault{Op: mem.OpWrite, Skip: 3, Err: &hubferry.Error{Kind: hubferry.Transient, Op: "send"}})
	in := mem.NewSource(b, "west", "in", nil)
	w, err := mem.NewTarget(b, "east").Open(t.Context(), "out", hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	s, ok := w.(hubferry.Submitter)
	if !ok {
		t.Fatal("the writer takes one run at a time")
	}
	infos, err := in.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	events := readAll(t, in, &infos[0], infos[0].Begin)
	write := func(from int) (n int) {
		run := hubferry.Run{}
		for i := from; i < min(from+10, len(events)); i++ {
			run.Events = append(run.Events, &events[i])
		}
		r, err := w.Write(t.Context(), run)
		if err != nil {
			t.Fatal(err)
		}
		return r.N
	}
	for from := 0; from < len(events); {
		type answer struct {
			receipt hubferry.Receipt
			err     error
		}
		answers := make(chan answer, 10)
		submitted := 0
		for i := from; i < len(events); i += 10 {
			run := hubferry.Run{}
			for j := i; j < min(i+10, len(events)); j++ {
				run.Events = append(run.Events, &events[j])
			}
			s.Submit(t.Context(), run, func(r hubferry.Receipt, err error) { answers <- answer{r, err} })
			submitted++
		}
		failed := false
		for range submitted {
			a := <-answers
			if failed && a.err == nil {
				t.Fatal("a run behind a failed one was stored")
			}
			failed = failed || a.err != nil
			from += a.receipt.N
		}
		if failed {
			from += write(from)
		}
	}
	for i, e := range target.Dump(0) {
		if c, _ := e.Content(); string(c.Body) != strconv.Itoa(i) {
			t.Fatalf("event %d is %s: out of order", i, c.Body)
		}
	}
}

// TestWalkQueue moves events of a queue, each settled on its own when its copy is durable;
// what is released comes again, what is rejected does not.
func TestWalkQueue(t *testing.T) {
	b := mem.NewBroker()
	queue := b.Create("west", "q", mem.HubOptions{Kind: mem.Queue})
	target := b.Create("east", "out", mem.HubOptions{})
	for i := range 20 {
		queue.Send(hubferry.NewEvent(&hubferry.Content{Body: fmt.Append(nil, i)}))
	}
	in := mem.NewSource(b, "west", "q", nil)
	infos, err := in.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.Open(t.Context(), infos[0].Place, infos[0].Begin, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(t.Context()) }()
	settler, ok := r.(hubferry.Settler)
	if !ok {
		t.Fatal("the reader of a queue does not settle")
	}
	w, err := mem.NewTarget(b, "east").Open(t.Context(), "out", hubferry.Trail{Task: "t", Route: "r"})
	if err != nil {
		t.Fatal(err)
	}
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 5, Bytes: 1 << 20}}
	released := map[int64]bool{}
	for done := 0; done < 20; {
		if err := r.Read(t.Context(), &batch); err != nil {
			t.Fatal(err)
		}
		var settlements []hubferry.Settlement
		for i := range batch.Events {
			e := &batch.Events[i]
			s := hubferry.Settlement{Position: e.Pos}
			switch {
			case e.Pos.Sequence == 13:
				s.Outcome, s.Reason = hubferry.Reject, "bad luck"
				done++
			case e.Pos.Sequence%4 == 0 && !released[e.Pos.Sequence]:
				released[e.Pos.Sequence] = true
				s.Outcome = hubferry.Release
			default:
				if _, err := w.Write(t.Context(), hubferry.Run{Events: []*hubferry.Event{e}}); err != nil {
					t.Fatal(err)
				}
				done++
			}
			settlements = append(settlements, s)
		}
		if err := settler.Settle(t.Context(), settlements); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(target.Dump(0)); n != 19 || len(queue.Rejected()) != 1 {
		t.Errorf("%d events arrived and %d were rejected, want 19 and 1", n, len(queue.Rejected()))
	}
}

// TestWalkTransactions writes to a table that keeps the position with the rows: a take-over
// goes on where the table stands, and the commit of the one before it is refused (G-12).
func TestWalkTransactions(t *testing.T) {
	b, _ := walkRig(1, 100)
	table := b.Create("db", "rows", mem.HubOptions{Kind: mem.Table})
	in := mem.NewSource(b, "west", "in", nil)
	infos, err := in.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	place := infos[0].Place
	id := hubferry.ID{Namespace: place.Namespace, Hub: place.Hub, ConsumerGroup: "t", Partition: place.Partition}
	open := func() hubferry.Committer {
		w, err := mem.NewTarget(b, "db").Open(t.Context(), "rows", hubferry.Trail{Task: "t", Route: "r"})
		if err != nil {
			t.Fatal(err)
		}
		return w.(hubferry.Committer) //nolint:forcetypeassert // a Table's writer is one, or the walk ends here
	}
	commit := func(c hubferry.Committer, prev *hubferry.Checkpoint, n int) (*hubferry.Checkpoint, error) {
		after := infos[0].Begin
		if prev != nil {
			after = prev.Position
		}
		events := readAll(t, in, &infos[0], after)
		events = events[:min(n, len(events))]
		run := hubferry.Run{}
		for i := range events {
			run.Events = append(run.Events, &events[i])
		}
		next := &hubferry.Checkpoint{Position: events[len(events)-1].Pos, Incarnation: place.Incarnation, Time: time.Now()}
		return next, c.Commit(t.Context(), id, []hubferry.Run{run}, prev, next)
	}
	zombie := open()
	prev, err := zombie.Adopt(t.Context(), id)
	if err != nil || prev != nil {
		t.Fatalf("a table that holds nothing gave %v, %v", prev, err)
	}
	if prev, err = commit(zombie, prev, 40); err != nil {
		t.Fatal(err)
	}
	owner := open()
	stored, err := owner.Adopt(t.Context(), id)
	if err != nil || stored == nil || stored.Position.Sequence != 39 {
		t.Fatalf("the successor adopted %v, %v", stored, err)
	}
	if _, err := commit(zombie, prev, 10); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("the commit of a predecessor gave %v, want it refused as lost", err)
	}
	if _, err := commit(owner, stored, 100); err != nil {
		t.Fatal(err)
	}
	if n := len(table.Dump(0)); n != 100 {
		t.Errorf("%d rows, want each event once", n)
	}
}

// TestWalkEncoded takes events from source to target in the encoding that they came in:
// nobody decodes what nobody asks for.
func TestWalkEncoded(t *testing.T) {
	decoded := 0
	form := walkForm{&decoded}
	e := hubferry.NewEncodedEvent(form)
	passed := e.Share()
	if v, ok := passed.Property("p"); !ok || v != hubferry.Int(1) {
		t.Errorf("a property of an encoded event: %v, %v", v, ok)
	}
	if passed.Form() != hubferry.Form(form) || decoded != 0 {
		t.Errorf("the event was decoded %d times on its way", decoded)
	}
	c, err := passed.Edit()
	if err != nil {
		t.Fatal(err)
	}
	c.Properties.Set("p", hubferry.Int(2))
	if passed.Form() != nil {
		t.Error("an edited event still has the encoding that it came in")
	}
	if v, _ := e.Property("p"); v != hubferry.Int(1) {
		t.Error("editing a shared event changed the original")
	}
}

// walkForm is an encoding that counts how often it is decoded.
type walkForm struct{ decoded *int }

func (f walkForm) Decode(c *hubferry.Content) error {
	*f.decoded++
	c.Properties = hubferry.Properties{{Name: "p", Value: hubferry.Int(1)}}
	return nil
}

func (f walkForm) Property(string) (hubferry.Value, bool) { return hubferry.Int(1), true }
func (f walkForm) Size() int                              { return 10 }

// TestWalkCancel shows that every wait ends with its context.
func TestWalkCancel(t *testing.T) {
	b, _ := walkRig(1, 0)
	in := mem.NewSource(b, "west", "in", nil)
	infos, err := in.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := in.Open(t.Context(), infos[0].Place, infos[0].Begin, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	batch := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
	if err := r.Read(ctx, &batch); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read of an empty partition ended with %v", err)
	}
}
