package node

import (
	"sync"
	"sync/atomic"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements attach and detach for all kinds of links, and the flows
// of links.

// link is one link: either in (the client sends) or out (the client receives)
// is set. Fields below mu are guarded by conn.mu.
type link struct {
	c      *conn
	s      *session
	name   linkName
	handle uint32
	in     *inbound
	out    *outbound
	// address and want are what the client needs a claim for; want is 0 for
	// links that need none.
	address entity.Address
	want    entity.Rights
	// replyTo is how requests may name this link: target address or link name.
	replyTo string
	// closers run once, when the link ends.
	closers []func()
	once    sync.Once
	// ending, reason and gone belong to until.
	ending <-chan struct{}
	reason func() *entity.Error
	gone   chan struct{}

	queued atomic.Bool // stands in conn.ready

	// mu
	detached bool // detach was queued: no more frames for this handle
	flowDue  bool
	waits    bool // stands in session.waiting
}

// inbound is the half of a link on which the client sends.
type inbound struct {
	// take handles one whole delivery. It is called by the reader; the payload
	// is valid during the call.
	take func(d *delivery)
	// limit is the largest payload of a delivery.
	limit int
	// grant is how much credit the client gets at most.
	grant uint32

	// reader: a delivery that is not complete
	part      []byte
	partial   bool
	tooLarge  int // its size so far, when it is beyond the limit
	partID    uint32
	format    uint32
	isSettled bool

	// mu
	count  uint32 // delivery-count
	credit uint32
}

// delivery is a complete delivery of a client.
type delivery struct {
	link    *link
	id      uint32
	format  uint32
	settled bool
	payload []byte
}

// settle answers a delivery, unless the client does not want an answer.
func (d *delivery) settle(e *amqp.Error) {
	if !d.settled {
		d.link.s.settle(d.id, e)
	}
}

// A refusal is an answer to attach that gives no link.
func refusal(condition amqp.Symbol, text string) *amqp.Error {
	return &amqp.Error{Condition: condition, Description: text}
}

func (c *conn) onAttach(f amqp.Frame) error {
	a := &amqp.Attach{}
	if _, err := a.Decode(f.Body); err != nil {
		return err
	}
	s, err := c.session(f)
	if s == nil {
		return err
	}
	if a.Handle > handleMax {
		return protocolError("handle %d is above %d", a.Handle, handleMax)
	}
	if old := s.links[a.Handle]; old != nil {
		if !old.isDetached() {
			s.fault(amqp.ErrHandleInUse, "the handle is in use")
			return nil
		}
		old.release()
	}
	l := &link{c: c, s: s, handle: a.Handle, name: linkName{a.Name, a.Receiver}}
	if old := c.names[l.name]; old != nil {
		old.detach(refusal(amqp.ErrLinkStolen, "A link of the same name was attached on this connection."))
		old.release()
	}
	s.links[a.Handle] = l
	reply, e := c.attach(l, a)
	if e != nil {
		c.refuse(l, a, e)
		return nil
	}
	c.names[l.name] = l
	c.activate(l, reply)
	return nil
}

// attach makes the link that a asks for. It fills in the reply, except for what
// is echoed.
func (c *conn) attach(l *link, a *amqp.Attach) (*amqp.Attach, *amqp.Error) {
	c.mu.Lock()
	open := len(c.links)
	c.mu.Unlock()
	if open >= c.lim.Links {
		return nil, refusal(amqp.ErrResourceLimitExceeded, "The connection has too many links.")
	}
	if a.Coordinator {
		return nil, refusal(amqp.ErrNotImplemented, "Transactions are not supported.")
	}
	reply := &amqp.Attach{
		Name: a.Name, Handle: a.Handle, Receiver: !a.Receiver,
		SndSettleMode: a.SndSettleMode, RcvSettleMode: amqp.Some(a.RcvSettleMode.Or(amqp.ReceiverFirst)),
		Source: orEmpty(a.Source), Target: orEmpty(a.Target),
		Properties: amqp.Map{},
	}
	address := reply.Target.Address
	if a.Receiver {
		address = reply.Source.Address
		reply.InitialDeliveryCount = amqp.Some[uint32](0)
	}
	l.address = entity.ParseAddress(address)
	var e *amqp.Error
	switch {
	case l.address.Kind == entity.KindCBS || l.address.Kind == entity.KindManagement:
		e = c.attachNode(l, a, reply)
	case a.Receiver:
		e = c.attachConsumer(l, a, reply)
	default:
		e = c.attachProducer(l, a, reply)
	}
	return reply, e
}

func orEmpty[T any](v *T) *T {
	if v == nil {
		return new(T)
	}
	return v
}

// activate answers a successful attach and lets the link run. A producer gets
// its credit right behind: the JavaScript client waits for it for one second.
func (c *conn) activate(l *link, reply *amqp.Attach) {
	c.mu.Lock()
	c.links[l] = struct{}{}
	c.postLocked(l.s.channel, reply)
	if l.in != nil {
		l.in.credit = l.in.grant
		l.markFlow()
	}
	c.mu.Unlock()
	if l.ending != nil {
		go l.await()
	}
}

// until detaches the link when done is closed, with the error that reason then
// gives. It is called before the link is active.
func (l *link) until(done <-chan struct{}, reason func() *entity.Error) {
	l.ending, l.reason = done, reason
	l.gone = make(chan struct{})
	l.closers = append(l.closers, func() { close(l.gone) })
}

// await runs on its own goroutine for each link that until was called for.
func (l *link) await() {
	select {
	case <-l.ending:
		if e := l.reason(); e != nil {
			l.detach(toAMQP(e))
		}
	case <-l.gone:
	}
}

// refuse answers an attach with a null terminus and a detach that says why. The
// Go client takes only this pair for a permanent refusal.
func (c *conn) refuse(l *link, a *amqp.Attach, e *amqp.Error) {
	l.release()
	reply := &amqp.Attach{
		Name: a.Name, Handle: a.Handle, Receiver: !a.Receiver,
		SndSettleMode: a.SndSettleMode, RcvSettleMode: amqp.Some(a.RcvSettleMode.Or(amqp.ReceiverFirst)),
		Properties: amqp.Map{},
	}
	if a.Receiver {
		reply.Target = orEmpty(a.Target)
		reply.InitialDeliveryCount = amqp.Some[uint32](0)
	} else {
		reply.Source = orEmpty(a.Source)
		reply.MaxMessageSize = amqp.Some(uint64(c.ns.Limits().MessageBytes))
	}
	c.log.Info("link refused", "address", l.address.Path(), "error", e)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.postLocked(l.s.channel, reply)
	c.postLocked(l.s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: e})
	l.detached = true
}

