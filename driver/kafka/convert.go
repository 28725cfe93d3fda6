package kafka

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// The headers that carry what Kafka has no place for.
const (
	headerMessage    = "amqp-"
	headerAnnotation = "amqp-annotation-"
	headerFooter     = "amqp-footer-"
	headerBody       = "amqp-body"
	bodySections     = "sections"
)

var _ hubferry.Form = (*form)(nil)

// form is a record as it was read: immutable, and used by several goroutines.
type form struct{ record *kgo.Record }

// Decode implements hubferry.Form.
func (f *form) Decode(c *hubferry.Content) error {
	*c = hubferry.Content{Body: f.record.Value}
	if f.record.Value == nil {
		c.BodyKind = hubferry.BodyNull
	}
	if n := len(f.record.Headers); n > 0 {
		c.Properties = make(hubferry.Properties, n)
	}
	for i := range f.record.Headers {
		h := &f.record.Headers[i]
		c.Properties[i] = hubferry.Property{Name: h.Key, Value: headerValue(h)}
	}
	return nil
}

// Property implements hubferry.Form.
func (f *form) Property(name string) (hubferry.Value, bool) {
	for i := len(f.record.Headers) - 1; i >= 0; i-- {
		if h := &f.record.Headers[i]; h.Key == name {
			return headerValue(h), true
		}
	}
	return hubferry.Value{}, false
}

// Size implements hubferry.Form.
func (f *form) Size() int {
	n := len(f.record.Value)
	for i := range f.record.Headers {
		n += len(f.record.Headers[i].Key) + len(f.record.Headers[i].Value) + 2
	}
	return n
}

func headerValue(h *kgo.RecordHeader) hubferry.Value {
	if h.Value == nil {
		return hubferry.Null()
	}
	return hubferry.Binary(h.Value)
}

// position returns the position of a record. The leader epoch counts from 1 here,
// because 0 stands for an unknown one.
func position(r *kgo.Record) hubferry.Position {
	return hubferry.Position{Sequence: r.Offset, Epoch: r.LeaderEpoch + 1}
}

// event makes an event of a record.
func event(r *kgo.Record, origin *hubferry.Place) hubferry.Event {
	e := hubferry.NewEncodedEvent(&form{r})
	if r.Key != nil {
		e.Key = hubferry.Key{Kind: hubferry.ByteKey, Bytes: r.Key}
	}
	e.Time, e.Pos, e.Origin = r.Timestamp, position(r), origin
	return e
}

// encoder makes records of events, for one Write.
type encoder struct {
	topic string
	trail hubferry.Trail
	stamp hubferry.Stamp
	limit int
}

// record makes a record of an event. Its error is about this event.
func (c *encoder) record(e *hubferry.Event, partition int) (*kgo.Record, error) {
	r := &kgo.Record{Topic: c.topic, Partition: int32(partition)}
	if e.Key.Kind != hubferry.NoKey {
		r.Key = notNil(e.Key.Bytes)
	}
	if f, ok := e.Form().(*form); ok {
		r.Value = f.record.Value
		c.keep(r, f.record.Headers)
	} else {
		content, err := e.Content()
		if err != nil {
			return nil, &hubferry.Error{Kind: hubferry.Refused, Op: "decode event", Err: err}
		}
		c.encode(r, content)
	}
	if e.Origin != nil {
		c.provenance(r, e)
	}
	if n := batchSize(r); n > c.limit {
		return nil, &hubferry.Error{Kind: hubferry.TooLarge, Op: "encode event", Err: sizeError{n, c.limit}, Hint: "raise the connection's maxMessageBytes, if the topic takes more"}
	}
	return r, nil
}

// notNil returns b, or empty bytes for nil, which Kafka would take for null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// keep takes headers over, except the provenance that is replaced.
func (c *encoder) keep(r *kgo.Record, headers []kgo.RecordHeader) {
	r.Headers = make([]kgo.RecordHeader, 0, len(headers)+5)
	for i := range headers {
		if !c.trail.IsProvenance(headers[i].Key) {
			r.Headers = append(r.Headers, headers[i])
		}
	}
}

// encode maps a content to a value and headers.
func (c *encoder) encode(r *kgo.Record, content *hubferry.Content) {
	if content.BodyKind != hubferry.BodyNull {
		r.Value = notNil(content.Body)
	}
	r.Headers = make([]kgo.RecordHeader, 0, len(content.Properties)+len(content.Message)+5)
	for _, p := range content.Properties {
		if !c.trail.IsProvenance(p.Name) {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: p.Name, Value: headerBytes(p.Value)})
		}
	}
	for _, list := range []struct {
		prefix string
		fields hubferry.Properties
	}{{headerMessage, content.Message}, {headerAnnotation, content.Annotations}, {headerFooter, content.Footer}} {
		for _, p := range list.fields {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: list.prefix + p.Name, Value: headerBytes(p.Value)})
		}
	}
	if content.BodyKind == hubferry.BodyAMQP {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: headerBody, Value: []byte(bodySections)})
	}
}

func headerBytes(v hubferry.Value) []byte {
	switch v.Kind() {
	case hubferry.KindNull:
		return nil
	case hubferry.KindBinary:
		return []byte(v.Raw())
	default:
		return []byte(v.String())
	}
}

// provenance adds the trail's headers. The texts share one new array.
func (c *encoder) provenance(r *kgo.Record, e *hubferry.Event) {
	c.trail.Render(e, &c.stamp)
	n := 0
	for i := range c.stamp.Len() {
		_, text := c.stamp.At(i)
		n += len(text)
	}
	all := make([]byte, 0, n)
	for i := range c.stamp.Len() {
		name, text := c.stamp.At(i)
		from := len(all)
		all = append(all, text...)
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: name, Value: all[from:len(all):len(all)]})
	}
}
