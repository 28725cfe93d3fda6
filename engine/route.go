package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/hubferry/hubferry"
)

// route is an opened target of a task, with one lane for each of its partitions that is
// written to.
type route struct {
	Route
	writer hubferry.Writer
	layout hubferry.Layout
	// committer is not nil if the target keeps positions with the events and the delivery
	// asks for it; then there are no lanes.
	committer hubferry.Committer
	hub       string // canonical "namespace/hub" of the target, to notice events that come home

	mu    sync.Mutex
	lanes map[int]*lane

	gauge *gauge // nil unless the target is read for effectively-once delivery
}

// openRoute has the hub made if the target does that, opens the writer and asks for the
// layout. The route is for one hub of the source, or for all if from is "".
func (t *task) openRoute(ctx context.Context, r Route, trail hubferry.Trail, from string) (*route, error) {
	trail.Route = r.Name
	if m, ok := maker(r.Target); ok {
		like := func(ctx context.Context) (hubferry.Blueprint, error) { return t.blueprint(ctx, from) }
		if err := m.Make(ctx, r.Hub, like); err != nil {
			return nil, fmt.Errorf("open target %s: %w", r.Address, err)
		}
	}
	w, err := r.Target.Open(ctx, r.Hub, trail)
	if err != nil {
		return nil, fmt.Errorf("open target %s: %w", r.Address, err)
	}
	l, err := w.Layout(ctx)
	if err == nil && len(l.Places) == 0 {
		err = &hubferry.Error{Kind: hubferry.Fatal, Op: "layout", Err: errors.New("the target has no partition")}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open target %s: %w", r.Address, err), w.Close(ctx))
	}
	return &route{Route: r, writer: w, layout: l, hub: hubPath(l.Places[0]), lanes: map[int]*lane{}}, nil
}

// blueprint says how a hub of the source is made, or what all of them need if hub is "", as
// far as the source tells.
func (t *task) blueprint(ctx context.Context, hub string) (hubferry.Blueprint, error) {
	if d, ok := describer(t.Source); ok {
		return d.Describe(ctx, hub)
	}
	places, err := hubferry.PlacesOf(ctx, t.Source)
	counts := map[string]int{}
	for _, p := range places {
		counts[p.Hub]++
	}
	b := hubferry.Blueprint{Partitions: counts[hub]}
	if hub == "" {
		for _, n := range counts {
			b.Partitions = max(b.Partitions, n)
		}
	}
	return b, err
}

// layout is a task's stored mapping of source to target partitions (G-4). It is a pure
// function of the event, and stays what it was when the task began, whatever partitions
// the hubs gain: a key must not move while its older events are being retried.
type layout struct {
	Version int `json:"v"`
	Source  int `json:"source"` // partitions of the source
	Target  int `json:"target"` // partitions of the target
}

// keylessRun is how many events in sequence go to one partition when there is neither a
// key nor an equal partition number: long enough for full batches.
const keylessRun = 512

// partition returns the target partition of an event.
func (l layout) partition(e *hubferry.Event, hash func(hubferry.Key, int) int) int {
	if p, ok := e.Pinned(); ok && p < l.Target {
		return p
	}
	switch {
	case l.Target == 1:
		return 0
	case l.Source == l.Target && e.Origin.Index < l.Target:
		return e.Origin.Index
	case e.Key.Kind != hubferry.NoKey && hash != nil:
		return hash(e.Key, l.Target)
	default:
		return int(max(e.Pos.Sequence, 0)/keylessRun) % l.Target
	}
}

// stateKey is the name under which a route's mapping is stored in checkpoints.
func stateKey(route string) string { return "engine.map." + route }

// storedMapping returns the mapping of a route that a checkpoint holds, and whether it is
// one that we understand.
func storedMapping(states map[string][]byte, route string) (m layout, ok bool) {
	if err := json.Unmarshal(states[stateKey(route)], &m); err != nil {
		return layout{}, false
	}
	return m, m.Version == 1 && m.Target >= 1
}

// mappingOf returns the stored mapping of a route, or the present one.
func mappingOf(states map[string][]byte, r *route, sources int) (m layout, changed bool) {
	now := layout{Version: 1, Source: sources, Target: len(r.layout.Places)}
	m, ok := storedMapping(states, r.Name)
	if !ok || m.Target > now.Target {
		return now, m != layout{}
	}
	return m, m != now
}

