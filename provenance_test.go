package hubferry_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
)

func read(properties string) hubferry.Event {
	e := hubferry.NewEvent(&hubferry.Content{Properties: list(properties)})
	e.Time = time.Date(2026, 3, 4, 5, 6, 7, 89_000_000, time.FixedZone("CET", 3600))
	e.Pos = hubferry.Position{Sequence: 41, Offset: "o-41"}
	e.Origin = hubferry.NewPlace("west", "hub;1", "3", "", 3)
	return e
}

func rendered(t *testing.T, trail hubferry.Trail, e hubferry.Event) []string {
	t.Helper()
	var s hubferry.Stamp
	trail.Render(&e, &s)
	var all []string
	for i := range s.Len() {
		name, text := s.At(i)
		if !trail.IsProvenance(name) {
			t.Errorf("%s is rendered and the incoming one is kept", name)
		}
		all = append(all, name+"="+string(text))
	}
	return all
}

func TestRender(t *testing.T) {
	const now = "2026-03-04T04:06:07.089Z"
	full := hubferry.Trail{Task: "t", Route: "r"}
	want := func(enqueued, sequence, offset, source, id string) []string {
		return []string{"repl-enqueue-time=" + enqueued, "repl-sequence=" + sequence, "repl-offset=" + offset, "repl-source=" + source, "repl-id=" + id}
	}
	part := func(l hubferry.Lineage) hubferry.Event {
		e := read("")
		e.SetLineage(&l)
		return e
	}
	micro := read("")
	micro.Time = micro.Time.Add(123 * time.Nanosecond)
	kafka := read("")
	kafka.Pos.Offset = ""
	tests := []struct {
		name  string
		trail hubferry.Trail
		event hubferry.Event
		want  []string
	}{
		{"first hop", full, read("own=1"), want(now, "41", "o-41", "west/hub%3B1/3", "t/r/0")},
		{"no offset", full, kafka, want(now, "41", "41", "west/hub%3B1/3", "t/r/0")},
		{"full resolution", full, micro, want("2026-03-04T04:06:07.089000123Z", "41", "o-41", "west/hub%3B1/3", "t/r/0")},
		{
			"second hop", full, read("repl-enqueue-time=a repl-sequence=b repl-offset=c repl-source=d repl-id=e"),
			want("a;"+now, "b;41", "c;o-41", "d;west/hub%3B1/3", "t/r/0"),
		},
		{
			"lists of different length", full, read("repl-enqueue-time=a repl-sequence=b;c;d repl-source=e;f"),
			want("a;;;"+now, "b;c;d;41", ";;;o-41", "e;f;;west/hub%3B1/3", "t/r/0"),
		},
		{"the helper's name", full, read("repl-enqueued-time=a repl-sequence=b"), want("a;"+now, "b;41", ";o-41", ";west/hub%3B1/3", "t/r/0")},
		{
			"both names", full, read("repl-enqueued-time=x repl-enqueue-time=a repl-sequence=b"),
			want("a;"+now, "b;41", ";o-41", ";west/hub%3B1/3", "t/r/0"),
		},
		{"an empty value", full, read("repl-sequence="), want(now, "41", "o-41", "west/hub%3B1/3", "t/r/0")},
		{"a part of more", full, part(hubferry.Lineage{Part: 2, More: true}), want(now, "41", "o-41", "west/hub%3B1/3", "t/r/2+")},
		{"the last part", full, part(hubferry.Lineage{Part: 3}), want(now, "41", "o-41", "west/hub%3B1/3", "t/r/3")},
		{"odd names", hubferry.Trail{Task: "a/b", Route: "50%;"}, read(""), want(now, "41", "o-41", "west/hub%3B1/3", "a%2Fb/50%25%3B/0")},
		{"standard", hubferry.Trail{Mode: hubferry.TrailStandard}, read(""), want(now, "41", "o-41", "", "")[:3]},
		{"none", hubferry.Trail{Mode: hubferry.TrailNone}, read("repl-sequence=1"), nil},
		{
			"the helper's form",
			hubferry.Trail{Mode: hubferry.TrailStandard, HelperForm: true},
			read(""),
			[]string{"repl-enqueued-time=Wed, 04 Mar 2026 04:06:07 GMT", "repl-sequence=41", "repl-offset=o-41"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, rendered(t, tt.trail, tt.event)); d != "" {
				t.Error(d)
			}
		})
	}
}

