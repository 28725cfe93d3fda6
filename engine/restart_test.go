package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// editorFunc is an editor that is a function.
type editorFunc func(ctx context.Context, d *hubferry.Draft) error

func (f editorFunc) Edit(ctx context.Context, d *hubferry.Draft) error { return f(ctx, d) }

func editorStep(name string, f editorFunc) engine.Step {
	return engine.Step{Name: name, New: func() (hubferry.Editor, error) { return f, nil }}
}

// An editor that fails while the next batch waits for the loop must not hold its partition.
func TestEditorFailsWhileMoreIsRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 3)
		var edits atomic.Int64
		r.task.Editors = []engine.Step{editorStep("moody", func(_ context.Context, d *hubferry.Draft) error {
			time.Sleep(time.Millisecond) // so that the next batch is there
			if edits.Add(1) <= 3 {
				return errors.New("the reference data is away")
			}
			return nil
		})}
		r.task.Window = 100_000
		r.produce(9000, 20)
		x := r.start()
		x.settled(9000)
		x.finish()
		if v := r.check(); v.lost+v.reordered+v.altered != 0 || v.events != 9000 {
			t.Errorf("got %+v", v)
		}
	})
}

// What an editor says because its context has ended is not why the worker failed.
func TestPoisonStopsAlsoWhileAnEditorIsBusy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Editors = []engine.Step{editorStep("slow", func(ctx context.Context, d *hubferry.Draft) error {
			if number(&d.Events[0]) == 0 {
				return nil
			}
			<-ctx.Done()
			return ctx.Err()
		})}
		r.target.Fail(mem.Fault{
			Op: mem.OpWrite, Partition: mem.AllPartitions, Times: -1, Delay: time.Second,
			Err: &hubferry.Error{Kind: hubferry.Refused, Op: "send", Err: errors.New("not allowed")},
		})
		r.produce(3000, 5)
		x := r.start()
		time.Sleep(time.Minute)
		if p := x.Status()[0].Owned[0]; p.State != hubferry.Failed || !strings.Contains(p.Error, "not allowed") {
			t.Errorf("partition %+v, want it to have stopped at the poison", p)
		}
		x.finish()
	})
}

// INV-3: the start position is stored before the first read, also when the store was away.
func TestStartIsStoredWhenTheFirstAttemptFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.produce(10, 0)
		r.task.Start = hubferry.Start{Kind: hubferry.StartLatest}
		r.store.fail = errors.New("the store is away")
		x := r.start()
		time.Sleep(time.Nanosecond)
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		time.Sleep(time.Minute)
		if r.store.count() == 0 {
			t.Error("the task reads, and its start is not stored")
		}
		x.kill()
		r.produce(6, 0) // while nobody reads
		x = r.start()
		x.settled(6)
		x.finish()
		if v := r.check(); v.lost != 10 {
			t.Errorf("got %+v, want just the 10 events before the first start missing", v)
		}
	})
}

// Retry.Attempts is a promise to give up.
func TestAttemptsAreGivenUp(t *testing.T) {
	away := errors.New("connection reset")
	for name, fail := range map[string]func(*rig){
		"writes": func(r *rig) {
			r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: mem.AllPartitions, Times: -1, Err: away})
		},
		"reads": func(r *rig) {
			r.source.Fail(mem.Fault{Op: mem.OpRead, Partition: mem.AllPartitions, Times: -1, Err: away})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 1, 1)
				r.task.Retry = engine.Retry{Attempts: 8}
				fail(r)
				r.produce(10, 1)
				x := r.start()
				time.Sleep(24 * time.Hour)
				p := x.Status()[0].Owned[0]
				if p.State != hubferry.Failed || !strings.Contains(p.Error, "gave up after 8 attempts") || !strings.Contains(p.Error, "reset") {
					t.Errorf("partition %+v, want it to have given up", p)
				}
				if n := x.Status()[0].Counts.Retries; n != 8 {
					t.Errorf("%d retries, want 8", n)
				}
				r.target.Heal()
				r.source.Heal()
				if err := x.Resume("copy"); err != nil {
					t.Fatal(err)
				}
				x.settled(10)
				if s := x.Status()[0]; s.State != hubferry.Running || s.Error != "" {
					t.Errorf("after the repair: %+v", s)
				}
				x.finish()
				r.exact(10)
			})
		})
	}
}