// send takes outputs to the routes that they match.
func (w *worker) send(outputs []output) error {
	if len(w.routesOf) == 1 && w.routesOf[0].When == nil {
		return w.through(0, outputs)
	}
	matched := make([][]output, len(w.routesOf))
	for i := range outputs {
		o := &outputs[i]
		routes, err := w.match(o.event)
		if err != nil {
			w.poisonOutput(o, err)
			continue
		}
		if len(routes) == 0 {
			w.count(func(c *hubferry.Counts) { c.Dropped["no route"]++ })
			o.settle()
			continue
		}
		o.expect(len(routes) - 1)
		for _, r := range routes {
			own := o.event
			if len(routes) > 1 {
				shared := o.event.Share()
				own = &shared
			}
			matched[r] = append(matched[r], output{event: own, ticket: o.ticket, more: o.more})
		}
	}
	for r := range matched {
		if err := w.through(r, matched[r]); err != nil {
			return err
		}
	}
	return nil
}

// match returns the indexes of the routes that an event takes.
func (w *worker) match(e *hubferry.Event) ([]int, error) {
	var routes []int
	for i, r := range w.routesOf {
		if r.When != nil {
			ok, err := r.When(e)
			if err != nil {
				return nil, fmt.Errorf("condition of route %s: %w", r.Name, err)
			}
			if !ok {
				continue
			}
		}
		routes = append(routes, i)
		if w.Match == MatchFirst {
			break
		}
	}
	return routes, nil
}

// through runs the editors of a route and queues what comes out.
func (w *worker) through(r int, outputs []output) error {
	c := &w.routes[r]
	if len(c.steps) > 0 && len(outputs) > 0 {
		c.draft.Reset()
		for i := range outputs {
			o := &outputs[i]
			c.draft.Add(o.event.Share(), hubferry.Ticket{Origin: o.event.Origin, Sequence: o.event.Pos.Sequence, Token: o})
		}
		var err error
		if outputs, err = c.run(w.ctx, w.judge); err != nil {
			return err
		}
	}
	if len(c.steps)+len(w.tasks.steps) > 0 {
		number(outputs)
	}
	w.enqueue(r, outputs)
	return nil
}

// enqueue puts outputs into the lanes of their target partitions, or to the committer.
func (w *worker) enqueue(r int, outputs []output) {
	route := w.routesOf[r]
	c, s := w.commits[r], &w.sorter
	s.reset(w.mapping[r].Target)
	for i := range outputs {
		o := &outputs[i]
		if w.comesHome(o.event, route.hub) {
			w.count(func(c *hubferry.Counts) { c.Dropped["came home"]++ })
			o.settle()
			continue
		}
		if c != nil && c.found(o) {
			continue
		}
		s.add(newItem(o, w), w.mapping[r].partition(o.event, route.layout.Partition))
	}
	s.each(func(p int, items []item) {
		if c != nil {
			c.put(p, items)
			return
		}
		w.lane(route, p).put(items...)
	})
}

// sorter sorts items by target partition, keeping their order, so that a lane is asked once
// for a batch and not for each event. It keeps its arrays.
type sorter struct {
	items  []item
	places []int // the target partition of each item
	ends   []int // by target partition: how many items, then where they end in sorted
	sorted []item
}

// reset empties the sorter for a number of target partitions.
func (s *sorter) reset(targets int) {
	s.items, s.places = s.items[:0], s.places[:0]
	s.ends = slices.Grow(s.ends[:0], targets)[:targets]
	clear(s.ends)
}

func (s *sorter) add(i item, partition int) {
	s.items, s.places = append(s.items, i), append(s.places, partition)
	s.ends[partition]++
}

// each calls f for every partition that has items. They are only valid during the call.
func (s *sorter) each(f func(partition int, items []item)) {
	end := 0
	for p, n := range s.ends {
		s.ends[p] = end // for now where they begin
		end += n
	}
	s.sorted = slices.Grow(s.sorted[:0], len(s.items))[:len(s.items)]
	for i, p := range s.places {
		s.sorted[s.ends[p]] = s.items[i]
		s.ends[p]++
	}
	from := 0
	for p, to := range s.ends {
		if from < to {
			f(p, s.sorted[from:to])
		}
		from = to
	}
	clear(s.items)
	clear(s.sorted)
}

// comesHome reports whether an event has already been at the target's hub: forwarding it
// would send it in circles.
func (w *worker) comesHome(e *hubferry.Event, hub string) bool {
	if w.Trail.Mode != hubferry.TrailFull {
		return false
	}
	v, ok := e.Property(hubferry.ReplSource)
	if !ok {
		return false
	}
	path, _ := v.AsText()
	for place := range strings.SplitSeq(path, ";") {
		if strings.HasPrefix(place, hub) && (len(place) == len(hub) || place[len(hub)] == '/') {
			return true
		}
	}
	return false
}
