package checkpoint_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

var errDown = errors.New("down")

// two starts two instances that share 8 partitions, and waits until they do.
func two(t *testing.T, data *mem.Store, change func(*checkpoint.Options)) (a, b *instance) {
	t.Helper()
	hub := newSource(8)
	a = start(t, "a", hub, data.Handle(), change)
	b = start(t, "b", hub, data.Handle(), change)
	time.Sleep(2 * time.Minute)
	if a.count() != 4 || b.count() != 4 {
		t.Fatalf("they hold %d and %d partitions, want 4 and 4", a.count(), b.count())
	}
	return a, b
}

// waitFor returns how long it takes until an instance holds n partitions.
func (i *instance) waitFor(n int, limit time.Duration) time.Duration {
	i.t.Helper()
	for began := time.Now(); ; {
		if i.count() == n {
			return time.Since(began)
		}
		if time.Since(began) > limit {
			i.t.Fatalf("%s holds %d partitions after %s, want %d", i.name, i.count(), limit, n)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// claims returns what an instance holds.
func (i *instance) claims() []*hubferry.Claim {
	i.mu.Lock()
	defer i.mu.Unlock()
	var claims []*hubferry.Claim
	for _, c := range i.held {
		claims = append(claims, c)
	}
	return claims
}

// one waits for the only partition.
func (i *instance) one() *hubferry.Claim {
	i.t.Helper()
	i.waitFor(1, 2*time.Minute)
	return i.claims()[0]
}

func TestKilledIsTakenOverAfterExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t, mem.New(), nil)
		defer b.stop()
		a.cancel()
		a.done.Wait()
		a.store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Err: errDown} })
		took := b.waitFor(8, 5*time.Minute)
		if earliest := checkpoint.DefaultExpiry - checkpoint.DefaultInterval; took < earliest {
			t.Errorf("it was taken over after %s, when it could still be certain: want %s at least", took, earliest)
		}
		if latest := checkpoint.DefaultExpiry + 2*checkpoint.DefaultInterval; took > latest {
			t.Errorf("it was taken over after %s, want %s at most", took, latest)
		}
		_ = a.b.Close(t.Context())
	})
}

func TestStoppedIsTakenOverAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t, mem.New(), nil)
		defer b.stop()
		a.stop()
		if took, latest := b.waitFor(8, 5*time.Minute), 2*checkpoint.DefaultInterval; took > latest {
			t.Errorf("it was taken over after %s, want %s at most", took, latest)
		}
	})
}

// A restart with all instances gone does not wait longer than the expiry either, and
// with a store that has a clock not longer than is left of it.
func TestRestartAfterKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(8)
		a := start(t, "a", hub, data.Handle(), nil)
		a.waitFor(8, time.Minute)
		a.cancel()
		a.done.Wait()
		a.store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Err: errDown} })
		defer a.b.Close(t.Context())
		time.Sleep(45 * time.Second)
		b := start(t, "b", hub, data.Handle(), nil)
		defer b.stop()
		if took := b.waitFor(8, 5*time.Minute); took > 30*time.Second {
			t.Errorf("45 s after the kill it took %s more", took)
		}
	})
}

// An instance whose store does not answer is no longer certain before others take over,
// and knows it although nobody tells.
func TestFrozenLosesBeforeOthersTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t, mem.New(), nil)
		defer a.stop()
		defer b.stop()
		claims := a.claims()
		a.store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Before: 10 * time.Minute, Linger: true} })
		began := time.Now()
		for _, c := range claims {
			<-c.Lost
		}
		lost := time.Since(began)
		if longest := checkpoint.DefaultExpiry - checkpoint.DefaultExpiry/6; lost > longest {
			t.Errorf("it was certain for %s without a renewal, want %s at most", lost, longest)
		}
		if n := b.count(); n != 4 {
			t.Errorf("the other one holds %d partitions already", n)
		}
		b.waitFor(8, time.Minute)
		if err := claims[0].Save(t.Context(), &hubferry.Checkpoint{}); hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("saving after that: %v, want kind %s", err, hubferry.Lost)
		}
		if _, err := claims[0].Open(t.Context(), hubferry.Position{}); hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("reading after that: %v, want kind %s", err, hubferry.Lost)
		}
		a.store.SetFault(nil)
	})
}

