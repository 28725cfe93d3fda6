package kafka

import (
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

var (
	_ hubferry.Form        = (*form)(nil)
	_ hubferry.Untravelled = (*form)(nil)
)

// form is a record as it was read: immutable, and used by several goroutines. It holds no
// more of the client's record than it needs: many wait in memory at once.
type form struct {
	value   []byte
	headers []kgo.RecordHeader
	at      int64 // its timestamp in milliseconds since the Unix epoch
	types   int   // index of the header amqp-types, or -1
	codec   uint8 // the compression in which it arrived
	keyless bool  // its key is null
	hops    bool  // a header that begins with "repl-" is there
	amqp    bool  // headers are AMQP-encoded, as Event Hubs' Kafka endpoint has them
}

// provenance is what the names of provenance begin with.
const provenance = "repl-"

// set takes a record over.
func (f *form) set(r *kgo.Record) {
	*f = form{
		value: r.Value, headers: r.Headers, at: r.Timestamp.UnixMilli(), types: -1,
		codec: r.Attrs.CompressionType(), keyless: r.Key == nil,
	}
	for i := range r.Headers {
		switch name := r.Headers[i].Key; {
		case name == headerTypes:
			f.types = i
		case strings.HasPrefix(name, provenance):
			f.hops = true
		}
	}
}

// Decode implements hubferry.Form.
func (f *form) Decode(c *hubferry.Content) error {
	*c = hubferry.Content{Body: f.value}
	if f.value == nil {
		c.BodyKind = hubferry.BodyNull
	}
	if f.types >= 0 {
		f.decodeTyped(c)
		return nil
	}
	if n := len(f.headers); n > 0 {
		c.Properties = make(hubferry.Properties, 0, n)
	}
	for i := range f.headers {
		h := &f.headers[i]
		switch {
		case isNullMark(h.Key, f.value):
			c.Body, c.BodyKind = nil, hubferry.BodyNull
			continue
		case f.amqp && f.keyless && h.Key == annotationKey:
			continue // the event's key
		}
		c.Properties = append(c.Properties, hubferry.Property{Name: h.Key, Value: f.property(i)})
	}
	return nil
}

// property returns the value of a header.
func (f *form) property(i int) hubferry.Value {
	h := &f.headers[i]
	switch {
	case h.Value == nil:
		return hubferry.Null()
	case f.types >= 0:
		return typed(h.Value, parseTypes(f.headers[f.types].Value).kind(h.Key, f.before(i)))
	case f.amqp:
		return encodedHeader(h.Value)
	}
	return hubferry.Binary(h.Value)
}

// Untravelled implements hubferry.Untravelled.
func (f *form) Untravelled() bool { return !f.hops }

// Property implements hubferry.Form. Provenance is asked for of every event, and most have
// none.
func (f *form) Property(name string) (hubferry.Value, bool) {
	if !f.hops && strings.HasPrefix(name, provenance) {
		return hubferry.Value{}, false
	}
	if f.types >= 0 && strings.HasPrefix(name, reserved) {
		if prefix, _ := part(name); prefix != "" || name == headerTypes {
			name = headerProperty + name
		}
	}
	for i := range slices.Backward(f.headers) {
		if f.headers[i].Key == name {
			return f.property(i), true
		}
	}
	return hubferry.Value{}, false
}

// Size implements hubferry.Form.
func (f *form) Size() int {
	n := len(f.value)
	for i := range f.headers {
		n += len(f.headers[i].Key) + len(f.headers[i].Value) + 2
	}
	return n
}

// position returns the position of a record. The leader epoch counts from 1 here,
// because 0 stands for an unknown one.
func position(r *kgo.Record) hubferry.Position {
	return hubferry.Position{Sequence: r.Offset, Epoch: r.LeaderEpoch + 1}
}

// event makes an event of a record. The form is the event's from then on.
func event(f *form, r *kgo.Record, origin *hubferry.Place) hubferry.Event {
	f.set(r)
	e := hubferry.NewEncodedEvent(f)
	if r.Key != nil {
		e.Key = hubferry.Key{Kind: hubferry.ByteKey, Bytes: r.Key}
	}
	e.Time, e.Pos, e.Origin = r.Timestamp, position(r), origin
	return e
}

// annotationKey is the annotation with the partition key of an event that came over AMQP,
// which Event Hubs' Kafka endpoint shows as a header.
const annotationKey = "x-opt-partition-key"

// event makes an event of a record as the source's options say.
func (s *source) event(f *form, r *kgo.Record, origin *hubferry.Place) hubferry.Event {
	e := event(f, r, origin)
	if s.options.Headers != HeadersAMQP {
		return e
	}
	f.amqp = true
	for i := range r.Headers {
		if h := &r.Headers[i]; r.Key == nil && h.Key == annotationKey {
			if text, ok := encodedHeader(h.Value).AsText(); ok {
				e.Key = hubferry.Text(text)
			}
		}
	}
	return e
}

// record is what an event becomes. It points into the event and into the encoder.
type record struct {
	key, value []byte // nil is null
	headers    []header
	stamp      *hubferry.Stamp // the trail's headers, behind the others; nil is none
	time       int64           // milliseconds since the Unix epoch
	codec      uint8           // the compression in which it arrived
	arrived    bool            // it came as a Kafka record, so codec is known
	length     int             // bytes of key, value and headers in a batch
}

type header struct {
	name  string
	value []byte // nil is null
}

// count returns how many headers there are.
func (r *record) count() int {
	if r.stamp == nil {
		return len(r.headers)
	}
	return len(r.headers) + r.stamp.Len()
}

// header returns the i-th header. Those of the trail are not kept in a list of their own:
// the collector would have to be told of each.
func (r *record) header(i int) (name string, value []byte) {
	if n := len(r.headers); i >= n {
		return r.stamp.At(i - n)
	}
	return r.headers[i].name, r.headers[i].value
}

// encoder makes records of events. It is used by one goroutine at a time, and what it
// returns is good until the next call.
type encoder struct {
	trail   hubferry.Trail
	headers string // TargetOptions.Headers
	times   string // TargetOptions.Timestamp

	stamp   hubferry.Stamp
	rec     record
	scratch []byte // values of headers that were rendered
	kinds   []headerKind
}

// headerKind is what the list of types says of a header.
type headerKind struct {
	kind  string
	named bool // the list must name it
}

// record makes a record of an event. Its error is about this event.
func (c *encoder) record(e *hubferry.Event) (*record, error) {
	r := &c.rec
	*r = record{headers: r.headers[:0]}
	c.scratch, c.kinds = c.scratch[:0], c.kinds[:0]
	if e.Key.Kind != hubferry.NoKey {
		r.key = notNil(e.Key.Bytes)
	}
	r.time = c.time(e)
	if f, ok := e.Form().(*form); ok && !f.amqp {
		c.keep(f)
	} else {
		content, err := e.Content()
		if err != nil {
			return nil, &hubferry.Error{Kind: hubferry.Refused, Op: "decode event", Err: err}
		}
		c.encode(content)
	}
	if e.Origin != nil {
		c.trail.Render(e, &c.stamp)
		r.stamp = &c.stamp
	}
	r.measure()
	return r, nil
}

// measure sets the length.
func (r *record) measure() {
	r.length = bytesSize(r.key) + bytesSize(r.value) + varintSize(int64(r.count()))
	for i := range r.count() {
		name, value := r.header(i)
		r.length += varintSize(int64(len(name))) + len(name) + bytesSize(value)
	}
}

// time returns the timestamp of a record.
func (c *encoder) time(e *hubferry.Event) int64 {
	if c.times == TimestampWrite {
		return time.Now().UnixMilli()
	}
	if f, ok := e.Form().(*form); ok {
		return f.at
	}
	if c.times != TimestampSource {
		if ms, ok := firstHop(e); ok {
			return ms
		}
	}
	if e.Time.IsZero() {
		return time.Now().UnixMilli()
	}
	return e.Time.UnixMilli()
}

// notNil returns b, or empty bytes for nil, which Kafka would take for null.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// keep takes a record over, except the provenance that is replaced.
func (c *encoder) keep(in *form) {
	r := &c.rec
	r.value, r.codec, r.arrived = in.value, in.codec, true
	for i := range in.headers {
		h := &in.headers[i]
		switch {
		case c.trail.IsProvenance(h.Key):
		case isNullMark(h.Key, in.value):
			r.value = nil
		default:
			r.headers = append(r.headers, header{h.Key, h.Value})
		}
	}
}

// encode maps a content to a value and headers.
func (c *encoder) encode(content *hubferry.Content) {
	r := &c.rec
	if content.BodyKind != hubferry.BodyNull {
		r.value = notNil(content.Body)
	}
	types := needsTypes(content, &c.trail)
	for i := range content.Properties {
		p := &content.Properties[i]
		if c.trail.IsProvenance(p.Name) {
			continue
		}
		prefix := ""
		if types && c.headers == HeadersTyped && strings.HasPrefix(p.Name, reserved) {
			prefix = headerProperty
		}
		c.header(prefix, p, types)
	}
	if !types {
		return
	}
	for i := range content.Message {
		c.header(headerMessage, &content.Message[i], true)
	}
	for i := range content.Annotations {
		c.header(headerAnnotation, &content.Annotations[i], true)
	}
	for i := range content.Footer {
		c.header(headerFooter, &content.Footer[i], true)
	}
	if c.headers == HeadersTyped {
		r.headers = append(r.headers, header{headerTypes, c.listTypes()})
	}
	if content.BodyKind == hubferry.BodyAMQP {
		r.headers = append(r.headers, header{headerBody, []byte(bodySections)})
	}
}

// header adds a header for a value.
func (c *encoder) header(prefix string, p *hubferry.Property, types bool) {
	h := header{name: prefix + p.Name}
	kind := headerKind{kind: "null"}
	if p.Value.Kind() != hubferry.KindNull {
		from := len(c.scratch)
		switch {
		case types && c.headers == HeadersAMQP:
			c.scratch = amqpevent.AppendValue(c.scratch, p.Value)
		case types && c.headers == HeadersText && p.Value.Kind() != hubferry.KindBinary:
			c.scratch = append(c.scratch, p.Value.String()...)
		default:
			c.scratch, kind.kind, kind.named = appendValue(c.scratch, p.Value)
		}
		h.value = notNil(c.scratch[from:len(c.scratch):len(c.scratch)])
	}
	c.rec.headers = append(c.rec.headers, h)
	c.kinds = append(c.kinds, kind)
}
