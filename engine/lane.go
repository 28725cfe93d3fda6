package engine

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// lane writes to one target partition. All source partitions of the task share it: while
// one write is under way the next run gathers, so batches fill themselves under load and
// an event waits for nothing when there is none. One run is in flight at a time, or as many
// as the writer can keep in order (submit.go), so what is on the target is always a prefix
// of what was sent (G-5).
type lane struct {
	task      *task
	route     *route
	partition int
	pipe      *pipeline // nil if the writer has one run in flight at a time

	mu    sync.Mutex
	queue []item
	work  chan struct{} // signals that there may be something to do; capacity 1

	events []*hubferry.Event // of the run that is written; only the lane's goroutine uses it

	screen *screen // nil unless the target is read for effectively-once delivery
}

// item is an output in a lane, and the worker that wants it written.
type item struct {
	*output
	worker *worker
	bytes  int // by Event.Size
}

func newItem(o *output, w *worker) item { return item{output: o, worker: w, bytes: o.event.Size()} }

// maxRun bounds how much one Write is given: what a poison event in the middle makes to
// be looked at again, and how long a lost claim waits for a write to be cut short.
const maxRun = 4096

// lane returns the lane of a target partition, and starts it when it is new.
func (t *task) lane(r *route, partition int) *lane {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lanes[partition]
	if l == nil {
		l = &lane{task: t, route: r, partition: partition, work: make(chan struct{}, 1)}
		l.screen = newScreen(l)
		if s, ok := submitter(r.writer); ok && l.screen == nil {
			l.pipe = &pipeline{lane: l, to: s}
		}
		r.lanes[partition] = l
		t.laneGroup.Go(func() { l.run(t.lanes) })
	}
	return l
}

// put queues items. It does not wait: the window and the budget bound what can queue.
func (l *lane) put(items ...item) {
	queued(items)
	l.mu.Lock()
	l.queue = append(l.queue, items...)
	l.mu.Unlock()
	signal(l.work)
}

// putBack queues items ahead of all others.
func (l *lane) putBack(items []item) {
	if len(items) == 0 {
		return
	}
	queued(items)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.Concat(items, l.queue)
}

// queued counts what waits to be written for each worker.
func queued(items []item) {
	for i := range items {
		items[i].worker.waiting.Add(int64(items[i].bytes))
	}
}

// unqueued counts what does not wait any more, and tells the workers.
func unqueued(items []item) {
	for from := 0; from < len(items); {
		w, bytes := items[from].worker, int64(0)
		for ; from < len(items) && items[from].worker == w; from++ {
			bytes += int64(items[from].bytes)
		}
		w.waiting.Add(-bytes)
		signal(w.taken)
	}
}

// run delivers what is queued until ctx ends.
func (l *lane) run(ctx context.Context) {
	next := l.next
	switch {
	case l.screen != nil:
		next = l.screen.next
	case l.pipe != nil:
		next = l.pipe.next
		defer l.pipe.wait()
	}
	for {
		select {
		case <-l.work:
		case <-ctx.Done():
			return
		}
		for ctx.Err() == nil && next(ctx) {
		}
	}
}

// next writes the next run, and reports whether there was one.
func (l *lane) next(ctx context.Context) bool {
	run := l.take(maxRun, math.MaxInt)
	if len(run) == 0 {
		return false
	}
	l.deliver(ctx, run, nil)
	clear(run) // the array lives on under what is still queued
	return true
}

// forget removes what is queued for a worker.
func (l *lane) forget(w *worker) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(i item) bool { return i.worker == w })
	l.screen.forget(w)
}

// take removes the next run from the queue: so many items at most, and those beyond the
// first only within so many bytes.
func (l *lane) take(items, bytes int) []item {
	run := l.head(items, bytes)
	unqueued(run)
	return run
}

func (l *lane) head(items, bytes int) []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for ; n < min(len(l.queue), items) && (n == 0 || bytes >= l.queue[n].bytes); n++ {
		bytes -= l.queue[n].bytes
	}
	run := l.queue[:n:n]
	l.queue = l.queue[n:]
	if len(l.queue) == 0 {
		l.queue = nil
	}
	return run
}

