package drivertest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// readSamples puts events in behind the driver's back and reads them.
func readSamples(samples func(s *suite) []hubferry.Event) func(s *suite) {
	return func(s *suite) {
		events := samples(s)
		s.h.Inject(s.t, 0, events)
		src := s.source()
		got := s.read(s.fromStart(src, 0), len(events))
		s.equal("read", events, got)
	}
}

// writeSamples writes events, each in a run of its own and then all in one, and takes
// them out behind the driver's back.
func writeSamples(samples func(s *suite) []hubferry.Event) func(s *suite) {
	return func(s *suite) {
		events := withOrigin(samples(s))
		w := s.writer()
		for i := range events {
			s.write(w, 0, events[i:i+1])
		}
		s.write(w, 0, events)
		want := append(append([]hubferry.Event{}, events...), events...)
		s.equal("written", want, s.h.Dump(s.t, 0))
	}
}

// origin is where the events that the suite writes come from.
var originTime = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.UTC)

// withOrigin gives events what the engine's events have.
func withOrigin(events []hubferry.Event) []hubferry.Event {
	place := hubferry.NewPlace("elsewhere.example", "hub/1", "3", "", 3)
	for i := range events {
		e := &events[i]
		e.Origin, e.Time = place, originTime
		e.Pos = hubferry.Position{Sequence: int64(41 + i), Offset: "o-41"}
	}
	return events
}

// form is an encoding that no driver knows.
type form struct {
	content *hubferry.Content
	err     error
}

func (f *form) Decode(c *hubferry.Content) error {
	if f.err == nil {
		*c = *f.content.Clone()
	}
	return f.err
}

func (f *form) Property(name string) (hubferry.Value, bool) { return f.content.Properties.Get(name) }
func (f *form) Size() int                                   { return f.content.Size() }

func writeForms(s *suite) {
	var events, want []hubferry.Event
	for _, e := range typeSamples(s) {
		c, err := e.Content()
		if err != nil {
			s.t.Fatal(err)
		}
		encoded := hubferry.NewEncodedEvent(&form{content: c})
		encoded.Key = hubferry.Text("key")
		e.Key = encoded.Key
		events, want = append(events, encoded), append(want, e)
	}
	s.write(s.writer(), 0, withOrigin(events))
	s.equal("written", want, s.h.Dump(s.t, 0))
}

func writeUndecodable(s *suite) {
	events := numbered(4)
	events[2] = hubferry.NewEncodedEvent(&form{content: &hubferry.Content{}, err: errors.New("broken beyond repair")})
	withOrigin(events)
	w := s.writer()
	receipt, err := s.tryWrite(w, 0, events)
	s.wants("write an event that cannot be decoded", err, hubferry.Refused)
	if receipt.N != 2 {
		s.t.Errorf("the receipt says %d, want 2", receipt.N)
	}
	s.write(w, 0, events[3:])
	s.equal("written", append(events[:2:2], events[3]), s.h.Dump(s.t, 0))
}

func roundTrip(s *suite) {
	events := append(bodySamples(s), typeSamples(s)...)
	s.write(s.writer(), 0, withOrigin(events))
	s.equal("read", events, s.read(s.fromStart(s.source(), 0), len(events)))
}

// provenance returns the provenance of an event, by name.
func (s *suite) provenance(e *hubferry.Event) map[string]string {
	s.t.Helper()
	c, err := e.Content()
	if err != nil {
		s.t.Fatal(err)
	}
	texts := map[string]string{}
	for _, p := range c.Properties {
		if !strings.HasPrefix(p.Name, "repl-") {
			continue
		}
		text, ok := p.Value.AsText()
		if _, twice := texts[p.Name]; twice || !ok {
			s.t.Errorf("property %q: %v, want one text", p.Name, p.Value)
		}
		texts[p.Name] = text
	}
	return texts
}

// stamped writes one event with a trail and returns its provenance.
func (s *suite) stamped(target hubferry.Target, trail hubferry.Trail, e hubferry.Event) map[string]string {
	s.t.Helper()
	before := len(s.h.Dump(s.t, 0))
	events := withOrigin([]hubferry.Event{e})
	s.write(s.writerOf(target, trail), 0, events)
	dump := s.h.Dump(s.t, 0)
	if len(dump) != before+1 {
		s.t.Fatalf("one event was written, %d are there", len(dump)-before)
	}
	got := &dump[before]
	texts := s.provenance(got)
	// Nothing else of the event changes.
	strip := func(e *hubferry.Event) {
		c, err := e.Edit()
		if err != nil {
			s.t.Fatal(err)
		}
		var kept hubferry.Properties
		for _, p := range c.Properties {
			if !strings.HasPrefix(p.Name, "repl-") {
				kept = append(kept, p)
			}
		}
		c.Properties = kept
	}
	want := events[0].Share()
	strip(&want)
	strip(got)
	s.equal("beside the provenance", []hubferry.Event{want}, []hubferry.Event{*got})
	return texts
}

