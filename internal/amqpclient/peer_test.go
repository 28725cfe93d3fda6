package amqpclient

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

// peer is the other end of a connection, and does what a test says step by step.
type peer struct {
	t      testing.TB
	nc     net.Conn
	frames *amqp.FrameReader
}

// offer is what a peer says in its handshake.
type offer struct {
	mechanisms []amqp.Symbol
	outcome    uint8
	open       amqp.Open
}

func usual() offer {
	return offer{
		mechanisms: []amqp.Symbol{amqp.MechPlain, amqp.MechAnonymous},
		open:       amqp.Open{ContainerID: "peer", MaxFrameSize: amqp.Some[uint32](512)},
	}
}

func newPeer(t testing.TB, nc net.Conn) *peer {
	return &peer{t: t, nc: nc, frames: amqp.NewFrameReader(nc, MaxFrame)}
}

// greet takes a client through the handshake.
func (p *peer) greet(o *offer) (amqp.Open, error) {
	var open amqp.Open
	if _, err := p.frames.Header(); err != nil {
		return open, err
	}
	b := append([]byte(nil), amqp.HeaderSASL[:]...)
	if _, err := p.nc.Write(amqp.AppendSASLFrame(b, &amqp.SASLMechanisms{Mechanisms: o.mechanisms})); err != nil {
		return open, err
	}
	if _, err := p.frames.Next(); err != nil {
		return open, err
	}
	if _, err := p.nc.Write(amqp.AppendSASLFrame(nil, &amqp.SASLOutcome{Code: o.outcome})); err != nil {
		return open, err
	}
	if _, err := p.frames.Header(); err != nil {
		return open, err
	}
	if _, err := p.nc.Write(amqp.HeaderAMQP[:]); err != nil {
		return open, err
	}
	f, err := p.frames.Next()
	if err != nil {
		return open, err
	}
	if _, err := open.Decode(f.Body); err != nil {
		return open, err
	}
	_, err = p.nc.Write(amqp.AppendFrame(nil, 0, &o.open))
	return open, err
}

// connect opens a connection to a peer. Both ends are closed with the test.
func connect(t testing.TB, o *offer, options Options) (*Conn, *peer) {
	t.Helper()
	ours, theirs := net.Pipe()
	p := newPeer(t, theirs)
	greeted := make(chan error, 1)
	go func() {
		_, err := p.greet(o)
		greeted <- err
	}()
	c, err := Open(t.Context(), ours, options)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = theirs.Close()
		_ = c.Close(context.WithoutCancel(t.Context()))
	})
	return c, p
}

// send writes frames.
func (p *peer) send(channel uint16, all ...amqp.Performative) {
	p.t.Helper()
	var b []byte
	for _, x := range all {
		b = amqp.AppendFrame(b, channel, x)
	}
	p.write(b)
}

func (p *peer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.t.Error(err)
	}
}

// expect reads the next frame, which must be x, and returns its channel and what follows the
// performative.
func (p *peer) expect(x amqp.Performative) (channel uint16, payload []byte) {
	p.t.Helper()
	f, err := p.frames.Next()
	for err == nil && len(f.Body) == 0 {
		f, err = p.frames.Next()
	}
	if err == nil {
		payload, err = x.Decode(f.Body)
	}
	if err != nil {
		p.t.Errorf("want %T: %v", x, err)
	}
	return f.Channel, payload
}

// do runs a call of the client while the test plays the peer, and returns its result.
func do[T any](call func() (T, error)) func() (T, error) {
	type result struct {
		value T
		err   error
	}
	ch := make(chan result, 1)
	go func() {
		v, err := call()
		ch <- result{v, err}
	}()
	return func() (T, error) {
		r := <-ch
		return r.value, r.err
	}
}

// begin opens a session whose peer has the incoming window given, on another channel.
const peerChannel = 40

func begin(t testing.TB, c *Conn, p *peer, window uint32) *Session {
	t.Helper()
	got := do(func() (*Session, error) { return c.Begin(t.Context()) })
	var b amqp.Begin
	channel, _ := p.expect(&b)
	p.send(peerChannel, &amqp.Begin{RemoteChannel: amqp.Some(channel), NextOutgoingID: 1000, IncomingWindow: window, OutgoingWindow: 100})
	s, err := got()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peerHandle is the peer's handle of the only link that a test has.
const peerHandle = 17

// newSender attaches a sender with credit.
func newSender(t testing.TB, s *Session, p *peer, credit uint32) *Sender {
	t.Helper()
	got := do(func() (*Sender, error) {
		return s.NewSender(t.Context(), SenderOptions{Name: "s", Address: "to"})
	})
	var a amqp.Attach
	p.expect(&a)
	if a.Receiver || a.Target == nil || a.Target.Address != "to" || !a.InitialDeliveryCount.OK {
		t.Errorf("attach of a sender: %+v", a)
	}
	a.Receiver, a.Handle, a.MaxMessageSize, a.InitialDeliveryCount = true, peerHandle, amqp.Some[uint64](9000), amqp.Opt[uint32]{}
	p.send(peerChannel, &a)
	l, err := got()
	if err != nil {
		t.Fatal(err)
	}
	if credit > 0 {
		p.send(peerChannel, grant(0, 1<<20, credit))
	}
	return l
}

// grant is a flow that gives a sender credit.
func grant(next, window, credit uint32) *amqp.Flow {
	return &amqp.Flow{
		NextIncomingID: amqp.Some(next), IncomingWindow: window, NextOutgoingID: 1000, OutgoingWindow: 100,
		Handle: amqp.Some[uint32](peerHandle), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some(credit),
	}
}

// newReceiver attaches a receiver with credit.
func newReceiver(t testing.TB, s *Session, p *peer, credit uint32) *Receiver {
	t.Helper()
	got := do(func() (*Receiver, error) {
		return s.NewReceiver(t.Context(), ReceiverOptions{Name: "r", Address: "from"})
	})
	var a amqp.Attach
	p.expect(&a)
	if !a.Receiver || a.Source == nil || a.Source.Address != "from" {
		t.Errorf("attach of a receiver: %+v", a)
	}
	a.Receiver, a.Handle, a.InitialDeliveryCount = false, peerHandle, amqp.Some[uint32](5)
	p.send(peerChannel, &a)
	r, err := got()
	if err != nil {
		t.Fatal(err)
	}
	if credit > 0 {
		if err := r.Credit(credit); err != nil {
			t.Fatal(err)
		}
		var f amqp.Flow
		if p.expect(&f); f.LinkCredit != amqp.Some(credit) || f.DeliveryCount != amqp.Some[uint32](5) || f.NextIncomingID != amqp.Some[uint32](1000) {
			t.Errorf("flow %+v", f)
		}
	}
	return r
}

// endOf returns the EndError in an error.
func endOf(t testing.TB, err error) *EndError {
	t.Helper()
	e, ok := errors.AsType[*EndError](err)
	if !ok {
		t.Fatalf("%v is not an end", err)
	}
	return e
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
