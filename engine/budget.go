package engine

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of a task's events in memory (INV-6). It is a semaphore that
// lets one oversized request through when nothing else is held, so that an event larger
// than the budget does not stop the task for ever. Who waits longest comes first: a large
// request would never get through beside small ones otherwise.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	queue []*request

	waiting atomic.Int64 // length of the queue
}

// request is somebody who waits for bytes.
type request struct {
	bytes   int64
	granted chan struct{} // closed when the bytes are taken
}

func newBudget(limit int64) *budget { return &budget{limit: limit} }

// acquire waits until n bytes are free, and takes them. Full is called if they are not.
func (b *budget) acquire(ctx context.Context, n int64, full func()) error {
	b.mu.Lock()
	if len(b.queue) == 0 && b.fits(n) {
		b.used += n
		b.mu.Unlock()
		return nil
	}
	r := &request{bytes: n, granted: make(chan struct{})}
	b.queue = append(b.queue, r)
	b.waiting.Add(1)
	b.mu.Unlock()
	full()
	select {
	case <-r.granted:
		return nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.Index(b.queue, r); i >= 0 {
		b.queue = slices.Delete(b.queue, i, i+1)
		b.waiting.Add(-1)
	} else {
		b.used -= n // granted at the same moment
	}
	b.grant() // those behind it may fit
	return ctx.Err()
}

// fits reports whether n bytes are free. The caller holds b.mu.
func (b *budget) fits(n int64) bool { return b.used == 0 || b.used+n <= b.limit }

// grant gives those who wait what is free, in order. The caller holds b.mu.
func (b *budget) grant() {
	for len(b.queue) > 0 && b.fits(b.queue[0].bytes) {
		b.used += b.queue[0].bytes
		close(b.queue[0].granted)
		b.queue = slices.Delete(b.queue, 0, 1)
		b.waiting.Add(-1)
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
	b.grant()
}
