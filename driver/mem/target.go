package mem

import (
	"context"
	"fmt"
	"sync"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Target = (*Target)(nil)

// Target writes to the hubs of one namespace of a Broker. Make it with NewTarget or
// through Driver.
type Target struct {
	access access
	done   chan struct{}
	once   sync.Once
}

// NewTarget returns a target for a namespace.
func NewTarget(b *Broker, namespace string) *Target {
	return newTarget(access{broker: b, namespace: canonical(namespace)})
}

func newTarget(a access) *Target { return &Target{access: a, done: make(chan struct{})} }

// Open implements hubferry.Target. The hub must exist. What the writer can do beside
// writing depends on HubOptions.
func (t *Target) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	if isDone(t.done) {
		return nil, hubferry.ErrClosed
	}
	h, err := t.access.hub("open a writer to", canonical(hub))
	if err != nil {
		return nil, err
	}
	if err := h.begin(ctx, OpOpenWriter, 0, t.done); err != nil {
		return nil, err
	}
	w := &writer{target: t, hub: h, trail: trail, done: make(chan struct{})}
	switch {
	case h.options.Kind == Table:
		return &tableWriter{writer: w}, nil
	case h.options.Transactions:
		return &transactWriter{&logWriter{w}, &tableWriter{w}}, nil
	case h.options.Pipeline > 0:
		return newPipeWriter(w), nil
	case h.options.NoTail || h.options.Kind == Queue:
		return w, nil
	default:
		return &logWriter{w}, nil
	}
}

// Close implements hubferry.Target.
func (t *Target) Close(context.Context) error {
	t.once.Do(func() { close(t.done) })
	return nil
}

func isDone(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

var _ hubferry.Writer = (*writer)(nil)

// writer writes to one hub.
type writer struct {
	target *Target
	hub    *Hub
	trail  hubferry.Trail
	done   chan struct{}
	once   sync.Once
}

// ready returns why the writer cannot be used, or nil.
func (w *writer) ready(ctx context.Context, op string) error {
	switch {
	case isDone(w.done) || isDone(w.target.done):
		return hubferry.ErrClosed
	case isDone(w.hub.gone):
		return w.hub.deleted(op)
	}
	return ctx.Err()
}

// Layout implements hubferry.Writer.
func (w *writer) Layout(ctx context.Context) (hubferry.Layout, error) {
	if err := w.ready(ctx, "ask for the partitions of"); err != nil {
		return hubferry.Layout{}, err
	}
	if err := w.hub.begin(ctx, OpLayout, 0, w.done); err != nil {
		return hubferry.Layout{}, err
	}
	l := hubferry.Layout{}
	for i := range w.hub.Partitions() {
		l.Places = append(l.Places, w.hub.place(i))
	}
	if w.hub.options.Kind == Log {
		l.Partition = partitionOf
		l.Late = w.hub.options.Late
	}
	return l, nil
}

// Write implements hubferry.Writer.
func (w *writer) Write(ctx context.Context, run hubferry.Run) (hubferry.Receipt, error) {
	return w.write(ctx, run, OpWrite)
}

func (w *writer) write(ctx context.Context, run hubferry.Run, op Op) (hubferry.Receipt, error) {
	none := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}
	if err := w.ready(ctx, "write to"); err != nil {
		return none, err
	}
	f := w.hub.fault(op, run.Partition, run.Events)
	if f == nil {
		return w.store(run)
	}
	if err := f.wait(ctx, w.hub, w.done); err != nil {
		return none, err
	}
	if f.Err == nil && !f.Late {
		return w.store(run)
	}
	part := run
	part.Events = run.Events[:min(f.Store, len(run.Events))]
	if f.Late {
		return w.hold(run, f)
	}
	receipt, err := w.store(part)
	if err == nil {
		err = f.Err
	}
	if e, ok := err.(*hubferry.Error); ok && e.Unsure { //nolint:errorlint // the fault's own error, as it was given
		receipt = none // whoever does not know what is durable counts nothing as such
	}
	if f.N != 0 {
		receipt.N = f.N
	}
	return receipt, err
}