// A list may hold numbers: another tool wrote them. They are kept as text.
func TestRenderKeepsForeignKinds(t *testing.T) {
	e := hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{
		{Name: hubferry.ReplSequence, Value: hubferry.Long(17)}, {Name: hubferry.ReplOffset, Value: hubferry.Binary([]byte("x"))},
	}})
	e.Origin, e.Pos.Sequence = hubferry.NewPlace("n", "h", "0", "", 0), 2
	all := rendered(t, hubferry.Trail{Task: "t", Route: "r"}, e)
	if !slices.Contains(all, "repl-sequence=17;2") || !slices.Contains(all, "repl-offset=x;2") {
		t.Error(all)
	}
}

func TestIsProvenance(t *testing.T) {
	tests := []struct {
		name                 string
		full, standard, none bool
	}{
		{"repl-enqueue-time", true, true, false},
		{"repl-enqueued-time", true, true, false},
		{"repl-sequence", true, true, false},
		{"repl-offset", true, true, false},
		{"repl-source", true, false, false},
		{"repl-id", true, false, false},
		{"repl-target", false, false, false},
		{"repl-", false, false, false},
		{"Repl-Sequence", false, false, false},
		{"", false, false, false},
	}
	for _, tt := range tests {
		for mode, want := range map[hubferry.TrailMode]bool{hubferry.TrailFull: tt.full, hubferry.TrailStandard: tt.standard, hubferry.TrailNone: tt.none} {
			trail := hubferry.Trail{Mode: mode}
			if trail.IsProvenance(tt.name) != want {
				t.Errorf("%q in mode %d: %v", tt.name, mode, !want)
			}
		}
	}
}

func TestHops(t *testing.T) {
	e := read("repl-enqueue-time=a;b repl-sequence=1 repl-offset=;y repl-source=p;q")
	want := []hubferry.Hop{{EnqueueTime: "a", Sequence: "1", Source: "p"}, {EnqueueTime: "b", Offset: "y", Source: "q"}}
	if d := cmp.Diff(want, hubferry.Hops(&e)); d != "" {
		t.Error(d)
	}
	e = read("own=1 repl-id=x")
	if hops := hubferry.Hops(&e); hops != nil {
		t.Errorf("an event that was never replicated has the hops %v", hops)
	}
}

// What is rendered can be read back: the last hop is the event's own place.
func FuzzHops(f *testing.F) {
	f.Add("a;b", "1", "", "x;y;z", "west", "hub")
	f.Add("", "", "", "", "", "")
	f.Add(";;", ";", "%;", "/", "a;b", "c/d")
	f.Fuzz(func(t *testing.T, enqueued, sequence, offset, source, namespace, hub string) {
		var p hubferry.Properties
		for name, text := range map[string]string{
			hubferry.ReplEnqueueTime: enqueued, hubferry.ReplSequence: sequence, hubferry.ReplOffset: offset, hubferry.ReplSource: source,
		} {
			p = append(p, hubferry.Property{Name: name, Value: hubferry.String(text)})
		}
		e := hubferry.NewEvent(&hubferry.Content{Properties: p})
		e.Origin = hubferry.NewPlace(namespace, hub, "0", "", 0)
		before := hubferry.Hops(&e)
		var s hubferry.Stamp
		trail := hubferry.Trail{Task: "t", Route: "r"}
		trail.Render(&e, &s)
		c := &hubferry.Content{}
		for i := range s.Len() {
			name, text := s.At(i)
			c.Properties.Set(name, hubferry.String(string(text)))
		}
		next := hubferry.NewEvent(c)
		after := hubferry.Hops(&next)
		if len(after) != len(before)+1 || after[len(before)].Source != e.Origin.Path() {
			t.Fatalf("%v became %v", before, after)
		}
		if d := cmp.Diff(before, after[:len(before)]); len(before) > 0 && d != "" {
			t.Fatal(d)
		}
		if strings.Contains(after[len(before)].Source, ";") {
			t.Fatalf("place %q would look like two", after[len(before)].Source)
		}
	})
}

