package kafka

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

func newEncoder(trail hubferry.Trail) *encoder {
	return &encoder{trail: trail, headers: HeadersTyped, times: TimestampOriginal}
}

var noTrail = hubferry.Trail{Mode: hubferry.TrailNone}

// stored is a record as it comes back from a broker.
func stored(r *record) *kgo.Record {
	out := &kgo.Record{Timestamp: time.UnixMilli(r.time), Key: bytes.Clone(r.key), Value: bytes.Clone(r.value)}
	for i := range r.count() {
		name, value := r.header(i)
		out.Headers = append(out.Headers, kgo.RecordHeader{Key: name, Value: bytes.Clone(value)})
	}
	return out
}

// texts are the headers of a record for comparison.
func texts(headers []kgo.RecordHeader) []string {
	var out []string
	for _, h := range headers {
		if h.Value == nil {
			out = append(out, h.Key)
		} else {
			out = append(out, h.Key+"="+string(h.Value))
		}
	}
	return out
}

func sampleEvent() hubferry.Event {
	e := hubferry.NewEvent(&hubferry.Content{
		Body: []byte("body"),
		Properties: hubferry.Properties{
			{Name: "text", Value: hubferry.String("Grüße")},
			{Name: "none", Value: hubferry.Null()},
			{Name: "empty", Value: hubferry.String("")},
			{Name: "n;=", Value: hubferry.Long(-7)},
			{Name: "at", Value: hubferry.Timestamp(0)},
			{Name: "bytes", Value: hubferry.Binary([]byte{0xff})},
			{Name: "ascii", Value: hubferry.Binary([]byte("x"))},
			{Name: "twice", Value: hubferry.String("a")},
			{Name: "twice", Value: hubferry.Bool(true)},
			{Name: "list", Value: hubferry.Encoded(hubferry.KindList, []byte{0x45})},
			{Name: "amqp-types", Value: hubferry.String("mine")},
			{Name: hubferry.ReplSequence, Value: hubferry.String("1")},
		},
		Message:     hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.Symbol("text/plain")}},
		Annotations: hubferry.Properties{{Name: "x-own", Value: hubferry.Int(3)}},
		Footer:      hubferry.Properties{{Name: "f", Value: hubferry.Null()}},
	})
	e.Key, e.Time = hubferry.Text("k"), time.UnixMilli(1_700_000_000_123)
	e.Pos, e.Origin = hubferry.Position{Sequence: 9}, hubferry.NewPlace("west", "hub", "2", "", 2)
	return e
}

func TestRecordOfAnEvent(t *testing.T) {
	provenance := []string{
		"repl-enqueue-time=;2023-11-14T22:13:20.123Z", "repl-sequence=1;9", "repl-offset=;9",
		"repl-source=;west/hub/2", "repl-id=task/r/0",
	}
	tests := map[string][]string{
		HeadersTyped: {
			"text=Grüße", "none", "empty=", "n;==-7", "at=1970-01-01T00:00:00.000Z", "bytes=\xff", "ascii=x",
			"twice=a", "twice=true", "list=\x45", "amqp-property-amqp-types=mine",
			"amqp-content-type=text/plain", "amqp-annotation-x-own=3", "amqp-footer-f",
			"amqp-types=n%3B%3D=long;at=timestamp;ascii=binary;twice=string;twice=boolean;list=amqp;" +
				"amqp-content-type=symbol;amqp-annotation-x-own=int",
		},
		HeadersText: {
			"text=Grüße", "none", "empty=", "n;==-7", "at=1970-01-01T00:00:00.000Z", "bytes=\xff", "ascii=x",
			"twice=a", "twice=true", "list=0x45", "amqp-types=mine",
			"amqp-content-type=text/plain", "amqp-annotation-x-own=3", "amqp-footer-f",
		},
		HeadersAMQP: {
			"text=\xa1\x07Grüße", "none", "empty=\xa1\x00", "n;==\x55\xf9", "at=\x83\x00\x00\x00\x00\x00\x00\x00\x00",
			"bytes=\xa0\x01\xff", "ascii=\xa0\x01x", "twice=\xa1\x01a", "twice=\x41", "list=\x45", "amqp-types=\xa1\x04mine",
			"amqp-content-type=\xa3\x0atext/plain", "amqp-annotation-x-own=\x54\x03", "amqp-footer-f",
		},
	}
	for mode, want := range tests {
		t.Run(mode, func(t *testing.T) {
			e := sampleEvent()
			enc := newEncoder(hubferry.Trail{Task: "task", Route: "r"})
			enc.headers = mode
			r, err := enc.record(&e)
			if err != nil {
				t.Fatal(err)
			}
			out := stored(r)
			if string(out.Key) != "k" || string(out.Value) != "body" || out.Timestamp.UnixMilli() != 1_700_000_000_123 {
				t.Errorf("record %+v", out)
			}
			if d := cmp.Diff(append(want, provenance...), texts(out.Headers)); d != "" {
				t.Error(d)
			}
		})
	}
}

