package checkpoint

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// youngest returns our claims: those first that Next has not returned, then the newest.
// The caller holds b.mu.
func (b *Balancer) youngest() []*claim {
	claims := make([]*claim, 0, len(b.held))
	for _, c := range b.held {
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(x, y *claim) int {
		switch {
		case y.given && !x.given:
			return -1
		case x.given && !y.given:
			return 1
		}
		return cmp.Or(y.taken.Compare(x.taken), comparePartition(y.id.Partition, x.id.Partition))
	})
	return claims
}

// take claims what the plan says.
func (r *rounds) take(ctx context.Context, p plan, etags map[string]string) error {
	b := r.b
	steal := p.steal
	if !b.o.Shared {
		steal = nil
	} else if b.o.Strategy == Balanced {
		steal = steal[:min(1, len(steal))]
	}
	var want []hubferry.Ownership
	for _, partition := range slices.Concat(p.claim, steal) {
		want = append(want, hubferry.Ownership{ID: b.partition(partition), Owner: b.o.Owner, ETag: etags[partition]})
	}
	for _, partition := range r.left {
		if !slices.Contains(p.claim, partition) {
			want = append(want, hubferry.Ownership{ID: b.partition(partition), ETag: etags[partition]})
		}
	}
	if len(want) == 0 {
		return nil
	}
	began := time.Now()
	got, err := b.write(ctx, want)
	ended := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		for _, o := range want {
			b.orphan(o.ID.Partition)
		}
	}
	for _, o := range got {
		delete(b.orphans, o.ID.Partition)
		if o.Owner == "" {
			continue
		}
		b.written = reading{store: o.Modified, at: ended}
		b.held[o.ID.Partition] = b.newClaim(r.places[o.ID.Partition], o, began, ended)
	}
	if err != nil {
		return fmt.Errorf("claim partitions of %s: %w", b.o.Group, err)
	}
	return nil
}

// deliver reads the checkpoints of new claims and hands the claims to Next. It reads
// them after the claims were confirmed: the last owner can save nothing any more.
func (r *rounds) deliver(ctx context.Context) error {
	b := r.b
	b.mu.Lock()
	var fresh []*claim
	for _, c := range b.held {
		if !c.ready && !c.gone && !c.closing {
			fresh = append(fresh, c)
		}
	}
	b.mu.Unlock()
	if len(fresh) == 0 && !r.unread {
		return nil
	}
	slices.SortFunc(fresh, func(x, y *claim) int { return comparePartition(x.id.Partition, y.id.Partition) })
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	checkpoints, err := b.o.Store.ListCheckpoints(ctx, b.o.Group)
	if r.unread = err != nil; r.unread {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range fresh {
		if c.gone || c.closing {
			continue
		}
		if found, ok := checkpoints[c.id]; ok {
			c.checkpoint = &found
			if found.Err == nil {
				c.high = new(found)
			}
		}
		c.ready = true
		b.queue = append(b.queue, c)
	}
	poke(b.wake)
	return nil
}

// check refuses a group that another task or program holds or has checkpointed (G-10).
func (r *rounds) check(ctx context.Context) error {
	b := r.b
	if b.o.Shared {
		r.checked = true
		return nil
	}
	for _, group := range []hubferry.ID{b.o.Group, b.presence} {
		records, err := r.list(ctx, group)
		if err != nil {
			return err
		}
		for _, o := range records {
			if o.Owner != "" && r.foreign(o.Owner) && !r.judge.expired(o, time.Now()) {
				return b.notOurs(fmt.Errorf("partition %s is held by %q", o.ID.Partition, o.Owner))
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	checkpoints, err := b.o.Store.ListCheckpoints(ctx, b.o.Group)
	if err != nil {
		return err
	}
	for id, c := range checkpoints {
		switch by := string(c.States[TaskState]); {
		case c.Err != nil || by == b.task:
		case by == "":
			return b.notOurs(fmt.Errorf("partition %s was checkpointed by another program", id.Partition))
		default:
			return b.notOurs(fmt.Errorf("partition %s was checkpointed by task %q", id.Partition, by))
		}
	}
	r.checked = true
	return nil
}

// notOurs says that the group belongs to somebody else.
func (b *Balancer) notOurs(err error) error {
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: "share consumer group " + b.o.Group.String(), Err: err,
		Hint: "a consumer group belongs to one task: give this task one of its own, or set shared: true if it is to go on from those checkpoints and share the work",
	}
}

// report warns once of each owner that should not be there, or that renews so seldom that
// a late renewal gives its partitions to us. The caller holds b.mu.
func (r *rounds) report(owner, partition string) {
	if r.warned[owner] || !r.foreign(owner) {
		return
	}
	if r.b.o.Shared {
		// Between two listings a renewal may have gone unseen.
		if gap := r.judge.gaps[owner]; gap > r.b.o.Expiry/3+r.b.o.Interval {
			r.warned[owner] = true
			r.b.note(slog.LevelWarn, "another program renews its partitions too seldom for our expiry, which should be three times as long: a late renewal gives them to us",
				"group", r.b.o.Group.String(), "owner", owner, "seen", gap, "expiry", r.b.o.Expiry)
		}
		return
	}
	r.warned[owner] = true
	r.b.note(slog.LevelError, "another task or program reads with the consumer group of this task",
		"group", r.b.o.Group.String(), "partition", partition, "owner", owner)
}

// foreign reports an owner that is no instance of our task.
func (r *rounds) foreign(owner string) bool {
	return taskOf(strings.TrimSuffix(owner, "\x00")) != taskOf(r.b.o.Owner)
}
