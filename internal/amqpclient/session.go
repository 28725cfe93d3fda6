package amqpclient

import (
	"context"
	"errors"

	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	// window is how many transfer frames of a session the peer may send ahead.
	window = 5000
	// firstOutgoing is where our transfer ids start.
	firstOutgoing = 0
	handleMax     = 1<<32 - 2
)

// Session is one session. It may be used by several goroutines.
type Session struct {
	c       *Conn
	channel uint16
	begun   chan struct{} // closed when the peer has answered
	done    chan struct{} // closed when the session is over

	// reader
	byHandle map[uint32]*link // by the peer's handle
	fresh    int              // transfers from what was read last

	// below c.mu
	answered     bool
	err          error // why it is over
	endSent      bool
	windows      amqp.Windows
	bounded      *Receiver        // the only receiver, when what it holds is bounded
	bytes        *amqp.ByteWindow // for what bounded holds
	links        map[uint32]*link // by our handle, until the peer has detached
	unsettled    map[uint32]*delivery
	nextDelivery uint32

	// marks for the writer
	marked    bool // stands in Conn.flows
	settling  bool // stands in Conn.settled
	flowDue   bool
	flowLinks []*Receiver
	accepted  []idRange // deliveries of the peer to settle
	closed    []idRange // deliveries of ours to settle, which the peer has not
}

type idRange struct{ first, last uint32 }

var errChannels = errors.New("all channels of the connection are in use")

// Begin opens a session.
func (c *Conn) Begin(ctx context.Context) (*Session, error) {
	s := &Session{
		c: c, begun: make(chan struct{}), done: make(chan struct{}),
		byHandle: map[uint32]*link{}, links: map[uint32]*link{}, unsettled: map[uint32]*delivery{},
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return nil, c.err
	}
	for c.sessions[s.channel] != nil && s.channel < c.channelMax {
		s.channel++
	}
	if c.sessions[s.channel] != nil {
		defer c.mu.Unlock()
		return nil, errChannels
	}
	c.sessions[s.channel] = s
	c.post(s.channel, &amqp.Begin{
		NextOutgoingID: firstOutgoing, IncomingWindow: window, OutgoingWindow: window,
		HandleMax: amqp.Some[uint32](handleMax),
	})
	c.mu.Unlock()
	select {
	case <-s.begun:
		return s, nil
	case <-s.done:
		return nil, s.reason()
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		s.leave() // the answer, when it comes, finds it so
		return nil, context.Cause(ctx)
	}
}

// reason returns why the session is over.
func (s *Session) reason() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Close ends the session and its links, and waits for the peer's answer as long as ctx
// allows. A session that is over already is no error.
func (s *Session) Close(ctx context.Context) error {
	s.c.mu.Lock()
	s.leave()
	s.c.mu.Unlock()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave sends end, once. The session is of no use from then on, and over when the peer has
// answered. Called with mu held.
func (s *Session) leave() {
	if s.endSent || s.err != nil {
		return
	}
	why := &EndError{What: "session", Err: ErrClosed}
	for _, l := range s.links {
		l.endLocked(why)
	}
	s.endSent = true
	s.c.post(s.channel, &amqp.End{})
}

// endLocked makes the session over. Called with mu held.
func (s *Session) endLocked(why *EndError) {
	if s.err != nil {
		return
	}
	s.err = why
	for _, l := range s.links {
		l.endLocked(why)
	}
	close(s.done)
}

func (c *Conn) onBegin(f amqp.Frame) error {
	var begin amqp.Begin
	if _, err := begin.Decode(f.Body); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sessions[begin.RemoteChannel.V]
	switch {
	case !begin.RemoteChannel.OK || s == nil || s.answered:
		return violation("it begins a session that nobody has asked for")
	case c.byPeer[f.Channel] != nil:
		return violation("it begins two sessions on one channel")
	}
	c.byPeer[f.Channel] = s
	s.answered = true
	s.windows = amqp.NewWindows(firstOutgoing, window, &begin)
	close(s.begun)
	return nil
}

func (s *Session) onEnd(f amqp.Frame) error {
	var end amqp.End
	if _, err := end.Decode(f.Body); err != nil {
		return err
	}
	c := s.c
	c.hand()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byPeer, f.Channel)
	if !s.endSent {
		s.endSent = true
		s.endLocked(ended("session", end.Error))
		c.post(s.channel, &amqp.End{})
	}
	s.endLocked(&EndError{What: "session", Err: ErrClosed})
	delete(c.sessions, s.channel)
	return nil
}

