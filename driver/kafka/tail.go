package kafka

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Tailer = (*writer)(nil)
	_ hubferry.Reader = (*tail)(nil)
)

// tail reads a partition of the target to its end as of the call (G-8). What transactions
// wrote counts when they are committed; what nobody wrote in a transaction counts at once,
// also behind one of somebody else that is still open.
type tail struct {
	w     *writer
	place *hubferry.Place
	scan  *scan
	done  chan struct{} // closed by Close
	once  sync.Once

	pending []*kgo.Record
	next    hubferry.Position
}

// Tail implements hubferry.Tailer.
func (w *writer) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	l, err := w.lane(partition)
	if err != nil {
		return nil, err
	}
	s, err := w.target.producer.newScan(ctx, w.topic, partition, max(after.Sequence+1, 0), false)
	if err != nil {
		return nil, at(l.place, err)
	}
	return &tail{w: w, place: l.place, scan: s, next: after, done: make(chan struct{})}, nil
}

// Read implements hubferry.Reader.
func (t *tail) Read(ctx context.Context, b *hubferry.Batch) error {
	b.Events = b.Events[:0]
	for {
		if t.closed() {
			return hubferry.ErrClosed
		}
		if len(t.pending) == 0 {
			records, err := t.more(ctx)
			switch {
			case t.closed():
				return hubferry.ErrClosed
			case err != nil:
				return at(t.place, err)
			case len(records) == 0:
				return hubferry.ErrEnd
			}
			t.pending = records
		}
		if t.fill(b); len(b.Events) > 0 {
			return nil
		}
	}
}

func (t *tail) closed() bool { return isDone(t.done) || t.w.life.Err() != nil }

// more fetches, until Close.
func (t *tail) more(ctx context.Context) ([]*kgo.Record, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-t.done:
			cancel()
		case <-t.w.life.Done():
			cancel()
		case <-ended:
		}
	}()
	return t.scan.more(ctx)
}

// fill delivers what is pending, within the limit.
func (t *tail) fill(b *hubferry.Batch) {
	size, i := 0, 0
	for ; i < len(t.pending); i++ {
		r := t.pending[i]
		if !r.Attrs.IsControl() && !(r.Attrs.IsTransactional() && r.Offset >= t.scan.stable) {
			e := event(new(form), r, t.place)
			size += e.Size()
			if n := len(b.Events); n > 0 && (n >= b.Limit.Events || size > b.Limit.Bytes) {
				break
			}
			b.Events = append(b.Events, e)
		}
		t.next = position(r)
		t.pending[i] = nil
	}
	t.pending = t.pending[i:]
	b.Next, b.End = t.next, hubferry.Position{Sequence: t.scan.until - 1}
}

// Close implements hubferry.Reader.
func (t *tail) Close(context.Context) error {
	t.once.Do(func() { close(t.done) })
	return nil
}

// Partitions implements hubferry.Tailer.
func (w *writer) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	if w.life.Err() != nil {
		return nil, hubferry.ErrClosed
	}
	found, err := w.target.producer.ask(ctx, w.topic)
	if err != nil {
		return nil, err
	}
	admin := w.target.conn.admin
	begins, err := admin.ListStartOffsets(ctx, w.topic)
	if err != nil {
		return nil, classify("list offsets of topic "+w.topic, err)
	}
	ends, err := admin.ListEndOffsets(ctx, w.topic) // also what is not stable yet
	if err != nil {
		return nil, classify("list offsets of topic "+w.topic, err)
	}
	infos := make([]hubferry.PartitionInfo, found.count)
	for i, p := range w.learn(found) {
		infos[i] = hubferry.PartitionInfo{Place: p, Sparse: true}
		if infos[i].Begin, err = before(begins, w.topic, i); err != nil {
			return nil, err
		}
		if infos[i].End, err = before(ends, w.topic, i); err != nil {
			return nil, err
		}
	}
	return infos, nil
}
