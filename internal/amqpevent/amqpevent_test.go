package amqpevent

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

// compareValues lets go-cmp look at values, which are comparable.
var compareValues = cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })

// everyValue has one property of every type, at the edges of its range.
func everyValue(t testing.TB) hubferry.Properties {
	t.Helper()
	encoded := func(k hubferry.Kind, v any) hubferry.Value {
		raw, err := amqp.AppendValue(nil, v)
		if err != nil {
			t.Fatal(err)
		}
		return hubferry.Encoded(k, raw)
	}
	id := [16]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255}
	var out hubferry.Properties
	add := func(name string, values ...hubferry.Value) {
		for i, v := range values {
			out = append(out, hubferry.Property{Name: name + strings.Repeat("'", i), Value: v})
		}
	}
	add("null", hubferry.Null())
	add("bool", hubferry.Bool(true), hubferry.Bool(false))
	add("ubyte", hubferry.UByte(0), hubferry.UByte(255))
	add("ushort", hubferry.UShort(65535))
	add("uint", hubferry.UInt(0), hubferry.UInt(255), hubferry.UInt(256), hubferry.UInt(math.MaxUint32))
	add("ulong", hubferry.ULong(0), hubferry.ULong(255), hubferry.ULong(math.MaxUint64))
	add("byte", hubferry.Byte(-128))
	add("short", hubferry.Short(-32768))
	add("int", hubferry.Int(-1), hubferry.Int(127), hubferry.Int(128), hubferry.Int(math.MinInt32))
	add("long", hubferry.Long(-1), hubferry.Long(128), hubferry.Long(math.MinInt64), hubferry.Long(math.MaxInt64))
	add("float", hubferry.Float(float32(math.Inf(-1))), hubferry.Float(0.1))
	add("double", hubferry.Double(math.NaN()), hubferry.Double(math.Copysign(0, -1)))
	add("char", hubferry.Char('é'), hubferry.Char(0x10FFFF), hubferry.Char(0xD800))
	add("decimal", hubferry.Decimal32(0x22500001), hubferry.Decimal64(0x2238000000000001), hubferry.Decimal128(id))
	// Beyond the range of time.Time.UnixNano on both sides.
	add("timestamp", hubferry.Timestamp(0), hubferry.Timestamp(-62135596800000), hubferry.Timestamp(253402300799999), hubferry.Timestamp(math.MinInt64))
	add("uuid", hubferry.UUID(id))
	add("binary", hubferry.Binary(nil), hubferry.Binary([]byte{0, 255}), hubferry.Binary(make([]byte, 256)))
	add("string", hubferry.String(""), hubferry.String("grüße 👍"), hubferry.String(strings.Repeat("x", 256)))
	add("symbol", hubferry.Symbol("a:b"), hubferry.Symbol(strings.Repeat("s", 300)))
	add("list", encoded(hubferry.KindList, amqp.List{}), encoded(hubferry.KindList, amqp.List{int32(1), amqp.Symbol("x"), amqp.List{"y"}}))
	add("map", encoded(hubferry.KindMap, amqp.Map{{Key: amqp.Symbol("k"), Value: uint64(7)}, {Key: "k", Value: nil}}))
	add("array", encoded(hubferry.KindArray, amqp.Array{Items: []any{amqp.Char('a'), amqp.Char('b')}}))
	add("described", encoded(hubferry.KindDescribed, amqp.Described{Descriptor: amqp.Symbol("com.microsoft:timespan"), Value: int64(5)}))
	return out
}

