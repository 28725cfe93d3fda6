package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/hubferry/hubferry"
)

// committer takes the outputs of one source partition to one target that stores them and
// the position in one transaction (G-12). It is to such a target what lanes are to others.
//
// What is there is gathered while the transaction before it is under way, and committed as
// soon as that is done. A transaction holds whole inputs: its position is one up to which
// every input is settled, or waits for nothing but committers (tracker.go), and it holds all
// outputs of them that this target does not have yet. So a position that a target holds is as
// good as a checkpoint.
type committer struct {
	worker *worker
	route  *route
	id     hubferry.ID
	has    int64 // the target has the outputs of inputs up to here, from before this worker

	ready chan struct{} // signals that something may be committed; capacity 1

	mu    sync.Mutex
	queue []parcel // in the order in which they came

	// turn is the right to commit. Who has it uses what follows.
	turn    chan struct{}        // capacity 1
	at      int64                // the target holds what comes of the inputs up to here
	stored  *hubferry.Checkpoint // the position that the target holds
	pending *hubferry.Checkpoint // what it may hold instead: the answer to a commit is missing
}

// parcel is an output that waits for a transaction.
type parcel struct {
	item
	partition int
	lo, hi    int64 // the sequence numbers of the first and the last input that it settles
}

// How much one transaction holds, in inputs and their bytes, beyond the first batch. Larger
// ones gain nothing, and are repeated as a whole when they fail.
const (
	maxCommitInputs = 8192
	maxCommitBytes  = 8 << 20
)

// commitID names the position of a source partition at a target: by place, task and route.
// Two tasks, or two routes of one, that write the same hub must not take the other's
// position for their own. The consumer group is no part of it: the position is the target's,
// whoever reads.
func commitID(task, route string, p *hubferry.Place) hubferry.ID {
	name := strings.NewReplacer("%", "%25", "/", "%2F")
	return hubferry.ID{
		Namespace: p.Namespace, Hub: p.Hub, Partition: p.Partition,
		ConsumerGroup: name.Replace(task) + "/" + name.Replace(route),
	}
}

// newCommitter returns the committer of a route whose target holds a checkpoint, or nil for
// none. Has is false if it is not one of what the worker will read.
func newCommitter(w *worker, r *route, held *hubferry.Checkpoint, has bool) *committer {
	c := &committer{
		worker: w, route: r, id: commitID(w.Name, r.Name, w.place), has: math.MinInt64, stored: held,
		ready: make(chan struct{}, 1), turn: make(chan struct{}, 1),
	}
	if held != nil && has {
		c.has = held.Position.Sequence
	}
	c.at = c.has
	return c
}

// found settles an output that the target has, and reports whether it does.
func (c *committer) found(o *output) bool {
	if _, hi := o.span(); hi > c.has {
		return false
	}
	c.worker.count(func(n *hubferry.Counts) { n.Found++ })
	o.settle()
	return true
}

// put queues outputs.
func (c *committer) put(partition int, items []item) {
	c.mu.Lock()
	c.queue = slices.Grow(c.queue, len(items))
	for _, i := range items {
		lo, hi := i.span()
		c.queue = append(c.queue, parcel{i, partition, lo, hi})
	}
	c.mu.Unlock()
	for _, i := range items {
		i.add(park) // from now on the position may pass it, so it must be in the queue already
	}
}

// run commits what there is until ctx ends or a commit cannot succeed.
func (c *committer) run(ctx context.Context) {
	defer c.worker.idle(c)
	for {
		select {
		case <-c.ready:
		case <-ctx.Done():
			return
		}
		for more := true; more; {
			if c.acquire(ctx) != nil {
				return
			}
			var err error
			more, err = c.next(ctx)
			c.yield()
			if err != nil {
				c.worker.fail(err)
				return
			}
		}
	}
}

// acquire waits for the turn to commit.
func (c *committer) acquire(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *committer) yield() { <-c.turn }

// next commits the next transaction, and reports whether there was something to commit.
func (c *committer) next(ctx context.Context) (bool, error) {
	parcels, m := c.take()
	if len(parcels) == 0 {
		return false, nil // progress without outputs is committed when it is saved
	}
	next, runs := c.worker.checkpoint(m, false), runsOf(parcels)
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx, runs, next)
		if err == nil {
			c.done(parcels, m)
			c.worker.healthy(c)
			return true, nil
		}
		if ctx.Err() != nil {
			return false, nil //nolint:nilerr // the worker is over and knows why
		}
		err = fmt.Errorf("commit to %s: %w", c.address(), err)
		switch kind := hubferry.KindOf(err); {
		case kind.Poison():
			return true, c.poison(parcels, err)
		case kind == hubferry.Fatal || kind == hubferry.Lost:
			return false, err
		}
		d, again := c.worker.Retry.delay(attempt, err)
		if !again {
			return false, gaveUp(attempt-1, err)
		}
		c.worker.unhealthy(ctx, c, err, d)
		_ = sleep(ctx, d) // the next attempt sees why
	}
}

// take returns what the next transaction holds, and its position.
func (c *committer) take() ([]parcel, mark) {
	limit := int64(math.MaxInt64)
	for {
		m := c.worker.tracker.ready(c.at, limit)
		k := m.position.Sequence
		if k <= c.at {
			return nil, m
		}
		var parcels []parcel
		if parcels, limit = c.upTo(k); limit == k {
			return parcels, m
		}
	}
}