// detach ends the link from our side. It may be called from everywhere; only
// the first detach of a link counts. The client's own detach is awaited before
// the handle is free again.
func (l *link) detach(e *amqp.Error) {
	l.c.mu.Lock()
	if l.detached || l.s.ended {
		l.c.mu.Unlock()
		return
	}
	l.detached = true
	l.c.postLocked(l.s.channel, &amqp.Detach{Handle: l.handle, Closed: true, Error: e})
	if l.s.partial == l {
		l.c.setReady(l) // the writer cleans up
	}
	l.c.mu.Unlock()
	if e != nil {
		l.c.log.Info("link detached", "address", l.address.Path(), "error", e)
	}
	l.close()
}

func (l *link) isDetached() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	return l.detached
}

func (c *conn) onDetach(f amqp.Frame) error {
	var d amqp.Detach
	if _, err := d.Decode(f.Body); err != nil {
		return err
	}
	s, err := c.session(f)
	if s == nil {
		return err
	}
	l := s.links[d.Handle]
	if l == nil {
		s.fault(amqp.ErrUnattachedHandle, "detach of a handle that is not attached")
		return nil
	}
	l.release()
	delete(s.links, d.Handle)
	l.detach(nil)
	return nil
}

// release frees what the link holds for the reader, and the rest.
func (l *link) release() {
	c := l.c
	if c.names[l.name] == l {
		delete(c.names, l.name)
	}
	for i := range c.cbs {
		if c.cbs[i] == l {
			c.cbs[i] = nil
		}
	}
	if l.in != nil {
		c.partBytes -= cap(l.in.part)
		l.in.part = nil
	}
	l.close()
}

// close frees what the link holds elsewhere: its place in a consumer group, its
// watch on a partition. It may be called from everywhere.
func (l *link) close() {
	l.once.Do(func() {
		for _, f := range l.closers {
			f()
		}
		l.c.mu.Lock()
		delete(l.c.links, l)
		l.c.mu.Unlock()
	})
}

// patrol looks for links whose claims have run out. The writer calls it when it
// has been idle, at most once per heartbeat: the service is lenient about this
// too, and a client that refreshes late must not be cut for it.
func (c *conn) patrol() {
	c.mu.Lock()
	var due []*link
	for l := range c.links {
		if l.want != 0 {
			due = append(due, l)
		}
	}
	c.mu.Unlock()
	for _, l := range due {
		if err := c.ns.Allow(&c.claims, l.address, l.want); err != nil {
			l.detach(toAMQP(err))
		}
	}
}

// onFlow takes over the client's flow of this link.
func (l *link) onFlow(flow *amqp.Flow) {
	c := l.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.detached {
		return
	}
	if o := l.out; o != nil && flow.LinkCredit.OK {
		o.limit = flow.DeliveryCount.Or(0) + amqp.Ahead(flow.LinkCredit.V)
		o.drain = flow.Drain
		c.setReady(l)
		if o.drain && o.credit() == 0 {
			l.markFlow() // nothing to drain, and the client waits for an answer
		}
	}
	// Credit that a sender claims to have is not its to give. (The Python client
	// sends such flows.)
	if flow.Echo {
		l.markFlow()
	}
}

// markFlow asks the writer for a flow of this link. Called with mu held.
func (l *link) markFlow() {
	if !l.flowDue && !l.detached {
		l.flowDue = true
		l.s.flowLinks = append(l.s.flowLinks, l)
	}
	l.s.mark()
}

// flow makes the link's flow. Called with mu held.
func (l *link) flow() *amqp.Flow {
	f := l.s.windows.Flow()
	f.Handle = amqp.Some(l.handle)
	if l.in != nil {
		f.DeliveryCount = amqp.Some(l.in.count)
		f.LinkCredit = amqp.Some(l.in.credit)
		return &f
	}
	f.DeliveryCount = amqp.Some(l.out.sent)
	f.LinkCredit = amqp.Some(uint32(l.out.credit()))
	f.Available = amqp.Some[uint32](0)
	f.Drain = l.out.drain
	return &f
}
