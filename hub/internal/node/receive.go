package node

import (
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements links on which clients receive: one partition of a hub
// for one consumer group. The start is fixed before the attach is answered, so
// that an event published right after the answer is behind "latest". Events are
// sent settled, one per delivery.

const (
	filterName    = "apache.org:selector-filter:string"
	propEpoch     = "com.microsoft:epoch"
	propReceiver  = "com.microsoft:receiver-name"
	runtimeMetric = amqp.Symbol("com.microsoft:enable-receiver-runtime-metric")
)

// feed is where the events of a receiving link come from. It belongs to the
// writer.
type feed struct {
	partition *entity.Partition
	start     entity.Start
	next      int64
	metric    bool
}

func (c *conn) attachConsumer(l *link, a, reply *amqp.Attach) *amqp.Error {
	if l.address.Kind != entity.KindGroupPartition {
		return notFound(c.ns, l.address.Path())
	}
	if err := c.ns.Allow(&c.claims, l.address, entity.Listen); err != nil {
		return toAMQP(err)
	}
	hub, err := c.ns.Hub(l.address.Hub)
	if err != nil {
		return toAMQP(err)
	}
	group, err := hub.Group(l.address.Group)
	if err != nil {
		return toAMQP(err)
	}
	part, err := hub.Partition(l.address.Partition)
	if err != nil {
		return toAMQP(err)
	}
	f := &feed{partition: part}
	if f.start, err = filterOf(a.Source); err != nil {
		return toAMQP(err)
	}
	options, e := receiverOptions(a.Properties)
	if e != nil {
		return e
	}
	if f.next, err = part.Resolve(f.start); err != nil {
		return toAMQP(err)
	}
	receiver, err := group.Attach(part, options)
	if err != nil {
		return toAMQP(err)
	}
	for _, capability := range a.DesiredCapabilities {
		if capability == runtimeMetric {
			f.metric = true
			reply.OfferedCapabilities = []amqp.Symbol{runtimeMetric}
		}
	}
	l.out = &outbound{feed: f}
	l.want = entity.Listen
	l.closers = append(l.closers, receiver.Close, part.Watch(func() { c.setReady(l) }))
	l.until(receiver.Done(), receiver.Err)
	reply.SndSettleMode = amqp.Some(a.SndSettleMode.Or(amqp.SenderSettled))
	// Room for the annotations that we add: the Go client holds us to this.
	reply.MaxMessageSize = amqp.Some(atMost(2*c.ns.Limits().MessageBytes, a.MaxMessageSize))
	return nil
}

// filterOf reads the start position from a source. The descriptor differs from
// client to client and says nothing.
func filterOf(s *amqp.Source) (entity.Start, error) {
	if s == nil {
		return entity.Start{Kind: entity.StartEarliest}, nil
	}
	v, _ := s.Filter.Get(filterName)
	if described, ok := v.(amqp.Described); ok {
		v = described.Value
	}
	switch v := v.(type) {
	case string:
		return entity.ParseFilter(v)
	case amqp.Symbol:
		return entity.ParseFilter(string(v))
	case nil:
		return entity.Start{Kind: entity.StartEarliest}, nil
	}
	return entity.Start{}, &entity.Error{Condition: entity.InvalidField, Text: "The filter " + filterName + " is not a string.", Status: 400}
}

func receiverOptions(properties amqp.Map) (o entity.ReceiverOptions, e *amqp.Error) {
	if v, ok := properties.Get(propReceiver); ok {
		o.Name, _ = v.(string)
	}
	v, ok := properties.Get(propEpoch)
	if !ok || v == nil {
		return o, nil
	}
	raw, err := amqp.AppendValue(nil, v)
	d := amqp.NewDecoder(raw)
	o.Epoch, o.HasEpoch = d.Int(), true
	if err != nil || d.Err() != nil || o.Epoch < 0 {
		return o, &amqp.Error{Condition: amqp.ErrArgumentError, Description: "The property " + propEpoch + " must be a non-negative long."}
	}
	return o, nil
}

// pumpFeed sends what is there, as far as credit and window go, and reports
// whether there is more to do now.
func (l *link) pumpFeed(r *run) (more bool) {
	c, f := l.c, l.out.feed
	start := len(c.out)
	room := max(writeQuantum-start, 16<<10)
	if err := f.partition.Read(f.next, room, min(r.credit, r.window, maxRun), &c.batch); err != nil {
		if e := l.reason(); e != nil { // the hub is gone, say: more to the point
			err = e
		}
		l.detach(toAMQP(err))
		return false
	}
	records := c.batch.Records
	head := header{link: l}
	if f.metric && len(records) > 0 {
		head.metric = f.partition.Info()
		head.now = time.Now()
	}
	for i := range records {
		rec := &records[i]
		if !f.start.Skips(rec) {
			if r.frames == r.window {
				return true // unless the end of the run finds the window empty still
			}
			head.send(r, rec)
		}
		f.next = rec.Sequence + 1
		if len(l.out.rest) > 0 {
			return false
		}
	}
	f.next = max(f.next, c.batch.Next)
	r.atEnd = len(records) == 0
	return !r.atEnd
}

// maxRun bounds the records of one run of a link, for fairness among links.
const maxRun = 1000
