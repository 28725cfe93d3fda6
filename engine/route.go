package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	hub    string // canonical "namespace/hub" of the target, to notice events that come home

	mu    sync.Mutex
	lanes map[int]*lane
}

// openRoute opens the writer and asks for the layout.
func openRoute(ctx context.Context, r Route, trail hubferry.Trail) (*route, error) {
	trail.Route = r.Name
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
	namespace, rest, _ := strings.Cut(l.Places[0].Path(), "/")
	hub, _, _ := strings.Cut(rest, "/")
	return &route{Route: r, writer: w, layout: l, hub: namespace + "/" + hub, lanes: map[int]*lane{}}, nil
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

// mappingOf returns the stored mapping of a route, or the present one.
func mappingOf(states map[string][]byte, r *route, sources int) (m layout, changed bool) {
	now := layout{Version: 1, Source: sources, Target: len(r.layout.Places)}
	if err := json.Unmarshal(states[stateKey(r.Name)], &m); err != nil || m.Version != 1 || m.Target < 1 || m.Target > now.Target {
		return now, err == nil && m != layout{}
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
		routes, err := w.match(&o.event)
		if err != nil {
			w.poisonOutput(o, err)
			continue
		}
		if len(routes) == 0 {
			w.count(func(c *hubferry.Counts) { c.Dropped["no route"]++ })
			o.settle(1)
			continue
		}
		o.expect(len(routes) - 1)
		for _, r := range routes {
			matched[r] = append(matched[r], output{event: o.event.Share(), ticket: o.ticket, more: o.more})
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
			c.draft.Add(o.event, hubferry.Ticket{Origin: o.event.Origin, Sequence: o.event.Pos.Sequence, Token: o})
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

// enqueue puts outputs into the lanes of their target partitions.
func (w *worker) enqueue(r int, outputs []output) {
	route := w.routesOf[r]
	for i := range outputs {
		o := &outputs[i]
		if w.comesHome(&o.event, route.hub) {
			w.count(func(c *hubferry.Counts) { c.Dropped["came home"]++ })
			o.settle(1)
			continue
		}
		p := w.mapping[r].partition(&o.event, route.layout.Partition)
		w.lane(route, p).put(item{output: o, worker: w})
	}
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
