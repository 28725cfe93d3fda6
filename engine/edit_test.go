package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// number returns the property that event gave it.
func number(e *hubferry.Event) int64 {
	v, _ := e.Property("n")
	n, _ := v.AsInt()
	return n
}

func step(name string, f hubferry.EditorFunc) engine.Step {
	return engine.Step{Name: name, New: func() (hubferry.Editor, error) { return f, nil }}
}

// dropOdd drops every other event.
var dropOdd = step("drop-odd", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
	if number(e)%2 == 1 {
		return []hubferry.Event{}, nil
	}
	return nil, nil
})

// triple makes three events of one.
var triple = step("triple", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
	parts := make([]hubferry.Event, 3)
	for i := range parts {
		parts[i] = e.Share()
		c, err := parts[i].Edit()
		if err != nil {
			return nil, err
		}
		c.Properties.Set("part", hubferry.Int(int32(i)))
	}
	return parts, nil
})

// rejectFives finds fault with every fifth event.
var rejectFives = step("reject-fives", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
	if number(e)%5 == 0 {
		return nil, errors.New("a multiple of five")
	}
	return nil, nil
})

// ids counts the values of repl-id on the target.
func (r *rig) ids() map[string]int {
	ids := map[string]int{}
	for p := range r.target.Partitions() {
		for _, e := range r.target.Dump(p) {
			v, _ := e.Property(hubferry.ReplID)
			text, _ := v.AsText()
			ids[text]++
		}
	}
	return ids
}

func TestEditors(t *testing.T) {
	for name, c := range map[string]struct {
		task, route []engine.Step
		want        map[string]int
	}{
		"drop":             {task: []engine.Step{dropOdd}, want: map[string]int{"copy/out/0": 500}},
		"split":            {task: []engine.Step{triple}, want: map[string]int{"copy/out/0+": 1000, "copy/out/1+": 1000, "copy/out/2": 1000}},
		"split in a route": {route: []engine.Step{dropOdd, triple}, want: map[string]int{"copy/out/0+": 500, "copy/out/1+": 500, "copy/out/2": 500}},
		"split twice": {task: []engine.Step{triple}, route: []engine.Step{dropOdd, triple}, want: map[string]int{
			"copy/out/0+": 500, "copy/out/1+": 500, "copy/out/2+": 500, "copy/out/3+": 500, "copy/out/4+": 500,
			"copy/out/5+": 500, "copy/out/6+": 500, "copy/out/7+": 500, "copy/out/8": 500,
		}},
		"reject": {task: []engine.Step{rejectFives}, route: []engine.Step{triple, rejectFives}, want: map[string]int{
			"copy/out/0+": 800, "copy/out/1+": 800, "copy/out/2": 800,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 4, 3)
				r.task.Editors, r.task.Routes[0].Editors = c.task, c.route
				r.task.OnError = engine.OnErrorDrop
				r.produce(1000, 20)
				x := r.start()
				x.settled(1000)
				x.finish()
				got := r.ids()
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("got %v, want %v", got, c.want)
				}
			})
		})
	}
}

func TestEditorRejectsStop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Editors = []engine.Step{rejectFives}
		for i := 1; i <= 10; i++ {
			r.source.Inject(0, event("k", i))
		}
		x := r.start()
		time.Sleep(time.Minute)
		s := x.Status()[0]
		x.finish()
		if s.State != hubferry.Failed || !strings.Contains(s.Error, "multiple of five") || !strings.Contains(s.Error, "west/in/0@4") {
			t.Errorf("status %+v does not name the event and the reason", s)
		}
		if c := r.store.saved["0"]; c.Position.Sequence >= 4 {
			t.Errorf("checkpoint %d is beyond the event that stopped the partition", c.Position.Sequence)
		}
	})
}

func TestRoutes(t *testing.T) {
	less := func(limit int64) hubferry.Condition {
		return func(e *hubferry.Event) (bool, error) { return number(e) < limit, nil }
	}
	for match, want := range map[engine.Match][3]int{
		engine.MatchAll:   {100, 300, 1000},
		engine.MatchFirst: {100, 200, 700},
	} {
		t.Run(string(match), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 4, 1)
				target := r.task.Routes[0].Target
				hubs := [3]*mem.Hub{r.broker.Create("east", "a", mem.HubOptions{}), r.broker.Create("east", "b", mem.HubOptions{Partitions: 4}), r.target}
				r.task.Match = match
				r.task.Routes = []engine.Route{
					{Name: "a", Target: target, Hub: "a", Address: "east/a", When: less(100)},
					{Name: "b", Target: target, Hub: "b", Address: "east/b", When: less(300), Editors: []engine.Step{triple}},
					{Name: "rest", Target: target, Hub: "out", Address: "east/out"},
				}
				r.produce(1000, 20)
				x := r.start()
				x.settled(1000)
				x.finish()
				var got [3]int
				for i, h := range hubs {
					for p := range h.Partitions() {
						got[i] += len(h.Dump(p))
					}
				}
				got[1] /= 3
				if got != want {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		})
	}
	t.Run("no route", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			r := newRig(t, 1, 1)
			r.task.Routes[0].When = less(10)
			r.produce(100, 0)
			x := r.start()
			x.settled(100)
			x.finish()
			if n := x.Status()[0].Counts.Dropped["no route"]; n != 90 {
				t.Errorf("counted %d events without a route, want 90", n)
			}
		})
	})
}

