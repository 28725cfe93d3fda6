package hubferry_test

import (
	"math"
	"testing"
	"time"
	"unsafe"

	"github.com/hubferry/hubferry"
)

func TestValues(t *testing.T) {
	var id [16]byte
	for i := range id {
		id[i] = byte(i)
	}
	tests := []struct {
		v    hubferry.Value
		kind hubferry.Kind
		name string
		text string
		bits uint64
		raw  string
	}{
		{hubferry.Null(), hubferry.KindNull, "null", "null", 0, ""},
		{hubferry.Bool(true), hubferry.KindBool, "boolean", "true", 1, ""},
		{hubferry.Bool(false), hubferry.KindBool, "boolean", "false", 0, ""},
		{hubferry.UByte(255), hubferry.KindUByte, "ubyte", "255", 255, ""},
		{hubferry.UShort(65535), hubferry.KindUShort, "ushort", "65535", 65535, ""},
		{hubferry.UInt(math.MaxUint32), hubferry.KindUInt, "uint", "4294967295", math.MaxUint32, ""},
		{hubferry.ULong(math.MaxUint64), hubferry.KindULong, "ulong", "18446744073709551615", math.MaxUint64, ""},
		{hubferry.Byte(-128), hubferry.KindByte, "byte", "-128", 0xffffffffffffff80, ""},
		{hubferry.Short(-2), hubferry.KindShort, "short", "-2", 0xfffffffffffffffe, ""},
		{hubferry.Int(-3), hubferry.KindInt, "int", "-3", 0xfffffffffffffffd, ""},
		{hubferry.Long(math.MinInt64), hubferry.KindLong, "long", "-9223372036854775808", 1 << 63, ""},
		{hubferry.Float(1.5), hubferry.KindFloat, "float", "1.5", 0x3fc00000, ""},
		{hubferry.Float(0.1), hubferry.KindFloat, "float", "0.1", 0x3dcccccd, ""},
		{hubferry.Double(math.Inf(-1)), hubferry.KindDouble, "double", "-Inf", 0xfff0000000000000, ""},
		{hubferry.Char('ß'), hubferry.KindChar, "char", "ß", 0xdf, ""},
		{hubferry.Decimal32(0x32800001), hubferry.KindDecimal32, "decimal32", "0x32800001", 0x32800001, ""},
		{hubferry.Decimal64(7), hubferry.KindDecimal64, "decimal64", "0x7", 7, ""},
		{hubferry.Decimal128(id), hubferry.KindDecimal128, "decimal128", "0x000102030405060708090a0b0c0d0e0f", 0, string(id[:])},
		{hubferry.Timestamp(-1), hubferry.KindTimestamp, "timestamp", "1969-12-31T23:59:59.999Z", math.MaxUint64, ""},
		{hubferry.UUID(id), hubferry.KindUUID, "uuid", "00010203-0405-0607-0809-0a0b0c0d0e0f", 0, string(id[:])},
		{hubferry.Binary([]byte{0, 255}), hubferry.KindBinary, "binary", "0x00ff", 0, "\x00\xff"},
		{hubferry.String("Grüße"), hubferry.KindString, "string", "Grüße", 0, "Grüße"},
		{hubferry.Symbol("s"), hubferry.KindSymbol, "symbol", "s", 0, "s"},
		{hubferry.Encoded(hubferry.KindList, []byte{0x45}), hubferry.KindList, "list", "0x45", 0, "\x45"},
		{hubferry.Encoded(hubferry.KindDescribed, []byte{0}), hubferry.KindDescribed, "described", "0x00", 0, "\x00"},
	}
	seen := map[hubferry.Value]string{}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.text, func(t *testing.T) {
			if tt.v.Kind() != tt.kind || tt.v.Kind().String() != tt.name || tt.v.String() != tt.text {
				t.Errorf("kind %v, text %q", tt.v.Kind(), tt.v)
			}
			if tt.v.Bits() != tt.bits || tt.v.Raw() != tt.raw || tt.v.IsNull() != (tt.kind == hubferry.KindNull) {
				t.Errorf("bits %#x, raw %q, null %v", tt.v.Bits(), tt.v.Raw(), tt.v.IsNull())
			}
			if tt.v.Size() < len(tt.raw) {
				t.Errorf("size %d", tt.v.Size())
			}
			if other, twice := seen[tt.v]; twice {
				t.Errorf("equal to %s", other)
			}
			seen[tt.v] = tt.name
		})
	}
	if hubferry.Kind(200).String() != "kind(200)" {
		t.Error(hubferry.Kind(200).String())
	}
}