func (s *Session) onFlow(f amqp.Frame) error {
	var flow amqp.Flow
	if _, err := flow.Decode(f.Body); err != nil {
		return err
	}
	c := s.c
	if flow.Echo {
		c.hand() // so that the answer is up to date
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.windows.Widen(&flow, firstOutgoing)
	var l *link
	if flow.Handle.OK {
		if l = s.byHandle[flow.Handle.V]; l == nil {
			return violation("a flow for a handle that is not attached")
		}
	}
	if l != nil && l.sender != nil && flow.LinkCredit.OK {
		l.sender.limit = flow.DeliveryCount.Or(0) + amqp.Ahead(flow.LinkCredit.V)
		l.sender.drain = flow.Drain
	}
	if l == nil && flow.Echo {
		s.flowDue = true
		s.mark()
	}
	if l != nil && l.receiver != nil && flow.Echo {
		l.receiver.markFlow()
	}
	for _, l := range s.links { // of which there are few
		if l.sender != nil && (len(l.sender.queue) > 0 || l.sender.drain) {
			c.setReady(l.sender)
		}
	}
	return nil
}

func (s *Session) onDisposition(f amqp.Frame) error {
	var d amqp.Disposition
	if _, err := d.Decode(f.Body); err != nil {
		return err
	}
	if !d.Receiver {
		return nil // about deliveries of the peer's, which we have settled
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	first, last := d.First, d.Last.Or(d.First)
	if count := last - first; count >= uint32(len(s.unsettled)) { // a range with holes, or nonsense
		for id := range s.unsettled {
			if id-first <= count {
				if err := s.outcome(id, &d); err != nil {
					return err
				}
			}
		}
		return nil
	}
	for id := first; ; id++ {
		if err := s.outcome(id, &d); err != nil || id == last {
			return err
		}
	}
}

// outcome takes over what the peer says of one delivery. Called with mu held.
func (s *Session) outcome(id uint32, d *amqp.Disposition) error {
	sent := s.unsettled[id]
	switch {
	case sent == nil:
		return nil
	case !sent.sent && d.State.Code == amqp.CodeAccepted:
		// It may refuse a delivery half-way, which is then aborted, and not accept it.
		return violation("it accepts a delivery that it has not got all of")
	}
	if !d.Settled {
		switch d.State.Code {
		case amqp.CodeAccepted, amqp.CodeRejected, amqp.CodeReleased, amqp.CodeModified:
			s.closed = appendID(s.closed, id)
			s.markSettled()
		default:
			return nil // not an outcome yet
		}
	}
	delete(s.unsettled, id)
	sent.finish(d.State, nil)
	return nil
}

// appendID adds an id to ranges.
func appendID(ranges []idRange, id uint32) []idRange {
	if n := len(ranges); n > 0 && ranges[n-1].last+1 == id {
		ranges[n-1].last = id
		return ranges
	}
	return append(ranges, idRange{id, id})
}

// markSettled has the writer settle deliveries. Called with mu held.
func (s *Session) markSettled() {
	if !s.settling {
		s.settling = true
		s.c.settled = append(s.c.settled, s)
	}
	s.c.signal()
}

// appendSettled writes dispositions. Called by the writer with mu held.
func (s *Session) appendSettled(dst []byte) []byte {
	s.settling = false
	if !s.endSent {
		for _, r := range s.accepted {
			dst = amqp.AppendFrame(dst, s.channel, &amqp.Disposition{Receiver: true, First: r.first, Last: amqp.Some(r.last), Settled: true, State: amqp.Accepted()})
		}
		for _, r := range s.closed {
			dst = amqp.AppendFrame(dst, s.channel, &amqp.Disposition{First: r.first, Last: amqp.Some(r.last), Settled: true})
		}
	}
	s.accepted, s.closed = s.accepted[:0], s.closed[:0]
	return dst
}

// markFlow has the writer send a flow of the session. Called with mu held.
func (s *Session) markFlow() {
	s.flowDue = true
	s.mark()
}

// mark puts the session into the writer's list. Called with mu held.
func (s *Session) mark() {
	if !s.marked {
		s.marked = true
		s.c.flows = append(s.c.flows, s)
	}
	s.c.signal()
}

// appendFlows writes the flows of links, or that of the session. Called by the writer with
// mu held.
func (s *Session) appendFlows(dst []byte) []byte {
	s.marked = false
	for _, r := range s.flowLinks {
		r.flowDue = false
		if !s.endSent && !r.detachSent && r.err == nil {
			dst = amqp.AppendFrame(dst, s.channel, r.flow())
			s.flowDue = false
		}
	}
	s.flowLinks = emptied(s.flowLinks)
	if s.flowDue && !s.endSent && s.answered {
		flow := s.windows.Flow()
		dst = amqp.AppendFrame(dst, s.channel, &flow)
	}
	s.flowDue = false
	return dst
}
