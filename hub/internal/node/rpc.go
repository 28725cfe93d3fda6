package node

import (
	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements the request-response pattern of $cbs and $management: a
// pair of links in one session, answers correlated by message id. The answer
// goes to the receiving link on the same node in the same session; reply-to
// only chooses between several (the Python client sends none, the Java client
// sends the same on every connection).

const (
	requestGrant = 100
	requestBytes = 256 << 10
	// maxReplies wait for credit on one link before it is detached.
	maxReplies = 256
)

func (c *conn) attachNode(l *link, a, reply *amqp.Attach) *amqp.Error {
	if l.address.Kind == entity.KindCBS {
		slot := &c.cbs[0]
		if a.Receiver {
			slot = &c.cbs[1]
		}
		if *slot != nil {
			// The Go client counts on this to notice a link that it has lost.
			return refusal(amqp.ErrNotAllowed, "Only one $cbs link of each direction is allowed on a connection.")
		}
		*slot = l
	}
	if a.Receiver {
		l.out = &outbound{}
		l.replyTo = reply.Target.Address
		reply.SndSettleMode = amqp.Some(a.SndSettleMode.Or(amqp.SenderSettled))
		reply.MaxMessageSize = amqp.Some(atMost(2*c.ns.Limits().MessageBytes, a.MaxMessageSize))
		return nil
	}
	take := c.management
	if l.address.Kind == entity.KindCBS {
		take = c.putToken
	}
	l.in = &inbound{limit: requestBytes, grant: requestGrant, take: func(d *delivery) { c.serveRequest(d, take) }}
	reply.SndSettleMode = amqp.Some(a.SndSettleMode.Or(amqp.SenderMixed))
	reply.MaxMessageSize = amqp.Some(atMost(requestBytes, a.MaxMessageSize))
	return nil
}

// request is what is used of a request message. The bytes point into the
// payload.
type request struct {
	id      amqp.Raw // message-id with its type; null if absent
	replyTo string
	props   amqp.Map
	body    string
}

// response is the outcome of a request.
type response struct {
	status      int32
	description string
	condition   amqp.Symbol // of an error
	body        []byte      // an encoded value; nil is null
}

func failure(err error) response {
	e := entity.AsError(err)
	return response{status: int32(e.Status), description: e.Text, condition: amqp.Symbol(e.Condition)}
}

func badRequest(text string) response {
	return response{status: 400, description: text, condition: amqp.ErrArgumentError}
}

// serveRequest answers one request.
func (c *conn) serveRequest(d *delivery, take func(*request) response) {
	r, err := parseRequest(d.payload)
	if err != nil {
		d.settle(decodeError(err))
		return
	}
	d.settle(nil)
	out := take(r)
	if l := d.link.replyLink(r.replyTo); l != nil {
		l.enqueue(out.message(r.id))
	} else {
		c.log.Debug("no link for the reply", "node", d.link.address.Path())
	}
}

func parseRequest(payload []byte) (*request, error) {
	s, err := amqp.Scan(payload)
	if err != nil {
		return nil, err
	}
	r := &request{id: amqp.Raw{byte(amqp.CodeNull)}}
	fields, n, err := amqp.ListSection(s.Properties.Of(payload))
	if err != nil {
		return nil, err
	}
	for i := range n {
		switch i {
		case 0:
			r.id = append(amqp.Raw(nil), fields.Raw()...)
		case 4:
			if !fields.Null() {
				r.replyTo = string(fields.Text())
			}
		default:
			fields.Skip()
		}
	}
	if err := fields.Err(); err != nil {
		return nil, err
	}
	if !s.ApplicationProperties.Empty() {
		d := amqp.NewDecoder(s.ApplicationProperties.Of(payload))
		d.Descriptor()
		r.props, _ = d.Value().(amqp.Map)
	}
	d := amqp.NewDecoder(s.Body.Of(payload))
	if s.BodyCount == 1 {
		d.Descriptor()
		switch v := d.Value().(type) {
		case string:
			r.body = v
		case []byte:
			r.body = string(v)
		}
	}
	return r, nil
}

// text returns an application property that is a string, or "".
func (r *request) text(name string) string {
	v, _ := r.props.Get(name)
	switch v := v.(type) {
	case string:
		return v
	case amqp.Symbol:
		return string(v)
	}
	return ""
}

// replyLink finds the link for an answer to a request on l.
func (l *link) replyLink(replyTo string) (found *link) {
	for _, other := range l.s.links {
		if other.out == nil || other.out.feed != nil || other.address.Kind != l.address.Kind || other.isDetached() {
			continue
		}
		if found == nil || replyTo != "" && (other.replyTo == replyTo || other.name.name == replyTo) {
			found = other
		}
	}
	return found
}

// enqueue sends a reply when there is credit.
func (l *link) enqueue(message reply) {
	l.c.mu.Lock()
	l.out.queue = append(l.out.queue, message)
	full := len(l.out.queue) > maxReplies
	l.c.mu.Unlock()
	if full {
		l.detach(refusal(amqp.ErrResourceLimitExceeded, "Too many replies wait for credit."))
		return
	}
	l.c.setReady(l)
}

// message encodes a reply. The correlation id has the type of the message id:
// Go wants its string back and Java its number.
func (r *response) message(id amqp.Raw) reply {
	b := amqp.AppendSection(nil, amqp.CodeProperties)
	b, mark := amqp.BeginList(b, 13)
	for i := range 13 {
		if i == 5 {
			b = append(b, id...)
		} else {
			b = amqp.AppendNull(b)
		}
	}
	b = amqp.EndList(b, mark)
	n := 2
	if r.condition != "" {
		n++
	}
	b, mark = amqp.BeginMap(amqp.AppendSection(b, amqp.CodeApplicationProperties), n)
	b = amqp.AppendInt(amqp.AppendString(b, "status-code"), r.status)
	b = amqp.AppendString(amqp.AppendString(b, "status-description"), r.description)
	if r.condition != "" {
		b = amqp.AppendSymbol(amqp.AppendString(b, "error-condition"), r.condition)
	}
	b = amqp.AppendSection(amqp.EndMap(b, mark), amqp.CodeValue)
	if r.body == nil {
		return amqp.AppendNull(b)
	}
	return append(b, r.body...)
}
