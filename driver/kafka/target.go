package kafka

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Target = (*target)(nil)

// target produces to the topics of a cluster, over connections of its own.
type target struct {
	conn     *connection
	options  TargetOptions
	producer *producer

	positions  *book
	background sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	writers map[*writer]bool
	synced  map[string]bool // topics whose settings are kept in sync
}

func newTarget(ctx context.Context, c *connection, o TargetOptions) (*target, error) {
	o = o.withDefaults()
	p, err := newProducer(ctx, c, o)
	if err != nil {
		return nil, err
	}
	return &target{
		conn: c, options: o, producer: p, positions: newBook(p, o.PositionsTopic),
		writers: map[*writer]bool{}, synced: map[string]bool{},
	}, nil
}

// Open implements hubferry.Target. The topic must exist.
func (t *target) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	found, err := t.producer.ask(ctx, hub)
	if err != nil {
		return nil, err
	}
	w := newWriter(t, hub, trail)
	w.learn(found)
	if err := w.learnLimit(ctx); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		w.end()
		return nil, hubferry.ErrClosed
	}
	t.writers[w] = true
	return w, nil
}

// Close implements hubferry.Target. It ends what waits.
func (t *target) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	writers := t.writers
	t.writers = nil
	t.mu.Unlock()
	for w := range writers {
		_ = w.Close(ctx) // it has nothing to say
	}
	t.producer.close()
	t.background.Wait()
	return nil
}
