package mem

import (
	"context"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Source = (*Source)(nil)

// Source reads one hub of a Broker. Make it with NewSource or through Driver.
type Source struct {
	access access
	hub    string
	group  string
	done   chan struct{}

	mu      sync.Mutex
	closed  bool
	readers map[*reader]bool
}

// NewSource returns a source for a hub, which need not exist yet. Options may be nil.
func NewSource(b *Broker, namespace, hub string, o *SourceOptions) *Source {
	return newSource(access{broker: b, namespace: canonical(namespace)}, hub, o)
}

func newSource(a access, hub string, o *SourceOptions) *Source {
	if o == nil {
		o = &SourceOptions{}
	}
	group := o.ConsumerGroup
	if group == "" {
		group = "$default"
	}
	return &Source{access: a, hub: canonical(hub), group: canonical(group), done: make(chan struct{}), readers: map[*reader]bool{}}
}

// find returns the hub as it is now.
func (s *Source) find(op string) (*Hub, error) {
	select {
	case <-s.done:
		return nil, hubferry.ErrClosed
	default:
		return s.access.hub(op, s.hub)
	}
}

// Partitions implements hubferry.Source.
func (s *Source) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	h, err := s.find("list partitions of")
	if err != nil {
		return nil, err
	}
	if err := h.begin(ctx, OpPartitions, 0, s.done); err != nil {
		return nil, err
	}
	return h.describe(), nil
}

// describe returns what the partitions hold.
func (h *Hub) describe() []hubferry.PartitionInfo {
	h.mu.Lock()
	defer h.mu.Unlock()
	infos := make([]hubferry.PartitionInfo, 0, len(h.partitions))
	for _, p := range h.partitions {
		infos = append(infos, hubferry.PartitionInfo{
			Place: h.place(p.index), Begin: hubferry.Position{Sequence: p.begin}, End: p.end, EndTime: p.endTime,
			Sparse: h.options.Sparse,
		})
	}
	return infos
}

// Resolve implements hubferry.Source.
func (s *Source) Resolve(ctx context.Context, place *hubferry.Place, start hubferry.Start) (hubferry.Position, error) {
	h, err := s.find("resolve the start in")
	if err != nil {
		return hubferry.Position{}, err
	}
	if err := h.begin(ctx, OpResolve, place.Index, s.done); err != nil {
		return hubferry.Position{}, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.partition(place)
	if err != nil {
		return hubferry.Position{}, err
	}
	return p.resolve(start), nil
}

func (p *partition) resolve(start hubferry.Start) hubferry.Position {
	switch start.Kind {
	case hubferry.StartLatest:
		return p.end
	case hubferry.StartAfter:
		return start.Position
	case hubferry.StartTime:
		before := hubferry.Position{Sequence: p.begin}
		for i := range p.records {
			if !p.records[i].time.Before(start.Time) {
				return before
			}
			before = p.records[i].pos
		}
		return p.end
	default:
		return hubferry.Position{Sequence: p.begin}
	}
}

// partition returns the partition of a place, which may be of an earlier hub of that
// name: a service goes by the number, too.
func (h *Hub) partition(place *hubferry.Place) (*partition, error) {
	if place.Index < 0 || place.Index >= len(h.partitions) {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "find partition", Place: place, Hint: "the hub has fewer partitions"}
	}
	return h.partitions[place.Index], nil
}

// Open implements hubferry.Source.
func (s *Source) Open(ctx context.Context, place *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	h, err := s.find("open a reader of")
	if err != nil {
		return nil, err
	}
	if err := h.begin(ctx, OpOpenReader, place.Index, s.done); err != nil {
		return nil, err
	}
	r := &reader{source: s, hub: h, place: place, epoch: epoch, group: s.group, over: make(chan struct{})}
	if err := h.attach(r, after); err != nil {
		return nil, err
	}
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.readers[r] = true
	}
	s.mu.Unlock()
	if closed {
		return nil, r.shut()
	}
	if h.options.Kind == Queue {
		return &queueReader{r}, nil
	}
	return r, nil
}

// attach makes a reader known to its partition, by the rules of Event Hubs: within a
// consumer group an epoch that is as high or higher ends the reader before, and a
// reader without one gives way to any reader with one.
func (h *Hub) attach(r *reader, after hubferry.Position) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, err := h.partition(r.place)
	if err != nil {
		return err
	}
	if err := p.refuses(after, r.place); err != nil && h.options.Kind == Log {
		return err
	}
	r.partition, r.next = p, after
	for other := range p.readers {
		if other.group == r.group && other.epoch > r.epoch && h.options.Kind == Log {
			return &hubferry.Error{
				Kind: hubferry.Lost, Op: "open reader", Place: r.place,
				Hint: "another reader of this consumer group has a higher epoch; use a consumer group of your own",
			}
		}
	}
	if r.epoch != hubferry.NoEpoch {
		p.endReaders(func(other *reader) bool { return other.group == r.group && h.options.Kind == Log },
			&hubferry.Error{Kind: hubferry.Lost, Op: "read", Place: r.place, Hint: "another reader of this consumer group has taken the partition"})
	}
	p.readers[r] = true
	return nil
}

