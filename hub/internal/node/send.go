package node

import (
	"slices"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements links on which clients publish: to a hub, to one of its
// partitions, or as a publisher. A delivery is one event or one batch; it is
// stored in one partition, all of it or nothing, and accepted when it is
// durable. The reader does not wait for that.

// idempotentProducer is asked for by clients whose service shall recognise what
// they send twice.
const idempotentProducer amqp.Symbol = "com.microsoft:idempotent-producer"

// producerGrant is the credit of a publishing link.
const producerGrant = 1000

type producer struct {
	link      *link
	hub       *entity.Hub
	partition *entity.Partition // nil: the hub chooses
	publisher []byte
}

func (c *conn) attachProducer(l *link, a, reply *amqp.Attach) *amqp.Error {
	if slices.Contains(a.DesiredCapabilities, idempotentProducer) {
		// To take the link and not keep the promise would be worse.
		return refusal(amqp.ErrNotImplemented, "Idempotent publishing is not supported by this server.")
	}
	p := &producer{link: l}
	switch l.address.Kind {
	case entity.KindHub, entity.KindPartition, entity.KindPublisher:
	default:
		return notFound(c.ns, l.address.Path())
	}
	if err := c.ns.Allow(&c.claims, l.address, entity.Send); err != nil {
		return toAMQP(err)
	}
	var err error
	if p.hub, err = c.ns.Hub(l.address.Hub); err != nil {
		return toAMQP(err)
	}
	if l.address.Kind == entity.KindPartition {
		if p.partition, err = p.hub.Partition(l.address.Partition); err != nil {
			return toAMQP(err)
		}
	}
	p.publisher = []byte(l.address.Publisher)
	limit := c.ns.Limits().MessageBytes
	l.in = &inbound{take: p.take, limit: limit, grant: producerGrant}
	l.want = entity.Send
	l.until(p.hub.Deleted(), p.hub.Err)
	reply.SndSettleMode = amqp.Some(a.SndSettleMode.Or(amqp.SenderMixed))
	reply.MaxMessageSize = amqp.Some(atMost(limit, a.MaxMessageSize))
	return nil
}

// atMost is the smaller of our limit and the client's; 0 and null of the client
// mean that it has none.
func atMost(limit int, client amqp.Opt[uint64]) uint64 {
	if client.V == 0 {
		return uint64(limit)
	}
	return min(uint64(limit), client.V)
}

func notFound(ns *entity.Namespace, path string) *amqp.Error {
	return &amqp.Error{Condition: amqp.ErrNotFound, Description: "The messaging entity 'sb://" + ns.Name() + "/" + path + "' could not be found."}
}

// take stores one delivery.
func (p *producer) take(d *delivery) {
	c := p.link.c
	route, e := c.ingest.read(d.format, d.payload)
	if e != nil {
		d.settle(e)
		return
	}
	entries := c.ingest.entries
	if len(p.publisher) > 0 {
		route = key{text: p.publisher, ok: true}
		for i := range entries {
			entries[i].Key, entries[i].Publisher = p.publisher, p.publisher
			entries[i].Flags |= entity.FlagKey
		}
	}
	p.store(p.choose(route), entries, d)
}

// choose picks the partition of a delivery.
func (p *producer) choose(route key) *entity.Partition {
	switch {
	case p.partition != nil:
		return p.partition
	case route.ok:
		return p.hub.ForKey(string(route.text))
	}
	return p.hub.Next()
}

// store hands the entries to the partition and arranges for the answer.
func (p *producer) store(part *entity.Partition, entries []entity.Entry, d *delivery) {
	c, s := p.link.c, p.link.s
	if c.node.cfg.Faults != nil {
		if v := c.node.cfg.Faults.Send(p.hub.Name(), part.ID()); v.any() {
			p.misbehave(v, part, entries, d)
			return
		}
	}
	size, id, settled := len(d.payload), d.id, d.settled
	c.mu.Lock()
	c.pending += size
	c.mu.Unlock()
	part.Submit(entries, func(_ entity.Span, err error) {
		var e *amqp.Error
		if err != nil {
			e = toAMQP(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pending > c.lim.PendingBytes {
			c.space.Broadcast()
		}
		c.pending -= size
		if !settled {
			s.settleLocked(id, e)
		}
	})
}
