package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Source    = (*source)(nil)
	_ hubferry.Piecemeal = (*source)(nil)
)

// source is one hub to read from.
type source struct {
	c      *connection
	hub    string
	opts   *SourceOptions
	places placeCache

	mu      sync.Mutex
	readers map[*reader]bool
	closed  bool
}

func newSource(c *connection, hub string, o *SourceOptions) *source {
	return &source{c: c, hub: hub, opts: o, readers: map[*reader]bool{}}
}

// placeCache makes one Place per partition and incarnation, so that all events of a
// partition share it.
type placeCache struct {
	mu     sync.Mutex
	places []*hubferry.Place
}

func (p *placeCache) get(namespace, hub string, info hubInfo) []*hubferry.Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	places := make([]*hubferry.Place, len(info.partitions))
	for i, id := range info.partitions {
		if i < len(p.places) && p.places[i].Partition == id && p.places[i].Incarnation == info.created {
			places[i] = p.places[i]
			continue
		}
		places[i] = hubferry.NewPlace(namespace, strings.ToLower(hub), id, info.created, i)
	}
	p.places = places
	return places
}

// Partitions implements hubferry.Source.
func (s *source) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	places, err := s.Places(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(places))
	for i, p := range places {
		ids[i] = p.Partition
	}
	ends, err := s.c.readAll(ctx, s.hub, ids)
	if err != nil {
		return nil, err
	}
	out := make([]hubferry.PartitionInfo, len(places))
	for i, p := range places {
		out[i] = s.describe(p, ends[i])
	}
	return out, nil
}

// Places implements hubferry.Piecemeal.
func (s *source) Places(ctx context.Context) ([]*hubferry.Place, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	info, err := s.c.readHub(ctx, s.hub)
	if err != nil {
		return nil, err
	}
	return s.places.get(s.c.namespace, s.hub, info), nil
}

// Partition implements hubferry.Piecemeal.
func (s *source) Partition(ctx context.Context, p *hubferry.Place) (hubferry.PartitionInfo, error) {
	if err := s.check(); err != nil {
		return hubferry.PartitionInfo{}, err
	}
	info, err := s.c.readPartition(ctx, s.hub, p.Partition)
	if err != nil {
		return hubferry.PartitionInfo{}, classify("read properties of partition", p, err, phaseConnect)
	}
	return s.describe(p, info), nil
}

func (s *source) describe(p *hubferry.Place, info partitionInfo) hubferry.PartitionInfo {
	return hubferry.PartitionInfo{Place: p, Begin: info.begin, End: info.end, EndTime: info.endTime, Sparse: s.opts.Compacted}
}

func (s *source) check() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return hubferry.ErrClosed
	}
	return nil
}

// Resolve implements hubferry.Source.
func (s *source) Resolve(ctx context.Context, p *hubferry.Place, start hubferry.Start) (hubferry.Position, error) {
	if err := s.check(); err != nil {
		return hubferry.Position{}, err
	}
	if start.Kind == hubferry.StartAfter {
		return start.Position, nil
	}
	info, err := s.c.readPartition(ctx, s.hub, p.Partition)
	if err != nil {
		return hubferry.Position{}, classify("resolve start", p, err, phaseConnect)
	}
	switch start.Kind {
	case hubferry.StartEarliest:
		return info.begin, nil
	case hubferry.StartLatest:
		return info.end, nil
	case hubferry.StartTime:
		return s.resolveTime(ctx, p, start.Time, info)
	default:
		return hubferry.Position{}, &hubferry.Error{Kind: hubferry.Fatal, Op: "resolve start", Place: p, Err: fmt.Errorf("start of kind %d is not known", start.Kind)}
	}
}

// resolveWait bounds the search for the first event of a time: the service has one, so
// it comes with the first round trip.
const resolveWait = 30 * time.Second

// resolveTime finds the position before the first event that was enqueued at a time or
// later, by reading that event.
func (s *source) resolveTime(ctx context.Context, p *hubferry.Place, at time.Time, info partitionInfo) (hubferry.Position, error) {
	if info.begin == info.end || info.endTime.Before(at) {
		return info.end, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, resolveWait, errors.New("the service sent no event of that time"))
	defer cancel()
	ms := at.UnixMilli()
	if at.After(time.UnixMilli(ms)) { // the service counts in milliseconds
		ms++
	}
	r, err := s.open(ctx, p, "amqp.annotation.x-opt-enqueued-time >= '"+strconv.FormatInt(ms, 10)+"'", hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	if err != nil {
		return hubferry.Position{}, classify("resolve start", p, err, phaseAttach)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1}}
	err = r.Read(ctx, &b)
	if closeErr := r.Close(ctx); err == nil {
		err = closeErr
	}
	if err != nil {
		return hubferry.Position{}, classify("resolve start", p, err, phaseRead)
	}
	return hubferry.Position{Sequence: b.Events[0].Pos.Sequence - 1}, nil
}

// Open implements hubferry.Source.
func (s *source) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if epoch != hubferry.NoEpoch {
		epoch = max(epoch, s.opts.OwnerLevel)
	}
	r, err := s.open(ctx, p, filter(after, true), after, epoch)
	if oldOffset(err, after) {
		r, err = s.open(ctx, p, filter(after, false), after, epoch)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// filter is the selector for the events after a position. An offset is preferred: it is
// what the service itself resumes by.
func filter(after hubferry.Position, byOffset bool) string {
	switch {
	case after.Sequence < 0:
		return "amqp.annotation.x-opt-offset > '-1'"
	case byOffset && after.Offset != "" && !strings.Contains(after.Offset, "'"):
		return "amqp.annotation.x-opt-offset > '" + after.Offset + "'"
	default:
		return "amqp.annotation.x-opt-sequence-number > '" + strconv.FormatInt(after.Sequence, 10) + "'"
	}
}

// open opens a reader and keeps it, so that Close can end it.
func (s *source) open(ctx context.Context, p *hubferry.Place, selector string, after hubferry.Position, epoch int64) (*reader, error) {
	r, err := openReader(ctx, s.c, readerOptions{
		hub: s.hub, group: s.opts.ConsumerGroup, place: p, selector: selector, after: after,
		epoch: epoch, prefetch: s.opts.Prefetch, onClose: s.forget,
	})
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

func (s *source) forget(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, r)
}

// Close implements hubferry.Source.
func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	readers := make([]*reader, 0, len(s.readers))
	for r := range s.readers {
		readers = append(readers, r)
	}
	s.mu.Unlock()
	return closeAll(ctx, readers)
}

// closeAll closes several things at the same time.
func closeAll[T interface {
	Close(ctx context.Context) error
}](ctx context.Context, all []T) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, x := range all {
		wg.Go(func() { errs[i] = x.Close(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