// An event with types that goes through a topic is the same afterwards, apart from the
// kind of its key.
func TestTypesComeBack(t *testing.T) {
	e := sampleEvent()
	r, err := newEncoder(noTrail).record(&e)
	if err != nil {
		t.Fatal(err)
	}
	back := event(new(form), stored(r), nil)
	got, err := back.Content()
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })); d != "" {
		t.Error(d)
	}
	read := event(new(form), stored(r), nil)
	for _, p := range want.Properties {
		v, ok := read.Property(p.Name)
		last, _ := want.Properties.Get(p.Name)
		if !ok || v != last {
			t.Errorf("property %s is %v %v, want %v", p.Name, v.Kind(), v, last)
		}
	}
}

// What another tool did to headers of a record with types makes them bytes or text, never
// an error.
func TestDamagedTypes(t *testing.T) {
	text := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	e := event(new(form), &kgo.Record{Headers: []kgo.RecordHeader{
		text("n", "seven"), text("u", "12"), text("new", "x"), text("raw", "\xff"), text("l", "\xc0"),
		{Key: "nil"},
		text("amqp-unknown", "1"), text(headerTypes, "n=long;u=uuid;l=amqp;gone=int;nil=int;;=;x"),
	}}, nil)
	c, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	want := hubferry.Properties{
		{Name: "n", Value: hubferry.Binary([]byte("seven"))},
		{Name: "u", Value: hubferry.Binary([]byte("12"))},
		{Name: "new", Value: hubferry.String("x")},
		{Name: "raw", Value: hubferry.Binary([]byte("\xff"))},
		{Name: "l", Value: hubferry.Binary([]byte("\xc0"))},
		{Name: "nil"},
		{Name: "amqp-unknown", Value: hubferry.String("1")},
	}
	if d := cmp.Diff(want, c.Properties, cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })); d != "" {
		t.Error(d)
	}
}

