package engine_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// INV-4, INV-5 and the mapping of G-4, for equal and unequal partition counts.
func TestReplicate(t *testing.T) {
	for _, c := range []struct{ sources, targets, keys int }{
		{8, 8, 100}, {8, 8, 0}, {8, 5, 100}, {3, 8, 100}, {8, 5, 0}, {1, 1, 1}, {1, 8, 7},
	} {
		t.Run(fmt.Sprintf("%d to %d with %d keys", c.sources, c.targets, c.keys), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, c.sources, c.targets)
				r.produce(5000, c.keys)
				x := r.start()
				x.settled(5000)
				r.produce(100, c.keys)
				x.settled(5100)
				x.finish()
				r.exact(5100)
				if c.sources == c.targets {
					for p := range c.sources {
						if in, out := len(r.source.Dump(p)), len(r.target.Dump(p)); in != out {
							t.Errorf("partition %d has %d events, its source %d: equal counts keep the number", p, out, in)
						}
					}
				}
			})
		})
	}
}

// A start position is stored before the first read.
func TestEmptyHubStoresItsStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.produce(10, 0)
		r.task.Start = hubferry.Start{Kind: hubferry.StartLatest}
		x := r.start()
		time.Sleep(time.Second)
		x.kill()
		r.produce(6, 0) // while nobody reads
		x = r.start()
		x.settled(6)
		x.finish()
		if v := r.check(); v.lost != 10 || v.duplicates != 0 {
			t.Errorf("latest, then a kill: got %+v, want just the 10 events before the first start missing", v)
		}
	})
}

func TestResumeAfterCleanStopRepeatsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 4, 4)
		r.produce(3000, 50)
		x := r.start()
		time.Sleep(time.Nanosecond)
		x.finish() // somewhere in the middle
		for _, c := range r.store.saved {
			if !c.Clean {
				t.Errorf("the checkpoint after a clean stop is not clean: %+v", c)
			}
		}
		if len(x.deal.released) != 4 {
			t.Errorf("released %v, want all 4 partitions", x.deal.released)
		}
		x = r.start()
		x.settled(3000 - r.moved())
		x.finish()
		r.exact(3000)
	})
}

// moved returns how many events the stored checkpoints cover.
func (r *rig) moved() int64 {
	var n int64
	for _, c := range r.store.saved {
		n += c.Position.Sequence + 1
	}
	return n
}

// INV-3 and G-6.
func TestKillRepeatsAtMostOneWindow(t *testing.T) {
	for seed := range 20 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const partitions, window, events = 4, 300, 6000
				r := newRig(t, partitions, 3+seed%3)
				r.task.Window = window
				r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: mem.AllPartitions, Times: -1, Delay: time.Millisecond * time.Duration(1+seed)})
				r.produce(events, 40)
				kills := 0
				for range 10 {
					x := r.start()
					time.Sleep(time.Duration(seed*7+kills*13) * time.Millisecond)
					x.kill()
					kills++
				}
				r.target.Heal()
				x := r.start()
				x.settled(events - r.moved())
				x.finish()
				v := r.check()
				if v.lost != 0 || v.reordered != 0 || v.altered != 0 || v.events != events {
					t.Errorf("got %+v", v)
				}
				if v.duplicates > kills*partitions*window {
					t.Errorf("%d duplicates after %d kills, more than one window of %d for each kill and partition", v.duplicates, kills, window)
				}
			})
		})
	}
}

