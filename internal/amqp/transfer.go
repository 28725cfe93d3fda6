package amqp

import "encoding/binary"

// decodeUsual decodes a transfer that is written as clients and servers usually write it:
// short forms, no state, no flags beside settled and more. It returns where the payload
// begins, or 0 if the transfer is another one; then it has changed nothing. There is a
// transfer for each event, so this is worth its lines.
func (t *Transfer) decodeUsual(body []byte) (end int) {
	// Descriptor and list: 00 53 14 c0 size count.
	if len(body) < 6 || [3]byte(body) != [3]byte{byte(CodeDescribed), byte(CodeSmallUlong), CodeTransfer} ||
		Code(body[3]) != CodeList8 || body[4] == 0 || 5+int(body[4]) > len(body) {
		return 0
	}
	list := body[6 : 5+int(body[4])]
	count := int(body[5])
	var out Transfer
	at := 0
	for i := range count {
		n := sizeAt(list, at)
		if n == 0 && at == len(list)-1 { // the last byte
			n = int(sizes[list[at]])
		}
		if n == 0 || n > len(list)-at || !out.setUsual(i, list[at:at+n]) {
			return 0
		}
		at += n
	}
	if at != len(list) || count == 0 {
		return 0
	}
	*t = out
	return 5 + int(body[4])
}

// setUsual sets a field to an encoded value, and reports whether it is one that it knows.
func (t *Transfer) setUsual(field int, v []byte) bool {
	c := Code(v[0])
	switch field {
	case 0:
		id, ok := usualUint(v)
		t.Handle = id.V
		return ok && id.OK
	case 1:
		var ok bool
		t.DeliveryID, ok = usualUint(v)
		return ok
	case 2:
		if c == CodeBinary8 {
			t.DeliveryTag = v[2:len(v):len(v)]
		}
		return c == CodeBinary8 || c == CodeNull
	case 3:
		var ok bool
		t.MessageFormat, ok = usualUint(v)
		return ok
	case 4:
		t.Settled = c == CodeTrue
	case 5:
		t.More = c == CodeTrue
	case 6, 7: // mode and state: none
		return c == CodeNull
	case 8, 9, 10: // flags
		return c == CodeFalse || c == CodeNull
	default:
		return false
	}
	return c == CodeTrue || c == CodeFalse || c == CodeNull
}

func usualUint(v []byte) (n Opt[uint32], ok bool) {
	switch Code(v[0]) {
	case CodeNull:
		return Opt[uint32]{}, true
	case CodeUint0:
		return Some[uint32](0), true
	case CodeSmallUint:
		return Some(uint32(v[1])), true
	case CodeUint:
		return Some(binary.BigEndian.Uint32(v[1:])), true
	}
	return Opt[uint32]{}, false
}
