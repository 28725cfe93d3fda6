package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// screen is the side of a lane that lets pass only what is not at the target yet. Events
// of which that is not known wait in it while the target is searched; those of other
// workers pass meanwhile.
type screen struct {
	lane  *lane
	gauge *gauge

	// The lane's lock guards these.
	waiting   []item     // what must wait, in order
	wanted    []*passage // those that are to be searched next
	searching bool
	opened    bool       // a search has ended: look through what waits
	passages  []*passage // of the workers that are alive, for readings
}

// newScreen returns the screen of a lane, or nil if its route needs none.
func newScreen(l *lane) *screen {
	if l.route.gauge == nil {
		return nil
	}
	return &screen{lane: l, gauge: l.route.gauge}
}

// late is how long after the start of a write its events may still be stored.
func (s *screen) late() time.Duration { return s.lane.route.layout.Late }

// next delivers the next run, and reports whether there was anything to look at.
func (s *screen) next(ctx context.Context) bool {
	s.release()
	raw := s.lane.take(maxRun, math.MaxInt)
	run := s.sort(raw)
	s.launch(ctx)
	if len(run) > 0 {
		s.deliver(ctx, run)
	}
	clear(raw) // the array lives on under what is still queued
	return len(raw) > 0
}

// release puts what has waited for a search that has ended back to the head of the queue,
// ahead of what came later.
func (s *screen) release() {
	l := s.lane
	l.mu.Lock()
	waiting, opened := s.waiting, s.opened
	if opened {
		s.waiting, s.opened = nil, false
	}
	l.mu.Unlock()
	if !opened {
		return
	}
	var free, rest []item
	asked := map[*passage]bool{} // once for each: a search may end meanwhile
	for _, i := range waiting {
		if i.worker.over() {
			continue
		}
		p := i.worker.passage(l, i.event.Time)
		if !asked[p] {
			asked[p], p.parked = true, p.waits()
		}
		if p.parked {
			rest = append(rest, i)
		} else {
			free = append(free, i)
		}
	}
	l.putBack(free)
	l.mu.Lock()
	defer l.mu.Unlock()
	s.waiting = rest
}

// sort takes out of a run what must wait and what is there already.
func (s *screen) sort(raw []item) []item {
	run := make([]item, 0, len(raw))
	var wait, there, stale []item
	var last *worker
	var p *passage
	for _, i := range alive(raw) {
		if i.worker != last {
			last, p = i.worker, i.worker.passage(s.lane, i.event.Time)
		}
		ruling := toWait // behind those that wait
		if !p.parked {
			ruling = p.rule(i.event)
		}
		switch ruling {
		case toWait:
			wait = append(wait, i)
			p.parked = true
		case isThere:
			there = append(there, i)
		case superseded:
			stale = append(stale, i)
		default:
			run = append(run, i)
		}
	}
	s.found(there)
	if len(stale) > 0 {
		s.lane.task.count(func(c *hubferry.Counts) { c.Dropped["superseded"] += int64(len(stale)) })
		settle(stale)
	}
	if len(wait) > 0 {
		s.lane.mu.Lock()
		s.waiting = append(s.waiting, wait...)
		s.lane.mu.Unlock()
	}
	return run
}

// found settles what is at the target.
func (s *screen) found(run []item) {
	if len(run) == 0 {
		return
	}
	s.lane.task.count(func(c *hubferry.Counts) { c.Found += int64(len(run)) })
	settle(run)
}

// want asks for a search of the lane's partition for a passage.
func (s *screen) want(p *passage) {
	s.lane.mu.Lock()
	s.wanted = append(s.wanted, p)
	s.lane.mu.Unlock()
	signal(s.lane.work)
}

