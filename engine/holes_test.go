package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// On a compacted hub retention overtakes a reader that is attached: its hole looks like
// those of compaction, and is told apart by asking, not once for every hole.
func TestOvertakenOnACompactedHub(t *testing.T) {
	for _, policy := range []engine.GapPolicy{engine.OnGapStop, engine.OnGapContinue} {
		t.Run(string(policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1, Sparse: true})
				r.task.OnGap, r.task.Window = policy, 10
				for i := range 400 { // holes of compaction in all that is read
					r.source.Inject(0, event("a", i))
					r.source.Skip(0, 2)
				}
				x := r.start()
				x.settled(400)
				if s, asked := x.Status()[0], r.source.Count(mem.OpPartitions); s.Counts.Gaps != 0 || asked > 10 {
					t.Errorf("%d gaps after %d questions about 400 holes", s.Counts.Gaps, asked)
				}
				time.Sleep(time.Minute)
				hold := make(chan struct{})
				r.target.Fail(mem.Fault{Op: mem.OpWrite, Block: hold})
				for i := range 500 {
					r.source.Inject(0, event("a", 400+i))
				}
				time.Sleep(time.Second) // the window is full
				r.source.Trim(0, 1499)
				close(hold)
				time.Sleep(time.Minute)
				s := x.Status()[0]
				x.finish()
				if policy == engine.OnGapContinue {
					if s.Counts.Gaps != 1 || len(r.target.Dump(0)) != 610 {
						t.Errorf("%d gaps and %d events at the target, want 1 and 610", s.Counts.Gaps, len(r.target.Dump(0)))
					}
					return
				}
				if s.State != hubferry.Failed || !strings.Contains(s.Error, "events 1210 to 1499 are missing") {
					t.Errorf("%s: %s", s.State, s.Error)
				}
			})
		})
	}
}

// A hole that is passed a moment after the last question is looked into soon, and what
// retention takes long after it was read is no gap.
func TestHolesAreLookedIntoLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1, Sparse: true})
		r.task.OnGap, r.task.Window = engine.OnGapContinue, 10
		hold := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Block: hold})
		for i := range 500 {
			r.source.Inject(0, event("a", i))
		}
		x := r.start()
		time.Sleep(100 * time.Millisecond) // the window is full, and the source was asked just now
		r.source.Trim(0, 299)
		close(hold)
		x.settled(210)
		time.Sleep(time.Minute)
		r.source.Inject(0, event("a", 500))
		x.settled(211)
		if s := x.Status()[0]; s.Counts.Gaps != 1 || !strings.Contains(r.log.String(), "events 10 to 299 are missing") {
			t.Errorf("%d gaps, want 1, of 10 to 299", s.Counts.Gaps)
		}
		r.source.Skip(0, 5, event("a", 501))
		x.settled(212)
		time.Sleep(time.Hour)
		r.source.Trim(0, 400)
		r.source.Inject(0, event("a", 502))
		x.settled(213)
		time.Sleep(time.Hour)
		r.source.Trim(0, 506)
		r.source.Inject(0, event("a", 503))
		x.settled(214)
		if s := x.Status()[0]; s.Counts.Gaps != 1 {
			t.Errorf("%d gaps, want no more than the one: what retention took was read before", s.Counts.Gaps)
		}
		x.finish()
	})
}

// Retention takes what was read a moment ago: it is moved all the same, and the gap is what
// was missing when it was read. To stop leaves behind all that the source has lost.
func TestGapBeforeWhatIsInHand(t *testing.T) {
	tests := []struct {
		name   string
		policy engine.GapPolicy
		runs   []int // events of each run, two numbers missing between them
		moved  int
		gap    string
	}{
		{"one hole", engine.OnGapContinue, []int{10, 49}, 59, "events 10 to 11 are missing"},
		{"holes on both sides of the beginning", engine.OnGapContinue, []int{10, 20, 18, 20, 5}, 73, "events 10 to 33 are missing"},
		{"stop", engine.OnGapStop, []int{10, 49}, 10, "events 10 to 50 are missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1, Sparse: true})
				r.task.OnGap = tt.policy
				for i, n := range tt.runs {
					if i > 0 {
						r.source.Skip(0, 2)
					}
					for range n {
						r.source.Inject(0, event("a", i))
					}
				}
				r.source.Fail(mem.Fault{Op: mem.OpRead, Delay: 2 * time.Second})
				x := r.start()
				time.Sleep(time.Second)
				hold := make(chan struct{})
				r.source.Fail(mem.Fault{Op: mem.OpPartitions, Block: hold})
				time.Sleep(2 * time.Second) // all is read, and the question about its holes is under way
				r.source.Trim(0, 50)
				close(hold)
				time.Sleep(time.Minute)
				s := x.Status()[0]
				x.finish()
				if n := len(r.target.Dump(0)); n != tt.moved || !strings.Contains(r.log.String(), tt.gap) {
					t.Errorf("%d events at the target, want %d, and a gap of which %s", n, tt.moved, tt.gap)
				}
				if tt.policy == engine.OnGapContinue && s.Counts.Gaps != 1 {
					t.Errorf("%d gaps, want 1", s.Counts.Gaps)
				}
			})
		})
	}
}

