package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Source      = (*source)(nil)
	_ hubferry.Coordinated = (*groupSource)(nil)
)

// source reads topics. It assigns partitions itself, without a consumer group.
type source struct {
	conn    *connection
	options *SourceOptions
	topics  selection
	done    chan struct{}
	spare   spare

	mu      sync.Mutex
	closed  bool
	readers map[*reader]bool
	pumps   []*pump
}

// groupSource is a source whose partitions a consumer group deals out.
type groupSource struct{ *source }

func newSource(c *connection, o *SourceOptions, topics selection) *source {
	return &source{conn: c, options: o, topics: topics, done: make(chan struct{}), readers: map[*reader]bool{}}
}

// Partitions implements hubferry.Source. Sequence numbers have holes where transactions
// end and compaction was, so all partitions are Sparse.
func (s *source) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	topics, err := s.topics.find(ctx, s.conn)
	if err != nil || len(topics) == 0 {
		return nil, err
	}
	names := make([]string, len(topics))
	for i := range topics {
		names[i] = topics[i].name
	}
	starts, err := list(ctx, s.conn.admin.ListStartOffsets, names...)
	if err != nil {
		return nil, err
	}
	ends, err := list(ctx, s.ends(), names...)
	if err != nil {
		return nil, err
	}
	var infos []hubferry.PartitionInfo
	for i := range topics {
		for p := range topics[i].count {
			info := hubferry.PartitionInfo{Place: topics[i].place(p), Sparse: true}
			if info.Begin, err = before(starts, names[i], p); err != nil {
				return nil, err
			}
			if info.End, err = before(ends, names[i], p); err != nil {
				return nil, err
			}
			infos = append(infos, info)
		}
	}
	return infos, nil
}

// ask lists one offset of each partition of topics.
type ask func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error)

// ends lists the ends as far as this source reads.
func (s *source) ends() ask {
	if s.options.Isolation == IsolationUncommitted {
		return s.conn.admin.ListEndOffsets
	}
	return s.conn.admin.ListCommittedOffsets
}

func list(ctx context.Context, f ask, topics ...string) (kadm.ListedOffsets, error) {
	offsets, err := f(ctx, topics...)
	if err != nil {
		return nil, classify("list offsets", err)
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
	f := ask(s.conn.admin.ListStartOffsets)
	switch start.Kind {
	case hubferry.StartAfter:
		return start.Position, nil
	case hubferry.StartLatest:
		f = s.ends()
	case hubferry.StartTime:
		ms := start.Time.Add(time.Millisecond - 1).UnixMilli()
		f = func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return s.conn.admin.ListOffsetsAfterMilli(ctx, ms, topics...)
		}
	default:
	}
	offsets, err := list(ctx, f, p.Hub)
	if err != nil {
		return hubferry.Position{}, err
	}
	return before(offsets, p.Hub, p.Index)
}

// Open implements hubferry.Source. Kafka has no epochs for readers without a group.
func (s *source) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, _ int64) (hubferry.Reader, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	t, err := s.conn.describe(ctx, p.Hub)
	if err != nil {
		return nil, err
	}
	if p.Index >= t.count {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "open", Place: p, Hint: fmt.Sprintf("the topic has %d partitions", t.count)}
	}
	if now := t.place(p.Index); p.Incarnation != "" && now.Incarnation != p.Incarnation {
		return nil, &hubferry.Error{
			Kind: hubferry.Gap, Op: "open", Place: p, From: after.Sequence + 1, To: after.Sequence,
			Hint: "the topic was deleted and created again",
		}
	}
	return s.open(ctx, newReader(s, p, after))
}

// width is how many pumps share the partitions of a source. A client asks a broker for more
// only when it has read and checked what came: with two of them the one's answer is on its
// way meanwhile.
const width = 2

// open attaches a reader to the pump that has the fewest, of those that do not fetch its
// partition for somebody else: one client has one position in a partition.
func (s *source) open(ctx context.Context, r *reader) (hubferry.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, hubferry.ErrClosed
	}
	var best *pump
	least := 0
	for _, p := range s.pumps {
		if n, free := p.load(r.name); free && (best == nil || n < least) {
			best, least = p, n
		}
	}
	if best == nil || least > 0 && len(s.pumps) < width {
		var err error
		if best, err = newPump(ctx, s); err != nil {
			return nil, err
		}
		s.conn.pumps.Add(1)
		s.pumps = append(s.pumps, best)
	}
	r.pump = best
	best.attach(r)
	s.readers[r] = true
	return r, nil
}

// forget notes that a reader was closed. A pump without readers ends, unless it is the first.
func (s *source) forget(r *reader) {
	var over *pump
	s.mu.Lock()
	delete(s.readers, r)
	for i, p := range s.pumps {
		if i > 0 && p == r.pump && p.idle() {
			over = p
			s.pumps = append(s.pumps[:i:i], s.pumps[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	if over != nil {
		s.conn.pumps.Add(-1)
		over.close()
	}
}

// gap says what is missing when the broker refuses a position.
func (s *source) gap(ctx context.Context, p *hubferry.Place, after hubferry.Position, cause error) error {
	e := &hubferry.Error{Kind: hubferry.Gap, Op: "read", Place: p, From: after.Sequence + 1, To: after.Sequence, Err: cause, Hint: "set onGap: continue to accept the loss and go on with what is there"}
	if cut, ok := errors.AsType[*kgo.ErrDataLoss](cause); ok {
		e.From, e.To = cut.ResetTo, max(cut.ConsumedTo-1, after.Sequence)
		e.Err = fmt.Errorf("the log was cut back to offset %d, as by an unclean leader election, and what was read from there on is not in it any more", cut.ResetTo)
		e.Hint = "set onGap: continue to go on with what has these offsets now"
		return e
	}
	starts, err := list(ctx, s.conn.admin.ListStartOffsets, p.Hub)
	if err != nil {
		return e // the range is not known
	}
	if begin, err := before(starts, p.Hub, p.Index); err == nil {
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
	readers, pumps := s.readers, s.pumps
	s.readers, s.pumps = nil, nil
	s.mu.Unlock()
	var errs []error
	for r := range readers {
		errs = append(errs, r.Close(ctx))
	}
	for _, p := range pumps {
		s.conn.pumps.Add(-1)
		p.close()
	}
	return errors.Join(errs...)
}
