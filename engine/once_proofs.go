package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
)

// proofs is what a partition knows, when it is taken over, of what others have sent.
type proofs struct {
	// clean says that nothing beyond the checkpoint had been sent.
	clean bool
	// first says that there was no checkpoint: as far as anybody knows nothing was sent.
	first bool
	// blank says that there was none once, and that not all watermarks are known since:
	// an event at the target may be of an earlier incarnation of the source.
	blank atomic.Bool
	// stored is the checkpoint as it was stored last, or nil. One that calls itself clean is
	// replaced before anything is sent.
	stored *hubferry.Checkpoint
	// mixed says that what was sent after the checkpoint was sent with another configuration,
	// so that outputs are looked up by identity: where they went and which of them there were
	// may differ. Config stands for that configuration; prove compares it.
	mixed  bool
	config string
	// marks are the watermarks of the checkpoint, by the path of the target place.
	marks map[string]hubferry.Position
	high  int64 // sequence number of the checkpoint, or of the start position
	// reach is the last event of the source that anybody can have sent before the present
	// worker: a checkpoint before it is not clean.
	reach int64
	// notBefore is when what others have sent is at the target or never will be (G-9).
	notBefore time.Time
}

// onceState is the name under which proofs are stored in checkpoints.
const onceState = "engine.once"

// onceNote is what is stored. A checkpoint without it was not made by effectively-once
// delivery, and what it says of watermarks and cleanliness does not hold.
type onceNote struct {
	Version int `json:"v"`
	// Config stands for the configuration of all that was sent after the checkpoint; ""
	// when there were several.
	Config string `json:"config"`
	// Blank says that the partition began without a checkpoint and some watermarks are
	// still missing.
	Blank bool `json:"blank,omitempty"`
	// Targets are the incarnations of the target hubs by their name.
	Targets map[string]string `json:"targets,omitempty"`
}

// newProofs returns what is known of a partition that begins at p.from. Whatever its
// checkpoint confirms is at the targets that are read, also when one that keeps positions
// itself makes the partition begin further back. End is where the source ends, as of now.
func (p *partition) newProofs(end int64) *proofs {
	c := p.claim.Checkpoint
	switch {
	case p.Delivery != EffectivelyOnce:
		return nil
	case p.anew: // what is at the target is of another incarnation, or of an earlier beginning
		return &proofs{clean: true, high: p.from.position.Sequence, reach: p.from.position.Sequence}
	case p.fresh || c == nil:
		pr := &proofs{first: true, high: math.MinInt64, reach: end}
		pr.blank.Store(true)
		return pr
	}
	pr := &proofs{high: c.Position.Sequence, reach: c.Position.Sequence, stored: c}
	var note onceNote
	if err := json.Unmarshal(c.States[onceState], &note); err == nil && note.Version == 1 {
		pr.clean, pr.config = c.Clean, note.Config
		pr.blank.Store(note.Blank && !c.Clean)
		pr.marks = p.trusted(c.Marks, note)
	}
	if !pr.clean {
		pr.reach = max(pr.reach, end)
		late := time.Duration(0)
		for _, r := range p.allRoutes() {
			late = max(late, r.layout.Late)
		}
		pr.notBefore = p.claimed.Add(late)
	}
	return pr
}

// trusted returns the marks that belong to the target hubs as they are now.
func (p *partition) trusted(marks map[string]hubferry.Position, note onceNote) map[string]hubferry.Position {
	kept := map[string]hubferry.Position{}
	for _, r := range p.allRoutes() {
		if note.Targets[r.hub] != r.layout.Places[0].Incarnation {
			continue
		}
		for _, place := range r.layout.Places {
			if at, ok := marks[place.Path()]; ok {
				kept[place.Path()] = at
			}
		}
	}
	return kept
}

// allRoutes returns the routes, that of the dead letters too.
func (p *partition) allRoutes() []*route {
	if p.deadRoute == nil {
		return p.routesOf
	}
	return append(slices.Clip(p.routesOf), p.deadRoute)
}

// configNote stands for what decides which outputs there are and where they go. The mapping
// is stored, so it belongs to the partition.
func (p *partition) configNote() string {
	mapping, _ := json.Marshal(p.mapping) //nolint:errchkjson // integers
	return p.Fingerprint + string(mapping)
}

