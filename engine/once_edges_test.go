package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// A checkpoint is clean only if nothing behind it was ever sent, also by those before: who
// stops in good order before he has read as far as they did has nothing in flight, and does
// not know what they had.
func TestOnceStopsBeforeItHasCaughtUp(t *testing.T) {
	for name, wipe := range map[string]bool{"with checkpoints": false, "without": true} {
		t.Run("after a kill, "+name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := onceRig(t, 1, 2)
				r.produce(100, 10)
				x := r.start()
				x.written(100)
				x.kill()
				if wipe {
					clear(r.store.saved)
				}
				block := make(chan struct{})
				r.source.Fail(mem.Fault{Op: mem.OpRead, Times: -1, Block: block})
				x = r.start()
				time.Sleep(time.Minute)
				x.finish()
				close(block)
				r.source.Heal()
				x = r.start()
				x.idle()
				x.finish()
				r.exact(100)
			})
		})
	}
	t.Run("after a failure", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := onceRig(t, 1, 2)
			var ill atomic.Bool
			r.task.Editors = []engine.Step{editorStep("moody", func(context.Context, *hubferry.Draft) error {
				if ill.Load() {
					return errors.New("the reference data is away")
				}
				return nil
			})}
			// One target partition takes nothing, so the checkpoint stays where it is.
			block := make(chan struct{})
			r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: 1, Times: -1, Block: block})
			r.produce(100, 10)
			x := r.start()
			time.Sleep(time.Minute)
			if n := r.total(); n == 0 || n == 100 {
				t.Fatalf("%d events are at the target, want some", n)
			}
			ill.Store(true)
			r.source.Fail(mem.Fault{Op: mem.OpRead, Times: -1, Block: block})
			r.produce(1, 1)
			time.Sleep(time.Minute)
			x.finish()
			ill.Store(false)
			close(block)
			r.source.Heal()
			r.target.Heal()
			x = r.start()
			x.idle()
			x.finish()
			r.exact(101)
		})
	})
}

// Dead letters have no order: one of a key does not stand for an earlier one that is not
// there yet.
func TestOnceDeadLettersOfOneKey(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 1, 1)
		dead := r.broker.Create("east", "dead", mem.HubOptions{})
		r.task.OnError = engine.OnErrorDeadLetter
		r.task.DeadLetters = &engine.Route{Target: mem.NewTarget(r.broker, "east"), Hub: "dead", Address: "east/dead"}
		// The editor refuses the last event at once, the target an earlier one later.
		r.task.Editors = []engine.Step{step("refuse", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
			if number(e) == 9 {
				return nil, errors.New("no")
			}
			return nil, nil
		})}
		block := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Times: -1, Block: block})
		r.produce(10, 1)
		x := r.start()
		x.idle()
		if n := len(dead.Dump(0)); n != 1 {
			t.Fatalf("%d dead letters, want that of the last event", n)
		}
		x.kill()
		close(block)
		r.target.Heal()
		r.target.Refuse(func(e *hubferry.Event) *hubferry.Error {
			if e.Pos.Sequence == 5 {
				return &hubferry.Error{Kind: hubferry.Refused, Op: "write"}
			}
			return nil
		})
		x = r.start()
		x.idle()
		x.finish()
		if n, letters := r.total(), len(dead.Dump(0)); n != 8 || letters != 2 {
			t.Errorf("%d events and %d dead letters, want 8 and 2: %+v", n, letters, x.Status()[0].Counts)
		}
	})
}

// A task whose budget is used up by what waits for a search stops soon all the same.
func TestOnceStopsInASearchWithoutBudget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 2, 2)
		r.produce(1000, 10)
		x := r.start()
		x.written(1000)
		x.kill()
		block := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpTail, Partition: mem.AllPartitions, Times: -1, Block: block})
		r.task.Budget = 40 << 10
		x = r.start()
		time.Sleep(time.Hour)
		began := time.Now()
		x.finish()
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("stopping took %s", took)
		}
		close(block)
		r.target.Heal()
		x = r.start()
		x.idle()
		x.finish()
		r.exact(1000)
	})
}

// A partition that begins again and again keeps nothing of its earlier workers (INV-6).
func TestOnceForgetsEarlierWorkers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 1, 1)
		r.task.Retry = engine.Retry{Min: time.Second, Max: time.Second}
		var made, freed atomic.Int64
		r.task.Editors = []engine.Step{{Name: "moody", New: func() (hubferry.Editor, error) {
			made.Add(1)
			e := &failing{}
			runtime.AddCleanup(e, func(*atomic.Int64) { freed.Add(1) }, nil)
			return e, nil
		}}}
		block := make(chan struct{})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Times: -1, Block: block})
		r.produce(5000, 10)
		x := r.start()
		for made.Load() < 50 {
			time.Sleep(time.Second)
		}
		for range 100 {
			if made.Load()-freed.Load() < 10 {
				break
			}
			runtime.GC()
			time.Sleep(time.Second)
		}
		if n := made.Load() - freed.Load(); n >= 10 {
			t.Errorf("of %d workers %d are still in memory", made.Load(), n)
		}
		close(block)
		x.kill()
	})
}

// failing is an editor that fails when a worker comes to its third batch.
type failing struct{ edits int }

func (f *failing) Edit(context.Context, *hubferry.Draft) error {
	if f.edits++; f.edits > 2 {
		return errors.New("the reference data is away")
	}
	return nil
}

// Lanes go at their own pace. What tells events of an earlier incarnation from those that are
// looked for must not depend on which of them comes to its event first.
func TestOnceLooksForAllThatFollowWhicheverLaneIsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := onceRig(t, 2, 3)
		keyed := func(partition int) hubferry.Event {
			for i := 0; ; i++ {
				if key := fmt.Sprint("key-", i); keyhash.EventHubs(key, 3) == partition {
					return event(key, i)
				}
			}
		}
		x := r.start()
		r.source.Inject(0, keyed(0))
		time.Sleep(time.Minute)
		r.source.Inject(0, keyed(1))
		x.written(2)
		x.kill() // before any checkpoint: of most target partitions there is no watermark

		// With another configuration it looks for identities, in all of them. The other source
		// partition keeps the lane of the older event busy.
		r.task.Fingerprint = "b"
		reads, writes := make(chan struct{}), make(chan struct{})
		r.source.Fail(mem.Fault{Op: mem.OpRead, Partition: 0, Block: reads})
		r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: 0, Block: writes})
		r.source.Inject(1, keyed(0))
		x = r.start()
		time.Sleep(time.Minute)
		close(reads)
		time.Sleep(time.Minute)
		close(writes)
		x.idle()
		x.finish()
		r.exact(3)
	})
}
