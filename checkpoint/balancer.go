package checkpoint

import (
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// Balancer shares the partitions of a group among the instances of a task. It is a
// hubferry.Coordinator.
type Balancer struct {
	o        Options
	task     string      // of the owner
	presence hubferry.ID // the group of presence records
	patience time.Duration

	begin   sync.Once
	cancel  context.CancelFunc
	running sync.WaitGroup
	closed  chan struct{}
	wake    chan struct{} // for Next: the queue or the fault has changed
	hurry   chan struct{} // for the rounds: do not wait for the next tick

	// mu guards what follows. It is never held across anything that waits.
	mu      sync.Mutex
	notes   []note // to be logged when mu is free: see unlock
	over    bool
	rnd     *rand.Rand
	held    map[string]*claim    // by partition, until they are released
	queue   []*claim             // for Next
	orphans map[string]time.Time // partitions whose record may have our name without a claim, and until when to look
	freed   map[string]time.Time // when we have given partitions back
	resting map[string]rest      // partitions that we lost or gave back, not to be taken at once
	slot    *slot                // our presence record, if we have one
	written reading              // the store's time by our last write
	rounded time.Time            // when a round went well for the last time
	fault   error                // of the last round, for Next
	refused error                // why we cannot work at all
}

// slot is a presence record that is ours.
type slot struct {
	record hubferry.Ownership
	unsure bool // a renewal of unknown outcome has been tried
}

// rest is a pause before a partition is taken again.
type rest struct {
	until time.Time
	next  time.Duration
}

var _ hubferry.Coordinator = (*Balancer)(nil)

// NewBalancer returns a balancer. Nothing happens before the first call of Next. Source
// and store stay the caller's: Close does not close them.
func NewBalancer(o Options) (*Balancer, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	task, err := url.PathUnescape(taskOf(o.Owner))
	if err != nil {
		return nil, fmt.Errorf("share partitions: owner %q: %w", o.Owner, err)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(o.Group.String() + "\x00" + o.Owner))
	return &Balancer{
		o:        o,
		task:     task,
		presence: PresenceGroup(o.Group),
		patience: (o.Expiry - o.Margin) / 3,
		closed:   make(chan struct{}),
		wake:     make(chan struct{}, 1),
		hurry:    make(chan struct{}, 1),
		// Seeded by the owner: instances differ, and a simulation repeats.
		rnd:     rand.New(rand.NewPCG(h.Sum64(), 1)),
		held:    map[string]*claim{},
		orphans: map[string]time.Time{},
		freed:   map[string]time.Time{},
		resting: map[string]rest{},
	}, nil
}

// Next implements hubferry.Coordinator. Every claim that it returns must be released in
// the end, a lost one too: until then, or until the claim's record has expired for
// everybody, this instance does not take that partition again.
//
// The Claim's Checkpoint has an Err if the stored record cannot be read: report it for
// that partition and release or keep the claim, but do not read as if there were none.
//
// Next returns an error when the balancer cannot work and holds nothing: the store or
// the source is away (call again after a pause, the balancer goes on trying), or the
// group belongs to somebody else (of kind Fatal, for good).
func (b *Balancer) Next(ctx context.Context) (*hubferry.Claim, error) {
	b.begin.Do(func() { b.start(ctx) })
	for {
		c, err := b.take()
		if err != nil {
			return nil, err
		}
		if c != nil {
			return c, nil
		}
		select {
		case <-b.wake:
		case <-b.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take returns the next claim of the queue that is still good, or why there will be none.
func (b *Balancer) take() (*hubferry.Claim, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return nil, hubferry.ErrClosed
	}
	for len(b.queue) > 0 {
		c := b.queue[0]
		b.queue = b.queue[1:]
		if c.gone || c.closing {
			continue // a round gives it back
		}
		c.given = true
		return &hubferry.Claim{Place: c.place, Checkpoint: c.checkpoint, Ending: c.ending, Lost: c.lost, Holder: c}, nil
	}
	if b.refused != nil {
		return nil, b.refused
	}
	err := b.fault
	b.fault = nil
	if len(b.held) > 0 {
		return nil, nil //nolint:nilnil // nothing yet, and nothing wrong
	}
	return nil, err
}

// start starts the two loops. They live until Close, not until ctx ends.
func (b *Balancer) start(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.rounded = time.Now()
	ctx, b.cancel = context.WithCancel(context.WithoutCancel(ctx))
	b.running.Go(func() { b.renewals(ctx) })
	b.running.Go(func() { newRounds(b).run(ctx) })
}

// Close implements hubferry.Coordinator. Claims that Next has returned and that are not
// released are lost; those that it has not returned yet are given back.
func (b *Balancer) Close(ctx context.Context) error {
	b.mu.Lock()
	if b.over {
		b.mu.Unlock()
		return nil
	}
	b.over = true
	cancel := b.cancel
	close(b.closed)
	b.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	done := make(chan struct{})
	go func() {
		b.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
	b.loseAll()
	if err := ctx.Err(); err != nil {
		return err
	}
	return b.leave(ctx)
}

// loseAll ends all claims.
func (b *Balancer) loseAll() {
	b.mu.Lock()
	defer b.unlock()
	for _, c := range b.held {
		if c.given {
			c.lose("the balancer was closed")
		} else {
			c.drop()
		}
	}
}

// leave takes our name out of the records that nobody will release: of claims that were
// not handed out, of writes of unknown outcome, of our presence.
func (b *Balancer) leave(ctx context.Context) error {
	b.mu.Lock()
	left := make(map[hubferry.ID]bool, len(b.orphans)+1)
	for partition := range b.orphans {
		left[b.partition(partition)] = true
	}
	if b.slot != nil {
		left[b.slot.record.ID] = true
	}
	b.mu.Unlock()
	for range 4 {
		found, err := b.mine(ctx)
		if err != nil {
			return err
		}
		var want []hubferry.Ownership
		for id, etag := range found {
			if left[id] {
				want = append(want, hubferry.Ownership{ID: id, ETag: etag})
			}
		}
		if len(want) == 0 {
			return nil
		}
		if got, err := b.write(ctx, want); err != nil || len(got) == len(want) {
			return err
		}
	}
	return nil
}

// partition returns the ID of a partition of the group.
func (b *Balancer) partition(partition string) hubferry.ID {
	id := b.o.Group
	id.Partition = partition
	return id
}

// note is a line for the log.
type note struct {
	level slog.Level
	text  string
	args  []any
}

// note keeps a line for unlock: whoever writes a log may have to wait. The caller holds
// b.mu.
func (b *Balancer) note(level slog.Level, text string, args ...any) {
	b.notes = append(b.notes, note{level, text, args})
}

// unlock releases b.mu and logs what was noted meanwhile.
func (b *Balancer) unlock() {
	notes := b.notes
	b.notes = nil
	b.mu.Unlock()
	for _, n := range notes {
		if n.level == slog.LevelError {
			b.o.Log.Error(n.text, n.args...)
		} else {
			b.o.Log.Warn(n.text, n.args...)
		}
	}
}

// listBoth lists the ownership records of the group and of its presence group.
func (b *Balancer) listBoth(ctx context.Context) (records, present []hubferry.Ownership, err error) {
	ctx, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	if s, ok := b.o.Store.(Joint); ok {
		all, err := s.ListJoint(ctx, b.o.Group, b.presence)
		for _, o := range all {
			if o.ID.Group() == b.presence {
				present = append(present, o)
			} else {
				records = append(records, o)
			}
		}
		return records, present, err
	}
	if records, err = b.o.Store.ListOwnership(ctx, b.o.Group); err != nil {
		return nil, nil, err
	}
	present, err = b.o.Store.ListOwnership(ctx, b.presence)
	return records, present, err
}

// calm is the time to the next renewal, and to the next round while nothing is to be moved:
// an interval and up to a fifth of it more, so that instances do not keep step.
func (b *Balancer) calm() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration((1 + 0.2*b.rnd.Float64()) * float64(b.o.Interval))
}

// jitter returns d changed by up to a fifth in either direction.
func (b *Balancer) jitter(d time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Duration((0.8 + 0.4*b.rnd.Float64()) * float64(d))
}

// poke sends on a channel of capacity 1 that only says "look".
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pause waits and reports whether the context lives on.
func pause(ctx context.Context, d time.Duration, early <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-early:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
