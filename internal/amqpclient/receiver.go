package amqpclient

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	// maxShared is the largest allocation that messages share.
	maxShared = 32 << 10
	// maxMessage is beyond what any service allows.
	maxMessage = 64 << 20
)

// ReceiverOptions say how to attach a link on which we receive.
type ReceiverOptions struct {
	Name    string
	Address string
	// Target names us; it is the address that replies are sent to.
	Target string
	// Limit bounds how many bytes may be on their way or wait, see Receiver.Limit; 0 does not.
	Limit int64
	// Settle is the mode that the peer is asked for: amqp.SenderSettled and so on.
	Settle              amqp.Opt[uint8]
	Filter              amqp.Map
	Properties          amqp.Map
	DesiredCapabilities []amqp.Symbol
}

// Receiver is a link on which we receive. Receive and Take are used by one goroutine at a
// time; the rest may be used by several.
type Receiver struct {
	link
	arrived chan struct{} // has an element when there may be something in waiting

	// reader
	shared  []byte   // allocation for messages that come together
	part    []byte   // of a delivery of several frames
	partial bool     // one is under way
	id      uint32   // of the delivery under way
	owed    bool     // the peer has not settled it itself
	fresh   [][]byte // from what was read last
	bytes   int64    // of them
	large   int      // how large the last message of several frames was

	mu      sync.Mutex // not Conn.mu
	waiting [][]byte

	// below Conn.mu
	count   uint32 // delivery-count
	credit  uint32
	flowDue bool
}

// NewReceiver attaches a link, without credit. Its name is one that no other receiver of the
// connection has.
func (s *Session) NewReceiver(ctx context.Context, o ReceiverOptions) (*Receiver, error) {
	l := &Receiver{arrived: make(chan struct{}, 1)}
	l.receiver = l
	a := &amqp.Attach{
		Name: o.Name, Receiver: true,
		SndSettleMode: o.Settle, RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
		Source: &amqp.Source{Address: o.Address, Filter: o.Filter}, Target: &amqp.Target{Address: o.Target},
		Properties: o.Properties, DesiredCapabilities: o.DesiredCapabilities,
	}
	if err := l.attach(ctx, s, a); err != nil {
		return nil, err
	}
	if o.Limit > 0 {
		l.bound(o.Limit)
	}
	return l, nil
}

// bound bounds what the session may bring, before there is any credit.
func (r *Receiver) bound(limit int64) {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	r.s.bounded, r.s.bytes = r, amqp.NewByteWindow(MaxFrame)
	r.s.bytes.Limit(limit)
	r.s.windows.Bound(r.s.bytes)
}

// Limit says anew how many bytes may be on their way or wait, and accounts for so many bytes
// of messages that were taken and that the caller holds no more. It is for a receiver that was
// made with a limit, which is the only one of its session. A message that is larger comes all
// the same, alone.
func (r *Receiver) Limit(limit, done int64) {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.s.bounded != r {
		return
	}
	r.s.bytes.Limit(limit)
	r.s.bytes.Done(done)
	if r.err == nil && r.s.bytes.Due() {
		r.s.markFlow()
	}
}

// Credit allows the peer to send n messages more.
func (r *Receiver) Credit(n uint32) error {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.credit += n
	r.markFlow()
	return nil
}

// markFlow has the writer send a flow of the link. Called with Conn.mu held.
func (r *Receiver) markFlow() {
	if !r.flowDue {
		r.flowDue = true
		r.s.flowLinks = append(r.s.flowLinks, r)
	}
	r.s.mark()
}

// flow makes the link's flow. Called with Conn.mu held.
func (r *Receiver) flow() *amqp.Flow {
	f := r.s.windows.Flow()
	f.Handle = amqp.Some(r.handle)
	f.DeliveryCount, f.LinkCredit = amqp.Some(r.count), amqp.Some(r.credit)
	return &f
}

