package checkpoint_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// A renewal whose answer is lost was stored under an ETag that we do not know. That is no
// reason to lose the partition.
func TestLostAnswerOfRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := two(t, mem.New(), nil)
		defer a.stop()
		defer b.stop()
		for range 5 {
			done := false
			a.store.SetFault(func(c mem.Call) mem.Fault {
				if done || c.Op != mem.ClaimOwnership {
					return mem.Fault{}
				}
				done = true
				return mem.Fault{Err: errDown, Stored: true}
			})
			time.Sleep(17 * time.Second)
		}
		time.Sleep(time.Minute)
		if n := a.grants(); a.count() != 4 || n > 8 {
			t.Errorf("it holds %d partitions and was given some %d times", a.count(), n)
		}
	})
}

// A release that fails is repeated by the balancer, so that others do not wait for the
// expiry.
func TestFailedReleaseIsRepeated(t *testing.T) {
	for name, fault := range map[string]mem.Fault{
		"not stored": {Err: errDown},
		"stored":     {Err: errDown, Stored: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := mem.New()
				store := data.Handle()
				b := balancer(t, newSource(1), store, nil)
				defer b.Close(t.Context())
				c, err := b.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				store.SetFault(func(call mem.Call) mem.Fault {
					if call.Op == mem.ClaimOwnership {
						return fault
					}
					return mem.Fault{}
				})
				if err := c.Release(t.Context()); !errors.Is(err, errDown) {
					t.Errorf("release: %v, want the store's error", err)
				}
				store.SetFault(nil)
				for began := time.Now(); owner(t, data).Owner != ""; time.Sleep(time.Second) {
					if time.Since(began) > 2*checkpoint.DefaultInterval {
						t.Fatalf("it still belongs to %q", owner(t, data).Owner)
					}
				}
			})
		})
	}
}

// While writes hang, a listing shows who has taken the partition.
func TestTheftIsSeenInAListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New()
		store := data.Handle()
		b := balancer(t, newSource(1), store, nil)
		defer b.Close(t.Context())
		c, err := b.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		store.SetFault(func(call mem.Call) mem.Fault {
			if call.Op == mem.ClaimOwnership {
				return mem.Fault{Before: time.Hour}
			}
			return mem.Fault{}
		})
		put(t, data, "sdk")
		began := time.Now()
		<-c.Lost
		if took := time.Since(began); took > 2*checkpoint.DefaultInterval {
			t.Errorf("it was noticed after %s", took)
		}
	})
}

// Without Shared we lose to a thief, but do not steal back.
func TestNoStealingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(4)
		a := start(t, "a", hub, data.Handle(), nil)
		defer a.stop()
		a.waitFor(4, time.Minute)
		all, err := data.ListOwnership(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			all[i].Owner = "sdk"
		}
		for range 12 {
			got, err := data.ClaimOwnership(t.Context(), all)
			if err != nil || len(got) != 4 {
				t.Fatalf("the thief keeps %v, %v", got, err)
			}
			all = got
			time.Sleep(checkpoint.DefaultInterval)
		}
		if n := a.grants(); n != 4 {
			t.Errorf("it was given partitions %d times, want 4", n)
		}
	})
}

// An instance that cannot read checkpoints does not sit on partitions, nor is one kept
// free for it.
func TestUselessMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(4)
		store, lists := data.Handle(), 0
		store.SetFault(func(c mem.Call) mem.Fault {
			if c.Op != mem.ListCheckpoints {
				return mem.Fault{}
			}
			if lists++; lists == 1 {
				return mem.Fault{} // it begins
			}
			return mem.Fault{Err: errDown}
		})
		ghost := start(t, "0-ghost", hub, store, nil)
		defer ghost.stop()
		a := start(t, "a", hub, data.Handle(), nil)
		defer a.stop()
		time.Sleep(5 * time.Minute)
		before := a.grants()
		for range 60 {
			time.Sleep(10 * time.Second)
			if n := a.count(); n != 4 {
				t.Fatalf("the only one who works holds %d of 4 partitions", n)
			}
		}
		if n := a.grants() - before; n > 0 {
			t.Errorf("it was given partitions %d times more", n)
		}
		ghost.store.SetFault(nil)
		time.Sleep(2 * time.Minute)
		if a.count() != 2 || ghost.count() != 2 {
			t.Errorf("when both work they hold %d and %d", a.count(), ghost.count())
		}
	})
}

