package kafka

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Reader = (*reader)(nil)

// reader delivers one partition of what a pump fetches.
type reader struct {
	source *source
	pump   *pump
	place  *hubferry.Place
	name   partitionName
	after  hubferry.Position // where it was opened
	once   sync.Once
	done   chan struct{}
	filled chan struct{} // signals that there is something to deliver; capacity 1

	paused atomic.Bool  // the pump's goroutine sets it
	limit  atomic.Int64 // bytes in the queue from which on it is full

	mu     sync.Mutex
	queue  []*kgo.Record // fetched and not delivered, the oldest first
	where  []portion     // of the queue
	bytes  int64         // of the queue
	fed    bool          // the queue was filled beyond what counts as dry
	last   int64         // sequence number of the last record that was queued
	end    int64         // that of the last one there is, as of the last fetch
	failed error

	next hubferry.Position // only Read uses it
}

func newReader(s *source, p *hubferry.Place, after hubferry.Position) *reader {
	r := &reader{
		source: s, place: p, name: partitionName{p.Hub, int32(p.Index)}, after: after, next: after, last: after.Sequence, end: -1,
		done: make(chan struct{}), filled: make(chan struct{}, 1),
	}
	r.limit.Store(minFetch)
	return r
}

// offset returns where the client is to begin.
func (r *reader) offset() kgo.Offset {
	o := kgo.NewOffset().At(r.after.Sequence + 1)
	if r.after.Epoch > 0 {
		o = o.WithEpoch(r.after.Epoch - 1)
	}
	return o
}

// put queues what was fetched, and returns how much memory that takes. In is where the bytes
// are, or nil if the client has them.
func (r *reader) put(f kgo.FetchTopicPartition, in *parcel) int64 {
	var size int64
	for _, rec := range f.Records {
		size += recordSize(rec)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.queue) == 0 {
		r.queue = f.Records
	} else {
		r.queue = append(r.queue, f.Records...)
	}
	r.bytes += size
	if len(f.Records) > 0 {
		r.where = append(r.where, portion{in, len(f.Records)})
	}
	if f.LastStableOffset > 0 && r.source.options.Isolation != IsolationUncommitted {
		r.end = f.LastStableOffset - 1
	} else if f.HighWatermark > 0 {
		r.end = f.HighWatermark - 1
	}
	r.fed = r.fed || !r.dry()
	if n := len(f.Records); n > 0 {
		r.last = f.Records[n-1].Offset
		r.signal()
	}
	return size
}

// dry reports whether the queue wants more. The caller holds r.mu.
func (r *reader) dry() bool { return r.bytes <= r.limit.Load()/4 }

func (r *reader) isDry() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dry()
}

// readerState is how much a reader has in its queue.
type readerState uint8

const (
	readerIdle     readerState = iota // hardly anything, and there is no more
	readerDry                         // hardly anything, and there is more
	readerSupplied                    // some, or it is paused
	readerFull
)

// state returns how a reader is supplied.
func (r *reader) state() readerState {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fed = r.fed || !r.dry() // the limit may have changed since
	switch {
	case r.paused.Load():
		return readerSupplied
	case r.bytes >= r.limit.Load():
		return readerFull
	case !r.dry():
		return readerSupplied
	case r.last < r.end:
		return readerDry
	}
	return readerIdle
}

// recordSize is about what a record takes in memory.
func recordSize(r *kgo.Record) int64 {
	const overhead = 160 // of kgo.Record
	n := overhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += 40 + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}

func (r *reader) signal() {
	select {
	case r.filled <- struct{}{}:
	default:
	}
}

// fail makes Read return an error when it has delivered what is there. The first counts.
func (r *reader) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	r.signal()
}

func (r *reader) isFailed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed != nil
}