// INV-1 and G-5: what a driver did not confirm is sent again, in order.
func TestRetry(t *testing.T) {
	transient := &hubferry.Error{Kind: hubferry.Transient, Op: "send", Err: errors.New("connection reset")}
	for name, f := range map[string]mem.Fault{
		"before storing":   {Op: mem.OpWrite, Partition: mem.AllPartitions, Times: 20, Err: transient},
		"after some":       {Op: mem.OpWrite, Partition: mem.AllPartitions, Times: 20, Store: 3, Err: transient},
		"throttled":        {Op: mem.OpWrite, Partition: mem.AllPartitions, Times: 5, Err: &hubferry.Error{Kind: hubferry.Throttled, Op: "send", After: 4 * time.Second}},
		"reads fail":       {Op: mem.OpRead, Partition: mem.AllPartitions, Times: 20, Err: transient},
		"open fails":       {Op: mem.OpOpenReader, Partition: mem.AllPartitions, Times: 20, Err: transient},
		"partitions fail":  {Op: mem.OpPartitions, Partition: mem.AllPartitions, Times: 5, Err: transient},
		"writer not ready": {Op: mem.OpLayout, Partition: mem.AllPartitions, Times: 5, Err: transient},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 4, 3)
				r.target.Fail(f)
				if f.Op == mem.OpRead || f.Op == mem.OpOpenReader || f.Op == mem.OpPartitions {
					r.target.Heal()
				}
				r.produce(2000, 30)
				x := r.start()
				if f.Op == mem.OpRead || f.Op == mem.OpOpenReader {
					r.source.Fail(f)
				}
				if f.Op == mem.OpPartitions { // asked only when a reader is opened
					x.settled(2000)
					r.source.Fail(f)
					r.source.Cut(mem.AllPartitions)
				}
				time.Sleep(time.Minute)
				x.settled(2000)
				x.finish()
				r.exact(2000)
				if x.Status()[0].Counts.Retries == 0 {
					t.Error("no retry was counted")
				}
				if reading := f.Op == mem.OpRead || f.Op == mem.OpOpenReader; f.Op != mem.OpPartitions && reading != strings.Contains(r.log.String(), "source works again") {
					t.Errorf("the log does not tell when the source works again, or tells it for nothing:\n%s", &r.log)
				}
			})
		})
	}
}

func TestUnknownOutcomeKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 4, 3)
		r.target.Fail(mem.Fault{
			Op: mem.OpWrite, Partition: mem.AllPartitions, Times: 10, Store: 5,
			Err: &hubferry.Error{Kind: hubferry.Transient, Op: "send", Unsure: true, Err: errors.New("no answer")}, N: -1,
		})
		r.produce(2000, 30)
		x := r.start()
		x.settled(2000)
		x.finish()
		if v := r.check(); v.lost+v.reordered+v.altered != 0 {
			t.Errorf("got %+v", v)
		}
	})
}

func poisonRig(t *testing.T, policy engine.Policy) (*rig, *mem.Hub) {
	t.Helper()
	r := newRig(t, 4, 4)
	dead := r.broker.Create("east", "dead", mem.HubOptions{Partitions: 2})
	r.task.OnError = policy
	r.task.DeadLetters = &engine.Route{Target: r.task.Routes[0].Target, Hub: "dead", Address: "east/dead"}
	r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
		if n, _ := e.Property("n"); n == hubferry.Int(777) {
			return &hubferry.Error{Kind: hubferry.TooLarge, Op: "send", Err: errors.New("over the limit")}
		}
		return nil
	})
	r.produce(2000, 30)
	return r, dead
}

// INV-2: what could not be delivered holds its partition, and no other.
func TestPoisonStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := poisonRig(t, engine.OnErrorStop)
		x := r.start()
		time.Sleep(time.Minute)
		failed := 0
		for _, p := range x.Status()[0].Owned {
			if p.State == hubferry.Failed {
				failed++
				if !strings.Contains(p.Error, "over the limit") || !strings.Contains(p.Error, "west/in/"+p.Partition+"@") {
					t.Errorf("the error does not name the event and the cause: %s", p.Error)
				}
			} else if p.Lag != 0 {
				t.Errorf("partition %s was held up by the poison of another: %+v", p.Partition, p)
			}
		}
		if failed != 1 {
			t.Errorf("%d partitions failed, want 1", failed)
		}
		if v := r.check(); v.reordered != 0 && v.lost == 0 {
			t.Errorf("got %+v", v)
		}
		r.target.Heal() // the cause is repaired
		if err := x.Resume("copy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		x.finish()
		if v := r.check(); v.lost+v.reordered+v.altered != 0 {
			t.Errorf("after the repair: %+v", v)
		}
	})
}

func TestPoisonDrop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, _ := poisonRig(t, engine.OnErrorDrop)
		x := r.start()
		x.settled(2000)
		x.finish()
		if v := r.check(); v.lost != 1 || v.duplicates != 0 {
			t.Errorf("got %+v, want 1 event dropped", v)
		}
		if n := x.Status()[0].Counts.Dropped["poison"]; n != 1 {
			t.Errorf("counted %d drops", n)
		}
	})
}

