package engine

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

// census asks a source or a target about its partitions on behalf of all workers of a task. A
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

// partitions returns which partitions the source has, not earlier than now, and what it
// says of them unless it is Piecemeal. The caller does not change the list.
func (t *task) partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	s, ok := piecemeal(t.Source)
	if !ok {
		return t.census.ask(ctx, t, t.Source.Partitions)
	}
	return t.census.ask(ctx, t, func(ctx context.Context) ([]hubferry.PartitionInfo, error) {
		places, err := s.Places(ctx)
		infos := make([]hubferry.PartitionInfo, len(places))
		for i, p := range places {
			infos[i].Place = p
		}
		return infos, err
	})
}

// survey is what a source says of one partition and of its hub.
type survey struct {
	info  *hubferry.PartitionInfo // nil if there is no such partition
	inHub int                     // partitions of the same hub
	all   int                     // partitions of the source
}

// survey asks the source about the partition, not earlier than now.
func (p *partition) survey(ctx context.Context) (survey, error) {
	infos, err := p.partitions(ctx)
	if err != nil {
		return survey{}, err
	}
	found := survey{all: len(infos)}
	for i := range infos {
		at := infos[i].Place
		if at.Hub != p.place.Hub {
			continue
		}
		found.inHub++
		if at.Index == p.place.Index {
			found.info = &infos[i]
		}
	}
	if s, ok := piecemeal(p.Source); ok && found.info != nil {
		info, err := s.Partition(ctx, found.info.Place)
		if err != nil {
			return survey{}, err
		}
		found.info = &info
	}
	return found, nil
}

// ask returns an answer to a question that was put not earlier than now.
func (c *census) ask(ctx context.Context, t *task, put func(context.Context) ([]hubferry.PartitionInfo, error)) ([]hubferry.PartitionInfo, error) {
	c.mu.Lock()
	if c.next == nil {
		c.next = &answer{done: make(chan struct{})}
	}
	a := c.next
	if !c.running {
		c.running = true
		t.laneGroup.Go(func() { c.run(t.lanes, put) })
	}
	c.mu.Unlock()
	select {
	case <-a.done:
		return a.infos, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// run asks until nobody waits for an answer.
func (c *census) run(ctx context.Context, put func(context.Context) ([]hubferry.PartitionInfo, error)) {
	for {
		c.mu.Lock()
		a := c.next
		c.next, c.running = nil, a != nil
		c.mu.Unlock()
		if a == nil {
			return
		}
		a.infos, a.err = put(ctx)
		close(a.done)
	}
}
