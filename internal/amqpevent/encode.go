package amqpevent

import (
	"encoding/binary"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

// Encoder renders events as encoded AMQP messages. It reuses its buffers and is used by
// one goroutine at a time.
type Encoder struct {
	trail hubferry.Trail
	stamp hubferry.Stamp
	// lost is told of everything that a message cannot carry (INV-5).
	lost func(e *hubferry.Event, what string)
}

// NewEncoder returns an encoder that adds provenance by the trail. An event without an
// origin gets none: there is nothing to tell. The function lost, which may be nil, is
// called with a short text for each thing that had to be changed or left out.
func NewEncoder(trail hubferry.Trail, lost func(e *hubferry.Event, what string)) *Encoder {
	if lost == nil {
		lost = func(*hubferry.Event, string) {}
	}
	return &Encoder{trail: trail, lost: lost}
}

// Append appends the message of an event to dst. When the event cannot be decoded, or
// holds what no AMQP message can, it returns dst as it was and an error.
func (x *Encoder) Append(dst []byte, e *hubferry.Event) ([]byte, error) {
	x.render(e)
	if e.Key.Kind == hubferry.TextKey && !utf8.Valid(e.Key.Bytes) {
		return dst, fmt.Errorf("encode event: the partition key %q is not UTF-8", e.Key.Bytes)
	}
	if f, ok := e.Form().(*Form); ok {
		if f.err != nil {
			return dst, f.err
		}
		return x.appendForm(dst, e, f), nil
	}
	c, err := e.Content()
	if err != nil {
		return dst, err
	}
	out, err := x.appendContent(dst, e, c)
	if err != nil {
		return dst, fmt.Errorf("encode event: %w", err)
	}
	return out, nil
}

// render fills the stamp; one of length 0 is none.
func (x *Encoder) render(e *hubferry.Event) {
	if e.Origin == nil {
		none := hubferry.Trail{Mode: hubferry.TrailNone}
		none.Render(e, &x.stamp)
		return
	}
	x.trail.Render(e, &x.stamp)
}

// provenance reports whether a property gives way to the stamp.
func (x *Encoder) provenance(name string) bool {
	return x.stamp.Len() > 0 && x.trail.IsProvenance(name)
}

// appendForm copies the sections of a received message, except for what the last
// service said of it, and adds the stamp.
func (x *Encoder) appendForm(dst []byte, e *hubferry.Event, f *Form) []byte {
	s := &f.sections
	dst = append(dst, s.Header.Of(f.msg)...)
	dst = x.appendFormAnnotations(dst, e, f)
	dst = append(dst, s.Properties.Of(f.msg)...)
	dst = x.appendFormProperties(dst, s.ApplicationProperties.Of(f.msg), f.hops)
	dst = append(dst, s.Body.Of(f.msg)...)
	return append(dst, s.Footer.Of(f.msg)...)
}

func (x *Encoder) appendFormAnnotations(dst []byte, e *hubferry.Event, f *Form) []byte {
	sameKey := e.Key.Equal(f.key)
	m := beginMap(dst, amqp.CodeMessageAnnotations)
	if !sameKey {
		m.key(e.Key)
	}
	items, n, err := amqp.MapSection(f.sections.MessageAnnotations.Of(f.msg))
	if err != nil { // Scan has passed it
		n = 0
	}
	for range n {
		pair := items.Rest()
		name := readText(&items)
		items.Skip()
		if !serviceOwned(name, f.key) || sameKey && isKey(name) {
			m.raw(pair[:len(pair)-items.Len()])
		}
	}
	return m.end()
}

func isKey(name []byte) bool { return string(name) == annKey || string(name) == annKafkaKey }

// appendFormProperties copies application properties. Without a stamp they stay as they
// are to the byte.
func (x *Encoder) appendFormProperties(dst, section []byte, hops bool) []byte {
	if x.stamp.Len() == 0 {
		return append(dst, section...)
	}
	m := beginMap(dst, amqp.CodeApplicationProperties)
	items, n, err := amqp.MapSection(section)
	if err != nil { // Scan has passed it
		n = 0
	}
	if !hops || n == 0 { // none to leave out: one copy
		m.dst = append(m.dst, items.Rest()...)
		m.n += n
	} else {
		m.copyExcept(items.Rest(), n, x.provenance)
	}
	x.appendStamp(&m)
	return m.end()
}

func (x *Encoder) appendStamp(m *mapWriter) {
	for i := range x.stamp.Len() {
		name, value := x.stamp.At(i)
		m.dst = amqp.AppendString(m.dst, name)
		m.dst = appendString(m.dst, value)
		m.n++
	}
}

// appendContent encodes decoded content.
func (x *Encoder) appendContent(dst []byte, e *hubferry.Event, c *hubferry.Content) ([]byte, error) {
	dst, err := appendFields(dst, amqp.CodeHeader, headerNames[:], c.Message)
	if err != nil {
		return nil, err
	}
	m := beginMap(dst, amqp.CodeMessageAnnotations)
	m.key(e.Key)
	for i := range c.Annotations {
		p := &c.Annotations[i]
		if serviceOwned([]byte(p.Name), e.Key) {
			continue
		}
		m.dst = appendValue(appendAnnotationName(m.dst, p.Name), x.carried(e, p))
		m.n++
	}
	if dst, err = appendFields(m.end(), amqp.CodeProperties, propertyNames[:], c.Message); err != nil {
		return nil, err
	}
	dst = x.appendProperties(dst, e, c)
	if dst, err = appendBody(dst, c); err != nil {
		return nil, err
	}
	m = beginMap(dst, amqp.CodeFooter)
	for i := range c.Footer {
		p := &c.Footer[i]
		m.dst = appendValue(appendAnnotationName(m.dst, p.Name), x.carried(e, p))
		m.n++
	}
	return m.end(), nil
}

// appendProperties encodes application properties: a map, so of properties with one
// name the last one stays there, and the others go into a mark.
func (x *Encoder) appendProperties(dst []byte, e *hubferry.Event, c *hubferry.Content) []byte {
	props := c.Properties
	m := beginMap(dst, amqp.CodeApplicationProperties)
	repeated := repeats(props)
	var earlier []byte
	kept := 0
	for i := range props {
		p := &props[i]
		if x.provenance(p.Name) || isMark(p.Name) {
			continue
		}
		name := p.Name
		if !utf8.ValidString(name) {
			x.lost(e, "a property name that is not UTF-8: invalid bytes became U+FFFD")
			name = string([]rune(name))
		}
		if repeated != nil && repeated[p.Name] != i {
			earlier = amqp.AppendString(amqp.AppendUint(earlier, uint32(kept)), name)
			earlier = appendValue(earlier, x.carried(e, p))
			kept++
			continue
		}
		kept++
		m.dst = appendValue(amqp.AppendString(m.dst, name), x.carried(e, p))
		m.n++
	}
	if earlier != nil {
		m.dst = amqp.AppendBinary(amqp.AppendString(m.dst, hubferry.MarkRepeated), earlier)
		m.n++
	}
	if c.BodyKind == hubferry.BodyNull {
		m.dst = amqp.AppendBool(amqp.AppendString(m.dst, hubferry.MarkNullBody), true)
		m.n++
	}
	x.appendStamp(&m)
	return m.end()
}

// repeats returns the last index of each name, or nil if no name is repeated.
func repeats(props hubferry.Properties) map[string]int {
	const few = 16
	if len(props) <= few {
		distinct := true
		for i := range props {
			for j := range i {
				distinct = distinct && props[i].Name != props[j].Name
			}
		}
		if distinct {
			return nil
		}
	}
	last := make(map[string]int, len(props))
	for i := range props {
		last[props[i].Name] = i
	}
	if len(last) == len(props) {
		return nil
	}
	return last
}

// carried returns the value of a property as AMQP can carry it: a string must be
// UTF-8, and what is not goes as binary.
func (x *Encoder) carried(e *hubferry.Event, p *hubferry.Property) hubferry.Value {
	if p.Value.Kind() == hubferry.KindString && !utf8.ValidString(p.Value.Raw()) {
		x.lost(e, "a text that is not UTF-8: carried as binary")
		return hubferry.Binary([]byte(p.Value.Raw()))
	}
	return p.Value
}

func appendBody(dst []byte, c *hubferry.Content) ([]byte, error) {
	switch c.BodyKind {
	case hubferry.BodyNull: // a message without a body is none (AMQP 1.0, part 3, 3.2)
		return amqp.AppendData(dst, nil), nil
	case hubferry.BodyAMQP:
		if s, err := amqp.Scan(c.Body); err != nil || s.BodyCount == 0 || len(s.Body.Of(c.Body)) != len(c.Body) {
			return nil, fmt.Errorf("the body is not made of AMQP body sections: %w", err)
		}
		return append(dst, c.Body...), nil
	default:
		return amqp.AppendData(dst, c.Body), nil
	}
}

// mapWriter writes a section that is a map, or nothing at all if it stays empty.
type mapWriter struct {
	dst         []byte
	start, mark int
	n           int
}

func beginMap(dst []byte, code uint8) mapWriter {
	m := mapWriter{start: len(dst)}
	m.dst, m.mark = amqp.BeginMap(amqp.AppendSection(dst, code), 0)
	return m
}

// raw adds an encoded key and its value.
func (m *mapWriter) raw(pair []byte) {
	m.dst = append(m.dst, pair...)
	m.n++
}

// key adds the annotations that say what the key of an event is.
func (m *mapWriter) key(k hubferry.Key) {
	switch k.Kind {
	case hubferry.NoKey:
		return
	case hubferry.ByteKey:
		m.dst = amqp.AppendBinary(amqp.AppendSymbol(m.dst, annKafkaKey), k.Bytes)
		m.n++
		if len(k.Bytes) == 0 || !utf8.Valid(k.Bytes) {
			return // not something that a partition key can be
		}
	case hubferry.TextKey:
	}
	m.dst = appendString(amqp.AppendSymbol(m.dst, annKey), k.Bytes)
	m.n++
}

// copyExcept adds n encoded pairs without those that are to be dropped.
func (m *mapWriter) copyExcept(pairs []byte, n int, drop func(name string) bool) {
	items := amqp.NewDecoder(pairs)
	for range n {
		pair := items.Rest()
		name := items.Text()
		items.Skip()
		if !drop(string(name)) {
			m.raw(pair[:len(pair)-items.Len()])
		}
	}
}

// end completes the section.
func (m *mapWriter) end() []byte {
	if m.n == 0 {
		return m.dst[:m.start]
	}
	binary.BigEndian.PutUint32(m.dst[m.mark:], uint32(2*m.n))
	return amqp.EndMap(m.dst, m.mark)
}

// appendString appends a string whose text is in a slice.
func appendString(dst, s []byte) []byte {
	if len(s) <= 255 {
		return append(append(dst, byte(amqp.CodeString8), byte(len(s))), s...)
	}
	dst = binary.BigEndian.AppendUint32(append(dst, byte(amqp.CodeString32)), uint32(len(s)))
	return append(dst, s...)
}

// appendFields appends a section that is a list: the fields that are present, trailing
// nulls trimmed, or nothing at all.
func appendFields(dst []byte, code uint8, names []string, from hubferry.Properties) ([]byte, error) {
	if len(from) == 0 {
		return dst, nil
	}
	last := -1
	for i, name := range names {
		if slices.ContainsFunc(from, func(p hubferry.Property) bool { return p.Name == name && p.Value.Kind() != hubferry.KindNull }) {
			last = i
		}
	}
	if last < 0 {
		return dst, nil
	}
	// A list of 32-bit sizes; the size is filled in at the end.
	dst = append(amqp.AppendSection(dst, code), byte(amqp.CodeList32), 0, 0, 0, 0)
	mark := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, uint32(last+1))
	for _, name := range names[:last+1] {
		v, _ := from.Get(name)
		v, err := fieldValue(name, v)
		if err != nil {
			return nil, err
		}
		dst = appendValue(dst, v)
	}
	binary.BigEndian.PutUint32(dst[mark-4:], uint32(len(dst)-mark))
	return dst, nil
}
