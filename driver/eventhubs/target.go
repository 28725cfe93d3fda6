package eventhubs

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Target = (*target)(nil)

// target writes to the hubs of a namespace.
type target struct {
	c    *connection
	opts *TargetOptions

	mu      sync.Mutex
	writers map[*writer]bool
	closed  bool
}

// Open implements hubferry.Target. It does not reach the service yet.
func (t *target) Open(_ context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	if err := t.c.check(hub); err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, hubferry.ErrClosed
	}
	w := &writer{
		c: t.c, hub: hub, opts: t.opts, trail: trail, onClose: t.forget,
		lanes: map[string]*lane{}, tails: map[*tail]bool{}, losses: losses{log: t.c.env.Log, hub: hub},
	}
	if t.writers == nil {
		t.writers = map[*writer]bool{}
	}
	t.writers[w] = true
	return w, nil
}

func (t *target) forget(w *writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.writers, w)
}

// Close implements hubferry.Target.
func (t *target) Close(ctx context.Context) error {
	t.mu.Lock()
	t.closed = true
	writers := make([]*writer, 0, len(t.writers))
	for w := range t.writers {
		writers = append(writers, w)
	}
	t.mu.Unlock()
	return closeAll(ctx, writers)
}
