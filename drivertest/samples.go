package drivertest

import (
	"bytes"
	"fmt"
	"math"
	"strings"

	"github.com/hubferry/hubferry"
)

// sample is an event with a body that names it.
func sample(name string, change func(e *hubferry.Event, c *hubferry.Content)) hubferry.Event {
	c := &hubferry.Content{Body: []byte(name)}
	e := hubferry.NewEvent(c)
	if change != nil {
		change(&e, c)
	}
	return e
}

// numbered returns n events with the same key, and their number as body.
func numbered(n int) []hubferry.Event {
	events := make([]hubferry.Event, n)
	for i := range events {
		events[i] = sample(fmt.Sprintf("event %d", i), func(e *hubferry.Event, _ *hubferry.Content) { e.Key = hubferry.Text("key") })
	}
	return events
}

func bodySamples(*suite) []hubferry.Event {
	body := func(b []byte) hubferry.Event {
		return sample("", func(_ *hubferry.Event, c *hubferry.Content) { c.Body = b })
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []hubferry.Event{
		body([]byte("text")), body([]byte{}), body(all), body([]byte("Grüße, 世界 🚢")), body([]byte{0}),
		body([]byte{0xff, 0xfe, 0x80}), body(bytes.Repeat([]byte("0123456789abcdef"), 4096)),
	}
}

func keySamples(*suite) []hubferry.Event {
	key := func(name string, k hubferry.Key) hubferry.Event {
		return sample(name, func(e *hubferry.Event, _ *hubferry.Content) { e.Key = k })
	}
	return []hubferry.Event{
		key("no key", hubferry.Key{}), key("text key", hubferry.Text("device-1")), key("unicode", hubferry.Text("Gerät/ß;%é")),
		key("long", hubferry.Text(strings.Repeat("k", 128))), key("bytes", hubferry.Key{Kind: hubferry.ByteKey, Bytes: []byte("device-2")}),
		key("no key again", hubferry.Key{}),
	}
}

func emptyKey(*suite) []hubferry.Event {
	return []hubferry.Event{sample("empty key", func(e *hubferry.Event, _ *hubferry.Content) { e.Key = hubferry.Text("") })}
}

// values returns values of every kind, with the ends of each range.
func values() []hubferry.Value {
	var id [16]byte
	for i := range id {
		id[i] = byte(0xa0 + i)
	}
	return []hubferry.Value{
		hubferry.Null(), hubferry.Bool(true), hubferry.Bool(false),
		hubferry.UByte(0), hubferry.UByte(math.MaxUint8), hubferry.UShort(300), hubferry.UShort(math.MaxUint16),
		hubferry.UInt(0), hubferry.UInt(200), hubferry.UInt(math.MaxUint32), hubferry.ULong(0), hubferry.ULong(7), hubferry.ULong(math.MaxUint64),
		hubferry.Byte(math.MinInt8), hubferry.Byte(5), hubferry.Short(math.MinInt16), hubferry.Short(5), hubferry.Int(math.MinInt32), hubferry.Int(5),
		hubferry.Long(math.MinInt64), hubferry.Long(5), hubferry.Long(math.MaxInt64),
		hubferry.Float(-1.5), hubferry.Float(float32(math.Inf(1))), hubferry.Double(math.Pi), hubferry.Double(math.NaN()), hubferry.Double(math.Copysign(0, -1)),
		hubferry.Char('A'), hubferry.Char('🚢'),
		hubferry.Decimal32(0x32800001), hubferry.Decimal64(0x31c0000000000001), hubferry.Decimal128(id),
		hubferry.Timestamp(0), hubferry.Timestamp(-1), hubferry.Timestamp(1_795_000_000_123), hubferry.UUID(id),
		hubferry.Binary(nil), hubferry.Binary([]byte{0, 1, 0xff}), hubferry.String(""), hubferry.String("Grüße"),
		hubferry.Symbol("sym"),
		hubferry.Encoded(hubferry.KindList, []byte{0xc0, 0x03, 0x02, 0x41, 0x42}),
		hubferry.Encoded(hubferry.KindMap, []byte{0xc1, 0x05, 0x02, 0xa1, 0x01, 'k', 0x41}),
		hubferry.Encoded(hubferry.KindArray, []byte{0xe0, 0x04, 0x02, 0x50, 0x01, 0x02}),
		hubferry.Encoded(hubferry.KindDescribed, []byte{0x00, 0xa3, 0x01, 'd', 0x41}),
	}
}

// typeSamples returns one event for each value, and one with them all, so that a driver
// that fails on one kind shows which.
func typeSamples(*suite) []hubferry.Event {
	var events []hubferry.Event
	all := sample("all kinds", nil)
	c, err := all.Edit()
	if err != nil {
		return nil // an event made here is decoded already
	}
	for i, v := range values() {
		name := fmt.Sprintf("%s %d", v.Kind(), i)
		events = append(events, sample(name, func(_ *hubferry.Event, c *hubferry.Content) {
			c.Properties = hubferry.Properties{{Name: "value", Value: v}}
		}))
		c.Properties = append(c.Properties, hubferry.Property{Name: name, Value: v})
	}
	odd := sample("odd names", func(_ *hubferry.Event, c *hubferry.Content) {
		for _, name := range []string{"UPPER", "upper", "with space", "ß;/%", strings.Repeat("n", 200)} {
			c.Properties = append(c.Properties, hubferry.Property{Name: name, Value: hubferry.String(name)})
		}
	})
	return append(events, all, odd)
}

func repeatedNames(*suite) []hubferry.Event {
	return []hubferry.Event{sample("repeated names", func(_ *hubferry.Event, c *hubferry.Content) {
		for _, p := range [][2]string{{"a", "1"}, {"b", "2"}, {"a", "3"}, {"a", "1"}} {
			c.Properties = append(c.Properties, hubferry.Property{Name: p[0], Value: hubferry.Binary([]byte(p[1]))})
		}
	})}
}

// fieldSamples returns an event for each message field that the harness names, one with
// all of them, one with annotations and one with nothing, to which nothing may be added.
func fieldSamples(s *suite) []hubferry.Event {
	id := [16]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	known := map[string][]hubferry.Value{
		hubferry.MessageID:          {hubferry.String("m-1"), hubferry.ULong(17), hubferry.UUID(id), hubferry.Binary([]byte{1, 0})},
		hubferry.UserID:             {hubferry.Binary([]byte("user"))},
		hubferry.To:                 {hubferry.String("to")},
		hubferry.Subject:            {hubferry.String("subject"), hubferry.String("")},
		hubferry.ReplyTo:            {hubferry.String("reply")},
		hubferry.CorrelationID:      {hubferry.String("c-1"), hubferry.ULong(0), hubferry.UUID(id)},
		hubferry.ContentType:        {hubferry.Symbol("application/json")},
		hubferry.ContentEncoding:    {hubferry.Symbol("gzip")},
		hubferry.AbsoluteExpiryTime: {hubferry.Timestamp(4_000_000_000_000)},
		hubferry.CreationTime:       {hubferry.Timestamp(1_700_000_000_123)},
		hubferry.GroupID:            {hubferry.String("group")},
		hubferry.GroupSequence:      {hubferry.UInt(0), hubferry.UInt(4_000_000_000)},
		hubferry.ReplyToGroupID:     {hubferry.String("reply group")},
		hubferry.Durable:            {hubferry.Bool(true)},
		hubferry.Priority:           {hubferry.UByte(7)},
		hubferry.TTL:                {hubferry.UInt(3_600_000)},
		hubferry.FirstAcquirer:      {hubferry.Bool(true)},
		hubferry.DeliveryCount:      {hubferry.UInt(2)},
	}
	events := []hubferry.Event{sample("nothing but a body", nil)}
	all := &hubferry.Content{Body: []byte("all fields")}
	for _, name := range s.h.Fields {
		for i, v := range known[name] {
			events = append(events, sample(fmt.Sprintf("%s %d", name, i), func(_ *hubferry.Event, c *hubferry.Content) {
				c.Message = hubferry.Properties{{Name: name, Value: v}}
			}))
			all.Message.Set(name, v)
		}
	}
	events = append(events, hubferry.NewEvent(all))
	if s.caps.Annotations {
		events = append(events, sample("annotations", func(_ *hubferry.Event, c *hubferry.Content) {
			c.Annotations = hubferry.Properties{{Name: "x-opt-own", Value: hubferry.String("mine")}, {Name: "x-own-number", Value: hubferry.Long(-3)}}
		}))
	}
	return events
}

func nullBodies(*suite) []hubferry.Event {
	null := sample("", func(e *hubferry.Event, c *hubferry.Content) {
		e.Key, c.Body, c.BodyKind = hubferry.Text("deleted"), nil, hubferry.BodyNull
	})
	empty := sample("", func(e *hubferry.Event, _ *hubferry.Content) { e.Key = hubferry.Text("deleted") })
	return []hubferry.Event{null, empty, null}
}

func amqpSamples(*suite) []hubferry.Event {
	body := func(b ...byte) hubferry.Event {
		return sample("", func(_ *hubferry.Event, c *hubferry.Content) { c.Body, c.BodyKind = b, hubferry.BodyAMQP })
	}
	return []hubferry.Event{
		body(0x00, 0x53, 0x77, 0xa1, 0x02, 'h', 'i'),                                                   // a value: string
		body(0x00, 0x53, 0x77, 0x40),                                                                   // a value: null
		body(0x00, 0x53, 0x77, 0xc1, 0x05, 0x02, 0xa1, 0x01, 'k', 0x41),                                // a value: map
		body(0x00, 0x53, 0x76, 0xc0, 0x03, 0x02, 0x41, 0x42),                                           // a sequence
		body(0x00, 0x53, 0x76, 0x45, 0x00, 0x53, 0x76, 0xc0, 0x03, 0x02, 0x41, 0x42),                   // two sequences
		body(0x00, 0x53, 0x75, 0xa0, 0x01, 'a', 0x00, 0x53, 0x75, 0xa0, 0x02, 'b', 'c'),                // two data sections
		body(0x00, 0x53, 0x75, 0xa0, 0x00, 0x00, 0x53, 0x75, 0xa0, 0x00, 0x00, 0x53, 0x75, 0xa0, 0x00), // three empty ones
	}
}
