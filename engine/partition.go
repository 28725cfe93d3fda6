package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// partition is a claimed source partition, from claim to release. It runs one worker
// after another: after a failure the next begins at the low-water mark of the last.
type partition struct {
	*task
	claim *hubferry.Claim
	place *hubferry.Place

	// ctx ends when the claim is lost, or a clean stop took too long.
	ctx context.Context //nolint:containedctx // it is the claim's life

	from        *mark // where the next worker begins; nil: at the checkpoint, or Start
	saved       mark  // the stored checkpoint
	fresh       bool  // from is a start position that is not stored yet
	incarnation string
	mapping     []layout
	anew        bool // begin at the first retained event, whatever the checkpoint says

	mu     sync.Mutex
	status hubferry.PartitionStatus
	worker *worker
}

func newPartition(ctx context.Context, t *task, c *hubferry.Claim) *partition {
	return &partition{
		task: t, claim: c, place: c.Place, ctx: ctx,
		status: hubferry.PartitionStatus{Partition: c.Place.Partition, Read: -1, Checkpoint: -1, End: -1},
	}
}

// run moves the partition until stop ends, the claim ends, or the source does. On the way
// out it releases the claim, if it still is one.
func (p *partition) run(stop context.Context) {
	stop, cancel := endWith(stop, p.claim.Ending)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	defer p.setState(hubferry.Stopped, nil)
	for attempt := 0; ; {
		began := time.Now()
		err := p.once(stop)
		if time.Since(began) > time.Minute {
			attempt = 0
		}
		if isClosed(p.claim.Lost) || (err != nil && hubferry.KindOf(err) == hubferry.Lost) {
			p.log.Info("partition lost", "partition", p.place.Partition)
			p.release(nil) // also a lost claim is given back, so that it can be dealt out again
			return
		}
		if stop.Err() != nil || errors.Is(err, hubferry.ErrEnd) {
			p.release(err)
			return
		}
		if errors.Is(err, errRestart) {
			p.from, p.anew = nil, true
			attempt++
			d, _ := p.Retry.delay(attempt, err)
			_ = sleep(stop, d) // the next round sees why
			continue
		}
		attempt++
		d, again := p.Retry.delay(attempt, err)
		if passes(err) && again {
			p.setState(hubferry.Retrying, err)
			p.log.Warn("partition starts again", "partition", p.place.Partition, "in", d, "error", err)
			_ = sleep(stop, d) // the next round sees why
			continue
		}
		resumed := p.gate.resumed() // from here on: who sees the state may resume
		p.setState(hubferry.Failed, err)
		p.log.Error("partition stopped", "partition", p.place.Partition, "error", err)
		select {
		case <-resumed:
			attempt = 0
		case <-stop.Done():
		}
	}
}

// passes reports whether an error may be gone after a while.
func passes(err error) bool {
	switch hubferry.KindOf(err) {
	case hubferry.Transient, hubferry.Throttled, hubferry.Aborted:
		return true
	default:
		return false
	}
}

// once runs one worker.
func (p *partition) once(stop context.Context) error {
	if stop.Err() != nil || p.ctx.Err() != nil {
		return nil //nolint:nilerr // a clean stop is no error
	}
	p.setState(hubferry.Starting, nil)
	w, err := p.start(stop)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.worker = w
	p.mu.Unlock()
	err = w.run(stop)
	low, saved := w.tracker.rest()
	p.from, p.saved = &low, saved
	return err
}

