package eventhubs

import (
	"context"
	"crypto/rand"
	"net"

	ours "github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/amqpclient"
)

// This file is the transport on our own client: messages are on the wire what they are here.

type nativeTransport struct{ *amqpclient.Conn }

func openNative(ctx context.Context, nc net.Conn, o *openOptions) (transport, error) {
	c, err := amqpclient.Open(ctx, nc, amqpclient.Options{
		ContainerID: o.container, Hostname: o.hostname, IdleTimeout: o.idle,
		Properties: o.properties, Trace: o.trace,
	})
	if err != nil {
		return nil, err
	}
	return nativeTransport{c}, nil
}

func (t nativeTransport) Begin(ctx context.Context) (session, error) {
	s, err := t.Conn.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return nativeSession{s}, nil
}

type nativeSession struct{ *amqpclient.Session }

func (s nativeSession) Sender(ctx context.Context, o linkOptions) (sender, error) {
	l, err := s.NewSender(ctx, amqpclient.SenderOptions{
		Name: linkName(), Address: o.address, Settle: o.settle, DesiredCapabilities: o.capabilities,
	})
	if err != nil {
		return nil, err
	}
	return nativeSender{l}, nil
}

// selectorFilter is the name of the filter that says where reading begins; its descriptor is
// the one that most SDKs write.
const (
	selectorFilter            = "apache.org:selector-filter:string"
	selectorDescriptor uint64 = 0x0000468C00000004
)

func (s nativeSession) Receiver(ctx context.Context, o linkOptions) (receiver, error) {
	var filter ours.Map
	if o.selector != "" {
		filter = ours.Map{{
			Key:   ours.Symbol(selectorFilter),
			Value: ours.Described{Descriptor: selectorDescriptor, Value: o.selector},
		}}
	}
	l, err := s.NewReceiver(ctx, amqpclient.ReceiverOptions{
		Name: linkName(), Address: o.address, Target: o.target, Settle: o.settle, Filter: filter, Limit: o.limit,
		Properties: o.properties, DesiredCapabilities: o.capabilities,
	})
	if err != nil {
		return nil, err
	}
	return l, nil
}

// linkName is a name that no other link of the same kind has.
func linkName() string { return rand.Text() }

type nativeSender struct{ *amqpclient.Sender }

func (s nativeSender) Alive(context.Context) bool { return s.Err() == nil }

func (s nativeSender) SendBatch(ctx context.Context, batch []byte) (outcome ours.State, sent bool, err error) {
	return s.Send(ctx, ours.FormatBatch, batch)
}

func (s nativeSender) SendRequest(ctx context.Context, r *request) error {
	message, err := r.append(nil)
	if err != nil {
		return err
	}
	state, _, err := s.Send(ctx, ours.FormatMessage, message)
	if err == nil && state.Code == ours.CodeRejected && state.Error != nil {
		return state.Error
	}
	return err
}