// prove makes a partition ready to send under effectively-once delivery. A checkpoint that
// calls itself clean is replaced: from now on it is not. The watermarks that are stored with
// it were read before anything is sent. Under at-least-once delivery a note of an earlier
// effectively-once delivery is taken out, because it does not hold any more.
func (w *worker) prove(ctx context.Context) error {
	pr := w.proofs
	if pr == nil {
		c := w.claim.Checkpoint
		if c == nil || c.States[onceState] == nil || w.fresh || w.partition.worker != nil {
			return nil
		}
		return w.restate(ctx, *c)
	}
	// Without a checkpoint nobody can know; what is kept in mind is then bounded only by
	// taking all up to the newest event at the target for delivered.
	pr.mixed = pr.mixed || (!pr.clean && !pr.first && pr.config != w.configNote())
	pr.config = w.configNote()
	if pr.clean {
		for _, r := range w.allRoutes() {
			if r.gauge == nil || r.gauge.latest() != nil {
				continue
			}
			if _, err := r.gauge.read(ctx); err != nil {
				return err
			}
		}
	}
	if w.fresh || pr.stored == nil || !pr.stored.Clean {
		return nil
	}
	return w.restate(ctx, *pr.stored)
}

// restate stores a checkpoint again, as one of a partition that is at work.
func (w *worker) restate(ctx context.Context, c hubferry.Checkpoint) error {
	c.Clean, c.Marks, c.States = false, nil, maps.Clone(c.States)
	delete(c.States, onceState)
	w.note(&c)
	if err := w.claim.Save(ctx, &c); err != nil {
		return fmt.Errorf("save the checkpoint before anything is sent: %w", err)
	}
	if w.proofs != nil {
		w.proofs.stored = &c
	}
	return nil
}

// passage returns the worker's way into a lane, for an event that was enqueued at a time. The
// first that is asked for by identity makes those into all partitions of the route.
func (w *worker) passage(l *lane, at time.Time) *passage {
	w.passing.Lock()
	p := w.passages[l]
	w.passing.Unlock()
	if p != nil {
		return p
	}
	lanes := []*lane{l}
	exact := w.proofs.mixed || l.route == w.deadRoute
	if exact {
		at = w.since // lanes go at their own pace: the first that asks need not have the oldest event
		lanes = lanes[:0]
		for q := range l.route.layout.Places {
			lanes = append(lanes, w.lane(l.route, q))
		}
	}
	w.passing.Lock()
	if p = w.passages[l]; p != nil {
		w.passing.Unlock()
		return p
	}
	s := &sweep{exact: exact}
	made := make([]*passage, len(lanes))
	var search []*passage
	for i, l := range lanes {
		var must bool
		if made[i], must = w.newPassage(l, at); must {
			search = append(search, made[i])
		}
		w.passages[l] = made[i]
	}
	if len(search) > 0 {
		s.left.Store(int32(len(search)))
		for _, p := range made {
			p.sweep = s
		}
		if exact {
			w.sweeps[l.route] = s
		}
	}
	p = w.passages[l]
	w.passing.Unlock()
	for _, p := range made {
		p.lane.screen.enter(p)
	}
	for _, p := range search {
		p.lane.screen.want(p)
	}
	return p
}

// newPassage makes a passage, and reports whether the lane's partition must be searched:
// not if nothing that was sent through it lies behind where the worker begins.
func (w *worker) newPassage(l *lane, at time.Time) (p *passage, search bool) {
	p = &passage{worker: w, lane: l, begun: w.origin, counted: -1, doubt: -1, since: at}
	old := w.inherited[l]
	switch {
	case old != nil:
		old.mu.Lock()
		defer old.mu.Unlock()
		p.readings = slices.Clone(old.readings)
		p.begun = max(p.begun, old.begun)
		p.notBefore, p.counted, p.doubt, p.since = old.notBefore, old.counted, old.doubt, old.since
		return p, !old.known() || old.begun > w.origin
	case w.proofs.clean:
		p.readings = []reading{{l.route.gauge.end(l.partition), w.proofs.high}}
		p.doubt = w.partition.doubt
		return p, false
	}
	if at, ok := w.proofs.marks[l.place().Path()]; ok {
		p.readings = []reading{{at, w.proofs.high}}
	}
	p.notBefore = w.proofs.notBefore
	return p, true
}

func (l *lane) place() *hubferry.Place { return l.route.layout.Places[l.partition] }

// enter adds a passage to those that get readings.
func (s *screen) enter(p *passage) {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	s.passages = append(s.passages, p)
}

// caughtUp reports whether nothing behind a position was sent by those before this worker,
// so that a checkpoint there is clean when nothing of the worker's own is in flight.
func (w *worker) caughtUp(at int64) bool { return w.proofs == nil || at >= w.proofs.reach }

// retire forgets what a worker that is over kept for the next one, which has taken it over:
// passages lead from each worker to the one before it (INV-6).
func (w *worker) retire() {
	w.passing.Lock()
	w.inherited = nil
	w.passing.Unlock()
	w.tracker.retire()
}

// inherit takes over what the worker before knew.
func (w *worker) inherit(before *worker) {
	w.passages, w.inherited, w.sweeps = map[*lane]*passage{}, map[*lane]*passage{}, map[*route]*sweep{}
	if before == nil {
		return
	}
	before.passing.Lock()
	defer before.passing.Unlock()
	maps.Copy(w.inherited, before.inherited)
	maps.Copy(w.inherited, before.passages)
}

