package amqp_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

// values are all types with their edges.
func values() map[string]any {
	return map[string]any{
		"null": nil, "true": true, "false": false,
		"ubyte": uint8(255), "ushort": uint16(65535), "uint0": uint32(0), "uint small": uint32(255), "uint": uint32(math.MaxUint32),
		"ulong0": uint64(0), "ulong small": uint64(255), "ulong": uint64(math.MaxUint64),
		"byte": int8(-128), "short": int16(-32768), "int small": int32(-128), "int": int32(math.MinInt32),
		"long small": int64(127), "long": int64(math.MinInt64),
		"float": float32(-1.5), "double": math.Inf(-1), "char": amqp.Char('日'),
		"decimal32": amqp.Decimal32{1, 2, 3, 4}, "decimal64": amqp.Decimal64{8, 7, 6}, "decimal128": amqp.Decimal128{15: 1},
		"timestamp": amqp.Timestamp(-62135596800000), "uuid": amqp.UUID{0: 1, 15: 2},
		"binary empty": []byte{}, "binary": []byte{0, 255}, "binary long": bytes.Repeat([]byte{7}, 256),
		"string empty": "", "string": "häß", "string long": strings.Repeat("x", 70000),
		"symbol": amqp.Symbol("a:b"), "symbol long": amqp.Symbol(strings.Repeat("s", 300)),
		"list empty": amqp.List{}, "list": amqp.List{nil, int32(1), amqp.List{"deep"}},
		"map empty": amqp.Map{}, "map": amqp.Map{{Key: "k", Value: uint64(1)}, {Key: amqp.Symbol("k"), Value: nil}, {Key: int8(1), Value: amqp.Map{}}},
		"array empty": amqp.Array{Code: amqp.CodeString8, Items: []any{}},
		"array ints":  amqp.Array{Code: amqp.CodeInt, Items: []any{int32(1), int32(-1)}},
		"array text":  amqp.Array{Code: amqp.CodeString32, Items: []any{"a", "", strings.Repeat("y", 300)}},
		"array lists": amqp.Array{Code: amqp.CodeList32, Items: []any{amqp.List{}, amqp.List{true}}},
		"array bools": amqp.Array{Code: amqp.CodeBool, Items: []any{true, false}},
		"array nulls": amqp.Array{Code: amqp.CodeNull, Items: []any{nil, nil}},
		"array chars": amqp.Array{Code: amqp.CodeChar, Items: []any{amqp.Char('a')}},
		"array described": amqp.Array{
			Descriptor: uint64(7), Code: amqp.CodeUUID, Items: []any{amqp.UUID{1}, amqp.UUID{2}},
		},
		"array of arrays": amqp.Array{Code: amqp.CodeArray32, Items: []any{amqp.Array{Code: amqp.CodeUlong, Items: []any{uint64(3)}}}},
		"described":       amqp.Described{Descriptor: amqp.Symbol("x:y"), Value: amqp.Described{Descriptor: uint64(1), Value: "v"}},
	}
}

func TestValueRoundTrip(t *testing.T) {
	for name, v := range values() {
		t.Run(name, func(t *testing.T) {
			b, err := amqp.AppendValue([]byte{0xaa}, v)
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, 0xbb)
			d := amqp.NewDecoder(b[1:])
			got := d.Value()
			if err := d.Err(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(v, got); diff != "" {
				t.Error(diff)
			}
			if !bytes.Equal(d.Rest(), []byte{0xbb}) {
				t.Errorf("rest % x", d.Rest())
			}
			d = amqp.NewDecoder(b[1:])
			if raw := d.Raw(); !bytes.Equal(raw, b[1:len(b)-1]) || d.Len() != 1 {
				t.Errorf("raw % x of % x", raw, b)
			}
			d = amqp.NewDecoder(b[1:])
			if d.Check(); d.Err() != nil || d.Len() != 1 {
				t.Errorf("check: %v, %d left", d.Err(), d.Len())
			}
		})
	}
}

// Every width of a number is understood, whoever wrote it.
func TestWidths(t *testing.T) {
	for text, want := range map[string]int64{
		"43": 0, "44": 0, "5207": 7, "5307": 7, "5007": 7, "51f9": -7, "54f9": -7, "55f9": -7, "600102": 258, "61fffe": -2,
		"7000000009": 9, "71fffffff7": -9, "800000000000000009": 9, "81fffffffffffffff7": -9, "830000000000000001": 1,
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		d := amqp.NewDecoder(b)
		if got := d.Int(); got != want || d.Err() != nil {
			t.Errorf("%s: %d, %v; want %d", text, got, d.Err(), want)
		}
		d = amqp.NewDecoder(b)
		if got := d.Uint(); want < 0 && d.Err() == nil || want >= 0 && got != uint64(want) {
			t.Errorf("%s unsigned: %d, %v", text, got, d.Err())
		}
	}
}

