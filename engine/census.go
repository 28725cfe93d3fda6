package engine

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

// census asks the source about its partitions on behalf of all workers of a task. A
// thousand of them start at once, and again when a connection breaks: one question at a
// time answers all who wait. Nobody joins a question that is under way already, because
// its answer may be older than what he has read (G-2).
type census struct {
	mu      sync.Mutex
	running bool
	next    *answer // of the question that comes after the one under way
}

// answer is what a question brings, once done is closed.
type answer struct {
	done  chan struct{}
	infos []hubferry.PartitionInfo
	err   error
}

// partitions returns what the source says of its partitions, not earlier than now. The
// caller does not change the list.
func (t *task) partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	c := &t.census
	c.mu.Lock()
	if c.next == nil {
		c.next = &answer{done: make(chan struct{})}
	}
	a := c.next
	if !c.running {
		c.running = true
		t.laneGroup.Go(t.askSource)
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.infos, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// askSource asks until nobody waits for an answer.
func (t *task) askSource() {
	c := &t.census
	for {
		c.mu.Lock()
		a := c.next
		c.next, c.running = nil, a != nil
		c.mu.Unlock()
		if a == nil {
			return
		}
		a.infos, a.err = t.Source.Partitions(t.lanes)
		close(a.done)
	}
}
