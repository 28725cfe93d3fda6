package engine_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/engine"
)

// flat is the form of an event that is a body and nothing else.
type flat []byte

func (f flat) Decode(c *hubferry.Content) error       { *c = hubferry.Content{Body: f}; return nil }
func (f flat) Property(string) (hubferry.Value, bool) { return hubferry.Value{}, false }
func (f flat) Size() int                              { return len(f) }

// endless is a source that costs next to nothing: every partition holds the same event
// again and again, up to an end. It is its own coordinator.
type endless struct {
	places []*hubferry.Place
	form   hubferry.Form
	end    int64
	claims chan *hubferry.Claim
}

func newEndless(partitions int, events int64) *endless {
	s := &endless{
		form: flat(make([]byte, 1000)), end: events / int64(partitions),
		claims: make(chan *hubferry.Claim, partitions),
	}
	for i := range partitions {
		place := hubferry.NewPlace("west", "in", fmt.Sprint(i), "1", i)
		s.places = append(s.places, place)
		s.claims <- &hubferry.Claim{Place: place, Ending: make(chan struct{}), Lost: make(chan struct{}), Holder: &endlessHolder{s, place}}
	}
	return s
}

func (s *endless) Partitions(context.Context) ([]hubferry.PartitionInfo, error) {
	var infos []hubferry.PartitionInfo
	for _, p := range s.places {
		infos = append(infos, hubferry.PartitionInfo{Place: p, Begin: hubferry.Position{Sequence: -1}, End: hubferry.Position{Sequence: s.end - 1}})
	}
	return infos, nil
}

func (s *endless) Resolve(context.Context, *hubferry.Place, hubferry.Start) (hubferry.Position, error) {
	return hubferry.Position{Sequence: -1}, nil
}

func (s *endless) Open(_ context.Context, p *hubferry.Place, after hubferry.Position, _ int64) (hubferry.Reader, error) {
	return &endlessReader{source: s, place: p, next: after.Sequence + 1}, nil
}

func (s *endless) Close(context.Context) error { return nil }

func (s *endless) Next(ctx context.Context) (*hubferry.Claim, error) {
	select {
	case c := <-s.claims:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type endlessHolder struct {
	source *endless
	place  *hubferry.Place
}

func (h *endlessHolder) Open(ctx context.Context, after hubferry.Position) (hubferry.Reader, error) {
	return h.source.Open(ctx, h.place, after, 0)
}

func (h *endlessHolder) Save(context.Context, *hubferry.Checkpoint) error { return nil }

func (h *endlessHolder) Release(context.Context) error { return nil }

type endlessReader struct {
	source *endless
	place  *hubferry.Place
	next   int64
}

func (r *endlessReader) Read(ctx context.Context, b *hubferry.Batch) error {
	n := int(min(r.source.end-r.next, int64(min(b.Limit.Events, b.Limit.Bytes/1200))))
	if n <= 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	b.Events = b.Events[:0]
	for range n {
		e := hubferry.NewEncodedEvent(r.source.form)
		e.Origin, e.Pos.Sequence = r.place, r.next
		b.Events = append(b.Events, e)
		r.next++
	}
	b.Next = hubferry.Position{Sequence: r.next - 1}
	return nil
}

func (r *endlessReader) Close(context.Context) error { return nil }

// nowhere is a target that takes everything at once.
type nowhere struct {
	partitions int
	submits    bool
	commits    bool
}

func (t nowhere) Open(context.Context, string, hubferry.Trail) (hubferry.Writer, error) {
	switch {
	case t.submits:
		return nowhereSubmitter{nowhereWriter(t)}, nil
	case t.commits:
		return nowhereCommitter{nowhereWriter(t)}, nil
	}
	return nowhereWriter(t), nil
}
func (t nowhere) Close(context.Context) error { return nil }

type nowhereWriter nowhere

func (w nowhereWriter) Layout(context.Context) (hubferry.Layout, error) {
	var l hubferry.Layout
	for i := range w.partitions {
		l.Places = append(l.Places, hubferry.NewPlace("east", "out", fmt.Sprint(i), "1", i))
	}
	return l, nil
}

func (w nowhereWriter) Write(_ context.Context, r hubferry.Run) (hubferry.Receipt, error) {
	return hubferry.Receipt{N: len(r.Events)}, nil
}
func (w nowhereWriter) Close(context.Context) error { return nil }

// Tail makes the writer a hubferry.Tailer of a hub that is always empty.
func (w nowhereWriter) Tail(context.Context, int, hubferry.Position) (hubferry.Reader, error) {
	return nothing{}, nil
}

func (w nowhereWriter) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	l, err := w.Layout(ctx)
	infos := make([]hubferry.PartitionInfo, len(l.Places))
	for i, p := range l.Places {
		infos[i] = hubferry.PartitionInfo{Place: p, Begin: hubferry.Position{Sequence: -1}, End: hubferry.Position{Sequence: -1}}
	}
	return infos, err
}

type nothing struct{}

func (nothing) Read(context.Context, *hubferry.Batch) error { return hubferry.ErrEnd }
func (nothing) Close(context.Context) error                 { return nil }

type nowhereSubmitter struct{ nowhereWriter }

func (w nowhereSubmitter) Submit(_ context.Context, r hubferry.Run, done func(hubferry.Receipt, error)) {
	done(hubferry.Receipt{N: len(r.Events)}, nil)
}

type nowhereCommitter struct{ nowhereWriter }

func (w nowhereCommitter) Adopt(context.Context, hubferry.ID) (*hubferry.Checkpoint, error) {
	return nil, nil //nolint:nilnil // there is no position
}

func (w nowhereCommitter) Commit(context.Context, hubferry.ID, []hubferry.Run, *hubferry.Checkpoint, *hubferry.Checkpoint) error {
	return nil
}

// latent puts a round trip between the engine and a target: what is stored is confirmed
// that much later.
type latent struct {
	hubferry.Target
	trip time.Duration
	// peak is the most runs that were in flight at once, over all partitions.
	peak, inFlight atomic.Int64
}

func (t *latent) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	w, err := t.Target.Open(ctx, hub, trail)
	if err != nil {
		return nil, err
	}
	if s, ok := w.(hubferry.Submitter); ok {
		return &latentSubmitter{latentWriter{w, t}, s, sync.Mutex{}, map[int]chan struct{}{}}, nil
	}
	return &latentWriter{w, t}, nil
}

