package checkpointtest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// RunLeases runs LeaseCases side by side. They take some ten seconds of real time.
func RunLeases(t *testing.T, harness func(t testing.TB) Harness) {
	for _, c := range LeaseCases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Check(t, harness(t))
		})
	}
}

// LeaseCases are about a store under the balancer: owners that died, and a store that is
// away for longer than a lease.
func LeaseCases() []Case {
	return []Case{
		{"DeadOwner", checkDeadOwner},
		{"Away", checkAway},
	}
}

// The times of the cases. Stores may count in seconds, so they cannot be short.
const (
	leaseInterval = time.Second
	leaseExpiry   = 6 * time.Second
	leaseMargin   = time.Second
	leaseWait     = 2 * time.Minute // for machines that are busy
)

// members are the partitions of a hub without events.
type members []*hubferry.Place

func newMembers(n int) members {
	m := make(members, n)
	for i := range m {
		m[i] = hubferry.NewPlace(Group.Namespace, Group.Hub, strconv.Itoa(i), "", i)
	}
	return m
}

// Partitions implements hubferry.Source.
func (m members) Partitions(context.Context) ([]hubferry.PartitionInfo, error) {
	infos := make([]hubferry.PartitionInfo, len(m))
	for i, p := range m {
		infos[i].Place = p
	}
	return infos, nil
}

// Resolve implements hubferry.Source.
func (members) Resolve(context.Context, *hubferry.Place, hubferry.Start) (hubferry.Position, error) {
	return hubferry.Position{Sequence: -1}, nil
}

// Open implements hubferry.Source: nobody reads here.
func (members) Open(context.Context, *hubferry.Place, hubferry.Position, int64) (hubferry.Reader, error) {
	return nil, hubferry.ErrClosed
}

// Close implements hubferry.Source.
func (members) Close(context.Context) error { return nil }

// balance starts an instance of the task that the cases are about.
func balance(t testing.TB, s hubferry.CheckpointStore, instance string, m members) *checkpoint.Balancer {
	t.Helper()
	b, err := checkpoint.NewBalancer(checkpoint.Options{
		Source: m, Store: s, Group: Group, Owner: checkpoint.OwnerName("task", instance),
		Strategy: checkpoint.Greedy, Interval: leaseInterval, Expiry: leaseExpiry, Margin: leaseMargin,
	})
	if err != nil {
		t.Fatalf("balancer: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), leaseWait)
		defer cancel()
		_ = b.Close(ctx) // its store may be away
	})
	return b
}

// take waits for claims on all partitions, and tells of each as it comes.
func take(t testing.TB, b *checkpoint.Balancer, m members, each func(c *hubferry.Claim)) map[string]*hubferry.Claim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), leaseWait)
	defer cancel()
	got := map[string]*hubferry.Claim{}
	for len(got) < len(m) {
		c, err := b.Next(ctx)
		if ctx.Err() != nil {
			t.Fatalf("only %d of %d partitions were handed out: %v", len(got), len(m), err)
		}
		if err != nil {
			continue // it goes on trying
		}
		got[c.Place.Partition] = c
		if each != nil {
			each(c)
		}
	}
	return got
}

// What a dead owner left is taken when his last lease is certainly over, and not before,
// by an instance that has just started and by the store's clock.
func checkDeadOwner(t testing.TB, h Harness) {
	s, m := open(t, h), newMembers(2)
	began := time.Now()
	for _, p := range m {
		won(t, s, hubferry.Ownership{ID: at(p.Partition), Owner: checkpoint.OwnerName("task", "dead")})
	}
	save(t, s, at("0"), checkpoint.MadeFor(sequence(7), "task"))
	got := take(t, balance(t, s, "heir", m), m, func(c *hubferry.Claim) {
		if after := time.Since(began); after < leaseExpiry-leaseMargin {
			t.Errorf("partition %s was taken %s after its owner wrote, whose lease was certain for %s", c.Place.Partition, after, leaseExpiry-leaseMargin)
		}
	})
	if c := got["0"].Checkpoint; c == nil || c.Position.Sequence != 7 {
		t.Errorf("the heir begins at %+v, want 7", c)
	}
	for _, c := range got {
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("release: %v", err)
		}
	}
}

// While the store is away, its owner's claims stay good as long as they are certain, and
// are over before anybody else has them (INV-9). When it is back, work goes on.
func checkAway(t testing.TB, h Harness) {
	if h.Away == nil {
		t.Skip("the harness cannot take the store away")
	}
	near, far := open(t, h), open(t, h)
	m := newMembers(3)
	first := balance(t, far, "first", m)
	held := take(t, first, m, nil)
	if err := held["0"].Save(t.Context(), new(sequence(5))); err != nil {
		t.Fatalf("save: %v", err)
	}
	h.Away(t, far, true)
	if closed(held["0"].Lost) {
		t.Error("the claim was over at once when the store went away")
	}
	second := balance(t, near, "second", m)
	others := take(t, second, m, func(c *hubferry.Claim) {
		if !closed(held[c.Place.Partition].Lost) {
			t.Errorf("partition %s has a second owner while the first one is certain of it", c.Place.Partition)
		}
	})
	if c := others["0"].Checkpoint; c == nil || c.Position.Sequence != 5 {
		t.Errorf("the second owner begins at %+v, want 5", c)
	}
	if err := others["0"].Save(t.Context(), new(sequence(6))); err != nil {
		t.Errorf("the second owner saves: %v", err)
	}
	h.Away(t, far, false)
	if err := held["0"].Save(t.Context(), new(sequence(9))); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("the first owner saved: %v, want an error of kind %s", err, hubferry.Lost)
	}
	for _, c := range held {
		_ = c.Release(t.Context()) // the record is another's
	}
	for _, c := range others {
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("release: %v", err)
		}
	}
	if err := second.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	for _, c := range take(t, first, m, nil) {
		if at := c.Checkpoint; c.Place.Partition == "0" && (at == nil || at.Position.Sequence != 6) {
			t.Errorf("the first owner goes on at %+v, want 6", at)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Errorf("release: %v", err)
		}
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