func TestValueAs(t *testing.T) {
	for _, v := range []hubferry.Value{
		hubferry.UByte(5), hubferry.UShort(5), hubferry.UInt(5), hubferry.ULong(5),
		hubferry.Byte(5), hubferry.Short(5), hubferry.Int(5), hubferry.Long(5),
	} {
		if n, ok := v.AsInt(); n != 5 || !ok {
			t.Errorf("%v as integer: %d, %v", v.Kind(), n, ok)
		}
	}
	if n, ok := hubferry.Byte(-5).AsInt(); n != -5 || !ok {
		t.Errorf("a negative byte: %d, %v", n, ok)
	}
	for _, v := range []hubferry.Value{hubferry.ULong(math.MaxInt64 + 1), hubferry.Double(5), hubferry.String("5"), hubferry.Null(), hubferry.Timestamp(5)} {
		if _, ok := v.AsInt(); ok {
			t.Errorf("%v is no integer", v)
		}
	}
	for _, v := range []hubferry.Value{hubferry.String("x"), hubferry.Symbol("x"), hubferry.Binary([]byte("x"))} {
		if s, ok := v.AsText(); s != "x" || !ok {
			t.Errorf("%v as text: %q, %v", v.Kind(), s, ok)
		}
	}
	if _, ok := hubferry.UUID([16]byte{}).AsText(); ok {
		t.Error("a UUID is no text")
	}
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_000_000, time.UTC)
	if got, ok := hubferry.Timestamp(at.UnixMilli()).AsTime(); !got.Equal(at) || !ok {
		t.Errorf("time %v, %v", got, ok)
	}
	if _, ok := hubferry.Long(1).AsTime(); ok {
		t.Error("a long is no time")
	}
	if f, ok := hubferry.Float(0.5).AsFloat(); f != 0.5 || !ok {
		t.Errorf("float %v, %v", f, ok)
	}
	if f, ok := hubferry.Double(0.1).AsFloat(); f != 0.1 || !ok {
		t.Errorf("double %v, %v", f, ok)
	}
	if _, ok := hubferry.Int(1).AsFloat(); ok {
		t.Error("an int is no float")
	}
	if b, ok := hubferry.Bool(true).AsBool(); !b || !ok {
		t.Errorf("boolean %v, %v", b, ok)
	}
	if _, ok := hubferry.Int(1).AsBool(); ok {
		t.Error("an int is no boolean")
	}
}

func TestValuesCompareByBits(t *testing.T) {
	if a, b := hubferry.Double(math.NaN()), hubferry.Double(math.NaN()); a != b {
		t.Error("a NaN is not equal to itself")
	}
	if hubferry.Double(0) == hubferry.Double(math.Copysign(0, -1)) {
		t.Error("0 and -0 are different bits")
	}
	if hubferry.Int(1) == hubferry.Long(1) || hubferry.String("a") == hubferry.Symbol("a") {
		t.Error("values of different kinds are equal")
	}
	if hubferry.Binary(nil) != hubferry.Binary([]byte{}) {
		t.Error("there are two empty byte strings")
	}
}

func TestValuesAreCopies(t *testing.T) {
	b := []byte("abc")
	v, w := hubferry.Binary(b), hubferry.Encoded(hubferry.KindMap, b)
	b[0] = 'X'
	if v.Raw() != "abc" || w.Raw() != "abc" {
		t.Errorf("%q and %q changed with the caller's bytes", v.Raw(), w.Raw())
	}
}

func TestEncodedRefusesOtherKinds(t *testing.T) {
	for _, k := range []hubferry.Kind{hubferry.KindNull, hubferry.KindString, hubferry.KindSymbol, hubferry.KindDescribed + 1} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Encoded takes a %v", k)
				}
			}()
			hubferry.Encoded(k, nil)
		}()
	}
}

// The sizes of the two values that everything is made of. A larger one costs every event.
func TestSizes(t *testing.T) {
	if n := unsafe.Sizeof(hubferry.Value{}); n != 32 {
		t.Errorf("a Value takes %d bytes, the comments say 32", n)
	}
	if n := unsafe.Sizeof(hubferry.Event{}); n > 176 {
		t.Errorf("an Event takes %d bytes", n)
	}
}

func BenchmarkValueText(b *testing.B) {
	v := hubferry.Long(1_795_000_000_123)
	b.ReportAllocs()
	for b.Loop() {
		_ = v.String()
	}
}
