package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Span is the place of a section in an encoded message, from its descriptor
// to the end of its value. An empty span means that the section is absent. It is kept small:
// every event that waits has several.
type Span struct {
	Start, End int32
}

// Of returns the bytes of the span in msg.
func (s Span) Of(msg []byte) []byte { return msg[s.Start:s.End] }

// Empty reports whether the section is absent.
func (s Span) Empty() bool { return s.Start == s.End }

// Sections says where the sections of an encoded message are, so that
// annotations can be read, dropped or spliced in while the rest is passed on as
// it is.
type Sections struct {
	Header, DeliveryAnnotations, MessageAnnotations Span
	Properties, ApplicationProperties               Span
	Body                                            Span // all body sections
	Footer                                          Span

	BodyCode  uint8 // CodeData, CodeSequence, CodeValue; 0: no body at all
	BodyCount int   // number of body sections
	// Canonical is false if a section has a descriptor in another form than the
	// small-ulong that some clients take for granted, or if the footer stands
	// ahead of the body; Canonicalize cures both.
	Canonical bool
}

// Scan finds the sections of msg and checks them: known sections in the order
// of the specification, none but body sections twice, one kind of body, well
// formed to the depth. It does not allocate. One order more is allowed: the
// footer ahead of the body, as rhea (JavaScript) writes it.
func Scan(msg []byte) (Sections, error) {
	if len(msg) > math.MaxInt32 {
		return Sections{}, SyntaxError("message of more than 2 GiB")
	}
	s := Sections{Canonical: true}
	last := uint64(0)
	for start := 0; start < len(msg); {
		code, end, err := s.section(msg, start)
		if err != nil {
			return Sections{}, err
		}
		switch {
		case s.footerLeads(code):
			s.Canonical = false
		case code < last || code == last && code != CodeData && code != CodeSequence:
			return Sections{}, SyntaxError(fmt.Sprintf("message section 0x%02x is out of place", code))
		default:
			last = code
		}
		if err := s.place(code, Span{int32(start), int32(end)}); err != nil {
			return Sections{}, err
		}
		start = end
	}
	return s, nil
}

// footerLeads reports whether code is a body section behind the footer that may
// stand there: all of the body does, and a value has only one section.
func (s *Sections) footerLeads(code uint64) bool {
	if s.Footer.Empty() || code != CodeData && code != CodeSequence && code != CodeValue {
		return false
	}
	return s.BodyCount == 0 || s.Body.Start > s.Footer.Start && code != CodeValue
}

// section checks the section at msg[at:] and returns its code and its end.
func (s *Sections) section(msg []byte, at int) (code uint64, end int, err error) {
	if len(msg)-at >= 3 && msg[at] == byte(CodeDescribed) && msg[at+1] == byte(CodeSmallUlong) {
		code, at = uint64(msg[at+2]), at+3
	} else {
		d := Decoder{b: msg, at: at}
		if code = d.Descriptor(); d.err != nil {
			return 0, 0, SyntaxError(fmt.Sprintf("message section 0x%02x: %v", code, d.err))
		}
		at = d.at
		s.Canonical = false
	}
	if code < CodeHeader || code > CodeFooter {
		return 0, 0, SyntaxError("message has an unknown section")
	}
	if at < len(msg) && !sectionForm(code, Code(msg[at])) {
		return 0, 0, SyntaxError(fmt.Sprintf("message section 0x%02x has a value of type 0x%02x", code, msg[at]))
	}
	switch code {
	case CodeData:
		end, err = skipAt(msg, at) // nothing to look at within
	case CodeDeliveryAnnotations, CodeMessageAnnotations, CodeApplicationProperties, CodeFooter:
		end, err = checkPairs(code, msg, at)
	default:
		end, err = checkAt(msg, at, 0)
	}
	if err != nil {
		return 0, 0, SyntaxError(fmt.Sprintf("message section 0x%02x: %v", code, err))
	}
	return code, end, nil
}

func sectionForm(code uint64, c Code) bool {
	switch code {
	case CodeHeader, CodeProperties, CodeSequence:
		return c == CodeList0 || c == CodeList8 || c == CodeList32
	case CodeDeliveryAnnotations, CodeMessageAnnotations, CodeApplicationProperties, CodeFooter:
		return c == CodeMap8 || c == CodeMap32 || c == CodeNull
	case CodeData:
		return c == CodeBinary8 || c == CodeBinary32
	}
	return true
}

// checkPairs checks the map of a section and returns its end. Its keys must be strings in
// application properties, symbols or ulongs elsewhere: clients index by them and fail on
// anything else. Strings pass for symbols; some producers write them.
func checkPairs(code uint64, b []byte, at int) (end int, err error) {
	if at < len(b) && Code(b[at]) == CodeNull {
		return at + 1, nil
	}
	if at >= len(b) {
		return 0, errCutShort
	}
	c := Code(b[at])
	start, end, err := extent(c, b, at+1)
	if err != nil {
		return 0, err
	}
	count, b, ok := splitCount(c, b[start:end])
	switch {
	case !ok || uint64(count) > uint64(len(b)): // every item takes at least one byte
		return 0, errWrongCount
	case count%2 != 0:
		return 0, errOddMap
	}
	at = 0
	for range count / 2 {
		if at >= len(b) {
			return 0, errCutShort
		}
		switch c := Code(b[at]); c {
		case CodeString8, CodeString32, CodeSymbol8, CodeSymbol32:
		case CodeUlong, CodeSmallUlong, CodeUlong0:
			if code == CodeApplicationProperties {
				return 0, errNumber
			}
		default:
			return 0, SyntaxError(fmt.Sprintf("a key of type 0x%02x", byte(c)))
		}
		if at, err = checkAt(b, at, 1); err != nil {
			return 0, err
		}
		if at, err = checkAt(b, at, 1); err != nil {
			return 0, err
		}
	}
	if at != len(b) {
		return 0, errLeftOver
	}
	return end, nil
}

