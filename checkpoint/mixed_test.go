package checkpoint_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// processor balances as the processor of the Azure SDK for Go does (azeventhubs 2.0,
// processor_load_balancer.go): it renews with the ETags of its listing, claims one
// partition per round when balanced and all it is entitled to when greedy, and steals
// from owners that have more than their share.
type processor struct {
	t      *testing.T
	name   string
	hub    *source
	store  *mem.Store
	greedy bool
	rnd    *rand.Rand
	mine   []hubferry.Ownership
	moves  atomic.Int64
}

func (p *processor) run(ctx context.Context) {
	for ctx.Err() == nil {
		p.round(ctx)
		t := time.NewTimer(time.Duration((0.8 + 0.5*p.rnd.Float64()) * float64(10*time.Second)))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	ctx = context.WithoutCancel(ctx)
	for i := range p.mine {
		p.mine[i].Owner = ""
	}
	if _, err := p.store.ClaimOwnership(ctx, p.mine); err != nil {
		p.t.Error(err)
	}
}

func (p *processor) round(ctx context.Context) {
	records, err := p.store.ListOwnership(ctx, group)
	if err != nil {
		return
	}
	known := map[string]hubferry.Ownership{}
	owned := map[string][]hubferry.Ownership{p.name: nil}
	for _, o := range records {
		known[o.ID.Partition] = o
		if o.Owner != "" && time.Since(o.Modified) <= time.Minute {
			owned[o.Owner] = append(owned[o.Owner], o)
		}
	}
	infos, _ := p.hub.Partitions(ctx)
	taken := map[string]bool{}
	for _, os := range owned {
		for _, o := range os {
			taken[o.ID.Partition] = true
		}
	}
	var free []hubferry.Ownership
	for _, info := range infos {
		id := group
		id.Partition = info.Place.Partition
		if !taken[id.Partition] {
			free = append(free, hubferry.Ownership{ID: id, ETag: known[id.Partition].ETag})
		}
	}
	allowed := len(infos) / len(owned)
	if extra := len(infos) % len(owned); len(owned[p.name]) >= allowed && extra > 0 {
		allowed++
	}
	want := owned[p.name]
	had := len(want)
	for len(want) < allowed {
		pool := free
		if len(pool) == 0 {
			for _, name := range slices.Sorted(maps.Keys(owned)) {
				if len(owned[name]) > allowed && name != p.name {
					pool = append(pool, owned[name]...)
				}
			}
		}
		if len(pool) == 0 {
			break
		}
		o := pool[p.rnd.IntN(len(pool))]
		o.Owner = p.name
		want = append(want, o)
		if !p.greedy {
			break
		}
		free = without(free, o.ID)
		for name := range owned {
			owned[name] = without(owned[name], o.ID)
		}
	}
	p.moves.Add(int64(len(want) - had))
	if got, err := p.store.ClaimOwnership(ctx, want); err == nil {
		p.mine = got
	}
}

func without(os []hubferry.Ownership, id hubferry.ID) []hubferry.Ownership {
	return slices.DeleteFunc(slices.Clone(os), func(o hubferry.Ownership) bool { return o.ID == id })
}

// TestMixedFleet lets instances of Hubferry share a group with processors of the SDK,
// which join before and after them, and wants fair shares and then no move at all.
func TestMixedFleet(t *testing.T) {
	for _, greedy := range []bool{false, true} {
		for _, partitions := range []int{1, 8, 10, 32} {
			for seed := range uint64(2) {
				t.Run(fmt.Sprintf("greedy %t, %d partitions, %d", greedy, partitions, seed), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { mixed(t, partitions, greedy, seed) })
				})
			}
		}
	}
}

func mixed(t *testing.T, partitions int, greedy bool, seed uint64) {
	data, hub := mem.New(), newSource(partitions)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{}, 2)
	processors := make([]*processor, 2)
	join := func(i int) {
		processors[i] = &processor{
			t: t, name: fmt.Sprint("sdk-", i), hub: hub, store: data.Handle(), greedy: greedy,
			rnd: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		go func() {
			processors[i].run(ctx)
			done <- struct{}{}
		}()
	}
	set := func(o *checkpoint.Options) {
		o.Shared = true
		if greedy {
			o.Strategy = checkpoint.Greedy
		}
	}
	join(0)
	time.Sleep(time.Minute)
	a := start(t, "a", hub, data.Handle(), set)
	defer a.stop()
	b := start(t, "b", hub, data.Handle(), set)
	defer b.stop()
	time.Sleep(time.Minute)
	join(1)
	time.Sleep(15 * time.Minute)

	moves := func() int {
		return a.grants() + b.grants() + int(processors[0].moves.Load()+processors[1].moves.Load())
	}
	before := moves()
	counts := map[string]int{"a": 0, "b": 0, "sdk-0": 0, "sdk-1": 0}
	records, err := data.ListOwnership(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range records {
		counts[strings.TrimPrefix(o.Owner, "task/")]++
	}
	least, most := partitions, 0
	for _, n := range counts {
		least, most = min(least, n), max(most, n)
	}
	if most-least > 1 || a.count() != counts["a"] || b.count() != counts["b"] {
		t.Errorf("the records say %v; a holds %d and b %d", counts, a.count(), b.count())
	}
	time.Sleep(15 * time.Minute)
	if n := moves() - before; n > 0 {
		t.Errorf("%d moves after all was fair", n)
	}
	cancel()
	<-done
	<-done
	time.Sleep(time.Minute)
	if n := a.count() + b.count(); n != partitions {
		t.Errorf("when the processors have stopped, %d of %d partitions are held", n, partitions)
	}
}
