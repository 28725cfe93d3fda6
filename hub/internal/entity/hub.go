package entity

import (
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// DefaultGroup is the consumer group that every hub has.
const DefaultGroup = "$Default"

// HubSpec is what a hub is created with.
type HubSpec struct {
	// Name is unique in the namespace, compared without case.
	Name string
	// Partitions is their number; zero is 4.
	Partitions int
	// Groups are consumer groups besides $Default.
	Groups []string
	// Retention is how long events are kept; zero is forever in bytes and
	// time both.
	Retention Retention
	// Rules are the hub's own rules besides those of the namespace.
	Rules []Rule
}

// Retention is what a hub keeps.
type Retention struct {
	// For is how long an event is kept; zero is without limit.
	For time.Duration
	// Bytes is how much each partition keeps; zero is without limit.
	Bytes int64
	// Compact keeps the last event of each key instead of removing by age.
	Compact bool
	// Tombstones is how long a compacted hub keeps a key's deletion.
	Tombstones time.Duration
}

// Hub is an event hub: a number of partitions under one name.
type Hub struct {
	ns      *Namespace
	spec    HubSpec
	id      string
	created time.Time
	deleted chan struct{}
	robin   atomic.Uint64

	mu         sync.Mutex
	partitions []*Partition
	groups     map[string]*Group
	err        *Error
}

func newHub(n *Namespace, spec HubSpec, id string, created time.Time) (*Hub, error) {
	h := &Hub{
		ns: n, spec: spec, id: id, created: created.UTC().Truncate(time.Millisecond),
		deleted: make(chan struct{}), groups: map[string]*Group{},
	}
	if h.spec.Partitions == 0 {
		h.spec.Partitions = 4
	}
	for i := range h.spec.Partitions {
		l, err := seglog.Open(seglog.Options{Now: n.o.Now})
		if err != nil {
			return nil, err
		}
		h.partitions = append(h.partitions, &Partition{hub: h, index: i, id: strconv.Itoa(i), log: l})
	}
	for _, g := range append([]string{DefaultGroup}, spec.Groups...) {
		h.groups[strings.ToLower(g)] = &Group{hub: h, name: g, created: h.created, tables: map[int]*table{}}
	}
	return h, nil
}

// Name returns the name as it was written at creation.
func (h *Hub) Name() string { return h.spec.Name }

// ID is random per creation: a hub that was deleted and created again has
// another one.
func (h *Hub) ID() string { return h.id }

// CreatedAt is the time of creation, in UTC with milliseconds.
func (h *Hub) CreatedAt() time.Time { return h.created }

// PartitionCount returns the number of partitions.
func (h *Hub) PartitionCount() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.partitions)
}

// PartitionIDs returns "0" to "n-1".
func (h *Hub) PartitionIDs() []string {
	ids := make([]string, h.PartitionCount())
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids
}

// Deleted is closed when the hub is deleted or its namespace closes; Err then
// tells what to say in the detach.
func (h *Hub) Deleted() <-chan struct{} { return h.deleted }

// Err is nil until Deleted is closed.
func (h *Hub) Err() *Error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Partition returns the partition of that id, or an ArgumentOutOfRange error
// with the service's text.
func (h *Hub) Partition(id string) (*Partition, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(h.partitions) || strconv.Itoa(i) != id {
		return nil, partitionOutOfRange(len(h.partitions))
	}
	return h.partitions[i], nil
}

// ForKey returns the partition that the service's hash assigns to key.
func (h *Hub) ForKey(key string) *Partition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.partitions[h.ns.o.Hash(key, len(h.partitions))]
}

// Next returns the partition for the next batch without a key: round robin.
func (h *Hub) Next() *Partition {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.partitions[(h.robin.Add(1)-1)%uint64(len(h.partitions))]
}

// Group returns the consumer group of that name, in any case, or a NotFound
// error.
func (h *Hub) Group(name string) (*Group, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g, ok := h.groups[strings.ToLower(name)]
	if !ok {
		return nil, notFound(h.ns.o.Name, h.spec.Name+"/ConsumerGroups/"+name)
	}
	return g, nil
}

// end makes the hub unusable and ends its receivers with reason.
func (h *Hub) end(reason *Error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return
	}
	h.err = reason
	close(h.deleted)
	for _, g := range h.groups {
		g.end(reason)
	}
}
