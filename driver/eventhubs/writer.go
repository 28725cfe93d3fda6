package eventhubs

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/keyhash"
)

var (
	_ hubferry.Writer = (*writer)(nil)
	_ hubferry.Tailer = (*writer)(nil)

	_ hubferry.PiecemealTailer = (*writer)(nil)
)

// writer writes to the partitions of one hub.
type writer struct {
	c       *connection
	hub     string
	opts    *TargetOptions
	trail   hubferry.Trail
	places  placeCache
	losses  losses
	onClose func(*writer)

	mu     sync.Mutex
	layout []*hubferry.Place // as last read
	lanes  map[string]*lane  // by partition id
	tails  map[*tail]bool
	closed bool
}

// Layout implements hubferry.Writer.
func (w *writer) Layout(ctx context.Context) (hubferry.Layout, error) {
	places, err := w.read(ctx)
	if err != nil {
		return hubferry.Layout{}, err
	}
	return hubferry.Layout{Places: places, Partition: partitionOf, Late: w.sendTimeout()}, nil
}

// sendTimeout bounds a Write. A batch leaves within it or not at all, and the service stores
// at once what it has received, so it also bounds how late one can be stored.
func (w *writer) sendTimeout() time.Duration {
	return cmp.Or(w.opts.SendTimeout, defaultSendTimeout)
}

// partitionOf is the service's rule for partition keys.
func partitionOf(k hubferry.Key, n int) int { return keyhash.EventHubs(string(k.Bytes), n) }

// read asks the service for the partitions.
func (w *writer) read(ctx context.Context) ([]*hubferry.Place, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	info, err := w.c.readHub(ctx, w.hub)
	if err != nil {
		return nil, err
	}
	places := w.places.get(w.c.namespace, w.hub, info)
	w.mu.Lock()
	w.layout = places
	w.mu.Unlock()
	return places, nil
}

func (w *writer) check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return hubferry.ErrClosed
	}
	return nil
}

// Write implements hubferry.Writer.
func (w *writer) Write(ctx context.Context, r hubferry.Run) (hubferry.Receipt, error) {
	receipt := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}} // Event Hubs does not tell
	l, err := w.lane(ctx, r.Partition)
	if err != nil {
		return receipt, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, w.sendTimeout(), errSendTimeout)
	defer cancel()
	receipt.N, err = l.write(ctx, r.Events)
	return receipt, err
}

// lane returns what writes to one partition.
func (w *writer) lane(ctx context.Context, index int) (*lane, error) {
	l, err := w.known(index)
	if l != nil || err != nil {
		return l, err
	}
	if _, err := w.read(ctx); err != nil { // not read yet, or the hub has grown
		return nil, err
	}
	if l, err = w.known(index); l == nil && err == nil {
		err = &hubferry.Error{Kind: hubferry.NotFound, Op: "send", Err: fmt.Errorf("hub %s has no partition of index %d", w.hub, index)}
	}
	return l, err
}

// known returns the lane to a partition, or nil if the partition is not known.
func (w *writer) known(index int) (*lane, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, hubferry.ErrClosed
	}
	if index < 0 || index >= len(w.layout) {
		return nil, nil //nolint:nilnil // said above
	}
	place := w.layout[index]
	l := w.lanes[place.Partition]
	if l == nil {
		l = newLane(w, place)
		w.lanes[place.Partition] = l
	}
	return l, nil
}

// Close implements hubferry.Writer. It ends a Write that waits.
func (w *writer) Close(ctx context.Context) error {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return nil
	}
	w.closed = true
	lanes := make([]*lane, 0, len(w.lanes))
	for _, l := range w.lanes {
		lanes = append(lanes, l)
	}
	tails := make([]*tail, 0, len(w.tails))
	for t := range w.tails {
		tails = append(tails, t)
	}
	w.mu.Unlock()
	w.onClose(w)
	if err := closeAll(ctx, tails); err != nil {
		return err
	}
	return closeAll(ctx, lanes)
}

// losses reports what a message cannot carry (INV-5): the first time at once, and then
// how often once a minute, because it may be so with every event.
type losses struct {
	log *slog.Logger
	hub string

	mu   sync.Mutex
	seen map[string]*loss
}

type loss struct {
	count int64
	told  time.Time
}

const lossInterval = time.Minute

func (l *losses) report(e *hubferry.Event, what string) {
	l.mu.Lock()
	if l.seen == nil {
		l.seen = map[string]*loss{}
	}
	s := l.seen[what]
	if s == nil {
		s = &loss{}
		l.seen[what] = s
	}
	s.count++
	now := time.Now()
	tell := now.Sub(s.told) >= lossInterval
	if tell {
		s.told = now
	}
	count := s.count
	l.mu.Unlock()
	if tell {
		l.log.Warn("an event was changed on its way to "+l.hub, "what", what, "times", count,
			"source", e.Origin.String(), "sequence", e.Pos.Sequence)
	}
}
