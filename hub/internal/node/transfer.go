package node

import (
	"fmt"

	"github.com/hubferry/hubferry/internal/amqp"
)

// This file takes transfers from clients and puts deliveries of several frames
// together. It is liberal: ids may skip, tags may repeat, transfers may come
// without credit (all of this the Python client does).

func (c *conn) onTransfer(f amqp.Frame) error {
	var t amqp.Transfer
	payload, err := t.Decode(f.Body)
	if err != nil {
		return err
	}
	s, err := c.session(f)
	if s == nil {
		return err
	}
	s.count()
	l := s.links[t.Handle]
	switch {
	case l == nil:
		s.fault(amqp.ErrUnattachedHandle, "transfer for a handle that is not attached")
		return nil
	case l.isDetached():
		return nil // sent before our detach was seen
	case l.in == nil:
		s.fault(amqp.ErrErrantLink, "transfer on a link on which the client receives")
		return nil
	}
	return l.onTransfer(&t, payload)
}

// onTransfer handles one frame of a delivery.
func (l *link) onTransfer(t *amqp.Transfer, payload []byte) error {
	in := l.in
	if !in.partial {
		in.partial = true
		in.tooLarge = 0
		in.partID, in.format, in.isSettled = t.DeliveryID.V, t.MessageFormat.Or(amqp.FormatMessage), t.Settled
	}
	in.isSettled = in.isSettled || t.Settled
	if t.Aborted {
		l.endDelivery()
		return nil
	}
	whole := payload
	if t.More || len(in.part) > 0 {
		if err := l.gather(payload); err != nil {
			return err
		}
		whole = in.part
	}
	if t.More {
		return nil
	}
	d := &delivery{link: l, id: in.partID, format: in.format, settled: in.isSettled, payload: whole}
	if size := in.tooLarge + len(whole); size > in.limit {
		d.settle(&amqp.Error{Condition: amqp.ErrMessageSizeExceeded, Description: fmt.Sprintf(
			"The received message (delivery-id:%d, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.",
			d.id, size, in.limit)})
	} else {
		in.take(d)
	}
	l.endDelivery()
	return nil
}

// gather keeps a part of a delivery. What is beyond the limit is counted and
// thrown away.
func (l *link) gather(payload []byte) error {
	c, in := l.c, l.in
	if in.tooLarge > 0 || len(in.part)+len(payload) > in.limit {
		in.tooLarge += len(in.part) + len(payload)
		c.partBytes -= cap(in.part)
		in.part = nil
		return nil
	}
	before := cap(in.part)
	if in.part == nil {
		in.part = c.takePart()
	}
	in.part = append(in.part, payload...)
	c.partBytes += cap(in.part) - before
	if c.partBytes > c.lim.PendingBytes {
		return &violation{amqp.ErrResourceLimitExceeded, "too much in deliveries that are not complete"}
	}
	return nil
}

// partBuffer is memory that a large delivery was gathered in, for the next one: growing it anew
// for each would copy and clear its bytes twice.
type partBuffer struct{ b []byte }

// takePart returns such a buffer, unless it would count for too much of what the connection may
// gather, or nil.
func (c *conn) takePart() []byte {
	p, ok := c.node.parts.Get().(*partBuffer)
	if !ok || c.partBytes+cap(p.b) > c.lim.PendingBytes/2 {
		return nil
	}
	return p.b
}

// endDelivery makes the link ready for the next delivery and renews the
// client's credit when half of it is used.
func (l *link) endDelivery() {
	in := l.in
	in.partial = false
	l.c.partBytes -= cap(in.part)
	if in.part = in.part[:0]; cap(in.part) > keepBuffer {
		l.c.node.parts.Put(&partBuffer{in.part})
		in.part = nil
	}
	l.c.partBytes += cap(in.part)
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	in.count++
	if in.credit > 0 {
		in.credit--
	}
	if in.credit <= in.grant/2 {
		in.credit = in.grant
		l.markFlow()
	}
}