func TestPoisonDeadLetter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, dead := poisonRig(t, engine.OnErrorDeadLetter)
		x := r.start()
		x.settled(2000)
		x.finish()
		var found []hubferry.Event
		for p := range 2 {
			found = append(found, dead.Dump(p)...)
		}
		if len(found) != 1 {
			t.Fatalf("%d dead letters, want 1", len(found))
		}
		c, err := found[0].Content()
		if err != nil {
			t.Fatal(err)
		}
		if string(c.Body) != "key-27#777" {
			t.Errorf("dead letter has body %q, not that of the event as it was read", c.Body)
		}
		for name, want := range map[string]string{
			"DeadLetterReason": "too large", "DeadLetterErrorDescription": "over the limit",
			"DeadLetterTask": "copy", "DeadLetterPosition": "west/in/",
		} {
			v, _ := c.Properties.Get(name)
			if text, _ := v.AsText(); !strings.Contains(text, want) {
				t.Errorf("%s is %q, want it to contain %q", name, text, want)
			}
		}
		if x.Status()[0].Counts.DeadLettered != 1 {
			t.Errorf("counts: %+v", x.Status()[0].Counts)
		}
	})
}

// INV-7 and G-2: the right verdict each time, and no false one.
func TestGap(t *testing.T) {
	for _, policy := range []engine.GapPolicy{engine.OnGapStop, engine.OnGapContinue} {
		t.Run("retention, "+string(policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.task.OnGap = policy
				r.produce(100, 10)
				x := r.start()
				x.settled(100)
				x.finish()
				r.produce(100, 10)
				r.source.Trim(0, 149)
				x = r.start()
				time.Sleep(time.Minute)
				s := x.Status()[0]
				x.finish()
				if policy == engine.OnGapStop {
					if len(s.Owned) != 1 || s.Owned[0].State != hubferry.Failed || !strings.Contains(s.Owned[0].Error, "events 100 to 149 are missing") {
						t.Errorf("status %+v does not tell the exact range", s)
					}
					if n := len(r.target.Dump(0)); n != 100 {
						t.Errorf("%d events on the target, want 100: stop means stop", n)
					}
					return
				}
				if n := len(r.target.Dump(0)); n != 150 || s.Counts.Gaps != 1 {
					t.Errorf("%d events on the target and %d gaps, want 150 and 1", n, s.Counts.Gaps)
				}
			})
		})
		t.Run("recreated, "+string(policy), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.task.OnGap = policy
				r.produce(100, 10)
				x := r.start()
				x.settled(100)
				x.finish()
				r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1})
				r.produce(150, 10) // past the old checkpoint
				x = r.start()
				time.Sleep(time.Minute)
				s := x.Status()[0]
				x.finish()
				if policy == engine.OnGapStop {
					if s.Owned[0].State != hubferry.Failed || !strings.Contains(s.Owned[0].Error, "created again") {
						t.Errorf("status %+v", s.Owned[0])
					}
					return
				}
				if n := len(r.target.Dump(0)); n != 250 {
					t.Errorf("%d events on the target, want the 100 old ones and all 150 new ones", n)
				}
				if c := r.store.saved["0"]; c.Position.Sequence != 149 {
					t.Errorf("checkpoint %+v", c)
				}
			})
		})
	}
	t.Run("compacted", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 1, 1)
			r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1, Sparse: true})
			r.produce(1000, 10)
			r.source.Compact(0)
			x := r.start()
			time.Sleep(time.Minute)
			if s := x.Status()[0]; s.Counts.Gaps != 0 || s.Owned[0].State != hubferry.Running {
				t.Errorf("compaction was taken for a gap: %+v", s)
			}
			x.finish()
			if n := len(r.target.Dump(0)); n != 10 {
				t.Errorf("%d events, want the last of each of 10 keys", n)
			}
		})
	})
}

func TestPauseAndResume(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.produce(500, 10)
		x := r.start()
		x.settled(500)
		if err := x.Pause("copy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		r.produce(500, 10)
		time.Sleep(time.Hour)
		if s := x.Status()[0]; s.State != hubferry.Paused || s.Counts.Read != 500 {
			t.Errorf("paused task: %+v", s)
		}
		if err := x.Resume("copy"); err != nil {
			t.Fatal(err)
		}
		x.settled(1000)
		x.finish()
		r.exact(1000)
		if err := x.Pause("nobody"); err == nil {
			t.Error("pausing an unknown task is no error")
		}
	})
}

