package checkpoint_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// costs counts what a service would charge for, in a store that lists jointly.
type costs struct {
	*mem.Store

	mu               sync.Mutex
	lists, writes    int
	places, surveyed int
}

func (c *costs) add(n *int, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*n += by
}

func (c *costs) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lists, c.writes, c.places, c.surveyed = 0, 0, 0, 0
}

func (c *costs) ListOwnership(ctx context.Context, g hubferry.ID) ([]hubferry.Ownership, error) {
	c.add(&c.lists, 1)
	return c.Store.ListOwnership(ctx, g)
}

func (c *costs) ListJoint(ctx context.Context, g, presence hubferry.ID) ([]hubferry.Ownership, error) {
	c.add(&c.lists, 1)
	records, err := c.Store.ListOwnership(ctx, g)
	if err != nil {
		return nil, err
	}
	present, err := c.Store.ListOwnership(ctx, presence)
	return slices.Concat(records, present), err
}

func (c *costs) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	c.add(&c.writes, len(want))
	return c.Store.ClaimOwnership(ctx, want)
}

// pieces is a source that is asked about each partition on its own.
type pieces struct {
	*source
	c *costs
}

func (p *pieces) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	infos, err := p.source.Partitions(ctx)
	p.c.add(&p.c.surveyed, len(infos))
	return infos, err
}

func (p *pieces) Places(ctx context.Context) ([]*hubferry.Place, error) {
	p.c.add(&p.c.places, 1)
	return hubferry.PlacesOf(ctx, p.source)
}

func (p *pieces) Partition(context.Context, *hubferry.Place) (hubferry.PartitionInfo, error) {
	p.c.add(&p.c.surveyed, 1)
	return hubferry.PartitionInfo{}, nil
}

// An instance at rest lists once and renews each partition once in an interval, which is what the SDKs' processors do,
// and asks the source which partitions there are, not what is in them. An instance that owns nothing is seen all the same.
func TestCostAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &costs{Store: mem.New()}
		hub := &pieces{newSource(4), c}
		set := func(o *checkpoint.Options) { o.Store = c }
		a := start(t, "a", hub, c.Store, set)
		defer a.stop()
		time.Sleep(5 * time.Minute)
		c.reset()
		const intervals = 360
		time.Sleep(intervals * checkpoint.DefaultInterval)
		c.mu.Lock()
		if c.lists > intervals || c.writes > 4*intervals {
			t.Errorf("%d listings and %d renewals of 4 partitions in %d intervals", c.lists, c.writes, intervals)
		}
		if c.surveyed > 0 || c.places == 0 || c.places > 60 {
			t.Errorf("the source was asked %d times for its partitions and %d times about one in an hour", c.places, c.surveyed)
		}
		c.mu.Unlock()

		var rest []*instance
		for _, name := range []string{"b", "c", "d", "e", "f"} {
			rest = append(rest, start(t, name, hub, c.Store, set))
		}
		time.Sleep(30 * time.Minute)
		present, err := c.Store.ListOwnership(t.Context(), checkpoint.PresenceGroup(group))
		if err != nil {
			t.Fatal(err)
		}
		fresh := 0
		for _, o := range present {
			if o.Owner != "" && time.Since(o.Modified) < checkpoint.DefaultExpiry {
				fresh++
			}
		}
		if fresh != 2 {
			t.Errorf("%d of 6 instances for 4 partitions are present without owning one, want 2", fresh)
		}
		for _, i := range rest {
			i.stop()
		}
	})
}
