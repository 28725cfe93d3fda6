package engine

import (
	"context"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// holes is what is known of the missing numbers of a partition in which some are normal
// (G-2). Whether retention has taken them tells the first event that is retained, asked for
// after they were read. To ask after every hole would be one question per batch, so it is
// asked now and then, about all holes since: before a hole is passed, if that is due, and
// otherwise while reading goes on.
type holes struct {
	// Only fetch uses these.
	begin hubferry.Position // the partition's, as of the last answer
	asked time.Time         // when that came

	mu     sync.Mutex
	since  hole // nobody has asked since
	asking bool
	answer *answered // that fetch has not seen yet
}

// hole is a range of missing numbers, or from the first of several to the last.
type hole struct {
	from, to int64
	seen     time.Time // when the first was read; zero means that there is none
}

// answered is what became known while reading went on.
type answered struct {
	begin hubferry.Position
	at    time.Time
	taken hole // by retention
}

const (
	// staleHole is the age from which on nothing is concluded from where a partition begins:
	// retention has then taken what was there when the hole was read.
	staleHole = time.Minute

	// maxLookPause is the longest time between two questions. It leaves time to ask again
	// about a hole when there was no answer.
	maxLookPause = staleHole / 3

	overtaken = "retention has overtaken the reader; some of these may have been compacted away or moved before"
)

func (h *hole) add(from, to int64) {
	if h.seen.IsZero() || h.stale() {
		h.from, h.seen = from, time.Now()
	}
	h.to = to
}

// join adds what was read later.
func (h *hole) join(later hole) {
	switch {
	case h.seen.IsZero():
		*h = later
	case !later.seen.IsZero():
		h.to = later.to
	}
}

func (h *hole) stale() bool { return time.Since(h.seen) > staleHole }

// taken returns what retention may have taken of a hole, if the partition begins there now.
func (h *hole) taken(begin int64) hole {
	if h.seen.IsZero() || h.stale() || begin < h.from {
		return hole{}
	}
	return hole{from: h.from, to: min(h.to, begin), seen: h.seen}
}

// holed reports whether there is a hole in what was read.
func holed(in *hubferry.Batch, expected int64) bool {
	for i := range in.Events {
		if in.Events[i].Pos.Sequence != expected {
			return true
		}
		expected++
	}
	return false
}

// pass notes a hole that is no gap as far as is known, and has it looked into.
func (w *worker) pass(ctx context.Context, from, to int64) {
	h := &w.holes
	h.mu.Lock()
	defer h.mu.Unlock()
	h.since.add(from, to)
	if h.asking {
		return
	}
	h.asking = true
	wait := time.Until(h.asked.Add(w.lookPause))
	w.looking.Go(func() {
		for w.inquire(ctx, wait) {
			wait = w.lookPause
		}
	})
}

// inquire asks, after a while, where the partition begins, about all holes until then. It
// reports whether that is to be asked again: there was no answer, or there are new holes.
func (w *worker) inquire(ctx context.Context, wait time.Duration) bool {
	h := &w.holes
	ended := sleep(ctx, wait) != nil
	h.mu.Lock()
	if ended {
		h.asking = false // the next session asks
		h.mu.Unlock()
		return false
	}
	covered := h.since
	h.since = hole{}
	h.mu.Unlock()
	found, err := w.survey(ctx)
	if err != nil {
		w.log.Debug("the first retained event is not known", "partition", w.place.Partition, "error", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || found.info == nil {
		if covered.stale() {
			covered = hole{}
		}
		covered.join(h.since)
		h.since = covered
		h.asking = ctx.Err() == nil && !h.since.seen.IsZero() // or else the next session asks
		return h.asking
	}
	a := &answered{begin: found.info.Begin, at: time.Now()}
	if h.answer != nil {
		a.taken = h.answer.taken
	}
	a.taken.join(covered.taken(a.begin.Sequence))
	h.answer = a
	h.asking = !h.since.seen.IsZero()
	return h.asking
}

// look says whether retention has overtaken the reader: an error of kind Gap. It asks first
// if there is a hole in what was read and nobody has asked for a while.
func (w *worker) look(ctx context.Context, in *hubferry.Batch) error {
	h := &w.holes
	h.mu.Lock()
	answer, asking := h.answer, h.asking
	h.answer = nil
	h.mu.Unlock()
	if answer != nil {
		if err := w.heard(answer); err != nil {
			return err
		}
	}
	if asking || time.Since(h.asked) < w.lookPause || !holed(in, w.next.Sequence+1) {
		return nil
	}
	info, err := w.describe(ctx)
	if err != nil {
		if hubferry.KindOf(err) == hubferry.Gap {
			return err
		}
		w.log.Debug("the first retained event is not known", "partition", w.place.Partition, "error", err)
		h.asked = time.Now()
		return nil
	}
	return w.arrived(info)
}

// arrived notes an answer that is not older than the call, while nobody else asks.
func (w *worker) arrived(info *hubferry.PartitionInfo) error {
	h := &w.holes
	a := &answered{begin: info.Begin, at: time.Now()}
	h.mu.Lock()
	if h.answer != nil {
		a.taken = h.answer.taken
	}
	a.taken.join(h.since.taken(a.begin.Sequence))
	h.answer, h.since = nil, hole{}
	h.mu.Unlock()
	return w.heard(a)
}

// heard takes an answer over, and obeys onGap if retention has taken holes that were passed
// a moment before it. What was read meanwhile is moved.
func (w *worker) heard(a *answered) error {
	w.holes.begin, w.holes.asked = a.begin, a.at
	if a.taken.seen.IsZero() {
		return nil
	}
	return w.missing(w.gapError(a.taken.from, a.taken.to, overtaken))
}

// holesInHand is the gap of events that were read before the partition began behind their
// first hole, which is at expected. Some of their holes may be those of compaction, and
// nobody can tell any more: they are one gap. To stop leaves all to be missing that the source
// does not have.
func (w *worker) holesInHand(events []hubferry.Event, expected int64) error {
	begin := w.holes.begin.Sequence
	if w.OnGap != OnGapContinue {
		return w.gapError(expected, begin, "")
	}
	from, to, cause := expected, expected-1, ""
	for i := range events {
		got := events[i].Pos.Sequence
		if got > expected && expected <= begin {
			if to >= from {
				cause = overtaken
			}
			to = min(begin, got-1)
		}
		expected = got + 1
	}
	return w.gapError(from, to, cause)
}
