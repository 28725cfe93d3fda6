package engine_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// dropPart drops the parts that triple gave these numbers.
func dropPart(parts ...int32) engine.Step {
	return step("drop-part", func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
		for _, p := range parts {
			if v, _ := e.Property("part"); v == hubferry.Int(p) {
				return []hubferry.Event{}, nil
			}
		}
		return nil, nil
	})
}

// holdPart holds the first part of every event until it is flushed.
type holdPart struct{ window }

func (h *holdPart) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		if v, _ := d.Events[i].Property("part"); v == hubferry.Int(0) {
			h.last, h.since = d.Events[i].Share(), time.Now()
			h.held = append(h.held, d.Hold(i)...)
		}
	}
	return nil
}

func holdPartStep() engine.Step {
	return engine.Step{Name: "hold-part", New: func() (hubferry.Editor, error) { return &holdPart{window{span: time.Hour}}, nil }}
}

// INV-2: what one editor makes of an input, the next ones may drop, hold or split again.
// The checkpoint passes the input when the last of it is done, and not before.
func TestEditorsBehindASplit(t *testing.T) {
	for name, c := range map[string]struct {
		steps   []engine.Step
		outputs int // at the end, of 100 inputs; 0: not checked
	}{
		"drop":            {[]engine.Step{triple, dropPart(1)}, 200},
		"drop the ends":   {[]engine.Step{triple, dropPart(0, 2)}, 100},
		"drop all":        {[]engine.Step{triple, dropPart(0, 1, 2)}, 0},
		"split and drop":  {[]engine.Step{triple, triple, dropPart(1), triple}, 1800},
		"hold":            {[]engine.Step{triple, holdPartStep()}, 0},
		"hold and drop":   {[]engine.Step{triple, holdPartStep(), dropPart(1)}, 0},
		"window of parts": {[]engine.Step{triple, windowStep(time.Minute), triple, dropPart(2)}, 0},
	} {
		for _, where := range []string{"task", "route"} {
			t.Run(name+" in the "+where, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					r := newRig(t, 1, 2)
					if where == "task" {
						r.task.Editors = c.steps
					} else {
						r.task.Routes[0].Editors = c.steps
					}
					// One target partition takes nothing, so no input whose outputs go there is done.
					release := make(chan struct{})
					r.target.Fail(mem.Fault{Op: mem.OpWrite, Partition: 1, Times: -1, Block: release})
					stuck := int64(-1)
					for i := range 100 {
						e := event(fmt.Sprintf("key-%d", i%10), i)
						if p := keyhash.EventHubs(e.Key.String(), 2); p == 1 && stuck < 0 {
							stuck = int64(i)
						}
						r.source.Inject(0, e)
					}
					x := r.start()
					time.Sleep(time.Minute / 2)
					if s := r.store.get(r.source.Place(0)).Position.Sequence; c.outputs > 0 && s >= stuck {
						t.Errorf("the checkpoint is at %d, and event %d is not written", s, stuck)
					}
					close(release)
					r.target.Heal()
					time.Sleep(time.Minute)
					x.finish()
					if s := r.store.saved["0"]; s.Position.Sequence != 99 || !s.Clean {
						t.Errorf("the last checkpoint is %+v, want a clean one at 99", s)
					}
					if n := len(r.target.Dump(0)) + len(r.target.Dump(1)); c.outputs > 0 && n != c.outputs {
						t.Errorf("%d outputs, want %d", n, c.outputs)
					}
				})
			})
		}
	}
}

// What a route's editor makes of what it held is routed like everything else.
func TestAggregateInARoute(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.task.Routes[0].Editors = []engine.Step{windowStep(10 * time.Second)}
		r.produce(100, 10)
		x := r.start()
		x.settled(100)
		x.finish()
		if events, aggregates := r.sum(); events != 100 || aggregates != 2 {
			t.Errorf("%d aggregates of %d events, want 2 of 100", aggregates, events)
		}
	})
}

// A pause delivers what was read, also what an editor holds.
func TestPauseReleasesWhatIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 2, 2)
		r.task.Editors = []engine.Step{windowStep(24 * time.Hour)}
		r.produce(100, 10)
		x := r.start()
		time.Sleep(time.Minute)
		if err := x.Pause("copy"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if events, _ := r.sum(); events != 100 {
			t.Errorf("aggregates of %d events after a pause, want 100", events)
		}
		x.finish()
	})
}

// counter numbers the events that it sees, over restarts.
type counter struct{ n int }

func (c *counter) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		content, err := d.Events[i].Edit()
		if err != nil {
			return err
		}
		content.Body = strconv.AppendInt(nil, int64(c.n), 10)
		c.n++
	}
	return nil
}

func (c *counter) Resume(_ context.Context, state []byte, _ []hubferry.Event) error {
	c.n = 0
	if len(state) == 0 {
		return nil
	}
	n, err := strconv.Atoi(string(state))
	c.n = n
	return err
}

func (c *counter) State() []byte { return strconv.AppendInt(nil, int64(c.n), 10) }

// The state of an editor is stored with the checkpoint, also that of a route's, and apart
// from its namesake's.
func TestEditorStatesOutliveARestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, 1, 1)
		count := engine.Step{Name: "count", New: func() (hubferry.Editor, error) { return new(counter), nil }}
		r.task.Editors = []engine.Step{count, dropOdd}
		r.task.Routes[0].Editors = []engine.Step{count}
		for range 3 {
			r.produce(100, 3)
			x := r.start()
			x.settled(100)
			x.finish()
		}
		for i, e := range r.target.Dump(0) {
			if c, _ := e.Content(); string(c.Body) != strconv.Itoa(i) {
				t.Fatalf("output %d of the route's counter has number %s", i, c.Body)
			}
		}
		if s := r.store.saved["0"].States; string(s["count"]) != "300" || string(s["out/count"]) != "150" {
			t.Errorf("states %q", s)
		}
	})
}
