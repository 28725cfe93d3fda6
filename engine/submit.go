package engine

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

// pipeline has several runs of one target partition in flight, where the writer keeps them
// in order (G-5). When one fails, the driver fails all those behind it; the lane waits until
// every run has landed, writes the one that failed until it is durable, puts the others back
// at the head of its queue and submits again.
type pipeline struct {
	lane *lane
	to   hubferry.Submitter

	mu       sync.Mutex
	inFlight int
	bytes    int  // in flight
	broken   bool // a run failed, and no Write has succeeded since
	cause    error
	left     []item // what is not durable of the run that failed and those behind it, in order
	failed   int    // how many of left are of the run that failed
	free     []*flight
}

// How much may be in flight for one target partition. While that much is under way the next
// run gathers, so runs grow with the load; more in flight would make them smaller and gain
// nothing. The bytes bound what a driver keeps beside the budget (INV-6), and at a round trip
// of 50 ms they still carry 160 MB/s.
const (
	maxFlights      = 8
	maxFlightBytes  = 8 << 20
	maxSubmitBytes  = 1 << 20 // of one run, so that a large queue becomes several runs
	maxSubmitEvents = maxRun / 2
)

// flight is a run that is in flight. Flights are used again: under a steady load submitting
// allocates nothing per event.
type flight struct {
	pipe   *pipeline
	run    []item
	events []*hubferry.Event
	bytes  int
	untie  context.CancelFunc
	done   func(hubferry.Receipt, error) // lands the flight; bound once
}

// next submits the next run, or mends what is broken. It reports whether there was anything
// that could be done: a flight that lands wakes the lane.
func (p *pipeline) next(ctx context.Context) bool {
	p.mu.Lock()
	broken := p.broken
	busy := p.inFlight >= maxFlights || p.bytes >= maxFlightBytes || (broken && p.inFlight > 0)
	p.mu.Unlock()
	switch {
	case busy:
		return false
	case broken:
		return p.mend(ctx)
	}
	run := p.lane.take(maxSubmitEvents, maxSubmitBytes)
	if len(run) == 0 {
		return false
	}
	if run = alive(run); len(run) > 0 {
		p.submit(ctx, run)
	}
	return true
}

// submit sends a run off.
func (p *pipeline) submit(ctx context.Context, run []item) {
	f := p.take()
	f.run, f.events, f.bytes = run, appendEvents(f.events[:0], run), 0
	for i := range run {
		f.bytes += run[i].bytes
	}
	p.mu.Lock()
	p.inFlight++
	p.bytes += f.bytes
	p.mu.Unlock()
	ctx, f.untie = tie(ctx, run)
	p.to.Submit(ctx, hubferry.Run{Partition: p.lane.partition, Events: f.events}, f.done)
}

// take returns a flight that is not in use.
func (p *pipeline) take() *flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		f := p.free[n-1]
		p.free = p.free[:n-1]
		return f
	}
	f := &flight{pipe: p}
	f.done = f.land
	return f
}

// land notes what became of a run. Drivers call it in the order of submission, so what is
// settled is settled in order, and what is left is in order too.
func (f *flight) land(r hubferry.Receipt, err error) {
	p := f.pipe
	f.untie()
	n := min(max(r.N, 0), len(f.run))
	p.lane.task.confirm(f.run[:n])
	rest := f.run[n:]
	if err == nil && len(rest) > 0 {
		err = shortWrite(n, len(rest))
	}
	if err != nil {
		keep(rest)
	}
	p.mu.Lock()
	p.inFlight--
	p.bytes -= f.bytes
	if err != nil && !p.broken {
		p.broken, p.cause, p.failed = true, err, len(rest)
	}
	p.left = append(p.left, rest...)
	clear(f.run)
	clear(f.events)
	f.run = nil
	p.free = append(p.free, f)
	p.mu.Unlock()
	signal(p.lane.work)
}

// mend writes the run that failed, which nothing may overtake, or the next one if nothing
// is left of it: a Write that succeeds makes the writer take submissions again. It reports
// whether there was anything to write.
func (p *pipeline) mend(ctx context.Context) bool {
	p.mu.Lock()
	run, rest, cause := p.left[:p.failed], p.left[p.failed:], p.cause
	p.left, p.failed, p.cause = nil, 0, nil
	p.mu.Unlock()
	p.lane.putBack(alive(rest))
	if len(run) == 0 { // the cause is not about what follows
		p.lane.deliver(ctx, nil, cause)
		run, cause = p.lane.take(maxRun, maxFlightBytes), nil
	}
	if len(run) == 0 {
		return false
	}
	p.lane.deliver(ctx, run, cause)
	return true
}

// mended notes that a Write has succeeded while nothing was in flight.
func (p *pipeline) mended() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = false
}

// wait waits until nothing is in flight.
func (p *pipeline) wait() {
	flying := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.inFlight > 0
	}
	for flying() {
		<-p.lane.work
	}
}