func (s *suite) wantTexts(what string, got, want map[string]string) {
	s.t.Helper()
	for _, name := range []string{
		hubferry.ReplEnqueueTime, hubferry.ReplEnqueuedTime, hubferry.ReplSequence, hubferry.ReplOffset, hubferry.ReplSource, hubferry.ReplID,
	} {
		if got[name] != want[name] {
			s.t.Errorf("%s: %s is %q, want %q", what, name, got[name], want[name])
		}
	}
}

func writeProvenance(s *suite) {
	target := s.target()
	e := sample("one hop", func(e *hubferry.Event, c *hubferry.Content) {
		e.Key = hubferry.Text("k")
		c.Properties = hubferry.Properties{{Name: "own", Value: hubferry.String("x")}}
	})
	full := map[string]string{
		hubferry.ReplEnqueueTime: "2026-03-04T05:06:07.089Z", hubferry.ReplSequence: "41", hubferry.ReplOffset: "o-41",
		hubferry.ReplSource: "elsewhere.example/hub%2F1/3", hubferry.ReplID: "task%2F1/route/0",
	}
	trail := hubferry.Trail{Task: "task/1", Route: "route"}
	s.wantTexts("full", s.stamped(target, trail, e.Share()), full)
	trail.HelperForm = true
	helper := map[string]string{hubferry.ReplEnqueuedTime: "Wed, 04 Mar 2026 05:06:07 GMT"}
	for name, text := range full {
		if name != hubferry.ReplEnqueueTime {
			helper[name] = text
		}
	}
	s.wantTexts("helper's form", s.stamped(target, trail, e.Share()), helper)
	trail = hubferry.Trail{Mode: hubferry.TrailStandard, Task: "task/1", Route: "route"}
	delete(full, hubferry.ReplSource)
	delete(full, hubferry.ReplID)
	s.wantTexts("standard", s.stamped(target, trail, e.Share()), full)
	s.wantTexts("none", s.stamped(target, hubferry.Trail{Mode: hubferry.TrailNone}, e.Share()), nil)
	part := e.Share()
	part.SetLineage(&hubferry.Lineage{Part: 2, More: true})
	if id := s.stamped(target, hubferry.Trail{Task: "t", Route: "r"}, part)[hubferry.ReplID]; id != "t/r/2+" {
		s.t.Errorf("part 2 of more: repl-id is %q", id)
	}
}

// writeHops writes events that were replicated before, with lists of different lengths,
// as text and as the bytes that come out of Kafka.
func writeHops(s *suite) {
	target := s.target()
	for _, value := range []func(text string) hubferry.Value{
		hubferry.String, func(text string) hubferry.Value { return hubferry.Binary([]byte(text)) },
	} {
		e := sample("two hops", func(_ *hubferry.Event, c *hubferry.Content) {
			for _, p := range [][2]string{
				{hubferry.ReplEnqueueTime, "t1;t2"},
				{hubferry.ReplSequence, "1;2"},
				{hubferry.ReplOffset, "10"},
				{hubferry.ReplSource, "a/b/0;c/d/1"},
				{hubferry.ReplID, "old/route/0"},
			} {
				c.Properties = append(c.Properties, hubferry.Property{Name: p[0], Value: value(p[1])})
			}
		})
		s.wantTexts("full", s.stamped(target, hubferry.Trail{Task: "t", Route: "r"}, e.Share()), map[string]string{
			hubferry.ReplEnqueueTime: "t1;t2;2026-03-04T05:06:07.089Z", hubferry.ReplSequence: "1;2;41", hubferry.ReplOffset: "10;;o-41",
			hubferry.ReplSource: "a/b/0;c/d/1;elsewhere.example/hub%2F1/3", hubferry.ReplID: "t/r/0",
		})
		none := map[string]string{
			hubferry.ReplEnqueueTime: "t1;t2", hubferry.ReplSequence: "1;2", hubferry.ReplOffset: "10",
			hubferry.ReplSource: "a/b/0;c/d/1", hubferry.ReplID: "old/route/0",
		}
		s.wantTexts("none", s.stamped(target, hubferry.Trail{Mode: hubferry.TrailNone}, e.Share()), none)
	}
	// The helper's name is read as the same list.
	e := sample("helper's hop", func(_ *hubferry.Event, c *hubferry.Content) {
		c.Properties = hubferry.Properties{
			{Name: hubferry.ReplEnqueuedTime, Value: hubferry.String("Mon, 01 Jan 2024 00:00:00 GMT")},
			{Name: hubferry.ReplSequence, Value: hubferry.String("9")},
		}
	})
	s.wantTexts("helper's hop", s.stamped(target, hubferry.Trail{Task: "t", Route: "r"}, e), map[string]string{
		hubferry.ReplEnqueueTime: "Mon, 01 Jan 2024 00:00:00 GMT;2026-03-04T05:06:07.089Z", hubferry.ReplSequence: "9;41",
		hubferry.ReplOffset: ";o-41", hubferry.ReplSource: ";elsewhere.example/hub%2F1/3", hubferry.ReplID: "t/r/0",
	})
}