const errNumber = SyntaxError("an application property whose name is a number")

func (s *Sections) place(code uint64, span Span) error {
	switch code {
	case CodeHeader:
		s.Header = span
	case CodeDeliveryAnnotations:
		s.DeliveryAnnotations = span
	case CodeMessageAnnotations:
		s.MessageAnnotations = span
	case CodeProperties:
		s.Properties = span
	case CodeApplicationProperties:
		s.ApplicationProperties = span
	case CodeFooter:
		s.Footer = span
	default:
		if s.BodyCount > 0 && s.BodyCode != uint8(code) {
			return SyntaxError("message mixes body sections of two kinds")
		}
		if s.BodyCount == 0 {
			s.Body.Start = span.Start
		}
		s.Body.End = span.End
		s.BodyCode = uint8(code)
		s.BodyCount++
	}
	return nil
}

// Bare returns the part of msg from the properties on: everything behind the
// annotations.
func (s *Sections) Bare(msg []byte) []byte {
	return msg[max(s.Header.End, s.DeliveryAnnotations.End, s.MessageAnnotations.End):]
}

// MapSection returns a decoder over the keys and values of the map section
// (with its descriptor) that section holds, and the number of pairs. An empty
// slice and a null are an empty map.
func MapSection(section []byte) (items Decoder, pairs int, err error) {
	if len(section) == 0 {
		return Decoder{}, 0, nil
	}
	if start, end, n := usualMap(section); n > 0 {
		return Decoder{b: section[start:end:end]}, n / 2, nil
	}
	d := NewDecoder(section)
	d.Descriptor()
	if d.Null() {
		return Decoder{}, 0, d.Err()
	}
	items, pairs = d.Map()
	return items, pairs, d.Err()
}

// usualMap finds the items of a map section as it is usually written, 00 53 code c1 size
// count or with d1 and sizes of four bytes, and returns their number; 0 if it is another one,
// empty, or not well formed. Every event has several, so this is worth its lines.
func usualMap(b []byte) (start, end, n int) {
	const maxUsual = 1 << 30 // more than any message, and an int of 32 bits holds it
	if len(b) < 7 || b[0] != byte(CodeDescribed) || b[1] != byte(CodeSmallUlong) {
		return 0, 0, 0
	}
	switch Code(b[3]) {
	case CodeMap8:
		start, end, n = 6, 5+int(b[4]), int(b[5])
	case CodeMap32:
		if len(b) < 12 {
			return 0, 0, 0
		}
		size, count := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		start, end, n = 12, 8+int(min(size, maxUsual)), int(min(count, maxUsual))
	}
	if n%2 != 0 || end > len(b) || n > end-start { // every item takes at least one byte
		return 0, 0, 0
	}
	return start, end, n
}

// ListSection returns a decoder over the fields of the list section (with its
// descriptor) that section holds, and their number.
func ListSection(section []byte) (items Decoder, n int, err error) {
	if len(section) == 0 {
		return Decoder{}, 0, nil
	}
	d := NewDecoder(section)
	d.Descriptor()
	items, n = d.List()
	return items, n, d.Err()
}

// Canonicalize appends msg, which Scan has passed, with the descriptors of its
// sections in the small-ulong form and the footer at the end.
func Canonicalize(dst, msg []byte) []byte {
	d := NewDecoder(msg)
	var footer []byte
	for d.Len() > 0 && d.Err() == nil {
		code := d.Descriptor()
		if code == CodeFooter {
			footer = d.Raw()
			continue
		}
		dst = append(AppendSection(dst, uint8(code)), d.Raw()...)
	}
	if footer != nil {
		dst = append(AppendSection(dst, CodeFooter), footer...)
	}
	return dst
}

// AppendSection appends the descriptor of a section; its value must follow.
func AppendSection(dst []byte, code uint8) []byte {
	return append(dst, byte(CodeDescribed), byte(CodeSmallUlong), code)
}

// AppendData appends a data section.
func AppendData(dst, data []byte) []byte { return AppendBinary(AppendSection(dst, CodeData), data) }

// BeginData appends the start of a data section whose length is not known yet. Append the
// data, then call EndData with the mark.
func BeginData(dst []byte) (out []byte, mark int) {
	dst = append(AppendSection(dst, CodeData), byte(CodeBinary32), 0, 0, 0, 0)
	return dst, len(dst)
}

// EndData completes what BeginData began, in the short form if the data is short: it is moved
// then.
func EndData(dst []byte, mark int) []byte {
	n := len(dst) - mark
	if n > math.MaxUint8 {
		binary.BigEndian.PutUint32(dst[mark-4:], uint32(n))
		return dst
	}
	dst[mark-5], dst[mark-4] = byte(CodeBinary8), byte(n)
	copy(dst[mark-3:], dst[mark:])
	return dst[:len(dst)-3]
}
