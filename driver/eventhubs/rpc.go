package eventhubs

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"time"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// rpc is a pair of links to a node that answers requests: $cbs or $management. Several
// goroutines may call at once.
type rpc struct {
	node     string
	session  session
	sender   sender
	receiver receiver
	replyTo  string

	mu      sync.Mutex
	last    uint64
	pending map[string]chan reply
	err     error // why no more replies come
}

// request is a message to a node.
type request struct {
	id, replyTo string
	properties  ours.Map // application properties, by string keys
	value       any      // the body; nil: none
}

// append appends the request in its encoding.
func (r *request) append(dst []byte) ([]byte, error) {
	dst, err := ours.AppendValue(ours.AppendSection(dst, ours.CodeProperties), ours.List{r.id, nil, nil, nil, r.replyTo})
	if err != nil {
		return nil, err
	}
	if dst, err = ours.AppendValue(ours.AppendSection(dst, ours.CodeApplicationProperties), r.properties); err != nil || r.value == nil {
		return dst, err
	}
	return ours.AppendValue(ours.AppendSection(dst, ours.CodeValue), r.value)
}

// reply is a decoded answer, or why there is none.
type reply struct {
	status    int64
	text      string
	condition string
	body      ours.Map
	err       error
}

// rpcCredit is how many replies may be on their way.
const rpcCredit = 100

// openRPC opens the links. The replies are read by run.
func openRPC(ctx context.Context, t transport, node string) (*rpc, error) {
	session, err := t.Begin(ctx)
	if err != nil {
		return nil, err
	}
	r := &rpc{
		node: node, session: session, pending: map[string]chan reply{},
		replyTo: node + "-reply-to-" + rand.Text(),
	}
	if r.sender, err = session.Sender(ctx, linkOptions{address: node, settle: settleMixed}); err == nil {
		r.receiver, err = session.Receiver(ctx, linkOptions{address: node, target: r.replyTo, settle: settleSettled})
	}
	if err == nil {
		err = r.receiver.Credit(rpcCredit)
	}
	if err != nil {
		_ = session.Close(ctx)
		return nil, err
	}
	return r, nil
}

// run hands replies out until the link or the context ends.
func (r *rpc) run(ctx context.Context) {
	var replies [][]byte
	used := uint32(0)
	for {
		var err error
		if replies, err = r.receiver.Receive(ctx, replies); err == nil {
			if used += uint32(len(replies)); used >= rpcCredit/2 {
				err, used = r.receiver.Credit(used), 0
			}
		}
		for _, msg := range replies {
			r.answer(decodeMessage(msg))
		}
		if err != nil {
			r.fail(err)
			return
		}
	}
}

func (r *rpc) answer(id string, answer reply) {
	r.mu.Lock()
	ch := r.pending[id]
	delete(r.pending, id)
	r.mu.Unlock()
	if ch != nil { // otherwise the caller has given up
		ch <- answer
	}
}

// fail ends all calls that wait, and those to come.
func (r *rpc) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
	for id, ch := range r.pending {
		ch <- reply{err: err}
		delete(r.pending, id)
	}
}

// dead reports whether the links are gone.
func (r *rpc) dead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil
}

// call sends a request and waits for its reply. A reply that says no is an error.
func (r *rpc) call(ctx context.Context, value any, props ours.Map) (reply, error) {
	ch := make(chan reply, 1)
	r.mu.Lock()
	if r.err != nil {
		defer r.mu.Unlock()
		return reply{}, r.err
	}
	r.last++
	id := strconv.FormatUint(r.last, 10)
	r.pending[id] = ch
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.pending, id)
		r.mu.Unlock()
	}()
	if until, ok := ctx.Deadline(); ok {
		timeout := uint32(max(time.Until(until).Milliseconds(), 0))
		props = append(props, ours.Pair{Key: "server-timeout", Value: timeout})
	}
	if err := r.sender.SendRequest(ctx, &request{id: id, replyTo: r.replyTo, properties: props, value: value}); err != nil {
		return reply{}, err
	}
	select {
	case answer := <-ch:
		if answer.err != nil {
			return reply{}, answer.err
		}
		if answer.status < 200 || answer.status > 299 {
			return reply{}, &replyError{node: r.node, status: answer.status, condition: answer.condition, text: answer.text}
		}
		return answer, nil
	case <-ctx.Done():
		return reply{}, context.Cause(ctx)
	}
}

func (r *rpc) close(ctx context.Context) error { return r.session.Close(ctx) }

var errReply = errors.New("the reply is not well formed")

// decodeMessage returns the id of the request and the answer.
func decodeMessage(msg []byte) (id string, answer reply) {
	s, err := ours.Scan(msg)
	if err != nil {
		return "", reply{err: err}
	}
	fields, n, err := ours.ListSection(s.Properties.Of(msg))
	if err != nil {
		return "", reply{err: err}
	}
	const correlationField = 5
	for i := range n {
		v := fields.Value()
		if i == correlationField {
			id, _ = v.(string)
		}
	}
	props, n, err := ours.MapSection(s.ApplicationProperties.Of(msg))
	if err != nil {
		return id, reply{err: err}
	}
	for range n {
		name, value := props.Value(), props.Value()
		switch name {
		case "status-code", "statusCode":
			answer.status = asInt(value)
		case "status-description", "statusDescription":
			answer.text = asText(value)
		case "error-condition", "errorCondition":
			answer.condition = asText(value)
		}
	}
	if s.BodyCode == ours.CodeValue {
		d := ours.NewDecoder(s.Body.Of(msg))
		d.Descriptor()
		answer.body, _ = d.Value().(ours.Map)
	}
	if answer.status == 0 {
		answer.err = errReply
	}
	return id, answer
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case ours.Symbol:
		return string(v)
	}
	return ""
}

// asInt returns an integer of any width; anything else is 0.
func asInt(v any) int64 {
	switch v := v.(type) {
	case int32:
		return int64(v)
	case int64:
		return v
	case uint32:
		return int64(v)
	case uint64:
		return int64(v)
	case int16:
		return int64(v)
	case uint16:
		return int64(v)
	case int8:
		return int64(v)
	case uint8:
		return int64(v)
	case ours.Timestamp:
		return int64(v)
	}
	return 0
}