// start makes a worker that begins where the partition stands: at what is confirmed, at the
// checkpoint, or at the configured start, which is stored before the first read so that a
// crash cannot skip what comes meanwhile.
func (p *partition) start(ctx context.Context) (*worker, error) {
	infos, err := p.partitions(ctx)
	if err != nil {
		return nil, err
	}
	var info *hubferry.PartitionInfo
	for i := range infos {
		if infos[i].Place.Index == p.place.Index {
			info = &infos[i]
		}
	}
	if info == nil {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "start", Place: p.place, Err: errors.New("the hub has no such partition any more")}
	}
	checkpoint := p.claim.Checkpoint
	var states map[string][]byte
	switch {
	case p.from != nil:
		states = p.from.states
	case checkpoint != nil && !p.anew:
		if checkpoint.Err != nil {
			return nil, &hubferry.Error{
				Kind: hubferry.Fatal, Op: "read checkpoint of", Place: p.place, Err: checkpoint.Err,
				Hint: "repair or remove this one checkpoint; without one the task begins at its start position",
			}
		}
		p.from, p.incarnation = &mark{position: checkpoint.Position, states: checkpoint.States}, checkpoint.Incarnation
		p.saved, states = *p.from, checkpoint.States
	default:
		position, err := p.resolve(ctx)
		if err != nil {
			return nil, err
		}
		p.from, p.incarnation, p.fresh = &mark{position: position}, info.Place.Incarnation, true
		p.saved = *p.from
	}
	if p.incarnation == "" {
		p.incarnation = info.Place.Incarnation
	}
	w, err := p.newWorker(ctx, len(infos), info.Sparse, states)
	if err != nil {
		return nil, err
	}
	p.noteSaved(p.saved)
	p.noteEnd(info.End)
	if p.fresh {
		if err := w.store(ctx, *p.from, true); err != nil {
			w.discard()
			return nil, fmt.Errorf("save the start position: %w", err)
		}
		p.fresh, p.anew = false, false
	}
	return w, nil
}

// resolve returns the position at which a partition without a checkpoint begins.
func (p *partition) resolve(ctx context.Context) (hubferry.Position, error) {
	start := p.Start
	if s, ok := p.Starts[p.place.Partition]; ok {
		start = s
	}
	if p.anew {
		start = hubferry.Start{Kind: hubferry.StartEarliest}
	}
	return p.Source.Resolve(ctx, p.place, start)
}

// newWorker makes the worker with its editors and its mapping.
func (p *partition) newWorker(ctx context.Context, sources int, sparse bool, states map[string][]byte) (*worker, error) {
	w := &worker{
		partition: p, batches: make(chan *batch), full: make(chan struct{}, 1),
		next: p.from.position, incarnation: p.incarnation, sparse: sparse,
		tracker: newTracker(*p.from, p.saved, p.Window, p.budget),
		// One partition's share of the budget, so that a thousand do not each read a lot.
		readBytes: int(max(p.Budget/int64(4*max(sources, 1)), 16<<10)),
		routes:    make([]chain, len(p.routesOf)),
		mapping:   make([]layout, len(p.routesOf)),
	}
	w.ctx, w.end = context.WithCancelCause(p.ctx)
	var err error
	if w.tasks, err = newChain(ctx, "", p.Editors, states); err != nil {
		w.discard()
		return nil, err
	}
	for i, r := range p.routesOf {
		if w.routes[i], err = newChain(ctx, r.Name+"/", r.Editors, states); err != nil {
			w.discard()
			return nil, err
		}
		if p.mapping != nil {
			continue
		}
		var changed bool
		if w.mapping[i], changed = mappingOf(states, r, sources); changed {
			p.log.Warn("partition counts have changed; keys stay where they were mapped to", "partition", p.place.Partition,
				"route", r.Name, "sources", sources, "targets", len(r.layout.Places))
		}
	}
	if p.mapping == nil {
		p.mapping = w.mapping
	}
	w.mapping = p.mapping
	if p.deadRoute != nil {
		w.dead = layout{Version: 1, Source: sources, Target: len(p.deadRoute.layout.Places)}
	}
	return w, nil
}

// discard ends a worker that never ran.
func (w *worker) discard() {
	w.fail(errStopped)
	w.closeEditors()
}

// release gives the partition up, so that another instance can take it at once.
func (p *partition) release(err error) {
	// A claim counts as lost from the moment of its release on, so p.ctx would end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), 10*time.Second)
	defer cancel()
	if err != nil && !errors.Is(err, hubferry.ErrEnd) {
		p.log.Warn("partition did not stop cleanly, what was under way is repeated", "partition", p.place.Partition, "error", err)
	}
	if err := p.claim.Release(ctx); err != nil {
		p.log.Warn("partition not released, others take it over when its ownership expires", "partition", p.place.Partition, "error", err)
	}
}