// launch starts a search if one is wanted. The lane calls it between two writes, so nothing
// that a worker before this one has sent through it is on its way.
func (s *screen) launch(ctx context.Context) {
	l := s.lane
	l.mu.Lock()
	list := s.wanted
	start := len(list) > 0 && !s.searching
	if start {
		s.wanted, s.searching = nil, true
	}
	l.mu.Unlock()
	if start {
		for _, p := range list {
			p.renew()
		}
		l.task.laneGroup.Go(func() { newSearch(s, list).run(ctx) })
	}
}

// open makes the lane look at what waits.
func (s *screen) open() {
	s.lane.mu.Lock()
	s.opened = true
	s.lane.mu.Unlock()
	signal(s.lane.work)
}

// forget removes a worker. The lane's lock is held.
func (s *screen) forget(w *worker) {
	if s == nil {
		return
	}
	s.waiting = slices.DeleteFunc(s.waiting, func(i item) bool { return i.worker == w })
	s.wanted = slices.DeleteFunc(s.wanted, func(p *passage) bool { return p.worker == w })
	s.passages = slices.DeleteFunc(s.passages, func(p *passage) bool { return p.worker == w })
}

// note passes a reading of the partition's end on to all passages.
func (s *screen) note(end hubferry.Position) {
	if s == nil {
		return
	}
	s.lane.mu.Lock()
	// A worker may have ended just before its passage was entered.
	s.passages = slices.DeleteFunc(s.passages, func(p *passage) bool { return p.worker.over() })
	passages := slices.Clone(s.passages)
	s.lane.mu.Unlock()
	for _, p := range passages {
		p.note(end)
	}
}

// deliver is the lane's deliver, except that after an unknown outcome it looks what is
// there before it sends anything again.
func (s *screen) deliver(ctx context.Context, run []item) {
	l := s.lane
	floor := s.gauge.end(l.partition) // nothing of the run has ever been sent before
	for attempt := 0; ; {
		run = alive(run)
		if len(run) == 0 || ctx.Err() != nil {
			l.task.idle(l)
			return
		}
		began := time.Now()
		n, err := s.write(ctx, run)
		l.task.confirm(run[:n])
		if n > 0 {
			attempt = 0
		}
		if run = run[n:]; err == nil {
			if len(run) == 0 {
				l.task.healthy(l)
				return
			}
			err = shortWrite(n, len(run))
		}
		attempt++
		if unsure(err) {
			until := began.Add(s.late())
			for p := range s.through(run) {
				p.hold(until) // whoever comes after a worker that ends now waits, too
			}
			run = s.resolve(ctx, l.failed(ctx, run, err, attempt), floor, until)
			continue
		}
		run = l.failed(ctx, run, err, attempt)
	}
}

// through yields the passages that a run goes through.
func (s *screen) through(run []item) func(yield func(*passage) bool) {
	return func(yield func(*passage) bool) {
		seen := map[*worker]bool{}
		for i := range run {
			if w := run[i].worker; !seen[w] {
				seen[w] = true
				if !yield(w.passage(s.lane, run[i].event.Time)) {
					return
				}
			}
		}
	}
}

// write makes one attempt, unless a claim is not certain any more (INV-9).
func (s *screen) write(ctx context.Context, run []item) (int, error) {
	l := s.lane
	var last *worker
	var p *passage
	var doubtful int64
	for i := range run {
		if w := run[i].worker; w != last {
			last, p = w, w.passage(l, run[i].event.Time)
		}
		at := run[i].event.Pos.Sequence
		p.begin(at)
		if at <= p.doubt {
			doubtful++
		}
	}
	signal(s.gauge.sent)
	if doubtful > 0 {
		l.task.count(func(c *hubferry.Counts) { c.Unproven += doubtful })
	}
	leases := map[*worker]time.Time{}
	for i := range run {
		w := run[i].worker
		if _, asked := leases[w]; asked {
			continue
		}
		leases[w] = w.lease()
		if !w.certain() {
			w.fail(&hubferry.Error{Kind: hubferry.Lost, Op: "write to " + l.address(), Err: errors.New("the claim is not certain any more")})
			return 0, errNotSent
		}
	}
	n, err := l.write(ctx, run)
	s.overdue(run, leases, n, err)
	return n, err
}

