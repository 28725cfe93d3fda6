package checkpoint_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// owner returns who stands in the record of partition 0.
func owner(t *testing.T, s hubferry.CheckpointStore) hubferry.Ownership {
	t.Helper()
	records, err := s.ListOwnership(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range records {
		if o.ID.Partition == "0" {
			return o
		}
	}
	return hubferry.Ownership{}
}

func partition(name string) hubferry.ID {
	id := group
	id.Partition = name
	return id
}

// put writes the record of partition 0 over what is there, as a thief does.
func put(t *testing.T, s hubferry.CheckpointStore, name string) {
	t.Helper()
	o := owner(t, s)
	o.ID = group
	o.ID.Partition = "0"
	o.Owner = name
	if got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{o}); err != nil || len(got) != 1 {
		t.Fatalf("%q does not get the partition: %v, %v", name, got, err)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New()
		a := start(t, "a", newSource(1), data.Handle(), nil)
		defer a.stop()
		c := a.one()
		at := func(seq int64, epoch int32, incarnation string) *hubferry.Checkpoint {
			return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: seq, Epoch: epoch}, Incarnation: incarnation}
		}
		for _, step := range []struct {
			name string
			c    *hubferry.Checkpoint
			ok   bool
		}{
			{"the first", at(5, 1, "x"), true},
			{"the same", at(5, 1, "x"), true},
			{"on", at(9, 1, "x"), true},
			{"back", at(8, 1, "x"), false},
			{"back in an older leader epoch", at(8, 0, "x"), false},
			{"back in a newer leader epoch", at(7, 2, "x"), true},
			{"back in another incarnation", at(0, 0, "y"), true},
			{"on again", at(1, 0, "y"), true},
		} {
			err := c.Save(t.Context(), step.c)
			if step.ok && err != nil {
				t.Errorf("%s: %v", step.name, err)
			}
			if !step.ok && (err == nil || hubferry.KindOf(err) != hubferry.Fatal) {
				t.Errorf("%s: %v, want an error of kind %s", step.name, err, hubferry.Fatal)
			}
		}
		if closed(c.Lost) {
			t.Error("a refused checkpoint ended the claim")
		}
		if err := c.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !closed(c.Lost) {
			t.Error("the claim is not over after Release")
		}
		if o := owner(t, data); o.Owner != "" {
			t.Errorf("a released partition belongs to %q", o.Owner)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("second Release: %v", err)
		}
		if err := c.Save(t.Context(), at(2, 0, "y")); hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("saving after Release: %v, want kind %s", err, hubferry.Lost)
		}
	})
}

// Saves of one partition do not overtake each other, and Release waits for the one that
// is under way.
func TestSavesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := mem.New()
		store := data.Handle()
		a := start(t, "a", newSource(1), store, nil)
		defer a.stop()
		c := a.one()
		at := func(seq int64) *hubferry.Checkpoint {
			return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: seq}}
		}
		store.SetFault(func(call mem.Call) mem.Fault {
			if call.Op == mem.SaveCheckpoint {
				return mem.Fault{Before: 5 * time.Second}
			}
			return mem.Fault{}
		})
		began := time.Now()
		errs := make(chan error, 3)
		go func() { errs <- c.Save(t.Context(), at(1)) }()
		synctest.Wait()
		go func() { errs <- c.Save(t.Context(), at(2)) }()
		if first, second := <-errs, <-errs; first != nil || second != nil || time.Since(began) != 10*time.Second {
			t.Errorf("two saves of 5 s each: %v, %v after %s", first, second, time.Since(began))
		}
		go func() { errs <- c.Save(t.Context(), at(3)) }()
		synctest.Wait()
		go func() { errs <- c.Release(t.Context()) }()
		synctest.Wait()
		if o := owner(t, data); o.Owner == "" {
			t.Error("the partition was released while it was being saved")
		}
		if first, second := <-errs, <-errs; first != nil || second != nil {
			t.Errorf("save and release: %v, %v", first, second)
		}
		found, err := data.ListCheckpoints(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		for id, c := range found {
			if c.Position.Sequence != 3 {
				t.Errorf("%s is at %d, want 3", id, c.Position.Sequence)
			}
		}
	})
}

