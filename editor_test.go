package hubferry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
)

var origin = hubferry.NewPlace("n", "h", "0", "", 0)

// draft makes a draft of events whose bodies are the letters of a text.
func draft(letters string) *hubferry.Draft {
	d := &hubferry.Draft{}
	d.Reset()
	for i, r := range letters {
		e := made(string(r))
		e.Origin, e.Pos.Sequence, e.Key = origin, int64(i), hubferry.Text("k")
		d.Add(e, hubferry.Ticket{Origin: origin, Sequence: int64(i)})
	}
	return d
}

func made(body string) hubferry.Event {
	return hubferry.NewEvent(&hubferry.Content{Body: []byte(body)})
}

// show prints what is in a draft after Sweep: body:inputs, and verdicts.
func show(t *testing.T, d *hubferry.Draft) string {
	t.Helper()
	d.Sweep()
	var all []string
	for i := range d.Events {
		c, err := d.Events[i].Content()
		if err != nil {
			t.Fatal(err)
		}
		first, more := d.Tickets(i)
		var s strings.Builder
		s.WriteString(fmt.Sprintf("%s:%d", c.Body, first.Sequence))
		for _, m := range more {
			s.WriteString(fmt.Sprintf("+%d", m.Sequence))
		}
		all = append(all, s.String())
	}
	for _, v := range d.Verdicts() {
		if v.Err != nil {
			all = append(all, fmt.Sprintf("!%d %v", v.Ticket.Sequence, v.Err))
			continue
		}
		all = append(all, fmt.Sprintf("-%d %s", v.Ticket.Sequence, v.Why))
	}
	return strings.Join(all, ", ")
}

func TestDraft(t *testing.T) {
	poison := errors.New("poison")
	tests := []struct {
		name string
		edit func(d *hubferry.Draft)
		want string
	}{
		{"untouched", func(*hubferry.Draft) {}, "a:0, b:1, c:2"},
		{"drop", func(d *hubferry.Draft) { d.Drop(1, "why") }, "a:0, c:2, -1 why"},
		{"drop twice", func(d *hubferry.Draft) { d.Drop(1, "why"); d.Drop(1, "again") }, "a:0, c:2, -1 why"},
		{"reject", func(d *hubferry.Draft) { d.Reject(0, poison) }, "b:1, c:2, !0 poison"},
		{"reject what is dropped", func(d *hubferry.Draft) { d.Drop(0, "why"); d.Reject(0, poison) }, "b:1, c:2, -0 why"},
		{"replace by two", func(d *hubferry.Draft) { d.Replace(1, made("x"), made("y")) }, "a:0, x:1, y:1, c:2"},
		{"replace by nothing", func(d *hubferry.Draft) { d.Replace(1) }, "a:0, c:2, -1 replaced by nothing"},
		{"replace what is replaced", func(d *hubferry.Draft) { d.Replace(1, made("x")); d.Replace(1, made("y")) }, "a:0, x:1, c:2"},
		{"drop what is replaced", func(d *hubferry.Draft) { d.Replace(1, made("x")); d.Drop(1, "why") }, "a:0, x:1, c:2"},
		{"merge", func(d *hubferry.Draft) { d.Merge(3, append(d.Hold(0), d.Hold(2)...), made("m")) }, "b:1, m:0+2"},
		{"merge ahead", func(d *hubferry.Draft) { d.Merge(1, append(d.Hold(0), d.Hold(2)...), made("m")) }, "m:0+2, b:1"},
		{"merge into nothing", func(d *hubferry.Draft) { d.Merge(3, d.Hold(0)) }, "b:1, c:2, -0 merged into nothing"},
		{"merge into two", func(d *hubferry.Draft) { d.Merge(3, d.Hold(0), made("m"), made("n")) }, "b:1, c:2, m:0, n:0"},
		{"hold", func(d *hubferry.Draft) { d.Hold(0) }, "b:1, c:2"},
		{"hold twice", func(d *hubferry.Draft) {
			if d.Hold(0) == nil || d.Hold(0) != nil {
				panic("the first Hold alone gives the ticket")
			}
		}, "b:1, c:2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := draft("abc")
			tt.edit(d)
			if got := show(t, d); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if again := show(t, d); again != tt.want {
				t.Errorf("swept twice: %s", again)
			}
			d.Reset()
			if got := show(t, d); got != "" {
				t.Errorf("after Reset: %s", got)
			}
		})
	}
}

// Two editors one after the other: tickets follow aggregates and parts.
func TestDraftThroughTwoEditors(t *testing.T) {
	d := draft("abcd")
	d.Merge(len(d.Events), append(d.Hold(0), d.Hold(1)...), made("m"))
	d.Replace(2, made("x"), made("y"))
	d.Sweep() // d:3 is in the middle: x:2, y:2, d:3, m:0+1
	d.Drop(3, "gone")
	d.Replace(0, made("p"), made("q"))
	if got := show(t, d); got != "p:2, q:2, y:2, d:3, -0 gone, -1 gone" {
		t.Error(got)
	}
}

func TestPartsTakeAfterTheirInput(t *testing.T) {
	d := draft("ab")
	d.Events[1].Pin(5)
	own := made("y")
	own.Key = hubferry.Text("own")
	own.Pin(6)
	d.Replace(1, made("x"), own)
	d.Sweep()
	x, y := &d.Events[1], &d.Events[2]
	if x.Origin != origin || x.Pos.Sequence != 1 || x.Key.String() != "k" {
		t.Errorf("a part is at %v@%d with key %q", x.Origin, x.Pos.Sequence, x.Key)
	}
	if p, ok := x.Pinned(); p != 5 || !ok {
		t.Errorf("a part is pinned to %d, %v; its input was to 5", p, ok)
	}
	if p, _ := y.Pinned(); p != 6 || y.Key.String() != "own" || y.Origin != origin {
		t.Errorf("a part with a key and pin of its own: %q, %d, %v", y.Key, p, y.Origin)
	}
}

// What an editor did to an event in place does not show in what others hold.
func TestDraftSharesNothing(t *testing.T) {
	d := draft("a")
	outside := d.Events[0].Share()
	edit(t, &d.Events[0], "edited")
	d.Drop(0, "x")
	d.Sweep()
	if got := body(t, &outside); got != "a " {
		t.Error(got)
	}
}

func TestEditorFunc(t *testing.T) {
	f := hubferry.EditorFunc(func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
		c, err := e.Edit()
		if err != nil {
			return nil, err
		}
		switch string(c.Body) {
		case "b":
			return []hubferry.Event{}, nil
		case "c":
			return nil, errors.New("bad")
		case "d":
			return []hubferry.Event{made("x"), made("y")}, nil
		}
		c.Body = []byte("A")
		return nil, nil
	})
	d := draft("abcd")
	if err := f.Edit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if got := show(t, d); got != "A:0, x:3, y:3, -1 replaced by nothing, !2 bad" {
		t.Error(got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Edit(ctx, draft("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("an editor whose context is over: %v", err)
	}
}

func BenchmarkDraftUntouched(b *testing.B) {
	in := draft(strings.Repeat("x", 100))
	events := append([]hubferry.Event{}, in.Events...)
	var d hubferry.Draft
	b.ReportAllocs()
	for b.Loop() {
		d.Reset()
		for i := range events {
			d.Add(events[i].Share(), hubferry.Ticket{Origin: origin, Sequence: int64(i)})
		}
		d.Sweep()
	}
}
