package engine_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// onceRig is a rig with effectively-once delivery that saves no checkpoint before it must,
// so that whatever was sent is in doubt after a kill.
func onceRig(t *testing.T, sources, targets int) *rig {
	t.Helper()
	r := newRig(t, sources, targets)
	r.task.Delivery, r.task.Fingerprint = engine.EffectivelyOnce, "a"
	r.task.SaveEvents, r.task.SaveInterval = 1_000_000, time.Hour
	return r
}

// written waits, in fake time, until the target holds n events, and a moment more.
func (x *run) written(n int) {
	x.rig.t.Helper()
	for range 10_000 {
		if x.rig.total() >= n {
			synctest.Wait()
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	x.rig.t.Fatalf("the target has %d of %d events: %+v", x.rig.total(), n, x.Status()[0])
}

// idle waits until nothing has happened for a while.
func (x *run) idle() {
	time.Sleep(5 * time.Minute)
	synctest.Wait()
}

func (r *rig) total() int {
	n := 0
	for q := range r.target.Partitions() {
		n += len(r.target.Dump(q))
	}
	return n
}

// outputs counts what is at the target by identity.
func (r *rig) outputs() map[hubferry.Identity]int {
	found := map[hubferry.Identity]int{}
	for q := range r.target.Partitions() {
		for _, e := range r.target.Dump(q) {
			if id, ok := hubferry.IdentityOf(&e); ok {
				found[id]++
			}
		}
	}
	return found
}

// What a killed instance has sent is not sent again; without effectively-once delivery all
// of it is.
func TestOnceAfterAKill(t *testing.T) {
	for _, c := range []struct{ sources, targets, keys int }{{8, 8, 50}, {8, 5, 50}, {8, 8, 0}, {8, 5, 0}, {3, 8, 50}} {
		for _, delivery := range []engine.Delivery{engine.EffectivelyOnce, engine.AtLeastOnce} {
			t.Run(fmt.Sprintf("%s, %d to %d with %d keys", delivery, c.sources, c.targets, c.keys), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := onceRig(t, c.sources, c.targets)
					r.task.Delivery = delivery
					r.produce(2000, c.keys)
					x := r.start()
					x.written(2000)
					x.kill()
					r.target.Send(event("key-1", 1), event("", 2)) // somebody else
					r.produce(500, c.keys)
					x = r.start()
					x.idle()
					found := x.Status()[0].Counts.Found
					x.finish()
					r.produce(500, c.keys)
					x = r.start()
					x.idle()
					if n := x.Status()[0].Counts.Found; n > 0 {
						t.Errorf("after a clean stop the target was searched, and %d events found", n)
					}
					x.finish()
					twice, all := 0, 0
					for _, n := range r.outputs() {
						all++
						twice += n - 1
					}
					if delivery == engine.AtLeastOnce {
						if twice != 2000 || all != 3000 || found != 0 {
							t.Errorf("%d events, %d twice, %d found; want 3000, 2000 and none: then this test proves nothing", all, twice, found)
						}
						return
					}
					if twice != 0 || all != 3000 || found != 2000 {
						t.Errorf("%d events, %d twice, %d found, want 3000, none and 2000", all, twice, found)
					}
				})
			})
		}
	}
}

// When the configuration has changed, what is there is known by its identity: not all
// before the newest event need be there, and it may be in another partition (G-8).
func TestOnceAfterAChangeOfConfiguration(t *testing.T) {
	elsewhere := step("elsewhere", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
		e.Pin(int(e.Pos.Sequence) % 3)
		return []hubferry.Event{e.Share()}, nil
	})
	for name, c := range map[string]struct {
		before, after []engine.Step
		keys          int
		missing       int // superseded: a later event of the key is there
	}{
		"a filter is gone, no keys":    {before: []engine.Step{dropOdd}},
		"a filter is gone, one key":    {before: []engine.Step{dropOdd}, keys: 1, missing: 49},
		"another partition, no keys":   {after: []engine.Step{elsewhere}},
		"another partition, with keys": {after: []engine.Step{elsewhere}, keys: 7},
		"a filter is new":              {after: []engine.Step{dropOdd}, keys: 7},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := onceRig(t, 1, 3)
				r.task.Editors = c.before
				r.produce(100, c.keys)
				x := r.start()
				x.idle()
				there := r.total()
				x.kill()
				r.task.Editors, r.task.Fingerprint = c.after, "b"
				x = r.start()
				x.idle()
				counts := x.Status()[0].Counts
				x.kill() // and the next one still knows that there were two configurations
				x = r.start()
				x.idle()
				x.finish()
				if v := r.check(); v.lost != c.missing || v.duplicates != 0 || v.reordered != 0 {
					t.Errorf("got %+v, want %d lost; %d were there, then %+v", v, c.missing, there, counts)
				}
				if n := counts.Dropped["superseded"]; n != int64(c.missing) {
					t.Errorf("%d events were superseded, want %d", n, c.missing)
				}
			})
		})
	}
}

