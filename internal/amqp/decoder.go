package amqp

import (
	"encoding/binary"
	"math"
)

const (
	// maxDepth bounds the nesting of lists, maps, arrays and descriptors.
	maxDepth = 32
	// maxEmptyItems bounds the count of an array whose elements take no bytes:
	// everything else is bounded by the length of the input.
	maxEmptyItems = 65536
	// maxMadeEmpty bounds how many of these are made into Go values, in all arrays of a value
	// together: a frame has room for thousands of such arrays, and nobody sends even one.
	maxMadeEmpty = 255
)

// A Decoder reads values from a slice, one after the other. After the first
// error it returns zero values, and Err returns that error, so a caller may
// check once at the end. The zero Decoder is empty. A Decoder is a small value
// that may be copied to look ahead; it is not for concurrent use.
type Decoder struct {
	// What is read moves at and leaves b alone: to store a slice costs more than a number,
	// while the garbage collector runs.
	b   []byte
	at  int
	err error
}

// NewDecoder returns a decoder over b, which it does not change or copy.
func NewDecoder(b []byte) Decoder { return Decoder{b: b} }

// Err returns the first error, or nil.
func (d *Decoder) Err() error { return d.err }

// Len is the number of bytes not yet read.
func (d *Decoder) Len() int { return len(d.b) - d.at }

// Rest returns the bytes not yet read.
func (d *Decoder) Rest() []byte { return d.b[d.at:] }

// Peek returns the constructor of the next value without reading it:
// CodeDescribed for a described value or at the end.
func (d *Decoder) Peek() Code {
	if d.err != nil || d.at == len(d.b) {
		return CodeDescribed
	}
	return Code(d.b[d.at])
}

func (d *Decoder) fail(text string) { d.failed(SyntaxError(text)) }

// failed ends reading with an error, unless there was one before.
func (d *Decoder) failed(err error) {
	if d.err == nil {
		d.err = err
	}
	d.at = len(d.b)
}

// described reads the mark of a described value, if one is next.
func (d *Decoder) described() bool {
	if d.at < len(d.b) && d.b[d.at] == byte(CodeDescribed) {
		d.at++
		return true
	}
	return false
}

// take reads a constructor that is not CodeDescribed and the bytes after it.
func (d *Decoder) take() (Code, []byte) {
	if d.at == len(d.b) {
		d.failed(errCutShort)
		return CodeNull, nil
	}
	c := Code(d.b[d.at])
	d.at++
	return c, d.takeBody(c)
}

// takeBody reads the bytes of a value whose constructor is c. For lists, maps
// and arrays these begin with the count.
func (d *Decoder) takeBody(c Code) []byte {
	start, end, err := extent(c, d.b, d.at)
	if err != nil {
		d.failed(err)
		return nil
	}
	d.at = end
	return d.b[start:end:end]
}

// Skip reads past one value, described or not, without looking into it.
func (d *Decoder) Skip() {
	if d.err != nil {
		return
	}
	end, err := skipAt(d.b, d.at)
	if err != nil {
		d.failed(err)
		return
	}
	d.at = end
}

// Raw reads one value and returns its encoding, which points into the input.
func (d *Decoder) Raw() Raw {
	start := d.at
	d.Skip()
	if d.err != nil {
		return nil
	}
	return Raw(d.b[start:d.at:d.at])
}

// Null reports whether the next value is null, and reads it if so.
func (d *Decoder) Null() bool {
	if d.err == nil && d.at < len(d.b) && Code(d.b[d.at]) == CodeNull {
		d.at++
		return true
	}
	return false
}

// Bool reads a boolean.
func (d *Decoder) Bool() bool {
	switch c, b := d.take(); c {
	case CodeTrue:
		return true
	case CodeFalse:
		return false
	case CodeBool:
		return len(b) > 0 && b[0] != 0
	default:
		d.fail("value is not a boolean")
		return false
	}
}