// leave takes a worker that is over out of all screens.
func (w *worker) leave() {
	w.passing.Lock()
	lanes := make([]*lane, 0, len(w.passages))
	for l := range w.passages {
		lanes = append(lanes, l)
	}
	w.passing.Unlock()
	for _, l := range lanes {
		l.mu.Lock()
		l.screen.forget(w)
		l.mu.Unlock()
	}
}

// note adds what effectively-once delivery stores with a checkpoint.
func (w *worker) note(c *hubferry.Checkpoint) {
	if w.proofs == nil {
		return
	}
	at := c.Position.Sequence
	marks, all := w.marks(at)
	if all {
		w.proofs.blank.Store(false)
	}
	c.Marks = marks
	n := onceNote{Version: 1, Blank: w.proofs.blank.Load(), Targets: map[string]string{}}
	if w.settledMix(at) {
		n.Config = w.configNote()
	}
	for _, r := range w.allRoutes() {
		n.Targets[r.hub] = r.layout.Places[0].Incarnation
	}
	c.States[onceState], _ = json.Marshal(n) //nolint:errchkjson // texts
}

// settledMix reports whether all that was sent after a position was sent with the present
// configuration.
func (w *worker) settledMix(at int64) bool {
	if !w.proofs.mixed {
		return true
	}
	w.passing.Lock()
	defer w.passing.Unlock()
	for _, r := range w.routesOf {
		if s := w.sweeps[r]; s == nil || s.left.Load() > 0 || (s.any && s.top.sequence > at) {
			return false
		}
	}
	return true
}

// marks returns the watermarks for a checkpoint (G-7), and whether none is missing.
func (w *worker) marks(checkpoint int64) (marks map[string]hubferry.Position, all bool) {
	marks = map[string]hubferry.Position{}
	unknown := map[string]bool{}
	for _, r := range w.allRoutes() {
		if r.gauge == nil {
			continue
		}
		ends := r.gauge.latest() // before it is asked where something was sent
		touched := w.touched(r)
		for q, place := range r.layout.Places {
			var at hubferry.Position
			var ok bool
			switch p := touched[q]; {
			case p != nil:
				at, ok = p.mark(checkpoint)
			case !w.reaches(r, q):
				continue
			case w.proofs.clean && ends != nil:
				at, ok = ends[q].End, true
			default:
				at, ok = w.proofs.marks[place.Path()]
			}
			// Two routes may lead to one hub: the lower mark holds for both.
			path := place.Path()
			if other, twice := marks[path]; !ok || unknown[path] {
				unknown[path] = true
				delete(marks, path)
			} else if !twice || at.Sequence < other.Sequence {
				marks[path] = at
			}
		}
	}
	return marks, len(unknown) == 0
}

// touched returns the passages into a route's partitions.
func (w *worker) touched(r *route) map[int]*passage {
	w.passing.Lock()
	defer w.passing.Unlock()
	all := map[int]*passage{}
	for l, p := range w.inherited {
		if l.route == r {
			all[l.partition] = p
		}
	}
	for l, p := range w.passages {
		if l.route == r {
			all[l.partition] = p
		}
	}
	return all
}

// reaches reports whether an event of the partition may come to a target partition, so that
// a watermark for it is worth its room in the checkpoint.
func (w *worker) reaches(r *route, q int) bool {
	i := slices.Index(w.routesOf, r)
	if i < 0 || len(w.Editors)+len(r.Editors) > 0 {
		return true
	}
	m := w.mapping[i]
	return m.Source != m.Target || q == w.place.Index
}

// prune forgets what no checkpoint from here on needs.
func (w *worker) prune(checkpoint int64) {
	w.passing.Lock()
	all := make([]*passage, 0, len(w.passages))
	for _, p := range w.passages {
		all = append(all, p)
	}
	w.passing.Unlock()
	for _, p := range all {
		p.prune(checkpoint)
	}
}

// unsearched reports whether something waits for a search, which need not have begun.
func (w *worker) unsearched() bool {
	w.passing.Lock()
	defer w.passing.Unlock()
	for _, p := range w.passages {
		if p.waits() {
			return true
		}
	}
	return false
}

// searching returns the status of the search that has the longest way to go, or nil.
func (w *worker) searching() *hubferry.SearchStatus {
	w.passing.Lock()
	defer w.passing.Unlock()
	var longest *hubferry.SearchStatus
	for _, p := range w.passages {
		p.mu.Lock()
		x := p.search
		p.mu.Unlock()
		if x == nil {
			continue
		}
		x.mu.Lock()
		s := x.status
		x.mu.Unlock()
		if longest == nil || s.End-s.At > longest.End-longest.At {
			longest = &s
		}
	}
	return longest
}
