package amqpclient

import (
	"io"
	"testing"

	"github.com/hubferry/hubferry/internal/amqp"
)

// FuzzPeer lets a peer say anything to a client with a session, a sender and a receiver: it
// ends, and nobody waits for ever.
func FuzzPeer(f *testing.F) {
	frame := func(all ...amqp.Performative) (b []byte) {
		for _, p := range all {
			b = amqp.AppendFrame(b, peerChannel, p)
		}
		return b
	}
	const second = 1 // the peer's handle of the receiver
	f.Add(frame(grant(0, 10, 10), &amqp.Disposition{Receiver: true, First: 0, Settled: true, State: amqp.Accepted()}))
	f.Add(frame(&amqp.Transfer{Handle: second, DeliveryID: amqp.Some[uint32](0), More: true}, &amqp.Transfer{Handle: second}))
	f.Add(frame(&amqp.Detach{Handle: peerHandle}, &amqp.Detach{Handle: second, Error: &amqp.Error{Condition: amqp.ErrLinkStolen}}, &amqp.End{}))
	f.Add(frame(&amqp.Flow{Echo: true}, &amqp.Flow{Handle: amqp.Some[uint32](second), Echo: true, Drain: true}, &amqp.Close{}))
	f.Add(frame(&amqp.End{}, &amqp.Begin{RemoteChannel: amqp.Some[uint16](0)}, &amqp.Attach{Name: "s", Receiver: true}))
	f.Fuzz(func(t *testing.T, in []byte) {
		o := usual()
		c, p := connect(t, &o, Options{Trace: func(string) {}})
		s := begin(t, c, p, 10)
		l := newSender(t, s, p, 0)
		attached := do(func() (*Receiver, error) { return s.NewReceiver(t.Context(), ReceiverOptions{Name: "r"}) })
		var a amqp.Attach
		p.expect(&a)
		a.Receiver, a.Handle = false, second
		p.send(peerChannel, &a)
		r, err := attached()
		if err != nil {
			t.Fatal(err)
		}
		sent := send(t.Context(), l, make([]byte, 5000))
		if err := r.Credit(3); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.Copy(io.Discard, p.nc) }()
		_, _ = p.nc.Write(in) // the client may hang up in the middle
		_ = p.nc.Close()
		for err == nil {
			_, err = r.Receive(t.Context(), nil)
		}
		_, _ = sent()
		<-c.Done()
		if c.Err() == nil {
			t.Error("over without a reason")
		}
	})
}
