package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Holder = (*claim)(nil)

// claim is one partition that the group has given to us. It is the hubferry.Holder of its
// Claim.
type claim struct {
	c          *coordinator
	name       partitionName
	place      *hubferry.Place
	topicID    [16]byte
	checkpoint *hubferry.Checkpoint // that was found, or nil

	ending, lost chan struct{}
	freed        chan struct{} // closed when it was released
	turn         chan struct{} // one token: who saves or releases holds it

	// Guarded by c.mu.
	given   bool // Next has returned it
	closing bool // ending is closed
	gone    bool // lost is closed
	why     string
	isFree  bool // freed is closed

	// high is the last checkpoint that was found or saved. Who has the turn uses it.
	high *hubferry.Checkpoint
}

func newClaim(c *coordinator, t *topic, partition int32, checkpoint *hubferry.Checkpoint) *claim {
	return &claim{
		c: c, name: partitionName{t.name, partition}, place: t.place(int(partition)), topicID: t.id, checkpoint: checkpoint, high: checkpoint,
		ending: make(chan struct{}), lost: make(chan struct{}), freed: make(chan struct{}), turn: make(chan struct{}, 1),
	}
}

// end asks for the partition back. The caller holds c.mu.
func (k *claim) end() {
	if !k.closing {
		k.closing = true
		close(k.ending)
	}
}

// lose ends the claim. The caller holds c.mu.
func (k *claim) lose(why string) {
	if k.gone {
		return
	}
	k.gone, k.why = true, why
	close(k.lost)
}

// free forgets the claim: the partition can be dealt out again. The caller holds c.mu.
func (k *claim) free() {
	if k.isFree {
		return
	}
	k.isFree = true
	close(k.freed)
	if k.c.held[k.name] == k {
		delete(k.c.held, k.name)
		poke(k.c.hurry)
	}
}

// good returns an Error of kind Lost unless the claim is certain (INV-9).
func (k *claim) good(op string) error {
	certain := k.c.lease.certain(time.Now())
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if !certain || k.gone {
		return k.lostError(op, errors.New("the claim on the partition is over"))
	}
	return nil
}

func (k *claim) lostError(op string, err error) error {
	return &hubferry.Error{Kind: hubferry.Lost, Op: op, Place: k.place, Err: err}
}

// Until returns until when the claim is certain as of now, by the monotonic clock (G-9),
// or the zero time when it is over.
func (k *claim) Until() time.Time {
	if k.good("look at the lease") != nil {
		return time.Time{}
	}
	return k.c.lease.until()
}

// Open implements hubferry.Holder.
func (k *claim) Open(ctx context.Context, after hubferry.Position) (hubferry.Reader, error) {
	if err := k.good("open reader"); err != nil {
		return nil, err
	}
	return k.c.source.Open(ctx, k.place, after, hubferry.NoEpoch)
}

// Save implements hubferry.Holder. It commits the offset of the next record, as Kafka's
// own consumers do, with the rest of the checkpoint in the metadata. The broker refuses
// it from who is no longer a member of the group.
func (k *claim) Save(ctx context.Context, next *hubferry.Checkpoint) error {
	const op = "save checkpoint"
	if err := k.good(op); err != nil {
		return err
	}
	if err := k.acquire(ctx); err != nil {
		return err
	}
	defer func() { <-k.turn }()
	if last := k.high; last != nil && next.Behind(last) {
		return &hubferry.Error{
			Kind: hubferry.Fatal, Op: op, Place: k.place,
			Err: fmt.Errorf("sequence number %d is before %d, which was saved already", next.Position.Sequence, last.Position.Sequence),
		}
	}
	text, err := formatNote(next)
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: op, Place: k.place, Err: err}
	}
	kept := *next
	k.high = &kept // also when it fails: it may have been stored
	return k.c.commits.commit(ctx, k, next.Position, text)
}

// acquire waits for the turn to save or release.
func (k *claim) acquire(ctx context.Context) error {
	select {
	case k.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// rest is how long a partition that we gave up by ourselves is not dealt out again.
const rest = 2 * time.Second

// Release implements hubferry.Holder. A rebalance that wants the partition goes on; if
// none does, the group still counts it as ours, and after a pause it is dealt out again,
// unless the coordinator is closed: who leaves gives everything back.
func (k *claim) Release(ctx context.Context) error {
	k.c.mu.Lock()
	wanted := k.closing || !k.c.assigned[k.name]
	why := k.why
	k.lose("")
	k.c.mu.Unlock()
	if why != "" {
		k.c.log.Warn("partition lost", "partition", k.place.Path(), "why", why)
	}
	if err := k.acquire(ctx); err != nil {
		return fmt.Errorf("release %s: %w", k.place, err)
	}
	defer func() { <-k.turn }()
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if !wanted {
		k.c.resting[k.name] = time.Now().Add(rest)
	}
	k.free()
	return nil
}
