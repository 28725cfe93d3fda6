package amqp_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

// section is an encoded message section.
func section(t testing.TB, code uint8, v any) []byte {
	t.Helper()
	b, err := amqp.AppendValue(amqp.AppendSection(nil, code), v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// whole is a message with all sections and two data sections.
func whole(t testing.TB) (msg []byte, want amqp.Sections) {
	t.Helper()
	add := func(code uint8, v any) amqp.Span {
		start := len(msg)
		msg = append(msg, section(t, code, v)...)
		return amqp.Span{Start: int32(start), End: int32(len(msg))}
	}
	want.Header = add(amqp.CodeHeader, amqp.List{true})
	want.DeliveryAnnotations = add(amqp.CodeDeliveryAnnotations, amqp.Map{{Key: amqp.Symbol("d"), Value: int64(1)}})
	want.MessageAnnotations = add(amqp.CodeMessageAnnotations, amqp.Map{{Key: amqp.Symbol("m"), Value: "v"}, {Key: uint64(7), Value: nil}})
	want.Properties = add(amqp.CodeProperties, amqp.List{"id"})
	want.ApplicationProperties = add(amqp.CodeApplicationProperties, amqp.Map{{Key: "p", Value: amqp.Char('x')}})
	first := add(amqp.CodeData, []byte("one"))
	second := add(amqp.CodeData, bytes.Repeat([]byte("two"), 200))
	want.Body = amqp.Span{Start: first.Start, End: second.End}
	want.BodyCode, want.BodyCount, want.Canonical = amqp.CodeData, 2, true
	want.Footer = add(amqp.CodeFooter, amqp.Map{})
	return msg, want
}

func TestScan(t *testing.T) {
	msg, want := whole(t)
	got, err := amqp.Scan(msg)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if bare := got.Bare(msg); !bytes.Equal(bare, msg[want.Properties.Start:]) {
		t.Errorf("bare message % x", bare)
	}
	if n := testing.AllocsPerRun(100, func() { _, err = amqp.Scan(msg) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	items, n, err := amqp.MapSection(got.MessageAnnotations.Of(msg))
	if err != nil || n != 2 || string(items.Text()) != "m" || string(items.Text()) != "v" || items.Uint() != 7 || !items.Null() {
		t.Errorf("%d annotations, %v", n, err)
	}
	fields, n, err := amqp.ListSection(got.Properties.Of(msg))
	if err != nil || n != 1 || string(fields.Text()) != "id" {
		t.Errorf("%d properties, %v", n, err)
	}
}

func TestScanNothing(t *testing.T) {
	s, err := amqp.Scan(nil)
	if err != nil || s.BodyCount != 0 || !s.Footer.Empty() || len(s.Bare(nil)) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	if _, n, err := amqp.MapSection(nil); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestScanBodies(t *testing.T) {
	for name, tc := range map[string]struct {
		msg   []byte
		code  uint8
		count int
	}{
		"value":         {section(t, amqp.CodeValue, "v"), amqp.CodeValue, 1},
		"null":          {section(t, amqp.CodeValue, nil), amqp.CodeValue, 1},
		"sequences":     {slices.Concat(section(t, amqp.CodeSequence, amqp.List{}), section(t, amqp.CodeSequence, amqp.List{"x"})), amqp.CodeSequence, 2},
		"footer alone":  {section(t, amqp.CodeFooter, amqp.Map{}), 0, 0},
		"null as a map": {section(t, amqp.CodeFooter, nil), 0, 0},
	} {
		s, err := amqp.Scan(tc.msg)
		if err != nil || s.BodyCode != tc.code || s.BodyCount != tc.count {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	data, value := section(t, amqp.CodeData, []byte("x")), section(t, amqp.CodeValue, "v")
	footer := section(t, amqp.CodeFooter, amqp.Map{})
	for name, msg := range map[string][]byte{
		"garbage":             []byte("hello"),
		"unknown section":     section(t, 0x79, "x"),
		"out of order":        slices.Concat(data, section(t, amqp.CodeProperties, amqp.List{})),
		"twice":               slices.Concat(section(t, amqp.CodeHeader, amqp.List{}), section(t, amqp.CodeHeader, amqp.List{})),
		"two values":          slices.Concat(value, value),
		"two kinds of body":   slices.Concat(data, value),
		"footer within":       slices.Concat(data, footer, data),
		"footer, two values":  slices.Concat(footer, value, value),
		"footer, no body":     slices.Concat(footer, section(t, amqp.CodeProperties, amqp.List{})),
		"two footers":         slices.Concat(footer, data, footer),
		"data that is text":   section(t, amqp.CodeData, "x"),
		"map that is a list":  section(t, amqp.CodeApplicationProperties, amqp.List{}),
		"list that is a map":  section(t, amqp.CodeHeader, amqp.Map{}),
		"key of a property":   section(t, amqp.CodeApplicationProperties, amqp.Map{{Key: uint64(1), Value: nil}}),
		"key of annotation":   section(t, amqp.CodeMessageAnnotations, amqp.Map{{Key: 1.5, Value: nil}}),
		"cut":                 data[:len(data)-1],
		"bytes behind":        append(slices.Clone(data), 0),
		"bad value in a map":  {0, 0x53, 0x74, 0xc1, 5, 2, 0xa1, 1, 'k', 0x46},
		"text that is no UTF": {0, 0x53, 0x74, 0xc1, 7, 2, 0xa1, 1, 'k', 0xa1, 1, 0xff},
	} {
		if s, err := amqp.Scan(msg); err == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

func TestCanonicalize(t *testing.T) {
	msg, _ := whole(t)
	var other []byte // the same with long and symbolic descriptors
	s, err := amqp.Scan(msg)
	if err != nil {
		t.Fatal(err)
	}
	other = append(other, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x70)
	other = append(other, msg[s.Header.Start+3:s.Header.End]...)
	rest := msg[s.Header.End:]
	name := "amqp:delivery-annotations:map"
	other = append(append(other, 0, 0xa3, byte(len(name))), name...)
	other = append(other, rest[3:]...)
	s, err = amqp.Scan(other)
	if err != nil || s.Canonical {
		t.Fatalf("canonical %v, %v", s.Canonical, err)
	}
	if got := amqp.Canonicalize(nil, other); !bytes.Equal(got, msg) {
		t.Errorf("got  % x\nwant % x", got, msg)
	}
}

// rhea writes the footer ahead of the body; proton-j reads it only behind.
func TestCanonicalizeFooter(t *testing.T) {
	footer := section(t, amqp.CodeFooter, amqp.Map{{Key: amqp.Symbol("k"), Value: int32(1)}})
	body := slices.Concat(section(t, amqp.CodeData, []byte("a")), section(t, amqp.CodeData, []byte("b")))
	msg := slices.Concat(footer, body)
	s, err := amqp.Scan(msg)
	if err != nil || s.Canonical || s.BodyCount != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if got, want := amqp.Canonicalize(nil, msg), slices.Concat(body, footer); !bytes.Equal(got, want) {
		t.Errorf("got  % x\nwant % x", got, want)
	}
}

func TestBatch(t *testing.T) {
	msg, _ := whole(t)
	var body []byte
	want := [][]byte{msg, {}, section(t, amqp.CodeData, make([]byte, 300))}
	for _, m := range want {
		body = amqp.AppendData(body, m)
	}
	s, err := amqp.Scan(body)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for m := range amqp.BatchMessages(s.Body.Of(body)) {
		if !bytes.Equal(m, want[i]) {
			t.Errorf("message %d is % x", i, m)
		}
		i++
	}
	if i != len(want) || s.BodyCount != i {
		t.Errorf("%d messages, %d sections", i, s.BodyCount)
	}
}

func FuzzScan(f *testing.F) {
	msg, _ := whole(f)
	f.Add(msg)
	f.Add(amqp.AppendData(nil, msg))
	f.Add(section(f, amqp.CodeValue, amqp.List{amqp.Map{}}))
	f.Add(append([]byte{0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0x75}, 0xa0, 1, 'x'))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, err := amqp.Scan(in)
		if err != nil {
			return
		}
		canonical := amqp.Canonicalize(nil, in)
		c, err := amqp.Scan(canonical)
		if err != nil || !c.Canonical || c.BodyCode != s.BodyCode || c.BodyCount != s.BodyCount {
			t.Fatalf("% x\nbecomes % x\n%+v, %v", in, canonical, c, err)
		}
		if s.Canonical && !bytes.Equal(in, canonical) {
			t.Fatalf("% x\nis canonical but becomes % x", in, canonical)
		}
		if s.BodyCode == amqp.CodeData {
			n := 0
			for range amqp.BatchMessages(s.Body.Of(in)) {
				n++
			}
			if n != s.BodyCount {
				t.Fatalf("%d messages in %d sections", n, s.BodyCount)
			}
		}
		for _, span := range []amqp.Span{s.MessageAnnotations, s.ApplicationProperties} {
			items, n, err := amqp.MapSection(span.Of(in))
			for range n {
				items.Value()
				items.Value()
			}
			if err != nil || items.Err() != nil || items.Len() != 0 {
				t.Fatalf("map of % x: %v, %v", in, err, items.Err())
			}
		}
	})
}
