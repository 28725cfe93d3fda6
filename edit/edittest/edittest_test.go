package edittest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/edit/edittest"
)

// pass lets everything through.
var pass = hubferry.EditorFunc(func(context.Context, *hubferry.Event) ([]hubferry.Event, error) { return nil, nil })

// mixed changes, drops, splits and rejects, by the property "n".
var mixed = hubferry.EditorFunc(func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
	v, _ := e.Property("n")
	n, _ := v.AsInt()
	switch n % 5 {
	case 1:
		return []hubferry.Event{}, nil
	case 2:
		return nil, errors.New("poison")
	case 3:
		part := func(s string) hubferry.Event { return hubferry.NewEvent(&hubferry.Content{Body: []byte(s)}) }
		return []hubferry.Event{part("left"), part("right")}, nil
	case 4:
		c, err := e.Edit()
		if err != nil {
			return nil, err
		}
		c.Properties.Set("edited", hubferry.Bool(true))
	}
	return nil, nil
})

// batcher joins three events to one, or what there is after a minute.
type batcher struct {
	held    []hubferry.Event
	tickets []hubferry.Ticket
	due     time.Time
	broken  string
}

func (b *batcher) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		if len(b.held) == 0 {
			b.due = time.Now().Add(time.Minute)
		}
		b.held = append(b.held, d.Events[i].Share())
		b.tickets = append(b.tickets, d.Hold(i)...)
		if len(b.held) == 3 {
			b.release(d)
		}
	}
	return nil
}

func (b *batcher) release(d *hubferry.Draft) {
	var bodies [][]byte
	for i := range b.held {
		if c, err := b.held[i].Content(); err == nil {
			bodies = append(bodies, c.Body)
		}
	}
	tickets := b.tickets
	if b.broken == "loses a ticket" && len(tickets) > 1 {
		tickets = tickets[1:]
	}
	d.Merge(len(d.Events), tickets, hubferry.NewEvent(&hubferry.Content{Body: bytes.Join(bodies, []byte("\n"))}))
	if b.broken == "settles twice" {
		d.Merge(len(d.Events), tickets)
	}
	if b.broken != "forgets to forget" {
		b.held, b.tickets = nil, nil
	}
	if b.broken != "is always due" {
		b.due = time.Time{}
	}
}

func (b *batcher) Due() time.Time {
	if b.broken == "is never due" {
		return time.Time{}
	}
	return b.due
}

func (b *batcher) Flush(_ context.Context, d *hubferry.Draft, all bool) error {
	if len(b.held) > 0 && (all || !b.due.After(time.Now())) && b.broken != "does not flush" && (all || b.broken != "does not flush in time") {
		b.release(d)
	}
	return nil
}

// numberer numbers events, and goes on after a restart.
type numberer struct {
	n      uint64
	state  []byte
	broken string
}

func (m *numberer) Edit(_ context.Context, d *hubferry.Draft) error {
	for i := range d.Events {
		c, err := d.Events[i].Edit()
		if err != nil {
			return err
		}
		m.n++
		c.Properties.Set("number", hubferry.ULong(m.n))
	}
	return nil
}

func (m *numberer) Resume(_ context.Context, state []byte, _ []hubferry.Event) error {
	if len(state) >= 8 {
		m.n = binary.BigEndian.Uint64(state)
	} else if m.broken != "does not rewind to the beginning" {
		m.n = 0
	}
	if m.broken == "forgets on resume" {
		m.n = 0
	}
	return nil
}

func (m *numberer) State() []byte {
	switch m.broken {
	case "hands out its own bytes":
		m.state = binary.BigEndian.AppendUint64(m.state[:0], m.n)
		return m.state
	case "has a big state":
		return make([]byte, 2000)
	case "counts in State":
		m.n++
	}
	return binary.BigEndian.AppendUint64(nil, m.n)
}

func always(e hubferry.Editor) func() (hubferry.Editor, error) {
	return func() (hubferry.Editor, error) { return e, nil }
}

func TestGoodEditors(t *testing.T) {
	t.Run("pass", func(t *testing.T) {
		edittest.Run(t, edittest.Subject{New: always(pass), Check: func(t testing.TB, in, out []hubferry.Event) {
			if len(in) != len(out) {
				t.Errorf("%d events became %d", len(in), len(out))
			}
		}})
	})
	t.Run("mixed", func(t *testing.T) { edittest.Run(t, edittest.Subject{New: always(mixed)}) })
	t.Run("batch", func(t *testing.T) {
		for _, c := range edittest.Cases() {
			t.Run(c.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c.Run(t, edittest.Subject{New: func() (hubferry.Editor, error) { return &batcher{}, nil }})
				})
			})
		}
	})
	t.Run("number", func(t *testing.T) {
		edittest.Run(t, edittest.Subject{New: func() (hubferry.Editor, error) { return &numberer{}, nil }})
	})
}

// editorFunc makes an editor of a function over drafts.
type editorFunc func(d *hubferry.Draft)

func (f editorFunc) Edit(_ context.Context, d *hubferry.Draft) error {
	f(d)
	return nil
}

