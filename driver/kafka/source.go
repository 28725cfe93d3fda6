package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Source = (*source)(nil)

// source reads one topic. It assigns partitions itself, without a consumer group.
type source struct {
	conn  *connection
	topic string
	done  chan struct{}

	mu      sync.Mutex
	closed  bool
	readers map[*reader]bool
}

// Partitions implements hubferry.Source. Sequence numbers have holes where transactions
// end and compaction was, so all partitions are Sparse.
func (s *source) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	t, err := s.conn.describe(ctx, s.topic)
	if err != nil {
		return nil, err
	}
	infos := make([]hubferry.PartitionInfo, t.count)
	for i := range infos {
		infos[i] = hubferry.PartitionInfo{Place: t.place(s.topic, i), Sparse: true}
	}
	starts, err := s.list(ctx, s.conn.admin.ListStartOffsets)
	if err != nil {
		return nil, err
	}
	ends, err := s.list(ctx, s.conn.admin.ListCommittedOffsets)
	if err != nil {
		return nil, err
	}
	for i := range infos {
		if infos[i].Begin, err = before(starts, s.topic, i); err != nil {
			return nil, err
		}
		if infos[i].End, err = before(ends, s.topic, i); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// list asks for one offset of each partition.
func (s *source) list(ctx context.Context, ask func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)) (kadm.ListedOffsets, error) {
	offsets, err := ask(ctx, s.topic)
	if err != nil {
		return nil, classify("list offsets of topic "+s.topic, err)
	}
	return offsets, nil
}

// before returns the position before a listed offset: positions are of the last record,
// Kafka's offsets of the next.
func before(l kadm.ListedOffsets, topic string, partition int) (hubferry.Position, error) {
	op := fmt.Sprintf("list offsets of %s/%d", topic, partition)
	o, ok := l.Lookup(topic, int32(partition))
	if !ok {
		return hubferry.Position{}, &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: errors.New("the cluster left the partition out")}
	}
	if o.Err != nil {
		return hubferry.Position{}, classify(op, o.Err)
	}
	return hubferry.Position{Sequence: o.Offset - 1}, nil
}

// Resolve implements hubferry.Source. Times have the resolution of milliseconds.
func (s *source) Resolve(ctx context.Context, p *hubferry.Place, start hubferry.Start) (hubferry.Position, error) {
	if isDone(s.done) {
		return hubferry.Position{}, hubferry.ErrClosed
	}
	var ask func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)
	switch start.Kind {
	case hubferry.StartAfter:
		return start.Position, nil
	case hubferry.StartLatest:
		ask = s.conn.admin.ListCommittedOffsets
	case hubferry.StartTime:
		ms := start.Time.Add(time.Millisecond - 1).UnixMilli()
		ask = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return s.conn.admin.ListOffsetsAfterMilli(ctx, ms, topics...)
		}
	default:
		ask = s.conn.admin.ListStartOffsets
	}
	offsets, err := s.list(ctx, ask)
	if err != nil {
		return hubferry.Position{}, err
	}
	return before(offsets, s.topic, p.Index)
}

// Open implements hubferry.Source. Kafka has no epochs for readers without a group.
func (s *source) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, _ int64) (hubferry.Reader, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	t, err := s.conn.describe(ctx, s.topic)
	if err != nil {
		return nil, err
	}
	if now := t.place(s.topic, p.Index); p.Incarnation != "" && now.Incarnation != p.Incarnation {
		return nil, &hubferry.Error{
			Kind: hubferry.Gap, Op: "open", Place: p, From: after.Sequence + 1, To: after.Sequence,
			Hint: "the topic was deleted and created again",
		}
	}
	if p.Index >= t.count {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "open", Place: p, Hint: fmt.Sprintf("the topic has %d partitions", t.count)}
	}
	r, err := newReader(s, p, after, t.count)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.readers[r] = true
	}
	s.mu.Unlock()
	if closed {
		return nil, errors.Join(hubferry.ErrClosed, r.Close(ctx))
	}
	return r, nil
}

// gap says what is missing when the broker refuses a position.
func (s *source) gap(ctx context.Context, p *hubferry.Place, after hubferry.Position, cause error) error {
	e := &hubferry.Error{Kind: hubferry.Gap, Op: "read", Place: p, From: after.Sequence + 1, To: after.Sequence, Err: cause}
	starts, err := s.list(ctx, s.conn.admin.ListStartOffsets)
	if err != nil {
		return e // the range is not known
	}
	if begin, err := before(starts, s.topic, p.Index); err == nil {
		e.To = max(begin.Sequence, e.To)
	}
	return e
}

// Close implements hubferry.Source.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	readers := s.readers
	s.readers = nil
	s.mu.Unlock()
	var errs []error
	for r := range readers {
		errs = append(errs, r.Close(ctx))
	}
	return errors.Join(errs...)
}

func (s *source) forget(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
}

// fetchBytes returns how much of a partition one fetch may bring. A client holds one
// fetch that is being read and one ahead; together those of all partitions stay within
// half of the budget (INV-6). A broker sends a larger record all the same.
func fetchBytes(budget int64, partitions int) int32 {
	if budget <= 0 {
		return maxFetch
	}
	return int32(min(max(budget/int64(4*max(partitions, 1)), minFetch), maxFetch))
}

const (
	minFetch = 16 << 10
	maxFetch = 1 << 20
)
