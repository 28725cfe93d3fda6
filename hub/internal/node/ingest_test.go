package node

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

func section(t testing.TB, code uint8, v any) []byte {
	t.Helper()
	b, err := amqp.AppendValue(amqp.AppendSection(nil, code), v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestIngest(t *testing.T) {
	body := section(t, amqp.CodeData, []byte("body"))
	properties := section(t, amqp.CodeProperties, amqp.List{"id"})
	annotations := func(m amqp.Map) []byte { return section(t, amqp.CodeMessageAnnotations, m) }
	sym := func(s string) amqp.Symbol { return amqp.Symbol(s) }
	keyed := annotations(amqp.Map{{Key: sym(annKey), Value: "k"}})
	for name, tc := range map[string]struct {
		format  uint32
		payload []byte
		route   string // "-" is none
		want    []entity.Entry
	}{
		"bare":            {0, body, "-", []entity.Entry{{Message: body}}},
		"header goes":     {0, join(section(t, amqp.CodeHeader, amqp.List{true}), section(t, amqp.CodeDeliveryAnnotations, amqp.Map{}), body), "-", []entity.Entry{{Message: body}}},
		"key goes aside":  {0, join(keyed, properties, body), "k", []entity.Entry{{Message: join(properties, body), Key: []byte("k"), Flags: entity.FlagKey}}},
		"empty key":       {0, join(annotations(amqp.Map{{Key: sym(annKey), Value: ""}}), body), "", []entity.Entry{{Message: body, Key: []byte{}, Flags: entity.FlagKey}}},
		"key of a number": {0, join(annotations(amqp.Map{{Key: sym(annKey), Value: int64(4)}}), body), "-", []entity.Entry{{Message: body}}},
		"own annotations": {0, join(annotations(amqp.Map{
			{Key: sym("own"), Value: amqp.Char('x')},
			{Key: sym(annKey), Value: "k"},
			{Key: sym(annSequence), Value: int64(7)},
			{Key: sym("x-opt-own"), Value: amqp.List{nil}},
			{Key: sym(annOffset), Value: "1"},
			{Key: uint64(5), Value: "number"},
		}), body), "k", []entity.Entry{{
			Message: join(annotations(amqp.Map{
				{Key: sym("own"), Value: amqp.Char('x')}, {Key: sym("x-opt-own"), Value: amqp.List{nil}}, {Key: uint64(5), Value: "number"},
			}), body), Key: []byte("k"), Flags: entity.FlagKey,
		}}},
		"no content":   {0, properties, "-", []entity.Entry{{Message: properties, Flags: entity.FlagTombstone}}},
		"nothing":      {0, nil, "-", []entity.Entry{{Flags: entity.FlagTombstone}}},
		"empty data":   {0, section(t, amqp.CodeData, []byte{}), "-", []entity.Entry{{Message: section(t, amqp.CodeData, []byte{}), Flags: entity.FlagTombstone}}},
		"null":         {0, section(t, amqp.CodeValue, nil), "-", []entity.Entry{{Message: section(t, amqp.CodeValue, nil), Flags: entity.FlagTombstone}}},
		"long section": {0, join([]byte{0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75}, body[3:]), "-", []entity.Entry{{Message: body}}},
		"batch": {
			amqp.FormatBatch, join(keyed, amqp.AppendData(nil, body), amqp.AppendData(nil, join(keyed, body))), "k",
			[]entity.Entry{{Message: body}, {Message: body, Key: []byte("k"), Flags: entity.FlagKey}},
		},
		"batch with keys inside": {
			amqp.FormatBatch, join(amqp.AppendData(nil, join(keyed, body)), amqp.AppendData(nil, body)), "k",
			[]entity.Entry{{Message: body, Key: []byte("k"), Flags: entity.FlagKey}, {Message: body}},
		},
		"batch with a key in the second": {
			amqp.FormatBatch, join(amqp.AppendData(nil, body), amqp.AppendData(nil, join(keyed, body))), "-",
			[]entity.Entry{{Message: body}, {Message: body, Key: []byte("k"), Flags: entity.FlagKey}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var g ingest
			route, e := g.read(tc.format, tc.payload)
			if e != nil {
				t.Fatal(e)
			}
			got := "-"
			if route.ok {
				got = string(route.text)
			}
			if got != tc.route {
				t.Errorf("route %q, want %q", got, tc.route)
			}
			if diff := cmp.Diff(tc.want, g.entries, cmp.Comparer(bytes.Equal)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What goes through most often is not copied and not allocated.
func TestIngestDoesNotAllocate(t *testing.T) {
	body := section(t, amqp.CodeData, make([]byte, 1000))
	keyed := join(section(t, amqp.CodeMessageAnnotations, amqp.Map{{Key: amqp.Symbol(annKey), Value: "key"}}), body)
	payload := join(amqp.AppendData(nil, keyed), amqp.AppendData(nil, keyed))
	var g ingest
	if n := testing.AllocsPerRun(100, func() {
		if _, e := g.read(amqp.FormatBatch, payload); e != nil {
			t.Fatal(e)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSendDoesNotAllocate(t *testing.T) {
	c := &conn{maxFrame: 65536, out: make([]byte, 0, 1<<20)}
	l := &link{c: c, s: &session{c: c}, out: &outbound{}}
	rec := &entity.Record{Sequence: 1 << 40, Offset: 1 << 50, Enqueued: 1 << 41, Entry: entity.Entry{
		Message: section(t, amqp.CodeData, make([]byte, 1000)), Key: bytes.Repeat([]byte("k"), 100), Flags: entity.FlagKey,
	}}
	h := header{link: l}
	r := run{}
	if n := testing.AllocsPerRun(100, func() {
		c.out = c.out[:0]
		h.send(&r, rec)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzIngest checks that whatever is accepted can be delivered, and that it is
// the same then but for the annotations that the service owns.
func FuzzIngest(f *testing.F) {
	body := section(f, amqp.CodeData, []byte("body"))
	keyed := section(f, amqp.CodeMessageAnnotations, amqp.Map{{Key: amqp.Symbol(annKey), Value: "k"}, {Key: amqp.Symbol("own"), Value: nil}})
	f.Add(amqp.FormatMessage, join(keyed, body))
	f.Add(amqp.FormatBatch, join(keyed, amqp.AppendData(nil, body), amqp.AppendData(nil, join(keyed, body))))
	f.Add(amqp.FormatMessage, []byte{})
	f.Fuzz(func(t *testing.T, format uint32, payload []byte) {
		var g ingest
		if _, e := g.read(format, payload); e != nil {
			return
		}
		for i := range g.entries {
			rec := &entity.Record{Sequence: 5, Offset: 500, Enqueued: 9, Entry: g.entries[i]}
			var h header
			msg := h.appendMessage(nil, rec)
			s, err := amqp.Scan(msg)
			if err != nil || !s.Canonical || !s.Header.Empty() || !s.DeliveryAnnotations.Empty() {
				t.Fatalf("% x\nis delivered as % x\n%v", payload, msg, err)
			}
			// Stored again, it is what it was.
			var again ingest
			route, e := again.read(amqp.FormatMessage, msg)
			if e != nil || !bytes.Equal(again.entries[0].Message, g.entries[i].Message) || route.ok != rec.HasKey() || !bytes.Equal(route.text, rec.Key) {
				t.Fatalf("% x\nis delivered as % x\nand becomes % x, %v", g.entries[i].Message, msg, again.entries[0].Message, e)
			}
		}
	})
}
