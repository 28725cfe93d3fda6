package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// lane writes to one target partition. All source partitions of the task share it: while
// one write is under way the next run gathers, so batches fill themselves under load and
// an event waits for nothing when there is none. One run is in flight at a time, so what
// is on the target is always a prefix of what was sent (G-5).
type lane struct {
	task      *task
	route     *route
	partition int

	mu     sync.Mutex
	queue  []item
	filled chan struct{} // signals that queue is not empty; capacity 1
}

// item is an output in a lane, and the worker that wants it written.
type item struct {
	*output
	worker *worker
}

// maxRun bounds how much one Write is given: what a poison event in the middle makes to
// be looked at again, and how long a lost claim waits for a write to be cut short.
const maxRun = 4096

// lane returns the lane of a target partition, and starts it when it is new.
func (t *task) lane(r *route, partition int) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[partition]
	if l == nil {
		l = &lane{task: t, route: r, partition: partition, filled: make(chan struct{}, 1)}
		r.lanes[partition] = l
		t.laneGroup.Go(func() { l.run(t.lanes) })
	}
	return l
}

// put queues an item. It does not wait: the window and the budget bound what can queue.
func (l *lane) put(i item) {
	l.mu.Lock()
	l.queue = append(l.queue, i)
	l.mu.Unlock()
	signal(l.filled)
}

// run delivers what is queued until ctx ends.
func (l *lane) run(ctx context.Context) {
	for {
		select {
		case <-l.filled:
		case <-ctx.Done():
			return
		}
		for run := l.take(); len(run) > 0; run = l.take() {
			l.deliver(ctx, run)
			clear(run) // the array lives on under what is still queued
			if ctx.Err() != nil {
				return
			}
		}
	}
}

// forget removes what is queued for a worker.
func (l *lane) forget(w *worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(i item) bool { return i.worker == w })
}

// take removes the next run from the queue.
func (l *lane) take() []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := min(len(l.queue), maxRun)
	run := l.queue[:n:n]
	l.queue = l.queue[n:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return run
}

// deliver writes a run until each of its events is durable, has gone the way of poison, or
// belongs to a worker that is over.
func (l *lane) deliver(ctx context.Context, run []item) {
	events := make([]*hubferry.Event, 0, len(run))
	for attempt := 0; ; {
		run = alive(run)
		if len(run) == 0 || ctx.Err() != nil {
			l.task.idle(l)
			return
		}
		events = events[:0]
		for i := range run {
			events = append(events, &run[i].event)
		}
		n, err := l.write(ctx, run, events)
		l.task.written(run[:n])
		for i := range run[:n] {
			run[i].settle(1)
		}
		if n > 0 {
			attempt = 0
		}
		if run = run[n:]; err == nil {
			if len(run) == 0 {
				l.task.healthy(l)
				return
			}
			err = &hubferry.Error{Kind: hubferry.Fatal, Op: "write", Err: fmt.Errorf("the driver wrote %d of %d events and gave no error", n, n+len(run))}
		}
		attempt++
		run = l.failed(ctx, run, err, attempt)
	}
}

// write makes one attempt. It ends early when a worker of the run loses its claim (INV-9).
func (l *lane) write(ctx context.Context, run []item, events []*hubferry.Event) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var last *worker
	for i := range run {
		if w := run[i].worker; w != last {
			defer context.AfterFunc(w.ctx, cancel)() //nolint:revive // each lasts as long as the write
			last = w
		}
	}
	receipt, err := l.route.writer.Write(ctx, hubferry.Run{Partition: l.partition, Events: events})
	return min(max(receipt.N, 0), len(run)), err
}

// failed does what the kind of an error asks for, and returns what is to be tried again.
func (l *lane) failed(ctx context.Context, run []item, err error, attempt int) []item {
	kind := hubferry.KindOf(err)
	if len(alive(run)) < len(run) {
		return run // the write was cut short because a worker is over; the rest goes on at once
	}
	where := fmt.Errorf("write to %s: %w", l.address(), err)
	if kind.Poison() && len(run) > 0 {
		run[0].worker.poisonOutput(run[0].output, where)
		return run[1:]
	}
	if kind == hubferry.Fatal || kind == hubferry.Lost {
		return l.giveUp(run, where)
	}
	d, again := l.task.Retry.delay(attempt, err)
	if !again {
		return l.giveUp(run, gaveUp(attempt-1, where))
	}
	l.task.unhealthy(ctx, l, where, d)
	l.wait(ctx, run, d)
	return run
}

// giveUp fails the workers of a run.
func (l *lane) giveUp(run []item, err error) []item {
	for i := range run {
		if !run[i].worker.over() {
			run[i].worker.fail(err)
		}
	}
	return nil
}

// wait pauses before the next attempt, but no longer than there is a worker that wants it.
func (l *lane) wait(ctx context.Context, run []item, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, max(d, time.Millisecond))
	defer cancel()
	var last *worker
	for i := range run {
		w := run[i].worker
		if w == last {
			continue
		}
		last = w
		select {
		case <-w.ctx.Done():
		case <-ctx.Done():
			return
		}
	}
}

func (l *lane) address() string { return fmt.Sprintf("%s/%d", l.route.Address, l.partition) }

// alive returns the items whose worker is not over, in order.
func alive(run []item) []item {
	for i := range run {
		if run[i].worker.over() {
			kept := make([]item, i, len(run))
			copy(kept, run[:i])
			for _, it := range run[i:] {
				if !it.worker.over() {
					kept = append(kept, it)
				}
			}
			return kept
		}
	}
	return run
}
