package amqpevent

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
)

// fieldValue gives a field of the properties or header section the type that the
// specification asks for. Clients in other languages refuse a message whose
// content-type is a string instead of a symbol, say; and events that come from other
// services, or from an editor, have the nearest type of theirs.
func fieldValue(name string, v hubferry.Value) (hubferry.Value, error) {
	if v.Kind() == hubferry.KindNull {
		return v, nil
	}
	var out hubferry.Value
	var ok bool
	switch name {
	case hubferry.MessageID, hubferry.CorrelationID:
		out, ok = asID(v)
	case hubferry.UserID:
		if s, is := v.AsText(); is {
			out, ok = hubferry.Binary([]byte(s)), true
		}
	case hubferry.To, hubferry.ReplyTo, hubferry.Subject, hubferry.GroupID, hubferry.ReplyToGroupID:
		if s, is := v.AsText(); is && utf8.ValidString(s) {
			out, ok = hubferry.String(s), true
		}
	case hubferry.ContentType, hubferry.ContentEncoding:
		if s, is := v.AsText(); is {
			out, ok = hubferry.Symbol(s), true
		}
	case hubferry.AbsoluteExpiryTime, hubferry.CreationTime:
		if n, is := v.AsInt(); is {
			out, ok = hubferry.Timestamp(n), true
		} else if v.Kind() == hubferry.KindTimestamp {
			out, ok = v, true
		}
	case hubferry.Durable, hubferry.FirstAcquirer:
		out, ok = v, v.Kind() == hubferry.KindBool
	case hubferry.Priority:
		if n, is := v.AsInt(); is && n >= 0 && n <= math.MaxUint8 {
			out, ok = hubferry.UByte(uint8(n)), true
		}
	case hubferry.GroupSequence, hubferry.TTL, hubferry.DeliveryCount:
		if n, is := v.AsInt(); is && n >= 0 && n <= math.MaxUint32 {
			out, ok = hubferry.UInt(uint32(n)), true
		}
	}
	if !ok {
		return hubferry.Value{}, fmt.Errorf("message property %s cannot be the %s %q", name, v.Kind(), v.String())
	}
	return out, nil
}

// asID allows the four types of a message id.
func asID(v hubferry.Value) (hubferry.Value, bool) {
	switch v.Kind() {
	case hubferry.KindULong, hubferry.KindUUID, hubferry.KindBinary:
		return v, true
	case hubferry.KindString, hubferry.KindSymbol:
		return hubferry.String(v.Raw()), utf8.ValidString(v.Raw())
	default:
	}
	if n, ok := v.AsInt(); ok && n >= 0 {
		return hubferry.ULong(uint64(n)), true
	}
	return hubferry.Value{}, false
}
