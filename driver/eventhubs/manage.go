package eventhubs

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// hubInfo is what the service says of a hub.
type hubInfo struct {
	name       string
	created    string // the created time as text: the incarnation (G-1)
	partitions []string
}

// partitionInfo is what the service says of a partition.
type partitionInfo struct {
	begin, end hubferry.Position
	endTime    time.Time
}

// readTimeout bounds one management read.
const readTimeout = 30 * time.Second

// readHub asks for a hub. The answer is not older than the call.
func (c *connection) readHub(ctx context.Context, hub string) (hubInfo, error) {
	f := readFlight[hubInfo](c, "hub", hub, "")
	return f.fresh(ctx, c.spawn, func(life context.Context) (hubInfo, error) {
		body, err := c.read(life, hub, ours.Map{{Key: "type", Value: "com.microsoft:eventhub"}})
		if err != nil {
			return hubInfo{}, err
		}
		return parseHub(body)
	})
}

// readPartition asks for a partition. The answer is not older than the call.
func (c *connection) readPartition(ctx context.Context, hub, partition string) (partitionInfo, error) {
	f := readFlight[partitionInfo](c, "partition", hub, partition)
	return f.fresh(ctx, c.spawn, func(life context.Context) (partitionInfo, error) {
		body, err := c.read(life, hub, ours.Map{{Key: "type", Value: "com.microsoft:partition"}, {Key: "partition", Value: partition}})
		if err != nil {
			return partitionInfo{}, err
		}
		return parsePartition(body)
	})
}

// readFlight returns the flight that all readers of one thing share.
func readFlight[T any](c *connection, what, hub, partition string) *flight[T] {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := what + "\x00" + hub + "\x00" + partition
	f, ok := c.reads[key].(*flight[T])
	if !ok {
		f = &flight[T]{}
		c.reads[key] = f
	}
	return f
}

// read makes one READ request. What it waits for its turn counts for no time-out: with
// thousands of partitions that begin at one time it is a minute.
func (c *connection) read(life context.Context, hub string, props ours.Map) (ours.Map, error) {
	if err := c.pace.wait(life); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(life, readTimeout)
	defer cancel()
	a, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	op := "read properties of " + hub
	if err := a.claims.ensure(ctx, c.audience+hub, c.spawn); err != nil {
		return nil, classify("sign in for "+hub, nil, err, phaseConnect)
	}
	t, err := c.tokens.token(ctx, c.audience+hub)
	if err != nil {
		return nil, classify("sign in for "+hub, nil, err, phaseConnect)
	}
	props = append(props, ours.Pair{Key: "operation", Value: "READ"}, ours.Pair{Key: "name", Value: hub},
		ours.Pair{Key: "security_token", Value: t.text})
	answer, err := c.request(ctx, a, &a.management, managementNode, nil, props)
	if err != nil {
		return nil, classify(op, nil, err, phaseConnect)
	}
	if answer.body == nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: errReply}
	}
	return answer.body, nil
}

func parseHub(body ours.Map) (hubInfo, error) {
	var h hubInfo
	h.name = asText(field(body, "name"))
	if created, ok := field(body, "created_at").(ours.Timestamp); ok {
		h.created = created.Time().Format("2006-01-02T15:04:05.000Z")
	}
	switch ids := field(body, "partition_ids").(type) {
	case ours.Array:
		for _, id := range ids.Items {
			h.partitions = append(h.partitions, asText(id))
		}
	case ours.List:
		for _, id := range ids {
			h.partitions = append(h.partitions, asText(id))
		}
	}
	if len(h.partitions) == 0 || slices.Contains(h.partitions, "") {
		return h, &hubferry.Error{Kind: hubferry.Fatal, Op: "read properties of " + h.name, Err: fmt.Errorf("it has no partition ids: %w", errReply)}
	}
	// Ids are decimal numbers, and their order is that of the numbers.
	slices.SortStableFunc(h.partitions, func(a, b string) int { return partitionIndex(a) - partitionIndex(b) })
	return h, nil
}

// partitionIndex is the number of a partition. Event Hubs has never had other ids.
func partitionIndex(id string) int {
	n, err := strconv.Atoi(id)
	if err != nil {
		return 0
	}
	return n
}

func parsePartition(body ours.Map) (partitionInfo, error) {
	var p partitionInfo
	last, ok := body.Get("last_enqueued_sequence_number")
	if !ok {
		return p, &hubferry.Error{Kind: hubferry.Fatal, Op: "read properties of " + asText(field(body, "name")), Err: errReply}
	}
	p.end = hubferry.Position{Sequence: asInt(last), Offset: asText(field(body, "last_enqueued_offset"))}
	if p.end.Sequence < 0 { // never written: -1, with an offset of -1 or, geo-replicated, 2:-1:-1
		p.end = hubferry.Position{Sequence: -1}
	} else if at, ok := field(body, "last_enqueued_time_utc").(ours.Timestamp); ok {
		p.endTime = at.Time()
	}
	p.begin = p.end
	if empty, _ := field(body, "is_partition_empty").(bool); !empty && p.end.Sequence >= 0 {
		p.begin = hubferry.Position{Sequence: max(asInt(field(body, "begin_sequence_number")), 0) - 1}
	}
	return p, nil
}

func field(m ours.Map, name string) any {
	v, _ := m.Get(name)
	return v
}

// readAll reads several partitions at once, bounded, in order.
func (c *connection) readAll(ctx context.Context, hub string, partitions []string) ([]partitionInfo, error) {
	const atOnce = 16
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	infos := make([]partitionInfo, len(partitions))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, id := range partitions {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			info, err := c.readPartition(ctx, hub, id)
			if err != nil {
				cancel(err) // the first error counts
				return
			}
			infos[i] = info
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	return infos, nil
}

// pacer keeps management reads below the service's limit of 50 per second and
// namespace: a burst and what is allowed in the second after it are within it together.
// A nil pacer does not wait.
type pacer struct {
	mu   sync.Mutex
	next time.Time
}

const (
	readsPerSecond = 40
	readBurst      = 10
)

func (p *pacer) wait(ctx context.Context) error {
	if p == nil {
		return nil
	}
	const step = time.Second / readsPerSecond
	now := time.Now()
	p.mu.Lock()
	if earliest := now.Add(-readBurst * step); p.next.Before(earliest) {
		p.next = earliest
	}
	at := p.next
	p.next = p.next.Add(step)
	p.mu.Unlock()
	if !at.After(now) {
		return nil
	}
	t := time.NewTimer(at.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
