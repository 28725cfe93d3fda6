package amqpclient

import (
	"context"
	"fmt"

	"github.com/hubferry/hubferry/internal/amqp"
)

// link is what senders and receivers have in common. Exactly one of sender and receiver is
// set.
type link struct {
	s        *Session
	handle   uint32
	name     string
	sender   *Sender
	receiver *Receiver
	attached chan struct{} // closed when the peer has attached, and not refused
	done     chan struct{} // closed when the link is over

	// below c.mu
	answer     *amqp.Attach // of the peer
	err        error        // why the link is over
	detachSent bool
}

// attach opens a link: it takes a handle, sends a, and waits for the answer.
func (l *link) attach(ctx context.Context, s *Session, a *amqp.Attach) error {
	l.s, l.name = s, a.Name
	l.attached, l.done = make(chan struct{}), make(chan struct{})
	c := s.c
	c.mu.Lock()
	if err := s.usable(); err != nil {
		defer c.mu.Unlock()
		return err
	}
	for s.links[l.handle] != nil { // they end with the memory
		l.handle++
	}
	s.links[l.handle] = l
	a.Handle = l.handle
	c.post(s.channel, a)
	c.mu.Unlock()
	select {
	case <-l.attached:
		return nil
	case <-l.done:
		return l.reason()
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		l.leave()
		return context.Cause(ctx)
	}
}

// usable returns why the session can take no link. Called with mu held.
func (s *Session) usable() error {
	switch {
	case s.c.err != nil:
		return s.c.err
	case s.err != nil:
		return s.err
	case s.endSent:
		return &EndError{What: "session", Err: ErrClosed}
	}
	return nil
}

// reason returns why the link is over.
func (l *link) reason() error {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	return l.err
}

// endLocked makes the link over. Called with mu held.
func (l *link) endLocked(why *EndError) {
	if l.err != nil {
		return
	}
	l.err = why
	if l.sender != nil {
		l.sender.fail(why)
	}
	close(l.done)
}

// leave sends detach, once. The link is over at once, and its handle free when the peer has
// detached, too. Called with mu held.
func (l *link) leave() {
	l.endLocked(&EndError{What: "link", Err: ErrClosed})
	l.detach(nil)
}

// detach sends detach, once. Called with mu held.
func (l *link) detach(e *amqp.Error) {
	if !l.detachSent && !l.s.endSent && l.s.err == nil {
		l.detachSent = true
		l.s.c.post(l.s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: e})
	}
}

// Close detaches the link and does not wait for the peer.
func (l *link) Close() {
	l.s.c.mu.Lock()
	defer l.s.c.mu.Unlock()
	l.leave()
}

// Err returns why the link is over, an *EndError, or nil while it is not.
func (l *link) Err() error { return l.reason() }

func (s *Session) onAttach(f amqp.Frame) error {
	a := &amqp.Attach{}
	if _, err := a.Decode(f.Body); err != nil {
		return err
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var l *link
	for _, x := range s.links {
		if x.name == a.Name && x.answer == nil && (x.receiver != nil) != a.Receiver {
			l = x
		}
	}
	switch {
	case l == nil:
		return violation(fmt.Sprintf("it attaches the link %q, which nobody has asked for", a.Name))
	case s.byHandle[a.Handle] != nil:
		return violation("it attaches two links on one handle")
	}
	s.byHandle[a.Handle] = l
	l.answer = a
	refused := a.Source == nil && l.receiver != nil || a.Target == nil && !a.Coordinator && l.sender != nil
	if refused { // a detach follows, and says why
		return nil
	}
	if l.sender != nil {
		l.sender.maxMessage = a.MaxMessageSize.V
	} else {
		l.receiver.count = a.InitialDeliveryCount.V
	}
	close(l.attached)
	return nil
}

func (s *Session) onDetach(f amqp.Frame) error {
	var d amqp.Detach
	if _, err := d.Decode(f.Body); err != nil {
		return err
	}
	c := s.c
	l := s.byHandle[d.Handle]
	if l == nil {
		return violation("a detach for a handle that is not attached")
	}
	c.hand() // what came before stays before
	delete(s.byHandle, d.Handle)
	c.mu.Lock()
	defer c.mu.Unlock()
	l.endLocked(ended("link", d.Error))
	l.detach(nil)
	delete(s.links, l.handle)
	return nil
}