func TestMalformedValues(t *testing.T) {
	deep := bytes.Repeat([]byte{0xc0, 0xff, 1}, 60)
	for i := range 60 { // nested lists of fitting sizes
		deep[3*i+1] = byte(3*60 - 3*i - 2)
	}
	for name, b := range map[string][]byte{
		"nothing":                  {},
		"unknown constructor":      {0x46},
		"unknown in list":          {0xc0, 2, 1, 0x57},
		"short int":                {0x71, 0, 0},
		"string of 4 GiB":          {0xb1, 0xff, 0xff, 0xff, 0xff, 'x'},
		"list of 4 G items":        {0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40},
		"list longer than count":   {0xc0, 3, 1, 0x40, 0x40},
		"list shorter than count":  {0xc0, 2, 2, 0x40},
		"list without count":       {0xc0, 0},
		"map with odd count":       {0xc1, 2, 1, 0x40},
		"array of 4 G nulls":       {0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40},
		"array of 4 G longs":       {0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x81},
		"array without type":       {0xe0, 1, 1},
		"array with a bad element": {0xe0, 4, 1, 0xa1, 9, 'x'},
		"array of described, cut":  {0xe0, 2, 1, 0x00},
		"descriptor alone":         {0x00, 0x53, 1},
		"descriptors without end":  bytes.Repeat([]byte{0}, 1000),
		"nested too deeply":        append(deep, 0x45),
	} {
		t.Run(name, func(t *testing.T) {
			d := amqp.NewDecoder(b)
			if v := d.Value(); d.Err() == nil {
				t.Errorf("decoded %v", v)
			}
			d = amqp.NewDecoder(b)
			if d.Check(); d.Err() == nil {
				t.Error("check passed")
			}
		})
	}
	d := amqp.NewDecoder([]byte{0xa1, 1, 0xff})
	if d.Check(); d.Err() == nil {
		t.Error("a string that is not UTF-8 passed the check")
	}
}

// What a length claims is not allocated.
func TestClaimsCostNothing(t *testing.T) {
	b := []byte{0xd0, 0, 0, 1, 0, 0, 0, 0, 0xf0}
	b = append(b, bytes.Repeat([]byte{0x40}, 252)...)
	got := testing.AllocsPerRun(10, func() {
		d := amqp.NewDecoder(b)
		d.Check()
		d = amqp.NewDecoder(b)
		d.Skip()
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// TestEmptyItems decodes a frame's worth of arrays whose items take no bytes: values of them
// would take gigabytes. Check makes none and lets them pass, so that events keep them.
func TestEmptyItems(t *testing.T) {
	array := func(code amqp.Code, n uint32) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0xf0, 0, 0, 0, 5}, n), byte(code))
	}
	list := func(arrays ...[]byte) []byte {
		items := bytes.Join(arrays, nil)
		b := binary.BigEndian.AppendUint32([]byte{0xd0}, uint32(4+len(items)))
		return append(binary.BigEndian.AppendUint32(b, uint32(len(arrays))), items...)
	}
	described := array(amqp.CodeNull, 0)
	described = append(described[:9:9], append(append([]byte{0}, array(amqp.CodeTrue, 200)...), byte(amqp.CodeNull))...)
	binary.BigEndian.PutUint32(described[1:], uint32(len(described)-5))
	for name, c := range map[string]struct {
		b  []byte
		ok bool
	}{
		"as many as may be": {list(array(amqp.CodeNull, 200), array(amqp.CodeTrue, 55)), true},
		"nulls":             {array(amqp.CodeNull, 256), false},
		"lists":             {array(amqp.CodeList0, 65536), false},
		"many arrays":       {list(slices.Repeat([][]byte{array(amqp.CodeNull, 100)}, 6000)...), false},
		"nested":            {list(list(array(amqp.CodeTrue, 100)), list(array(amqp.CodeTrue, 100)), array(amqp.CodeTrue, 100)), false},
		"in a descriptor":   {list(described, array(amqp.CodeNull, 100)), false},
	} {
		d := amqp.NewDecoder(c.b)
		if d.Value(); (d.Err() == nil) != c.ok {
			t.Errorf("%s: %v", name, d.Err())
		}
		d = amqp.NewDecoder(c.b)
		if d.Check(); d.Err() != nil {
			t.Errorf("%s: check: %v", name, d.Err())
		}
	}
}

func TestUnencodable(t *testing.T) {
	for name, v := range map[string]any{
		"int": 1, "struct": struct{}{}, "in list": amqp.List{1}, "in map": amqp.Map{{Key: "k", Value: 1}},
		"mixed array":       amqp.Array{Items: []any{int32(1), "x"}},
		"empty array":       amqp.Array{},
		"array of ints":     amqp.Array{Items: []any{1}},
		"bad descriptor":    amqp.Described{Descriptor: 1},
		"in array's descr.": amqp.Array{Descriptor: 1, Items: []any{"x"}},
	} {
		if b, err := amqp.AppendValue([]byte{1}, v); err == nil || len(b) != 1 {
			t.Errorf("%s: % x, %v", name, b, err)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, v := range values() {
		b, err := amqp.AppendValue(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	f.Add([]byte{0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40})
	f.Fuzz(func(t *testing.T, in []byte) {
		check := amqp.NewDecoder(in)
		check.Check()
		raw := amqp.NewDecoder(in)
		raw.Raw()
		d := amqp.NewDecoder(in)
		v := d.Value()
		if d.Err() != nil {
			return
		}
		if raw.Err() != nil || raw.Len() != d.Len() {
			t.Fatalf("Raw differs from Value on % x: %v", in, raw.Err())
		}
		first, err := amqp.AppendValue(nil, v)
		if err != nil {
			t.Skip() // arrays of described values may nest types that cannot be told apart
		}
		d = amqp.NewDecoder(first)
		second, err := amqp.AppendValue(nil, d.Value())
		if err != nil || d.Err() != nil || !bytes.Equal(first, second) {
			t.Fatalf("% x\nbecomes % x\nbecomes % x, %v, %v", in, first, second, err, d.Err())
		}
	})
}
