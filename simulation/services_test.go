package simulation

import (
	"context"
	"errors"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	store "github.com/hubferry/hubferry/checkpoint/mem"
)

// storeFault is what goes wrong with a call of the store: all of a dead process, some of
// others.
func (x *instance) storeFault(c store.Call) store.Fault {
	x.world.note(int64(x.number), int64(len(c.Op)), int64(len(c.IDs)))
	if x.dead.Load() {
		return store.Fault{Err: errDead}
	}
	if d := x.frozen(); d > 0 {
		// What was on its way when the process froze arrives.
		return store.Fault{Before: d, Linger: x.chance(0.1)}
	}
	x.mu.Lock()
	away := time.Now().Before(x.away)
	x.mu.Unlock()
	if away {
		return store.Fault{Err: errors.New("the store is away")}
	}
	if !x.chance(x.rough / 2) {
		return store.Fault{}
	}
	f, kind := x.storeTrouble(c)
	x.world.happened(kind)
	return f
}

// storeTrouble is one of the ways in which a call of the store goes wrong.
func (x *instance) storeTrouble(c store.Call) (store.Fault, fault) {
	switch x.pick(6) {
	case 0:
		return store.Fault{Err: errors.New("the store is busy")}, storeRefused
	case 1:
		return store.Fault{Err: errors.New("the store's answer is lost"), Stored: true}, storeLost
	case 2:
		return store.Fault{Before: x.upTo(40 * time.Second)}, storeSlow
	case 3:
		return store.Fault{After: x.upTo(40 * time.Second)}, storeSlowReply
	case 4:
		return store.Fault{Before: x.upTo(90 * time.Second), Linger: true}, storeLinger
	default:
		if c.Op != store.ClaimOwnership || len(c.IDs) < 2 {
			return store.Fault{Before: x.upTo(5 * time.Second)}, storeSlow
		}
		return store.Fault{Err: errors.New("the store was interrupted"), Part: 1 + x.pick(len(c.IDs)-1)}, storePart
	}
}

// simStore is the store, which can lie.
type simStore struct {
	*store.Store
	w *world
}

// SaveCheckpoint implements hubferry.Checkpoints.
func (s *simStore) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	return s.Store.SaveCheckpoint(ctx, id, s.w.falsify(c))
}

// SaveOwned implements checkpoint.Fenced.
func (s *simStore) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	return s.Store.SaveOwned(ctx, o, s.w.falsify(c))
}

func (w *world) falsify(c hubferry.Checkpoint) hubferry.Checkpoint {
	if w.scene.broken == clean {
		c.Clean = true
	}
	return c
}

// heedless deals out claims that nobody hears of when they are lost.
type heedless struct{ *checkpoint.Balancer }

func (h *heedless) Next(ctx context.Context) (*hubferry.Claim, error) {
	c, err := h.Balancer.Next(ctx)
	if err != nil {
		return nil, err
	}
	deaf := *c
	deaf.Lost, deaf.Holder = make(chan struct{}), plainHolder{c.Holder}
	return &deaf, nil
}

// plainHolder hides the lease of a claim, and that it is over.
type plainHolder struct{ hubferry.Holder }

func (h plainHolder) Save(ctx context.Context, c *hubferry.Checkpoint) error {
	if err := h.Holder.Save(ctx, c); err != nil && hubferry.KindOf(err) != hubferry.Lost {
		return err
	}
	return nil
}

// simSource is the source as one process reaches it.
type simSource struct {
	hubferry.Source
	x *instance
}

// Open implements hubferry.Source.
func (s *simSource) Open(ctx context.Context, place *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	s.x.thaw()
	if s.x.dead.Load() {
		return nil, errDead
	}
	r, err := s.Source.Open(ctx, place, after, epoch)
	if err != nil {
		return nil, err
	}
	return &simReader{r, s.x, place}, nil
}

// simReader shows the judge what is read.
type simReader struct {
	hubferry.Reader
	x     *instance
	place *hubferry.Place
}

// Read implements hubferry.Reader.
func (r *simReader) Read(ctx context.Context, b *hubferry.Batch) error {
	r.x.thaw()
	if r.x.dead.Load() {
		return errDead
	}
	if err := r.Reader.Read(ctx, b); err != nil {
		return err
	}
	r.x.world.note(int64(r.x.number), int64(r.place.Index), b.Next.Sequence)
	if !r.x.dead.Load() {
		r.x.world.judge.read(r.x.task, r.place, b.Next.Sequence)
	}
	return nil
}
