package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// search reads a target partition from the lowest watermark of some workers to its end, and
// notes for each what of its source partition is there. It keeps no event: its memory does
// not depend on how much there is to read (INV-6).
type search struct {
	screen *screen
	list   []*passage
	sought map[string]*sought // by the path of the source place

	reading *tailReading // nil before it has begun

	mu     sync.Mutex
	status hubferry.SearchStatus
}

// sought is what a search knows for one worker.
type sought struct {
	*passage
	found
	floor int64 // the position at which the worker began
	twice int64
}

func newSearch(s *screen, list []*passage) *search {
	x := &search{screen: s, list: list}
	x.status = hubferry.SearchStatus{Target: s.lane.address(), Since: time.Now(), At: -1, End: -1}
	for _, p := range list {
		p.mu.Lock()
		p.search = x
		p.mu.Unlock()
	}
	return x
}

// run searches until it succeeds, nobody wants it any more, or a person is needed.
func (x *search) run(ctx context.Context) {
	l := x.screen.lane
	defer x.end()
	for attempt := 0; ; {
		err := x.once(ctx)
		x.list = slices.DeleteFunc(x.list, func(p *passage) bool { return p.worker.over() })
		switch {
		case err == nil:
			l.task.healthy(l)
			return
		case len(x.list) == 0 || ctx.Err() != nil:
			l.task.idle(l)
			return
		}
		attempt++
		err = fmt.Errorf("look what is at %s already: %w", l.address(), err)
		d, again := l.task.Retry.delay(attempt, err)
		if hubferry.KindOf(err) == hubferry.Fatal || !again {
			for _, p := range x.list {
				p.worker.fail(err)
			}
			return
		}
		l.task.unhealthy(ctx, l, err, d)
		if x.sleep(ctx, d) != nil {
			return
		}
	}
}

// end lets those go who have waited, and starts the next search.
func (x *search) end() {
	s := x.screen
	for _, p := range x.list {
		p.mu.Lock()
		p.search = nil
		p.mu.Unlock()
	}
	s.lane.mu.Lock()
	s.searching = false
	s.lane.mu.Unlock()
	s.open()
	// A worker that looks for identities waits for all partitions of its route.
	s.lane.route.mu.Lock()
	var others []*screen
	for _, l := range s.lane.route.lanes {
		if l != s.lane {
			others = append(others, l.screen)
		}
	}
	s.lane.route.mu.Unlock()
	for _, o := range others {
		o.open()
	}
}

// sleep waits, but no longer than a worker wants the search.
func (x *search) sleep(ctx context.Context, d time.Duration) error {
	ctx, cancel := x.wanted(ctx)
	defer cancel()
	return sleep(ctx, d)
}

