package drivertest

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
)

// label names an event in a message.
func label(e *hubferry.Event) string {
	c, err := e.Content()
	if err != nil {
		return "undecodable: " + err.Error()
	}
	if len(c.Body) > 40 {
		return fmt.Sprintf("%q... of %d bytes", c.Body[:40], len(c.Body))
	}
	return fmt.Sprintf("%q", c.Body)
}

// diff returns how got differs from want beyond what the service cannot carry, or nil.
func (s *suite) diff(want, got *hubferry.Event) []string {
	w, err := want.Content()
	if err != nil {
		return []string{"the wanted event cannot be decoded: " + err.Error()}
	}
	g, err := got.Content()
	if err != nil {
		return []string{"the event cannot be decoded: " + err.Error()}
	}
	var d []string
	add := func(format string, args ...any) { d = append(d, fmt.Sprintf(format, args...)) }
	if w.BodyKind != g.BodyKind {
		add("body kind %d became %d", w.BodyKind, g.BodyKind)
	}
	if !bytes.Equal(w.Body, g.Body) {
		add("body %s became %s", label(want), label(got))
	}
	if s.caps.Keys && ((want.Key.Kind == hubferry.NoKey) != (got.Key.Kind == hubferry.NoKey) || !bytes.Equal(want.Key.Bytes, got.Key.Bytes)) {
		add("key %d %q became %d %q", want.Key.Kind, want.Key.Bytes, got.Key.Kind, got.Key.Bytes)
	}
	d = append(d, s.diffProperties("property", w.Properties, g.Properties)...)
	d = append(d, s.diffFields("message field", w.Message, g.Message)...)
	d = append(d, s.diffFields("annotation", w.Annotations, g.Annotations)...)
	d = append(d, s.diffFields("footer", w.Footer, g.Footer)...)
	return d
}

// diffProperties compares properties by name, those of one name in their order. A kind
// that the service cannot carry must arrive as text or bytes that read the same.
func (s *suite) diffProperties(what string, want, got hubferry.Properties) []string {
	var d []string
	wanted, have := byName(want), byName(got)
	for _, name := range names(wanted, have) {
		w, g := wanted[name], have[name]
		if len(w) != len(g) {
			d = append(d, fmt.Sprintf("%s %q: %d values became %d", what, name, len(w), len(g)))
			continue
		}
		for i := range w {
			if w[i] == g[i] {
				continue
			}
			if text, ok := g[i].AsText(); ok && !slices.Contains(s.caps.Types, w[i].Kind()) && text == w[i].String() {
				continue
			}
			d = append(d, fmt.Sprintf("%s %q: %s %s became %s %s", what, name, w[i].Kind(), w[i], g[i].Kind(), g[i]))
		}
	}
	return d
}

// diffFields compares exactly.
func (s *suite) diffFields(what string, want, got hubferry.Properties) []string {
	var d []string
	wanted, have := byName(want), byName(got)
	for _, name := range names(wanted, have) {
		if !slices.Equal(wanted[name], have[name]) {
			d = append(d, fmt.Sprintf("%s %q: %v became %v", what, name, wanted[name], have[name]))
		}
	}
	return d
}

func byName(p hubferry.Properties) map[string][]hubferry.Value {
	m := map[string][]hubferry.Value{}
	for _, q := range p {
		m[q.Name] = append(m[q.Name], q.Value)
	}
	return m
}

func names(a, b map[string][]hubferry.Value) []string {
	var all []string
	for name := range a {
		all = append(all, name)
	}
	for name := range b {
		if _, twice := a[name]; !twice {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// equal compares two lists of events. Another number of events ends the case.
func (s *suite) equal(where string, want, got []hubferry.Event) {
	s.t.Helper()
	if len(want) != len(got) {
		s.t.Fatalf("%s: %d events became %d: %s", where, len(want), len(got), labels(got))
	}
	for i := range want {
		if d := s.diff(&want[i], &got[i]); len(d) > 0 {
			s.t.Errorf("%s: event %d: %s", where, i, strings.Join(d, "; "))
		}
	}
}

func labels(events []hubferry.Event) string {
	var all []string
	for i := range events[:min(len(events), 20)] {
		all = append(all, label(&events[i]))
	}
	return strings.Join(all, ", ")
}

// keeper holds events and looks at the end whether they changed.
type keeper struct {
	events []hubferry.Event
	sums   []uint64
}

func (k *keeper) keep(events []hubferry.Event) {
	for i := range events {
		e := events[i].Share()
		k.events = append(k.events, e)
		k.sums = append(k.sums, sum(&e))
	}
}

func (k *keeper) check(t testing.TB) {
	t.Helper()
	for i := range k.events {
		if sum(&k.events[i]) != k.sums[i] {
			t.Errorf("event %d changed after it was delivered: now %s", k.events[i].Pos.Sequence, label(&k.events[i]))
			return
		}
	}
}

// sum is a checksum of everything that an event shows.
func sum(e *hubferry.Event) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %x %v %v %v", e.Key.Kind, e.Key.Bytes, e.Time.UnixNano(), e.Pos, e.Origin)
	if c, err := e.Content(); err == nil {
		fmt.Fprintf(h, "%d %x", c.BodyKind, c.Body)
		for _, list := range []hubferry.Properties{c.Properties, c.Message, c.Annotations, c.Footer} {
			for _, p := range list {
				fmt.Fprintf(h, "|%q %d %d %x", p.Name, p.Value.Kind(), p.Value.Bits(), p.Value.Raw())
			}
		}
	}
	return h.Sum64()
}
