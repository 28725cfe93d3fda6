package kafka

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/hubferry/hubferry"
)

// batcher makes batches of events.
type batcher struct {
	w       *writer
	place   *hubferry.Place
	reserve func(bytes int64) (*batch, error)
	take    func(b *batch)

	open *batch
}

// encode makes batches of events, in order, and hands each on when it is full. The error
// is about the first event that is in none of them.
func (x *batcher) encode(ctx context.Context, events []*hubferry.Event) error {
	enc, _ := x.w.spare.Get().(*encoder)
	defer x.w.spare.Put(enc)
	limit := x.w.largest()
	for i, e := range events {
		r, err := enc.record(e)
		if err != nil {
			return cmp.Or(x.flush(), at(x.place, onEvent(e, err)))
		}
		codec := x.w.codec(r)
		if x.open != nil && (x.open.codec != codec || x.open.room(r) > min(limit, gather)) {
			if err := x.flush(); err != nil {
				return err
			}
		}
		if x.open == nil {
			single := (&batch{data: make([]byte, batchOverhead)}).room(r)
			if single > limit {
				limit = x.w.grown(ctx)
			}
			if single > limit && !x.fits(r, codec, limit) {
				return at(x.place, &hubferry.Error{
					Kind: hubferry.TooLarge, Op: "write", Event: e, Err: eventError(e, sizeError{single, limit}),
					Hint: "raise the topic's max.message.bytes, and the connection's maxMessageBytes if it is set",
				})
			}
			if x.open, err = x.reserve(max(int64(single), x.w.estimate(events[i:], min(limit, gather)))); err != nil {
				return err
			}
			x.open.codec = codec
			x.open.events = events[i:]
		}
		x.open.add(r)
	}
	return x.flush()
}

// flush hands the open batch on. One that cannot be compressed stays open, for whoever
// reserved it to give its room back.
func (x *batcher) flush() error {
	b := x.open
	if b == nil {
		return nil
	}
	b.events = b.events[:b.n]
	if err := b.compress(&x.w.target.producer.compressors); err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: "write", Place: x.place, Err: err}
	}
	x.open = nil
	x.take(b)
	return nil
}

// fits reports whether a record that is over the limit fits when it is compressed. It is
// tried for those that arrived so only: the source's broker took them.
func (x *batcher) fits(r *record, codec uint8, limit int) bool {
	if !r.arrived || r.codec == 0 || codec == 0 {
		return false
	}
	b := &batch{data: make([]byte, batchOverhead), codec: codec}
	b.add(r)
	return b.compress(&x.w.target.producer.compressors) == nil && len(b.data) <= limit
}

// codec returns how a record is to be compressed.
func (w *writer) codec(r *record) uint8 {
	if w.target.options.Compression == CompressionSource {
		return r.codec
	}
	return uint8(max(slices.Index(codecs, w.target.options.Compression), 0))
}

// estimate returns how much room events will take, hardly less and at most the limit.
func (w *writer) estimate(events []*hubferry.Event, limit int) int64 {
	const (
		fixed  = 64  // of a record, and of an event that is no record yet
		stamp  = 200 // names, lengths, times and numbers of a hop
		header = 8   // lengths
	)
	n := batchOverhead
	for _, e := range events {
		f, ok := e.Form().(*form)
		if !ok {
			n += e.Size() + fixed
		} else if n += fixed + len(e.Key.Bytes) + f.Size() + header*len(f.headers); e.Origin != nil {
			n += stamp + len(e.Origin.Path()) + len(w.trail.Task) + len(w.trail.Route)
		}
		if n >= limit {
			return int64(limit)
		}
	}
	return int64(n)
}

// rebatch encodes events again, as a part of a batch that was too large.
func (w *writer) rebatch(events []*hubferry.Event, of *batch) (*batch, error) {
	enc, _ := w.spare.Get().(*encoder)
	defer w.spare.Put(enc)
	b := &batch{run: of.run, events: events, codec: of.codec, data: make([]byte, batchOverhead, len(of.data))}
	for _, e := range events {
		r, err := enc.record(e)
		if err != nil {
			return nil, err
		}
		b.add(r)
	}
	return b, b.compress(&w.target.producer.compressors)
}

// onEvent names the event in an error.
func onEvent(e *hubferry.Event, err error) error {
	if own, ok := errors.AsType[*hubferry.Error](err); ok {
		named := *own
		named.Event, named.Err = e, eventError(e, own.Err)
		return &named
	}
	return err
}
