package entity

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultGroup is the consumer group that every hub has.
const DefaultGroup = "$Default"

// Status says what a hub can be used for.
type Status uint8

// The states of a hub, as the service has them.
const (
	Active Status = iota
	Disabled
	SendDisabled
	ReceiveDisabled
)

func (s Status) String() string {
	return [...]string{"Active", "Disabled", "SendDisabled", "ReceiveDisabled"}[min(s, ReceiveDisabled)]
}

func (s Status) sends() bool    { return s == Active || s == ReceiveDisabled }
func (s Status) receives() bool { return s == Active || s == SendDisabled }

// HubSpec is what a hub is created with.
type HubSpec struct {
	// Name is unique in the namespace, compared without case.
	Name string
	// Partitions is their number; zero is 4.
	Partitions int
	// Groups are consumer groups besides $Default.
	Groups []string
	// Retention is what the hub keeps.
	Retention Retention
	// Rules are the hub's own rules besides those of the namespace.
	Rules []Rule
	// Status is what the hub can be used for.
	Status Status
	// UserMetadata is a text of the creator's.
	UserMetadata string
}

// Retention is what a hub keeps.
type Retention struct {
	// For is how long an event is kept; zero is without limit.
	For time.Duration
	// Bytes is how much each partition keeps; zero is without limit.
	Bytes int64
	// Compact keeps the last event of each key. For and Bytes, if they are
	// not zero, hold besides.
	Compact bool
	// Tombstones is how long a compacted hub keeps a key's deletion; zero
	// is 1 h.
	Tombstones time.Duration
}

// Hub is an event hub: a number of partitions under one name.
type Hub struct {
	ns      *Namespace
	name    string
	id      string
	created time.Time
	deleted chan struct{}
	robin   atomic.Uint64
	state   atomic.Pointer[hubState]
	// ended is read on every Submit.
	ended atomic.Pointer[Error]

	mu     sync.Mutex
	groups map[string]*Group // by lower-case name
}

// hubState is what of a hub can change while it is used; it is replaced as a
// whole.
type hubState struct {
	partitions []*Partition
	spec       HubSpec // without Groups
	updated    time.Time
}

func newHub(n *Namespace, id string, created time.Time, spec HubSpec) *Hub {
	h := &Hub{
		ns: n, name: spec.Name, id: id, created: created.UTC().Truncate(time.Millisecond),
		deleted: make(chan struct{}), groups: map[string]*Group{},
	}
	for _, g := range append([]string{DefaultGroup}, spec.Groups...) {
		h.addGroup(g, h.created, "")
	}
	spec.Groups = nil
	h.state.Store(&hubState{spec: spec, updated: h.created})
	return h
}

// Name returns the name as it was written at creation.
func (h *Hub) Name() string { return h.name }

// ID is random per creation: a hub that was deleted and created again has
// another one.
func (h *Hub) ID() string { return h.id }

// CreatedAt is the time of creation, in UTC with milliseconds.
func (h *Hub) CreatedAt() time.Time { return h.created }

// UpdatedAt is the time of the last change of the spec, likewise.
func (h *Hub) UpdatedAt() time.Time { return h.state.Load().updated }

// PartitionCount returns the number of partitions.
func (h *Hub) PartitionCount() int { return len(h.state.Load().partitions) }

// PartitionIDs returns "0" to "n-1".
func (h *Hub) PartitionIDs() []string {
	var ids []string
	for _, p := range h.state.Load().partitions {
		ids = append(ids, p.id)
	}
	return ids
}

// Spec returns what the hub is like now. Groups are without $Default, sorted.
func (h *Hub) Spec() HubSpec {
	s := h.state.Load()
	spec := s.spec
	spec.Partitions = len(s.partitions)
	spec.Rules = slices.Clone(spec.Rules)
	for _, g := range h.Groups() {
		if g.name != DefaultGroup {
			spec.Groups = append(spec.Groups, g.name)
		}
	}
	return spec
}

// Deleted is closed when the hub is deleted or its namespace closes; Err then
// tells what to say in the detach.
func (h *Hub) Deleted() <-chan struct{} { return h.deleted }

// Err is nil until Deleted is closed.
func (h *Hub) Err() *Error { return h.ended.Load() }

// Partition returns the partition of that id, or an ArgumentOutOfRange error
// with the service's text.
func (h *Hub) Partition(id string) (*Partition, error) {
	parts := h.state.Load().partitions
	i, err := strconv.Atoi(id)
	if err != nil || i < 0 || i >= len(parts) || parts[i].id != id {
		return nil, partitionOutOfRange(len(parts))
	}
	return parts[i], nil
}

// Partitions returns all partitions in order. The slice must not be changed.
func (h *Hub) Partitions() []*Partition { return h.state.Load().partitions }

// ForKey returns the partition that the service's hash assigns to key.
func (h *Hub) ForKey(key string) *Partition {
	parts := h.state.Load().partitions
	return parts[h.ns.o.Hash(key, len(parts))]
}

// Next returns the partition for the next batch without a key: round robin.
func (h *Hub) Next() *Partition {
	parts := h.state.Load().partitions
	return parts[(h.robin.Add(1)-1)%uint64(len(parts))]
}

// apply takes over a spec and more partitions; undo takes it back.
func (h *Hub) apply(spec HubSpec, more []*Partition, now time.Time) (undo func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old, groups := h.state.Load(), maps.Clone(h.groups)
	now = now.UTC().Truncate(time.Millisecond)
	for _, g := range spec.Groups {
		if h.groups[strings.ToLower(g)] == nil {
			h.addGroup(g, now, "")
		}
	}
	spec.Groups = nil
	h.state.Store(&hubState{partitions: slices.Concat(old.partitions, more), spec: spec, updated: now})
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.state.Store(old)
		h.groups = groups
	}
}

// enforceStatus ends the receivers if the hub does not allow any.
func (h *Hub) enforceStatus() {
	if h.state.Load().spec.Status.receives() {
		return
	}
	for _, g := range h.Groups() {
		g.endReceivers(disabled(h.ns.o.Name, h.name), false)
	}
}

// end makes the hub unusable and ends its receivers with reason.
func (h *Hub) end(reason *Error) {
	if !h.ended.CompareAndSwap(nil, reason) {
		return
	}
	close(h.deleted)
	for _, g := range h.Groups() {
		g.endReceivers(reason, true)
	}
}

// Groups returns all consumer groups, sorted by name.
func (h *Hub) Groups() []*Group {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.groups), func(a, b *Group) int {
		return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
}

// Group returns the consumer group of that name, in any case, or a NotFound
// error.
func (h *Hub) Group(name string) (*Group, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g, ok := h.groups[strings.ToLower(name)]
	if !ok {
		return nil, notFound(h.ns.o.Name, h.name+"/ConsumerGroups/"+name)
	}
	return g, nil
}
