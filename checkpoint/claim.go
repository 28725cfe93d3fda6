package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/hubferry/hubferry"
)

// TaskState is the name under Checkpoint.States of the task that made a checkpoint. The
// balancer adds it to what it saves, so that a start can tell whose group it is (G-10).
// Who makes checkpoints for a task by other means adds it, too.
const TaskState = "engine.task"

var (
	_ hubferry.Holder = (*claim)(nil)
	_ hubferry.Leased = (*claim)(nil)
)

// MadeFor returns a checkpoint that is marked as a task's, or as nobody's where the task is
// "", so that the task goes on from what a person or a tool has stored for it.
func MadeFor(c hubferry.Checkpoint, task string) hubferry.Checkpoint {
	return stamp(c, taskName(task))
}

// stamp marks a copy of a checkpoint with an escaped task.
func stamp(c hubferry.Checkpoint, task string) hubferry.Checkpoint {
	c.States = maps.Clone(c.States)
	if task == "" {
		delete(c.States, TaskState)
		return c
	}
	if c.States == nil {
		c.States = map[string][]byte{}
	}
	c.States[TaskState] = []byte(task)
	return c
}

// claim is one partition of ours. It is the hubferry.Holder of its Claim.
type claim struct {
	b     *Balancer
	id    hubferry.ID
	place *hubferry.Place

	ending, lost chan struct{}
	turn         chan struct{} // one token: who saves or releases holds it

	// Guarded by b.mu.
	etag       string
	unsure     bool      // a renewal of unknown outcome has been tried since the last confirmed one
	taken      time.Time // when the partition became ours
	begun      time.Time // start of the last confirmed write
	confirmed  time.Time // end of the last confirmed write
	deadline   time.Time // the lease is certain until then
	timer      *time.Timer
	checkpoint *hubferry.Checkpoint
	ready      bool // its checkpoint was read, it is or was in the queue
	given      bool // Next has returned it
	closing    bool // ending is closed
	gone       bool // lost is closed
	released   bool // Release was called
	kept       bool // and failed: the record may still have our name

	// high is the last checkpoint that was read or saved. Who has the turn uses it.
	high *hubferry.Checkpoint
}

// newClaim returns the claim on a record that was written by a call that began and ended
// at these times. The caller holds b.mu.
func (b *Balancer) newClaim(place *hubferry.Place, record hubferry.Ownership, began, ended time.Time) *claim {
	c := &claim{
		b: b, id: record.ID, place: place, taken: began,
		ending: make(chan struct{}), lost: make(chan struct{}), turn: make(chan struct{}, 1),
	}
	c.timer = time.AfterFunc(time.Hour, c.runOut)
	c.confirm(record.ETag, began, ended)
	return c
}

// confirm notes a write of our name that the store has confirmed. The caller holds b.mu.
func (c *claim) confirm(etag string, began, ended time.Time) {
	c.etag, c.unsure, c.begun, c.confirmed = etag, false, began, ended
	if c.gone {
		return
	}
	c.deadline = began.Add(c.b.o.Expiry - c.b.o.Margin)
	c.timer.Reset(time.Until(c.deadline))
}

// runOut ends the claim if its lease is over.
func (c *claim) runOut() {
	c.b.mu.Lock()
	defer c.b.unlock()
	c.certain(time.Now())
}

// certain reports whether the claim is certain, and ends it if it no longer is. The
// monotonic clock decides (G-9). The wall clock is asked as well, because the other one
// stands still while a machine sleeps. The caller holds b.mu.
func (c *claim) certain(now time.Time) bool {
	if !now.Before(c.deadline) || now.Round(0).Sub(c.begun.Round(0)) >= c.b.o.Expiry-c.b.o.Margin {
		c.lose("it could not be renewed in time")
	}
	return !c.gone
}

// lose ends the claim. The caller holds b.mu.
func (c *claim) lose(why string) {
	if c.gone {
		return
	}
	c.gone = true
	c.timer.Stop()
	close(c.lost)
	if !c.released {
		poke(c.b.hurry)
		c.b.note(slog.LevelWarn, "partition lost", "partition", c.id.String(), "why", why)
	}
}

// end asks for the partition back. The caller holds b.mu.
func (c *claim) end() {
	if !c.closing {
		c.closing = true
		close(c.ending)
	}
}

// good returns the time until which the claim is certain, or an Error of kind Lost.
func (c *claim) good(op string) (time.Time, error) {
	c.b.mu.Lock()
	defer c.b.unlock()
	if !c.certain(time.Now()) {
		return time.Time{}, c.lostError(op, errors.New("the claim on the partition is over"))
	}
	return c.deadline, nil
}

// Until implements hubferry.Leased.
func (c *claim) Until() time.Time {
	c.b.mu.Lock()
	defer c.b.unlock()
	if !c.certain(time.Now()) {
		return time.Time{}
	}
	return c.deadline
}

func (c *claim) lostError(op string, err error) error {
	return &hubferry.Error{Kind: hubferry.Lost, Op: op, Place: c.place, Err: err}
}

