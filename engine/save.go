package engine

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"time"

	"github.com/hubferry/hubferry"
)

// minSaveInterval is the least time between two checkpoints of one partition, so that a
// busy one does not wear its store out (G-6). When half of the window waits for a
// checkpoint it is ignored: a full window would stop the partition.
const minSaveInterval = time.Second

// save stores the low-water mark at its cadence until ctx ends.
func (w *worker) save(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last time.Time // of the last save
	for attempt := 0; ; {
		select {
		case <-w.tracker.moved:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		m, since, half, ok := w.tracker.pending()
		if !ok {
			continue
		}
		w.noteMoved()
		at := since.Add(w.SaveInterval)
		if m.events >= w.SaveEvents {
			at = last.Add(minSaveInterval)
		}
		if half {
			at = time.Time{}
		}
		if wait := time.Until(at); wait > 0 {
			timer.Reset(wait)
			continue
		}
		err := w.store(ctx, m, false)
		last = time.Now()
		switch {
		case err == nil:
			attempt = 0
		case ctx.Err() != nil:
			return
		case hubferry.KindOf(err) == hubferry.Lost:
			w.fail(err)
			return
		default:
			// Work goes on as far as the window allows. Each attempt stores the newest mark.
			attempt++
			d, _ := Retry{Min: time.Second, Max: 30 * time.Second}.delay(attempt, err)
			w.log.Warn("checkpoint not saved", "partition", w.place.Partition, "attempt", attempt, "error", err)
			if sleep(ctx, d) != nil {
				return
			}
			signal(w.tracker.moved)
		}
	}
}

// saveLast stores the final mark of a worker that ends while it still holds its claim. One
// that has failed without progress stores nothing: it may have begun where there is nothing.
func (w *worker) saveLast(failed bool) error {
	clean := w.tracker.clean() // asked first: lanes may still settle, and then the mark moves
	m, _, _, ok := w.tracker.pending()
	clean = clean && w.caughtUp(m.position.Sequence)
	if !ok && (failed || !clean) {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.partition.ctx, 10*time.Second)
	defer cancel()
	return w.store(ctx, m, clean)
}

// store saves a mark as the partition's checkpoint, behind the positions that targets keep.
func (w *worker) store(ctx context.Context, m mark, clean bool) error {
	if isClosed(w.claim.Lost) {
		return &hubferry.Error{Kind: hubferry.Lost, Op: "save the checkpoint of", Place: w.place}
	}
	for _, c := range w.tracker.committers {
		if err := c.reach(ctx, m); err != nil {
			return err
		}
	}
	if m.position.Sequence >= w.ahead {
		c := w.checkpoint(m, clean)
		w.note(c)
		if err := w.claim.Save(ctx, c); err != nil {
			return err
		}
		w.ahead = math.MinInt64
		if w.proofs != nil {
			w.proofs.stored = c
			w.prune(m.position.Sequence)
		}
	}
	w.tracker.stored(m)
	w.noteSaved(m)
	return nil
}

// checkpoint makes a checkpoint of a mark.
func (w *worker) checkpoint(m mark, clean bool) *hubferry.Checkpoint {
	states := w.mappingStates()
	maps.Copy(states, m.states)
	delete(states, onceState) // it is about another checkpoint
	return &hubferry.Checkpoint{
		Position: m.position, Incarnation: w.incarnation, Beginning: w.beginning, Time: time.Now(), Clean: clean, States: states,
	}
}

// mappingStates returns the notes that keep the mapping of keys what it is (G-4).
func (w *worker) mappingStates() map[string][]byte {
	states := map[string][]byte{}
	for i, r := range w.routesOf {
		states[stateKey(r.Name)], _ = json.Marshal(w.mapping[i]) //nolint:errchkjson // three integers
	}
	return states
}
