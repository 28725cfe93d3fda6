package kafka

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Reader = (*reader)(nil)

// reader consumes one partition with a client of its own.
type reader struct {
	source *source
	place  *hubferry.Place
	client *kgo.Client
	once   sync.Once
	done   chan struct{}

	next    hubferry.Position
	end     int64         // sequence number of the last record, as of the last fetch
	pending []*kgo.Record // fetched and not delivered
	failed  error
}

func newReader(s *source, p *hubferry.Place, after hubferry.Position, partitions int) (*reader, error) {
	from := kgo.NewOffset().At(after.Sequence + 1)
	if after.Epoch > 0 {
		from = from.WithEpoch(after.Epoch - 1)
	}
	bytes := fetchBytes(s.conn.env.Budget, partitions)
	cl, err := s.conn.newClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {int32(p.Index): from}}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(),       // they move Next
		kgo.KeepRetryableFetchErrors(), // a deleted topic is one of them
		kgo.FetchMaxPartitionBytes(bytes), kgo.FetchMaxBytes(bytes), kgo.MaxConcurrentFetches(1),
	)
	if err != nil {
		return nil, err
	}
	return &reader{source: s, place: p, client: cl, done: make(chan struct{}), next: after, end: -1}, nil
}

// Read implements hubferry.Reader.
func (r *reader) Read(ctx context.Context, b *hubferry.Batch) error {
	for {
		switch {
		case isDone(r.done):
			return hubferry.ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case r.failed != nil:
			return r.failed
		case r.fill(b):
			return nil
		}
		fetches := r.client.PollRecords(ctx, max(b.Limit.Events, 1))
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil && r.failed == nil {
				r.failed = r.judge(ctx, p.Err)
			}
			r.pending = append(r.pending, p.Records...)
			if p.LastStableOffset > 0 {
				r.end = p.LastStableOffset - 1
			} else if p.HighWatermark > 0 {
				r.end = p.HighWatermark - 1
			}
		})
	}
}

// judge returns what an error of a fetch means, or nil for one that the client deals
// with: a leader that moved.
func (r *reader) judge(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil // Read sees the context itself
	}
	if isDone(r.done) {
		return hubferry.ErrClosed
	}
	switch kind, _ := kindOf(err); kind {
	case hubferry.Gap:
		return r.source.gap(ctx, r.place, r.next, err)
	case hubferry.Transient:
		if e, ok := errors.AsType[*kerr.Error](err); ok && e.Retriable {
			return nil
		}
	default:
	}
	return classify("read "+r.place.Path(), err)
}

// fill delivers what is pending, within the limit. Control records only move Next.
func (r *reader) fill(b *hubferry.Batch) bool {
	b.Events = b.Events[:0]
	size, i := 0, 0
	for ; i < len(r.pending); i++ {
		rec := r.pending[i]
		if !rec.Attrs.IsControl() {
			e := event(rec, r.place)
			size += e.Size()
			if n := len(b.Events); n > 0 && (n >= b.Limit.Events || size > b.Limit.Bytes) {
				break
			}
			b.Events = append(b.Events, e)
		}
		r.next = position(rec)
		r.pending[i] = nil
	}
	if r.pending = r.pending[i:]; len(r.pending) == 0 {
		r.pending = nil
	}
	b.Next, b.End = r.next, hubferry.Position{Sequence: r.end}
	return i > 0
}

// Close implements hubferry.Reader.
func (r *reader) Close(context.Context) error {
	r.once.Do(func() {
		close(r.done)
		r.client.Close()
		r.source.forget(r)
	})
	return nil
}
