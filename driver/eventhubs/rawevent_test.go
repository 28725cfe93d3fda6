package eventhubs

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// goValue and hubValue convert between the contract's values and those of the codec.
// They go another way than package amqpevent does, which is what they are for.
func goValue(v hubferry.Value) any {
	switch v.Kind() {
	case hubferry.KindNull:
		return nil
	case hubferry.KindBool:
		return v.Bits() != 0
	case hubferry.KindUByte:
		return uint8(v.Bits())
	case hubferry.KindUShort:
		return uint16(v.Bits())
	case hubferry.KindUInt:
		return uint32(v.Bits())
	case hubferry.KindULong:
		return v.Bits()
	case hubferry.KindByte:
		return int8(v.Bits())
	case hubferry.KindShort:
		return int16(v.Bits())
	case hubferry.KindInt:
		return int32(v.Bits())
	case hubferry.KindLong:
		return int64(v.Bits())
	case hubferry.KindFloat:
		return math.Float32frombits(uint32(v.Bits()))
	case hubferry.KindDouble:
		return math.Float64frombits(v.Bits())
	case hubferry.KindChar:
		return ours.Char(v.Bits())
	case hubferry.KindDecimal32:
		return ours.Decimal32(binary.BigEndian.AppendUint32(nil, uint32(v.Bits())))
	case hubferry.KindDecimal64:
		return ours.Decimal64(binary.BigEndian.AppendUint64(nil, v.Bits()))
	case hubferry.KindDecimal128:
		return ours.Decimal128([]byte(v.Raw()))
	case hubferry.KindTimestamp:
		return ours.Timestamp(v.Bits())
	case hubferry.KindUUID:
		return ours.UUID([]byte(v.Raw()))
	case hubferry.KindBinary:
		return []byte(v.Raw())
	case hubferry.KindString:
		return v.Raw()
	case hubferry.KindSymbol:
		return ours.Symbol(v.Raw())
	default:
		return ours.Raw(v.Raw())
	}
}

func hubValue(t testing.TB, v any, raw ours.Raw) hubferry.Value {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return hubferry.Null()
	case bool:
		return hubferry.Bool(v)
	case uint8:
		return hubferry.UByte(v)
	case uint16:
		return hubferry.UShort(v)
	case uint32:
		return hubferry.UInt(v)
	case uint64:
		return hubferry.ULong(v)
	case int8:
		return hubferry.Byte(v)
	case int16:
		return hubferry.Short(v)
	case int32:
		return hubferry.Int(v)
	case int64:
		return hubferry.Long(v)
	case float32:
		return hubferry.Float(v)
	case float64:
		return hubferry.Double(v)
	case ours.Char:
		return hubferry.Char(uint32(v))
	case ours.Decimal32:
		return hubferry.Decimal32(binary.BigEndian.Uint32(v[:]))
	case ours.Decimal64:
		return hubferry.Decimal64(binary.BigEndian.Uint64(v[:]))
	case ours.Decimal128:
		return hubferry.Decimal128(v)
	case ours.Timestamp:
		return hubferry.Timestamp(int64(v))
	case ours.UUID:
		return hubferry.UUID(v)
	case []byte:
		return hubferry.Binary(v)
	case string:
		return hubferry.String(v)
	case ours.Symbol:
		return hubferry.Symbol(string(v))
	case ours.List:
		return hubferry.Encoded(hubferry.KindList, raw)
	case ours.Map:
		return hubferry.Encoded(hubferry.KindMap, raw)
	case ours.Array:
		return hubferry.Encoded(hubferry.KindArray, raw)
	case ours.Described:
		return hubferry.Encoded(hubferry.KindDescribed, raw)
	}
	t.Fatalf("a value of type %T", v)
	return hubferry.Value{}
}

