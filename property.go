package hubferry

import "slices"

// Property is a named value.
type Property struct {
	Name  string
	Value Value
}

// Properties is an ordered list of properties. Names may repeat, as Kafka's
// headers do; an event hub keeps the last of them.
type Properties []Property

// Get returns the last value of that name.
func (p Properties) Get(name string) (Value, bool) {
	for i := range slices.Backward(p) {
		if p[i].Name == name {
			return p[i].Value, true
		}
	}
	return Value{}, false
}

// Set gives the name exactly one value: it replaces the last one in its place,
// removes the others, or appends.
func (p *Properties) Set(name string, v Value) {
	last := -1
	for i := range *p {
		if (*p)[i].Name == name {
			last = i
		}
	}
	if last < 0 {
		*p = append(*p, Property{Name: name, Value: v})
		return
	}
	(*p)[last].Value = v
	kept := (*p)[:0]
	for i, q := range *p {
		if i == last || q.Name != name {
			kept = append(kept, q)
		}
	}
	*p = kept
}

// Delete removes all values of that name and reports whether there was one.
func (p *Properties) Delete(name string) bool {
	n := len(*p)
	*p = slices.DeleteFunc(*p, func(q Property) bool { return q.Name == name })
	return len(*p) < n
}

// Size returns roughly how many bytes the properties take on a wire.
func (p Properties) Size() int {
	n := 0
	for i := range p {
		n += 2 + len(p[i].Name) + p[i].Value.Size()
	}
	return n
}

// The properties by which a service carries what it has no place for. A driver writes them,
// and every driver takes them away again when it reads, so that an event that went through
// such a service is what it was before.
const (
	// MarkNullBody marks an empty body as a null one (G-13). Its value says nothing.
	MarkNullBody = "hubferry-null-body"
	// MarkRepeated holds the earlier values of properties whose names repeat, where a
	// property can have but one.
	MarkRepeated = "hubferry-repeated"
)

// The names under which Content.Message holds the fields of an AMQP message's
// properties and header sections (OASIS AMQP 1.0, part 3, 3.2.1 and 3.2.4).
// Other drivers map their own fields to these names where the meaning is the same.
const (
	MessageID          = "message-id"
	UserID             = "user-id"
	To                 = "to"
	Subject            = "subject"
	ReplyTo            = "reply-to"
	CorrelationID      = "correlation-id"
	ContentType        = "content-type"
	ContentEncoding    = "content-encoding"
	AbsoluteExpiryTime = "absolute-expiry-time"
	CreationTime       = "creation-time"
	GroupID            = "group-id"
	GroupSequence      = "group-sequence"
	ReplyToGroupID     = "reply-to-group-id"

	Durable       = "durable"
	Priority      = "priority"
	TTL           = "ttl"
	FirstAcquirer = "first-acquirer"
	DeliveryCount = "delivery-count"
)
