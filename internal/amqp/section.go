package amqp

import "fmt"

// A Span is the place of a section in an encoded message, from its descriptor
// to the end of its value. An empty span means that the section is absent.
type Span struct {
	Start, End int
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
	s := Sections{Canonical: true}
	d := NewDecoder(msg)
	last := uint64(0)
	for d.Len() > 0 {
		start := len(msg) - d.Len()
		code, err := s.section(&d, msg[start:])
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
		if err := s.place(code, Span{start, len(msg) - d.Len()}); err != nil {
			return Sections{}, err
		}
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

// section reads one section and checks its form.
func (s *Sections) section(d *Decoder, at []byte) (code uint64, err error) {
	if len(at) >= 3 && at[0] == byte(CodeDescribed) && at[1] == byte(CodeSmallUlong) {
		code, d.b = uint64(at[2]), at[3:]
	} else {
		code = d.Descriptor()
		s.Canonical = false
	}
	if d.err == nil && (code < CodeHeader || code > CodeFooter) {
		return 0, SyntaxError("message has an unknown section")
	}
	c := d.Peek()
	start := d.b
	if code == CodeData {
		d.Skip() // nothing to look at within
	} else {
		d.Check()
	}
	if d.err != nil {
		return 0, SyntaxError(fmt.Sprintf("message section 0x%02x: %v", code, d.err))
	}
	if !sectionForm(code, c) {
		return 0, SyntaxError(fmt.Sprintf("message section 0x%02x has a value of type 0x%02x", code, byte(c)))
	}
	switch code {
	case CodeDeliveryAnnotations, CodeMessageAnnotations, CodeApplicationProperties, CodeFooter:
		return code, checkKeys(code, start)
	}
	return code, nil
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

// checkKeys checks the keys of a map section: strings in application
// properties, symbols or ulongs elsewhere. Clients index by them and fail on
// anything else. Strings pass for symbols; some producers write them.
func checkKeys(code uint64, section []byte) error {
	d := NewDecoder(section)
	if d.Null() {
		return nil
	}
	items, n := d.Map()
	for range n {
		c := items.Peek()
		switch c {
		case CodeString8, CodeString32:
		case CodeSymbol8, CodeSymbol32:
		case CodeUlong, CodeSmallUlong, CodeUlong0:
			if code == CodeApplicationProperties {
				return SyntaxError("application property whose name is a number")
			}
		default:
			return SyntaxError(fmt.Sprintf("message section 0x%02x has a key of type 0x%02x", code, byte(c)))
		}
		items.Skip()
		items.Skip()
	}
	return nil
}

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
	d := NewDecoder(section)
	d.Descriptor()
	if d.Null() {
		return Decoder{}, 0, d.Err()
	}
	items, pairs = d.Map()
	return items, pairs, d.Err()
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
