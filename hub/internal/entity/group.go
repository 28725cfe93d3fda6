package entity

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Group is a consumer group of a hub.
type Group struct {
	hub      *Hub
	name     string
	created  time.Time
	metadata string

	mu     sync.Mutex
	tables map[int]*table // by partition
	ended  *Error
}

// Name returns the name as it was written at creation.
func (g *Group) Name() string { return g.name }

// CreatedAt is the time of creation, in UTC with milliseconds.
func (g *Group) CreatedAt() time.Time { return g.created }

// UserMetadata is the text that the group was created with.
func (g *Group) UserMetadata() string { return g.metadata }

// addGroup is called with h.mu held, or before h is shared.
func (h *Hub) addGroup(name string, created time.Time, metadata string) *Group {
	low := strings.ToLower(name)
	if strings.EqualFold(name, DefaultGroup) {
		name = DefaultGroup
	}
	g := &Group{hub: h, name: name, created: created, metadata: metadata, tables: map[int]*table{}}
	h.groups[low] = g
	return g
}

// CreateGroup creates a consumer group. It is stored when CreateGroup returns.
// One of that name is an EntityAlreadyExists error, a bad name an
// ArgumentError, too many groups a ResourceLimitExceeded.
func (h *Hub) CreateGroup(ctx context.Context, name, userMetadata string) (*Group, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := CheckGroupName(name); err != nil {
		return nil, err
	}
	h.ns.admin.Lock()
	defer h.ns.admin.Unlock()
	if e := h.Err(); e != nil {
		return nil, e
	}
	h.mu.Lock()
	low := strings.ToLower(name)
	if h.groups[low] != nil {
		h.mu.Unlock()
		return nil, exists(h.ns.o.Name, h.name+"/ConsumerGroups/"+name)
	}
	if limit := h.ns.o.Limits.Groups; len(h.groups) >= limit {
		h.mu.Unlock()
		return nil, quota(fmt.Sprintf("The hub '%s' has %d consumer groups, which is the limit.", h.name, limit))
	}
	g := h.addGroup(name, h.ns.o.Now().UTC().Truncate(time.Millisecond), userMetadata)
	h.mu.Unlock()
	if err := h.ns.commit(nil, nil); err != nil {
		h.mu.Lock()
		delete(h.groups, low)
		h.mu.Unlock()
		return nil, fmt.Errorf("create consumer group %s: %w", name, err)
	}
	return g, nil
}

// DeleteGroup removes a consumer group and ends its receivers. $Default cannot
// be removed (NotAllowed).
func (h *Hub) DeleteGroup(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if strings.EqualFold(name, DefaultGroup) {
		return &Error{Condition: NotAllowed, Text: "The consumer group $Default cannot be deleted.", Status: 400}
	}
	h.ns.admin.Lock()
	defer h.ns.admin.Unlock()
	g, err := h.Group(name)
	if err != nil {
		return err
	}
	low := strings.ToLower(name)
	h.mu.Lock()
	delete(h.groups, low)
	h.mu.Unlock()
	if err := h.ns.commit(nil, nil); err != nil {
		h.mu.Lock()
		h.groups[low] = g
		h.mu.Unlock()
		return fmt.Errorf("delete consumer group %s: %w", g.name, err)
	}
	g.endReceivers(notFound(h.ns.o.Name, h.name+"/ConsumerGroups/"+g.name), true)
	return nil
}

// endReceivers ends all receivers; for good if the group has ended.
func (g *Group) endReceivers(reason *Error, ended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if ended && g.ended == nil {
		g.ended = reason
	}
	for _, t := range g.tables {
		if t.owner != nil {
			t.owner.end(reason)
		}
		for _, r := range t.plain {
			r.end(reason)
		}
	}
	clear(g.tables)
}