// Open implements hubferry.Holder.
func (c *claim) Open(ctx context.Context, after hubferry.Position) (hubferry.Reader, error) {
	if _, err := c.good("open reader"); err != nil {
		return nil, err
	}
	r, err := c.b.o.Source.Open(ctx, c.place, after, c.b.o.Epoch)
	if err != nil {
		c.judge(err)
		return nil, err
	}
	w := &reader{Reader: r, claim: c}
	if s, ok := r.(hubferry.Settler); ok {
		return &settler{reader: w, Settler: s}, nil
	}
	return w, nil
}

// judge ends the claim if a reader was pushed out by another one.
func (c *claim) judge(err error) {
	if hubferry.KindOf(err) != hubferry.Lost {
		return
	}
	c.b.mu.Lock()
	defer c.b.unlock()
	if !c.gone {
		c.b.rest(c.id.Partition)
	}
	c.lose("another reader took the partition: " + err.Error())
}

// Save implements hubferry.Holder. A checkpoint that lies behind the one before is refused
// as a bug.
func (c *claim) Save(ctx context.Context, next *hubferry.Checkpoint) error {
	const op = "save checkpoint"
	deadline, err := c.good(op)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithDeadlineCause(ctx, deadline, errors.New("the lease on the partition ran out"))
	defer cancel()
	if err := c.acquire(ctx); err != nil {
		return c.explain(op, err)
	}
	defer c.yield()
	if _, err := c.good(op); err != nil {
		return err
	}
	if c.high != nil && next.Behind(c.high) {
		return &hubferry.Error{
			Kind: hubferry.Fatal, Op: op, Place: c.place,
			Err: fmt.Errorf("sequence number %d is before %d, which was saved already", next.Position.Sequence, c.high.Position.Sequence),
		}
	}
	stamped := stamp(*next, c.b.task)
	// Also when it fails: it may have been stored.
	c.high = &stamped
	owned := hubferry.Ownership{ID: c.id, Owner: c.b.o.Owner}
	switch s := c.b.o.Store.(type) {
	case Fenced:
		err = s.SaveOwned(ctx, owned, stamped)
	case Forward:
		err = s.SaveForward(ctx, owned, stamped)
	default:
		err = s.SaveCheckpoint(ctx, c.id, stamped)
	}
	if err == nil {
		return nil
	}
	if hubferry.KindOf(err) == hubferry.Lost {
		c.b.mu.Lock()
		c.lose(err.Error())
		c.b.unlock()
	}
	return c.explain(op, err)
}

// explain returns an error of kind Lost if the claim ended while something failed.
func (c *claim) explain(op string, err error) error {
	if hubferry.KindOf(err) == hubferry.Lost {
		return err
	}
	if _, over := c.good(op); over != nil {
		return c.lostError(op, err)
	}
	return err
}

// acquire waits for the turn to save or release, until the claim is lost.
func (c *claim) acquire(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *claim) yield() { <-c.turn }

// Release implements hubferry.Holder. It waits for a Save that is under way. After an
// error it may be called again; until it is closed the balancer tries on by itself, too.
func (c *claim) Release(ctx context.Context) error {
	b := c.b
	b.mu.Lock()
	if c.released && !c.kept {
		b.mu.Unlock()
		return nil
	}
	c.released, c.kept = true, true
	voluntary := !c.gone && !c.closing
	c.lose("it was released")
	if voluntary && !b.over {
		b.rest(c.id.Partition)
	}
	b.unlock()

	if err := c.acquire(ctx); err != nil {
		return fmt.Errorf("release %s: %w", c.id, err)
	}
	defer c.yield()
	b.mu.Lock()
	record := hubferry.Ownership{ID: c.id, Owner: b.o.Owner, ETag: c.etag}
	b.mu.Unlock()
	err := b.relinquish(ctx, record, c.last)
	b.mu.Lock()
	c.kept = err != nil
	if b.held[c.id.Partition] == c {
		delete(b.held, c.id.Partition)
		if err != nil {
			b.orphan(c.id.Partition)
		} else {
			b.freed[c.id.Partition] = time.Now()
		}
	}
	b.mu.Unlock()
	if err != nil {
		return fmt.Errorf("release %s: %w", c.id, err)
	}
	return nil
}

// drop ends a claim that Next has not returned. A round takes our name out of its record.
// The caller holds b.mu.
func (c *claim) drop() {
	c.released = true
	c.lose("nobody had it yet")
	delete(c.b.held, c.id.Partition)
	c.b.orphan(c.id.Partition)
}

// last reports whether this is the last claim that we had on the partition, so that our
// name in the record is its name.
func (c *claim) last() bool {
	c.b.mu.Lock()
	defer c.b.mu.Unlock()
	return c.b.over || c.b.held[c.id.Partition] == c
}

// reader ends the claim when the reader was pushed out.
type reader struct {
	hubferry.Reader
	claim *claim
}

// Read implements hubferry.Reader.
func (r *reader) Read(ctx context.Context, batch *hubferry.Batch) error {
	err := r.Reader.Read(ctx, batch)
	if err != nil {
		r.claim.judge(err)
	}
	return err
}

// settler is a reader of a queue.
type settler struct {
	*reader
	hubferry.Settler
}
