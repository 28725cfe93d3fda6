package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// A gap in the middle of what one Read brings: what comes before it is moved, whatever onGap
// says of the gap.
func TestGapInTheMiddleOfABatch(t *testing.T) {
	for _, policy := range []engine.GapPolicy{engine.OnGapStop, engine.OnGapContinue} {
		t.Run(string(policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.task.OnGap = policy
				for i := range 5 {
					r.source.Inject(0, event("a", i))
				}
				r.source.Skip(0, 3)
				for i := range 5 {
					r.source.Inject(0, event("a", 5+i))
				}
				x := r.start()
				time.Sleep(time.Minute)
				s := x.Status()[0]
				x.finish()
				want, state, gaps := 5, hubferry.Failed, int64(0)
				if policy == engine.OnGapContinue {
					want, state, gaps = 10, hubferry.Running, 1
				}
				if n := len(r.target.Dump(0)); n != want || s.State != state || s.Counts.Gaps != gaps {
					t.Errorf("%d events at the target, %s, %d gaps; want %d, %s and %d", n, s.State, s.Counts.Gaps, want, state, gaps)
				}
				if at := r.store.get(r.source.Place(0)).Position.Sequence; policy == engine.OnGapStop && at != 4 {
					t.Errorf("the checkpoint is at %d, want 4", at)
				}
			})
		})
	}
}

// A hub that was restored from a backup is the one that it was, and ends before the
// checkpoint. To begin anew takes the checkpoint back, which is done and noted; to stop
// names the range. What follows is no matter of the first beginning any more: not for the
// next instance, and not when the hub has grown past the old checkpoint.
func TestSetBack(t *testing.T) {
	for _, policy := range []engine.GapPolicy{engine.OnGapStop, engine.OnGapContinue} {
		for _, delivery := range []engine.Delivery{engine.AtLeastOnce, engine.EffectivelyOnce} {
			t.Run(string(policy)+", "+string(delivery), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, 1, 1)
					r.task.OnGap, r.task.Delivery = policy, delivery
					r.produce(500, 10)
					x := r.start()
					x.settled(500)
					x.finish()
					r.source.SetBack(0, 299)
					x = r.start()
					time.Sleep(time.Minute)
					s := x.Status()[0]
					if policy == engine.OnGapStop {
						x.finish()
						if s.State != hubferry.Failed || !strings.Contains(s.Error, "events 300 to 499") {
							t.Errorf("%s: %s", s.State, s.Error)
						}
						if c := r.store.get(r.source.Place(0)); c.Position.Sequence != 499 || c.Beginning != 0 {
							t.Errorf("the checkpoint is %+v", c)
						}
						return
					}
					x.settled(300)
					if c := r.store.get(r.source.Place(0)); c.Position.Sequence != 299 || c.Beginning != 1 {
						t.Errorf("the checkpoint is %+v, want 299 of the second beginning", c)
					}
					// Nobody can tell which of what was sent before is sent again: said, not hidden.
					unproven := x.Status()[0].Counts.Unproven
					if want := int64(300); delivery == engine.EffectivelyOnce && unproven != want {
						t.Errorf("%d events are unproven, want %d", unproven, want)
					}
					x.kill()
					r.produce(400, 7) // 300 to 699: others than those that had these numbers
					x = r.start()
					x.settled(400)
					x.finish()
					if n := len(r.target.Dump(0)); n != 500+300+400 {
						t.Errorf("%d events at the target, want 500, then 300 again, then 400 new ones", n)
					}
				})
			})
		}
	}
}

// A target that keeps positions has one of before the hub was restored. It is not taken for
// one of the hub as it is now, not even when that has grown past it.
func TestSetBackWithACommitter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.target = r.broker.Create("east", "out", mem.HubOptions{Kind: mem.Table, Partitions: 1})
		r.task.OnGap, r.task.Delivery = engine.OnGapContinue, engine.EffectivelyOnce
		r.produce(500, 10)
		x := r.start()
		x.settled(500)
		x.finish()
		r.source.SetBack(0, 299)
		x = r.start()
		time.Sleep(time.Minute)
		x.kill()
		r.produce(400, 7)
		x = r.start()
		x.settled(400)
		x.finish()
		if n := len(r.target.Dump(0)); n != 500+300+400 {
			t.Errorf("%d events at the target, want 500, then 300 again, then 400 new ones", n)
		}
		// The store is set back, too: to before the task began anew.
		r.store.mu.Lock()
		r.store.saved["0"] = hubferry.Checkpoint{Position: hubferry.Position{Sequence: 100}, Incarnation: r.store.saved["0"].Incarnation}
		r.store.mu.Unlock()
		r.produce(50, 7)
		x = r.start()
		x.settled(50)
		x.finish()
		if n := len(r.target.Dump(0)); n != 500+300+400+50 {
			t.Errorf("%d events at the target, want the 50 new ones beside the others", n)
		}
		// And the target: it has nothing of the present beginning, so it gets all.
		r.target.Restore(hubferry.ID{Namespace: "west", Hub: "in", ConsumerGroup: "copy/out", Partition: "0"},
			&hubferry.Checkpoint{Position: hubferry.Position{Sequence: 450}, Incarnation: r.source.Place(0).Incarnation})
		x = r.start()
		time.Sleep(time.Minute)
		x.finish()
		if n := len(r.target.Dump(0)); n != 500+300+400+50+750 {
			t.Errorf("%d events at the target, want all 750 that the source holds beside the others", n)
		}
	})
}

// A log is cut back, and the worker fails before it can begin anew there. When the hub is
// then made anew, the partition begins at its first event, and not where the log was cut.
func TestCutBeforeAnotherBeginning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.OnGap = engine.OnGapContinue
		r.produce(500, 10)
		hold := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Block: hold, Err: &hubferry.Error{Kind: hubferry.Fatal, Op: "write"}})
		r.source.Fail(mem.Fault{Op: mem.OpRead, Skip: 1, Err: &hubferry.Error{
			Kind: hubferry.Gap, Op: "read", From: 300, To: 499,
		}})
		x := r.start()
		time.Sleep(time.Second) // the gap is known, and what was read before it is not written yet
		close(hold)
		time.Sleep(time.Second)
		if s := x.Status()[0]; s.Counts.Gaps != 1 || s.Owned[0].State != hubferry.Failed {
			t.Fatalf("%d gaps and %s, want a cut log and a target that failed", s.Counts.Gaps, s.Owned[0].State)
		}
		r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1})
		r.produce(600, 10)
		if err := x.Resume("copy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		x.finish()
		r.exact(600)
	})
}
