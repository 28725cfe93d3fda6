package interop

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
)

// goEncode makes the value that go-amqp writes with exactly the wanted AMQP type.
func goEncode(v value) (any, error) {
	switch v.T {
	case "null":
		return nil, nil
	case "boolean":
		return v.Bool, nil
	case "float":
		return float32(v.float64Of()), nil
	case "double":
		return v.float64Of(), nil
	case "uuid":
		return amqp.UUID(v.bytesOf()), nil
	case "binary":
		return v.bytesOf(), nil
	case "string":
		return v.Text, nil
	case "symbol":
		return amqp.Symbol(v.Text), nil
	case "list":
		out := make([]any, len(v.List))
		for i, item := range v.List {
			var err error
			if out[i], err = goEncode(item); err != nil {
				return nil, err
			}
		}
		return out, nil
	case "map":
		out := make(map[any]any, len(v.Map))
		for _, pair := range v.Map {
			key, err := goEncode(pair[0])
			if err != nil {
				return nil, err
			}
			if out[key], err = goEncode(pair[1]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return goEncodeInteger(v)
}

func goEncodeInteger(v value) (any, error) {
	if v.T == "ulong" {
		return strconv.ParseUint(v.Text, 10, 64)
	}
	n, err := strconv.ParseInt(v.Text, 10, 64)
	if err != nil {
		return nil, err
	}
	switch v.T {
	case "ubyte":
		return uint8(n), nil
	case "ushort":
		return uint16(n), nil
	case "uint":
		return uint32(n), nil
	case "byte":
		return int8(n), nil
	case "short":
		return int16(n), nil
	case "int":
		return int32(n), nil
	case "long":
		return n, nil
	case "timestamp":
		return time.UnixMilli(n), nil
	}
	return nil, notOffered("go-amqp cannot write " + v.T)
}

// goDecode shows a received value; go-amqp keeps the types apart, except for symbols, which it makes strings.
func goDecode(v any) value {
	switch v := v.(type) {
	case nil:
		return null()
	case bool:
		return boolean(v)
	case uint8:
		return integer("ubyte", uint64(v))
	case uint16:
		return integer("ushort", uint64(v))
	case uint32:
		return integer("uint", uint64(v))
	case uint64:
		return integer("ulong", v)
	case int8:
		return integer("byte", int64(v))
	case int16:
		return integer("short", int64(v))
	case int32:
		return integer("int", int64(v))
	case int64:
		return integer("long", v)
	case float32:
		return float(v)
	case float64:
		return double(v)
	case time.Time:
		return integer("timestamp", v.UnixMilli())
	case amqp.UUID:
		return value{T: "uuid", Text: v.String()}
	case []byte:
		return blob(v)
	case string:
		return text(v)
	case amqp.Symbol:
		return symbol(string(v))
	case []any:
		out := list()
		for _, item := range v {
			out.List = append(out.List, goDecode(item))
		}
		return out
	case map[any]any:
		out := value{T: "map"}
		for k, item := range v {
			out.Map = append(out.Map, [2]value{goDecode(k), goDecode(item)})
		}
		return out
	case map[string]any:
		out := value{T: "map"}
		for k, item := range v {
			out.Map = append(out.Map, [2]value{text(k), goDecode(item)})
		}
		return out
	}
	return value{T: fmt.Sprintf("%T", v), Text: fmt.Sprint(v)}
}

// goAdd adds an event through EventData where its fields suffice and through AMQPAnnotatedMessage otherwise.
func goAdd(batch *azeventhubs.EventDataBatch, e event) error {
	properties, err := goSection(e.Properties)
	if err != nil {
		return err
	}
	simple := e.Data == nil && e.AMQPValue == nil && e.AMQPSequence == nil && e.Annotations == nil && e.Footer == nil
	if simple && len(e.Message) == 0 {
		return batch.AddEventData(&azeventhubs.EventData{Body: e.bodyOf(), Properties: properties}, nil)
	}
	m := &azeventhubs.AMQPAnnotatedMessage{ApplicationProperties: properties, Properties: &azeventhubs.AMQPAnnotatedMessageProperties{}}
	if m.Body, err = goBody(e); err != nil {
		return err
	}
	for _, section := range []struct {
		from []named
		to   *map[any]any
	}{{e.Annotations, &m.MessageAnnotations}, {e.Footer, &m.Footer}} {
		values, err := goSection(section.from)
		if err != nil {
			return err
		}
		for k, v := range values {
			if *section.to == nil {
				*section.to = make(map[any]any)
			}
			(*section.to)[amqp.Symbol(k)] = v
		}
	}
	for _, n := range e.Message {
		if err := goSetMessage(m.Properties, n); err != nil {
			return err
		}
	}
	return batch.AddAMQPAnnotatedMessage(m, nil)
}

func goBody(e event) (azeventhubs.AMQPAnnotatedMessageBody, error) {
	var body azeventhubs.AMQPAnnotatedMessageBody
	switch {
	case e.AMQPValue != nil:
		v, err := goEncode(*e.AMQPValue)
		body.Value = v
		return body, err
	case e.AMQPSequence != nil:
		v, err := goEncode(list(e.AMQPSequence...))
		if err != nil {
			return body, err
		}
		body.Sequence = [][]any{v.([]any)}
	case e.Data != nil:
		for _, section := range e.Data {
			body.Data = append(body.Data, event{Body: section}.bodyOf())
		}
	default:
		body.Data = [][]byte{e.bodyOf()}
	}
	return body, nil
}

func goSection(pairs []named) (map[string]any, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(pairs))
	for _, p := range pairs {
		v, err := goEncode(p.Value)
		if err != nil {
			return nil, err
		}
		out[p.Name] = v
	}
	return out, nil
}

func goSetMessage(p *azeventhubs.AMQPAnnotatedMessageProperties, n named) error {
	v, err := goEncode(n.Value)
	if err != nil {
		return err
	}
	s := &n.Value.Text
	switch n.Name {
	case "message-id":
		p.MessageID = v
	case "user-id":
		p.UserID = n.Value.bytesOf()
	case "to":
		p.To = s
	case "subject":
		p.Subject = s
	case "reply-to":
		p.ReplyTo = s
	case "correlation-id":
		p.CorrelationID = v
	case "content-type":
		p.ContentType = s
	case "content-encoding":
		p.ContentEncoding = s
	case "absolute-expiry-time", "creation-time":
		at := v.(time.Time)
		if n.Name == "creation-time" {
			p.CreationTime = &at
		} else {
			p.AbsoluteExpiryTime = &at
		}
	case "group-id":
		p.GroupID = s
	case "group-sequence":
		sequence := v.(uint32)
		p.GroupSequence = &sequence
	case "reply-to-group-id":
		p.ReplyToGroupID = s
	}
	return nil
}

func goDecodeEvent(e *azeventhubs.ReceivedEventData, partition string) event {
	m := e.RawAMQPMessage
	out := event{Partition: partition, Key: e.PartitionKey, Seq: e.SequenceNumber, Offset: e.Offset, EnqueuedMs: math.MinInt64}
	if e.EnqueuedTime != nil {
		out.EnqueuedMs = e.EnqueuedTime.UnixMilli()
	}
	switch {
	case m.Body.Value != nil:
		v := goDecode(m.Body.Value)
		out.AMQPValue = &v
	case len(m.Body.Sequence) > 0:
		out.AMQPSequence = goDecode(slices.Concat(m.Body.Sequence...)).List
	case len(m.Body.Data) == 1:
		out.Body = withBody(m.Body.Data[0]).Body
	default:
		for _, section := range m.Body.Data {
			out.Data = append(out.Data, withBody(section).Body)
		}
	}
	for k, v := range m.ApplicationProperties {
		out.Properties = append(out.Properties, named{k, goDecode(v)})
	}
	for k, v := range m.MessageAnnotations {
		switch name := fmt.Sprint(k); name {
		case "x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time", "x-opt-partition-key":
		default:
			out.Annotations = append(out.Annotations, named{name, goDecode(v)})
		}
	}
	for k, v := range m.Footer {
		out.Footer = append(out.Footer, named{fmt.Sprint(k), goDecode(v)})
	}
	if m.Properties != nil {
		out.Message = goMessage(m.Properties)
	}
	return out
}

func goMessage(p *azeventhubs.AMQPAnnotatedMessageProperties) []named {
	var out []named
	add := func(name string, v any, present bool) {
		if present {
			out = append(out, named{name, goDecode(v)})
		}
	}
	addText := func(name string, s *string) {
		if s != nil {
			out = append(out, named{name, text(*s)})
		}
	}
	addTime := func(name string, at *time.Time) {
		if at != nil {
			out = append(out, named{name, goDecode(*at)})
		}
	}
	add("message-id", p.MessageID, p.MessageID != nil)
	add("user-id", p.UserID, p.UserID != nil)
	addText("to", p.To)
	addText("subject", p.Subject)
	addText("reply-to", p.ReplyTo)
	add("correlation-id", p.CorrelationID, p.CorrelationID != nil)
	addText("content-type", p.ContentType)
	addText("content-encoding", p.ContentEncoding)
	addTime("absolute-expiry-time", p.AbsoluteExpiryTime)
	addTime("creation-time", p.CreationTime)
	addText("group-id", p.GroupID)
	if p.GroupSequence != nil {
		add("group-sequence", *p.GroupSequence, true)
	}
	addText("reply-to-group-id", p.ReplyToGroupID)
	return out
}

// sorted orders the entries of a section by name, for comparison and print.
func sorted(pairs []named) []named {
	out := slices.Clone(pairs)
	slices.SortFunc(out, func(a, b named) int { return strings.Compare(a.Name, b.Name) })
	return out
}