// Read implements hubferry.Reader.
func (r *reader) Read(ctx context.Context, b *hubferry.Batch) error {
	for {
		switch {
		case isDone(r.done):
			return hubferry.ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		}
		ok, err := r.fill(b)
		switch {
		case ok:
			return nil
		case err != nil:
			return r.explain(ctx, err)
		}
		select {
		case <-r.filled:
		case <-r.done:
		case <-ctx.Done():
		}
	}
}

// fill delivers what is there, within the limit, and reports whether it was anything.
// Control records only move Next.
func (r *reader) fill(b *hubferry.Batch) (bool, error) {
	b.Events, b.Free = nil, nil // those before may still be in use
	lot := r.source.spare.lot()
	records, err := r.take(b.Limit, lot)
	if len(records) == 0 {
		lot.free()
		return false, err
	}
	lot.room(len(records))
	r.next = position(records[len(records)-1])
	for i, rec := range records {
		if !rec.Attrs.IsControl() {
			lot.events = append(lot.events, r.source.event(&lot.forms[i], rec, r.place))
		}
		rec.Recycle()
	}
	if len(lot.events) > 0 {
		b.Events, b.Free = lot.events, lot.give
	} else {
		lot.free()
	}
	b.Next = r.next
	r.mu.Lock()
	b.End = hubferry.Position{Sequence: r.end}
	r.mu.Unlock()
	return true, nil
}

// take removes the head of the queue, at least one record, else as much as the limit
// allows. When there is nothing it returns why there will be nothing more. What the records'
// bytes are in is the lot's as well from then on.
func (r *reader) take(l hubferry.Limit, to *lot) ([]*kgo.Record, error) {
	r.mu.Lock()
	n, bytes := 0, int64(0)
	events, size := 0, 0
	for _, rec := range r.queue {
		if !rec.Attrs.IsControl() {
			events++
			size += eventSize(rec)
			if events > 1 && (events > l.Events || size > l.Bytes) {
				break
			}
		}
		n++
		bytes += recordSize(rec)
	}
	records := r.queue[:n:n]
	r.queue = r.queue[n:]
	r.bytes -= bytes
	r.move(n, to)
	if len(r.queue) == 0 {
		r.queue = nil // its array belongs to the events now
	}
	wants := r.fed && r.dry()
	if wants {
		r.fed = false
	}
	err := r.failed
	r.mu.Unlock()
	if wants {
		r.pump.wants(r)
	}
	return records, err
}

// move gives a lot its share of what the next n records are in. The caller holds r.mu.
func (r *reader) move(n int, to *lot) {
	for n > 0 {
		p := &r.where[0]
		of := min(n, p.left)
		n -= of
		p.left -= of
		if p.parcel != nil {
			to.parcels = append(to.parcels, p.parcel)
			if p.left > 0 {
				p.parcel.users.Add(1) // else the queue's use of it is the lot's now
			}
		}
		if p.left == 0 {
			*p = portion{}
			r.where = r.where[1:]
		}
	}
}

// eventSize is Event.Size of the event that a record becomes, before it is made.
func eventSize(r *kgo.Record) int {
	const overhead = 512 // of Event.Size
	n := overhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 2
	}
	return n
}

// passing reports whether the client deals with an error of a fetch itself: a leader that
// moved, or a client that is closed.
func passing(ctx context.Context, err error) bool {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return true
	}
	e, ok := errors.AsType[*kerr.Error](err)
	kind, _ := kindOf(err)
	return ok && e.Retriable && kind == hubferry.Transient
}

// explain turns the error of a fetch into one of the contract.
func (r *reader) explain(ctx context.Context, err error) error {
	if kind, _ := kindOf(err); kind == hubferry.Gap {
		return r.source.gap(ctx, r.place, r.next, err)
	}
	return deleted(classify("read "+r.place.Path(), err))
}

// Close implements hubferry.Reader.
func (r *reader) Close(context.Context) error {
	r.once.Do(func() {
		close(r.done)
		r.pump.detach(r)
		r.source.forget(r)
	})
	return nil
}
