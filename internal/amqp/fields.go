package amqp

import (
	"fmt"
	"math"
)

// fields reads the list of a composite field by field. Fields that are null or
// beyond the end of the list have their default.
type fields struct {
	d    Decoder
	left int
	at   int
	name string
}

// composite reads descriptor and list of the composite code from d.
func (d *Decoder) composite(code uint64) fields {
	if got := d.Descriptor(); d.err == nil && got != code {
		d.fail("unexpected descriptor, want " + descriptorName(code))
	}
	items, n := d.List()
	return fields{d: items, left: n, name: descriptorName(code)}
}

// decode reads the composite code that b begins with and returns what follows
// it, for performatives.
func decode(b []byte, code uint64) (f fields, rest []byte, err error) {
	d := NewDecoder(b)
	f = d.composite(code)
	return f, d.Rest(), d.Err()
}

// next reports whether there is a field that is not null.
func (f *fields) next() bool {
	if f.d.err != nil {
		return false
	}
	f.at++
	if f.left == 0 {
		return false
	}
	f.left--
	return !f.d.Null()
}

// err returns the error of the field at which reading stopped.
func (f *fields) err() error {
	if f.d.err == nil {
		return nil
	}
	return SyntaxError(fmt.Sprintf("%s, field %d: %v", f.name, f.at, f.d.err))
}

// done is called after the last field: it returns the error if there was one.
// Extra fields of a later version of a type are passed over.
func (f *fields) done(parent *Decoder) {
	if err := f.err(); err != nil {
		parent.failed(err)
	}
}

func (f *fields) bool() bool { return f.next() && f.d.Bool() }

func (f *fields) uint(limit uint64) Opt[uint64] {
	if !f.next() {
		return Opt[uint64]{}
	}
	v := f.d.Uint()
	if v > limit {
		f.d.fail("number is out of range")
	}
	return Some(v)
}

func (f *fields) uint8() Opt[uint8] {
	v := f.uint(math.MaxUint8)
	return Opt[uint8]{V: uint8(v.V), OK: v.OK}
}

func (f *fields) uint16() Opt[uint16] {
	v := f.uint(math.MaxUint16)
	return Opt[uint16]{V: uint16(v.V), OK: v.OK}
}

func (f *fields) uint32() Opt[uint32] {
	v := f.uint(math.MaxUint32)
	return Opt[uint32]{V: uint32(v.V), OK: v.OK}
}

func (f *fields) uint64() Opt[uint64] { return f.uint(math.MaxUint64) }

// needUint32 reads a mandatory uint.
func (f *fields) needUint32() uint32 {
	v := f.uint32()
	if !v.OK {
		f.d.fail("mandatory field is missing")
	}
	return v.V
}

func (f *fields) string() string {
	if !f.next() {
		return ""
	}
	return string(f.d.Text())
}

func (f *fields) symbol() Symbol { return Symbol(f.string()) }

// binary returns bytes of the input, nil when the field is null and not nil
// when it is empty.
func (f *fields) binary() []byte {
	if !f.next() {
		return nil
	}
	return f.d.Binary()
}

func (f *fields) value() any {
	if !f.next() {
		return nil
	}
	return f.d.Value()
}

// symbols reads a "multiple" field: an array, or a single symbol.
func (f *fields) symbols() []Symbol {
	if !f.next() {
		return nil
	}
	switch f.d.Peek() {
	case CodeArray8, CodeArray32:
	default:
		return []Symbol{Symbol(f.d.Text())}
	}
	c, b := f.d.take()
	items, code, _, n := f.d.elements(c, b)
	out := make([]Symbol, 0, min(n, 16))
	for i := 0; i < n && f.d.err == nil; i++ {
		switch code {
		case CodeSymbol8, CodeSymbol32, CodeString8, CodeString32:
			out = append(out, Symbol(items.takeBody(code)))
			f.d.closedItem(&items)
		default:
			f.d.fail("array is not of symbols")
		}
	}
	return out
}

// closedItem passes an error of the inner decoder on.
func (d *Decoder) closedItem(items *Decoder) {
	if items.err != nil {
		d.failed(items.err)
	}
}

// fieldMap reads a map field; nil when it is null.
func (f *fields) fieldMap() Map {
	if !f.next() {
		return nil
	}
	switch v := f.d.Value().(type) {
	case Map:
		return v
	case nil: // an error
		return nil
	}
	f.d.fail("value is not a map")
	return nil
}
