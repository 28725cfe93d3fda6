package amqp

import (
	"encoding/binary"
	"unicode/utf8"
)

// The functions in this file walk through encoded values by number: they are what every
// message goes through, and neither allocate nor store a pointer.

// What can be wrong with a value. They are made once, so that hostile input costs nothing.
var (
	errCutShort     error = SyntaxError("value is cut short")
	errTooDeep      error = SyntaxError("value is nested too deeply")
	errUnknownCode  error = SyntaxError("unknown constructor")
	errWrongCount   error = SyntaxError("count is larger than the content")
	errOddMap       error = SyntaxError("map has a key without a value")
	errLeftOver     error = SyntaxError("compound has more bytes than its count says")
	errTooManyEmpty error = SyntaxError("arrays have too many items that take no bytes")
	errNotUTF8      error = SyntaxError("string is not UTF-8")
)

// extent returns where the bytes of a value begin and end whose constructor is c and stands
// before b[at]. For lists, maps and arrays they begin with the count.
func extent(c Code, b []byte, at int) (start, end int, err error) {
	var n int
	switch c >> 4 {
	case 0x4:
		return at, at, nil
	case 0x5:
		n = 1
	case 0x6:
		n = 2
	case 0x7:
		n = 4
	case 0x8:
		n = 8
	case 0x9:
		n = 16
	case 0xa, 0xc, 0xe:
		if at >= len(b) {
			return 0, 0, errCutShort
		}
		n = int(b[at])
		at++
	case 0xb, 0xd, 0xf:
		if len(b)-at < 4 {
			return 0, 0, errCutShort
		}
		n = int(binary.BigEndian.Uint32(b[at:]))
		at += 4
	default:
		return 0, 0, errUnknownCode
	}
	if uint(n) > uint(len(b)-at) { // also where an int has 32 bits
		return 0, 0, errCutShort
	}
	return at, at + n, nil
}

// skipAt returns the end of the value at b[at], described or not, without looking into it.
func skipAt(b []byte, at int) (end int, err error) {
	if n := sizeAt(b, at); n > 0 {
		return at + n, nil
	}
	for todo := 1; todo > 0; todo-- {
		if at >= len(b) {
			return 0, errCutShort
		}
		c := Code(b[at])
		at++
		if c == CodeDescribed {
			if todo += 2; todo > maxDepth {
				return 0, errTooDeep
			}
			continue
		}
		if _, at, err = extent(c, b, at); err != nil {
			return 0, err
		}
	}
	return at, nil
}

// sizes are those of whole values of the constructors that have one of fixed width.
var sizes = func() (t [256]uint8) {
	for c := range t {
		if code := Code(c); code.known() && code >= CodeNull && code < CodeBinary8 {
			_, end, _ := extent(code, make([]byte, 16), 0)
			t[c] = uint8(1 + end)
		}
	}
	return t
}()

// sizeAt returns the size of the value at b[at] if it is of the kind that most are, a value
// of fixed width or a short text, and whole; otherwise 0.
func sizeAt(b []byte, at int) (n int) {
	if at+1 >= len(b) {
		return 0
	}
	switch c := Code(b[at]); c {
	case CodeString8, CodeSymbol8, CodeBinary8:
		n = 2 + int(b[at+1])
	default:
		n = int(sizes[c])
	}
	if n > len(b)-at {
		return 0
	}
	return n
}

// Check reads one value of any type and checks it in depth, without making Go
// values of it: constructors, lengths, counts, nesting, and that strings are
// UTF-8.
func (d *Decoder) Check() {
	if d.err != nil {
		return
	}
	end, err := checkAt(d.b, d.at, 0)
	if err != nil {
		d.failed(err)
		return
	}
	d.at = end
}

// checkAt checks the value at b[at] and returns its end.
func checkAt(b []byte, at, depth int) (end int, err error) {
	switch {
	case depth > maxDepth:
		return 0, errTooDeep
	case at >= len(b):
		return 0, errCutShort
	}
	c := Code(b[at])
	if n := sizeAt(b, at); n > 0 {
		if c == CodeString8 && !utf8.Valid(b[at+2:at+n]) {
			return 0, errNotUTF8
		}
		return at + n, nil
	}
	if c != CodeDescribed {
		return checkBody(c, b, at+1, depth)
	}
	if at, err = checkAt(b, at+1, depth+1); err != nil {
		return 0, err
	}
	return checkAt(b, at, depth+1)
}

// checkBody checks a value whose constructor is c and stands before b[at].
func checkBody(c Code, b []byte, at, depth int) (end int, err error) {
	start, end, err := extent(c, b, at)
	switch {
	case err != nil:
		return 0, err
	case depth > maxDepth: // arrays of arrays come here directly
		return 0, errTooDeep
	}
	switch c >> 4 {
	case 0xa, 0xb:
		if c&0xf == 1 && !utf8.Valid(b[start:end]) {
			return 0, errNotUTF8
		}
	case 0xc, 0xd:
		err = checkItems(c, b[start:end], depth)
	case 0xe, 0xf:
		err = checkArray(c, b[start:end], depth)
	}
	if err == nil && !c.known() {
		err = errUnknownCode
	}
	return end, err
}

// checkItems checks the body of a list or map.
func checkItems(c Code, body []byte, depth int) (err error) {
	count, b, ok := splitCount(c, body)
	switch {
	case !ok || uint64(count) > uint64(len(b)): // every item takes at least one byte
		return errWrongCount
	case count%2 != 0 && c&0xf == 1:
		return errOddMap
	}
	at := 0
	for range count {
		if at, err = checkAt(b, at, depth+1); err != nil {
			return err
		}
	}
	if at != len(b) {
		return errLeftOver
	}
	return nil
}

// checkArray checks the body of an array.
func checkArray(c Code, body []byte, depth int) (err error) {
	var d Decoder
	items, code, descriptor, n := d.elements(c, body)
	if d.err != nil {
		return d.err
	}
	if descriptor != nil {
		end, err := checkAt(descriptor, 0, depth+1)
		switch {
		case err != nil:
			return err
		case end != len(descriptor):
			return errLeftOver
		}
	}
	if code>>4 == 0x4 {
		n = 0 // nothing to look at
	}
	at := items.at
	for range n {
		if at, err = checkBody(code, items.b, at, depth+1); err != nil {
			return err
		}
	}
	if at != len(items.b) {
		return errLeftOver
	}
	return nil
}