// deliver writes a run until each of its events is durable, has gone the way of poison, or
// belongs to a worker that is over. Err is how an attempt ended that was made already, or
// nil.
func (l *lane) deliver(ctx context.Context, run []item, err error) {
	for attempt := 0; ; {
		if err != nil {
			attempt++
			run = l.failed(ctx, run, err, attempt)
		}
		run = alive(run)
		if len(run) == 0 || ctx.Err() != nil {
			l.task.idle(l)
			return
		}
		var n int
		n, err = l.write(ctx, run)
		l.task.confirm(run[:n])
		if n > 0 {
			attempt = 0
		}
		if run = run[n:]; err == nil {
			if len(run) == 0 {
				l.pipe.mended()
				l.task.healthy(l)
				return
			}
			err = shortWrite(n, len(run))
		}
	}
}

// shortWrite is the error of a driver that wrote n events and gave none.
func shortWrite(n, left int) error {
	return &hubferry.Error{Kind: hubferry.Fatal, Op: "write", Err: fmt.Errorf("the driver wrote %d of %d events and gave no error", n, n+left)}
}

// write makes one attempt. It ends early when a worker of the run loses its claim (INV-9).
func (l *lane) write(ctx context.Context, run []item) (int, error) {
	ctx, untie := tie(ctx, run)
	defer untie()
	l.events = appendEvents(l.events[:0], run)
	defer clear(l.events)
	receipt, err := l.route.writer.Write(ctx, hubferry.Run{Partition: l.partition, Events: l.events})
	return min(max(receipt.N, 0), len(run)), err
}

// appendEvents appends the events of a run.
func appendEvents(events []*hubferry.Event, run []item) []*hubferry.Event {
	for i := range run {
		events = append(events, run[i].event)
	}
	return events
}

// tie returns a context that ends when ctx does or when a worker of the run is over.
func tie(ctx context.Context, run []item) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	var tied []*worker
	var untie []func() bool
	for i := range run {
		w := run[i].worker
		if n := len(tied); n > 0 && tied[n-1] == w || slices.Contains(tied, w) {
			continue
		}
		tied, untie = append(tied, w), append(untie, context.AfterFunc(w.ctx, cancel))
	}
	return ctx, func() {
		for _, stop := range untie {
			stop()
		}
		cancel()
	}
}

// confirm settles what has become durable.
func (t *task) confirm(run []item) {
	if len(run) == 0 {
		return
	}
	t.written(run)
	settle(run)
}

// settle settles outputs.
func settle(run []item) {
	for from := 0; from < len(run); {
		// Neighbours are mostly of one batch.
		b, plain := run[from].ticket.Token.(*batch)
		if !plain || !run[from].single() {
			run[from].settle()
			from++
			continue
		}
		n := 1
		for from+n < len(run) && run[from+n].single() && run[from+n].ticket.Token == any(b) {
			n++
		}
		b.settle(n)
		from += n
	}
}

// failed does what the kind of an error asks for, and returns what is to be tried again.
func (l *lane) failed(ctx context.Context, run []item, err error, attempt int) []item {
	keep(run)
	kind := hubferry.KindOf(err)
	if len(alive(run)) < len(run) {
		return run // the write was cut short because a worker is over; the rest goes on at once
	}
	where := fmt.Errorf("write to %s: %w", l.address(), err)
	if kind.Poison() && len(run) > 0 {
		buried := run[0].worker.poisonOutput(run[0].output, where)
		if l.screen != nil {
			l.await(ctx, run[0].worker, buried)
		}
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

// await waits until dead letters are confirmed. Under effectively-once delivery nothing may
// be sent behind a poison event before: after a crash whatever lies before the newest event
// at the target counts as done (G-8).
func (l *lane) await(ctx context.Context, w *worker, buried []<-chan struct{}) {
	for _, b := range buried {
		select {
		case <-b:
		case <-w.ctx.Done():
		case <-ctx.Done():
		}
	}
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
