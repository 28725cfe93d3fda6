package drivertest_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// broken is driver/mem with one promise broken. Each hook that is set replaces or spoils
// one thing.
type broken struct {
	namespace   func() string
	connect     func(o hubferry.Options, err error) error
	partitions  func(infos []hubferry.PartitionInfo) []hubferry.PartitionInfo
	resolve     func(start hubferry.Start, pos hubferry.Position) hubferry.Position
	open        func(after hubferry.Position, epoch int64) (hubferry.Position, int64)
	openErr     func(err error) error
	read        func(ctx context.Context, r *reader, b *hubferry.Batch) error
	closeReader func(ctx context.Context, r *reader) error
	closeSource func(ctx context.Context, s *source) error
	settle      func(ctx context.Context, r *reader, s []hubferry.Settlement) error
	openWriter  func(err error) error
	closeTarget func(ctx context.Context, t *target) error
	layout      func(l hubferry.Layout) hubferry.Layout
	write       func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error)
	closeWriter func(ctx context.Context, w *writer) error
	tail        func(r hubferry.Reader) hubferry.Reader
	ends        func(infos []hubferry.PartitionInfo) []hubferry.PartitionInfo
	submit      func(ctx context.Context, w *writer, run hubferry.Run, done func(hubferry.Receipt, error))
	adopt       func(c *hubferry.Checkpoint) *hubferry.Checkpoint
	commit      func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error
	trail       func(t hubferry.Trail) hubferry.Trail
}

// driver wraps a driver.
func (b *broken) driver(d hubferry.Driver) hubferry.Driver {
	connect := d.Connect
	d.Connect = func(ctx context.Context, o hubferry.Options, env hubferry.Env) (hubferry.Connection, error) {
		c, err := connect(ctx, o, env)
		if b.connect != nil {
			err = b.connect(o, err)
		}
		if err != nil {
			return nil, err
		}
		return &connection{c, b}, nil
	}
	return d
}

type connection struct {
	hubferry.Connection
	b *broken
}

func (c *connection) Namespace(ctx context.Context) (string, error) {
	if c.b.namespace != nil {
		return c.b.namespace(), nil
	}
	return c.Connection.Namespace(ctx)
}

func (c *connection) Source(ctx context.Context, hub string, o hubferry.Options) (hubferry.Source, error) {
	s, err := c.Connection.Source(ctx, hub, o)
	return &source{s, c.b}, err
}

func (c *connection) Target(ctx context.Context, o hubferry.Options) (hubferry.Target, error) {
	t, err := c.Connection.Target(ctx, o)
	return &target{t, c.b}, err
}

type source struct {
	hubferry.Source
	b *broken
}

func (s *source) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	infos, err := s.Source.Partitions(ctx)
	if err == nil && s.b.partitions != nil {
		infos = s.b.partitions(infos)
	}
	return infos, err
}

func (s *source) Resolve(ctx context.Context, p *hubferry.Place, start hubferry.Start) (hubferry.Position, error) {
	pos, err := s.Source.Resolve(ctx, p, start)
	if err == nil && s.b.resolve != nil {
		pos = s.b.resolve(start, pos)
	}
	return pos, err
}

func (s *source) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	if s.b.open != nil {
		after, epoch = s.b.open(after, epoch)
	}
	inner, err := s.Source.Open(ctx, p, after, epoch)
	if err != nil {
		if s.b.openErr != nil {
			err = s.b.openErr(err)
		}
		return nil, err
	}
	r := &reader{Reader: inner, b: s.b}
	if settler, ok := inner.(hubferry.Settler); ok {
		return &queueReader{r, settler}, nil
	}
	return r, nil
}

func (s *source) Close(ctx context.Context) error {
	if s.b.closeSource != nil {
		return s.b.closeSource(ctx, s)
	}
	return s.Source.Close(ctx)
}

type reader struct {
	hubferry.Reader
	b     *broken
	n     int // calls
	saved []hubferry.Event
	buf   []byte
}

func (r *reader) Read(ctx context.Context, b *hubferry.Batch) error {
	if r.b.read == nil {
		return r.Reader.Read(ctx, b)
	}
	r.n++
	return r.b.read(ctx, r, b)
}

func (r *reader) Close(ctx context.Context) error {
	if r.b.closeReader != nil {
		return r.b.closeReader(ctx, r)
	}
	return r.Reader.Close(ctx)
}

type queueReader struct {
	*reader
	settler hubferry.Settler
}

func (r *queueReader) Settle(ctx context.Context, s []hubferry.Settlement) error {
	if r.b.settle != nil {
		s = slices.Clone(s)
		if err := r.b.settle(ctx, r.reader, s); err != nil || s == nil {
			return err
		}
	}
	return r.settler.Settle(ctx, s)
}