func fullContent(t testing.TB) *hubferry.Content {
	t.Helper()
	return &hubferry.Content{
		Body:       []byte{0, 1, 2, 0xff},
		Properties: everyValue(t),
		Message: hubferry.Properties{
			{Name: hubferry.MessageID, Value: hubferry.ULong(7)},
			{Name: hubferry.UserID, Value: hubferry.Binary([]byte{1, 2})},
			{Name: hubferry.To, Value: hubferry.String("to")},
			{Name: hubferry.Subject, Value: hubferry.String("")},
			{Name: hubferry.ReplyTo, Value: hubferry.String("reply")},
			{Name: hubferry.CorrelationID, Value: hubferry.UUID([16]byte{9})},
			{Name: hubferry.ContentType, Value: hubferry.Symbol("application/json")},
			{Name: hubferry.ContentEncoding, Value: hubferry.Symbol("gzip")},
			{Name: hubferry.AbsoluteExpiryTime, Value: hubferry.Timestamp(-1)},
			{Name: hubferry.CreationTime, Value: hubferry.Timestamp(253402300799999)},
			{Name: hubferry.GroupID, Value: hubferry.String("g")},
			{Name: hubferry.GroupSequence, Value: hubferry.UInt(math.MaxUint32)},
			{Name: hubferry.ReplyToGroupID, Value: hubferry.String("rg")},
			{Name: hubferry.Durable, Value: hubferry.Bool(true)},
			{Name: hubferry.Priority, Value: hubferry.UByte(4)},
			{Name: hubferry.TTL, Value: hubferry.UInt(1000)},
		},
		Annotations: hubferry.Properties{
			{Name: "x-own", Value: hubferry.Symbol("mine")},
			{Name: "ulong:12", Value: hubferry.Int(1)},
		},
		Footer: hubferry.Properties{{Name: "hash", Value: hubferry.Binary([]byte{1})}},
	}
}

// asReceived is a message as a hub delivers it: with its own annotations added.
func asReceived(t testing.TB, sent []byte, key string, seq int64) []byte {
	t.Helper()
	s, err := amqp.Scan(sent)
	if err != nil {
		t.Fatal(err)
	}
	out := amqp.AppendSection(nil, amqp.CodeDeliveryAnnotations)
	out, mark := amqp.BeginMap(out, 2)
	out = amqp.AppendLong(amqp.AppendSymbol(out, metricSequence), 99)
	out = amqp.AppendString(amqp.AppendSymbol(out, metricOffset), "9900")
	out = amqp.EndMap(out, mark)
	items, n, err := amqp.MapSection(s.MessageAnnotations.Of(sent))
	if err != nil {
		t.Fatal(err)
	}
	m := mapWriter{start: len(out)}
	m.dst, m.mark = amqp.BeginMap(amqp.AppendSection(out, amqp.CodeMessageAnnotations), 0)
	m.dst = amqp.AppendLong(amqp.AppendSymbol(m.dst, annSequence), seq)
	m.dst = amqp.AppendString(amqp.AppendSymbol(m.dst, annOffset), "4200")
	m.dst = amqp.AppendTimestamp(amqp.AppendSymbol(m.dst, annTime), 1700000000123)
	m.n = 3
	if key != "" {
		m.dst = amqp.AppendString(amqp.AppendSymbol(m.dst, annKey), key)
		m.n++
	}
	m.n += n
	m.dst = append(m.dst, items.Rest()...)
	return slices.Concat(s.Header.Of(sent), m.end(), s.Bare(sent))
}

