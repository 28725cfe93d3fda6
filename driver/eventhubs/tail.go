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
	closed    chan struct{}
}

// tailPatience is how long a tail waits for an event before it asks whether the end that
// it reads to is still there: retention may have taken it.
const tailPatience = 5 * time.Second

// Tail implements hubferry.Tailer. It reads with the tail consumer group and without an
// epoch, so it takes nothing away from others, and gives way to a reader with an epoch.
func (w *writer) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	places, err := w.read(ctx)
	if err != nil {
		return nil, err
	}
	if partition < 0 || partition >= len(places) {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "read tail", Err: fmt.Errorf("hub %s has no partition of index %d", w.hub, partition)}
	}
	place := places[partition]
	info, err := w.c.readPartition(ctx, w.hub, place.Partition)
	if err != nil {
		return nil, classify("read tail", place, err, phaseConnect)
	}
	t := &tail{w: w, partition: place.Partition, until: info.end.Sequence, patience: tailPatience, closed: make(chan struct{})}
	if t.done = info.begin == info.end || t.until <= after.Sequence; !t.done {
		t.reader, err = openReader(ctx, w.c, readerOptions{
			hub: w.hub, group: cmp.Or(w.opts.TailConsumerGroup, defaultTailGroup), place: place,
			selector: filter(after, true), after: after, epoch: hubferry.NoEpoch,
		})
		if err != nil {
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
	t.done = info.begin.Sequence >= t.until || info.end.Sequence < t.until
	return nil
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
	open := t.w.tails[t]
	delete(t.w.tails, t)
	t.w.mu.Unlock()
	if open {
		close(t.closed)
	}
	if t.reader != nil {
		return t.reader.Close(ctx)
	}
	return nil
}
