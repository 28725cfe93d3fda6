package hubferry

import (
	"bytes"
	"slices"
	"time"
)

// KeyKind says whether an event has a partition key and of what sort.
type KeyKind uint8

// The kinds of a Key.
const (
	NoKey   KeyKind = iota // no key: the service chose the partition
	TextKey                // Event Hubs' partition key: text
	ByteKey                // Kafka's record key: bytes
)

// Key is the partition key of an event. An empty key is a key; NoKey is none.
type Key struct {
	Bytes []byte
	Kind  KeyKind
}

// Text returns a key of kind TextKey.
func Text(s string) Key { return Key{Bytes: []byte(s), Kind: TextKey} }

// Equal reports whether two keys are of one kind and hold the same bytes.
func (k Key) Equal(o Key) bool { return k.Kind == o.Kind && bytes.Equal(k.Bytes, o.Bytes) }

// String returns the bytes of the key as text, and "" when there is no key.
func (k Key) String() string { return string(k.Bytes) }

// BodyKind says what the body of an event is.
type BodyKind uint8

// The kinds of a body.
const (
	// BodyData is a string of bytes: one AMQP data section, a Kafka value.
	BodyData BodyKind = iota
	// BodyNull is no body at all, which is not an empty one: a Kafka tombstone.
	BodyNull
	// BodyAMQP is any other AMQP body: a value, sequences, several data sections.
	// Body then holds the encoded sections with their descriptors.
	BodyAMQP
)

// Content is the decoded part of an event: what its producer wrote. Fields that
// the source's service assigned are not here but in Event.
type Content struct {
	Body        []byte
	BodyKind    BodyKind
	Properties  Properties // application properties, Kafka headers
	Message     Properties // fields that are present, by the names of this package
	Annotations Properties // the producer's own message annotations only
	Footer      Properties
}

// Clone returns a copy whose lists can be changed without touching c. Body bytes
// are shared: they are immutable.
func (c *Content) Clone() *Content {
	d := *c
	d.Properties = slices.Clone(c.Properties)
	d.Message = slices.Clone(c.Message)
	d.Annotations = slices.Clone(c.Annotations)
	d.Footer = slices.Clone(c.Footer)
	return &d
}

// Size returns roughly how many bytes the content takes on a wire.
func (c *Content) Size() int {
	return len(c.Body) + c.Properties.Size() + c.Message.Size() + c.Annotations.Size() + c.Footer.Size()
}

// Form is the encoding in which an event arrived. It is immutable and may be used
// by several goroutines. A target that knows the concrete type of a form sends it on
// undecoded; all others ask for Event.Content.
type Form interface {
	// Decode fills c. An error makes the event poison: it can be stopped at,
	// dropped or dead-lettered, but never silently lost.
	Decode(c *Content) error
	// Property finds one application property, decoding no more than it must.
	Property(name string) (Value, bool)
	// Size returns the number of encoded bytes.
	Size() int
}

// Untravelled is the optional side of a Form that knows at once whether it holds no property
// whose name begins as those of provenance do, which most events have not.
type Untravelled interface {
	Untravelled() bool
}

// Lineage says how an output came from its inputs, when it was not one to one.
// Identity (G-3) is made of it; see also Draft.
type Lineage struct {
	Part    int     // index of this part of a split input
	More    bool    // more parts of the same input follow this one
	Members []Range // for an aggregate: what it was made of, in source order
}

// Range is a run of source positions of one place, both ends included.
type Range struct {
	Place    *Place
	From, To int64 // sequence numbers
}

// Event is one event: what the source's service says of it, and its content, either
// still encoded (Form) or decoded (Content). It is a value of about 144 bytes.
//
// Lazy decoding writes into the Event, so one Event is used by one goroutine at a
// time. Use Share to give another goroutine, or another route, an Event of its own.
type Event struct {
	Key    Key
	Time   time.Time // enqueued time at the source, full resolution
	Pos    Position
	Origin *Place // shared by all events of one source partition

	form    Form
	content *Content
	owner   *Event // the Event that may change content in place
	lineage *Lineage
	pin     int32 // explicit target partition + 1
}

// NewEvent returns an event with that content. The event takes the content over.
func NewEvent(c *Content) Event { return Event{content: c} }

// NewEncodedEvent returns an event that is decoded when it is first asked for.
func NewEncodedEvent(f Form) Event { return Event{form: f} }

// Content returns the decoded content, which the caller must not change. An error
// says why the event cannot be decoded; it is the same on every call.
func (e *Event) Content() (*Content, error) {
	if e.content == nil {
		c := new(Content)
		if e.form != nil {
			if err := e.form.Decode(c); err != nil {
				return nil, err
			}
		}
		e.content = c
	}
	return e.content, nil
}

// Edit returns the content to be changed by the caller. The first call copies it, so
// that other Events with the same content do not change, and drops the Form.
func (e *Event) Edit() (*Content, error) {
	c, err := e.Content()
	if err != nil {
		return nil, err
	}
	if e.owner != e {
		e.content = c.Clone()
		e.owner = e
	}
	e.form = nil
	return e.content, nil
}

// Share returns a copy of the event. Editing either afterwards does not change the
// other. A plain assignment would not do: the original could go on editing the
// content that the copy shows.
func (e *Event) Share() Event {
	e.owner = nil
	return *e
}

// Form returns the encoding in which the event arrived, or nil if it was made or
// edited here.
func (e *Event) Form() Form { return e.form }

// Property returns an application property, without decoding the rest of an event
// that is still encoded.
func (e *Event) Property(name string) (Value, bool) {
	if e.content == nil && e.form != nil {
		return e.form.Property(name)
	}
	if e.content == nil {
		return Value{}, false
	}
	return e.content.Properties.Get(name)
}

// Lineage returns how the event came from its inputs, or nil when it is one input.
func (e *Event) Lineage() *Lineage { return e.lineage }

// SetLineage is for the engine, which knows what an editor did.
func (e *Event) SetLineage(l *Lineage) { e.lineage = l }

// Pin asks for an explicit target partition. A negative number removes the pin.
func (e *Event) Pin(partition int) { e.pin = int32(max(partition, -1)) + 1 }

// Pinned returns the explicit target partition, if there is one.
func (e *Event) Pinned() (int, bool) { return int(e.pin) - 1, e.pin > 0 }

// eventOverhead is what an Event costs beside its bytes while it is on its way: the value
// itself, that of its Form, its output and its slots in queues and runs.
const eventOverhead = 512

// Size returns how much of the memory budget the event takes, in bytes (INV-6).
func (e *Event) Size() int {
	n := eventOverhead + len(e.Key.Bytes)
	switch {
	case e.form != nil:
		n += e.form.Size()
	case e.content != nil:
		n += e.content.Size()
	}
	return n
}