func TestRenderAllocatesNothing(t *testing.T) {
	trail := hubferry.Trail{Task: "task", Route: "route"}
	for name, e := range map[string]hubferry.Event{
		"first hop": read("own=1"), "second hop": read("repl-enqueue-time=a repl-sequence=b repl-offset=c repl-source=d"),
		"unequal lists": read("repl-sequence=b;c"),
	} {
		var s hubferry.Stamp
		trail.Render(&e, &s)
		if n := testing.AllocsPerRun(100, func() { trail.Render(&e, &s) }); n > 0 {
			t.Errorf("%s: %v allocations after the first", name, n)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	trail := hubferry.Trail{Task: "task", Route: "route"}
	for name, e := range map[string]hubferry.Event{
		"first": read("own=1"), "second": read("repl-enqueue-time=2026-03-04T04:06:07.089Z repl-sequence=7 repl-offset=c repl-source=n/h/0"),
	} {
		b.Run(name, func(b *testing.B) {
			var s hubferry.Stamp
			b.ReportAllocs()
			for b.Loop() {
				trail.Render(&e, &s)
			}
		})
	}
}

func TestIdentityOf(t *testing.T) {
	trail := hubferry.Trail{Task: "a/b;%2F", Route: "out", Mode: hubferry.TrailFull}
	origin := hubferry.NewPlace("west", "in", "3", "", 3)
	made := func(trail hubferry.Trail, l *hubferry.Lineage, prior ...hubferry.Property) hubferry.Event {
		e := hubferry.NewEvent(&hubferry.Content{Properties: prior})
		e.Origin, e.Pos, e.Time = origin, hubferry.Position{Sequence: 42}, time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.UTC)
		e.SetLineage(l)
		var s hubferry.Stamp
		trail.Render(&e, &s)
		c := &hubferry.Content{}
		for i := range s.Len() {
			name, text := s.At(i)
			c.Properties.Set(name, hubferry.String(string(text)))
		}
		return hubferry.NewEvent(c)
	}
	text := func(name, value string) hubferry.Property {
		return hubferry.Property{Name: name, Value: hubferry.String(value)}
	}
	want := hubferry.Identity{Task: "a/b;%2F", Route: "out", Source: "west/in/3", Sequence: 42}
	second := want
	second.Part = 1
	for name, c := range map[string]struct {
		event hubferry.Event
		want  hubferry.Identity
		ok    bool
	}{
		"first hop":  {made(trail, nil), want, true},
		"second hop": {made(trail, nil, text(hubferry.ReplSource, "north/x/0"), text(hubferry.ReplSequence, "7"), text(hubferry.ReplID, "t/r/9")), want, true},
		"a part":     {made(trail, &hubferry.Lineage{Part: 1, More: true}), second, true},
		"standard":   {made(hubferry.Trail{Mode: hubferry.TrailStandard}, nil), hubferry.Identity{}, false},
		"foreign":    {hubferry.NewEvent(&hubferry.Content{}), hubferry.Identity{}, false},
		"no number":  {hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{text(hubferry.ReplID, "t/r/0"), text(hubferry.ReplSequence, "x"), text(hubferry.ReplSource, "a/b/0")}}), hubferry.Identity{}, false},
		"no part":    {hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{text(hubferry.ReplID, "t/r/x"), text(hubferry.ReplSequence, "1"), text(hubferry.ReplSource, "a/b/0")}}), hubferry.Identity{}, false},
		"two names":  {hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{text(hubferry.ReplID, "t/r"), text(hubferry.ReplSequence, "1"), text(hubferry.ReplSource, "a/b/0")}}), hubferry.Identity{}, false},
	} {
		got, ok := hubferry.IdentityOf(&c.event)
		if ok != c.ok || (ok && got != c.want) {
			t.Errorf("%s: got %+v, %v, want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
	e := made(trail, nil, text(hubferry.ReplEnqueueTime, "2020-01-01T00:00:00.000Z"))
	if at, ok := hubferry.EnqueueTime(&e); !ok || !at.Equal(time.Date(2026, 5, 6, 7, 8, 9, 123_456_789, time.UTC)) {
		t.Errorf("the enqueued time is %v, %v", at, ok)
	}
	trail.HelperForm = true
	e = made(trail, nil)
	if at, ok := hubferry.EnqueueTime(&e); !ok || !at.Equal(time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)) {
		t.Errorf("the enqueued time in the helper's form is %v, %v", at, ok)
	}
	e = hubferry.NewEvent(&hubferry.Content{})
	if _, ok := hubferry.EnqueueTime(&e); ok {
		t.Error("an event without provenance has an enqueued time")
	}
}

// The text of a second is kept between events; it must not stay when the second changes.
func TestStampOfAnotherSecond(t *testing.T) {
	var s hubferry.Stamp
	trail := hubferry.Trail{Mode: hubferry.TrailStandard}
	place := hubferry.NewPlace("ns", "hub", "0", "", 0)
	for _, text := range []string{
		"1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00.999Z", "1969-12-31T23:59:59.999Z", "2026-03-04T05:06:07.089Z",
		"2026-03-04T05:06:07.000000001Z", "2026-03-04T05:06:08.120Z", "2026-03-04T05:06:07.089Z",
	} {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			t.Fatal(err)
		}
		e := hubferry.NewEvent(&hubferry.Content{})
		e.Time, e.Origin = at, place
		trail.Render(&e, &s)
		if _, got := s.At(0); string(got) != text {
			t.Errorf("%s, want %s", got, text)
		}
	}
}
