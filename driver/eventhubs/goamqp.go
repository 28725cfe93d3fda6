package eventhubs

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/Azure/go-amqp"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// This file is the transport on Azure's library. What it would decode passes it undecoded:
// see wire.go.

type goAMQP struct {
	conn *amqp.Conn
	wire *wire
}

func openGoAMQP(ctx context.Context, nc net.Conn, o *openOptions) (transport, error) {
	t := &goAMQP{wire: newWire(nc, o.trace)}
	properties := map[string]any{}
	for _, p := range o.properties {
		if name, ok := p.Key.(ours.Symbol); ok {
			properties[string(name)] = p.Value
		}
	}
	var err error
	t.conn, err = amqp.NewConn(ctx, t.wire, &amqp.ConnOptions{
		ContainerID: o.container, HostName: o.hostname, IdleTimeout: o.idle, MaxFrameSize: maxFrame,
		SASLType: amqp.SASLTypeAnonymous(), Properties: properties,
	})
	if err != nil {
		_ = nc.Close()
		return nil, translate(err)
	}
	return t, nil
}

func (t *goAMQP) Done() <-chan struct{} { return t.conn.Done() }

func (t *goAMQP) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = t.wire.Close() })
	defer stop()
	return t.conn.Close()
}

func (t *goAMQP) Begin(ctx context.Context) (session, error) {
	s, err := t.conn.NewSession(ctx, nil)
	if err != nil {
		return nil, translate(err)
	}
	return goAMQPSession{s, t.wire}, nil
}

type goAMQPSession struct {
	s    *amqp.Session
	wire *wire
}

func (s goAMQPSession) Close(ctx context.Context) error { return s.s.Close(ctx) }

func (s goAMQPSession) Sender(ctx context.Context, o linkOptions) (sender, error) {
	options := &amqp.SenderOptions{
		RequestedReceiverSettleMode: amqp.ReceiverSettleModeFirst.Ptr(),
		DesiredCapabilities:         texts(o.capabilities),
	}
	if o.settle.OK {
		options.SettlementMode = amqp.SenderSettleMode(o.settle.V).Ptr()
	}
	l, err := s.s.NewSender(ctx, o.address, options)
	if err != nil {
		return nil, translate(err)
	}
	return goAMQPSender{l}, nil
}

func (s goAMQPSession) Receiver(ctx context.Context, o linkOptions) (receiver, error) {
	options := &amqp.ReceiverOptions{
		Name:                linkName(),
		Credit:              -1, // issued by us
		TargetAddress:       o.target,
		SettlementMode:      amqp.ReceiverSettleModeFirst.Ptr(),
		DesiredCapabilities: texts(o.capabilities),
	}
	if o.settle.OK {
		options.RequestedSenderSettleMode = amqp.SenderSettleMode(o.settle.V).Ptr()
	}
	if o.selector != "" {
		options.Filters = []amqp.LinkFilter{amqp.NewSelectorFilter(o.selector)}
	}
	if len(o.properties) > 0 {
		options.Properties = map[string]any{}
		for _, p := range o.properties {
			if name, ok := p.Key.(ours.Symbol); ok {
				options.Properties[string(name)] = p.Value
			}
		}
	}
	var b *bound
	if o.limit > 0 {
		b = s.wire.merges.bound(options.Name, o.limit)
		defer s.wire.merges.forget(options.Name)
	}
	l, err := s.s.NewReceiver(ctx, o.address, options)
	if err != nil {
		return nil, translate(err)
	}
	return goAMQPReceiver{r: l, wire: s.wire, bound: b}, nil
}

func texts(symbols []ours.Symbol) []string {
	out := make([]string, len(symbols))
	for i, s := range symbols {
		out[i] = string(s)
	}
	return out
}

type goAMQPReceiver struct {
	r     *amqp.Receiver
	wire  *wire
	bound *bound
}

func (r goAMQPReceiver) Receive(ctx context.Context, spare [][]byte) ([][]byte, error) {
	m, err := r.r.Receive(ctx, nil)
	if err != nil {
		return nil, translate(err)
	}
	return slices.AppendSeq(spare[:0], messages(m)), nil
}

func (r goAMQPReceiver) Take(spare [][]byte) [][]byte {
	if m := r.r.Prefetched(); m != nil {
		return slices.AppendSeq(spare[:0], messages(m))
	}
	return nil
}

