package engine

import (
	"context"
	"sync"
)

// gate lets workers read, or not: a person can pause a task and resume it.
type gate struct {
	mu      sync.Mutex
	open    chan struct{} // closed while reading is allowed
	shut    chan struct{} // closed while it is not
	resumes chan struct{} // closed and renewed by each resume, also of an open gate
}

func newGate() *gate {
	g := &gate{open: make(chan struct{}), shut: make(chan struct{}), resumes: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) pause() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !isClosed(g.shut) {
		close(g.shut)
		g.open = make(chan struct{})
	}
}

func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if isClosed(g.shut) {
		close(g.open)
		g.shut = make(chan struct{})
	}
	close(g.resumes)
	g.resumes = make(chan struct{})
}

// paused reports whether the gate is shut.
func (g *gate) paused() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return isClosed(g.shut)
}

// resumed is closed at the next resume.
func (g *gate) resumed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.resumes
}

// pass waits until the gate is open, and returns a context that ends when it is shut.
func (g *gate) pass(ctx context.Context) (context.Context, context.CancelFunc, error) {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	out, cancel := endWith(ctx, shut)
	return out, cancel, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// endWith returns a context that ends when ctx does or when c is closed.
func endWith(ctx context.Context, c <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-c:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
