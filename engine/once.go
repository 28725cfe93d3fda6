package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
)

// Effectively once adds one question to at least once: before anything is sent to a target
// partition of which it is not certain what it holds of a source partition, it is read from
// a watermark to its end (G-8). The files:
//
//	once_gauge.go    where the target's partitions end, read about once a second (G-7)
//	once_passage.go  a source partition's way into one target partition: its watermarks,
//	                 and what a search has found
//	once_screen.go   a lane that lets pass only what is not there; outcomes unknown (G-9)
//	once_search.go   the reading of a target partition
//	once_proofs.go   what a partition knows when it begins, and stores with its checkpoints
//
// A route whose target keeps positions itself needs none of it.

// prove prepares a route for effectively-once delivery: its target keeps positions itself, or
// it can be read. Dead letters belong to no transaction; where they cannot be read either,
// they are delivered at least once.
func (t *task) prove(ctx context.Context, r *route, dead bool) error {
	if c, ok := committerOf(r.writer); ok && !dead {
		r.committer = c
		return nil
	}
	tailer, ok := tailer(r.writer)
	switch {
	case !ok && dead:
		return nil
	case !ok:
		return errors.Join(&hubferry.Error{
			Kind: hubferry.Fatal, Op: "open target " + r.Address,
			Err:  errors.New("it cannot be written effectively once: it neither keeps positions nor can it be read"),
			Hint: "set delivery: at-least-once",
		}, r.writer.Close(ctx))
	}
	r.gauge = newGauge(t, r, tailer)
	t.laneGroup.Go(func() { r.gauge.watch(t.lanes) })
	return nil
}

// checkOnce reports what effectively-once delivery cannot work with.
func (t *Task) checkOnce() error {
	switch t.Delivery {
	case AtLeastOnce:
		return nil
	case EffectivelyOnce:
	default:
		return fmt.Errorf("delivery %q is not known; use %s or %s", t.Delivery, AtLeastOnce, EffectivelyOnce)
	}
	if t.Trail.Mode != hubferry.TrailFull {
		return errors.New("delivery effectively-once reads repl-source and repl-id at the target, which only the full trail has")
	}
	return nil
}

// refuseHolders refuses editors that hold events back: what they release names inputs that
// the target does not tell, so a restart could not know which of them are delivered.
func (c *chain) refuseHolders() error {
	for i := range c.steps {
		if _, ok := flusher(c.steps[i].editor); ok {
			return &hubferry.Error{
				Kind: hubferry.Fatal, Op: "start editor " + c.steps[i].name,
				Err:  errors.New("it holds events back and makes one of several, and the target does not tell of which: delivery effectively-once cannot find them again"),
				Hint: "use delivery: at-least-once for this task",
			}
		}
	}
	return nil
}

// certain reports whether the claim is certain at this moment, also if the process was
// frozen and no timer has run since (INV-9).
func (w *worker) certain() bool {
	l, ok := leased(w.claim.Holder)
	return !w.over() && (!ok || !l.Until().IsZero())
}

// lease returns until when the claim is certain, or the zero time if it has no such end.
func (w *worker) lease() time.Time {
	if l, ok := leased(w.claim.Holder); ok {
		return l.Until()
	}
	return time.Time{}
}

// searches bounds how many partitions of targets a task reads at a time.
const searches = 16

// slot waits until the task may read one more partition of a target, and returns what
// gives the right back.
func (t *task) slot(ctx context.Context) (func(), error) {
	select {
	case t.slots <- struct{}{}:
		return func() { <-t.slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
