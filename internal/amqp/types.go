package amqp

import (
	"encoding/hex"
	"time"
)

// Go types of decoded AMQP values, as Decoder.Value returns them and
// AppendValue takes them:
//
//	null        nil
//	boolean     bool
//	ubyte…ulong uint8, uint16, uint32, uint64
//	byte…long   int8, int16, int32, int64
//	float       float32
//	double      float64
//	decimal…    Decimal32, Decimal64, Decimal128
//	char        Char
//	timestamp   Timestamp
//	uuid        UUID
//	binary      []byte
//	string      string
//	symbol      Symbol
//	list        List
//	map         Map
//	array       Array
//	described   Described
type (
	// Symbol is text from a constrained domain, ASCII by the specification.
	Symbol string
	// Char is one Unicode code point.
	Char rune
	// Timestamp is milliseconds since the Unix epoch; it may be negative.
	Timestamp int64
	// UUID is a universally unique identifier in network byte order.
	UUID [16]byte
	// Decimal32 is an IEEE 754 decimal32, as encoded (big endian).
	Decimal32 [4]byte
	// Decimal64 is an IEEE 754 decimal64, as encoded (big endian).
	Decimal64 [8]byte
	// Decimal128 is an IEEE 754 decimal128, as encoded (big endian).
	Decimal128 [16]byte
	// List is a sequence of values of any types.
	List []any
	// Map is a sequence of pairs in the order of the wire. A nil Map stands for
	// null where a field may be null; an empty one for an empty map.
	Map []Pair
	// Raw is one value in its encoded form. AppendValue copies it unchanged.
	Raw []byte
)

// Pair is one entry of a Map.
type Pair struct {
	Key, Value any
}

// Array is a sequence of values of one type. Code is the constructor of its
// elements; it decides the type of an empty array and is otherwise taken from
// the items, which must be of one Go type. Descriptor is nil unless the
// elements are described.
type Array struct {
	Descriptor any
	Code       Code
	Items      []any
}

// Described is a value with a descriptor (usually a uint64 or a Symbol).
type Described struct {
	Descriptor, Value any
}

// Get returns the value of the first entry whose key is the string or symbol
// key.
func (m Map) Get(key string) (any, bool) {
	for i := range m {
		switch k := m[i].Key.(type) {
		case string:
			if k == key {
				return m[i].Value, true
			}
		case Symbol:
			if string(k) == key {
				return m[i].Value, true
			}
		}
	}
	return nil, false
}

// TimestampOf returns t in milliseconds, rounded down.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMilli()) }

// Time returns the timestamp as a time in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String returns the usual text form, 8-4-4-4-12 hexadecimal digits.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[0:8], u[0:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:36], u[10:16])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// An Opt is a field that may be absent (null). The zero value is absent.
type Opt[T any] struct {
	V  T
	OK bool
}

// Some returns a field that is present.
func Some[T any](v T) Opt[T] { return Opt[T]{V: v, OK: true} }

// Or returns the value, or def when the field is absent.
func (o Opt[T]) Or(def T) T {
	if o.OK {
		return o.V
	}
	return def
}

// A SyntaxError says that input is not valid AMQP. Decoders return no other
// kind of error.
type SyntaxError string

// Error returns the text, which names what was being decoded.
func (e SyntaxError) Error() string { return "amqp: " + string(e) }
