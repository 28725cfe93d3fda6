package amqpclient

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// SenderOptions say how to attach a link on which we send.
type SenderOptions struct {
	Name    string
	Address string
	// Settle is the mode that is asked for: amqp.SenderUnsettled and so on.
	Settle              amqp.Opt[uint8]
	Properties          amqp.Map
	DesiredCapabilities []amqp.Symbol
}

// Sender is a link on which we send. It may be used by several goroutines.
type Sender struct {
	link
	maxMessage uint64 // of the peer, set before attached is closed

	// below c.mu
	queue  []*delivery // not sent, or not all of it
	count  uint32      // delivery-count
	limit  uint32      // delivery-count plus credit, as the peer says
	drain  bool
	queued bool // stands in Conn.ready
}

// delivery is a message on its way.
type delivery struct {
	from    *Sender
	format  uint32
	id      uint32
	rest    []byte    // not sent yet
	until   time.Time // its last frame is not to leave later; zero: no limit
	begun   bool      // its first frame is sent
	over    bool      // nobody waits for its outcome any more
	sent    bool      // its last frame is sent
	done    chan struct{}
	state   amqp.State
	failure error
}

// givenUp reports whether no more of it is to be sent. The clock is asked as well as the
// caller's context, whose timer may ring late: after the process was frozen, for one (G-9).
func (d *delivery) givenUp() bool {
	return d.over || !d.until.IsZero() && !time.Now().Before(d.until)
}

// finish ends the wait for the outcome. Called with mu held.
func (d *delivery) finish(state amqp.State, err error) {
	if !d.over {
		d.over, d.state, d.failure = true, state, err
		close(d.done)
	}
}

// NewSender attaches a link. Its name is one that no other sender of the connection has.
func (s *Session) NewSender(ctx context.Context, o SenderOptions) (*Sender, error) {
	l := &Sender{}
	l.sender = l
	a := &amqp.Attach{
		Name: o.Name, SndSettleMode: o.Settle, RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
		Source: &amqp.Source{}, Target: &amqp.Target{Address: o.Address},
		InitialDeliveryCount: amqp.Some[uint32](0),
		Properties:           o.Properties, DesiredCapabilities: o.DesiredCapabilities,
	}
	if err := l.attach(ctx, s, a); err != nil {
		return nil, err
	}
	return l, nil
}

// MaxMessageSize is the largest message that the peer takes; 0 means that it named none.
func (s *Sender) MaxMessageSize() uint64 { return s.maxMessage }

// Send sends a message, of one of the formats amqp.FormatMessage and amqp.FormatBatch, and
// waits for its outcome. It waits for credit as well. Messages of several callers leave one
// after the other, in the order of the calls.
//
// When there is an error, sent tells whether the message has left as a whole, so that the
// peer may have taken it. Nobody may change the message any more then: it may still be on its
// way to the network. After a success it is the caller's again.
func (s *Sender) Send(ctx context.Context, format uint32, message []byte) (state amqp.State, sent bool, err error) {
	d := &delivery{from: s, format: format, rest: message, done: make(chan struct{})}
	d.until, _ = ctx.Deadline()
	c := s.s.c
	c.mu.Lock()
	if s.err != nil {
		defer c.mu.Unlock()
		return state, false, s.err
	}
	if ctx.Err() != nil {
		defer c.mu.Unlock()
		return state, false, context.Cause(ctx)
	}
	s.queue = append(s.queue, d)
	c.setReady(s)
	c.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if d.over { // an outcome that is known is worth it, even when ctx is over
		return d.state, d.sent, d.failure
	}
	d.over = true
	if d.sent {
		delete(s.s.unsettled, d.id)
	}
	c.setReady(s) // takes it out of the queue
	return state, d.sent, context.Cause(ctx)
}

// fail ends what waits to be sent, or for its outcome. Called with mu held.
func (s *Sender) fail(why error) {
	for _, d := range s.queue {
		d.finish(amqp.State{}, why)
	}
	s.queue = nil
	for id, d := range s.s.unsettled {
		if d.from == s {
			delete(s.s.unsettled, id)
			d.finish(amqp.State{}, why)
		}
	}
}

// credit is how many deliveries the peer takes. Called with mu held.
func (s *Sender) credit() int { return max(0, int(int32(s.limit-s.count))) }

// pump appends frames of the sender to the output, as many as credit, window and its turn
// allow, and reports whether it could go on at once. Called by the writer with mu held.
func (s *Sender) pump() (more bool) {
	c, session := s.s.c, s.s
	if s.err != nil || session.endSent || s.detachSent {
		return false
	}
	for len(s.queue) > 0 {
		d := s.queue[0]
		givenUp := d.givenUp()
		switch {
		case givenUp && !d.begun:
			s.pop()
			continue
		case session.windows.Room() == 0, !d.begun && s.credit() == 0:
			return false // the peer's next flow wakes us
		case givenUp: // nobody takes half a message for a whole one
			c.out = amqp.AppendFrame(c.out, session.channel, &amqp.Transfer{Handle: s.handle, Aborted: true})
			session.windows.Sent(1)
			delete(session.unsettled, d.id)
			s.pop()
			continue
		case len(c.out) >= quantum:
			return true
		}
		s.sendFrames(d)
		if d.rest == nil {
			d.sent = true
			c.leaveBy(d.until)
			s.pop()
		}
	}
	if s.drain && s.credit() > 0 {
		s.drained()
	}
	return false
}

func (s *Sender) pop() {
	s.queue[0] = nil
	s.queue = s.queue[1:]
}

// sendFrames appends frames of a delivery.
func (s *Sender) sendFrames(d *delivery) {
	c, session := s.s.c, s.s
	t := amqp.Transfer{Handle: s.handle}
	var tag [8]byte
	if !d.begun {
		d.begun = true
		d.id = session.nextDelivery
		session.nextDelivery++
		session.unsettled[d.id] = d
		s.count++
		binary.BigEndian.PutUint64(tag[:], uint64(d.id))
		t.DeliveryID, t.DeliveryTag, t.MessageFormat = amqp.Some(d.id), tag[:], amqp.Some(d.format)
	}
	// At least one, and no more than the turn allows.
	most := max(1, min(session.windows.Room(), 1+(quantum-len(c.out))/c.maxFrame))
	var n int
	c.out, d.rest, n = amqp.AppendDelivery(c.out, session.channel, t, d.rest, c.maxFrame, most)
	session.windows.Sent(n)
}

// drained gives back the credit that is left.
func (s *Sender) drained() {
	s.count = s.limit
	s.drain = false
	f := s.s.windows.Flow()
	f.Handle, f.DeliveryCount, f.LinkCredit, f.Drain = amqp.Some(s.handle), amqp.Some(s.count), amqp.Some[uint32](0), true
	s.s.c.out = amqp.AppendFrame(s.s.c.out, s.s.channel, &f)
}
