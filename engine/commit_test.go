package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// newCommitRig returns a rig whose target takes positions in transactions.
func newCommitRig(t *testing.T, sources, targets int) *rig {
	t.Helper()
	r := newRig(t, sources, targets)
	r.target = r.broker.Create("east", "out", mem.HubOptions{Partitions: targets, Transactions: true})
	r.task.Delivery = engine.EffectivelyOnce
	return r
}

// positionID is what the rig's task calls the position of a source partition.
func (r *rig) positionID(partition int) hubferry.ID {
	return hubferry.ID{Namespace: "west", Hub: "in", ConsumerGroup: "copy/out", Partition: fmt.Sprint(partition)}
}

// unanswered is the error of a call whose answer is missing.
func unanswered() error {
	return &hubferry.Error{Kind: hubferry.Transient, Op: "commit", Unsure: true, Err: errors.New("no answer")}
}

// G-12: the target's positions are those of what it holds, and the checkpoints follow them.
func TestCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 3, 4)
		r.produce(3000, 40)
		x := r.start()
		x.settled(3000)
		x.finish()
		r.exact(3000)
		for p := range 3 {
			want := int64(len(r.source.Dump(p)) - 1)
			held, saved := r.target.Committed(r.positionID(p)), r.store.get(r.source.Place(p))
			if held == nil || held.Position.Sequence != want || held.Incarnation != r.source.Place(p).Incarnation {
				t.Errorf("partition %d: the target holds %+v, want %d", p, held, want)
			}
			if saved == nil || saved.Position.Sequence != want || !saved.Clean {
				t.Errorf("partition %d: the checkpoint is %+v, want %d", p, saved, want)
			}
		}
		if n := r.target.Count(mem.OpWrite); n != 0 {
			t.Errorf("%d writes beside the transactions", n)
		}
	})
}

// Whatever becomes of commits and of their answers, each event arrives once.
func TestCommitFails(t *testing.T) {
	for name, faults := range map[string][]mem.Fault{
		"before":            {{Op: mem.OpCommit, Skip: 1, Times: 5, Err: &hubferry.Error{Kind: hubferry.Transient, Op: "commit"}}},
		"must begin again":  {{Op: mem.OpCommit, Skip: 1, Times: 5, Err: &hubferry.Error{Kind: hubferry.Aborted, Op: "commit"}}},
		"no answer":         {{Op: mem.OpCommit, Times: 9, Store: mem.StoreAll, Err: unanswered()}},
		"no answer, undone": {{Op: mem.OpCommit, Times: 9, Err: unanswered()}},
		"not classified":    {{Op: mem.OpCommit, Times: 9, Store: mem.StoreAll, Err: errors.New("eh?")}},
		"the question fails too": {
			{Op: mem.OpCommit, Skip: 2, Times: 3, Store: mem.StoreAll, Err: unanswered()},
			{Op: mem.OpAdopt, Skip: 2, Times: 7, Err: &hubferry.Error{Kind: hubferry.Transient, Op: "adopt"}},
		},
		"adopting fails": {{Op: mem.OpAdopt, Times: 7, Err: &hubferry.Error{Kind: hubferry.Transient, Op: "adopt"}}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newCommitRig(t, 2, 3)
				for _, f := range faults {
					r.target.Fail(f)
				}
				x := r.start()
				for range 30 {
					r.produce(100, 30)
					time.Sleep(100 * time.Millisecond)
				}
				r.drained(x)
				x.finish()
				r.exact(3000)
			})
		})
	}
}

// A kill repeats nothing: what the checkpoint does not know, the target does.
func TestCommitSurvivesKills(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 3, 4)
		x := r.start()
		for i := range 40 {
			r.produce(100, 30)
			time.Sleep(time.Duration(i) * 10 * time.Millisecond)
			x.kill()
			x = r.start()
		}
		r.drained(x)
		x.finish()
		r.exact(4000)
	})
}

// INV-9, G-12: who comes later fences who was there before, though he believes that the
// partition is his.
func TestCommitFencesAZombie(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 2, 2)
		zombie := r.start()
		r.produce(500, 10)
		time.Sleep(time.Minute)
		heir := r.start()
		time.Sleep(time.Minute)
		for range 20 {
			r.produce(50, 10)
			time.Sleep(100 * time.Millisecond)
		}
		r.drained(heir)
		if left := zombie.Status()[0].Owned; len(left) != 0 {
			t.Errorf("the zombie goes on: %+v", left)
		}
		zombie.finish()
		heir.finish()
		r.exact(1500)
	})
}

