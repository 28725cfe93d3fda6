package kafka

import (
	"bytes"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

// The headers that carry what Kafka has no place for. A header of the first name says that
// a record is made of an event with types; without it all names stand for themselves.
const (
	headerTypes      = "amqp-types"
	headerBody       = "amqp-body"
	headerProperty   = "amqp-property-" // before a property's own name that begins with amqp-
	headerAnnotation = "amqp-annotation-"
	headerFooter     = "amqp-footer-"
	headerMessage    = "amqp-"
	reserved         = "amqp-"

	bodySections = "sections"
	// typeAMQP in the list of types is a value in its AMQP encoding, as Event Hubs' own Kafka
	// endpoint shows all properties.
	typeAMQP = "amqp"
)

// messageFields are the names of Content.Message.
var messageFields = []string{
	hubferry.MessageID, hubferry.UserID, hubferry.To, hubferry.Subject, hubferry.ReplyTo,
	hubferry.CorrelationID, hubferry.ContentType, hubferry.ContentEncoding,
	hubferry.AbsoluteExpiryTime, hubferry.CreationTime, hubferry.GroupID,
	hubferry.GroupSequence, hubferry.ReplyToGroupID,
	hubferry.Durable, hubferry.Priority, hubferry.TTL, hubferry.FirstAcquirer, hubferry.DeliveryCount,
}

// typeList is the header amqp-types: "name=kind" for every header whose value is not what
// it looks like. A header that is not named is a string, or binary if it is not UTF-8. Of
// headers with one name each has its entry, in their order.
type typeList []typeEntry

type typeEntry struct{ name, kind string }

var typeEscaper = strings.NewReplacer("%", "%25", ";", "%3B", "=", "%3D")

func parseTypes(b []byte) typeList {
	if len(b) == 0 {
		return nil
	}
	var list typeList
	for entry := range strings.SplitSeq(string(b), ";") {
		name, kind, ok := strings.Cut(entry, "=")
		if ok {
			list = append(list, typeEntry{unescapeType(name), kind})
		}
	}
	return list
}

func unescapeType(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	return strings.NewReplacer("%25", "%", "%3B", ";", "%3D", "=").Replace(s)
}

func appendType(dst []byte, name, kind string) []byte {
	if len(dst) > 0 {
		dst = append(dst, ';')
	}
	dst = append(dst, typeEscaper.Replace(name)...)
	dst = append(dst, '=')
	return append(dst, kind...)
}

// kind returns the entry for the n-th header of a name, or "".
func (l typeList) kind(name string, n int) string {
	found := ""
	for _, e := range l {
		if e.name == name {
			found = e.kind
			if n--; n < 0 {
				break
			}
		}
	}
	return found
}

// typed returns the value of a header of which its kind is known, or "". What does not
// read as the kind says is bytes: somebody has changed it.
func typed(value []byte, kind string) hubferry.Value {
	switch {
	case value == nil:
		return hubferry.Null()
	case kind == "" && utf8.Valid(value), kind == "string":
		return hubferry.String(string(value))
	case kind == typeAMQP:
		if v, err := amqpevent.ParseValue(value); err == nil {
			return v
		}
	case kind != "" && kind != "binary":
		if v, ok := parseText(string(value), kind); ok {
			return v
		}
	}
	return hubferry.Binary(value)
}

// parseText reads what Value.String writes.
func parseText(s, kind string) (v hubferry.Value, ok bool) {
	if v, ok = parseNumber(s, kind); ok {
		return v, true
	}
	switch kind {
	case "boolean":
		b, err := strconv.ParseBool(s)
		return hubferry.Bool(b), err == nil
	case "float":
		f, err := strconv.ParseFloat(s, 32)
		return hubferry.Float(float32(f)), err == nil
	case "double":
		f, err := strconv.ParseFloat(s, 64)
		return hubferry.Double(f), err == nil
	case "char":
		r, n := utf8.DecodeRuneInString(s)
		return hubferry.Char(uint32(r)), n == len(s) && n > 0
	case "timestamp":
		t, err := time.Parse(time.RFC3339Nano, s)
		return hubferry.Timestamp(t.UnixMilli()), err == nil
	case "uuid":
		b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if err != nil || len(b) != 16 {
			return hubferry.Value{}, false
		}
		return hubferry.UUID([16]byte(b)), true
	case "symbol":
		return hubferry.Symbol(s), true
	}
	return hubferry.Value{}, false
}

func parseNumber(s, kind string) (hubferry.Value, bool) {
	u := func(bits int) (uint64, bool) {
		n, err := strconv.ParseUint(s, 10, bits)
		return n, err == nil
	}
	i := func(bits int) (int64, bool) {
		n, err := strconv.ParseInt(s, 10, bits)
		return n, err == nil
	}
	switch kind {
	case "ubyte":
		n, ok := u(8)
		return hubferry.UByte(uint8(n)), ok
	case "ushort":
		n, ok := u(16)
		return hubferry.UShort(uint16(n)), ok
	case "uint":
		n, ok := u(32)
		return hubferry.UInt(uint32(n)), ok
	case "ulong":
		n, ok := u(64)
		return hubferry.ULong(n), ok
	case "byte":
		n, ok := i(8)
		return hubferry.Byte(int8(n)), ok
	case "short":
		n, ok := i(16)
		return hubferry.Short(int16(n)), ok
	case "int":
		n, ok := i(32)
		return hubferry.Int(int32(n)), ok
	case "long":
		n, ok := i(64)
		return hubferry.Long(n), ok
	}
	return hubferry.Value{}, false
}

// appendValue appends what a header holds for a value. It returns the kind for the list of
// types, and whether the list must name it.
func appendValue(dst []byte, v hubferry.Value) (out []byte, kind string, named bool) {
	switch v.Kind() {
	case hubferry.KindBinary:
		return append(dst, v.Raw()...), "binary", utf8.ValidString(v.Raw())
	case hubferry.KindString:
		return append(dst, v.Raw()...), "string", !utf8.ValidString(v.Raw())
	case hubferry.KindBool, hubferry.KindUByte, hubferry.KindUShort, hubferry.KindUInt, hubferry.KindULong,
		hubferry.KindByte, hubferry.KindShort, hubferry.KindInt, hubferry.KindLong, hubferry.KindFloat,
		hubferry.KindDouble, hubferry.KindChar, hubferry.KindTimestamp, hubferry.KindUUID, hubferry.KindSymbol:
		text := v.String()
		if back, ok := parseText(text, v.Kind().String()); ok && back == v {
			return append(dst, text...), v.Kind().String(), true
		}
	default:
	}
	return amqpevent.AppendValue(dst, v), typeAMQP, true
}

// listTypes renders the list of types for the first headers of a record.
func (c *encoder) listTypes() []byte {
	list := []byte{}
	headers := c.rec.headers
	for i := range c.kinds {
		named := c.kinds[i].named
		for j := 0; j < len(c.kinds) && !named; j++ {
			named = c.kinds[j].named && headers[j].name == headers[i].name
		}
		if named {
			list = appendType(list, headers[i].name, c.kinds[i].kind)
		}
	}
	return list
}

// needsTypes reports whether an event holds what plain headers do not tell.
func needsTypes(c *hubferry.Content, trail *hubferry.Trail) bool {
	if len(c.Message)+len(c.Annotations)+len(c.Footer) > 0 || c.BodyKind == hubferry.BodyAMQP {
		return true
	}
	return slices.ContainsFunc(c.Properties, func(p hubferry.Property) bool {
		k := p.Value.Kind()
		return (k != hubferry.KindBinary && k != hubferry.KindNull || p.Name == headerTypes) && !trail.IsProvenance(p.Name)
	})
}

// part says what a header of a record with types is.
func part(name string) (prefix, rest string) {
	if !strings.HasPrefix(name, reserved) {
		return "", name
	}
	if name == headerBody {
		return headerBody, ""
	}
	for _, p := range []string{headerProperty, headerAnnotation, headerFooter} {
		if rest, ok := strings.CutPrefix(name, p); ok {
			return p, rest
		}
	}
	if rest := name[len(headerMessage):]; slices.Contains(messageFields, rest) {
		return headerMessage, rest
	}
	return "", name
}

// decodeTyped maps the headers of a record with types.
func (f *form) decodeTyped(c *hubferry.Content) {
	headers := f.headers
	types := parseTypes(headers[f.types].Value)
	for i := range headers {
		h := &headers[i]
		if i == f.types {
			continue
		}
		v := typed(h.Value, types.kind(h.Key, f.before(i)))
		switch prefix, name := part(h.Key); prefix {
		case headerBody:
			if string(h.Value) == bodySections {
				c.BodyKind = hubferry.BodyAMQP
			}
		case headerMessage:
			c.Message = append(c.Message, hubferry.Property{Name: name, Value: v})
		case headerAnnotation:
			c.Annotations = append(c.Annotations, hubferry.Property{Name: name, Value: v})
		case headerFooter:
			c.Footer = append(c.Footer, hubferry.Property{Name: name, Value: v})
		default:
			c.Properties = append(c.Properties, hubferry.Property{Name: name, Value: v})
		}
	}
}

// before returns how many headers before the i-th have its name.
func (f *form) before(i int) int {
	n := 0
	for j := range i {
		if f.headers[j].Key == f.headers[i].Key {
			n++
		}
	}
	return n
}

// isNullMark reports whether a header says that an empty value is a null one: of an event
// that is read through Event Hubs' Kafka endpoint.
func isNullMark(name string, value []byte) bool {
	return len(value) == 0 && value != nil && name == hubferry.MarkNullBody
}

// encodedHeader reads a header as Event Hubs' Kafka endpoint writes the properties of
// events that came over AMQP. What is not exactly one AMQP value came over Kafka.
func encodedHeader(value []byte) hubferry.Value {
	if value == nil {
		return hubferry.Null()
	}
	if v, err := amqpevent.ParseValue(value); err == nil && !bytes.Equal(value, []byte{}) {
		return v
	}
	return hubferry.Binary(value)
}

// firstHop returns the time at which an event was enqueued at the first hub of its way, by
// its provenance.
func firstHop(e *hubferry.Event) (int64, bool) {
	v, ok := e.Property(hubferry.ReplEnqueueTime)
	if !ok {
		return 0, false
	}
	text, _ := v.AsText()
	text, _, _ = strings.Cut(text, ";")
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil || t.Year() > 9999 || t.UnixMilli() == math.MinInt64 {
		return 0, false
	}
	return t.UnixMilli(), true
}
