package engine

import (
	"context"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of a task's events in memory (INV-6). It is a semaphore that
// lets one oversized request through when nothing else is held, so that an event larger
// than the budget does not stop the task for ever.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	freed chan struct{} // closed and renewed when bytes come back

	waiting atomic.Int64
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, freed: make(chan struct{})}
}

// acquire waits until n bytes are free, and takes them. Full is called while they are not.
func (b *budget) acquire(ctx context.Context, n int64, full func()) error {
	b.waiting.Add(1)
	defer b.waiting.Add(-1)
	for {
		b.mu.Lock()
		if b.used == 0 || b.used+n <= b.limit {
			b.used += n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		full()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// scarce reports whether somebody waits for bytes.
func (b *budget) scarce() bool { return b.waiting.Load() > 0 }

// release gives n bytes back.
func (b *budget) release(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
	close(b.freed)
	b.freed = make(chan struct{})
}
