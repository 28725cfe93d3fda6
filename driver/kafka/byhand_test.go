package kafka_test

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

// messageFields are the fields of Content.Message that a record keeps: all of them.
var messageFields = []string{
	hubferry.MessageID, hubferry.UserID, hubferry.To, hubferry.Subject, hubferry.ReplyTo, hubferry.CorrelationID,
	hubferry.ContentType, hubferry.ContentEncoding, hubferry.AbsoluteExpiryTime, hubferry.CreationTime,
	hubferry.GroupID, hubferry.GroupSequence, hubferry.ReplyToGroupID,
	hubferry.Durable, hubferry.Priority, hubferry.TTL, hubferry.FirstAcquirer, hubferry.DeliveryCount,
}

// record maps an event by hand, by the table in docs/kafka.md. Values with a type go in
// their AMQP encoding, which the driver itself writes for a few only.
func record(t testing.TB, e *hubferry.Event, partition int32) *kgo.Record {
	t.Helper()
	content, err := e.Content()
	if err != nil {
		t.Fatal(err)
	}
	r := &kgo.Record{Topic: topicName, Partition: partition}
	if e.Key.Kind != hubferry.NoKey {
		r.Key = append([]byte{}, e.Key.Bytes...)
	}
	if content.BodyKind != hubferry.BodyNull {
		r.Value = append([]byte{}, content.Body...)
	}
	typed := len(content.Message)+len(content.Annotations)+len(content.Footer) > 0 || content.BodyKind == hubferry.BodyAMQP
	for _, p := range content.Properties {
		typed = typed || p.Value.Kind() != hubferry.KindBinary && !p.Value.IsNull()
	}
	var types []string
	add := func(prefix string, list hubferry.Properties) {
		for _, p := range list {
			h := kgo.RecordHeader{Key: prefix + p.Name}
			switch {
			case p.Value.IsNull():
			case typed:
				h.Value = amqpevent.AppendValue(nil, p.Value)
				types = append(types, strings.NewReplacer("%", "%25", ";", "%3B", "=", "%3D").Replace(h.Key)+"=amqp")
			default:
				h.Value = append([]byte{}, p.Value.Raw()...)
			}
			r.Headers = append(r.Headers, h)
		}
	}
	add("", content.Properties)
	add("amqp-", content.Message)
	add("amqp-annotation-", content.Annotations)
	add("amqp-footer-", content.Footer)
	if content.BodyKind == hubferry.BodyAMQP {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "amqp-body", Value: []byte("sections")})
	}
	if typed {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: "amqp-types", Value: []byte(strings.Join(types, ";"))})
	}
	return r
}

// eventOf maps a record by hand.
func eventOf(t testing.TB, r *kgo.Record) hubferry.Event {
	t.Helper()
	c := &hubferry.Content{Body: r.Value}
	if r.Value == nil {
		c.BodyKind = hubferry.BodyNull
	}
	var types map[string]string
	for _, h := range r.Headers {
		if h.Key == "amqp-types" {
			types = map[string]string{}
			for entry := range strings.SplitSeq(string(h.Value), ";") {
				name, kind, _ := strings.Cut(entry, "=")
				types[strings.NewReplacer("%25", "%", "%3B", ";", "%3D", "=").Replace(name)] = kind
			}
		}
	}
	for _, h := range r.Headers {
		v := hubferry.Null()
		switch {
		case h.Value == nil:
		case types == nil:
			v = hubferry.Binary(h.Value)
		default:
			v = valueOf(t, h.Value, types[h.Key])
		}
		list, name := &c.Properties, h.Key
		if types != nil && strings.HasPrefix(name, "amqp-") {
			switch rest := name[len("amqp-"):]; {
			case rest == "types":
				continue
			case rest == "body":
				c.BodyKind = hubferry.BodyAMQP
				continue
			case strings.HasPrefix(rest, "annotation-"):
				list, name = &c.Annotations, rest[len("annotation-"):]
			case strings.HasPrefix(rest, "footer-"):
				list, name = &c.Footer, rest[len("footer-"):]
			case strings.HasPrefix(rest, "property-"):
				name = rest[len("property-"):]
			default:
				list, name = &c.Message, rest
			}
		}
		*list = append(*list, hubferry.Property{Name: name, Value: v})
	}
	e := hubferry.NewEvent(c)
	if r.Key != nil {
		e.Key = hubferry.Key{Kind: hubferry.ByteKey, Bytes: r.Key}
	}
	e.Time, e.Pos = r.Timestamp, hubferry.Position{Sequence: r.Offset}
	return e
}

// valueOf reads the text of a header whose kind is listed.
func valueOf(t testing.TB, b []byte, kind string) hubferry.Value {
	t.Helper()
	text := string(b)
	must := func(err error) {
		if err != nil {
			t.Fatalf("header value %q of kind %s: %v", text, kind, err)
		}
	}
	signed := map[string]func(int64) hubferry.Value{
		"byte":  func(n int64) hubferry.Value { return hubferry.Byte(int8(n)) },
		"short": func(n int64) hubferry.Value { return hubferry.Short(int16(n)) },
		"int":   func(n int64) hubferry.Value { return hubferry.Int(int32(n)) },
		"long":  hubferry.Long,
	}
	unsigned := map[string]func(uint64) hubferry.Value{
		"ubyte":  func(n uint64) hubferry.Value { return hubferry.UByte(uint8(n)) },
		"ushort": func(n uint64) hubferry.Value { return hubferry.UShort(uint16(n)) },
		"uint":   func(n uint64) hubferry.Value { return hubferry.UInt(uint32(n)) },
		"ulong":  hubferry.ULong,
	}
	if f := signed[kind]; f != nil {
		n, err := strconv.ParseInt(text, 10, 64)
		must(err)
		return f(n)
	}
	if f := unsigned[kind]; f != nil {
		n, err := strconv.ParseUint(text, 10, 64)
		must(err)
		return f(n)
	}
	switch kind {
	case "":
		if utf8.Valid(b) {
			return hubferry.String(text)
		}
		return hubferry.Binary(b)
	case "binary":
		return hubferry.Binary(b)
	case "string":
		return hubferry.String(text)
	case "symbol":
		return hubferry.Symbol(text)
	case "boolean":
		return hubferry.Bool(text == "true")
	case "float":
		f, err := strconv.ParseFloat(text, 32)
		must(err)
		return hubferry.Float(float32(f))
	case "double":
		f, err := strconv.ParseFloat(text, 64)
		must(err)
		return hubferry.Double(f)
	case "char":
		r, _ := utf8.DecodeRune(b)
		return hubferry.Char(uint32(r))
	case "timestamp":
		at, err := time.Parse("2006-01-02T15:04:05.000Z", text)
		must(err)
		return hubferry.Timestamp(at.UnixMilli())
	case "uuid":
		raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		must(err)
		return hubferry.UUID([16]byte(raw))
	case "amqp":
		v, err := amqpevent.ParseValue(b)
		must(err)
		return v
	}
	must(fmt.Errorf("no such kind"))
	return hubferry.Value{}
}