// window is an editor that merges all events of some time into one.
type window struct {
	held  []hubferry.Ticket
	since time.Time
	last  hubferry.Event
	span  time.Duration
}

func (w *window) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		if len(w.held) == 0 {
			w.since = time.Now()
		}
		w.last = d.Events[i].Share()
		w.held = append(w.held, d.Hold(i)...)
	}
	return nil
}

func (w *window) Due() time.Time {
	if len(w.held) == 0 {
		return time.Time{}
	}
	return w.since.Add(w.span)
}

func (w *window) Flush(_ context.Context, d *hubferry.Draft, _ bool) error {
	if len(w.held) == 0 {
		return nil
	}
	e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Appendf(nil, "%d", len(w.held))})
	e.Key = w.last.Key
	d.Merge(len(d.Events), w.held, e)
	w.held = nil
	return nil
}

func windowStep(span time.Duration) engine.Step {
	return engine.Step{Name: "window", New: func() (hubferry.Editor, error) { return &window{span: span}, nil }}
}

// sum adds up what the aggregates on the target say.
func (r *rig) sum() (events, aggregates int) {
	for p := range r.target.Partitions() {
		for _, e := range r.target.Dump(p) {
			c, _ := e.Content()
			var n int
			_, _ = fmt.Sscan(string(c.Body), &n)
			events += n
			aggregates++
		}
	}
	return events, aggregates
}

func TestAggregateByTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Editors = []engine.Step{windowStep(10 * time.Second)}
		x := r.start()
		for range 60 {
			r.source.Inject(0, event("k", 1))
			time.Sleep(time.Second)
		}
		x.settled(40)
		x.finish() // releases what is held
		if events, aggregates := r.sum(); events != 60 || aggregates < 6 || aggregates > 7 {
			t.Errorf("%d aggregates of %d events, want 6 or 7 of 60", aggregates, events)
		}
		if c := r.store.saved["0"]; c.Position.Sequence != 59 || !c.Clean {
			t.Errorf("checkpoint %+v", c)
		}
	})
}

func TestAggregateLargerThanTheWindow(t *testing.T) {
	for name, set := range map[string]func(*engine.Task){
		"window": func(d *engine.Task) { d.Window = 100 },
		"budget": func(d *engine.Task) { d.Budget = 30_000 },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, 2, 1)
				set(&r.task)
				r.task.Editors = []engine.Step{windowStep(24 * time.Hour)}
				r.produce(1000, 7)
				x := r.start()
				time.Sleep(time.Hour)
				x.finish()
				if events, _ := r.sum(); events != 1000 {
					t.Errorf("aggregates of %d events, want 1000: a full window must release what is held", events)
				}
			})
		})
	}
}

func TestAggregateSurvivesKills(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.task.Editors = []engine.Step{windowStep(10 * time.Second)}
		r.produce(100, 1)
		x := r.start()
		time.Sleep(5 * time.Second)
		x.kill() // with 100 events held
		x = r.start()
		time.Sleep(time.Minute)
		x.finish()
		if events, _ := r.sum(); events != 100 {
			t.Errorf("aggregates of %d events, want all 100: held events are not settled", events)
		}
	})
}

// closing is an editor that counts how many of it are open.
type closing struct{ open *atomic.Int64 }

func (c closing) Edit(context.Context, *hubferry.Draft) error { return nil }

func (c closing) Close(context.Context) error {
	c.open.Add(-1)
	return nil
}

func TestEditorsAreClosed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var open, made atomic.Int64
		s := engine.Step{Name: "closing", New: func() (hubferry.Editor, error) {
			if made.Add(1) == 3 {
				return nil, errors.New("no room")
			}
			open.Add(1)
			return closing{&open}, nil
		}}
		r := newRig(t, 3, 1)
		r.task.Editors, r.task.Routes[0].Editors = []engine.Step{s}, []engine.Step{s}
		r.produce(100, 5)
		x := r.start()
		time.Sleep(time.Minute)
		if n := open.Load(); n != 4 {
			t.Errorf("%d editors are open, want two for each of two partitions", n)
		}
		x.finish()
		if n := open.Load(); n != 0 {
			t.Errorf("%d editors were left open", n)
		}
	})
}
