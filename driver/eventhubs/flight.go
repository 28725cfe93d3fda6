package eventhubs

import (
	"context"
	"sync"
)

// spawner starts a goroutine whose context lives as long as the connection. Closing the
// connection waits for it.
type spawner func(func(ctx context.Context))

// flight runs one function for everybody who asks for its result at the same time. The
// function runs in a goroutine of its own, so that a caller who gives up does not take
// the result away from the others. The zero flight is ready to use.
type flight[T any] struct {
	mu      sync.Mutex
	running *call[T]
	next    *call[T] // for those who came after the running one had begun
}

type call[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func newCall[T any]() *call[T] { return &call[T]{done: make(chan struct{})} }

// join returns the result of the run that is under way, or of a new one.
func (f *flight[T]) join(ctx context.Context, spawn spawner, run func(ctx context.Context) (T, error)) (T, error) {
	f.mu.Lock()
	c := f.running
	if c == nil {
		c = newCall[T]()
		f.start(c, spawn, run)
	}
	f.mu.Unlock()
	return c.wait(ctx)
}

// fresh returns the result of a run that began after the call: what it tells is not
// older than the question.
func (f *flight[T]) fresh(ctx context.Context, spawn spawner, run func(ctx context.Context) (T, error)) (T, error) {
	f.mu.Lock()
	var c *call[T]
	switch {
	case f.running == nil:
		c = newCall[T]()
		f.start(c, spawn, run)
	case f.next == nil:
		c = newCall[T]()
		f.next = c
	default:
		c = f.next
	}
	f.mu.Unlock()
	return c.wait(ctx)
}

// start is called with mu held.
func (f *flight[T]) start(c *call[T], spawn spawner, run func(ctx context.Context) (T, error)) {
	f.running = c
	spawn(func(ctx context.Context) {
		c.value, c.err = run(ctx)
		f.mu.Lock()
		f.running = nil
		if next := f.next; next != nil {
			f.next = nil
			f.start(next, spawn, run)
		}
		f.mu.Unlock()
		close(c.done)
	})
}

func (c *call[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-c.done:
		return c.value, c.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}