// INV-9: a commit that is under way when the claim is lost is cut short, and none follows.
func TestLostClaimStopsCommits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 2, 2)
		x := r.start()
		r.produce(100, 10)
		x.settled(100)
		stuck := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpCommit, Times: -1, Block: stuck})
		r.produce(100, 10)
		time.Sleep(time.Second)
		x.deal.lose()
		time.Sleep(time.Second)
		close(stuck)
		r.target.Heal()
		r.produce(100, 10)
		time.Sleep(time.Minute)
		if n := len(r.target.Dump(0)) + len(r.target.Dump(1)); n != 100 {
			t.Errorf("%d events are at the target, want the 100 from before", n)
		}
		x.finish()
	})
}

// G-12: a target that was restored from a backup gets what it has lost, although the
// checkpoint is beyond it, and the checkpoint does not go back meanwhile.
func TestCommitToARestoredTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 2, 2)
		r.task.Window = 700 // less than what is to be done again
		r.produce(1000, 10)
		x := r.start()
		x.settled(1000)
		x.finish()
		backup := [2][]hubferry.Event{r.target.Dump(0), r.target.Dump(1)}
		held := [2]*hubferry.Checkpoint{r.target.Committed(r.positionID(0)), r.target.Committed(r.positionID(1))}
		r.produce(3000, 10)
		x = r.start()
		x.settled(3000)
		x.finish()
		r.target = r.broker.Create("east", "out", mem.HubOptions{Partitions: 2, Transactions: true})
		for p := range 2 {
			r.target.Inject(p, backup[p]...)
			r.target.Restore(r.positionID(p), held[p])
		}
		x = r.start()
		time.Sleep(time.Minute)
		r.produce(500, 10)
		r.drained(x)
		x.finish()
		r.exact(4500)
	})
}

// What a restored target gets again does not go again to one beside it.
func TestCommitToARestoredTargetBesideAnother(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 2, 2)
		read := r.broker.Create("east", "read", mem.HubOptions{Partitions: 3})
		second := r.task.Routes[0]
		second.Name, second.Hub, second.Address = "read", "read", "east/read"
		r.task.Routes = append(r.task.Routes, second)
		r.produce(2000, 10)
		x := r.start()
		x.settled(2000)
		x.finish()
		r.target = r.broker.Create("east", "out", mem.HubOptions{Partitions: 2, Transactions: true})
		for p := range 2 {
			r.target.Restore(r.positionID(p), &hubferry.Checkpoint{Position: hubferry.Position{Sequence: -1}, Incarnation: r.source.Place(p).Incarnation})
		}
		x = r.start()
		time.Sleep(time.Second)
		x.kill() // in the middle
		x = r.start()
		r.produce(500, 10)
		r.drained(x)
		x.finish()
		r.exact(2500)
		r.target = read
		r.exact(2500)
	})
}

// G-1: a position of a hub that was deleted and created again says nothing of the new one.
func TestCommitFromARecreatedSource(t *testing.T) {
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprintf("kill=%t", kill), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newCommitRig(t, 1, 1)
				r.task.OnGap = engine.OnGapContinue
				r.produce(500, 10)
				x := r.start()
				x.settled(500)
				x.finish()
				r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 1})
				r.produce(200, 10)
				x = r.start()
				if kill {
					time.Sleep(time.Millisecond)
					x.kill()
					x = r.start()
				}
				r.drained(x)
				x.finish()
				if n := len(r.target.Dump(0)); n != 700 {
					t.Errorf("%d events are at the target, want the 500 of the old hub and the 200 of the new", n)
				}
			})
		})
	}
}

// A target that was restored to a time when the source was another hub gets all of this one,
// and one whose position is beyond the end of a hub that has lost its events gets all again.
func TestCommitToATargetOfAnotherTime(t *testing.T) {
	for name, held := range map[string]func(now *hubferry.Checkpoint) *hubferry.Checkpoint{
		"another hub": func(*hubferry.Checkpoint) *hubferry.Checkpoint {
			return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 150}, Incarnation: "before"}
		},
		"beyond the end": func(now *hubferry.Checkpoint) *hubferry.Checkpoint {
			return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 5000}, Incarnation: now.Incarnation}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newCommitRig(t, 1, 1)
				r.task.OnGap = engine.OnGapContinue
				r.produce(300, 10)
				x := r.start()
				x.settled(300)
				x.finish()
				now := r.target.Committed(r.positionID(0))
				r.target = r.broker.Create("east", "out", mem.HubOptions{Transactions: true})
				r.target.Restore(r.positionID(0), held(now))
				if name == "beyond the end" {
					r.store.saved = map[string]hubferry.Checkpoint{}
				}
				x = r.start()
				time.Sleep(time.Minute)
				x.kill() // what it has done stays done
				x = r.start()
				r.produce(100, 10)
				r.drained(x)
				x.finish()
				r.exact(400)
			})
		})
	}
}

