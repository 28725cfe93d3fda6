package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// newPipeRig returns a rig whose target takes several runs of a partition at once and
// confirms them after a round trip.
func newPipeRig(t *testing.T, sources, targets, runs int) (*rig, *latent) {
	t.Helper()
	r := newRig(t, sources, targets)
	r.target = r.broker.Create("east", "out", mem.HubOptions{Partitions: targets, Pipeline: runs})
	l := &latent{Target: r.task.Routes[0].Target, trip: 100 * time.Millisecond}
	r.task.Routes[0].Target = l
	return r, l
}

// A writer that can keep several runs in order is given several, but not without end; any
// other is given one (G-5).
func TestRunsInFlight(t *testing.T) {
	for _, c := range []struct {
		driver    int // runs that the driver takes at once
		low, high int64
	}{{0, 1, 1}, {4, 2, 8}, {100, 2, 8}} {
		t.Run(fmt.Sprintf("driver takes %d", c.driver), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, target := newPipeRig(t, 1, 1, c.driver)
				x := r.start()
				for range 100 { // events come while others are in flight
					r.produce(50, 7)
					time.Sleep(10 * time.Millisecond)
				}
				x.settled(5000)
				x.finish()
				if v := r.check(); v.lost+v.duplicates+v.reordered+v.altered != 0 {
					t.Errorf("got %+v", v)
				}
				if n := target.peak.Load(); n < c.low || n > c.high {
					t.Errorf("%d runs were in flight at once, want %d to %d", n, c.low, c.high)
				}
			})
		})
	}
}

// G-5: when a run fails, what is behind it is sent again behind it. A receipt that is true
// makes no copy.
func TestRunInFlightFails(t *testing.T) {
	transient := &hubferry.Error{Kind: hubferry.Transient, Op: "send", Err: errors.New("connection reset")}
	for name, f := range map[string]mem.Fault{
		"before storing":       {Skip: 3, Err: transient},
		"in the middle":        {Skip: 3, Store: 7, Err: transient},
		"all but the answer":   {Skip: 3, Store: mem.StoreAll, Err: transient},
		"many, then it is up":  {Skip: 3, Times: 30, Store: 2, Err: transient},
		"every third run":      {Skip: 2, Times: 3, Store: 1, Err: &hubferry.Error{Kind: hubferry.Aborted, Op: "send"}},
		"not ready, throttled": {Times: 5, Err: &hubferry.Error{Kind: hubferry.Throttled, Op: "send", After: 4 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, _ := newPipeRig(t, 2, 3, 6)
				f.Op, f.Partition = mem.OpWrite, mem.AllPartitions
				r.target.Fail(f)
				x := r.start()
				for range 40 {
					r.produce(100, 30)
					time.Sleep(10 * time.Millisecond)
				}
				x.settled(4000)
				x.finish()
				r.exact(4000)
				if s := x.Status()[0]; s.Counts.Retries == 0 || s.Error != "" {
					t.Errorf("a target that failed and works again: %+v", s)
				}
			})
		})
	}
}

// A poison event among runs in flight is dropped, and what is behind it is not harmed.
func TestPoisonInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newPipeRig(t, 1, 1, 6)
		r.task.OnError = engine.OnErrorDrop
		r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
			if c, _ := e.Content(); string(c.Body) == "key-17#17" {
				return &hubferry.Error{Kind: hubferry.Refused, Op: "send"}
			}
			return nil
		})
		x := r.start()
		for range 20 {
			r.produce(100, 30)
			time.Sleep(10 * time.Millisecond)
		}
		x.settled(2000)
		x.finish()
		if v := r.check(); v.lost != 20 || v.duplicates+v.reordered != 0 {
			t.Errorf("got %+v, want 20 events dropped", v)
		}
		if n := x.Status()[0].Counts.Dropped["poison"]; n != 20 {
			t.Errorf("counted %d drops, want 20", n)
		}
	})
}