// store stores the events of a run up to the first that is refused.
func (w *writer) store(run hubferry.Run) (hubferry.Receipt, error) {
	receipt := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	if run.Partition < 0 || run.Partition >= len(w.hub.partitions) {
		return receipt, &hubferry.Error{Kind: hubferry.NotFound, Op: fmt.Sprintf("write to partition %d of %s/%s", run.Partition, w.hub.namespace, w.hub.name)}
	}
	p := w.hub.partitions[run.Partition]
	var stamp hubferry.Stamp
	for _, e := range run.Events {
		r, err := w.record(e, &stamp, p.index)
		if err != nil {
			return receipt, err
		}
		w.hub.append(p, r)
		receipt.N++
		receipt.Last = p.end
	}
	return receipt, nil
}

// hold accepts a run and keeps it back until Hub.StoreLate.
func (w *writer) hold(run hubferry.Run, f *Fault) (hubferry.Receipt, error) {
	receipt := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	var stamp hubferry.Stamp
	var records []record
	for _, e := range run.Events {
		r, err := w.record(e, &stamp, run.Partition)
		if err != nil {
			return receipt, err
		}
		records = append(records, r)
	}
	w.hub.held = append(w.hub.held, heldRun{run.Partition, records})
	if f.Err != nil {
		return receipt, f.Err
	}
	return receipt, &hubferry.Error{Kind: hubferry.Transient, Op: "write", Place: w.hub.place(run.Partition), Unsure: true, Err: context.DeadlineExceeded}
}

// record makes what is stored of an event, provenance included.
func (w *writer) record(e *hubferry.Event, stamp *hubferry.Stamp, partition int) (record, error) {
	refused := func(err *hubferry.Error) (record, error) {
		if err.Place == nil {
			err.Place = w.hub.place(partition)
		}
		return record{}, err
	}
	if w.hub.refuse != nil {
		if err := w.hub.refuse(e); err != nil {
			return refused(err)
		}
	}
	r, err := newRecord(e)
	if err != nil {
		return record{}, err
	}
	if e.Origin != nil {
		w.stamp(&r, e, stamp)
	}
	if n := r.size(); n > w.hub.options.MaxEvent {
		return refused(&hubferry.Error{
			Kind: hubferry.TooLarge, Op: "write",
			Err: fmt.Errorf("the event has %d bytes, the hub takes %d", n, w.hub.options.MaxEvent),
		})
	}
	return r, nil
}

// stamp adds the provenance of an event that was read somewhere.
func (w *writer) stamp(r *record, e *hubferry.Event, stamp *hubferry.Stamp) {
	w.trail.Render(e, stamp)
	kept := make(hubferry.Properties, 0, len(r.content.Properties)+stamp.Len())
	for _, p := range r.content.Properties {
		if !w.trail.IsProvenance(p.Name) {
			kept = append(kept, p)
		}
	}
	for i := range stamp.Len() {
		name, text := stamp.At(i)
		kept = append(kept, hubferry.Property{Name: name, Value: hubferry.String(string(text))})
	}
	r.content.Properties = kept
}

// Close implements hubferry.Writer.
func (w *writer) Close(context.Context) error {
	w.once.Do(func() { close(w.done) })
	return nil
}

var (
	_ hubferry.Writer = (*logWriter)(nil)
	_ hubferry.Tailer = (*logWriter)(nil)
)

// logWriter is a writer to a Log, which can be read.
type logWriter struct{ *writer }

// Tail implements hubferry.Tailer.
func (w *logWriter) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	if err := w.ready(ctx, "read the tail of"); err != nil {
		return nil, err
	}
	if err := w.hub.begin(ctx, OpTail, partition, w.done); err != nil {
		return nil, err
	}
	place := w.hub.place(partition)
	r := &reader{hub: w.hub, place: place, epoch: hubferry.NoEpoch, group: "$tail", over: make(chan struct{})}
	if err := w.hub.attach(r, after); err != nil {
		return nil, err
	}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	end := r.partition.end
	r.until = &end
	return r, nil
}

// Partitions implements hubferry.Tailer.
func (w *logWriter) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	if err := w.ready(ctx, "ask for the ends of"); err != nil {
		return nil, err
	}
	if err := w.hub.begin(ctx, OpPartitions, 0, w.done); err != nil {
		return nil, err
	}
	return w.hub.describe(), nil
}