// What the target no longer holds cannot be found. The newest event that is found speaks
// for all before it; when there is none, what is repeated is counted (G-8).
func TestOnceOnATargetThatForgets(t *testing.T) {
	for name, c := range map[string]struct {
		forget          func(h *mem.Hub)
		total, unproven int
	}{
		"nothing":              {func(*mem.Hub) {}, 100, 0},
		"the older half":       {func(h *mem.Hub) { h.Trim(0, 49) }, 50, 0},
		"everything":           {func(h *mem.Hub) { h.Trim(0, 99) }, 100, 100},
		"all but the last one": {func(h *mem.Hub) { h.Compact(0) }, 1, 0},
		"all but somebody else's last one": {func(h *mem.Hub) {
			h.Inject(0, event("key-0", 1))
			h.Compact(0)
		}, 101, 100},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := onceRig(t, 1, 1)
				r.produce(100, 1)
				x := r.start()
				x.written(100)
				x.kill()
				c.forget(r.target)
				x = r.start()
				x.idle()
				counts := x.Status()[0].Counts
				x.finish()
				if n := r.total(); n != c.total || counts.Unproven != int64(c.unproven) {
					t.Errorf("the target has %d events, %d unproven; want %d and %d", n, counts.Unproven, c.total, c.unproven)
				}
			})
		})
	}
}

// Events of an earlier incarnation of the source are others, whatever their numbers (G-1).
func TestOnceAfterTheSourceWasMadeAnew(t *testing.T) {
	for name, c := range map[string]struct{ wipe, crash bool }{
		"with checkpoints": {}, "without": {wipe: true}, "without, and a crash before the search": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := onceRig(t, 2, 2)
				r.task.OnGap = engine.OnGapContinue
				r.produce(100, 10)
				x := r.start()
				x.written(100)
				x.kill()
				if c.wipe {
					clear(r.store.saved)
				}
				time.Sleep(time.Minute)
				r.source = r.broker.Create("west", "in", mem.HubOptions{Partitions: 2})
				if c.crash {
					x = r.start()
					x.idle()
					x.kill()
				}
				r.produce(50, 10)
				x = r.start()
				x.written(150)
				x.kill()
				x = r.start()
				x.idle()
				x.finish()
				if n := r.total(); n != 150 {
					t.Errorf("the target has %d events, want 100 of the first hub and 50 of the second", n)
				}
			})
		})
	}
}

// Without any checkpoint the target alone tells what was delivered.
func TestOnceWithoutCheckpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 4, 3)
		r.produce(400, 20)
		x := r.start()
		x.written(400)
		x.finish()
		clear(r.store.saved)
		r.produce(100, 20)
		x = r.start()
		x.idle()
		x.finish()
		r.exact(500)
	})
}

// Checkpoints that at-least-once delivery has made say nothing of what was sent, and make
// what was said before invalid.
func TestOnceAfterAtLeastOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 2, 2)
		for i, delivery := range []engine.Delivery{engine.AtLeastOnce, engine.EffectivelyOnce, engine.AtLeastOnce, engine.EffectivelyOnce} {
			r.task.Delivery = delivery
			r.produce(100, 10)
			x := r.start()
			x.written(100 * (i + 1))
			if delivery == engine.AtLeastOnce {
				x.kill()
			} else {
				x.finish()
			}
		}
		r.exact(400)
	})
}

// Each output has an identity of its own: parts of a split, and the copies of two routes to
// one hub (G-3).
func TestOnceIdentities(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 4, 3)
		second := r.task.Routes[0]
		second.Name = "again"
		r.task.Routes = append(r.task.Routes, second)
		r.task.Editors = []engine.Step{triple}
		r.produce(200, 20)
		x := r.start()
		x.written(700) // somewhere in the middle
		x.kill()
		x = r.start()
		x.idle()
		x.kill()
		x = r.start()
		x.idle()
		x.finish()
		found := r.outputs()
		if len(found) != 1200 || r.total() != 1200 {
			t.Errorf("%d outputs and %d events at the target, want 1200", len(found), r.total())
		}
	})
}

