package amqp

import "math"

// Windows is the flow control of one session, as either of its ends keeps it (AMQP 1.0,
// part 2, 2.5.6). It counts transfer frames, not deliveries. All arithmetic is modulo
// 2^32. It is not for concurrent use.
type Windows struct {
	nextIncoming uint32      // the transfer id that the peer's next frame has
	incoming     uint32      // what we announce
	bytes        *ByteWindow // says what we announce, if there is one
	received     uint32      // since the last flow
	nextOutgoing uint32
	end          uint32 // the first transfer id that the peer does not take yet
}

// NewWindows returns the windows of an end whose own transfers begin with the id first,
// that takes so many frames ahead, and whose peer has sent begin.
func NewWindows(first, incoming uint32, begin *Begin) Windows {
	return Windows{
		nextIncoming: begin.NextOutgoingID, incoming: incoming,
		nextOutgoing: first, end: first + Ahead(begin.IncomingWindow),
	}
}

// Room is how many transfer frames the peer takes now.
func (w *Windows) Room() int { return max(0, int(int32(w.end-w.nextOutgoing))) }

// Sent accounts for transfer frames that leave.
func (w *Windows) Sent(frames int) { w.nextOutgoing += uint32(frames) }

// Bound has a ByteWindow say how many frames the peer may send ahead. Whoever sets it tells
// it what comes, and asks it instead of Received when it is time to tell the peer.
func (w *Windows) Bound(b *ByteWindow) { w.bytes = b }

// Received accounts for transfer frames that have come, and reports whether it is time to
// tell the peer: half of the window is used.
func (w *Windows) Received(frames int) (due bool) {
	w.nextIncoming += uint32(frames)
	w.received += uint32(frames)
	return w.received >= w.incoming/2
}

// Widen takes over what the peer's flow says. A peer that has not seen our begin yet sends
// no next-incoming-id; its window then counts from the first transfer.
func (w *Windows) Widen(f *Flow, first uint32) {
	w.end = f.NextIncomingID.Or(first) + Ahead(f.IncomingWindow)
}

// Ahead is how far a window or a credit reaches in the arithmetic of serial numbers, which
// takes a distance of 2^31 or more for one backwards. A peer that gives as much means that
// it has no limit.
func Ahead(n uint32) uint32 { return min(n, math.MaxInt32) }

// Flow is the session part of a flow. It opens the window anew.
func (w *Windows) Flow() Flow {
	w.received = 0
	f := Flow{
		NextIncomingID: Some(w.nextIncoming),
		IncomingWindow: w.incoming,
		NextOutgoingID: w.nextOutgoing,
		OutgoingWindow: w.incoming,
	}
	if w.bytes != nil {
		f.IncomingWindow = w.bytes.Open()
	}
	return f
}
