package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hubferry/hubferry"
)

// The names that stand for the source hub's in Route.Hub. They are one; which is used is
// a matter of taste.
var sourceNames = []string{"{hub}", "{topic}"}

// isTemplate reports whether the route's hub depends on the source hub.
func (r *Route) isTemplate() bool {
	for _, name := range sourceNames {
		if strings.Contains(r.Hub, name) {
			return true
		}
	}
	return false
}

// of returns the route as it is for a source hub.
func (r *Route) of(hub string) Route {
	own := *r
	for _, name := range sourceNames {
		own.Hub = strings.ReplaceAll(own.Hub, name, hub)
		own.Address = strings.ReplaceAll(own.Address, name, hub)
	}
	return own
}

// opened are a task's routes. One whose hub depends on the source hub is opened when the
// first partition needs it, and all live as long as the task.
type opened struct {
	mu     sync.Mutex
	open   map[routeKey]*opening
	former []*route // that were opened again since
}

type routeKey struct {
	index int
	hub   string // of the source, or "" if the route is the same for all
}

func (t *task) routeKey(index int, hub string) routeKey {
	if !t.Routes[index].isTemplate() {
		hub = ""
	}
	return routeKey{index, hub}
}

// opening is a route that is being opened, or was, once done is closed.
type opening struct {
	done  chan struct{}
	route *route
	err   error
}

func (o *opening) wait(ctx context.Context) (*route, error) {
	select {
	case <-o.done:
		return o.route, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// routeFor returns a route as it is for a source hub.
func (t *task) routeFor(ctx context.Context, index int, hub string) (*route, error) {
	key := t.routeKey(index, hub)
	s := &t.opened
	s.mu.Lock()
	o := s.open[key]
	ours := o == nil
	if ours {
		o = &opening{done: make(chan struct{})}
		s.open[key] = o
	}
	s.mu.Unlock()
	if ours {
		o.route, o.err = t.openForEvents(ctx, t.Routes[index].of(key.hub), key.hub)
		if o.err != nil { // the next who asks tries again
			s.mu.Lock()
			delete(s.open, key)
			s.mu.Unlock()
		}
		close(o.done)
	}
	return o.wait(ctx)
}

// reopen opens a route again whose target has more partitions by now, and returns it. Those
// who write through the former one go on with it.
func (t *task) reopen(ctx context.Context, index int, hub string, former *route) (*route, error) {
	key := t.routeKey(index, hub)
	s := &t.opened
	s.mu.Lock()
	before := s.open[key]
	if !isClosed(before.done) || before.route != former { // another partition was faster
		s.mu.Unlock()
		return before.wait(ctx)
	}
	o := &opening{done: make(chan struct{})}
	s.open[key] = o
	s.mu.Unlock()
	o.route, o.err = t.openForEvents(ctx, former.Route, key.hub)
	s.mu.Lock()
	if o.err == nil {
		s.former = append(s.former, former)
	} else {
		s.open[key] = before
	}
	s.mu.Unlock()
	close(o.done)
	return o.route, o.err
}

// all returns the routes that were opened.
func (s *opened) all() []*route {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.former)
	for _, o := range s.open {
		all = append(all, o.route)
	}
	return all
}

// openRoutes finds the routes as they are for the partition's hub, and refuses one that
// leads back into it: whatever name a hub is reached by, its place has one (G-1).
func (p *partition) openRoutes(ctx context.Context) error {
	if p.routesOf == nil {
		list := make([]*route, len(p.Routes))
		for i := range list {
			var err error
			if list[i], err = p.routeFor(ctx, i, p.place.Hub); err != nil {
				return err
			}
		}
		p.routesOf = list
	}
	own := hubPath(p.place)
	for _, r := range p.routesOf {
		if r.hub == own {
			return ownHub(p.place, r)
		}
	}
	if p.deadRoute != nil && p.deadRoute.hub == own {
		return ownHub(p.place, p.deadRoute)
	}
	return nil
}

// widen sees to it that the routes know of all partitions that the stored mapping has: an
// instance may have opened a target before it grew, and another one have mapped since (G-4).
func (p *partition) widen(ctx context.Context) error {
	if p.mapping != nil {
		return nil
	}
	for i := range p.routesOf {
		m, ok := storedMapping(p.from.states, p.routesOf[i].Name)
		for ok && m.Target > len(p.routesOf[i].layout.Places) {
			r := p.routesOf[i]
			l, err := r.writer.Layout(ctx)
			if err == nil && len(l.Places) <= len(r.layout.Places) {
				break // it is smaller than it was
			}
			if err == nil {
				p.routesOf[i], err = p.reopen(ctx, i, p.place.Hub, r)
			}
			if err != nil {
				p.routesOf[i] = r
				return fmt.Errorf("open target %s, which has gained partitions: %w", r.Address, err)
			}
		}
	}
	return nil
}

func ownHub(place *hubferry.Place, r *route) error {
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: "start", Place: place,
		Err:  fmt.Errorf("target %s is the hub that is read: its events would go round for ever", r.Address),
		Hint: "write to another hub, or leave this one out of the source",
	}
}

// hubPath returns the canonical "namespace/hub" of a place.
func hubPath(p *hubferry.Place) string {
	namespace, rest, _ := strings.Cut(p.Path(), "/")
	hub, _, _ := strings.Cut(rest, "/")
	return namespace + "/" + hub
}