func writeOrder(s *suite) {
	events := withOrigin(numbered(500))
	w := s.writer()
	for from := 0; from < len(events); {
		n := min(1+from%97, len(events)-from)
		receipt := s.write(w, 0, events[from:from+n])
		from += n
		dump := s.h.Dump(s.t, 0)
		if len(dump) < from {
			s.t.Fatalf("%d events are confirmed, %d are there (INV-1)", from, len(dump))
		}
		if last := dump[from-1].Pos.Sequence; receipt.Last.Sequence >= 0 && receipt.Last.Sequence != last {
			s.t.Errorf("the receipt names position %d, the event is at %d", receipt.Last.Sequence, last)
		}
	}
	s.equal("written", events, s.h.Dump(s.t, 0))
}

func writeNothing(s *suite) {
	w := s.writer()
	s.write(w, 0, nil)
	if n := len(s.h.Dump(s.t, 0)); n > 0 {
		s.t.Errorf("an empty run became %d events", n)
	}
}

func leavesEventsAlone(s *suite) {
	events := withOrigin(append(typeSamples(s), numbered(3)...))
	before := make([]uint64, len(events))
	for i := range events {
		before[i] = sum(&events[i])
	}
	w := s.writerOf(s.target(), hubferry.Trail{Task: "t", Route: "r"})
	s.write(w, 0, events)
	for i := range events {
		if sum(&events[i]) != before[i] {
			s.t.Errorf("Write changed event %d: now %s", i, label(&events[i]))
		}
	}
	// What becomes of the events afterwards does not reach what was written.
	stored := s.h.Dump(s.t, 0)
	for i := range events {
		c, err := events[i].Edit()
		if err != nil {
			s.t.Fatal(err)
		}
		c.Properties = hubferry.Properties{{Name: "changed", Value: hubferry.Bool(true)}}
	}
	s.equal("after an edit", stored, s.h.Dump(s.t, 0))
}

func options(s *suite) {
	for name, o := range map[string]hubferry.Options{"connection": s.h.Connection, "source": s.h.Source, "target": s.h.Target} {
		if o == nil {
			continue
		}
		if problems := o.Validate(); len(problems) > 0 {
			s.t.Errorf("%s options of the harness: %v", name, problems)
		}
	}
	d := &s.h.Driver
	if d.Name == "" || d.Connection == nil || d.Connect == nil {
		s.t.Fatal("a driver has a name, options for a connection and Connect")
	}
	if (d.Source != nil) != d.Caps.Source || (d.Target != nil) != d.Caps.Target {
		s.t.Error("a driver has options for the roles that it has, and for no other")
	}
	for _, fresh := range []func() hubferry.Options{d.Connection, d.Source, d.Target} {
		if fresh == nil {
			continue
		}
		for _, p := range fresh().Validate() {
			if p.Message == "" {
				s.t.Errorf("a problem of field %q says nothing", p.Field)
			}
		}
	}
	s.note("options", fmt.Errorf("%v %+v %#v %v %+v %#v", s.h.Connection, s.h.Connection, s.h.Connection, s.h.BadConnection, s.h.BadConnection, s.h.BadConnection))
	s.connect(s.h.Connection)
	var namespace string
	c := s.connect(s.h.Connection)
	s.must("ask for the namespace", func(ctx context.Context) (err error) {
		namespace, err = c.Namespace(ctx)
		return err
	})
	if namespace == "" {
		s.t.Error("the namespace has no name")
	}
	if s.caps.Source && s.h.Shape != Table {
		if place := s.places(s.sourceOf(c, s.h.Hub))[0].Place; place.Namespace != namespace {
			s.t.Errorf("places are in namespace %q, the connection in %q", place.Namespace, namespace)
		}
	}
}
