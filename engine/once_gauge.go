package engine

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// gauge reads where the partitions of a target end, for all workers of a task. A position
// that was read before an event was first sent is a watermark for it: the event is behind
// it, or not there (G-7).
type gauge struct {
	task   *task
	route  *route
	tailer hubferry.Tailer
	census census
	sent   chan struct{} // signals that something is being sent; capacity 1

	mu    sync.Mutex
	ends  []hubferry.PartitionInfo  // the newest reading of all, by index; nil before the first
	newer map[int]hubferry.Position // ends of single partitions that were read since
}

func newGauge(t *task, r *route, tailer hubferry.Tailer) *gauge {
	return &gauge{task: t, route: r, tailer: tailer, sent: make(chan struct{}, 1)}
}

// The time between two readings: they cost one request per partition, and services allow
// only so many. More seldom is safe, a recovery then reads more.
const (
	gaugeInterval     = time.Second
	gaugePerPartition = 100 * time.Millisecond
)

// watch takes a reading now and then while events are sent, until ctx ends.
func (g *gauge) watch(ctx context.Context) {
	pause := max(gaugeInterval, time.Duration(len(g.route.layout.Places))*gaugePerPartition)
	for attempt := 0; ; {
		select {
		case <-g.sent:
		case <-ctx.Done():
			return
		}
		d := pause
		if _, err := g.read(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			attempt++
			retry, _ := Retry{Min: pause, Max: time.Minute}.delay(attempt, err)
			d = max(d, retry)
			g.task.log.Debug("the ends of the target could not be read", "target", g.route.Address, "error", err)
			signal(g.sent)
		} else {
			attempt = 0
		}
		if sleep(ctx, d) != nil {
			return
		}
	}
}

// read takes a reading that is not older than the call.
func (g *gauge) read(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	infos, err := g.census.ask(ctx, g.task, g.tailer.Partitions)
	if err != nil {
		return nil, fmt.Errorf("read the ends of %s: %w", g.route.Address, err)
	}
	if len(infos) < len(g.route.layout.Places) {
		return nil, &hubferry.Error{
			Kind: hubferry.Fatal, Op: "read the ends of " + g.route.Address,
			Err: fmt.Errorf("it has %d partitions now and had %d: it is not the hub that it was", len(infos), len(g.route.layout.Places)),
		}
	}
	g.mu.Lock()
	g.ends, g.newer = infos, nil
	g.mu.Unlock()
	g.route.mu.Lock()
	screens := make([]*screen, 0, len(g.route.lanes))
	for _, l := range g.route.lanes {
		screens = append(screens, l.screen)
	}
	g.route.mu.Unlock()
	for _, s := range screens {
		s.note(infos[s.lane.partition].End)
	}
	return infos, nil
}

// readOne takes a reading of one partition that is not older than the call. It asks about
// this one alone where that is cheaper: a thousand searches that begin at once would
// otherwise ask about a thousand partitions each.
func (g *gauge) readOne(ctx context.Context, partition int) (hubferry.Position, error) {
	t, ok := piecemealTailer(g.tailer)
	if !ok {
		infos, err := g.read(ctx)
		if err != nil {
			return hubferry.Position{}, err
		}
		return infos[partition].End, nil
	}
	info, err := t.Partition(ctx, partition)
	if err != nil {
		return hubferry.Position{}, fmt.Errorf("read the end of partition %d of %s: %w", partition, g.route.Address, err)
	}
	g.mu.Lock()
	if g.newer == nil {
		g.newer = map[int]hubferry.Position{}
	}
	g.newer[partition] = info.End
	g.mu.Unlock()
	g.route.mu.Lock()
	l := g.route.lanes[partition]
	g.route.mu.Unlock()
	if l != nil {
		l.screen.note(info.End)
	}
	return info.End, nil
}

// latest returns the newest reading of all, or nil if there is none.
func (g *gauge) latest() []hubferry.PartitionInfo {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.ends
}

// end returns the newest reading of one partition, or the beginning.
func (g *gauge) end(partition int) hubferry.Position {
	g.mu.Lock()
	defer g.mu.Unlock()
	if end, ok := g.newer[partition]; ok {
		return end
	}
	if g.ends != nil {
		return g.ends[partition].End
	}
	return beginning
}

// beginning is where a partition is read from of which nothing is known.
var beginning = hubferry.Position{Sequence: -1}