// Event Hubs' own Kafka endpoint shows properties in their AMQP encoding, and records that
// came over Kafka as they were.
func TestHeadersOfEventHubsEndpoint(t *testing.T) {
	s := &source{options: &SourceOptions{Headers: HeadersAMQP}}
	e := s.event(new(form), &kgo.Record{Value: []byte{}, Headers: []kgo.RecordHeader{
		{Key: "s", Value: []byte("\xa1\x05hello")},
		{Key: "n", Value: []byte("\x54\x07")},
		{Key: "raw", Value: []byte("hello")},
		{Key: "nil"},
		{Key: hubferry.MarkNullBody, Value: []byte("\x41")},
		{Key: "x-opt-partition-key", Value: []byte("\xa1\x01k")},
	}}, nil)
	c, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	want := &hubferry.Content{BodyKind: hubferry.BodyNull, Properties: hubferry.Properties{
		{Name: "s", Value: hubferry.String("hello")},
		{Name: "n", Value: hubferry.Int(7)},
		{Name: "raw", Value: hubferry.Binary([]byte("hello"))},
		{Name: "nil"},
	}}
	if d := cmp.Diff(want, c, cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if !e.Key.Equal(hubferry.Text("k")) {
		t.Errorf("key %v", e.Key)
	}
	if v, _ := e.Property("n"); v != hubferry.Int(7) {
		t.Errorf("property n is %v %v", v.Kind(), v)
	}
	e = s.event(new(form), &kgo.Record{Key: []byte("own"), Value: []byte("v")}, nil)
	if e.Key.String() != "own" {
		t.Errorf("key of a record that came over Kafka: %v", e.Key)
	}
	s.options = &SourceOptions{}
	e = s.event(new(form), &kgo.Record{Headers: []kgo.RecordHeader{{Key: "n", Value: []byte("\x54\x07")}}}, nil)
	if v, _ := e.Property("n"); v != hubferry.Binary([]byte("\x54\x07")) {
		t.Errorf("by default a header is bytes, not %v", v)
	}
}

func TestNullAndEmpty(t *testing.T) {
	tests := []struct {
		name       string
		key        hubferry.Key
		kind       hubferry.BodyKind
		key0, val0 bool // nil in the record
	}{
		{"nothing", hubferry.Key{}, hubferry.BodyData, true, false},
		{"tombstone", hubferry.Text("k"), hubferry.BodyNull, false, true},
		{"empty key", hubferry.Key{Kind: hubferry.ByteKey}, hubferry.BodyData, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := hubferry.NewEvent(&hubferry.Content{BodyKind: tt.kind})
			e.Key = tt.key
			r, err := newEncoder(noTrail).record(&e)
			if err != nil {
				t.Fatal(err)
			}
			if (r.key == nil) != tt.key0 || (r.value == nil) != tt.val0 {
				t.Errorf("key %v, value %v", r.key, r.value)
			}
			back := event(new(form), stored(r), nil)
			c, err := back.Content()
			if err != nil || (back.Key.Kind == hubferry.NoKey) != tt.key0 || (c.BodyKind == hubferry.BodyNull) != tt.val0 {
				t.Errorf("back: key %v, body kind %v, %v", back.Key, c.BodyKind, err)
			}
		})
	}
}

func TestFormIsPassedOn(t *testing.T) {
	in := &kgo.Record{
		Key: []byte("k"), Value: []byte("v"), Timestamp: time.UnixMilli(-5),
		Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "repl-id", Value: []byte("old")}},
	}
	e := event(new(form), in, hubferry.NewPlace("c", "t", "0", "", 0))
	enc := newEncoder(hubferry.Trail{Task: "x", Route: "y"})
	out, err := enc.record(&e)
	if err != nil {
		t.Fatal(err)
	}
	if &out.value[0] != &in.Value[0] {
		t.Error("the value was copied")
	}
	if out.time != -5 {
		t.Errorf("time %d", out.time)
	}
	var names []string
	for i := range out.count() {
		name, _ := out.header(i)
		names = append(names, name)
	}
	if got := strings.Join(names, " "); got != "a a repl-enqueue-time repl-sequence repl-offset repl-source repl-id" {
		t.Error(got)
	}
	if len(in.Headers) != 3 || string(in.Headers[2].Value) != "old" {
		t.Error("the record that was read has changed")
	}
	if v, ok := e.Property("a"); !ok || !v.IsNull() {
		t.Errorf("property a is %v", v)
	}
	if _, ok := e.Property("b"); ok {
		t.Error("there is no property b")
	}
}

func TestTimestamps(t *testing.T) {
	hop := func(text string) hubferry.Event {
		e := hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{{Name: hubferry.ReplEnqueueTime, Value: hubferry.String(text)}}})
		e.Time = time.UnixMilli(5000)
		return e
	}
	tests := []struct {
		name, times string
		event       hubferry.Event
		want        int64 // 0 is now
	}{
		{"the first hop", TimestampOriginal, hop("1970-01-01T00:00:01.234Z;1970-01-01T00:00:03Z"), 1234},
		{"no hop", TimestampOriginal, hop(""), 5000},
		{"a hop that is no time", TimestampOriginal, hop("yesterday"), 5000},
		{"the source", TimestampSource, hop("1970-01-01T00:00:01.234Z"), 5000},
		{"now", TimestampWrite, hop("1970-01-01T00:00:01.234Z"), 0},
		{"nothing is known", TimestampOriginal, hubferry.NewEvent(&hubferry.Content{}), 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			enc := newEncoder(noTrail)
			enc.times = tt.times
			before := time.Now().UnixMilli()
			r, err := enc.record(&tt.event)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want != 0 && r.time != tt.want || tt.want == 0 && r.time < before {
				t.Errorf("%d, want %d", r.time, tt.want)
			}
		})
	}
}

