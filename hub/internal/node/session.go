package node

import (
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements begin, flow and end. The answer to begin uses the
// client's own channel number, and our handles are the client's handles: some
// clients mix the two up.

const (
	// incomingWindow is what the real service announces, in frames.
	incomingWindow = 5000
	// handleMax is what the real service announces.
	handleMax = 255
	// firstOutgoingID is where our transfer ids start.
	firstOutgoingID = 1
)

// session is one session. The links map belongs to the reader; the rest, below
// mu, is guarded by conn.mu.
type session struct {
	c       *conn
	channel uint16
	links   map[uint32]*link

	// mu
	ended          bool // end was written or queued: no more frames
	windows        amqp.Windows
	nextDeliveryID uint32
	waiting        []*link // wanted to send beyond the window
	partial        *link   // is in the middle of a delivery
	marked         bool    // stands in conn.dirty
	flowDue        bool
	flowLinks      []*link
	accepted       []idRange
	rejected       []rejection
}

type idRange struct{ first, last uint32 }

type rejection struct {
	id  uint32
	err *amqp.Error
}

func (c *conn) onBegin(f amqp.Frame) error {
	var begin amqp.Begin
	if _, err := begin.Decode(f.Body); err != nil {
		return err
	}
	if f.Channel > channelMax {
		return protocolError("channel %d is above %d", f.Channel, channelMax)
	}
	if old := c.sessions[f.Channel]; old != nil {
		if !old.isEnded() {
			return protocolError("channel %d is in use", f.Channel)
		}
		old.release()
	}
	s := &session{
		c: c, channel: f.Channel, links: map[uint32]*link{},
		windows: amqp.NewWindows(firstOutgoingID, incomingWindow, &begin),
	}
	c.sessions[f.Channel] = s
	c.post(f.Channel, &amqp.Begin{
		RemoteChannel:  amqp.Some(f.Channel),
		NextOutgoingID: firstOutgoingID,
		IncomingWindow: incomingWindow,
		OutgoingWindow: begin.IncomingWindow,
		HandleMax:      amqp.Some[uint32](handleMax),
	})
	return nil
}

// session finds the session of a frame. It is nil, without an error, when the
// session has ended on our side and the client may not know yet.
func (c *conn) session(f amqp.Frame) (*session, error) {
	s := c.sessions[f.Channel]
	if s == nil {
		return nil, protocolError("frame on channel %d, on which no session was begun", f.Channel)
	}
	if s.isEnded() {
		return nil, nil
	}
	return s, nil
}

func (s *session) isEnded() bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.ended
}

func (c *conn) onEnd(f amqp.Frame) error {
	s := c.sessions[f.Channel]
	if s == nil {
		return protocolError("end on channel %d, on which no session was begun", f.Channel)
	}
	// The links go before the answer does: the Go client ends a session to free
	// the $cbs pair and begins the next one at once.
	s.release()
	// It stays known, as one that has ended: Python's client detaches the links of its
	// management requests after it has ended their session, which is to be ignored.
	s.end(nil)
	return nil
}

// end queues the end frame, once.
func (s *session) end(e *amqp.Error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.ended {
		return
	}
	if !s.c.final {
		s.c.outbox = s.appendMarks(s.c.outbox) // answers that are owed go first
	}
	s.ended = true
	s.c.postLocked(s.channel, &amqp.End{Error: e})
}

// fault ends the session because of an error of the client. What else arrives
// on the channel before the client's own end is passed over.
func (s *session) fault(condition amqp.Symbol, text string) {
	s.release()
	s.end(&amqp.Error{Condition: condition, Description: text})
}

// release frees the session's links. Called by the reader.
func (s *session) release() {
	for _, l := range s.links {
		l.release()
	}
	clear(s.links)
}

func (c *conn) onFlow(f amqp.Frame) error {
	var flow amqp.Flow
	if _, err := flow.Decode(f.Body); err != nil {
		return err
	}
	s, err := c.session(f)
	if s == nil {
		return err
	}
	var l *link
	if flow.Handle.OK {
		if l = s.links[flow.Handle.V]; l == nil {
			s.fault(amqp.ErrUnattachedHandle, "flow for a handle that is not attached")
			return nil
		}
	}
	s.widen(&flow)
	if l != nil {
		l.onFlow(&flow)
	} else if flow.Echo {
		c.mu.Lock()
		s.flowDue = true
		s.mark()
		c.mu.Unlock()
	}
	return nil
}

// widen takes over the client's window and lets the links go on that have
// waited for it.
func (s *session) widen(flow *amqp.Flow) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.windows.Widen(flow, firstOutgoingID)
	s.resume()
}

// wait notes that l has something to send but may not. Called with mu held.
func (s *session) wait(l *link) {
	if !l.waits {
		l.waits = true
		s.waiting = append(s.waiting, l)
	}
}

// resume makes links ready that have waited, if there is window now. One that
// is in the middle of a delivery goes first. Called with mu held.
func (s *session) resume() {
	if len(s.waiting) == 0 || s.windows.Room() == 0 {
		return
	}
	if s.partial != nil {
		s.c.setReady(s.partial)
		return // the others follow when it is done
	}
	for _, l := range s.waiting {
		l.waits = false
		s.c.setReady(l)
	}
	s.waiting = s.waiting[:0]
}

// mark puts the session into the writer's list. Called with mu held.
func (s *session) mark() {
	if !s.marked {
		s.marked = true
		s.c.dirty = append(s.c.dirty, s)
	}
	if s.c.holding {
		s.c.held = true
	} else {
		s.c.signal()
	}
}

// count notes the arrival of a transfer frame.
func (s *session) count() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.windows.Received(1) {
		s.flowDue = true
		s.mark()
	}
}

// settle queues the outcome of a delivery from the client. It is called by the
// reader and by whoever makes batches durable.
func (s *session) settle(id uint32, e *amqp.Error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.settleLocked(id, e)
}

func (s *session) settleLocked(id uint32, e *amqp.Error) {
	if s.ended {
		return
	}
	if e != nil {
		s.rejected = append(s.rejected, rejection{id, e})
	} else if n := len(s.accepted); n > 0 && s.accepted[n-1].last+1 == id {
		s.accepted[n-1].last = id
	} else {
		s.accepted = append(s.accepted, idRange{id, id})
	}
	s.mark()
}

// appendMarks writes what was marked: dispositions, then flows. Called by the
// writer with mu held.
func (s *session) appendMarks(dst []byte) []byte {
	s.marked = false
	if s.ended {
		s.accepted, s.rejected, s.flowLinks = nil, nil, nil
		return dst
	}
	for _, r := range s.accepted {
		dst = s.c.frame(dst, s.channel, &amqp.Disposition{
			Receiver: true, First: r.first, Last: amqp.Some(r.last), Settled: true, State: amqp.Accepted(),
		})
	}
	s.accepted = s.accepted[:0]
	for _, r := range s.rejected {
		dst = s.c.frame(dst, s.channel, &amqp.Disposition{
			Receiver: true, First: r.id, Last: amqp.Some(r.id), Settled: true, State: amqp.Rejected(r.err),
		})
	}
	s.rejected = nil
	for _, l := range s.flowLinks {
		l.flowDue = false
		if !l.detached {
			dst = s.c.frame(dst, s.channel, l.flow())
			s.flowDue = false
		}
	}
	s.flowLinks = s.flowLinks[:0]
	if s.flowDue {
		flow := s.windows.Flow()
		dst = s.c.frame(dst, s.channel, &flow)
		s.flowDue = false
	}
	return dst
}