// INV-6.
func TestWindowAndBudgetBoundWhatIsRead(t *testing.T) {
	for name, set := range map[string]func(*engine.Task){
		"window": func(d *engine.Task) { d.Window = 200 },
		"budget": func(d *engine.Task) { d.Budget = 50_000 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 4, 4)
				set(&r.task)
				release := make(chan struct{})
				r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: mem.AllPartitions, Times: -1, Block: release})
				r.produce(20_000, 100)
				x := r.start()
				time.Sleep(time.Hour)
				if n := x.Status()[0].Counts.Read; n > 800 || n == 0 {
					t.Errorf("%d events were read while the target took none", n)
				}
				close(release)
				r.target.Heal()
				x.settled(20_000)
				x.finish()
				r.exact(20_000)
			})
		})
	}
}

// G-6.
func TestCheckpointCadence(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		x := r.start()
		time.Sleep(time.Second)
		first := r.store.count() // the start position
		for i := range 30 {
			r.source.Inject(0, event("k", i))
			time.Sleep(time.Second)
		}
		if n := r.store.count() - first; n < 5 || n > 7 {
			t.Errorf("%d checkpoints in 30 s at one event a second, want one every 5 s", n)
		}
		before := r.store.count()
		time.Sleep(time.Hour)
		if n := r.store.count() - before; n > 1 {
			t.Errorf("%d checkpoints in an idle hour", n)
		}
		x.finish()
	})
}

func TestStoreAwayStopsNothingUntilTheWindowIsFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Window = 1000
		x := r.start()
		time.Sleep(time.Second)
		r.store.mu.Lock()
		r.store.fail = errors.New("the store is away")
		r.store.mu.Unlock()
		r.produce(5000, 10)
		time.Sleep(10 * time.Minute)
		if n := len(r.target.Dump(0)); n != 1000 {
			t.Errorf("%d events were moved without a checkpoint, want one window of 1000", n)
		}
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		x.settled(5000)
		x.finish()
		r.exact(5000)
	})
}

func TestRebalance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.produce(1000, 10)
		x := r.start()
		x.settled(1000)
		close(x.deal.ending["0"])
		time.Sleep(time.Second)
		x.deal.mu.Lock()
		if !x.deal.released["0"] || x.deal.released["1"] {
			t.Errorf("released %v, want partition 0 only", x.deal.released)
		}
		x.deal.mu.Unlock()
		x.finish()
		r.exact(1000)
	})
}

func TestEventsDoNotComeHome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		away := event("k", 1)
		c, err := away.Edit()
		if err != nil {
			t.Fatal(err)
		}
		c.Properties.Set(hubferry.ReplSource, hubferry.String("east/out/1"))
		c.Properties.Set(hubferry.ReplSequence, hubferry.String("7"))
		r.source.Send(away)
		x := r.start()
		x.settled(1)
		x.finish()
		if n := len(r.target.Dump(0)) + len(r.target.Dump(1)); n != 0 {
			t.Errorf("%d events came home", n)
		}
		if n := x.Status()[0].Counts.Dropped["came home"]; n != 1 {
			t.Errorf("counted %d", n)
		}
	})
}

// INV-9: a write that is under way when the claim is lost is cut short, and nothing of the
// partition is written or saved any more.
func TestLostClaimStopsWriting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.task.Window = 100
		x := r.start()
		time.Sleep(time.Second)
		release := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: mem.AllPartitions, Times: -1, Block: release})
		r.produce(1000, 10)
		time.Sleep(time.Second)
		saves := r.store.count()
		x.deal.lose()
		time.Sleep(time.Second) // the writer is told to stop before its answer comes
		close(release)
		r.target.Heal()
		r.produce(1000, 10)
		time.Sleep(time.Hour)
		if n := len(r.target.Dump(0)) + len(r.target.Dump(1)); n != 0 {
			t.Errorf("%d events were written after the claim was lost", n)
		}
		if n := r.store.count() - saves; n != 0 {
			t.Errorf("%d checkpoints were saved after the claim was lost", n)
		}
		x.finish()
	})
}
