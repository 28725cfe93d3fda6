package engine_test

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// lender is a source whose events live in memory that it writes over as soon as it is given
// back: whoever still looks at it sees that.
type lender struct {
	hubferry.Source
	lent, freed atomic.Int64 // events
}

func (l *lender) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	r, err := l.Source.Open(ctx, p, after, epoch)
	return &lendingReader{Reader: r, from: l}, err
}

type lendingReader struct {
	hubferry.Reader
	from *lender
	in   hubferry.Batch
}

func (r *lendingReader) Read(ctx context.Context, b *hubferry.Batch) error {
	r.in.Limit = b.Limit
	if err := r.Reader.Read(ctx, &r.in); err != nil {
		return err
	}
	events := deepCopy(r.in.Events)
	r.from.lent.Add(int64(len(events)))
	b.Events, b.Next, b.End = events, r.in.Next, r.in.End
	b.Free = func() {
		if n := r.from.freed.Add(int64(len(events))); n > r.from.lent.Load() {
			panic("given back twice")
		}
		for i := range events {
			c, _ := events[i].Content()
			copy(c.Body, bytes.Repeat([]byte("!"), len(c.Body)))
			copy(events[i].Key.Bytes, bytes.Repeat([]byte("!"), len(events[i].Key.Bytes)))
			events[i] = hubferry.Event{}
		}
	}
	return nil
}

// deepCopy returns events that share no byte with those.
func deepCopy(events []hubferry.Event) []hubferry.Event {
	out := make([]hubferry.Event, len(events))
	for i := range events {
		e := &events[i]
		content, err := e.Content()
		if err != nil {
			panic(err)
		}
		c := content.Clone()
		c.Body = bytes.Clone(c.Body)
		out[i] = hubferry.NewEvent(c)
		out[i].Key, out[i].Time, out[i].Pos, out[i].Origin = e.Key, e.Time, e.Pos, e.Origin
		out[i].Key.Bytes = bytes.Clone(e.Key.Bytes)
	}
	return out
}

// copier is a target that keeps nothing of the events that it has written.
type copier struct{ hubferry.Target }

func (c *copier) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	w, err := c.Target.Open(ctx, hub, trail)
	if err != nil {
		return nil, err
	}
	if s, ok := w.(hubferry.Submitter); ok {
		return &copyingSubmitter{copyingWriter{w}, s}, nil
	}
	if t, ok := w.(hubferry.Tailer); ok {
		return &copyingTailer{copyingWriter{w}, t}, nil
	}
	return &copyingWriter{w}, nil
}

// copyingTailer can be read.
type copyingTailer struct {
	copyingWriter
	hubferry.Tailer
}

type copyingWriter struct{ hubferry.Writer }

func (*copyingWriter) Copies() {}

func (w *copyingWriter) Write(ctx context.Context, r hubferry.Run) (hubferry.Receipt, error) {
	own := copyRun(r)
	receipt, err := w.Writer.Write(ctx, own)
	mustEqual(r, own)
	return receipt, err
}

type copyingSubmitter struct {
	copyingWriter
	to hubferry.Submitter
}

func (w *copyingSubmitter) Submit(ctx context.Context, r hubferry.Run, done func(hubferry.Receipt, error)) {
	own := copyRun(r)
	w.to.Submit(ctx, own, func(receipt hubferry.Receipt, err error) {
		mustEqual(r, own)
		done(receipt, err)
	})
}

func copyRun(r hubferry.Run) hubferry.Run {
	own := hubferry.Run{Partition: r.Partition}
	for _, e := range r.Events {
		one := deepCopy([]hubferry.Event{*e})
		own.Events = append(own.Events, &one[0])
	}
	return own
}

// mustEqual makes sure that nobody has touched the events of a run that is under way.
func mustEqual(a, b hubferry.Run) {
	for i := range a.Events {
		x, _ := a.Events[i].Content()
		y, _ := b.Events[i].Content()
		if !bytes.Equal(x.Body, y.Body) || a.Events[i].Pos != b.Events[i].Pos {
			panic("an event was given back while it was written")
		}
	}
}

// What events live in is given back when they are done, not before, whatever fails
// meanwhile, and only if nobody can look at them any more.
func TestLentEvents(t *testing.T) {
	transient := &hubferry.Error{Kind: hubferry.Transient, Op: "send", Err: errors.New("connection reset")}
	refused := &hubferry.Error{Kind: hubferry.TooLarge, Op: "send"}
	filter := step("all", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
		return []hubferry.Event{e.Share()}, nil
	})
	const all = 4000
	for name, c := range map[string]struct {
		pipeline int
		fault    mem.Fault
		change   func(r *rig)
		least    int64 // events that are given back
		most     int64
		dead     int
	}{
		"one run at a time":     {least: all, most: all},
		"several runs":          {pipeline: 6, least: all, most: all},
		"a run fails":           {fault: mem.Fault{Skip: 3, Store: 7, Err: transient}, least: 1, most: all - 1},
		"runs in flight fail":   {pipeline: 6, fault: mem.Fault{Skip: 3, Times: 4, Store: 7, Err: transient}, least: 1, most: all - 1},
		"unknown outcomes":      {pipeline: 6, fault: mem.Fault{Skip: 3, Times: 4, Store: mem.StoreAll, Err: transient}, least: 1, most: all},
		"dead letters":          {pipeline: 6, fault: mem.Fault{Skip: 3, Times: 1, Err: refused}, least: 1, most: all - 1, dead: 1, change: func(r *rig) { r.buryDead() }},
		"an editor sees them":   {change: func(r *rig) { r.task.Editors = []engine.Step{filter} }},
		"a route's editor does": {change: func(r *rig) { r.task.Routes[0].Editors = []engine.Step{filter} }},
		"a condition does":      {change: func(r *rig) { r.task.Routes[0].When = func(*hubferry.Event) (bool, error) { return true, nil } }},
		"a target keeps them":   {change: func(r *rig) { r.task.Routes[0].Target = mem.NewTarget(r.broker, "east") }},
		"the target is read":    {change: func(r *rig) { r.task.Delivery = engine.EffectivelyOnce }},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 2, 3)
				r.target = r.broker.Create("east", "out", mem.HubOptions{Partitions: 3, Pipeline: c.pipeline})
				from := &lender{Source: r.task.Source}
				r.task.Source, r.task.Routes[0].Target = from, &copier{r.task.Routes[0].Target}
				if c.change != nil {
					c.change(r)
				}
				if c.fault.Err != nil {
					f := c.fault
					f.Op, f.Partition = mem.OpWrite, mem.AllPartitions
					r.target.Fail(f)
				}
				x := r.start()
				for range 40 {
					r.produce(all/40, 30)
					time.Sleep(10 * time.Millisecond)
				}
				x.settled(all)
				x.finish()
				if v := r.check(); v.lost != c.dead || v.duplicates+v.reordered+v.altered != 0 {
					t.Errorf("got %+v", v)
				}
				if n := from.freed.Load(); n < c.least || n > c.most {
					t.Errorf("%d events of %d were given back, want %d to %d", n, all, c.least, c.most)
				}
			})
		})
	}
}

// buryDead makes poison events go to a hub of their own.
func (r *rig) buryDead() {
	r.broker.Create("east", "dead", mem.HubOptions{Partitions: 1})
	r.task.OnError = engine.OnErrorDeadLetter
	r.task.DeadLetters = &engine.Route{Target: r.task.Routes[0].Target, Hub: "dead", Address: "east/dead"}
}