// Until is the end of the lease, counted from the start of the last confirmed renewal less
// the margin (G-9), and zero once it is over.
func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, "a", newSource(1), store, nil)
		defer a.stop()
		c := a.one()
		lease, ok := c.Holder.(hubferry.Leased)
		if !ok {
			t.Fatal("the claim does not tell until when it is certain")
		}
		first := lease.Until()
		if left := time.Until(first); left <= 0 || left > checkpoint.DefaultExpiry-checkpoint.DefaultExpiry/6 {
			t.Errorf("a new claim is certain for %s", left)
		}
		time.Sleep(2 * checkpoint.DefaultInterval)
		last := lease.Until()
		if !last.After(first) {
			t.Errorf("a renewal did not extend the lease: %s, then %s", first, last)
		}
		store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Before: time.Hour} })
		time.Sleep(checkpoint.DefaultExpiry)
		if at := lease.Until(); !at.IsZero() {
			t.Errorf("a claim that could not be renewed is certain until %s", at)
		}
		store.SetFault(nil)
	})
}

// A Save that hangs ends with the lease.
func TestSaveEndsWithTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		a := start(t, "a", newSource(1), store, nil)
		defer a.stop()
		c := a.one()
		store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Before: time.Hour} })
		began := time.Now()
		err := c.Save(t.Context(), &hubferry.Checkpoint{})
		if hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("saving: %v, want kind %s", err, hubferry.Lost)
		}
		if took := time.Since(began); took > checkpoint.DefaultExpiry {
			t.Errorf("it took %s", took)
		}
		store.SetFault(nil)
	})
}

// A processor of an Azure SDK writes its name over ours. A fenced store refuses our next
// checkpoint at once; without one we notice with the next renewal.
func TestStolenInTheStore(t *testing.T) {
	for name, wrap := range map[string]func(*mem.Store) hubferry.CheckpointStore{
		"fenced":     func(s *mem.Store) hubferry.CheckpointStore { return s },
		"not fenced": func(s *mem.Store) hubferry.CheckpointStore { return struct{ hubferry.CheckpointStore }{s} },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := mem.New()
				a := start(t, "a", newSource(1), data.Handle(), func(o *checkpoint.Options) {
					o.Shared = true
					o.Store = wrap(data.Handle())
				})
				defer a.stop()
				c := a.one()
				time.Sleep(checkpoint.DefaultInterval / 2)
				put(t, data, "4e0d1f60-sdk")
				err := c.Save(t.Context(), &hubferry.Checkpoint{})
				if name == "fenced" && (hubferry.KindOf(err) != hubferry.Lost || !closed(c.Lost)) {
					t.Errorf("saving right after the theft: %v, lost %t", err, closed(c.Lost))
				}
				time.Sleep(checkpoint.DefaultInterval)
				if !closed(c.Lost) {
					t.Error("the theft was not noticed within an interval")
				}
				if err := c.Save(t.Context(), &hubferry.Checkpoint{}); hubferry.KindOf(err) != hubferry.Lost {
					t.Errorf("saving after that: %v, want kind %s", err, hubferry.Lost)
				}
				if o := owner(t, data); o.Owner != "4e0d1f60-sdk" {
					t.Errorf("the partition belongs to %q: releasing a stolen one must change nothing", o.Owner)
				}
			})
		})
	}
}

// A reader that is pushed out by another epoch ends the claim at once.
func TestStolenAtTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data, hub := mem.New(), newSource(1)
		a := start(t, "a", hub, data.Handle(), nil)
		defer a.stop()
		c := a.one()
		r, err := c.Open(t.Context(), hubferry.Position{Sequence: -1})
		if err != nil {
			t.Fatal(err)
		}
		hub.fail(&hubferry.Error{Kind: hubferry.Transient, Op: "read", Err: errDown})
		if err := r.Read(t.Context(), &hubferry.Batch{}); !errors.Is(err, errDown) || closed(c.Lost) {
			t.Errorf("a reader that fails for another reason: %v, lost %t", err, closed(c.Lost))
		}
		stolen := &hubferry.Error{Kind: hubferry.Lost, Op: "read", Err: errors.New("link stolen")}
		hub.fail(stolen)
		if err := r.Read(t.Context(), &hubferry.Batch{}); !errors.Is(err, stolen) || !closed(c.Lost) {
			t.Errorf("a reader that was pushed out: %v, lost %t", err, closed(c.Lost))
		}
		before := a.grants()
		time.Sleep(10 * time.Minute)
		// The one that pushed us out does not use the store, so we try again, more and
		// more seldom, and lose again only when we read.
		if n := a.grants() - before; n != 1 {
			t.Errorf("the partition was taken again %d times, want once", n)
		}
	})
}

