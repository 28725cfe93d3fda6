package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// task runs one replication task: it opens the targets and runs a partition for every
// claim that the coordinator deals out.
type task struct {
	Task
	log    *slog.Logger
	budget *budget
	gate   *gate
	census census

	opened    opened
	deadRoute *route

	slots chan struct{} // one for each partition of a target that is being searched
	spare sync.Pool     // of *[]output that were given back

	lanes     context.Context //nolint:containedctx // the life of the lanes, which start when first needed
	laneGroup sync.WaitGroup

	mu     sync.Mutex
	status hubferry.TaskStatus
	sick   map[sender]sickness // lanes and committers whose last attempt failed
	parts  map[*partition]struct{}
}

func newTask(def Task, log *slog.Logger) *task {
	t := &task{
		Task: def, log: log, budget: newBudget(def.Budget), gate: newGate(),
		opened: opened{open: map[routeKey]*opening{}},
		sick:   map[sender]sickness{}, parts: map[*partition]struct{}{}, slots: make(chan struct{}, searches),
	}
	t.status = hubferry.TaskStatus{Task: def.Name, Source: def.SourceName, Since: time.Now()}
	t.status.Counts.Dropped = map[string]int64{}
	for i := range def.Routes {
		t.status.Targets = append(t.status.Targets, def.Routes[i].Address)
	}
	return t
}

// run moves the task until stop ends, and cleans up; hard cuts the cleaning up short.
func (t *task) run(stop, hard context.Context) error {
	lanes, stopLanes := context.WithCancel(hard)
	defer stopLanes()
	t.lanes = lanes
	defer t.close(hard, stopLanes)
	if err := t.open(stop); err != nil {
		return nil // stop came before the task could begin; the state tells why
	}
	coordinator, err := persist(stop, t, "coordinate", t.Coordinate)
	if err != nil {
		return nil // as above
	}
	var running sync.WaitGroup
	for {
		claim, err := persist(stop, t, "claim partitions", func(ctx context.Context) (*hubferry.Claim, error) {
			return t.next(ctx, coordinator)
		})
		if err != nil {
			break
		}
		t.setState(hubferry.Running, nil)
		running.Go(func() { t.move(stop, hard, claim) })
	}
	running.Wait()
	t.setState(hubferry.Stopped, nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(hard), 10*time.Second)
	defer cancel()
	if err := coordinator.Close(ctx); err != nil {
		return fmt.Errorf("close the coordinator: %w", err)
	}
	if hard.Err() != nil {
		return errors.New("stopping took too long; what was under way is repeated at the next start")
	}
	return nil
}

// What a coordinator does not complain of for so long is well.
const wellAfter = time.Minute

// next waits for the next claim. A coordinator tries again by itself, so an error of it is
// news only as long as it comes back; while there is nothing to claim nothing else tells.
func (t *task) next(ctx context.Context, c hubferry.Coordinator) (*hubferry.Claim, error) {
	defer time.AfterFunc(wellAfter, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.status.State == hubferry.Retrying {
			t.status.State, t.status.Since, t.status.Error = hubferry.Running, time.Now(), ""
		}
	}).Stop()
	claim, err := c.Next(ctx)
	if err != nil && passes(err) {
		err = &coordinatorError{err}
	}
	return claim, err
}

// coordinatorError is an error of a coordinator that passes. It is asked again soon: what it
// has claimed meanwhile is nobody else's and waits.
type coordinatorError struct{ error }

func (e *coordinatorError) Unwrap() error { return e.error }

// coordinatorPause is the longest pause before a coordinator is asked again, unless attempts
// are counted.
const coordinatorPause = 5 * time.Second

// move runs one claimed partition.
func (t *task) move(stop, hard context.Context, claim *hubferry.Claim) {
	ctx, cancel := endWith(hard, claim.Lost)
	defer cancel()
	p := newPartition(ctx, t, claim)
	t.mu.Lock()
	t.parts[p] = struct{}{}
	t.mu.Unlock()
	t.log.Debug("partition claimed", "partition", claim.Place.Partition)
	p.run(stop)
	t.mu.Lock()
	delete(t.parts, p)
	t.mu.Unlock()
}

// press asks every worker to flush what its editors hold, because it fills the budget that
// all share.
func (t *task) press() {
	t.mu.Lock()
	parts := slices.Collect(maps.Keys(t.parts))
	t.mu.Unlock()
	for _, p := range parts {
		p.mu.Lock()
		w := p.worker
		p.mu.Unlock()
		if w != nil {
			w.pressed()
		}
	}
}

// open opens the targets.
func (t *task) open(stop context.Context) error {
	for i := range t.Routes {
		if t.Routes[i].isTemplate() {
			continue
		}
		if _, err := persist(stop, t, "open", func(ctx context.Context) (*route, error) { return t.routeFor(ctx, i, "") }); err != nil {
			return err
		}
	}
	if t.DeadLetters != nil && t.OnError == OnErrorDeadLetter {
		dead := *t.DeadLetters
		dead.Name = "dead-letters"
		r, err := persist(stop, t, "open", func(ctx context.Context) (*route, error) {
			r, err := t.openRoute(ctx, dead, t.Trail, "")
			if err == nil && t.Delivery == EffectivelyOnce {
				err = t.prove(ctx, r, true)
			}
			return r, err
		})
		t.deadRoute = r
		return err
	}
	return nil
}

// openForEvents opens one target for the events of one hub of the source, or of all.
func (t *task) openForEvents(ctx context.Context, def Route, from string) (*route, error) {
	r, err := t.openRoute(ctx, def, t.Trail, from)
	if err == nil && t.Delivery == EffectivelyOnce {
		err = t.prove(ctx, r, false)
	}
	return r, err
}

// close ends the lanes and closes the writers.
func (t *task) close(hard context.Context, stopLanes context.CancelFunc) {
	stopLanes()
	t.laneGroup.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(hard), 10*time.Second)
	defer cancel()
	for _, r := range append(t.opened.all(), t.deadRoute) {
		if r == nil {
			continue
		}
		if err := r.writer.Close(ctx); err != nil {
			t.log.Warn("target not closed", "target", r.Address, "error", err)
		}
	}
}

// persist repeats f until it succeeds or ctx ends. What needs a person waits for a resume.
func persist[T any](ctx context.Context, t *task, op string, f func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		v, err := f(ctx)
		if err == nil {
			if attempt > 1 {
				t.setState(hubferry.Starting, nil)
			}
			return v, nil // also when ctx has ended meanwhile: v is there to be given back
		}
		if ctx.Err() != nil {
			return v, errors.Join(err, ctx.Err())
		}
		err = fmt.Errorf("%s: %w", op, err)
		if d, again := t.Retry.delay(attempt, err); passes(err) && again {
			if _, ok := errors.AsType[*coordinatorError](err); ok && t.Retry.Attempts == 0 {
				d = min(d, coordinatorPause)
			}
			t.count(func(c *hubferry.Counts) { c.Retries++ })
			t.setState(hubferry.Retrying, err)
			t.log.Log(ctx, retryLevel(d), "retrying", "in", d.Round(time.Millisecond), "error", err)
			_ = sleep(ctx, d) // the next round sees why
			continue
		}
		resumed := t.gate.resumed() // from here on: who sees the state may resume
		t.setState(hubferry.Failed, err)
		t.log.Error("task stopped", "error", err)
		select {
		case <-resumed:
			attempt = 0
		case <-ctx.Done():
		}
	}
}
