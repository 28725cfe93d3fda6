package engine

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// setState notes what the task as a whole is doing.
func (t *task) setState(s hubferry.State, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.status.State != s {
		t.status.State, t.status.Since = s, time.Now()
	}
	t.status.Error = errorText(err)
}

// count changes the task's counters.
func (t *task) count(f func(*hubferry.Counts)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f(&t.status.Counts)
}

// written counts what a lane has confirmed.
func (t *task) written(run []item) {
	var bytes, dead int64
	for i := range run {
		bytes += int64(run[i].bytes)
		if run[i].dead != nil {
			dead++
		}
	}
	t.count(func(c *hubferry.Counts) {
		c.Written += int64(len(run)) - dead
		c.WrittenBytes += bytes
		c.DeadLettered += dead
	})
}

// sender is a lane or a committer.
type sender interface{ address() string }

// sickness is what is wrong with a sender, and how long it waits before it tries again.
type sickness struct {
	err   error
	pause time.Duration
}

// unhealthy notes that a sender failed and will try again after d.
func (t *task) unhealthy(ctx context.Context, l sender, err error, d time.Duration) {
	t.mu.Lock()
	t.status.Counts.Retries++
	t.sick[l] = sickness{err, d}
	t.mu.Unlock()
	t.log.Log(ctx, retryLevel(d), "retrying", "in", d.Round(time.Millisecond), "error", err)
}

// healthy notes that a sender works.
func (t *task) healthy(l sender) {
	t.mu.Lock()
	was := t.sick[l]
	delete(t.sick, l)
	t.mu.Unlock()
	if was.err != nil && retryLevel(was.pause) > slog.LevelDebug {
		t.log.Info("target works again", "target", l.address())
	}
}

// idle notes that nobody wants a sender to write any more, so that its last failure is no
// longer news.
func (t *task) idle(l sender) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.sick, l)
}

// snapshot returns the status of the task: that of the task itself, or the worst of its
// partitions and lanes.
func (t *task) snapshot() hubferry.TaskStatus {
	t.mu.Lock()
	s := t.status
	s.Counts.Dropped = maps.Clone(s.Counts.Dropped)
	s.Targets = slices.Clone(s.Targets)
	parts := slices.Collect(maps.Keys(t.parts))
	for _, sick := range t.sick {
		s.Error = errorText(sick.err)
		s.State = max(s.State, hubferry.Retrying)
	}
	t.mu.Unlock()
	s.Owned = make([]hubferry.PartitionStatus, 0, len(parts))
	slices.SortFunc(parts, func(a, b *partition) int {
		return cmp.Or(cmp.Compare(a.place.Hub, b.place.Hub), cmp.Compare(a.place.Index, b.place.Index))
	})
	for _, p := range parts {
		one := p.snapshot()
		s.Owned = append(s.Owned, one)
		if s.State == hubferry.Running && (one.State == hubferry.Retrying || one.State == hubferry.Failed) ||
			s.State == hubferry.Retrying && one.State == hubferry.Failed {
			s.State, s.Error = one.State, one.Error
		}
	}
	if t.gate.paused() && s.State < hubferry.Stopped {
		s.State = hubferry.Paused
	}
	return s
}

// setState notes what the partition is doing.
func (p *partition) setState(s hubferry.State, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.State, p.status.Error = s, errorText(err)
}

func (p *partition) noteRead(n int, next, end hubferry.Position) {
	p.mu.Lock()
	p.status.Read = next.Sequence
	p.status.End = max(p.status.End, next.Sequence, end.Sequence)
	p.mu.Unlock()
	p.count(func(c *hubferry.Counts) { c.Read += int64(n) })
}

func (p *partition) noteEnd(end hubferry.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.End = end.Sequence
}

func (p *partition) noteMoved() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Moved = time.Now()
}

func (p *partition) noteSaved(m mark) {
	p.mu.Lock()
	p.status.Checkpoint = m.position.Sequence
	p.mu.Unlock()
	p.count(func(c *hubferry.Counts) { c.Moved += int64(m.events) })
}

func (p *partition) snapshot() hubferry.PartitionStatus {
	p.mu.Lock()
	s, w := p.status, p.worker
	p.mu.Unlock()
	if w == nil {
		return s
	}
	if !w.over() {
		s.Search = w.searching()
	}
	low, _, _, _ := w.tracker.pending()
	s.Lag = max(s.End-low.position.Sequence, 0)
	w.tracker.mu.Lock()
	s.InFlight = w.tracker.inFlight
	w.tracker.mu.Unlock()
	if at, ok := w.tracker.oldest(); ok && !at.IsZero() {
		s.LagSeconds = max(time.Since(at).Seconds(), 0)
	}
	return s
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