// Int reads an integer of any type and width that an int64 can hold.
func (d *Decoder) Int() int64 {
	c, b := d.take()
	if d.err != nil {
		return 0
	}
	switch c {
	case CodeUint0, CodeUlong0:
		return 0
	case CodeUbyte, CodeSmallUint, CodeSmallUlong:
		return int64(b[0])
	case CodeByte, CodeSmallInt, CodeSmallLong:
		return int64(int8(b[0]))
	case CodeUshort:
		return int64(binary.BigEndian.Uint16(b))
	case CodeShort:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case CodeUint:
		return int64(binary.BigEndian.Uint32(b))
	case CodeInt:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case CodeLong, CodeTimestamp:
		return int64(binary.BigEndian.Uint64(b))
	case CodeUlong:
		if v := binary.BigEndian.Uint64(b); v <= math.MaxInt64 {
			return int64(v)
		}
		d.fail("number is out of range")
		return 0
	}
	d.fail("value is not an integer")
	return 0
}

// Uint reads an integer of any type and width that is not negative.
func (d *Decoder) Uint() uint64 {
	if d.Len() >= 9 && Code(d.b[d.at]) == CodeUlong {
		v := binary.BigEndian.Uint64(d.b[d.at+1:])
		d.at += 9
		return v
	}
	v := d.Int()
	if v < 0 {
		d.fail("number is out of range")
		return 0
	}
	return uint64(v)
}

// Text reads a string or symbol and returns its bytes, which point into the
// input.
func (d *Decoder) Text() []byte {
	if n := sizeAt(d.b, d.at); n > 0 && (Code(d.b[d.at]) == CodeString8 || Code(d.b[d.at]) == CodeSymbol8) { // nearly every one
		start := d.at + 2
		d.at += n
		return d.b[start:d.at:d.at]
	}
	c, b := d.take()
	switch c {
	case CodeString8, CodeString32, CodeSymbol8, CodeSymbol32:
		return b
	}
	d.fail("value is not a string or symbol")
	return nil
}

// Binary reads a binary and returns its bytes, which point into the input.
func (d *Decoder) Binary() []byte {
	c, b := d.take()
	if c != CodeBinary8 && c != CodeBinary32 {
		d.fail("value is not binary")
		return nil
	}
	return b
}

// Descriptor reads the start of a described value and returns the descriptor's
// numeric code; 0 stands for a descriptor that this package does not know. The
// value is what is read next.
func (d *Decoder) Descriptor() uint64 {
	if !d.described() {
		d.fail("value is not described")
		return 0
	}
	switch d.Peek() {
	case CodeSmallUlong, CodeUlong, CodeUlong0:
		return d.Uint()
	case CodeSymbol8, CodeSymbol32:
		return descriptorCode(d.Text())
	}
	d.Skip()
	return 0
}

// List reads a list and returns a decoder over its items and their number. The
// count has been checked against the bytes that there are.
func (d *Decoder) List() (items Decoder, n int) {
	c, b := d.take()
	switch c {
	case CodeList0:
		return Decoder{}, 0
	case CodeList8, CodeList32:
		return d.counted(c, b)
	}
	d.fail("value is not a list")
	return Decoder{err: d.err}, 0
}

// Map reads a map and returns a decoder over its keys and values, alternating,
// and the number of pairs.
func (d *Decoder) Map() (items Decoder, pairs int) {
	c, b := d.take()
	if c != CodeMap8 && c != CodeMap32 {
		d.fail("value is not a map")
		return Decoder{err: d.err}, 0
	}
	items, n := d.counted(c, b)
	if n%2 != 0 {
		d.failed(errOddMap)
		return Decoder{err: d.err}, 0
	}
	return items, n / 2
}

// counted splits the body of a list or map, in which every item takes at least
// one byte.
func (d *Decoder) counted(c Code, b []byte) (Decoder, int) {
	n, b, ok := splitCount(c, b)
	if !ok || uint64(n) > uint64(len(b)) {
		d.failed(errWrongCount)
		return Decoder{err: d.err}, 0
	}
	return Decoder{b: b}, int(n)
}

// splitCount takes the count off the body of a list, map or array.
func splitCount(c Code, b []byte) (n uint32, rest []byte, ok bool) {
	if c>>4 == 0xc || c>>4 == 0xe {
		if len(b) < 1 {
			return 0, nil, false
		}
		return uint32(b[0]), b[1:], true
	}
	if len(b) < 4 {
		return 0, nil, false
	}
	return binary.BigEndian.Uint32(b), b[4:], true
}