// Receive waits until there are messages and returns all there are. The list of them is the
// caller's until he hands it over, or another, as spare at the next call. When the link is
// over, what came before that is delivered first.
func (r *Receiver) Receive(ctx context.Context, spare [][]byte) ([][]byte, error) {
	for {
		if got := r.Take(spare); len(got) > 0 {
			return got, nil
		}
		select {
		case <-r.arrived:
		case <-r.done:
			if got := r.Take(spare); len(got) > 0 {
				return got, nil
			}
			return nil, r.reason()
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Take is Receive without waiting.
func (r *Receiver) Take(spare [][]byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting) == 0 {
		return spare[:0]
	}
	got := r.waiting
	r.waiting = spare[:0]
	return got
}

func (c *Conn) onTransfer(f amqp.Frame) error {
	var t amqp.Transfer
	payload, err := t.Decode(f.Body)
	if err != nil {
		return err
	}
	s := c.byPeer[f.Channel]
	if s == nil {
		return violation("a transfer on a channel without a session")
	}
	if s.fresh++; s.fresh == 1 {
		c.active = append(c.active, s)
	}
	l := s.byHandle[t.Handle]
	if l == nil || l.receiver == nil {
		return violation("a transfer for a handle on which we do not receive")
	}
	return l.receiver.onTransfer(&t, payload)
}

// onTransfer handles one frame of a delivery.
func (r *Receiver) onTransfer(t *amqp.Transfer, payload []byte) error {
	first := !r.partial
	if first {
		r.id, r.owed = t.DeliveryID.V, !t.Settled
	}
	r.partial = t.More && !t.Aborted
	switch {
	case first && !t.More && !t.Aborted:
		r.deliver(r.keep(payload))
	case !r.gathers(first, t.Aborted):
		r.part = nil
		return nil
	case len(r.part)+len(payload) > maxMessage:
		return errTooLarge
	default:
		if r.part == nil {
			r.part = make([]byte, 0, max(len(payload), r.large)) // they often are alike
		}
		r.part = append(r.part, payload...)
		if t.More {
			return nil
		}
		r.large = len(r.part)
		r.deliver(fitted(r.part))
		r.part = nil
	}
	if r.owed {
		r.settle(r.id)
	}
	return nil
}

// gathers reports whether a frame of a delivery of several, or of an aborted one, is wanted:
// nothing is gathered for a link that is over, nor beyond the credit.
func (r *Receiver) gathers(first, aborted bool) bool {
	c := r.s.c
	c.mu.Lock()
	over := first && r.err == nil && uint32(len(r.fresh)) >= r.credit
	c.mu.Unlock()
	if over {
		c.hand() // what came before stays before
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case r.err != nil:
		return false
	case over:
		r.overrun()
		return false
	case aborted:
		// The peer has counted it, and nobody gives credit for what he has not got.
		r.count++
		r.markFlow()
		return false
	}
	return true
}

// overrun ends the link of a peer that sends without credit. Called with Conn.mu held.
func (r *Receiver) overrun() {
	r.endLocked(&EndError{What: "link", Err: errCredit})
	r.detach(&amqp.Error{Condition: amqp.ErrTransferLimit, Description: errCredit.Error()})
}

// settle has the writer accept a delivery that the peer has not settled itself, unless it is
// one that hand drops.
func (r *Receiver) settle(id uint32) {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.err != nil || uint32(len(r.fresh)) > r.credit {
		return
	}
	r.s.accepted = appendID(r.s.accepted, id)
	r.s.markSettled()
}

// keep copies a message out of the buffer of the reader.
func (r *Receiver) keep(payload []byte) []byte {
	if len(payload) > cap(r.shared)-len(r.shared) {
		// What follows at once, likely on this link, shares the allocation.
		ahead := r.s.c.frames.Buffered()
		r.shared = make([]byte, 0, max(len(payload), min(len(payload)+ahead, maxShared)))
	}
	start := len(r.shared)
	r.shared = append(r.shared, payload...)
	return r.shared[start:len(r.shared):len(r.shared)]
}

// fitted is a message in memory that is not much larger.
func fitted(message []byte) []byte {
	if cap(message)-len(message) <= len(message)/4 {
		return message
	}
	return append(make([]byte, 0, len(message)), message...)
}

// deliver gathers a message until hand.
func (r *Receiver) deliver(message []byte) {
	r.bytes += int64(len(message))
	if len(r.fresh) == 0 {
		r.s.c.touched = append(r.s.c.touched, r)
	}
	r.fresh = append(r.fresh, message)
}

// hand passes what has been gathered to Receive. The reader calls it.
func (r *Receiver) hand() {
	r.mu.Lock()
	r.waiting = append(r.waiting, r.fresh[:r.admit(len(r.fresh))]...)
	r.mu.Unlock()
	clear(r.fresh)
	r.fresh = r.fresh[:0]
	select {
	case r.arrived <- struct{}{}:
	default:
	}
}

// admit accounts for n deliveries that came, and returns how many of them, the first ones, are
// for the user. After the end of the link, and beyond its credit, none is: a peer may go on for
// as long as it likes, and nobody takes what waits.
func (r *Receiver) admit(n int) int {
	c := r.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.err != nil {
		return 0
	}
	most := min(uint32(n), r.credit)
	r.count += uint32(n)
	r.credit -= most
	if int(most) < n {
		r.overrun()
	}
	return int(most)
}