// A partition that is lost or given back again and again is taken more and more seldom.
func TestRest(t *testing.T) {
	stolen := &hubferry.Error{Kind: hubferry.Lost, Op: "open", Err: errors.New("a reader with a higher epoch is there")}
	for name, use := range map[string]func(t *testing.T, hub *source, c *hubferry.Claim){
		"given back": func(*testing.T, *source, *hubferry.Claim) {},
		"refused by the source": func(t *testing.T, hub *source, c *hubferry.Claim) {
			hub.refuse(stolen)
			if _, err := c.Open(t.Context(), hubferry.Position{}); !errors.Is(err, stolen) || !closed(c.Lost) {
				t.Errorf("open: %v, lost %t", err, closed(c.Lost))
			}
		},
		"stolen while it is read": func(t *testing.T, hub *source, c *hubferry.Claim) {
			r, err := c.Open(t.Context(), hubferry.Position{})
			if err != nil {
				t.Fatal(err)
			}
			hub.fail(stolen)
			if err := r.Read(t.Context(), &hubferry.Batch{}); !errors.Is(err, stolen) || !closed(c.Lost) {
				t.Errorf("read: %v, lost %t", err, closed(c.Lost))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub := newSource(1)
				b := balancer(t, hub, mem.New(), nil)
				defer b.Close(t.Context())
				began, n := time.Now(), 0
				for ; time.Since(began) < 10*time.Minute; n++ {
					c, err := b.Next(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					use(t, hub, c)
					if err := c.Release(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if n < 5 || n > 20 {
					t.Errorf("it was taken %d times in 10 minutes", n)
				}
			})
		})
	}
}

// A release that the store delays until we have the partition again must not take our
// name out of the record for a second time.
func TestLateRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		b := balancer(t, newSource(1), store, nil)
		defer b.Close(t.Context())
		old, err := b.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var late atomic.Bool
		store.SetFault(func(c mem.Call) mem.Fault {
			if c.Op == mem.ClaimOwnership && c.IDs[0].Group() == group && late.CompareAndSwap(false, true) {
				return mem.Fault{Before: 5 * time.Minute}
			}
			return mem.Fault{}
		})
		released := make(chan error, 1)
		go func() { released <- old.Release(t.Context()) }()
		again, err := b.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := <-released; err != nil {
			t.Errorf("release: %v", err)
		}
		if o := owner(t, store); o.Owner != checkpoint.OwnerName("task", "a") || closed(again.Lost) {
			t.Errorf("a late release gave the partition to %q; lost %t", o.Owner, closed(again.Lost))
		}
		time.Sleep(5 * time.Minute)
		if closed(again.Lost) {
			t.Error("the partition was lost by the release of an earlier claim")
		}
	})
}

// A partition that its owner by the shares gives back again and again is tried by others.
func TestOthersTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(1)
		broken := balancer(t, hub, data.Handle(), nil)
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				c, err := broken.Next(t.Context())
				if err != nil {
					return
				}
				if err := c.Release(t.Context()); err != nil {
					t.Error(err)
				}
			}
		}()
		time.Sleep(5 * time.Minute) // it rests for a minute by now
		b := start(t, "b", hub, data.Handle(), nil)
		defer b.stop()
		b.waitFor(1, 3*time.Minute)
		if err := broken.Close(t.Context()); err != nil {
			t.Error(err)
		}
		<-stopped
	})
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Whoever shares with a program whose times do not fit ours is told so, once.
func TestSeldomRenewals(t *testing.T) {
	for every, warned := range map[time.Duration]int{10 * time.Second: 0, 13 * time.Second: 0, 36 * time.Second: 1} {
		synctest.Test(t, func(t *testing.T) {
			data, log := mem.New(), new(lines)
			own(t, data, partition("0"), "sdk")
			a := start(t, "a", newSource(2), data.Handle(), func(o *checkpoint.Options) {
				o.Shared, o.Log = true, slog.New(slog.NewTextHandler(log, nil))
			})
			defer a.stop()
			for began := time.Now(); time.Since(began) < 10*time.Minute; {
				time.Sleep(every)
				put(t, data, "sdk")
			}
			if n := strings.Count(log.String(), "too seldom"); n != warned {
				t.Errorf("with a renewal every %s there are %d warnings, want %d", every, n, warned)
			}
		})
	}
}

// A listing that is older than a release still shows our name. That is no other instance.
func TestListingOlderThanRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(60)
		set := func(o *checkpoint.Options) { o.Strategy = checkpoint.Greedy }
		a := start(t, "a", hub, data.Handle(), set)
		defer a.stop()
		a.waitFor(60, time.Minute)
		a.store.SetFault(func(c mem.Call) mem.Fault {
			if c.Op == mem.ListOwnership {
				return mem.Fault{After: 3 * time.Second} // the answer is late
			}
			return mem.Fault{}
		})
		// Whatever is given back is given back in the middle of some listing.
		a.lag(20 * time.Second)
		b := start(t, "b", hub, data.Handle(), set)
		defer b.stop()
		time.Sleep(5 * time.Minute)
		if a.count() != 30 || b.count() != 30 || b.grants() != 30 || a.grants() != 60 {
			t.Errorf("they hold %d and %d partitions and were given some %d and %d times", a.count(), b.count(), a.grants(), b.grants())
		}
	})
}