// upTo returns the parcels whose inputs are all at or below a sequence number, or, if that
// would divide an aggregate, a lower limit that may not.
func (c *committer) upTo(k int64) ([]parcel, int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, limit := 0, k
	for i := range c.queue {
		switch p := &c.queue[i]; {
		case p.hi <= k:
			n++
		case p.lo <= k: // it is committed with all of its inputs
			limit = min(limit, p.lo-1)
		}
	}
	if limit < k {
		return nil, limit
	}
	parcels := make([]parcel, 0, n)
	for i := range c.queue {
		if c.queue[i].hi <= k {
			parcels = append(parcels, c.queue[i])
		}
	}
	return parcels, k
}

// attempt makes one commit. If the outcome of the one before it is unsure, it first asks the
// target for its position, which also fences what may be under way there.
func (c *committer) attempt(ctx context.Context, runs []hubferry.Run, next *hubferry.Checkpoint) error {
	if c.worker.over() { // INV-9
		return &hubferry.Error{Kind: hubferry.Lost, Op: "commit", Place: c.worker.place}
	}
	if c.pending != nil {
		held, err := c.route.committer.Adopt(ctx, c.id)
		switch {
		case err != nil:
			return err
		case samePosition(held, c.pending):
			c.hold(c.pending)
		case !samePosition(held, c.stored):
			return &hubferry.Error{
				Kind: hubferry.Lost, Op: "adopt", Place: c.worker.place,
				Err: errors.New("the target holds another position: somebody else has committed"),
			}
		}
		c.pending = nil
		if samePosition(c.stored, next) {
			return nil
		}
	}
	err := c.route.committer.Commit(ctx, c.id, runs, c.stored, next)
	switch {
	case err == nil:
		c.hold(next)
	case unsure(err):
		c.pending = next
	}
	return err
}

// hold notes which position the target holds.
func (c *committer) hold(stored *hubferry.Checkpoint) {
	c.stored, c.at = stored, stored.Position.Sequence
}

// unsure reports whether a commit that failed may have happened all the same. An error that
// nobody classified does not say.
func unsure(err error) bool {
	e, ok := errors.AsType[*hubferry.Error](err)
	return !ok || e.Unsure
}

// samePosition reports whether two checkpoints of a target are the same.
func samePosition(a, b *hubferry.Checkpoint) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Position.Sequence == b.Position.Sequence && a.Incarnation == b.Incarnation && a.Beginning == b.Beginning
}

// done settles what was committed.
func (c *committer) done(parcels []parcel, m mark) {
	c.forget(func(p parcel) bool { return p.hi <= m.position.Sequence })
	var bytes int64
	for i := range parcels {
		bytes += int64(parcels[i].bytes)
	}
	c.worker.count(func(n *hubferry.Counts) {
		n.Written += int64(len(parcels))
		n.WrittenBytes += bytes
	})
	for i := range parcels {
		parcels[i].add(-parked)
	}
}

// forget takes parcels out of the queue.
func (c *committer) forget(which func(parcel) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.queue = slices.DeleteFunc(c.queue, which); len(c.queue) == 0 {
		c.queue = nil // what a burst needed is not kept
	}
}

// poison takes the event that a commit failed at out of the queue. It goes the way that
// onError says, and the others wait until its input is settled so.
func (c *committer) poison(parcels []parcel, cause error) error {
	i := 0
	if len(parcels) > 1 {
		e, ok := errors.AsType[*hubferry.Error](cause)
		i = slices.IndexFunc(parcels, func(p parcel) bool { return ok && e.Event == p.event })
	}
	if i < 0 {
		return &hubferry.Error{
			Kind: hubferry.Fatal, Op: "commit", Place: c.worker.place, Err: cause,
			Hint: "the driver does not say which event of the transaction it is",
		}
	}
	o := parcels[i].output
	c.forget(func(p parcel) bool { return p.output == o })
	o.add(-park)
	c.worker.poisonOutput(o, cause)
	return nil
}

// reach makes the target hold a position at least as far as a mark up to which everything is
// settled. It makes one attempt.
func (c *committer) reach(ctx context.Context, m mark) error {
	if err := c.acquire(ctx); err != nil {
		return err
	}
	defer c.yield()
	if c.at >= m.position.Sequence {
		return nil
	}
	if err := c.attempt(ctx, nil, c.worker.checkpoint(m, false)); err != nil {
		return fmt.Errorf("commit to %s: %w", c.address(), err)
	}
	return nil
}

func (c *committer) address() string { return c.route.Address + "@" + c.worker.place.Partition }

// runsOf sorts parcels into runs by target partition, keeping their order.
func runsOf(parcels []parcel) []hubferry.Run {
	var at []int // by partition: how many there are, then where the next one goes
	for i := range parcels {
		p := parcels[i].partition
		at = append(at, make([]int, max(0, p+1-len(at)))...)
		at[p]++
	}
	events := make([]*hubferry.Event, len(parcels))
	var runs []hubferry.Run
	from := 0
	for p, n := range at {
		if at[p] = from; n > 0 {
			runs = append(runs, hubferry.Run{Partition: p, Events: events[from : from+n : from+n]})
		}
		from += n
	}
	for i := range parcels {
		p := parcels[i].partition
		events[at[p]] = parcels[i].event
		at[p]++
	}
	return runs
}