// Without a checkpoint the target's position counts, not the start.
func TestCommitWithoutACheckpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 2, 2)
		r.produce(500, 10)
		x := r.start()
		x.settled(500)
		x.finish()
		r.store.saved = map[string]hubferry.Checkpoint{}
		r.task.Start.Kind = hubferry.StartLatest
		r.produce(500, 10)
		x = r.start()
		r.drained(x)
		x.finish()
		r.exact(1000)
		if n := r.source.Count(mem.OpResolve); n > 2 {
			t.Errorf("the start was resolved again, though the targets hold positions")
		}
	})
}

// Progress without outputs, and what is no event at all, is committed too.
func TestCommitOfNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		r.source = r.broker.Create("west", "in", mem.HubOptions{Sparse: true})
		r.task.Editors = []engine.Step{step("nothing", func(context.Context, *hubferry.Event) ([]hubferry.Event, error) {
			return []hubferry.Event{}, nil
		})}
		x := r.start()
		r.produce(300, 10)
		r.source.Skip(0, 7)
		time.Sleep(time.Minute)
		x.kill()
		if held, saved := r.target.Committed(r.positionID(0)), r.store.get(r.source.Place(0)); held == nil || held.Position.Sequence != 306 || saved.Position.Sequence != 306 {
			t.Errorf("the target holds %+v, the checkpoint is %+v, want 306", held, saved)
		}
	})
}

// G-11: inputs that an editor holds are in no position, and what comes of them is in one
// transaction with the position that passes them.
func TestCommitOfAggregates(t *testing.T) {
	pairs := engine.Step{Name: "pairs", New: func() (hubferry.Editor, error) { return &pairs{}, nil }}
	for name, steps := range map[string][]engine.Step{
		"window": {windowStep(3 * time.Second)}, "overlapping windows": {pairs, windowStep(3 * time.Second)},
	} {
		for _, route := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, route=%t", name, route), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newCommitRig(t, 1, 1)
					if route {
						r.task.Routes[0].Editors = steps
					} else {
						r.task.Editors = steps
					}
					x := r.start()
					for i := range 100 {
						r.source.Inject(0, event("k", i), event("l", i))
						time.Sleep(time.Second)
						if i%7 == 6 {
							x.kill()
							x = r.start()
						}
					}
					r.drained(x)
					x.finish()
					if events, _ := r.sum(); events != 200 {
						t.Errorf("aggregates of %d events, want 200", events)
					}
				})
			})
		}
	}
}

// What an editor holds now and then does not keep what it has released.
func TestCommitBehindAHolder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		r.task.Editors = []engine.Step{{Name: "pairs", New: func() (hubferry.Editor, error) { return &pairs{}, nil }}}
		x := r.start()
		for i := range 100 {
			r.source.Inject(0, event("k", i))
			time.Sleep(500 * time.Millisecond)
			if n := len(r.target.Dump(0)); n < i {
				t.Fatalf("event %d is read, and only %d are there", i, n)
			}
			if i%7 == 6 {
				x.kill()
				x = r.start()
				time.Sleep(100 * time.Millisecond)
			}
		}
		r.drained(x)
		x.finish()
		r.exact(100)
	})
}

// pairs holds every event until the next one is there, and lets it go ahead of that, or
// after a while.
type pairs struct {
	event hubferry.Event
	held  []hubferry.Ticket
	since time.Time
}

func (p *pairs) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		if p.held != nil {
			d.Merge(i, p.held, p.event)
		}
		p.event = d.Events[i].Share()
		p.held, p.since = d.Hold(i), time.Now()
	}
	return nil
}

func (p *pairs) Due() time.Time {
	if p.held == nil {
		return time.Time{}
	}
	return p.since.Add(2 * time.Second)
}

func (p *pairs) Flush(_ context.Context, d *hubferry.Draft, _ bool) error {
	if p.held != nil {
		d.Merge(len(d.Events), p.held, p.event)
		p.held = nil
	}
	return nil
}