func (r goAMQPReceiver) Credit(n uint32) error { return translate(r.r.IssueCredit(n)) }

func (r goAMQPReceiver) Limit(limit, done int64) {
	if r.bound != nil {
		r.wire.limit(r.bound, limit, done)
	}
}

type goAMQPSender struct{ s *amqp.Sender }

func (s goAMQPSender) MaxMessageSize() uint64 { return s.s.MaxMessageSize() }

// Alive asks what go-amqp offers no question for. But it looks at the link before it looks at
// the message: of a message that can never be sent (its tag is too long) it complains only if
// the link is alive.
func (s goAMQPSender) Alive(ctx context.Context) bool {
	_, err := s.s.SendWithReceipt(ctx, &amqp.Message{DeliveryTag: make([]byte, 33)}, nil)
	local, ok := err.(*amqp.Error) //nolint:errorlint // wrapped, it would be the peer's
	return ok && local.Condition == amqp.ErrCondMessageSizeExceeded
}

func (s goAMQPSender) SendBatch(ctx context.Context, batch []byte) (outcome ours.State, sent bool, err error) {
	data := slices.Collect(ours.BatchMessages(batch))
	receipt, err := s.s.SendWithReceipt(ctx, &amqp.Message{Format: ours.FormatBatch, Data: data}, nil)
	if err != nil {
		return outcome, !unsent(err), translate(err)
	}
	state, err := wait(ctx, receipt)
	if err != nil {
		return outcome, true, translate(err)
	}
	switch state := state.(type) {
	case *amqp.StateAccepted:
		outcome.Code = ours.CodeAccepted
	case *amqp.StateRejected:
		outcome.Code, outcome.Error = ours.CodeRejected, fromRemote(state.Error)
	case *amqp.StateReleased:
		outcome.Code = ours.CodeReleased
	case *amqp.StateModified:
		outcome.Code = ours.CodeModified
	case *amqp.StateReceived:
		outcome.Code = ours.CodeReceived
	}
	return outcome, true, nil
}

// wait waits for the state of a delivery. When the answer and the end of the link have both
// come, go-amqp returns either by chance; asking again finds the answer, and an outcome that
// is known is worth it (G-9).
func wait(ctx context.Context, receipt amqp.SendReceipt) (state amqp.DeliveryState, err error) {
	const tries = 10
	for range tries {
		if state, err = receipt.Wait(ctx); err == nil {
			return state, nil
		}
	}
	return nil, err
}

// unsent reports whether an error of SendWithReceipt says that the last frame of the message
// was not written: no credit came, the context ended before, or go-amqp itself refused it.
// Without its last frame a message is never stored.
func unsent(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	_, local := err.(*amqp.Error) //nolint:errorlint // wrapped, it would be the peer's
	return local
}

func (s goAMQPSender) SendRequest(ctx context.Context, r *request) error {
	properties := map[string]any{}
	for _, p := range r.properties {
		name, ok := p.Key.(string)
		if !ok {
			continue
		}
		switch v := p.Value.(type) {
		case ours.Timestamp:
			properties[name] = v.Time()
		default:
			properties[name] = v
		}
	}
	return translate(s.s.Send(ctx, &amqp.Message{
		Properties:            &amqp.MessageProperties{MessageID: r.id, ReplyTo: &r.replyTo},
		ApplicationProperties: properties,
		Value:                 r.value,
	}, nil))
}

// translate adds to an error of go-amqp what the peer said in it, in the type that the driver
// goes by.
func translate(err error) error {
	if remote, ok := errors.AsType[*amqp.Error](err); ok {
		return &goAMQPError{err: err, remote: fromRemote(remote)}
	}
	return err
}

func fromRemote(e *amqp.Error) *ours.Error {
	if e == nil {
		return nil
	}
	return &ours.Error{Condition: ours.Symbol(e.Condition), Description: e.Description}
}

// goAMQPError is an error of go-amqp that holds one of the peer, or looks like it.
type goAMQPError struct {
	err    error
	remote *ours.Error
}

func (e *goAMQPError) Error() string { return e.err.Error() }

func (e *goAMQPError) Unwrap() []error { return []error{e.err, e.remote} }
