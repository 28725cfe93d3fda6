package interop

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// goReader collects what one PartitionClient delivers until it is asked for.
type goReader struct {
	consumer *azeventhubs.ConsumerClient
	stop     context.CancelFunc
	ended    chan struct{}

	mu      sync.Mutex
	events  []event
	err     error
	changed chan struct{} // closed and replaced at each change
}

func (g *goClient) reader(name string) *goReader {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readers[name]
}

func (g *goClient) open(r request) (response, error) {
	if r.Metrics {
		return response{}, notOffered("azeventhubs does not ask for the runtime metric")
	}
	start, err := goStart(r.From)
	if err != nil {
		return response{}, err
	}
	consumer, err := goConsumer(r.Conn, r.Group)
	if err != nil {
		return response{}, err
	}
	partition, err := consumer.NewPartitionClient(*r.Partition, &azeventhubs.PartitionClientOptions{StartPosition: start, OwnerLevel: r.Epoch})
	if err != nil {
		return response{}, err
	}
	ctx, stop := context.WithCancel(context.Background())
	reader := &goReader{consumer: consumer, stop: stop, ended: make(chan struct{}), changed: make(chan struct{})}
	go reader.run(ctx, partition, *r.Partition)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	name := "r" + strconv.Itoa(g.next)
	g.readers[name] = reader
	return response{Reader: name}, nil
}

func goStart(p *position) (azeventhubs.StartPosition, error) {
	yes := true
	if p == nil || p.Kind == "earliest" {
		return azeventhubs.StartPosition{Earliest: &yes}, nil
	}
	start := azeventhubs.StartPosition{Inclusive: p.Inclusive}
	switch p.Kind {
	case "latest":
		start.Latest = &yes
	case "offset":
		start.Offset = &p.Value
	default:
		n, err := strconv.ParseInt(p.Value, 10, 64)
		if err != nil {
			return start, fmt.Errorf("position %s: %w", p.Kind, err)
		}
		if start.SequenceNumber = &n; p.Kind == "time" {
			at := time.UnixMilli(n)
			start.SequenceNumber, start.EnqueuedTime = nil, &at
		}
	}
	return start, nil
}

func (r *goReader) run(ctx context.Context, partition *azeventhubs.PartitionClient, id string) {
	defer close(r.ended)
	defer func() { _ = partition.Close(context.WithoutCancel(ctx)) }()
	for {
		events, err := partition.ReceiveEvents(ctx, 1, nil)
		r.mu.Lock()
		for _, e := range events {
			r.events = append(r.events, goDecodeEvent(e, id))
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			r.err = err
		}
		close(r.changed)
		r.changed = make(chan struct{})
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (r *goReader) read(ctx context.Context, count int, wait time.Duration) (response, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for waiting := true; ; {
		r.mu.Lock()
		if len(r.events) >= count || r.err != nil || !waiting {
			n := min(count, len(r.events))
			out := response{Events: r.events[:n:n]}
			r.events = r.events[n:]
			var err error
			if n < count {
				err = r.err
			}
			r.mu.Unlock()
			return out, err
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-timer.C:
			waiting = false
		case <-ctx.Done():
			return response{}, ctx.Err()
		}
	}
}

func (g *goClient) closeReader(ctx context.Context, name string) error {
	g.mu.Lock()
	r := g.readers[name]
	delete(g.readers, name)
	g.mu.Unlock()
	r.stop()
	<-r.ended
	return r.consumer.Close(ctx)
}