// INV-2: a dead letter is confirmed before the target's position passes it.
func TestCommitWaitsForDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		dead := r.broker.Create("east", "dead", mem.HubOptions{})
		r.task.OnError = engine.OnErrorDeadLetter
		r.task.DeadLetters = &engine.Route{Target: r.task.Routes[0].Target, Hub: "dead", Address: "east/dead"}
		r.task.Editors = []engine.Step{step("no 50", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
			if number(e) == 50 {
				return nil, errors.New("fifty")
			}
			return nil, nil
		})}
		r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
			if n, _ := e.Property("n"); n == hubferry.Int(20) {
				return &hubferry.Error{Kind: hubferry.Refused, Op: "commit", Err: errors.New("twenty")}
			}
			return nil
		})
		stuck := make(chan struct{})
		dead.Fail(mem.Fault{Op: mem.OpWrite, Block: stuck})
		x := r.start()
		for i := range 100 {
			r.source.Inject(0, event("k", i))
			time.Sleep(time.Second)
		}
		if held := r.target.Committed(r.positionID(0)); held.Position.Sequence != 19 {
			t.Errorf("the target holds %d while dead letter 20 is under way", held.Position.Sequence)
		}
		close(stuck)
		r.drained(x)
		x.finish()
		if v := r.check(); v.lost != 2 || v.duplicates+v.reordered != 0 {
			t.Errorf("got %+v, want 2 dead letters", v)
		}
		if n := len(dead.Dump(0)); n != 2 {
			t.Errorf("%d dead letters, want 2", n)
		}
	})
}

// An event that a transaction cannot hold stops its partition, and arrives when the cause is
// repaired; a driver that does not say which event it is stops it too.
func TestCommitPoisonStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
			if n, _ := e.Property("n"); n == hubferry.Int(20) {
				return &hubferry.Error{Kind: hubferry.TooLarge, Op: "commit", Err: errors.New("over the limit")}
			}
			return nil
		})
		r.produce(100, 10)
		x := r.start()
		time.Sleep(time.Minute)
		stopped := func(part string) {
			t.Helper()
			if s := x.Status()[0].Owned[0]; s.State != hubferry.Failed || !strings.Contains(s.Error, part) {
				t.Errorf("got %+v, want it to have stopped because of %q", s, part)
			}
		}
		stopped("west/in/0@20")
		r.target.Heal()
		r.target.Fail(mem.Fault{Op: mem.OpCommit, Err: &hubferry.Error{Kind: hubferry.Refused, Op: "commit", Err: errors.New("one of them")}})
		if err := x.Resume("copy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		stopped("does not say which event")
		if err := x.Resume("copy"); err != nil {
			t.Fatal(err)
		}
		r.drained(x)
		x.finish()
		r.exact(100)
	})
}

// Two routes of a task to one hub have positions of their own, and so have two tasks.
func TestCommitPositionsAreNotShared(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		second := r.task.Routes[0]
		second.Name = "second"
		r.task.Routes = append(r.task.Routes, second)
		r.produce(300, 10)
		x := r.start()
		x.settled(300)
		x.finish()
		r.task.Name = "other"
		r.store.saved = map[string]hubferry.Checkpoint{}
		x = r.start()
		x.settled(300)
		x.finish()
		for id, n := range r.ids() {
			if n != 300 {
				t.Errorf("%d outputs are named %s, want 300", n, id)
			}
		}
		if n := len(r.ids()); n != 4 {
			t.Errorf("outputs of %d routes, want 4", n)
		}
	})
}

// A target that can show nothing is refused.
func TestEffectivelyOnceIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.target = r.broker.Create("east", "out", mem.HubOptions{NoTail: true})
		r.task.Delivery = engine.EffectivelyOnce
		x := r.start()
		time.Sleep(time.Minute)
		if s := x.Status()[0]; s.State != hubferry.Failed || !strings.Contains(s.Error, "at-least-once") {
			t.Errorf("got %+v, want a failure that names the setting", s)
		}
		x.finish()
	})
}

// A worker that fails can commit nothing more. That it could not save what it had dropped is
// no reason to give the partition up: it begins again.
func TestCommitFailedWorkerBeginsAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newCommitRig(t, 1, 1)
		r.task.SaveEvents, r.task.SaveInterval = 1_000_000, time.Hour
		var ill atomic.Bool
		r.task.Editors = []engine.Step{editorStep("moody", func(_ context.Context, d *hubferry.Draft) error {
			if ill.Load() && number(&d.Events[0]) == 1 {
				return errors.New("the reference data is away")
			}
			for i := range d.Events {
				if number(&d.Events[i]) == 0 {
					d.Drop(i, "zero")
				}
			}
			return nil
		})}
		ill.Store(true)
		x := r.start()
		r.source.Inject(0, event("a", 0))
		time.Sleep(time.Minute)
		r.source.Inject(0, event("a", 1))
		time.Sleep(time.Minute)
		ill.Store(false)
		time.Sleep(time.Hour)
		x.finish()
		if n := r.total(); n != 1 {
			t.Errorf("%d events at the target, want 1: the partition was given up", n)
		}
	})
}
