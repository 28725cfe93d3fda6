package mem

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

var errCut = errors.New("the connection was cut")

// Op is an operation that a Fault can hit.
type Op uint8

// The operations.
const (
	OpWrite Op = iota
	OpRead
	OpOpenReader
	OpOpenWriter
	OpPartitions
	OpResolve
	OpLayout
	OpTail
	OpAdopt
	OpCommit
	OpSettle
	opCount
)

// Fault is something that goes wrong, deterministically. The zero Fault hits the next
// Write to partition 0 and does nothing.
type Fault struct {
	Op Op
	// Partition is the partition whose operations are hit, or AllPartitions.
	Partition int
	// Skip is how many operations pass before the first that is hit.
	Skip int
	// Times is how many operations are hit: 0 means one, a negative number all.
	Times int
	// Match, if not nil, restricts writes to runs with such an event.
	Match func(*hubferry.Event) bool
	// Delay is how long the operation waits first.
	Delay time.Duration
	// Block, if not nil, is waited for after Delay, until it is closed.
	Block <-chan struct{}
	// Store is how many events of the run are stored before Err is returned, at most
	// all: StoreAll. For OpWrite and OpCommit (where it is all or nothing).
	Store int
	// Late keeps what would be stored back until Hub.StoreLate: the service has
	// accepted the run and stores it when nobody expects it any more.
	Late bool
	// N, if not 0, is what the receipt says in the place of the truth.
	N int
	// Err is what the operation returns. nil means that it goes on as usual.
	Err error
}

// StoreAll is a Fault.Store that stands for all events of the run.
const StoreAll = 1 << 30

// heldRun is a run that was accepted and is not stored yet.
type heldRun struct {
	partition int
	records   []record
}

// Fail adds a fault. Faults are used in the order in which they were added; each
// operation is hit by at most one.
func (h *Hub) Fail(f Fault) {
	if f.Times == 0 {
		f.Times = 1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, &f)
}

// Heal removes all faults that are left, also the one of Refuse. Operations that wait
// for a Fault.Block go on waiting.
func (h *Hub) Heal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults, h.refuse = nil, nil
}

// Refuse makes writers refuse single events for good: those for which f returns an
// error, of kind TooLarge or Refused. f must not change the event.
func (h *Hub) Refuse(f func(e *hubferry.Event) *hubferry.Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refuse = f
}

// StoreLate stores the runs that Fault.Late kept back, in order of acceptance, and
// returns how many events they held.
func (h *Hub) StoreLate() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, held := range h.held {
		for _, r := range held.records {
			h.append(h.partitions[held.partition], r)
		}
		n += len(held.records)
	}
	h.held = nil
	return n
}

// Count returns how often an operation was begun, failed attempts included.
func (h *Hub) Count(op Op) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ops[op]
}

// fault counts an operation and returns the fault that hits it, or nil.
func (h *Hub) fault(op Op, partition int, events []*hubferry.Event) *Fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops[op]++
	for _, f := range h.faults {
		if f.Op != op || f.Times == 0 || (f.Partition != partition && f.Partition != AllPartitions) || !f.matches(events) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return f
	}
	return nil
}

func (f *Fault) matches(events []*hubferry.Event) bool {
	if f.Match == nil {
		return true
	}
	return slices.ContainsFunc(events, f.Match)
}

// begin is what every operation does first: it counts, waits as a fault says, and
// returns the fault's error, unless the operation is one that stores.
func (h *Hub) begin(ctx context.Context, op Op, partition int, done <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	f := h.fault(op, partition, nil)
	if f == nil {
		return nil
	}
	if err := f.wait(ctx, h, done); err != nil {
		return err
	}
	return f.Err
}

// wait waits as a fault says, but no longer than the context, the connection and the
// hub last.
func (f *Fault) wait(ctx context.Context, h *Hub, done <-chan struct{}) error {
	h.mu.Lock()
	cut := h.cut
	h.mu.Unlock()
	if f.Delay > 0 {
		t := time.NewTimer(f.Delay)
		defer t.Stop()
		if err := await(ctx, h, t.C, cut, done); err != nil {
			return err
		}
	}
	if f.Block != nil {
		return await(ctx, h, f.Block, cut, done)
	}
	return nil
}

// await waits for ready, or returns why it did not come.
func await[T any](ctx context.Context, h *Hub, ready <-chan T, cut, done <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-done:
		return hubferry.ErrClosed
	case <-cut:
		return &hubferry.Error{Kind: hubferry.Transient, Op: "wait for the service", Unsure: true, Err: errCut}
	case <-h.gone:
		return h.deleted("wait for the service")
	}
}
