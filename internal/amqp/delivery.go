package amqp

// AppendDelivery appends the frames of a delivery, or of the rest of one: as many as are
// allowed, each of maxFrame bytes at most. The first begins with t, whose More is set here;
// the others name only its handle. It returns what of the payload is left for later, nil
// if nothing is, and how many frames it appended.
func AppendDelivery(dst []byte, channel uint16, t Transfer, payload []byte, maxFrame, frames int) (out, rest []byte, n int) {
	for n < frames {
		t.More = false
		start, mark := BeginFrame(dst, TypeAMQP, channel)
		head := t.Append(start)
		size := min(len(payload), maxFrame-(len(head)-mark))
		if size < len(payload) { // the flag does not change the length
			t.More = true
			head = t.Append(start)
		}
		dst = EndFrame(append(head, payload[:size]...), mark)
		n++
		if payload = payload[size:]; len(payload) == 0 {
			return dst, nil, n
		}
		t = Transfer{Handle: t.Handle, Settled: t.Settled}
	}
	return dst, payload, n
}