// errNotSent is the error of a write that was not begun.
var errNotSent = &hubferry.Error{Kind: hubferry.Transient, Op: "write", Err: errors.New("not begun")}

// overdue counts what was under way so long after the end of a lease that its next owner
// may have looked already: the process was frozen. It is the one duplicate that neither of
// them can prevent (G-9).
func (s *screen) overdue(run []item, leases map[*worker]time.Time, n int, err error) {
	if err == nil || unsure(err) {
		n = len(run)
	}
	now := time.Now()
	for w, until := range leases {
		if until.IsZero() || now.Before(until.Add(s.late())) || w.certain() {
			continue
		}
		var events int64
		for i := range run[:n] {
			if run[i].worker == w {
				events++
			}
		}
		s.lane.task.count(func(c *hubferry.Counts) { c.Unproven += events })
		w.log.Warn("events were under way long after the claim on their partition had ended; the next owner may have written them, too",
			"partition", w.place.Partition, "target", s.lane.address(), "events", events, "late", now.Sub(until).Round(time.Millisecond))
	}
}

// resolvePauses are the pauses between looks at a target that may still store what was
// sent.
var resolvePauses = [...]time.Duration{time.Second, 2 * time.Second, 5 * time.Second}

// resolve finds out what has become of a run whose outcome is unknown, and returns what is
// to be sent. What is not there may still come, until the given time.
func (s *screen) resolve(ctx context.Context, run []item, floor hubferry.Position, until time.Time) []item {
	l := s.lane
	failures := 0
	t := newTrace(s, run, floor) // each look goes on where the one before has ended
	for look := 0; ; {
		run = alive(run)
		if len(run) == 0 || ctx.Err() != nil {
			return run
		}
		last := time.Now().After(until)
		n, err := t.locate(ctx, run)
		if err != nil {
			failures++
			d, _ := l.task.Retry.delay(failures, err)
			l.task.unhealthy(ctx, l, err, d)
			l.wait(ctx, run, d)
			continue
		}
		failures = 0
		if n > 0 {
			// Only one write was under way, and it is there: nothing more will come.
			s.found(run[:n])
			return run[n:]
		}
		if last {
			if t.trimmed || t.holed {
				l.task.count(func(c *hubferry.Counts) { c.Unproven += int64(len(run)) })
			}
			return run
		}
		l.wait(ctx, run, min(time.Until(until)+time.Millisecond, resolvePauses[min(look, len(resolvePauses)-1)]))
		look++
	}
}

// trace looks for the events of a run on the target.
type trace struct {
	tailReading
	there map[hubferry.Identity]bool // by the identities of the run: those that were seen
}

func newTrace(s *screen, run []item, floor hubferry.Position) *trace {
	t := &trace{tailReading{screen: s, at: floor}, make(map[hubferry.Identity]bool, len(run))}
	for i := range run {
		t.there[t.identity(run[i])] = false
	}
	return t
}

func (t *trace) identity(i item) hubferry.Identity {
	p, l := pointOf(i.event), t.screen.lane
	return hubferry.Identity{Task: l.task.Name, Route: l.route.Name, Source: i.worker.place.Path(), Sequence: p.sequence, Part: p.part}
}

// locate reads on to the end and returns how many events of a run are there: all up to the
// last one that is found.
func (t *trace) locate(ctx context.Context, run []item) (int, error) {
	ctx, untie := tie(ctx, run)
	defer untie()
	err := t.read(ctx, func(e *hubferry.Event) {
		if id, ok := hubferry.IdentityOf(e); ok {
			if _, ours := t.there[id]; ours {
				t.there[id] = true
			}
		}
	})
	if err != nil {
		return 0, err
	}
	for i := len(run); i > 0; i-- {
		if t.there[t.identity(run[i-1])] {
			return i, nil
		}
	}
	return 0, nil
}