// wanted returns a context that ends when nobody wants the search any more.
func (x *search) wanted(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	left := len(x.list)
	var mu sync.Mutex
	var stops []func() bool
	for _, p := range x.list {
		stops = append(stops, context.AfterFunc(p.worker.ctx, func() {
			mu.Lock()
			defer mu.Unlock()
			if left--; left == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, stop := range stops {
			stop()
		}
		cancel()
	}
}

// once makes one attempt.
func (x *search) once(ctx context.Context) error {
	ctx, cancel := x.wanted(ctx)
	defer cancel()
	if err := x.awaitStragglers(ctx); err != nil {
		return err
	}
	free, err := x.screen.lane.task.slot(ctx)
	if err != nil {
		return err
	}
	defer free()
	// The end is asked for after all that was sent has arrived, and the search goes at
	// least so far.
	end, err := x.screen.gauge.readOne(ctx, x.screen.lane.partition)
	if err != nil {
		return err
	}
	if x.reading == nil { // otherwise it goes on where it has failed
		x.reading = &tailReading{screen: x.screen, at: x.prepare(), progress: x.progress}
		if x.reading.at.Sequence > end.Sequence {
			x.reading.at, x.reading.holed = beginning, true // the target has been set back: it is not what it was
		}
		x.progress(x.reading.at)
	}
	x.mu.Lock()
	x.status.End = max(x.status.End, end.Sequence)
	x.mu.Unlock()
	t := x.reading
	if err := t.read(ctx, x.see); err != nil {
		return err
	}
	if t.at.Sequence < end.Sequence {
		t.holed = true
	}
	x.conclude(end, t)
	return nil
}

// awaitStragglers waits until what others have sent is there or never will be (G-9).
func (x *search) awaitStragglers(ctx context.Context) error {
	var until time.Time
	for _, p := range x.list {
		p.mu.Lock()
		if p.notBefore.After(until) {
			until = p.notBefore
		}
		p.mu.Unlock()
	}
	wait := time.Until(until)
	if wait <= 0 {
		return nil
	}
	x.mu.Lock()
	x.status.Until = until
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.status.Until = time.Time{}
	}()
	return sleep(ctx, wait)
}

// prepare returns where to begin.
func (x *search) prepare() hubferry.Position {
	x.sought = map[string]*sought{}
	from := hubferry.Position{Sequence: math.MaxInt64}
	for _, p := range x.list {
		floor := p.worker.origin
		at, _ := p.mark(floor)
		if at.Sequence < from.Sequence {
			from = at
		}
		x.sought[p.worker.place.Path()] = &sought{passage: p, floor: floor}
	}
	return from
}

// progress notes how far the search is.
func (x *search) progress(at hubferry.Position) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.status.At = at.Sequence
	x.status.End = max(x.status.End, at.Sequence)
}

// see looks at one event of the target.
func (x *search) see(e *hubferry.Event) {
	id, ok := hubferry.IdentityOf(e)
	if !ok || id.Task != x.screen.lane.task.Name || id.Route != x.screen.lane.route.Name {
		return
	}
	s := x.sought[id.Source]
	if s == nil {
		return
	}
	if s.stranger(e) {
		return
	}
	if s.add(point{id.Sequence, id.Part}, e.Key, s.floor, s.sweep.exact) && e.Pos.Sequence > s.counted {
		s.twice++
	}
}

// stranger reports an event of an earlier incarnation of the source. A checkpoint tells of
// which incarnation its watermarks are; without one, only time does: what is older than the
// first event that is to be sent was never one of those that follow it. Trails in the
// helper's form tell full seconds.
func (s *sought) stranger(e *hubferry.Event) bool {
	if !s.worker.proofs.blank.Load() {
		return false
	}
	at, ok := hubferry.EnqueueTime(e)
	return ok && at.Add(time.Second).Before(s.since)
}

// conclude tells every worker what was found.
func (x *search) conclude(end hubferry.Position, t *tailReading) {
	task := x.screen.lane.task
	for _, s := range x.sought {
		if s.twice > 0 {
			task.count(func(c *hubferry.Counts) { c.DuplicatesSeen += s.twice })
			task.log.Warn("the target holds events twice", "target", x.screen.lane.address(), "source", s.worker.place.Path(), "events", s.twice)
		}
		p := s.passage
		task.log.Debug("looked what is at the target", "target", x.screen.lane.address(), "source", s.worker.place.Path(),
			"checkpoint", s.floor, "to", t.at.Sequence, "end", end.Sequence, "there up to", s.newest())
		p.sweep.mu.Lock()
		p.sweep.merge(&s.found)
		p.sweep.mu.Unlock()
		p.mu.Lock()
		p.begun = max(p.begun, s.top.sequence)
		p.counted = max(p.counted, end.Sequence)
		p.sweep.left.Add(-1)
		if p.known() {
			p.push(end)
		}
		// What is gone from the beginning was sent before what is still there. It proves what
		// was before it only where outputs are skipped by prefix.
		doubt := !s.worker.proofs.first && (t.holed || (t.trimmed && (!s.any || s.sweep.exact)))
		if doubt {
			p.doubt = s.floor + int64(task.Window)
		}
		p.mu.Unlock()
		if doubt {
			task.log.Warn("the target no longer holds everything that was written since the watermark, so what follows may be there twice",
				"target", x.screen.lane.address(), "source", s.worker.place.Path(), "after", max(s.floor, s.top.sequence))
		}
	}
}

// tailReading reads a target partition after a position to its end.
type tailReading struct {
	screen   *screen
	at       hubferry.Position // up to where it was read
	begun    bool              // an event was read
	trimmed  bool              // the first events behind the first position are gone
	holed    bool              // others are
	progress func(hubferry.Position)
}

// tailBatch bounds what one Read of a tail brings.
const (
	tailEvents = 1000
	tailBytes  = 1 << 20
)

// read calls see for every event. After an error it can be called again to go on.
func (t *tailReading) read(ctx context.Context, see func(*hubferry.Event)) error {
	r, err := t.screen.gauge.tailer.Tail(ctx, t.screen.lane.partition, t.at)
	if err != nil {
		return tailError(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = r.Close(ctx) // nothing depends on it
	}()
	b := hubferry.Batch{Limit: hubferry.Limit{Events: tailEvents, Bytes: tailBytes}}
	for {
		if err := r.Read(ctx, &b); err != nil {
			if errors.Is(err, hubferry.ErrEnd) {
				return nil
			}
			return tailError(err)
		}
		for i := range b.Events {
			e := &b.Events[i]
			if e.Pos.Sequence > t.at.Sequence+1 {
				t.trimmed, t.holed = t.trimmed || !t.begun, t.holed || t.begun
			}
			t.at, t.begun = e.Pos, true
			see(e)
		}
		if b.Next.Sequence > t.at.Sequence {
			t.at, t.holed = b.Next, true
		}
		if t.progress != nil {
			t.progress(t.at)
		}
	}
}

// tailError makes sure that a reader that another one has pushed out is not taken for the
// loss of a claim: it is the target's consumer group, not the source's partition.
func tailError(err error) error {
	if hubferry.KindOf(err) == hubferry.Lost || hubferry.KindOf(err) == hubferry.Gap {
		return &hubferry.Error{Kind: hubferry.Transient, Op: "read tail", Err: err}
	}
	return err
}