// refuses returns an error of kind Gap if a position cannot be one of this partition.
func (p *partition) refuses(after hubferry.Position, place *hubferry.Place) error {
	bad := after.Sequence > p.end.Sequence
	if i := p.after(after.Sequence) - 1; !bad && after.Offset != "" && i >= 0 && p.records[i].pos.Sequence == after.Sequence {
		bad = p.records[i].pos.Offset != after.Offset
	}
	if !bad {
		return nil
	}
	return &hubferry.Error{
		Kind: hubferry.Gap, Op: "open reader", Place: place, From: after.Sequence + 1, To: after.Sequence,
		Hint: "the position is not one of this hub; was it deleted and created again?",
	}
}

// Close implements hubferry.Source.
func (s *Source) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.done)
	for r := range s.readers {
		r.end(hubferry.ErrClosed)
	}
	s.readers = nil
	return nil
}

// forget removes a closed reader.
func (s *Source) forget(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
}

var _ hubferry.Reader = (*reader)(nil)

// reader delivers the events of one partition.
type reader struct {
	source    *Source // nil for a tail
	hub       *Hub
	partition *partition
	place     *hubferry.Place
	epoch     int64
	group     string
	next      hubferry.Position
	until     *hubferry.Position // of a tail: where it ends
	over      chan struct{}

	mu  sync.Mutex
	err error // why it is over
}

// end makes the reader return err from now on, unless it is over already.
func (r *reader) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
		close(r.over)
	}
}

// failed returns why the reader is over, or nil.
func (r *reader) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// Read implements hubferry.Reader.
func (r *reader) Read(ctx context.Context, b *hubferry.Batch) error {
	return r.read(ctx, b, r.take)
}

// read waits until take delivers something.
func (r *reader) read(ctx context.Context, b *hubferry.Batch, take func(*hubferry.Batch) (bool, time.Time)) error {
	if err := r.failed(); err != nil {
		return err
	}
	if err := r.hub.begin(ctx, OpRead, r.place.Index, r.over); err != nil {
		r.end(err)
		return err
	}
	for {
		if err := r.failed(); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		r.hub.mu.Lock()
		changed := r.partition.changed
		taken, retry := take(b)
		r.hub.mu.Unlock()
		if taken {
			return nil
		}
		if r.until != nil {
			return hubferry.ErrEnd
		}
		if err := r.wait(ctx, changed, retry); err != nil {
			return err
		}
	}
}

// wait waits for something new, or until a moment if it is not zero.
func (r *reader) wait(ctx context.Context, changed <-chan struct{}, retry time.Time) error {
	var timer <-chan time.Time
	if !retry.IsZero() {
		t := time.NewTimer(time.Until(retry))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-changed:
	case <-timer:
	case <-r.over:
		return r.failed()
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// take fills b from the log, under the hub's lock.
func (r *reader) take(b *hubferry.Batch) (bool, time.Time) {
	p := r.partition
	end := p.end
	if r.until != nil {
		end = *r.until
	}
	b.Events = b.Events[:0]
	size, next := 0, r.next
	i := p.after(r.next.Sequence)
	for ; i < len(p.records) && p.records[i].pos.Sequence <= end.Sequence; i++ {
		e := p.records[i].event(r.place, r.hub.options.Encoded)
		size += e.Size()
		if n := len(b.Events); n > 0 && (n >= b.Limit.Events || size > b.Limit.Bytes) {
			break
		}
		b.Events = append(b.Events, e)
		next = e.Pos
	}
	if (i == len(p.records) || p.records[i].pos.Sequence > end.Sequence) && end.Sequence > next.Sequence {
		next = end // what is left of the partition is no event
	}
	if len(b.Events) == 0 && next.Sequence <= r.next.Sequence {
		return false, time.Time{}
	}
	r.next, b.Next, b.End = next, next, p.end
	return true, time.Time{}
}

// shut ends the reader and takes it out of all lists. It returns ErrClosed for callers
// that cannot go on.
func (r *reader) shut() error {
	r.end(hubferry.ErrClosed)
	r.hub.mu.Lock()
	delete(r.partition.readers, r)
	r.hub.mu.Unlock()
	if r.source != nil {
		r.source.forget(r)
	}
	return hubferry.ErrClosed
}

// Close implements hubferry.Reader.
func (r *reader) Close(context.Context) error {
	_ = r.shut()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = hubferry.ErrClosed
	return nil
}