// A store that is away for less than a lease costs nothing, and is not flooded.
func TestShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t, mem.New(), nil)
		defer a.stop()
		defer b.stop()
		claims := a.claims()
		var calls atomic.Int64
		a.store.SetFault(func(mem.Call) mem.Fault {
			calls.Add(1)
			return mem.Fault{Err: errDown}
		})
		time.Sleep(35 * time.Second)
		a.store.SetFault(nil)
		if n := calls.Load(); n > 35 {
			t.Errorf("the store was called %d times in 35 s without an answer", n)
		}
		time.Sleep(5 * time.Minute)
		for _, c := range claims {
			select {
			case <-c.Lost:
				t.Errorf("partition %s was lost", c.Place.Partition)
			case <-c.Ending:
				t.Errorf("partition %s was asked back", c.Place.Partition)
			default:
			}
		}
	})
}

// The store's clock may be set by an hour while instances run.
func TestClockIsSet(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": time.Hour, "back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := mem.New()
				a, b := two(t, data, nil)
				defer a.stop()
				defer b.stop()
				data.SetSkew(step)
				time.Sleep(10 * time.Minute)
				for _, i := range []*instance{a, b} {
					if i.count() != 4 {
						t.Errorf("%s holds %d partitions, want 4", i.name, i.count())
					}
					if n := i.grants(); n > 8 {
						t.Errorf("%s was given partitions %d times", i.name, n)
					}
				}
				data.SetSkew(0)
				time.Sleep(time.Minute)
				a.stop()
				b.waitFor(8, time.Minute)
			})
		})
	}
}

// A process that has the name of one that was killed waits for the expiry as others do.
func TestSameNameAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(4)
		a := start(t, "a", hub, data.Handle(), nil)
		first := a.waitFor(4, time.Minute)
		a.cancel()
		a.done.Wait()
		a.store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Err: errDown} })
		defer a.b.Close(t.Context())
		again := start(t, "a", hub, data.Handle(), nil)
		defer again.stop()
		took := again.waitFor(4, 5*time.Minute)
		if took < checkpoint.DefaultExpiry-first-checkpoint.DefaultInterval {
			t.Errorf("it took its namesake's partitions over after %s", took)
		}
	})
}

// The partitions that a hub gains are shared as well.
func TestHubGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(2)
		a := start(t, "a", hub, data.Handle(), nil)
		defer a.stop()
		b := start(t, "b", hub, data.Handle(), nil)
		defer b.stop()
		a.waitFor(1, time.Minute)
		b.waitFor(1, time.Minute)
		hub.grow(7)
		time.Sleep(checkpoint.DefaultRefresh + time.Minute)
		if n := a.count() + b.count(); n != 7 || a.count() < 3 || b.count() < 3 {
			t.Errorf("they hold %d and %d partitions of 7", a.count(), b.count())
		}
	})
}

// The successor begins where the predecessor stopped.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(1)
		a := start(t, "a", hub, data.Handle(), nil)
		c := a.one()
		if c.Checkpoint != nil {
			t.Errorf("a new group has the checkpoint %+v", c.Checkpoint)
		}
		want := hubferry.Checkpoint{
			Position: hubferry.Position{Sequence: 41, Offset: "x"}, Clean: true,
			States: map[string][]byte{"dedupe": {1}}, Marks: map[string]hubferry.Position{"e/h/0": {Sequence: 3}},
		}
		if err := c.Save(t.Context(), &want); err != nil {
			t.Fatal(err)
		}
		if len(want.States) != 1 {
			t.Errorf("saving changed the caller's map: %v", want.States)
		}
		a.stop()
		b := start(t, "b", hub, data.Handle(), nil)
		defer b.stop()
		got := b.one().Checkpoint
		if got == nil || got.Position != want.Position || !got.Clean || got.Marks["e/h/0"].Sequence != 3 || string(got.States["dedupe"]) != "\x01" {
			t.Errorf("the successor begins at %+v", got)
		}
		if by := string(got.States[checkpoint.TaskState]); by != "task" {
			t.Errorf("the checkpoint is of task %q, want %q", by, "task")
		}
	})
}

// A checkpoint that cannot be read comes with its claim, and its partition alone is
// affected.
func TestBadCheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(3)
		bad := group
		bad.Partition = "1"
		data.Break(bad)
		a := start(t, "a", hub, data.Handle(), nil)
		defer a.stop()
		a.waitFor(3, time.Minute)
		for _, c := range a.claims() {
			if failed := c.Checkpoint != nil && c.Checkpoint.Err != nil; failed != (c.Place.Partition == "1") {
				t.Errorf("partition %s has the checkpoint %+v", c.Place.Partition, c.Checkpoint)
			}
		}
	})
}