// A gap that becomes known only after it was passed is told, and what has been read
// meanwhile is moved, whatever retention has taken of it since.
func TestOvertakenBeforeWhatIsInHand(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newHoled(t)
		x := r.start()
		time.Sleep(500 * time.Millisecond)
		r.source.Trim(0, 11)
		time.Sleep(time.Minute) // long enough to know
		hold := make(chan struct{})
		r.source.Fail(mem.Fault{Op: mem.OpOpenReader, Block: hold})
		more := make([]hubferry.Event, 8) // 13 to 20
		for i := range more {
			more[i] = event("a", 13+i)
		}
		r.source.Inject(0, more...)
		time.Sleep(time.Second)
		r.source.Trim(0, 15)
		close(hold)
		x.settled(19)
		if s := x.Status()[0]; s.Counts.Gaps != 1 || !strings.Contains(r.log.String(), "events 10 to 11 are missing") {
			t.Errorf("%d gaps, want 1, of 10 to 11", s.Counts.Gaps)
		}
		x.finish()
	})
}

// newHoled returns a rig that goes on behind gaps, and whose source has events 0 to 9 and 12
// and may have holes.
func newHoled(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, 1, 1)
	r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1, Sparse: true})
	r.task.OnGap = engine.OnGapContinue
	for i := range 10 {
		r.source.Inject(0, event("a", i))
	}
	r.source.Skip(0, 2)
	r.source.Inject(0, event("a", 12))
	return r
}

// Every hole is asked about until there is an answer.
func TestHolesAreNotForgotten(t *testing.T) {
	tests := []struct {
		name string
		err  error                            // of the question about 10 to 11
		do   func(r *rig, hold chan struct{}) // while that is under way
		gap  string
	}{
		{"no answer", &hubferry.Error{Kind: hubferry.Transient, Op: "list"}, func(r *rig, hold chan struct{}) {
			r.source.Trim(0, 11)
			close(hold)
		}, "events 10 to 11 are missing"},
		{"a connection that breaks", nil, func(r *rig, hold chan struct{}) {
			r.source.Trim(0, 11)
			r.source.Cut(0)
			time.Sleep(time.Second)
			close(hold)
		}, "events 10 to 11 are missing"},
		{"a hole meanwhile", nil, func(r *rig, hold chan struct{}) {
			r.source.Skip(0, 2, event("a", 15))
			time.Sleep(100 * time.Millisecond)
			close(hold)
			time.Sleep(100 * time.Millisecond)
			r.source.Trim(0, 14)
		}, "events 13 to 14 are missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newHoled(t)
				x := r.start()
				time.Sleep(500 * time.Millisecond)
				hold := make(chan struct{})
				r.source.Fail(mem.Fault{Op: mem.OpPartitions, Block: hold, Err: tt.err})
				time.Sleep(time.Second)
				tt.do(r, hold)
				time.Sleep(30 * time.Second)
				r.source.Inject(0, event("a", 0)) // no hole before it
				time.Sleep(time.Minute)
				if s := x.Status()[0]; s.Counts.Gaps != 1 || !strings.Contains(r.log.String(), tt.gap) {
					t.Errorf("%d gaps, want one of which %s", s.Counts.Gaps, tt.gap)
				}
				x.finish()
			})
		})
	}
}

// A source of many partitions is asked seldom, but not so seldom that what retention takes
// in the meantime is taken for a gap.
func TestHolesOfManyPartitions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 900, Sparse: true})
		r.task.OnGap = engine.OnGapContinue
		r.source.Inject(0, event("a", 0))
		r.source.Skip(0, 2)
		r.source.Inject(0, event("a", 1))
		x := r.start()
		x.settled(2)
		time.Sleep(80 * time.Second)
		r.source.Trim(0, 3)
		time.Sleep(time.Minute)
		r.source.Inject(0, event("a", 2))
		x.settled(3)
		if s := x.Status()[0]; s.Counts.Gaps != 0 {
			t.Errorf("%d gaps, want none: what retention took was read long before", s.Counts.Gaps)
		}
		x.finish()
	})
}