func (t *latent) begin() {
	n := t.inFlight.Add(1)
	for peak := t.peak.Load(); n > peak && !t.peak.CompareAndSwap(peak, n); peak = t.peak.Load() {
	}
}

type latentWriter struct {
	hubferry.Writer
	target *latent
}

func (w *latentWriter) Write(ctx context.Context, r hubferry.Run) (hubferry.Receipt, error) {
	w.target.begin()
	defer w.target.inFlight.Add(-1)
	receipt, err := w.Writer.Write(ctx, r)
	time.Sleep(w.target.trip)
	return receipt, err
}

type latentSubmitter struct {
	latentWriter
	to   hubferry.Submitter
	mu   sync.Mutex
	last map[int]chan struct{} // closed when the latest run of a partition is done
}

func (w *latentSubmitter) Submit(ctx context.Context, r hubferry.Run, done func(hubferry.Receipt, error)) {
	w.target.begin()
	w.mu.Lock()
	before, own := w.last[r.Partition], make(chan struct{})
	w.last[r.Partition] = own
	w.mu.Unlock()
	w.to.Submit(ctx, r, func(receipt hubferry.Receipt, err error) {
		time.AfterFunc(w.target.trip, func() {
			if before != nil {
				<-before
			}
			w.target.inFlight.Add(-1)
			done(receipt, err)
			close(own)
		})
	})
}

// carry runs a task over an endless source until everything is written.
func carry(t testing.TB, partitions int, events int64, target hubferry.Target, delivery engine.Delivery) {
	t.Helper()
	s := newEndless(partitions, events)
	e, err := engine.New([]engine.Task{{
		Name: "copy", Delivery: delivery, Source: s, Coordinate: func(context.Context) (hubferry.Coordinator, error) { return s, nil },
		Routes: []engine.Route{{Name: "out", Target: target, Hub: "out"}},
	}}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	for e.Status()[0].Counts.Written < events {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// BenchmarkJourney is an event's whole way through the engine, from a source that costs
// nothing to a target that costs nothing: 1 KiB events, kept in the encoding in which they
// arrive, from 8 partitions. One operation is one event.
func BenchmarkJourney(b *testing.B) {
	for _, c := range []struct {
		name     string
		delivery engine.Delivery
		target   nowhere
	}{
		{"write/same", engine.AtLeastOnce, nowhere{partitions: 8}},
		{"write/other", engine.AtLeastOnce, nowhere{partitions: 12}},
		{"submit/same", engine.AtLeastOnce, nowhere{partitions: 8, submits: true}},
		{"read/same", engine.EffectivelyOnce, nowhere{partitions: 8}},
		{"read/other", engine.EffectivelyOnce, nowhere{partitions: 12}},
		{"commit/same", engine.EffectivelyOnce, nowhere{partitions: 8, commits: true}},
		{"commit/other", engine.EffectivelyOnce, nowhere{partitions: 12, commits: true}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			carry(b, 8, int64(max(b.N/8, 1))*8, c.target, c.delivery)
		})
	}
}

// BenchmarkPipeline shows what several runs in flight gain where a confirmation takes a
// round trip: one partition, 50 ms. One operation is one event.
func BenchmarkPipeline(b *testing.B) {
	for _, submits := range []bool{false, true} {
		b.Run(fmt.Sprintf("submits=%t", submits), func(b *testing.B) {
			b.ReportAllocs()
			carry(b, 1, int64(b.N), &latent{Target: nowhere{partitions: 1, submits: submits}, trip: 50 * time.Millisecond}, engine.AtLeastOnce)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
