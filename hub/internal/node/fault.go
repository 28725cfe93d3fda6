package node

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file misbehaves on purpose, for tests of clients.

// An Injector decides about deliveries. It is called concurrently.
type Injector interface {
	// Send is asked about each delivery for a partition before it is stored.
	Send(hub, partition string) Verdict
}

// Verdict is what shall happen to one delivery. The zero Verdict is nothing
// special.
type Verdict struct {
	// Refuse rejects the delivery with this error and does not store it.
	Refuse *amqp.Error
	// Drop does not store the delivery.
	Drop bool
	// StoreAfter stores it that much later.
	StoreAfter time.Duration
	// AnswerAfter holds the answer back.
	AnswerAfter time.Duration
	// Silent gives no answer at all.
	Silent bool
	// Cut cuts the connection, after storing if the delivery is stored at once.
	Cut bool
	// Detach detaches the link with this error instead of an answer.
	Detach *amqp.Error
}

func (v *Verdict) any() bool { return *v != Verdict{} }

// misbehave does with a delivery what the verdict says.
func (p *producer) misbehave(v Verdict, part *entity.Partition, entries []entity.Entry, d *delivery) {
	c := p.link.c
	c.log.Info("fault injected", "hub", p.hub.Name(), "partition", part.ID(), "verdict", v)
	answer := *d
	answer.payload = nil
	after := func(err error) {
		e := v.Refuse
		if err != nil {
			e = toAMQP(err)
		}
		switch {
		case v.Cut:
			c.cut()
		case v.Detach != nil:
			p.link.detach(v.Detach)
		case v.Silent:
		case v.AnswerAfter > 0:
			time.AfterFunc(v.AnswerAfter, func() { answer.settle(e) })
		default:
			answer.settle(e)
		}
	}
	switch {
	case v.Drop || v.Refuse != nil:
		after(nil)
	case v.StoreAfter > 0:
		held := cloneEntries(entries)
		time.AfterFunc(v.StoreAfter, func() {
			part.Submit(held, func(entity.Span, error) {})
		})
		after(nil)
	default:
		part.Submit(entries, func(_ entity.Span, err error) {
			// Not on the log's goroutine: cutting waits for locks.
			go after(err)
		})
	}
}

func cloneEntries(entries []entity.Entry) []entity.Entry {
	held := slices.Clone(entries)
	for i := range held {
		held[i].Key = bytes.Clone(held[i].Key)
		held[i].Publisher = bytes.Clone(held[i].Publisher)
		held[i].Message = bytes.Clone(held[i].Message)
	}
	return held
}

// CutAll cuts all connections at once and returns how many there were.
func (n *Node) CutAll() (count int) {
	n.each(func(c *conn) {
		count++
		c.cut()
	})
	return count
}

// DetachAll detaches the links whose clients send to or receive from the
// partition of the hub, and returns how many. Empty names stand for all.
func (n *Node) DetachAll(hub, partition string, e *amqp.Error) (count int) {
	n.each(func(c *conn) {
		c.mu.Lock()
		var hit []*link
		for l := range c.links {
			if l.want != 0 && matches(hub, l.address.Hub) && matches(partition, l.address.Partition) {
				hit = append(hit, l)
			}
		}
		c.mu.Unlock()
		for _, l := range hit {
			l.detach(e)
		}
		count += len(hit)
	})
	return count
}

func matches(want, name string) bool { return want == "" || strings.EqualFold(want, name) }
