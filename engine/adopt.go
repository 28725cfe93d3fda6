package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/hubferry/hubferry"
)

// adopt takes over the positions that targets hold for the partition, by the route's index,
// nil where there is none. Whoever wrote there before cannot do so any more.
func (p *partition) adopt(ctx context.Context) ([]*hubferry.Checkpoint, error) {
	held := make([]*hubferry.Checkpoint, len(p.routesOf))
	for i, r := range p.routesOf {
		if r.committer == nil {
			continue
		}
		c, err := r.committer.Adopt(ctx, commitID(p.Name, r.Name, p.place))
		if err != nil {
			return nil, fmt.Errorf("adopt the position at %s: %w", r.Address, err)
		}
		held[i] = c
	}
	return held, nil
}

// join moves p.from to where the targets need it (G-12). A position that a target holds is
// as good as a checkpoint, because all before it was settled everywhere else. So the lowest
// of them counts alone if every route has one; otherwise it counts beside the checkpoint.
// Again says that p.from is where a worker has stopped just now.
func (p *partition) join(held []*hubferry.Checkpoint, info *hubferry.PartitionInfo, again bool) error {
	now, newest := info.Place.Incarnation, p.beginning
	for _, c := range held {
		if c != nil && fits(c.Incarnation, now) {
			newest = max(newest, c.Beginning)
		}
	}
	fitting := func(c *hubferry.Checkpoint) bool {
		return c != nil && fits(c.Incarnation, now) && c.Beginning == newest
	}
	if p.from != nil && !fits(p.incarnation, now) {
		return nil // the hub is not the one that it was: reading will say so
	}
	if p.from != nil && p.beginning < newest {
		// The store was set back to a checkpoint from before the task began anew.
		p.beginning = newest
		if slices.ContainsFunc(held, func(c *hubferry.Checkpoint) bool { return !fitting(c) }) {
			return restartError{}
		}
		p.from = nil
	}
	p.beginning = newest
	switch {
	case p.from != nil || slices.ContainsFunc(held, fitting):
		// A target whose position is of another incarnation has nothing of this one: it
		// was restored from a backup, or the first commit would have changed it.
		held = slices.Clone(held)
		for i, c := range held {
			if c != nil && !fitting(c) {
				held[i] = &hubferry.Checkpoint{Position: info.Begin, Incarnation: now, Beginning: newest}
			}
		}
	}
	lowest, all := lowestOf(held)
	if lowest == nil {
		return nil
	}
	next := mark{position: lowest.Position, states: lowest.States}
	if p.from != nil {
		ahead := next.position.Sequence - p.from.position.Sequence
		switch {
		case ahead == 0 || (ahead > 0 && !all):
			return nil
		case ahead > 0 && again:
			next.events = p.from.events + int(ahead)
		case ahead < 0: // the store's checkpoint is not taken back
			p.ahead = max(p.ahead, p.saved.position.Sequence)
		}
		again = again && ahead > 0
	}
	if !again {
		p.saved = next // it is stored, though not in the store
	}
	p.log.Debug("target holds a position", "partition", p.place.Partition, "sequence", next.position.Sequence)
	p.from, p.incarnation = &next, lowest.Incarnation
	return nil
}

// lowestOf returns the checkpoint with the lowest sequence number, or nil, and whether all
// are there.
func lowestOf(held []*hubferry.Checkpoint) (lowest *hubferry.Checkpoint, all bool) {
	all = true
	for _, c := range held {
		if c == nil {
			all = false
		} else if lowest == nil || c.Position.Sequence < lowest.Position.Sequence {
			lowest = c
		}
	}
	return lowest, all
}

// fits reports whether positions of two incarnations can be compared (G-1).
func fits(a, b string) bool { return a == "" || b == "" || a == b }

// addCommitters makes the committers of the worker's routes.
func (w *worker) addCommitters(held []*hubferry.Checkpoint) {
	w.commits = make([]*committer, len(w.routesOf))
	for i, r := range w.routesOf {
		if r.committer == nil {
			continue
		}
		has := held[i] != nil && !w.anew && fits(held[i].Incarnation, w.incarnation) && held[i].Beginning == w.beginning
		w.commits[i] = newCommitter(w, r, held[i], has)
		w.tracker.committers = append(w.tracker.committers, w.commits[i])
	}
}
