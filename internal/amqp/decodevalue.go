package amqp

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// Value reads one value of any type and returns it as the Go type listed at
// Symbol. The result shares no memory with the input.
func (d *Decoder) Value() any { return d.value(0) }

func (d *Decoder) value(depth int) any {
	if depth > maxDepth {
		d.fail("value is nested too deeply")
		return nil
	}
	if len(d.b) > 0 && d.b[0] == byte(CodeDescribed) {
		d.b = d.b[1:]
		descriptor := d.value(depth + 1)
		v := d.value(depth + 1)
		if d.err != nil {
			return nil
		}
		return Described{Descriptor: descriptor, Value: v}
	}
	c, b := d.take()
	return d.convert(c, b, depth)
}

// convert makes a Go value of constructor c and its body b.
func (d *Decoder) convert(c Code, b []byte, depth int) any {
	if d.err != nil {
		return nil
	}
	if depth > maxDepth { // arrays of arrays come here directly
		d.fail("value is nested too deeply")
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
		return d.list(&items, n, depth)
	case CodeMap8, CodeMap32:
		items, n := d.counted(c, b)
		return d.pairs(&items, n, depth)
	case CodeArray8, CodeArray32:
		return d.array(c, b, depth)
	}
	d.fail("unknown constructor")
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
	d.fail("unknown constructor")
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
	d.fail("unknown constructor")
	return nil
}

func (d *Decoder) list(items *Decoder, n, depth int) any {
	out := make(List, 0, min(n, 16))
	for range n {
		out = append(out, items.value(depth+1))
		if items.err != nil {
			break
		}
	}
	if !d.closed(items) {
		return nil
	}
	return out
}

func (d *Decoder) pairs(items *Decoder, n, depth int) any {
	if n%2 != 0 {
		d.fail("map has a key without a value")
		return nil
	}
	out := make(Map, 0, min(n/2, 16))
	for range n / 2 {
		k := items.value(depth + 1)
		v := items.value(depth + 1)
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

func (d *Decoder) array(c Code, b []byte, depth int) any {
	items, code, descriptor, n := d.elements(c, b)
	if d.err != nil {
		return nil
	}
	out := Array{Code: code}
	if descriptor != nil {
		inner := NewDecoder(descriptor)
		out.Descriptor = inner.value(depth + 1)
		if inner.err != nil {
			d.fail("array has a bad descriptor")
			return nil
		}
	}
	out.Items = make([]any, 0, min(n, 16))
	for range n {
		v := items.convert(code, items.takeBody(code), depth+1)
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
		items.b = b[1:]
		descriptor = items.Raw()
	}
	if items.err != nil || len(items.b) == 0 {
		d.fail("array is cut short")
		return Decoder{err: d.err}, 0, nil, 0
	}
	code = Code(items.b[0])
	items.b = items.b[1:]
	limit := uint64(len(items.b))
	if code>>4 == 0x4 {
		limit = maxEmptyItems
	}
	switch {
	case !code.known():
		d.fail("unknown constructor")
	case uint64(count) > limit:
		d.fail("count is larger than the content")
	}
	return items, code, descriptor, int(min(uint64(count), limit))
}

// closed checks that a compound was read without error and to its end.
func (d *Decoder) closed(items *Decoder) bool {
	switch {
	case items.err != nil:
		if d.err == nil {
			d.err = items.err
		}
		d.b = nil
	case len(items.b) != 0:
		d.fail("compound has more bytes than its count says")
	}
	return d.err == nil
}

// Check reads one value of any type and checks it in depth, without making Go
// values of it: constructors, lengths, counts, nesting, and that strings are
// UTF-8.
func (d *Decoder) Check() { d.check(0) }

func (d *Decoder) check(depth int) {
	if depth > maxDepth {
		d.fail("value is nested too deeply")
		return
	}
	if len(d.b) > 0 && d.b[0] == byte(CodeDescribed) {
		d.b = d.b[1:]
		d.check(depth + 1)
		d.check(depth + 1)
		return
	}
	c, b := d.take()
	d.checkBody(c, b, depth)
}

func (d *Decoder) checkBody(c Code, b []byte, depth int) {
	if d.err != nil {
		return
	}
	switch {
	case depth > maxDepth: // arrays of arrays come here directly
		d.fail("value is nested too deeply")
	case !c.known():
		d.fail("unknown constructor")
	case c == CodeString8 || c == CodeString32:
		if !utf8.Valid(b) {
			d.fail("string is not UTF-8")
		}
	case c>>4 == 0xc || c>>4 == 0xd:
		items, n := d.counted(c, b)
		if n%2 != 0 && (c == CodeMap8 || c == CodeMap32) {
			d.fail("map has a key without a value")
		}
		for i := 0; i < n && items.err == nil; i++ {
			items.check(depth + 1)
		}
		d.closed(&items)
	case c>>4 == 0xe || c>>4 == 0xf:
		items, code, descriptor, n := d.elements(c, b)
		if descriptor != nil {
			inner := NewDecoder(descriptor)
			inner.check(depth + 1)
			d.closed(&inner)
		}
		if code>>4 == 0x4 {
			n = 0 // nothing to look at
		}
		for i := 0; i < n && items.err == nil; i++ {
			items.checkBody(code, items.takeBody(code), depth+1)
		}
		d.closed(&items)
	}
}