// Nothing is sent behind a poison event before its dead letter is confirmed: after a crash
// all before the newest event at the target counts as done.
func TestOnceWaitsForDeadLetters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 1, 1)
		dead := r.broker.Create("east", "dead", mem.HubOptions{})
		r.task.OnError = engine.OnErrorDeadLetter
		r.task.DeadLetters = &engine.Route{Target: mem.NewTarget(r.broker, "east"), Hub: "dead", Address: "east/dead"}
		r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
			if e.Pos.Sequence == 5 {
				return &hubferry.Error{Kind: hubferry.Refused, Op: "write"}
			}
			return nil
		})
		block := make(chan struct{})
		dead.Fail(mem.Fault{Op: mem.OpWrite, Block: block})
		r.produce(10, 1)
		x := r.start()
		x.idle()
		if n := r.total(); n != 5 {
			t.Errorf("%d events are at the target while the dead letter of the sixth is not confirmed, want 5", n)
		}
		x.kill()
		close(block)
		for range 2 {
			x = r.start()
			x.idle()
			x.kill()
		}
		if n, letters := r.total(), len(dead.Dump(0)); n != 9 || letters != 1 {
			t.Errorf("%d events and %d dead letters, want 9 and 1", n, letters)
		}
	})
}

// A search shows in the status, waits for a target that is away, and ends with the task.
func TestOnceSearchShows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 1, 1)
		r.produce(100, 10)
		x := r.start()
		x.written(100)
		x.kill()
		// An epoch reader holds the consumer group: not the loss of the source's partition.
		r.target.Fail(mem.Fault{Op: mem.OpTail, Times: 20, Err: &hubferry.Error{Kind: hubferry.Lost, Op: "read tail", Hint: "set tailConsumerGroup"}})
		block := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpTail, Block: block})
		x = r.start()
		time.Sleep(10 * time.Second)
		s := x.Status()[0]
		if s.State != hubferry.Retrying || !strings.Contains(s.Error, "tailConsumerGroup") {
			t.Errorf("the status is %s, %q", s.State, s.Error)
		}
		time.Sleep(3 * time.Hour)
		s = x.Status()[0]
		if len(s.Owned) != 1 || s.Owned[0].Search == nil {
			t.Fatalf("the search is not in the status: %+v", s)
		}
		if q := s.Owned[0].Search; q.Target != "east/out/0" || q.At != -1 || q.End != 99 || !q.Until.IsZero() {
			t.Errorf("the search is %+v", q)
		}
		began := time.Now()
		x.stop()
		if err := <-x.done; err != nil {
			t.Errorf("stopping in a search that hangs: %v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopping took %s", took)
		}
		close(block)
		x = r.start()
		x.idle()
		x.finish()
		r.exact(100)
	})
}

// What effectively-once delivery cannot work with is refused with the reason.
func TestOnceRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *rig)
		want   string
	}{
		"a target that cannot be read": {func(r *rig) {
			r.broker.Create("east", "out", mem.HubOptions{NoTail: true})
		}, "it neither keeps positions nor can it be read"},
		"an editor that holds events back": {func(r *rig) {
			r.task.Editors = []engine.Step{{Name: "window", New: func() (hubferry.Editor, error) { return &window{}, nil }}}
		}, "holds events back"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := onceRig(t, 1, 1)
				c.change(r)
				r.produce(1, 0)
				x := r.start()
				x.idle()
				if s := x.Status()[0]; s.State != hubferry.Failed || !strings.Contains(s.Error, c.want) {
					t.Errorf("%s, %q; want failed, %q", s.State, s.Error, c.want)
				}
				x.stop()
				<-x.done //nolint:errcheck // it has failed already
			})
		})
	}
	for name, change := range map[string]func(*engine.Task){
		"standard provenance":  func(t *engine.Task) { t.Trail.Mode = hubferry.TrailStandard },
		"an unknown delivery":  func(t *engine.Task) { t.Delivery = "exactly-once" },
		"no provenance at all": func(t *engine.Task) { t.Trail.Mode = hubferry.TrailNone },
	} {
		r := onceRig(t, 1, 1)
		task := r.task
		task.Coordinate = func(context.Context) (hubferry.Coordinator, error) { return newDealer(r), nil }
		change(&task)
		if _, err := engine.New([]engine.Task{task}, engine.Options{}); err == nil || !strings.Contains(err.Error(), "delivery") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