// A group that another task or program uses is refused.
func TestGroupOfOthers(t *testing.T) {
	foreign := hubferry.Checkpoint{Position: hubferry.Position{Sequence: 7}}
	other := foreign
	other.States = map[string][]byte{checkpoint.TaskState: []byte("other")}
	ours := foreign
	ours.States = map[string][]byte{checkpoint.TaskState: []byte("task")}
	id := group
	id.Partition = "0"
	presence := checkpoint.PresenceGroup(group)
	presence.Partition = "0"
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, s *mem.Store)
		shared  bool
		want    string // "" means it starts
	}{
		"held by an SDK":                  {prepare: func(t *testing.T, s *mem.Store) { put(t, s, "4e0d1f60-sdk") }, want: `held by "4e0d1f60-sdk"`},
		"held by an SDK, shared":          {prepare: func(t *testing.T, s *mem.Store) { put(t, s, "4e0d1f60-sdk") }, shared: true},
		"held by another task":            {prepare: func(t *testing.T, s *mem.Store) { put(t, s, checkpoint.OwnerName("tas", "k/a")) }, want: `held by "tas/k%2Fa"`},
		"held by our task":                {prepare: func(t *testing.T, s *mem.Store) { put(t, s, checkpoint.OwnerName("task", "gone")) }},
		"relinquished":                    {prepare: func(t *testing.T, s *mem.Store) { put(t, s, "") }},
		"held long ago":                   {prepare: func(t *testing.T, s *mem.Store) { put(t, s, "old"); time.Sleep(2 * time.Minute) }},
		"checkpointed by an SDK":          {prepare: func(t *testing.T, s *mem.Store) { keep(t, s, id, foreign) }, want: "checkpointed by another program"},
		"checkpointed by an SDK, shared":  {prepare: func(t *testing.T, s *mem.Store) { keep(t, s, id, foreign) }, shared: true},
		"checkpointed by another task":    {prepare: func(t *testing.T, s *mem.Store) { keep(t, s, id, other) }, want: `checkpointed by task "other"`},
		"checkpointed by our task":        {prepare: func(t *testing.T, s *mem.Store) { keep(t, s, id, ours) }},
		"one bad checkpoint":              {prepare: func(_ *testing.T, s *mem.Store) { s.Break(id) }},
		"another task waits for its turn": {prepare: func(t *testing.T, s *mem.Store) { own(t, s, presence, "other/1") }, want: `held by "other/1"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				data := mem.New()
				tc.prepare(t, data)
				b := balancer(t, newSource(1), data.Handle(), func(o *checkpoint.Options) { o.Shared = tc.shared })
				defer b.Close(t.Context())
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				c, err := b.Next(ctx)
				if tc.want == "" {
					if err != nil {
						t.Fatalf("it was refused: %v", err)
					}
					if err := c.Release(t.Context()); err != nil {
						t.Error(err)
					}
					return
				}
				if err == nil || hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "shared: true") {
					t.Errorf("error %v, want one of kind %s with %q and what to do", err, hubferry.Fatal, tc.want)
				}
				if _, again := b.Next(ctx); !errors.Is(again, err) {
					t.Errorf("the second call returned %v, want the same error", again)
				}
				if o := owner(t, data); strings.HasPrefix(o.Owner, "task/") {
					t.Errorf("a refused task owns a partition: %v", o)
				}
			})
		})
	}
}

func keep(t *testing.T, s *mem.Store, id hubferry.ID, c hubferry.Checkpoint) {
	t.Helper()
	if err := s.SaveCheckpoint(t.Context(), id, c); err != nil {
		t.Fatal(err)
	}
}

func own(t *testing.T, s *mem.Store, id hubferry.ID, name string) {
	t.Helper()
	if got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: name}}); err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

func balancer(t *testing.T, s hubferry.Source, store hubferry.CheckpointStore, change func(*checkpoint.Options)) *checkpoint.Balancer {
	t.Helper()
	o := checkpoint.Options{Source: s, Store: store, Group: group, Owner: checkpoint.OwnerName("task", "a")}
	if change != nil {
		change(&o)
	}
	b, err := checkpoint.NewBalancer(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Next says that the store is away, and works when it is back.
func TestNextReportsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		store.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Err: errDown} })
		b := balancer(t, newSource(1), store, nil)
		for range 3 {
			if _, err := b.Next(t.Context()); !errors.Is(err, errDown) {
				t.Fatalf("with the store away: %v, want its error", err)
			}
		}
		store.SetFault(nil)
		var c *hubferry.Claim
		for c == nil {
			var err error
			if c, err = b.Next(t.Context()); err != nil && !errors.Is(err, errDown) {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with nothing to take: %v, want the context's error", err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if !closed(c.Lost) {
			t.Error("a claim outlives the balancer")
		}
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("release after Close: %v", err)
		}
		if o := owner(t, store); o.Owner != "" {
			t.Errorf("the partition belongs to %q", o.Owner)
		}
		if _, err := b.Next(t.Context()); !errors.Is(err, hubferry.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

// Claims that Next did not return are given back by Close, and so is our presence.
func TestCloseGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := mem.New()
		b := balancer(t, newSource(3), store, nil)
		if _, err := b.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		records, err := store.ListOwnership(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, o := range records {
			if o.Owner != "" {
				held++
			}
		}
		if len(records) != 3 || held != 1 {
			t.Errorf("of %d records %d have an owner, want the one of 3 that Next returned", len(records), held)
		}
		present, err := store.ListOwnership(t.Context(), checkpoint.PresenceGroup(group))
		if err != nil || len(present) != 1 || present[0].Owner != "" {
			t.Errorf("the presence records are %v, %v", present, err)
		}
		unused := balancer(t, newSource(1), store, nil)
		if err := unused.Close(t.Context()); err != nil {
			t.Errorf("close before Next: %v", err)
		}
		if _, err := unused.Next(t.Context()); !errors.Is(err, hubferry.ErrClosed) {
			t.Errorf("Next after Close: %v", err)
		}
	})
}

func TestOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(o *checkpoint.Options)
		want   string
	}{
		"defaults":         {func(*checkpoint.Options) {}, ""},
		"long interval":    {func(o *checkpoint.Options) { o.Interval = time.Minute }, ""},
		"three intervals":  {func(o *checkpoint.Options) { o.Interval, o.Expiry = time.Second, 3*time.Second }, ""},
		"no source":        {func(o *checkpoint.Options) { o.Source = nil }, "source"},
		"no store":         {func(o *checkpoint.Options) { o.Store = nil }, "store"},
		"no group":         {func(o *checkpoint.Options) { o.Group.ConsumerGroup = "" }, "consumer group"},
		"a partition":      {func(o *checkpoint.Options) { o.Group.Partition = "0" }, "no partition"},
		"bare owner":       {func(o *checkpoint.Options) { o.Owner = "task" }, "OwnerName"},
		"expiry too short": {func(o *checkpoint.Options) { o.Expiry = 29 * time.Second }, "three times"},
		"margin too long":  {func(o *checkpoint.Options) { o.Margin = 21 * time.Second }, "a third"},
		"negative":         {func(o *checkpoint.Options) { o.Refresh = -1 }, "negative"},
		"negative epoch":   {func(o *checkpoint.Options) { o.Epoch = hubferry.NoEpoch }, "epoch"},
	} {
		o := checkpoint.Options{Source: newSource(1), Store: mem.New(), Group: group, Owner: checkpoint.OwnerName("task", "a")}
		tc.change(&o)
		_, err := checkpoint.NewBalancer(o)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: %v, want an error with %q", name, err, tc.want)
		}
	}
}

func TestOwnerNameKeepsTasksApart(t *testing.T) {
	for _, pair := range [][2]string{{"a", "b/c"}, {"a/b", "c"}, {"a%2Fb", "c"}, {"ü ;", "x"}} {
		name := checkpoint.OwnerName(pair[0], pair[1])
		if strings.Count(name, "/") != 1 {
			t.Errorf("the owner of task %q and instance %q is %q", pair[0], pair[1], name)
		}
	}
}
