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

func TestRecordOfAnEvent(t *testing.T) {
	c := &hubferry.Content{
		Body: []byte("body"),
		Properties: hubferry.Properties{
			{Name: "text", Value: hubferry.String("Grüße")},
			{Name: "none", Value: hubferry.Null()},
			{Name: "empty", Value: hubferry.String("")},
			{Name: "n", Value: hubferry.Long(-7)},
			{Name: "at", Value: hubferry.Timestamp(0)},
			{Name: "bytes", Value: hubferry.Binary([]byte{0xff})},
			{Name: "n", Value: hubferry.Bool(true)},
			{Name: hubferry.ReplSequence, Value: hubferry.String("1")},
		},
		Message:     hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.Symbol("text/plain")}},
		Annotations: hubferry.Properties{{Name: "x-own", Value: hubferry.Int(3)}},
		Footer:      hubferry.Properties{{Name: "f", Value: hubferry.Null()}},
	}
	e := hubferry.NewEvent(c)
	e.Key, e.Time = hubferry.Text("k"), time.UnixMilli(1_700_000_000_123)
	e.Pos, e.Origin = hubferry.Position{Sequence: 9}, hubferry.NewPlace("west", "hub", "2", "", 2)
	enc := encoder{topic: "t", trail: hubferry.Trail{Task: "task", Route: "r"}, limit: 1000}
	r, err := enc.record(&e, 3)
	if err != nil {
		t.Fatal(err)
	}
	text := func(name, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: name, Value: []byte(value)} }
	want := &kgo.Record{Topic: "t", Partition: 3, Key: []byte("k"), Value: []byte("body"), Headers: []kgo.RecordHeader{
		text("text", "Grüße"),
		{Key: "none"},
		text("empty", ""), text("n", "-7"), text("at", "1970-01-01T00:00:00.000Z"),
		text("bytes", "\xff"), text("n", "true"),
		text("amqp-content-type", "text/plain"), text("amqp-annotation-x-own", "3"),
		{Key: "amqp-footer-f"},
		text("repl-enqueue-time", ";2023-11-14T22:13:20.123Z"), text("repl-sequence", "1;9"), text("repl-offset", ";9"),
		text("repl-source", ";west/hub/2"), text("repl-id", "task/r/0"),
	}}
	if d := cmp.Diff(want, r, cmp.AllowUnexported(kgo.RecordAttrs{}), cmp.FilterPath(func(p cmp.Path) bool {
		return p.Last().String() == ".Context" || p.Last().String() == ".shareAckState"
	}, cmp.Ignore())); d != "" {
		t.Error(d)
	}
}

func TestNullAndEmpty(t *testing.T) {
	enc := encoder{topic: "t", trail: hubferry.Trail{Mode: hubferry.TrailNone}, limit: 1000}
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
			r, err := enc.record(&e, 0)
			if err != nil {
				t.Fatal(err)
			}
			if (r.Key == nil) != tt.key0 || (r.Value == nil) != tt.val0 {
				t.Errorf("key %v, value %v", r.Key, r.Value)
			}
			back := event(r, nil)
			c, err := back.Content()
			if err != nil || (back.Key.Kind == hubferry.NoKey) != tt.key0 || (c.BodyKind == hubferry.BodyNull) != tt.val0 {
				t.Errorf("back: key %v, body kind %v, %v", back.Key, c.BodyKind, err)
			}
		})
	}
}

func TestFormIsPassedOn(t *testing.T) {
	in := &kgo.Record{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a"}, {Key: "repl-id", Value: []byte("old")}}}
	e := event(in, hubferry.NewPlace("c", "t", "0", "", 0))
	enc := encoder{topic: "t", trail: hubferry.Trail{Task: "x", Route: "y"}, limit: 1000}
	out, err := enc.record(&e, 0)
	if err != nil {
		t.Fatal(err)
	}
	if &out.Value[0] != &in.Value[0] {
		t.Error("the value was copied")
	}
	var names []string
	for _, h := range out.Headers {
		names = append(names, h.Key)
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

// FuzzThereAndBack checks that a record which is read and written is the same, whether it
// was decoded on the way or not.
func FuzzThereAndBack(f *testing.F) {
	f.Add([]byte("key"), true, []byte("value"), true, "name", []byte("1"), "name", true)
	f.Add([]byte{}, false, []byte{}, false, "", []byte{}, "ß", false)
	f.Fuzz(func(t *testing.T, key []byte, hasKey bool, value []byte, hasValue bool, name string, text []byte, other string, edit bool) {
		in := &kgo.Record{Headers: []kgo.RecordHeader{{Key: name, Value: append([]byte{}, text...)}, {Key: other}, {Key: name, Value: value}}}
		if hasKey {
			in.Key = append([]byte{}, key...)
		}
		if hasValue {
			in.Value = append([]byte{}, value...)
		}
		e := event(in, nil)
		if edit {
			if _, err := e.Edit(); err != nil {
				t.Fatal(err)
			}
		}
		enc := encoder{trail: hubferry.Trail{Mode: hubferry.TrailNone}, limit: 1 << 30}
		out, err := enc.record(&e, 0)
		if err != nil {
			t.Fatal(err)
		}
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

func TestBatchSizeIsThatOfTheWire(t *testing.T) {
	for _, n := range []int{0, 1, 62, 63, 64, 8191, 8192, 100_000} {
		r := &kgo.Record{Key: make([]byte, n%70), Value: make([]byte, n), Headers: []kgo.RecordHeader{{Key: "k", Value: nil}, {Key: "kk", Value: make([]byte, n%200)}}}
		// Counted by hand from the protocol: every length is a zigzag varint.
		body := 3 + len(zigzag(len(r.Key))) + len(r.Key) + len(zigzag(n)) + n + 1 + (1 + 1 + 1) + (1 + 2 + len(zigzag(n%200)) + n%200)
		if want := 61 + len(zigzag(body)) + body; batchSize(r) != want {
			t.Errorf("%d: %d, want %d", n, batchSize(r), want)
		}
	}
}

func zigzag(n int) []byte {
	var b []byte
	for u := uint64(n) << 1; ; u >>= 7 {
		if u < 0x80 {
			return append(b, byte(u))
		}
		b = append(b, byte(u)|0x80)
	}
}

func BenchmarkRecordUndecoded(b *testing.B) {
	in := &kgo.Record{Key: []byte("key"), Value: make([]byte, 1024), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}}}
	e := event(in, hubferry.NewPlace("cluster", "topic", "0", "", 0))
	enc := encoder{topic: "t", trail: hubferry.Trail{Task: "task", Route: "route"}, limit: 1 << 20}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := enc.record(&e, 0); err != nil {
			b.Fatal(err)
		}
	}
}
