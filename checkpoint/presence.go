package checkpoint

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// presenceSuffix makes the name of a group of presence records. No Event Hubs consumer
// group can have a "~" in its name.
const presenceSuffix = "~hubferry"

// PresenceGroup returns the group whose ownership records tell which instances share a
// group. Their partitions are slots: "0", "1" and so on, used again and again.
func PresenceGroup(group hubferry.ID) hubferry.ID {
	group = group.Group()
	group.ConsumerGroup += presenceSuffix
	return group
}

// IsPresence reports whether a group holds presence records, for tools that list groups.
func IsPresence(group hubferry.ID) bool {
	return strings.HasSuffix(group.ConsumerGroup, presenceSuffix)
}

// attend makes sure that we have a presence record: it takes one of the free slots. Who
// starts at the same time as others picks at random, so that not all try the same.
func (r *rounds) attend(ctx context.Context) error {
	b := r.b
	for range 4 {
		b.mu.Lock()
		there := b.slot != nil
		b.mu.Unlock()
		if there {
			return nil
		}
		records, err := r.list(ctx, b.presence)
		if err != nil {
			return err
		}
		want := r.freeSlot(records)
		got, err := b.write(ctx, []hubferry.Ownership{want})
		if len(got) == 1 {
			b.mu.Lock()
			b.written = reading{store: got[0].Modified, at: time.Now()}
			b.slot = &slot{record: got[0]}
			b.mu.Unlock()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil // tried again in the next round
}

// freeSlot picks a slot that nobody uses.
func (r *rounds) freeSlot(records []hubferry.Ownership) hubferry.Ownership {
	b := r.b
	now := time.Now()
	taken, etags := map[string]bool{}, map[string]string{}
	for _, o := range records {
		if o.Owner != "" && o.Owner != b.o.Owner && !r.judge.expired(o, now) {
			taken[o.ID.Partition] = true
		}
		etags[o.ID.Partition] = o.ETag
	}
	var free []string
	for i := 0; len(free) < 2+len(taken)/2; i++ {
		if name := strconv.Itoa(i); !taken[name] {
			free = append(free, name)
		}
	}
	b.mu.Lock()
	name := free[b.rnd.IntN(len(free))]
	b.mu.Unlock()
	id := b.presence
	id.Partition = name
	return hubferry.Ownership{ID: id, Owner: b.o.Owner, ETag: etags[name]}
}
