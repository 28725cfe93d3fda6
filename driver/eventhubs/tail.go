package eventhubs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Reader = (*tail)(nil)

// tail reads a partition of a target to its end as of the call (G-8).
type tail struct {
	w         *writer
	partition string
	reader    *reader // nil if there was nothing to read
	until     int64   // sequence number of the last event there was
	done      bool
	patience  time.Duration
	silences  int // looks in a row without an event in between
	closed    chan struct{}
}

// tailPatience is how long a tail waits for an event before it asks whether the end that
// it reads to is still there: retention may have taken it. Compaction may have, too, when the
// last event was a tombstone, and no answer of the service tells: only silence does, on the
// link at hand after so many looks and then on a new one. A tail that ends before the end
// that was named is no proof to the engine that the rest is missing.
const (
	tailPatience = 5 * time.Second
	tailSilences = 3
)

// Tail implements hubferry.Tailer. It reads with the tail consumer group and without an
// epoch, so it takes nothing away from others, and gives way to a reader with an epoch.
func (w *writer) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	place, err := w.place(ctx, partition)
	if err != nil {
		return nil, err
	}
	info, err := w.c.readPartition(ctx, w.hub, place.Partition)
	if err != nil {
		return nil, classify("read tail", place, err, phaseConnect)
	}
	t := &tail{w: w, partition: place.Partition, until: info.end.Sequence, patience: tailPatience, closed: make(chan struct{})}
	if t.done = info.begin == info.end || t.until <= after.Sequence; !t.done {
		if t.reader, err = w.openTail(ctx, place, after); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.tails[t] = true
	}
	w.mu.Unlock()
	if closed {
		return nil, errors.Join(hubferry.ErrClosed, t.Close(ctx))
	}
	return t, nil
}

// openTail opens the link of a tail.
func (w *writer) openTail(ctx context.Context, place *hubferry.Place, after hubferry.Position) (*reader, error) {
	o := readerOptions{
		hub: w.hub, group: cmp.Or(w.opts.TailConsumerGroup, defaultTailGroup), place: place,
		selector: filter(after, true), after: after, epoch: hubferry.NoEpoch,
	}
	r, err := openReader(ctx, w.c, o)
	if oldOffset(err, after) {
		o.selector = filter(after, false)
		r, err = openReader(ctx, w.c, o)
	}
	return r, err
}

// Partitions implements hubferry.Tailer.
func (w *writer) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	places, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(places))
	for i, p := range places {
		ids[i] = p.Partition
	}
	ends, err := w.c.readAll(ctx, w.hub, ids)
	if err != nil {
		return nil, err
	}
	infos := make([]hubferry.PartitionInfo, len(places))
	for i, p := range places {
		infos[i] = hubferry.PartitionInfo{Place: p, Begin: ends[i].begin, End: ends[i].end, EndTime: ends[i].endTime}
	}
	return infos, nil
}

// Partition implements hubferry.PiecemealTailer.
func (w *writer) Partition(ctx context.Context, partition int) (hubferry.PartitionInfo, error) {
	place, err := w.place(ctx, partition)
	if err != nil {
		return hubferry.PartitionInfo{}, err
	}
	info, err := w.c.readPartition(ctx, w.hub, place.Partition)
	if err != nil {
		return hubferry.PartitionInfo{}, classify("read properties of partition", place, err, phaseConnect)
	}
	return hubferry.PartitionInfo{Place: place, Begin: info.begin, End: info.end, EndTime: info.endTime}, nil
}

// place asks for the place of a partition.
func (w *writer) place(ctx context.Context, partition int) (*hubferry.Place, error) {
	places, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	if partition < 0 || partition >= len(places) {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "read tail", Err: fmt.Errorf("hub %s has no partition of index %d", w.hub, partition)}
	}
	return places[partition], nil
}

// Read implements hubferry.Reader.
func (t *tail) Read(ctx context.Context, b *hubferry.Batch) error {
	b.Events = b.Events[:0]
	select {
	case <-t.closed:
		return hubferry.ErrClosed
	default:
	}
	for !t.done {
		err := t.read(ctx, b)
		if errors.Is(err, errPatience) {
			if err = t.look(ctx); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		t.silences = 0
		t.cut(b)
		if len(b.Events) > 0 {
			return nil
		}
	}
	return hubferry.ErrEnd
}

var errPatience = errors.New("no event for a while")

func (t *tail) read(ctx context.Context, b *hubferry.Batch) error {
	ctx, cancel := context.WithTimeoutCause(ctx, t.patience, errPatience)
	defer cancel()
	return t.reader.Read(ctx, b)
}

// look asks whether there is still something to come.
func (t *tail) look(ctx context.Context) error {
	info, err := t.w.c.readPartition(ctx, t.w.hub, t.partition)
	if err != nil {
		return classify("read tail", t.reader.o.place, err, phaseRead)
	}
	t.silences++
	t.done = info.begin.Sequence >= t.until || info.end.Sequence < t.until || t.silences == 2*tailSilences
	if t.done || t.silences != tailSilences {
		return nil
	}
	again, err := t.w.openTail(ctx, t.reader.o.place, t.reader.last)
	if err != nil {
		return err
	}
	t.w.mu.Lock()
	before, open := t.reader, t.w.tails[t]
	if open {
		t.reader = again
	}
	t.w.mu.Unlock()
	if !open {
		return errors.Join(hubferry.ErrClosed, again.Close(ctx))
	}
	return before.Close(ctx)
}

// cut takes away what was written after the call.
func (t *tail) cut(b *hubferry.Batch) {
	for i := range b.Events {
		if seq := b.Events[i].Pos.Sequence; seq >= t.until {
			t.done = true
			if seq > t.until {
				b.Events = b.Events[:i]
			} else {
				b.Events = b.Events[:i+1]
			}
			break
		}
	}
	if n := len(b.Events); n > 0 {
		b.Next = b.Events[n-1].Pos
	}
}

// Close implements hubferry.Reader.
func (t *tail) Close(ctx context.Context) error {
	t.w.mu.Lock()
	open, r := t.w.tails[t], t.reader
	delete(t.w.tails, t)
	t.w.mu.Unlock()
	if open {
		close(t.closed)
	}
	if r != nil {
		return r.Close(ctx)
	}
	return nil
}