// Every claim is released in the end, a lost one too, and one that came with the stop.
func TestEveryClaimIsReleased(t *testing.T) {
	released := func(x *run) int {
		x.deal.mu.Lock()
		defer x.deal.mu.Unlock()
		return len(x.deal.released)
	}
	t.Run("lost", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 3, 3)
			x := r.start()
			time.Sleep(time.Second)
			x.deal.lose()
			time.Sleep(time.Second)
			if n := released(x); n != 3 {
				t.Errorf("%d claims were released, want 3", n)
			}
			x.finish()
		})
	})
	t.Run("lost while it waits for a retry", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 3, 3)
			r.task.Editors = []engine.Step{{Name: "away", New: func() (hubferry.Editor, error) {
				return editorFunc(func(context.Context, *hubferry.Draft) error { return errors.New("away") }), nil
			}}}
			r.produce(100, 30)
			x := r.start()
			time.Sleep(20 * time.Minute)
			x.deal.lose()
			time.Sleep(time.Second)
			if n := released(x); n != 3 {
				t.Errorf("%d claims were released, want 3", n)
			}
			x.finish()
		})
	})
	t.Run("target fenced", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 1, 1)
			r.target.Fail(mem.Fault{Op: mem.OpWrite, Times: -1, Err: &hubferry.Error{Kind: hubferry.Lost, Op: "send"}})
			r.produce(10, 1)
			x := r.start()
			time.Sleep(time.Minute)
			if n := released(x); n != 1 {
				t.Errorf("%d claims were released, want 1: nobody moves the partition any more", n)
			}
			x.finish()
		})
	})
	t.Run("stop", func(t *testing.T) {
		for range 20 {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 50, 1)
				x := r.start()
				x.finish()
				if dealt, n := 50-len(x.deal.claims), released(x); dealt != n {
					t.Errorf("%d claims were dealt out and %d released", dealt, n)
				}
			})
		}
	})
}

// G-6: a worker that starts again knows what the last one did not save.
func TestRestartsStayWithinTheWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Window = 100
		var fail atomic.Bool
		r.task.Editors = []engine.Step{editorStep("moody", func(context.Context, *hubferry.Draft) error {
			if fail.CompareAndSwap(true, false) {
				return errors.New("the reference data is away")
			}
			return nil
		})}
		x := r.start()
		time.Sleep(time.Second)
		r.store.mu.Lock()
		r.store.fail = errors.New("the store is away")
		r.store.mu.Unlock()
		for range 20 {
			r.produce(30, 3)
			time.Sleep(10 * time.Minute)
			fail.Store(true)
		}
		if n := len(r.target.Dump(0)); n > 100 {
			t.Errorf("%d events were moved without a checkpoint, want at most one window of 100", n)
		}
		r.store.mu.Lock()
		r.store.fail = nil
		r.store.mu.Unlock()
		x.settled(600)
		x.finish()
		if c := r.store.saved["0"]; c.Position.Sequence != 599 {
			t.Errorf("checkpoint %+v", c)
		}
	})
}

// A lane that nobody wants to write any more is not what the task waits for.
func TestStatusForgetsALaneWithoutWork(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Times: -1, Err: errors.New("connection reset")})
		r.produce(10, 1)
		x := r.start()
		time.Sleep(time.Minute)
		if s := x.Status()[0]; s.State != hubferry.Retrying || !strings.Contains(s.Error, "reset") {
			t.Errorf("while the target is away: %+v", s)
		}
		close(x.deal.ending["0"])
		x.deal.lose()
		time.Sleep(time.Minute)
		if s := x.Status()[0]; s.State != hubferry.Running || s.Error != "" {
			t.Errorf("after the partition went elsewhere: %+v", s)
		}
		x.finish()
	})
}

// A service that refuses every position is not asked without a pause.
func TestGapsWithoutEndArePaced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.OnGap = engine.OnGapContinue
		r.source.Fail(mem.Fault{
			Op: mem.OpOpenReader, Partition: mem.AllPartitions, Times: -1, Delay: time.Millisecond,
			Err: &hubferry.Error{Kind: hubferry.Gap, Op: "open", From: 0, To: -1},
		})
		r.produce(10, 1)
		x := r.start()
		time.Sleep(time.Hour)
		if n := r.source.Count(mem.OpOpenReader); n > 60 {
			t.Errorf("a reader was opened %d times in an hour", n)
		}
		r.source.Heal()
		x.settled(10)
		x.finish()
		r.exact(10)
	})
}