func TestTheSuiteNotices(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	body := func(text string) hubferry.Event { return hubferry.NewEvent(&hubferry.Content{Body: []byte(text)}) }
	batch := func(broken string) func() (hubferry.Editor, error) {
		return func() (hubferry.Editor, error) { return &batcher{broken: broken}, nil }
	}
	number := func(broken string) func() (hubferry.Editor, error) {
		return func() (hubferry.Editor, error) { return &numberer{broken: broken}, nil }
	}
	shared := &numberer{}
	n := 0
	tests := []struct {
		name, by string
		new      func() (hubferry.Editor, error)
	}{
		{"makes events of nothing", "an empty draft", always(editorFunc(func(d *hubferry.Draft) {
			d.Add(body("extra"), hubferry.Ticket{Sequence: 1})
		}))},
		{"cannot be made", "an empty draft", func() (hubferry.Editor, error) { return nil, errors.New("no") }},
		{"holds and forgets", "every input is settled once", always(editorFunc(func(d *hubferry.Draft) { d.Hold(0) }))},
		{"shortens the draft", "every input is settled once", always(editorFunc(func(d *hubferry.Draft) { d.Events = d.Events[:len(d.Events)-1] }))},
		{"drops without a reason", "every input is settled once", always(editorFunc(func(d *hubferry.Draft) { d.Drop(0, "") }))},
		{"settles an input apart", "every input is settled once", always(editorFunc(func(d *hubferry.Draft) {
			if len(d.Events) > 2 {
				held := d.Hold(0)
				d.Replace(1, body("x"))
				d.Merge(len(d.Events), held, body("a"))
				d.Merge(len(d.Events), d.Hold(2), body("b"))
				d.Merge(len(d.Events), held, body("c"))
			}
		}))},
		{"loses a ticket", "every input is settled once", batch("loses a ticket")},
		{"settles twice", "every input is settled once", batch("settles twice")},
		{"forgets to forget", "every input is settled once", batch("forgets to forget")},
		{"does not flush", "every input is settled once", batch("does not flush")},
		{"changes bytes in place", "inputs stay as they are", always(editorFunc(func(d *hubferry.Draft) {
			for i := range d.Events {
				if c, err := d.Events[i].Content(); err == nil && len(c.Body) > 0 {
					c.Body[0] = 'X'
				}
			}
		}))},
		{"changes properties in place", "inputs stay as they are", always(editorFunc(func(d *hubferry.Draft) {
			for i := range d.Events {
				if c, err := d.Events[i].Content(); err == nil && len(c.Properties) > 0 {
					c.Properties[0].Value = hubferry.Null()
				}
			}
		}))},
		{"turns drafts round", "order of a key", always(editorFunc(func(d *hubferry.Draft) {
			for i := len(d.Events) - 1; i >= 0; i-- {
				e := d.Events[i].Share()
				d.Merge(len(d.Events), d.Hold(i), e)
			}
		}))},
		{"looks at the draft's size", "drafts of any size", always(editorFunc(func(d *hubferry.Draft) {
			if len(d.Events) > 1 {
				d.Drop(0, "first of many")
			}
		}))},
		{"changes positions", "origin and position", always(editorFunc(func(d *hubferry.Draft) {
			for i := range d.Events {
				d.Events[i].Pos.Sequence = 7
			}
		}))},
		{"shares its state", "two instances", always(shared)},
		{"is never due", "flush", batch("is never due")},
		{"is always due", "flush", batch("is always due")},
		{"does not flush in time", "flush when due", batch("does not flush in time")},
		{"forgets on resume", "resume", number("forgets on resume")},
		{"does not rewind to the beginning", "rewind", number("does not rewind to the beginning")},
		{"hands out its own bytes", "state is small and kept", number("hands out its own bytes")},
		{"has a big state", "state is small and kept", number("has a big state")},
		{"counts in State", "state is small and kept", number("counts in State")},
		{"hangs", "cancel", always(editorFunc(func(*hubferry.Draft) { <-over }))},
		{"does something else", "what it is for", always(editorFunc(func(d *hubferry.Draft) { n++; d.Drop(0, fmt.Sprint("number ", n)) }))},
	}
	proven := map[string]bool{}
	cases := map[string]edittest.Case{}
	for _, c := range edittest.Cases() {
		cases[c.Name] = c
	}
	for _, tt := range tests {
		proven[tt.by] = true
		t.Run(tt.name, func(t *testing.T) {
			subject := edittest.Subject{New: tt.new, Patience: 100 * time.Millisecond, Check: func(t testing.TB, in, out []hubferry.Event) {
				if len(in) != len(out) {
					t.Error("not all events came through")
				}
			}}
			check := func(t *testing.T) {
				if failures := record(t, cases[tt.by], subject); len(failures) == 0 {
					t.Errorf("case %q does not notice", tt.by)
				} else if strings.Contains(failures[0], "runtime error") {
					t.Errorf("case %q fails by accident: %s", tt.by, failures[0])
				}
			}
			if tt.by == "flush when due" {
				synctest.Test(t, check)
				return
			}
			check(t)
		})
	}
	for _, c := range edittest.Cases() {
		if !proven[c.Name] {
			t.Errorf("no broken editor shows that case %q can fail", c.Name)
		}
	}
}

// recorder is a testing.TB that notes failures in the place of failing.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, text)
}

func (r *recorder) Helper()                           {}
func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fatal(args ...any)                 { r.fail(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) Skip(args ...any)                  { r.TB.Log(args...); runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

// record runs one case and returns what it found wrong.
func record(t *testing.T, c edittest.Case, s edittest.Subject) []string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(r, s)
	}()
	<-done
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}
