package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
)

// worker moves one source partition from one position on, until it is stopped, loses its
// claim or fails. It is used once: after a failure a new one begins at the low-water mark.
type worker struct {
	*partition
	tracker *tracker
	tasks   chain        // the task's editors
	routes  []chain      // those of each route, by its index
	mapping []layout     // how keys map to target partitions, by the route's index
	dead    layout       // the same for the dead letters
	commits []*committer // of each route, by its index; nil where lanes write

	// ctx ends when the worker is over: it has failed, its claim is lost, or a clean stop
	// took too long. Nothing of a worker that is over is written any more.
	ctx    context.Context //nolint:containedctx // it is the worker's life, watched by lanes
	end    context.CancelCauseFunc
	isOver atomic.Bool

	sorter sorter // of the loop

	waiting atomic.Int64  // bytes of its items in the queues of lanes, by Event.Size
	taken   chan struct{} // signals that a lane has taken some; capacity 1
	mayWait int64         // how many may wait
	lends   bool          // nobody but one lane that copies sees its events: what they live in is given back

	batches chan *batch
	full    chan struct{} // signals that the window is full: flush what editors hold

	// Under effectively-once delivery: where the worker began, its ways into the lanes that
	// it has used, and what the worker before it knew of its own.
	origin    int64
	since     time.Time // when the first event that it has read was enqueued; set before any reaches a lane
	passing   sync.Mutex
	passages  map[*lane]*passage
	sweeps    map[*route]*sweep
	inherited map[*lane]*passage

	// Only fetch uses these.
	next        hubferry.Position
	incarnation string
	sparse      bool
	holes       holes
	lookPause   time.Duration
	looking     sync.WaitGroup
	recreated   bool
	readBytes   int
	sourceIll   bool // people were told that reading fails
}

// over reports whether the worker's events must not be written any more (INV-9).
func (w *worker) over() bool { return w.isOver.Load() || isClosed(w.claim.Lost) }

// closeEditors closes what the editors hold open, when the worker is done with them.
func (w *worker) closeEditors() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), 10*time.Second)
	defer cancel()
	err := w.tasks.close(ctx)
	for i := range w.routes {
		err = errors.Join(err, w.routes[i].close(ctx))
	}
	if err != nil {
		w.log.Warn("editor not closed", "partition", w.place.Partition, "error", err)
	}
}

// fail ends the worker. The first cause is the one that counts.
func (w *worker) fail(cause error) {
	w.isOver.Store(true)
	w.end(cause)
}

// mayLend reports whether nothing but a writer that copies will look at the worker's events,
// as long as all goes well.
func (w *worker) mayLend() bool {
	if len(w.routesOf) != 1 || len(w.tasks.steps)+len(w.routes[0].steps) > 0 || w.commits[0] != nil {
		return false
	}
	r := w.routesOf[0]
	return r.When == nil && r.gauge == nil && copies(r.writer)
}

// run moves events until stop ends; then it finishes what is under way and saves the last
// checkpoint. It returns nil after a clean stop, otherwise what made the worker end.
func (w *worker) run(stop context.Context) error {
	w.lends = w.mayLend()
	for i := range w.mapping {
		w.mayWait += w.mapping[i].mayWait()
	}
	defer w.closeEditors()
	defer w.tracker.close()
	defer w.leave()
	defer w.forsake()
	var committing sync.WaitGroup
	defer committing.Wait()
	defer w.fail(errStopped)
	for _, c := range w.tracker.committers {
		committing.Go(func() { c.run(w.ctx) })
	}
	defer context.AfterFunc(w.ctx, func() { w.isOver.Store(true) })()

	reading, stopReading := context.WithCancel(stop)
	defer stopReading()
	defer context.AfterFunc(w.ctx, stopReading)()
	var fetchErr error
	var fetching sync.WaitGroup
	fetching.Go(func() {
		fetchErr = w.fetch(reading)
		if fetchErr != nil && hubferry.KindOf(fetchErr) == hubferry.Lost {
			w.fail(fetchErr) // INV-9: what is queued must not be written any more
		}
		close(w.batches)
	})
	saving, stopSaving := context.WithCancel(w.ctx)
	var saves sync.WaitGroup
	saves.Go(func() { w.save(saving) })

	err := w.loop()
	if err == nil {
		err = w.drain()
	}
	if err != nil {
		// Fetch may wait for the loop, which is gone. What made the worker end comes first:
		// an editor whose context has ended only says so.
		w.fail(err)
		err = context.Cause(w.ctx)
	}
	stopReading()
	stopSaving()
	fetching.Wait()
	saves.Wait()
	if err == nil {
		err = fetchErr
	}
	if kind := hubferry.KindOf(err); err != nil && kind == hubferry.Lost {
		return err // INV-9: nothing may be saved
	}
	failed := err != nil && !errors.Is(err, hubferry.ErrEnd)
	last := w.saveLast(failed)
	if failed && hubferry.KindOf(last) == hubferry.Lost {
		// A worker that is over commits nothing more; whether the claim is, its channel tells.
		return err
	}
	return errors.Join(err, last)
}

// loop is an event's journey: read, edit, route, write. What it hands to the lanes is
// settled by them; what is settled is saved by save.
func (w *worker) loop() error {
	for {
		select {
		case b, ok := <-w.batches: // fetch.go
			if !ok {
				return w.flush(true)
			}
			if w.since.IsZero() && len(b.inputs) > 0 {
				w.since = b.inputs[0].Time
			}
			outputs, err := w.edit(b) // edit.go
			if err != nil {
				return err
			}
			if err := w.send(outputs); err != nil { // route.go, then lane.go
				return err
			}
			b.mark.states = w.states()
			b.settle(1) // tracker.go, then save.go
			if w.budget.scarce() {
				w.pressed()
			}
		case <-w.full:
			if err := w.flush(true); err != nil {
				return err
			}
		case <-w.due():
			if err := w.flush(false); err != nil {
				return err
			}
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
}

// drain waits until everything that was read is settled. What waits for a target that is
// still being searched is given up soon: nothing of it was sent, and the search may take
// long.
func (w *worker) drain() error {
	patience := time.NewTimer(searchPatience)
	defer patience.Stop()
	for !w.tracker.clean() {
		select {
		case <-w.tracker.emptied:
		case <-patience.C:
			if w.unsearched() {
				return errSearching
			}
			patience.Reset(searchPatience)
		case <-w.ctx.Done():
			return context.Cause(w.ctx)
		}
	}
	return nil
}

// forsake takes what a worker that is over leaves behind out of the lanes: a lane that
// waits for its target would keep it in memory, beside what is read anew (INV-6).
func (w *worker) forsake() {
	if w.tracker.clean() {
		return
	}
	for _, r := range append(slices.Clip(w.routesOf), w.deadRoute) {
		if r == nil {
			continue
		}
		r.mu.Lock()
		for _, l := range r.lanes {
			l.forget(w)
		}
		r.mu.Unlock()
	}
}

// due fires when an editor wants to flush what it holds.
func (w *worker) due() <-chan time.Time {
	at := w.tasks.due()
	for i := range w.routes {
		if d := w.routes[i].due(); at.IsZero() || (!d.IsZero() && d.Before(at)) {
			at = d
		}
	}
	if at.IsZero() {
		return nil
	}
	return time.After(time.Until(at))
}

// searchPatience is how long a worker that ends waits for what waits for a search.
const searchPatience = 5 * time.Second

var errSearching = errors.New("the target is still being searched for what is there already")

// errStopped is the cause of a worker that ended without a failure.
var errStopped = errors.New("stopped")
