package mem

import (
	"context"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// lock is who holds an event of a queue. It is guarded by the hub's lock.
type lock struct {
	by    *reader
	until time.Time // set when its reader is gone
}

// free reports whether an event can be taken, and otherwise from when on, if that is
// known.
func (l *lock) free(now time.Time) (bool, time.Time) {
	if l.by == nil {
		return true, time.Time{}
	}
	if l.until.IsZero() && l.by.failed() == nil {
		return false, time.Time{} // its reader renews it
	}
	return !now.Before(l.until), l.until
}

var (
	_ hubferry.Reader  = (*queueReader)(nil)
	_ hubferry.Settler = (*queueReader)(nil)
)

// queueReader locks the events that it delivers. Its locks last as long as it does, and
// HubOptions.Lock longer.
type queueReader struct{ *reader }

// Read implements hubferry.Reader.
func (r *queueReader) Read(ctx context.Context, b *hubferry.Batch) error {
	return r.read(ctx, b, r.takeFree)
}

// takeFree fills b with events that nobody has locked, under the hub's lock, and returns
// when the next lock ends.
func (r *queueReader) takeFree(b *hubferry.Batch) (bool, time.Time) {
	p := r.partition
	b.Events = b.Events[:0]
	size, now := 0, time.Now()
	var retry time.Time
	for i := range p.records {
		free, until := p.records[i].lock.free(now)
		if !free {
			if !until.IsZero() && (retry.IsZero() || until.Before(retry)) {
				retry = until
			}
			continue
		}
		e := p.records[i].event(r.place, r.hub.options.Encoded)
		size += e.Size()
		if n := len(b.Events); n > 0 && (n >= b.Limit.Events || size > b.Limit.Bytes) {
			break
		}
		b.Events = append(b.Events, e)
		*p.records[i].lock = lock{by: r.reader}
		b.Next = e.Pos
	}
	b.End = p.end
	return len(b.Events) > 0, retry
}

// Settle implements hubferry.Settler. An event whose lock this reader does not have any
// more is an error of kind Lost; the others are settled all the same.
func (r *queueReader) Settle(ctx context.Context, settlements []hubferry.Settlement) error {
	if err := r.failed(); err != nil {
		return err
	}
	if err := r.hub.begin(ctx, OpSettle, 0, r.over); err != nil {
		return err
	}
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	var lost error
	for _, s := range settlements {
		p := r.partition
		i := p.after(s.Position.Sequence) - 1
		if i < 0 || p.records[i].pos.Sequence != s.Position.Sequence || p.records[i].lock.by != r.reader {
			lost = &hubferry.Error{Kind: hubferry.Lost, Op: "settle", Place: r.place, Hint: "the event is not locked by this reader"}
			continue
		}
		if s.Outcome == hubferry.Release {
			*p.records[i].lock = lock{}
			p.wake()
			continue
		}
		if s.Outcome == hubferry.Reject {
			r.hub.dead = append(r.hub.dead, s)
		}
		p.records = slices.Delete(slices.Clone(p.records), i, i+1)
	}
	return lost
}

// Close implements hubferry.Reader. Its locks end after HubOptions.Lock.
func (r *queueReader) Close(ctx context.Context) error {
	err := r.reader.Close(ctx)
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	for i := range r.partition.records {
		if l := r.partition.records[i].lock; l.by == r.reader && l.until.IsZero() {
			l.until = time.Now().Add(r.hub.options.Lock)
		}
	}
	r.partition.wake()
	return err
}

// Rejected returns what was rejected from a queue, with the reasons.
func (h *Hub) Rejected() []hubferry.Settlement {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.dead)
}