type target struct {
	hubferry.Target
	b *broken
}

func (t *target) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	if t.b.trail != nil {
		trail = t.b.trail(trail)
	}
	inner, err := t.Target.Open(ctx, hub, trail)
	if err != nil {
		if t.b.openWriter != nil {
			err = t.b.openWriter(err)
		}
		return nil, err
	}
	w := &writer{Writer: inner, b: t.b}
	if c, ok := inner.(hubferry.Committer); ok {
		return &tableWriter{w, c}, nil
	}
	tailer, tails := inner.(hubferry.Tailer)
	if sub, ok := inner.(hubferry.Submitter); ok {
		return &pipeWriter{&logWriter{w, tailer}, sub}, nil
	}
	if tails {
		return &logWriter{w, tailer}, nil
	}
	return w, nil
}

func (t *target) Close(ctx context.Context) error {
	if t.b.closeTarget != nil {
		return t.b.closeTarget(ctx, t)
	}
	return t.Target.Close(ctx)
}

type writer struct {
	hubferry.Writer
	b    *broken
	mu   sync.Mutex
	held []*hubferry.Event
	n    int
}

func (w *writer) Layout(ctx context.Context) (hubferry.Layout, error) {
	l, err := w.Writer.Layout(ctx)
	if err == nil && w.b.layout != nil {
		l = w.b.layout(l)
	}
	return l, err
}

func (w *writer) Write(ctx context.Context, run hubferry.Run) (hubferry.Receipt, error) {
	if w.b.write == nil {
		return w.Writer.Write(ctx, run)
	}
	w.mu.Lock()
	w.n++
	w.mu.Unlock()
	return w.b.write(ctx, w, run)
}

func (w *writer) Close(ctx context.Context) error {
	if w.b.closeWriter != nil {
		return w.b.closeWriter(ctx, w)
	}
	return w.Writer.Close(ctx)
}

type logWriter struct {
	*writer
	tailer hubferry.Tailer
}

func (w *logWriter) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	r, err := w.tailer.Tail(ctx, partition, after)
	if err == nil && w.b.tail != nil {
		r = w.b.tail(r)
	}
	return r, err
}

func (w *logWriter) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	infos, err := w.tailer.Partitions(ctx)
	if err == nil && w.b.ends != nil {
		infos = w.b.ends(infos)
	}
	return infos, err
}

type pipeWriter struct {
	*logWriter
	sub hubferry.Submitter
}

func (w *pipeWriter) Submit(ctx context.Context, run hubferry.Run, done func(hubferry.Receipt, error)) {
	if w.b.submit != nil {
		w.b.submit(ctx, w.writer, run, done)
		return
	}
	w.sub.Submit(ctx, run, done)
}

type tableWriter struct {
	*writer
	committer hubferry.Committer
}

func (w *tableWriter) Adopt(ctx context.Context, id hubferry.ID) (*hubferry.Checkpoint, error) {
	c, err := w.committer.Adopt(ctx, id)
	if err == nil && w.b.adopt != nil {
		c = w.b.adopt(c)
	}
	return c, err
}

func (w *tableWriter) Commit(ctx context.Context, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
	if w.b.commit != nil {
		return w.b.commit(ctx, w.writer, id, runs, prev, next)
	}
	return w.committer.Commit(ctx, id, runs, prev, next)
}

// spoilEvents changes what a reader delivers.
func spoilEvents(change func(e *hubferry.Event, c *hubferry.Content)) func(ctx context.Context, r *reader, b *hubferry.Batch) error {
	return func(ctx context.Context, r *reader, b *hubferry.Batch) error {
		err := r.Reader.Read(ctx, b)
		if err != nil {
			return err
		}
		for i := range b.Events {
			spoil(&b.Events[i], change)
		}
		return nil
	}
}

func spoil(e *hubferry.Event, change func(e *hubferry.Event, c *hubferry.Content)) {
	if c, err := e.Edit(); err == nil {
		change(e, c)
	}
}

// spoilRun changes what a writer stores, but not the events that it was given.
func spoilRun(change func(e *hubferry.Event, c *hubferry.Content)) func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
	return func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
		events := make([]*hubferry.Event, len(run.Events))
		for i, e := range run.Events {
			own := e.Share()
			spoil(&own, change)
			events[i] = &own
		}
		return w.Writer.Write(ctx, hubferry.Run{Partition: run.Partition, Events: events})
	}
}

// hang waits longer than anybody should.
func hang(done <-chan struct{}) {
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	}
}
