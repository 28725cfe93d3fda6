package amqpevent

import (
	"fmt"
	"slices"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqp"
)

// Decode implements hubferry.Form. The body points into the message.
func (f *Form) Decode(c *hubferry.Content) error {
	if f.err != nil {
		return f.err
	}
	s := &f.sections
	var err error
	if c.Message, err = readFields(nil, s.Properties.Of(f.msg), propertyNames[:]); err != nil {
		return fmt.Errorf("decode event: properties: %w", err)
	}
	if c.Message, err = readFields(c.Message, s.Header.Of(f.msg), headerNames[:]); err != nil {
		return fmt.Errorf("decode event: header: %w", err)
	}
	if c.Properties, err = readMap(s.ApplicationProperties.Of(f.msg), nil); err != nil {
		return fmt.Errorf("decode event: application properties: %w", err)
	}
	own := func(key amqp.Raw) bool {
		d := amqp.NewDecoder(key)
		return !serviceOwned(readText(&d), f.key)
	}
	if c.Annotations, err = readMap(s.MessageAnnotations.Of(f.msg), own); err != nil {
		return fmt.Errorf("decode event: annotations: %w", err)
	}
	if c.Footer, err = readMap(s.Footer.Of(f.msg), nil); err != nil {
		return fmt.Errorf("decode event: footer: %w", err)
	}
	c.Body, c.BodyKind = f.body()
	restore(c)
	return nil
}

func isMark(name string) bool {
	return name == hubferry.MarkNullBody || name == hubferry.MarkRepeated
}

// restore takes the marks away and does what they say. A mark that somebody has damaged
// says nothing.
func restore(c *hubferry.Content) {
	if v, ok := c.Properties.Get(hubferry.MarkRepeated); ok {
		c.Properties.Delete(hubferry.MarkRepeated)
		c.Properties = insertEarlier(c.Properties, v.Raw())
	}
	if c.Properties.Delete(hubferry.MarkNullBody) && c.BodyKind == hubferry.BodyData && len(c.Body) == 0 {
		c.Body, c.BodyKind = nil, hubferry.BodyNull
	}
	if len(c.Properties) == 0 {
		c.Properties = nil
	}
}

// insertEarlier puts the values of a mark back to their places.
func insertEarlier(props hubferry.Properties, mark string) hubferry.Properties {
	d := amqp.NewDecoder([]byte(mark))
	for d.Len() > 0 {
		at := int(min(d.Uint(), uint64(len(props))))
		name := string(d.Text())
		v, err := readValue(&d)
		if err != nil {
			break
		}
		props = slices.Insert(props, at, hubferry.Property{Name: name, Value: v})
	}
	return props
}

// body returns what the body sections hold.
func (f *Form) body() ([]byte, hubferry.BodyKind) {
	all := f.sections.Body.Of(f.msg)
	if len(all) == 0 {
		return nil, hubferry.BodyNull
	}
	d := amqp.NewDecoder(all)
	d.Descriptor()
	if f.sections.BodyCode == amqp.CodeData && f.sections.BodyCount == 1 {
		return d.Binary(), hubferry.BodyData
	}
	return all, hubferry.BodyAMQP
}

// readMap reads a map section. It returns nil if there is nothing to keep.
func readMap(section []byte, keep func(key amqp.Raw) bool) (hubferry.Properties, error) {
	items, n, err := amqp.MapSection(section)
	if err != nil || n == 0 {
		return nil, err
	}
	var out hubferry.Properties
	for range n {
		key := items.Raw()
		if keep != nil && !keep(key) {
			items.Skip()
			continue
		}
		v, err := readValue(&items)
		if err != nil {
			return nil, err
		}
		if out == nil {
			out = make(hubferry.Properties, 0, n)
		}
		out = append(out, hubferry.Property{Name: annotationName(key), Value: v})
	}
	return out, items.Err()
}

// readFields appends the fields of a list section that are present, by their names.
func readFields(out hubferry.Properties, section []byte, names []string) (hubferry.Properties, error) {
	items, n, err := amqp.ListSection(section)
	if err != nil {
		return nil, err
	}
	for i := range min(n, len(names)) {
		v, err := readValue(&items)
		if err != nil {
			return nil, err
		}
		if v.Kind() != hubferry.KindNull {
			out = append(out, hubferry.Property{Name: names[i], Value: v})
		}
	}
	return out, items.Err()
}
