package hubferry

import (
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Kind is the type of a Value. The kinds are those of the AMQP 1.0 type system,
// because no other protocol here has more: what a driver's service cannot carry
// stands in that driver's mapping table.
type Kind uint8

// The kinds of a Value.
const (
	KindNull Kind = iota
	KindBool
	KindUByte  // unsigned 8 bits
	KindUShort // unsigned 16 bits
	KindUInt   // unsigned 32 bits
	KindULong  // unsigned 64 bits
	KindByte   // signed 8 bits
	KindShort  // signed 16 bits
	KindInt    // signed 32 bits
	KindLong   // signed 64 bits
	KindFloat  // IEEE 754 binary32
	KindDouble // IEEE 754 binary64
	KindChar   // one Unicode code point, or whatever 32 bits the sender put there
	KindDecimal32
	KindDecimal64
	KindDecimal128
	KindTimestamp // milliseconds since the Unix epoch, may be negative
	KindUUID
	KindBinary
	KindString
	KindSymbol
	KindList      // AMQP-encoded, with its constructor
	KindMap       // AMQP-encoded, with its constructor
	KindArray     // AMQP-encoded, with its constructor
	KindDescribed // AMQP-encoded, with its descriptor
)

var kindNames = [...]string{
	"null", "boolean", "ubyte", "ushort", "uint", "ulong", "byte", "short", "int", "long",
	"float", "double", "char", "decimal32", "decimal64", "decimal128", "timestamp", "uuid",
	"binary", "string", "symbol", "list", "map", "array", "described",
}

// String returns the AMQP name of the kind, such as "ulong".
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Value is one typed value of a property: 32 bytes, immutable, comparable with ==
// (floating-point values compare by their bits, so that a NaN equals itself).
// The zero Value is null. Lists, maps, arrays and described values stay in their
// AMQP encoding, because Hubferry carries them and never computes with them.
type Value struct {
	str  string
	num  uint64
	kind Kind
}

// Null returns the null value.
func Null() Value { return Value{} }

// Bool returns a boolean.
func Bool(v bool) Value {
	if v {
		return Value{num: 1, kind: KindBool}
	}
	return Value{kind: KindBool}
}

// UByte returns an unsigned 8-bit integer.
func UByte(v uint8) Value { return Value{num: uint64(v), kind: KindUByte} }

// UShort returns an unsigned 16-bit integer.
func UShort(v uint16) Value { return Value{num: uint64(v), kind: KindUShort} }

// UInt returns an unsigned 32-bit integer.
func UInt(v uint32) Value { return Value{num: uint64(v), kind: KindUInt} }

// ULong returns an unsigned 64-bit integer.
func ULong(v uint64) Value { return Value{num: v, kind: KindULong} }

// Byte returns a signed 8-bit integer.
func Byte(v int8) Value { return Value{num: uint64(int64(v)), kind: KindByte} }

// Short returns a signed 16-bit integer.
func Short(v int16) Value { return Value{num: uint64(int64(v)), kind: KindShort} }

// Int returns a signed 32-bit integer.
func Int(v int32) Value { return Value{num: uint64(int64(v)), kind: KindInt} }

// Long returns a signed 64-bit integer.
func Long(v int64) Value { return Value{num: uint64(v), kind: KindLong} }

// Float returns a 32-bit floating-point number.
func Float(v float32) Value { return Value{num: uint64(math.Float32bits(v)), kind: KindFloat} }

// Double returns a 64-bit floating-point number.
func Double(v float64) Value { return Value{num: math.Float64bits(v), kind: KindDouble} }

// Char returns a character by its 32 bits.
func Char(v uint32) Value { return Value{num: uint64(v), kind: KindChar} }

// Decimal32 returns a decimal by the 32 bits of its IEEE 754 encoding.
func Decimal32(bits uint32) Value { return Value{num: uint64(bits), kind: KindDecimal32} }

// Decimal64 returns a decimal by the 64 bits of its IEEE 754 encoding.
func Decimal64(bits uint64) Value { return Value{num: bits, kind: KindDecimal64} }

// Decimal128 returns a decimal by the 16 bytes of its IEEE 754 encoding, big-endian.
func Decimal128(b [16]byte) Value { return Value{str: string(b[:]), kind: KindDecimal128} }

// Timestamp returns a point in time by its milliseconds since the Unix epoch.
func Timestamp(ms int64) Value { return Value{num: uint64(ms), kind: KindTimestamp} }

// UUID returns a universally unique identifier.
func UUID(b [16]byte) Value { return Value{str: string(b[:]), kind: KindUUID} }

// Binary returns a byte string. It copies v.
func Binary(v []byte) Value { return Value{str: string(v), kind: KindBinary} }

// String returns a text. Hubferry does not check that it is UTF-8.
func String(v string) Value { return Value{str: v, kind: KindString} }

// Symbol returns an AMQP symbol.
func Symbol(v string) Value { return Value{str: v, kind: KindSymbol} }

// Encoded returns a list, map, array or described value by its complete AMQP
// encoding, which the caller has checked to be well formed. It copies v and panics
// on any other kind.
func Encoded(k Kind, v []byte) Value {
	if k < KindList || k > KindDescribed {
		panic("hubferry: Encoded of kind " + k.String())
	}
	return Value{str: string(v), kind: k}
}

// Kind returns the type of the value.
func (v Value) Kind() Kind { return v.kind }

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// Bits returns the 64 bits behind a fixed-width value: integers sign-extended,
// floating-point numbers and decimals as their encoding, timestamps as milliseconds.
// It is 0 for all other kinds. Encoders switch on Kind and read Bits or Raw.
func (v Value) Bits() uint64 { return v.num }

// Raw returns the bytes behind a string, symbol, binary, UUID, decimal128, list,
// map, array or described value, and "" for all other kinds.
func (v Value) Raw() string { return v.str }

// AsInt returns the value of any integer kind that fits an int64.
func (v Value) AsInt() (int64, bool) {
	switch v.kind {
	case KindUByte, KindUShort, KindUInt, KindByte, KindShort, KindInt, KindLong:
		return int64(v.num), true
	case KindULong:
		return int64(v.num), v.num <= math.MaxInt64
	default:
		return 0, false
	}
}

// AsText returns the value of a string or symbol, or of a binary value. Kafka
// headers and properties that came through Kafka are binary, so readers of
// well-known text properties accept both.
func (v Value) AsText() (string, bool) {
	switch v.kind {
	case KindString, KindSymbol, KindBinary:
		return v.str, true
	default:
		return "", false
	}
}

// AsTime returns the value of a timestamp, in UTC.
func (v Value) AsTime() (time.Time, bool) {
	return time.UnixMilli(int64(v.num)).UTC(), v.kind == KindTimestamp
}

// AsFloat returns the value of a float or double.
func (v Value) AsFloat() (float64, bool) {
	switch v.kind {
	case KindFloat:
		return float64(math.Float32frombits(uint32(v.num))), true
	case KindDouble:
		return math.Float64frombits(v.num), true
	default:
		return 0, false
	}
}

// AsBool returns the value of a boolean.
func (v Value) AsBool() (value, ok bool) { return v.num != 0, v.kind == KindBool }

// String returns the value as a person reads it: text as it is, bytes in
// hexadecimal with the prefix "0x", a timestamp in RFC 3339.
func (v Value) String() string {
	switch v.kind {
	case KindNull:
		return "null"
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindUByte, KindUShort, KindUInt, KindULong:
		return strconv.FormatUint(v.num, 10)
	case KindByte, KindShort, KindInt, KindLong:
		return strconv.FormatInt(int64(v.num), 10)
	case KindFloat:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(v.num))), 'g', -1, 32)
	case KindDouble:
		return strconv.FormatFloat(math.Float64frombits(v.num), 'g', -1, 64)
	case KindChar:
		return string(rune(v.num))
	case KindTimestamp:
		t, _ := v.AsTime()
		return t.Format("2006-01-02T15:04:05.000Z07:00")
	case KindUUID:
		h := hex.EncodeToString([]byte(v.str))
		return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
	case KindString, KindSymbol:
		return v.str
	case KindDecimal32, KindDecimal64:
		return fmt.Sprintf("0x%x", v.num)
	default:
		return "0x" + hex.EncodeToString([]byte(v.str))
	}
}

// Size returns roughly how many bytes the value takes on a wire.
func (v Value) Size() int { return 9 + len(v.str) }
