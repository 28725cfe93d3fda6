package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
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
	beginning   int64 // see hubferry.Checkpoint
	mapping     []layout
	routesOf    []*route // the task's, as they are for this partition's hub
	anew        bool     // begin at the first retained event, or at cut, whatever the checkpoint says
	cut         *hubferry.Position
	doubt       int64 // after that: up to here what is sent may be there, of an earlier beginning
	ahead       int64 // the stored checkpoint, where what a target holds lies behind it
	claimed     time.Time
	proofs      *proofs // nil under at-least-once delivery

	mu     sync.Mutex
	status hubferry.PartitionStatus
	worker *worker
}

func newPartition(ctx context.Context, t *task, c *hubferry.Claim) *partition {
	return &partition{
		task: t, claim: c, place: c.Place, ctx: ctx, doubt: -1, ahead: math.MinInt64, claimed: time.Now(),
		status: hubferry.PartitionStatus{Hub: c.Place.Hub, Partition: c.Place.Partition, Read: -1, Checkpoint: -1, End: -1},
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
		if again, ok := errors.AsType[restartError](err); ok {
			p.from, p.anew, p.cut, p.ahead = nil, true, again.cut, math.MinInt64
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
	before := p.worker
	p.worker = w
	p.mu.Unlock()
	if before != nil {
		before.retire()
	}
	err = w.run(stop)
	if p.proofs != nil {
		p.proofs.reach = max(p.proofs.reach, w.next.Sequence)
	}
	low, saved := w.tracker.rest()
	p.from, p.saved = &low, saved
	return err
}

// start makes a worker that begins where the partition stands: at what is confirmed, at the
// checkpoint, or at the configured start, which is stored before the first read so that a
// crash cannot skip what comes meanwhile.
func (p *partition) start(ctx context.Context) (*worker, error) {
	found, err := p.survey(ctx)
	if err != nil {
		return nil, err
	}
	info := found.info
	if info == nil {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "start", Place: p.place, Err: errors.New("the hub has no such partition any more")}
	}
	if err := p.openRoutes(ctx); err != nil {
		return nil, err
	}
	held, err := p.adopt(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.begin(ctx, info, held); err != nil {
		return nil, err
	}
	if err := p.widen(ctx); err != nil {
		return nil, err
	}
	if p.incarnation == "" {
		p.incarnation = info.Place.Incarnation
	}
	if p.proofs == nil || p.fresh {
		p.proofs = p.newProofs(info.End.Sequence)
	}
	w, err := p.newWorker(ctx, found.all, found.inHub, info.Sparse, p.from.states)
	if err != nil {
		return nil, err
	}
	w.addCommitters(held)
	p.noteSaved(p.saved)
	p.noteEnd(info.End)
	if err := w.prove(ctx); err != nil {
		w.discard()
		return nil, err
	}
	if p.fresh {
		if err := w.store(ctx, *p.from, p.proofs == nil); err != nil {
			w.discard()
			return nil, fmt.Errorf("save the start position: %w", err)
		}
		p.fresh, p.anew, p.cut = false, false, nil
	}
	return w, nil
}

// begin finds where the next worker begins: p.from and what belongs to it. Held are the
// positions that targets hold.
func (p *partition) begin(ctx context.Context, info *hubferry.PartitionInfo, held []*hubferry.Checkpoint) error {
	again, checkpoint := p.from != nil, p.claim.Checkpoint
	if checkpoint != nil && !again && !p.anew {
		if checkpoint.Err != nil {
			return &hubferry.Error{
				Kind: hubferry.Fatal, Op: "read checkpoint of", Place: p.place, Err: checkpoint.Err,
				Hint: "repair or remove this one checkpoint; without one the task begins at its start position",
			}
		}
		p.from, p.incarnation = &mark{position: checkpoint.Position, states: checkpoint.States}, checkpoint.Incarnation
		p.beginning = checkpoint.Beginning
		p.saved = *p.from
	}
	if !p.anew {
		if err := p.join(held, info, again); err != nil {
			return err
		}
	}
	if p.from != nil {
		return nil
	}
	if p.anew {
		p.beginAnew(held, info)
	}
	position, err := p.resolve(ctx)
	if err != nil {
		return err
	}
	p.from, p.incarnation, p.fresh = &mark{position: position}, info.Place.Incarnation, true
	p.saved = *p.from
	return nil
}

// beginAnew counts a beginning, so that the position may go back. In the same incarnation
// nobody can tell which of what was sent before is sent again, unless it is known where the
// log was cut back: what is behind that is new.
func (p *partition) beginAnew(held []*hubferry.Checkpoint, info *hubferry.PartitionInfo) {
	for _, c := range held {
		if c != nil {
			p.beginning = max(p.beginning, c.Beginning)
		}
	}
	p.beginning++
	if p.proofs != nil {
		p.doubt = -1
		if p.cut == nil && fits(p.incarnation, info.Place.Incarnation) {
			p.doubt = p.proofs.reach
		}
	}
	p.log.Info("partition begins anew", "partition", p.place.Partition, "beginning", p.beginning)
}

// resolve returns the position at which a partition without a checkpoint begins.
func (p *partition) resolve(ctx context.Context) (hubferry.Position, error) {
	start := p.Start
	if s, ok := p.Starts[p.place.Partition]; ok {
		start = s
	}
	switch {
	case p.anew && p.cut != nil:
		start = hubferry.Start{Kind: hubferry.StartAfter, Position: *p.cut}
	case p.anew:
		start = hubferry.Start{Kind: hubferry.StartEarliest}
	}
	return p.Source.Resolve(ctx, p.place, start)
}

// newWorker makes the worker with its editors and its mapping. The task's source has so
// many partitions in all, and so many in the hub of this one.
func (p *partition) newWorker(ctx context.Context, all, sources int, sparse bool, states map[string][]byte) (*worker, error) {
	w := &worker{
		partition: p, batches: make(chan *batch), full: make(chan struct{}, 1), taken: make(chan struct{}, 1),
		next: p.from.position, incarnation: p.incarnation, sparse: sparse,
		lookPause: min(max(gaugeInterval, time.Duration(all)*gaugePerPartition), maxLookPause),
		tracker:   newTracker(*p.from, p.saved, p.Window, p.budget),
		// One partition's share of the budget, so that a thousand do not each read a lot.
		readBytes: int(max(p.Budget/int64(4*max(all, 1)), 16<<10)),
		routes:    make([]chain, len(p.routesOf)),
		mapping:   make([]layout, len(p.routesOf)),
	}
	if p.proofs != nil {
		w.origin = max(p.from.position.Sequence, p.proofs.high)
		before := p.worker
		if p.fresh {
			before = nil
		}
		w.inherit(before)
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
		if p.proofs != nil && p.routesOf[i].gauge != nil {
			if err := errors.Join(w.tasks.refuseHolders(), w.routes[i].refuseHolders()); err != nil {
				w.discard()
				return nil, err
			}
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
	w.leave()
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
