package amqp

import (
	"encoding/binary"
	"math"
)

// Value reads one value of any type and returns it as the Go type listed at
// Symbol. The result shares no memory with the input.
func (d *Decoder) Value() any {
	empty := maxMadeEmpty
	return d.value(bounds{empty: &empty})
}

// bounds are what the parts of a value may still take.
type bounds struct {
	depth int  // how deep they are in the value
	empty *int // how many items that take no bytes may still be made, in all of the value
}

func (b bounds) deeper() bounds { return bounds{depth: b.depth + 1, empty: b.empty} }

func (d *Decoder) value(within bounds) any {
	if within.depth > maxDepth {
		d.failed(errTooDeep)
		return nil
	}
	if d.described() {
		descriptor := d.value(within.deeper())
		v := d.value(within.deeper())
		if d.err != nil {
			return nil
		}
		return Described{Descriptor: descriptor, Value: v}
	}
	c, b := d.take()
	return d.convert(c, b, within)
}

// convert makes a Go value of constructor c and its body b.
func (d *Decoder) convert(c Code, b []byte, within bounds) any {
	if d.err != nil {
		return nil
	}
	if within.depth > maxDepth { // arrays of arrays come here directly
		d.failed(errTooDeep)
		return nil
	}
	switch c >> 4 {
	case 0x4, 0x5:
		return d.convertShort(c, b)
	case 0x6, 0x7, 0x8, 0x9:
		return d.convertFixed(c, b)
	}
	switch c {
	case CodeBinary8, CodeBinary32:
		return append([]byte{}, b...)
	case CodeString8, CodeString32:
		return string(b)
	case CodeSymbol8, CodeSymbol32:
		return Symbol(b)
	case CodeList8, CodeList32:
		items, n := d.counted(c, b)
		return d.list(&items, n, within)
	case CodeMap8, CodeMap32:
		items, n := d.counted(c, b)
		return d.pairs(&items, n, within)
	case CodeArray8, CodeArray32:
		return d.array(c, b, within)
	}
	d.failed(errUnknownCode)
	return nil
}

func (d *Decoder) convertShort(c Code, b []byte) any {
	switch c {
	case CodeNull:
		return nil
	case CodeTrue:
		return true
	case CodeFalse:
		return false
	case CodeUint0:
		return uint32(0)
	case CodeUlong0:
		return uint64(0)
	case CodeList0:
		return List{}
	case CodeUbyte:
		return b[0]
	case CodeByte:
		return int8(b[0])
	case CodeSmallUint:
		return uint32(b[0])
	case CodeSmallUlong:
		return uint64(b[0])
	case CodeSmallInt:
		return int32(int8(b[0]))
	case CodeSmallLong:
		return int64(int8(b[0]))
	case CodeBool:
		return b[0] != 0
	}
	d.failed(errUnknownCode)
	return nil
}

func (d *Decoder) convertFixed(c Code, b []byte) any {
	be := binary.BigEndian
	switch c {
	case CodeUshort:
		return be.Uint16(b)
	case CodeShort:
		return int16(be.Uint16(b))
	case CodeUint:
		return be.Uint32(b)
	case CodeInt:
		return int32(be.Uint32(b))
	case CodeFloat:
		return math.Float32frombits(be.Uint32(b))
	case CodeChar:
		// A code point, not a surrogate; anything else is kept as it is.
		return Char(be.Uint32(b))
	case CodeDecimal32:
		return Decimal32(b)
	case CodeUlong:
		return be.Uint64(b)
	case CodeLong:
		return int64(be.Uint64(b))
	case CodeDouble:
		return math.Float64frombits(be.Uint64(b))
	case CodeTimestamp:
		return Timestamp(be.Uint64(b))
	case CodeDecimal64:
		return Decimal64(b)
	case CodeDecimal128:
		return Decimal128(b)
	case CodeUUID:
		return UUID(b)
	}
	d.failed(errUnknownCode)
	return nil
}

func (d *Decoder) list(items *Decoder, n int, within bounds) any {
	out := make(List, 0, min(n, 16))
	for range n {
		out = append(out, items.value(within.deeper()))
		if items.err != nil {
			break
		}
	}
	if !d.closed(items) {
		return nil
	}
	return out
}

func (d *Decoder) pairs(items *Decoder, n int, within bounds) any {
	if n%2 != 0 {
		d.failed(errOddMap)
		return nil
	}
	out := make(Map, 0, min(n/2, 16))
	for range n / 2 {
		k := items.value(within.deeper())
		v := items.value(within.deeper())
		if items.err != nil {
			break
		}
		out = append(out, Pair{Key: k, Value: v})
	}
	if !d.closed(items) {
		return nil
	}
	return out
}

func (d *Decoder) array(c Code, b []byte, within bounds) any {
	items, code, descriptor, n := d.elements(c, b)
	if d.err != nil {
		return nil
	}
	out := Array{Code: code}
	if descriptor != nil {
		inner := NewDecoder(descriptor)
		out.Descriptor = inner.value(within.deeper())
		if inner.err != nil {
			d.fail("array has a bad descriptor")
			return nil
		}
	}
	if code>>4 == 0x4 {
		if *within.empty -= n; *within.empty < 0 {
			d.failed(errTooManyEmpty)
			return nil
		}
	}
	out.Items = make([]any, 0, min(n, 16))
	for range n {
		v := items.convert(code, items.takeBody(code), within.deeper())
		if items.err != nil {
			break
		}
		out.Items = append(out.Items, v)
	}
	if !d.closed(&items) {
		return nil
	}
	return out
}

// elements splits the body of an array: a decoder over the elements' bodies,
// their constructor, the encoded descriptor if they are described, and their
// number.
func (d *Decoder) elements(c Code, b []byte) (items Decoder, code Code, descriptor Raw, n int) {
	count, b, ok := splitCount(c, b)
	if !ok {
		d.fail("array is cut short")
		return Decoder{err: d.err}, 0, nil, 0
	}
	items = Decoder{b: b}
	if len(b) > 0 && b[0] == byte(CodeDescribed) {
		items.at = 1
		descriptor = items.Raw()
	}
	if items.err != nil || items.Len() == 0 {
		d.fail("array is cut short")
		return Decoder{err: d.err}, 0, nil, 0
	}
	code = Code(items.b[items.at])
	items.at++
	limit := uint64(items.Len())
	if code>>4 == 0x4 {
		limit = maxEmptyItems
	}
	switch {
	case !code.known():
		d.failed(errUnknownCode)
	case uint64(count) > limit:
		d.failed(errWrongCount)
	}
	return items, code, descriptor, int(min(uint64(count), limit))
}

// closed checks that a compound was read without error and to its end.
func (d *Decoder) closed(items *Decoder) bool {
	switch {
	case items.err != nil:
		d.failed(items.err)
	case items.Len() != 0:
		d.failed(errLeftOver)
	}
	return d.err == nil
}