// FuzzThereAndBack checks that a record which is read and written is the same, whether it
// was decoded on the way or not.
func FuzzThereAndBack(f *testing.F) {
	f.Add([]byte("key"), true, []byte("value"), true, "name", []byte("1"), "name", true)
	f.Add([]byte{}, false, []byte{}, false, "", []byte{}, "ß", false)
	f.Add([]byte{}, true, []byte("v"), true, "amqp-body", []byte("sections"), "amqp-x", true)
	f.Fuzz(func(t *testing.T, key []byte, hasKey bool, value []byte, hasValue bool, name string, text []byte, other string, edit bool) {
		for _, reserved := range []string{headerTypes, hubferry.MarkNullBody} {
			if name == reserved || other == reserved {
				t.Skip("a name with a meaning of its own")
			}
		}
		in := &kgo.Record{Headers: []kgo.RecordHeader{{Key: name, Value: append([]byte{}, text...)}, {Key: other}, {Key: name, Value: value}}}
		if hasKey {
			in.Key = append([]byte{}, key...)
		}
		if hasValue {
			in.Value = append([]byte{}, value...)
		}
		e := event(new(form), in, nil)
		if edit {
			if _, err := e.Edit(); err != nil {
				t.Fatal(err)
			}
		}
		r, err := newEncoder(noTrail).record(&e)
		if err != nil {
			t.Fatal(err)
		}
		out := stored(r)
		same := func(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
		if !same(in.Key, out.Key) || !same(in.Value, out.Value) || len(in.Headers) != len(out.Headers) {
			t.Fatalf("%v became %v", in, out)
		}
		for i := range in.Headers {
			if in.Headers[i].Key != out.Headers[i].Key || !same(in.Headers[i].Value, out.Headers[i].Value) {
				t.Fatalf("header %v became %v", in.Headers[i], out.Headers[i])
			}
		}
	})
}

// FuzzTypes checks that properties with types come back, whatever their names and values.
func FuzzTypes(f *testing.F) {
	f.Add("a", "text", int64(1), 1.5, []byte{1}, "amqp-types", uint8(3))
	f.Add("%3B;=", "\xff", int64(-1), 0.0, []byte{}, "amqp-content-type", uint8(0))
	f.Fuzz(func(t *testing.T, a, text string, n int64, d float64, raw []byte, b string, kind uint8) {
		numbers := []hubferry.Value{
			hubferry.Long(n), hubferry.Int(int32(n)), hubferry.ULong(uint64(n)), hubferry.Timestamp(n), hubferry.Char(uint32(n)),
			hubferry.Double(d), hubferry.Float(float32(d)), hubferry.Symbol(text), hubferry.Bool(n > 0), hubferry.Decimal64(uint64(n)),
		}
		c := &hubferry.Content{Body: []byte{}, Properties: hubferry.Properties{
			{Name: a, Value: hubferry.String(text)},
			{Name: b, Value: numbers[int(kind)%len(numbers)]},
			{Name: a, Value: hubferry.Binary(raw)},
			{Name: b, Value: hubferry.Null()},
		}, Annotations: hubferry.Properties{{Name: a, Value: hubferry.Binary(raw)}}}
		e := hubferry.NewEvent(c)
		r, err := newEncoder(noTrail).record(&e)
		if err != nil {
			t.Fatal(err)
		}
		back := event(new(form), stored(r), nil)
		got, err := back.Content()
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c, got, cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })); d != "" {
			t.Error(d)
		}
	})
}