func encode(t testing.TB, e *hubferry.Event, trail hubferry.Trail) []byte {
	t.Helper()
	var lost []string
	msg, err := NewEncoder(trail, func(_ *hubferry.Event, what string) { lost = append(lost, what) }).Append(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	if len(lost) > 0 {
		t.Fatalf("lost on the way: %q", lost)
	}
	return msg
}

var noTrail = hubferry.Trail{Mode: hubferry.TrailNone}

func TestContentThereAndBack(t *testing.T) {
	value, err := amqp.AppendValue(amqp.AppendSection(nil, amqp.CodeValue), amqp.List{amqp.Char('x'), int8(1)})
	if err != nil {
		t.Fatal(err)
	}
	sequence := amqp.AppendSection(nil, amqp.CodeSequence)
	sequence = append(sequence, byte(amqp.CodeList8), 2, 1, byte(amqp.CodeTrue))
	bodies := map[string]hubferry.Content{
		"data":       {Body: []byte("hello")},
		"empty data": {Body: []byte{}},
		"big data":   {Body: make([]byte, 70000)},
		"null":       {BodyKind: hubferry.BodyNull},
		"null and a property": {BodyKind: hubferry.BodyNull, Properties: hubferry.Properties{
			{Name: "a", Value: hubferry.Int(1)},
		}},
		"repeated names": {Body: []byte("x"), Properties: hubferry.Properties{
			{Name: "a", Value: hubferry.Binary([]byte("1"))},
			{Name: "b", Value: hubferry.Int(2)},
			{Name: "a", Value: hubferry.Null()},
			{Name: "c", Value: hubferry.String("")},
			{Name: "b", Value: hubferry.Int(2)},
			{Name: "a", Value: hubferry.Binary([]byte("1"))},
		}},
		"value":        {BodyKind: hubferry.BodyAMQP, Body: value},
		"sequences":    {BodyKind: hubferry.BodyAMQP, Body: append(sequence, sequence...)},
		"several data": {BodyKind: hubferry.BodyAMQP, Body: amqp.AppendData(amqp.AppendData(nil, []byte("a")), nil)},
		"everything":   *fullContent(t),
	}
	for name, want := range bodies {
		t.Run(name, func(t *testing.T) {
			e := hubferry.NewEvent(want.Clone())
			form, _ := Parse(encode(t, &e, noTrail))
			var got hubferry.Content
			if err := form.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&want, &got, compareValues); diff != "" {
				t.Errorf("content changed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFormGoesThroughUntouched(t *testing.T) {
	sent := hubferry.NewEvent(fullContent(t))
	received := asReceived(t, encode(t, &sent, noTrail), "k1", 42)
	form, facts := Parse(received)
	want := Facts{
		Key: hubferry.Text("k1"), Sequence: 42, Offset: "4200", Known: true,
		Time: time.UnixMilli(1700000000123).UTC(),
	}
	if diff := cmp.Diff(want, facts); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if end, ok := form.End(); !ok || end.Sequence != 99 || end.Offset != "9900" {
		t.Errorf("End = %+v, %v", end, ok)
	}
	e := hubferry.NewEncodedEvent(form)
	e.Key = facts.Key
	out := encode(t, &e, noTrail)
	s, err := amqp.Scan(out)
	if err != nil {
		t.Fatal(err)
	}
	in := form.sections
	for _, c := range []struct {
		name     string
		from, to []byte
	}{
		{"properties", in.Properties.Of(received), s.Properties.Of(out)},
		{"application properties", in.ApplicationProperties.Of(received), s.ApplicationProperties.Of(out)},
		{"body", in.Body.Of(received), s.Body.Of(out)},
		{"footer", in.Footer.Of(received), s.Footer.Of(out)},
	} {
		if string(c.from) != string(c.to) {
			t.Errorf("%s changed", c.name)
		}
	}
	if !s.DeliveryAnnotations.Empty() {
		t.Error("delivery annotations went on to the next hop")
	}
	again, facts := Parse(out)
	if facts.Known || facts.Offset != "" || !facts.Time.IsZero() || !facts.Key.Equal(hubferry.Text("k1")) {
		t.Errorf("facts of the copy: %+v, want the key only", facts)
	}
	var a, b hubferry.Content
	if err := form.Decode(&a); err != nil {
		t.Fatal(err)
	}
	if err := again.Decode(&b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b, compareValues); diff != "" {
		t.Errorf("content changed:\n%s", diff)
	}
}

func TestProvenanceReplacesWhatIsThere(t *testing.T) {
	trail := hubferry.Trail{Task: "copy", Route: "main"}
	place := hubferry.NewPlace("ns", "hub", "3", "", 3)
	content := &hubferry.Content{Body: []byte("x"), Properties: hubferry.Properties{
		{Name: hubferry.ReplSource, Value: hubferry.String("first/hub/0")},
		{Name: "mine", Value: hubferry.Char('c')},
		{Name: hubferry.ReplSequence, Value: hubferry.Long(4)},
		{Name: "repl-other", Value: hubferry.Int(1)},
	}}
	plain := hubferry.NewEvent(content.Clone())
	form, facts := Parse(asReceived(t, encode(t, &plain, noTrail), "", 7))
	for name, e := range map[string]hubferry.Event{
		"content": hubferry.NewEvent(content),
		"form":    hubferry.NewEncodedEvent(form),
	} {
		t.Run(name, func(t *testing.T) {
			e.Origin, e.Time = place, facts.Time
			e.Pos = hubferry.Position{Sequence: 7, Offset: "4200"}
			got, _ := Parse(encode(t, &e, trail))
			var c hubferry.Content
			if err := got.Decode(&c); err != nil {
				t.Fatal(err)
			}
			want := hubferry.Properties{
				{Name: "mine", Value: hubferry.Char('c')},
				{Name: "repl-other", Value: hubferry.Int(1)},
				{Name: hubferry.ReplEnqueueTime, Value: hubferry.String(";2023-11-14T22:13:20.123Z")},
				{Name: hubferry.ReplSequence, Value: hubferry.String("4;7")},
				{Name: hubferry.ReplOffset, Value: hubferry.String(";4200")},
				{Name: hubferry.ReplSource, Value: hubferry.String("first/hub/0;ns/hub/3")},
				{Name: hubferry.ReplID, Value: hubferry.String("copy/main/0")},
			}
			if diff := cmp.Diff(want, c.Properties, compareValues); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
			if v, ok := got.Property(hubferry.ReplSequence); !ok || v != hubferry.String("4;7") {
				t.Errorf("Property = %v, %v", v, ok)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct {
		name        string
		key         hubferry.Key
		annotations hubferry.Properties
		want        hubferry.Key
		left        int // annotations that remain
	}{
		{name: "none", want: hubferry.Key{}},
		{name: "text", key: hubferry.Text("k"), want: hubferry.Text("k")},
		{name: "empty text", key: hubferry.Text(""), want: hubferry.Text("")},
		{name: "kafka text", key: hubferry.Key{Bytes: []byte("k"), Kind: hubferry.ByteKey}, want: hubferry.Key{Bytes: []byte("k"), Kind: hubferry.ByteKey}},
		{name: "kafka bytes", key: hubferry.Key{Bytes: []byte{0xff}, Kind: hubferry.ByteKey}, want: hubferry.Key{Bytes: []byte{0xff}, Kind: hubferry.ByteKey}},
		{name: "kafka empty", key: hubferry.Key{Bytes: []byte{}, Kind: hubferry.ByteKey}, want: hubferry.Key{Bytes: []byte{}, Kind: hubferry.ByteKey}},
		{
			name: "both, different", key: hubferry.Text("k"), want: hubferry.Text("k"), left: 1,
			annotations: hubferry.Properties{{Name: annKafkaKey, Value: hubferry.Binary([]byte("other"))}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := hubferry.NewEvent(&hubferry.Content{Annotations: c.annotations})
			e.Key = c.key
			form, facts := Parse(encode(t, &e, noTrail))
			if diff := cmp.Diff(c.want, facts.Key); diff != "" {
				t.Errorf("key (-want +got):\n%s", diff)
			}
			var got hubferry.Content
			if err := form.Decode(&got); err != nil {
				t.Fatal(err)
			}
			if len(got.Annotations) != c.left {
				t.Errorf("annotations: %v", got.Annotations)
			}
			// The same through the form, and after an editor gave another key.
			again := hubferry.NewEncodedEvent(form)
			again.Key = facts.Key
			if _, facts = Parse(encode(t, &again, noTrail)); !facts.Key.Equal(c.want) {
				t.Errorf("key through the form: %+v", facts.Key)
			}
			again.Key = hubferry.Text("new")
			if _, facts = Parse(encode(t, &again, noTrail)); !facts.Key.Equal(hubferry.Text("new")) {
				t.Errorf("changed key through the form: %+v", facts.Key)
			}
			again.Key = hubferry.Key{}
			if _, facts = Parse(encode(t, &again, noTrail)); c.left == 0 && facts.Key.Kind != hubferry.NoKey {
				t.Errorf("removed key through the form: %+v", facts.Key)
			}
		})
	}
}

func TestWhatAMessageCannotCarry(t *testing.T) {
	var lost []string
	x := NewEncoder(noTrail, func(_ *hubferry.Event, what string) { lost = append(lost, what) })
	e := hubferry.NewEvent(&hubferry.Content{Properties: hubferry.Properties{
		{Name: "h", Value: hubferry.Binary([]byte("1"))},
		{Name: "h", Value: hubferry.Binary([]byte("2"))},
		{Name: "bad\xff", Value: hubferry.Int(1)},
		{Name: "text", Value: hubferry.String("a\xff")},
	}})
	msg, err := x.Append(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	if len(lost) != 2 {
		t.Errorf("reported %q, want two things", lost)
	}
	form, _ := Parse(msg)
	var c hubferry.Content
	if err := form.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := hubferry.Properties{
		{Name: "h", Value: hubferry.Binary([]byte("1"))},
		{Name: "h", Value: hubferry.Binary([]byte("2"))},
		{Name: "bad\uFFFD", Value: hubferry.Int(1)},
		{Name: "text", Value: hubferry.Binary([]byte("a\xff"))},
	}
	if diff := cmp.Diff(want, c.Properties, compareValues); diff != "" {
		t.Errorf("properties (-want +got):\n%s", diff)
	}
}

// A mark that another program has damaged or moved to another body says nothing, and does
// no harm.
func TestDamagedMarks(t *testing.T) {
	for name, props := range map[string]hubferry.Properties{
		"of a body that is not empty": {{Name: hubferry.MarkNullBody, Value: hubferry.Bool(true)}},
		"no binary":                   {{Name: hubferry.MarkRepeated, Value: hubferry.Int(1)}},
		"cut":                         {{Name: hubferry.MarkRepeated, Value: hubferry.Binary([]byte{byte(amqp.CodeUint0), 0xa1, 9, 'a'})}},
		"place far away": {{Name: hubferry.MarkRepeated, Value: hubferry.Binary(
			amqp.AppendNull(amqp.AppendString(amqp.AppendUlong(nil, 1<<63), "a")))}},
	} {
		t.Run(name, func(t *testing.T) {
			// Through a form that no encoder of ours would make.
			m := beginMap(nil, amqp.CodeApplicationProperties)
			m.raw(AppendValue(amqp.AppendString(nil, props[0].Name), props[0].Value))
			msg := amqp.AppendData(m.end(), []byte("body"))
			form, _ := Parse(msg)
			var c hubferry.Content
			if err := form.Decode(&c); err != nil {
				t.Fatal(err)
			}
			if _, there := c.Properties.Get(props[0].Name); there || c.BodyKind != hubferry.BodyData || string(c.Body) != "body" {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	bad := func(name string, v hubferry.Value) hubferry.Event {
		return hubferry.NewEvent(&hubferry.Content{Message: hubferry.Properties{{Name: name, Value: v}}})
	}
	badKey := hubferry.NewEvent(&hubferry.Content{})
	badKey.Key = hubferry.Key{Bytes: []byte{0xff}, Kind: hubferry.TextKey}
	for name, e := range map[string]hubferry.Event{
		"content type": bad(hubferry.ContentType, hubferry.Int(1)),
		"message id":   bad(hubferry.MessageID, hubferry.Int(-1)),
		"subject":      bad(hubferry.Subject, hubferry.Binary([]byte{0xff})),
		"key":          badKey,
		"body":         hubferry.NewEvent(&hubferry.Content{BodyKind: hubferry.BodyAMQP, Body: []byte("junk")}),
		"body section": hubferry.NewEvent(&hubferry.Content{BodyKind: hubferry.BodyAMQP, Body: []byte{0, 0x53, 0x70, 0x45}}),
		"no body":      hubferry.NewEvent(&hubferry.Content{BodyKind: hubferry.BodyAMQP}),
	} {
		t.Run(name, func(t *testing.T) {
			dst := []byte("before")
			got, err := NewEncoder(noTrail, nil).Append(dst, &e)
			if err == nil || string(got) != "before" {
				t.Errorf("Append = %q, %v", got, err)
			}
		})
	}
}

func TestFieldTypes(t *testing.T) {
	e := hubferry.NewEvent(&hubferry.Content{Message: hubferry.Properties{
		{Name: hubferry.MessageID, Value: hubferry.Symbol("s")},
		{Name: hubferry.UserID, Value: hubferry.String("u")},
		{Name: hubferry.CorrelationID, Value: hubferry.Int(5)},
		{Name: hubferry.ContentType, Value: hubferry.String("text/plain")},
		{Name: hubferry.CreationTime, Value: hubferry.Long(9)},
		{Name: hubferry.GroupSequence, Value: hubferry.Long(3)},
	}})
	form, _ := Parse(encode(t, &e, noTrail))
	var c hubferry.Content
	if err := form.Decode(&c); err != nil {
		t.Fatal(err)
	}
	want := hubferry.Properties{
		{Name: hubferry.MessageID, Value: hubferry.String("s")},
		{Name: hubferry.UserID, Value: hubferry.Binary([]byte("u"))},
		{Name: hubferry.CorrelationID, Value: hubferry.ULong(5)},
		{Name: hubferry.ContentType, Value: hubferry.Symbol("text/plain")},
		{Name: hubferry.CreationTime, Value: hubferry.Timestamp(9)},
		{Name: hubferry.GroupSequence, Value: hubferry.UInt(3)},
	}
	if diff := cmp.Diff(want, c.Message, compareValues); diff != "" {
		t.Errorf("message properties (-want +got):\n%s", diff)
	}
}

func TestMessageThatCannotBeDecoded(t *testing.T) {
	e := hubferry.NewEvent(&hubferry.Content{Body: []byte("x")})
	good := asReceived(t, encode(t, &e, noTrail), "k", 8)
	bad := append(good, 0, 0x53, 0x79, 0x45) // a section that does not exist
	form, facts := Parse(bad)
	if !facts.Known || facts.Sequence != 8 {
		t.Errorf("facts: %+v, want those before the broken section", facts)
	}
	event := hubferry.NewEncodedEvent(form)
	if _, err := event.Content(); err == nil || !strings.Contains(err.Error(), "decode event") {
		t.Errorf("Content: %v", err)
	}
	if _, err := NewEncoder(noTrail, nil).Append(nil, &event); err == nil {
		t.Error("a broken message was sent on")
	}
	if _, facts := Parse([]byte("not AMQP at all")); facts.Known {
		t.Errorf("facts of nothing: %+v", facts)
	}
}

func TestSymbolicDescriptors(t *testing.T) {
	msg := append([]byte{0, 0xa3, 16}, "amqp:data:binary"...)
	msg = append(msg, 0xa0, 1, 'x')
	form, _ := Parse(msg)
	var c hubferry.Content
	if err := form.Decode(&c); err != nil || string(c.Body) != "x" {
		t.Fatalf("body %q, %v", c.Body, err)
	}
	if got := form.Message(); string(got) != string([]byte{0, 0x53, 0x75, 0xa0, 1, 'x'}) {
		t.Errorf("message % x", got)
	}
}

// TestParserSharesMemoryOfSmallMessagesOnly parses messages that come together: each has its
// own facts, and only small ones share allocations.
func TestParserSharesMemoryOfSmallMessagesOnly(t *testing.T) {
	const n = 100
	var small, large [][]byte
	for i := range n {
		body := fmt.Append(nil, i)
		e := hubferry.NewEvent(&hubferry.Content{Body: body})
		small = append(small, asReceived(t, encode(t, &e, noTrail), fmt.Sprint("key", i), int64(i)))
		e = hubferry.NewEvent(&hubferry.Content{Body: append(make([]byte, 10_000), body...)})
		large = append(large, asReceived(t, encode(t, &e, noTrail), "", int64(i)))
	}
	parse := func(messages [][]byte) func() {
		return func() {
			var p Parser
			var all []*Form
			for i, msg := range messages {
				form, facts := p.Parse(msg, len(messages)-i)
				alone, want := Parse(msg)
				if facts.Sequence != want.Sequence || facts.Offset != want.Offset || !facts.Key.Equal(want.Key) || form.Size() != alone.Size() {
					t.Fatalf("message %d: %+v, want %+v", i, facts, want)
				}
				all = append(all, form)
			}
			for i, form := range all {
				c := new(hubferry.Content)
				if err := form.Decode(c); err != nil || !strings.HasSuffix(string(c.Body), fmt.Sprint(i)) {
					t.Fatalf("message %d has the body %q, %v", i, c.Body, err)
				}
			}
		}
	}
	parse(small)()
	parse(large)()
	count := func(messages [][]byte) float64 {
		return testing.AllocsPerRun(10, func() {
			var p Parser
			for i, msg := range messages {
				p.Parse(msg, len(messages)-i)
			}
		})
	}
	if got := count(small); got > n/5 {
		t.Errorf("%v allocations for %d small messages", got, n)
	}
	if got := count(large); got < n {
		t.Errorf("%v allocations for %d large messages: a kept one keeps others", got, n)
	}
}