// INV-9: when a claim is lost, the runs in flight are cut short, and those of other
// partitions are sent again.
func TestLostClaimWithRunsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newPipeRig(t, 2, 1, 6)
		x := r.start()
		time.Sleep(time.Second)
		stuck := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Block: stuck, Match: func(e *hubferry.Event) bool { return e.Origin.Partition == "0" }})
		for range 20 {
			r.produce(10, 4)
			time.Sleep(10 * time.Millisecond)
		}
		x.deal.loseOne("0")
		time.Sleep(time.Second)
		// The target never answers that one call: what is written now was not in flight then.
		n := len(r.source.Dump(1))
		x.settled(int64(n))
		if got := r.target.Dump(0); len(got) != n {
			t.Errorf("%d events are at the target, want the %d of the partition that is still ours", len(got), n)
		}
		for _, e := range r.target.Dump(0) {
			if hops := hubferry.Hops(&e); hops[0].Source != "west/in/1" {
				t.Fatalf("an event of %s was written after its claim was lost", hops[0].Source)
			}
		}
		close(stuck)
		x.finish()
	})
}

// A clean stop waits for what is in flight and saves behind it.
func TestCleanStopWithRunsInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := newPipeRig(t, 1, 1, 6)
		x := r.start()
		for range 20 {
			r.produce(10, 4)
			time.Sleep(10 * time.Millisecond)
		}
		x.finish() // at this moment the last round trips are under way
		n := len(r.target.Dump(0))
		c := r.store.get(r.source.Place(0))
		if c == nil || !c.Clean || c.Position.Sequence != int64(n-1) {
			t.Errorf("%d events are at the target, the checkpoint is %+v", n, c)
		}
	})
}

// Whatever fails, in whatever order: nothing is lost or reordered (INV-3, INV-4, G-5), and
// without unsure outcomes and kills nothing is doubled.
func TestPipelineUnderRandomFaults(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, 4))
				unsure := seed%3 == 2
				r, target := newPipeRig(t, 1+rng.IntN(3), 1+rng.IntN(3), 1+rng.IntN(12))
				target.trip = time.Duration(rng.IntN(200)) * time.Millisecond
				r.task.Window = 500 + rng.IntN(2000)
				x := r.start()
				sent := 0
				for range 60 {
					n := rng.IntN(200)
					r.produce(n, 20)
					sent += n
					if rng.IntN(3) == 0 {
						f := mem.Fault{
							Op: mem.OpWrite, Partition: mem.AllPartitions, Skip: rng.IntN(4), Times: 1 + rng.IntN(3), Store: rng.IntN(40),
							Delay: time.Duration(rng.IntN(100)) * time.Millisecond,
							Err:   &hubferry.Error{Kind: hubferry.Transient, Op: "send", Unsure: unsure},
						}
						r.target.Fail(f)
					}
					if unsure && rng.IntN(10) == 0 {
						r.target.Cut(mem.AllPartitions)
					}
					if unsure && rng.IntN(20) == 0 {
						x.kill()
						x = r.start()
					}
					time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
				}
				r.target.Heal()
				r.drained(x)
				x.finish()
				v := r.check()
				if v.lost+v.reordered+v.altered != 0 || v.events != sent || (!unsure && v.duplicates != 0) {
					t.Errorf("got %+v of %d", v, sent)
				}
			})
		})
	}
}

// Moving an event allocates nothing of its own: what there is, is there once for a batch or
// a run.
func TestAllocationsPerEvent(t *testing.T) {
	const events = 100_000
	for name, c := range map[string]struct {
		target   nowhere
		delivery engine.Delivery
	}{
		"write":  {nowhere{partitions: 8}, engine.AtLeastOnce},
		"submit": {nowhere{partitions: 8, submits: true}, engine.AtLeastOnce},
		"read":   {nowhere{partitions: 8}, engine.EffectivelyOnce},
		"commit": {nowhere{partitions: 8, commits: true}, engine.EffectivelyOnce},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			carry(t, 8, events, c.target, c.delivery)
			runtime.ReadMemStats(&after)
			per := float64(after.Mallocs-before.Mallocs) / events
			t.Logf("%.3f allocations and %.0f bytes per event", per, float64(after.TotalAlloc-before.TotalAlloc)/events)
			if per > 0.25 {
				t.Errorf("%.3f allocations per event: something is made for each", per)
			}
		})
	}
}