// rawMessage encodes an event as a producer would.
func rawMessage(t testing.TB, e *hubferry.Event) []byte {
	t.Helper()
	c, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	var msg []byte
	section := func(code uint8, v any) {
		t.Helper()
		if msg, err = ours.AppendValue(ours.AppendSection(msg, code), v); err != nil {
			t.Fatal(err)
		}
	}
	var annotations ours.Map
	switch e.Key.Kind {
	case hubferry.NoKey:
	case hubferry.TextKey:
		annotations = append(annotations, ours.Pair{Key: ours.Symbol("x-opt-partition-key"), Value: string(e.Key.Bytes)})
	case hubferry.ByteKey:
		annotations = append(annotations, ours.Pair{Key: ours.Symbol("x-opt-kafka-key"), Value: append([]byte{}, e.Key.Bytes...)})
	}
	for _, p := range c.Annotations {
		annotations = append(annotations, ours.Pair{Key: ours.Symbol(p.Name), Value: goValue(p.Value)})
	}
	if annotations != nil {
		section(ours.CodeMessageAnnotations, annotations)
	}
	if len(c.Message) > 0 {
		fields := make(ours.List, len(messageFields))
		for i, name := range messageFields {
			v, _ := c.Message.Get(name)
			fields[i] = goValue(v)
		}
		section(ours.CodeProperties, fields)
	}
	if len(c.Properties) > 0 {
		var m ours.Map
		for _, p := range c.Properties {
			m = append(m, ours.Pair{Key: p.Name, Value: goValue(p.Value)})
		}
		section(ours.CodeApplicationProperties, m)
	}
	switch c.BodyKind {
	case hubferry.BodyData:
		msg = ours.AppendData(msg, c.Body)
	case hubferry.BodyNull:
	case hubferry.BodyAMQP:
		msg = append(msg, c.Body...)
	}
	if len(c.Footer) > 0 {
		var m ours.Map
		for _, p := range c.Footer {
			m = append(m, ours.Pair{Key: ours.Symbol(p.Name), Value: goValue(p.Value)})
		}
		section(ours.CodeFooter, m)
	}
	return msg
}

var messageFields = []string{
	hubferry.MessageID, hubferry.UserID, hubferry.To, hubferry.Subject, hubferry.ReplyTo, hubferry.CorrelationID,
	hubferry.ContentType, hubferry.ContentEncoding, hubferry.AbsoluteExpiryTime, hubferry.CreationTime,
	hubferry.GroupID, hubferry.GroupSequence, hubferry.ReplyToGroupID,
}

// rawEvent decodes a message as a consumer would.
func rawEvent(t testing.TB, msg []byte) hubferry.Event {
	t.Helper()
	s, err := ours.Scan(msg)
	if err != nil {
		t.Fatal(err)
	}
	c := &hubferry.Content{}
	e := hubferry.NewEvent(c)
	for _, p := range rawPairs(t, s.MessageAnnotations.Of(msg)) {
		switch p.Name {
		case "x-opt-sequence-number":
			e.Pos.Sequence, _ = p.Value.AsInt()
		case "x-opt-offset":
			e.Pos.Offset = p.Value.Raw()
		case "x-opt-enqueued-time":
			e.Time, _ = p.Value.AsTime()
		case "x-opt-partition-key":
			if e.Key.Kind == hubferry.NoKey {
				e.Key = hubferry.Text(p.Value.Raw())
			}
		case "x-opt-kafka-key":
			e.Key = hubferry.Key{Kind: hubferry.ByteKey, Bytes: []byte(p.Value.Raw())}
		default:
			c.Annotations = append(c.Annotations, p)
		}
	}
	fields, n, err := ours.ListSection(s.Properties.Of(msg))
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		look := fields
		if v := hubValue(t, fields.Value(), look.Raw()); v.Kind() != hubferry.KindNull {
			c.Message = append(c.Message, hubferry.Property{Name: messageFields[i], Value: v})
		}
	}
	c.Properties = rawPairs(t, s.ApplicationProperties.Of(msg))
	c.Footer = rawPairs(t, s.Footer.Of(msg))
	body := s.Body.Of(msg)
	d := ours.NewDecoder(body)
	switch {
	case s.BodyCount == 0:
		c.BodyKind = hubferry.BodyNull
	case s.BodyCode == ours.CodeData && s.BodyCount == 1:
		d.Descriptor()
		c.Body = append([]byte{}, d.Binary()...)
	default:
		c.BodyKind, c.Body = hubferry.BodyAMQP, body
	}
	if c.Properties.Delete("hubferry-null-body") && c.BodyKind == hubferry.BodyData && len(c.Body) == 0 {
		c.Body, c.BodyKind = nil, hubferry.BodyNull
	}
	return e
}

func rawPairs(t testing.TB, section []byte) hubferry.Properties {
	t.Helper()
	items, n, err := ours.MapSection(section)
	if err != nil {
		t.Fatal(err)
	}
	var out hubferry.Properties
	for range n {
		name := fmt.Sprint(items.Value())
		look := items
		out = append(out, hubferry.Property{Name: name, Value: hubValue(t, items.Value(), look.Raw())})
	}
	return out
}
