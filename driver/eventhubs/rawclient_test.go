package eventhubs

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// rawClient speaks AMQP with nothing but the codec: it shows what is really on the wire,
// and shares no code with the driver above that.
type rawClient struct {
	t      testing.TB
	conn   net.Conn
	frames *ours.FrameReader
}

// rawFailure is what a rawClient panics with when its connection breaks.
type rawFailure struct{ err error }

// rawTry runs f again until the connection holds: tests cut connections, and cannot tell
// the driver's from this one.
func rawTry(t testing.TB, f func()) {
	t.Helper()
	var last any
	for range 50 {
		done := false
		func() {
			defer func() {
				if done {
					return
				}
				if last = recover(); last != nil {
					if _, ok := last.(rawFailure); !ok {
						panic(last)
					}
				}
			}()
			f()
			done = true
		}()
		if done || t.Failed() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("raw client: %v", last)
}

// dialRaw signs in with SASL PLAIN, which authorises the whole connection, and begins a
// session on channel 0.
func dialRaw(t testing.TB, address string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		panic(rawFailure{err})
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		panic(rawFailure{err})
	}
	c := &rawClient{t: t, conn: conn, frames: ours.NewFrameReader(conn, 1<<20)}
	c.header(ours.HeaderSASL)
	var mechanisms ours.SASLMechanisms
	c.expect(&mechanisms)
	c.write(ours.AppendSASLFrame(nil, &ours.SASLInit{Mechanism: ours.MechPlain, Response: []byte("\x00" + testKeyName + "\x00" + testKey)}))
	var outcome ours.SASLOutcome
	if c.expect(&outcome); outcome.Code != ours.SASLOK {
		t.Fatalf("SASL PLAIN: code %d", outcome.Code)
	}
	c.header(ours.HeaderAMQP)
	c.send(&ours.Open{ContainerID: "raw", Hostname: "raw", MaxFrameSize: ours.Some(uint32(65536))})
	c.expect(&ours.Open{})
	c.send(&ours.Begin{IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30})
	c.expect(&ours.Begin{})
	return c
}

func (c *rawClient) header(h ours.ProtocolHeader) {
	c.t.Helper()
	c.write(h[:])
	if got, err := c.frames.Header(); err != nil || got != h {
		panic(rawFailure{fmt.Errorf("protocol header %v: %w", got, err)})
	}
}

func (c *rawClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		panic(rawFailure{err})
	}
}

func (c *rawClient) send(p ours.Performative) {
	c.t.Helper()
	c.write(ours.AppendFrame(nil, 0, p))
}

// next returns the next frame that is no heartbeat.
func (c *rawClient) next() (code uint64, body []byte) {
	c.t.Helper()
	for {
		f, err := c.frames.Next()
		if err != nil {
			panic(rawFailure{err})
		}
		if len(f.Body) == 0 {
			continue
		}
		if code, err = ours.BodyCode(f.Body); err != nil {
			c.t.Fatal(err)
		}
		return code, f.Body
	}
}

// expect reads the next frame into p, passing over flows.
func (c *rawClient) expect(p ours.Performative) {
	c.t.Helper()
	for {
		code, body := c.next()
		if _, isFlow := p.(*ours.Flow); code == ours.CodeFlow && !isFlow {
			continue
		}
		if _, err := p.Decode(body); err != nil {
			panic(rawFailure{fmt.Errorf("want %T: %w", p, err)})
		}
		return
	}
}

// attach opens link 0.
func (c *rawClient) attach(receiver bool, address string, filter string) {
	c.t.Helper()
	a := &ours.Attach{
		Name: "raw", Receiver: receiver, Source: &ours.Source{}, Target: &ours.Target{},
		SndSettleMode: ours.Some(ours.SenderMixed), RcvSettleMode: ours.Some(ours.ReceiverFirst),
	}
	if receiver {
		a.Source.Address = address
		a.Source.Filter = ours.Map{{
			Key:   ours.Symbol("apache.org:selector-filter:string"),
			Value: ours.Described{Descriptor: uint64(0x468C00000004), Value: filter},
		}}
	} else {
		a.Target.Address = address
		a.InitialDeliveryCount = ours.Some(uint32(0))
	}
	c.send(a)
	var got ours.Attach
	c.expect(&got)
	if got.Source == nil || got.Target == nil {
		var d ours.Detach
		c.expect(&d)
		c.t.Fatalf("attach %s: %v", address, d.Error)
	}
}

// rawSend stores encoded messages in a partition, one by one.
func rawSend(t testing.TB, address string, partition string, messages ...[]byte) {
	t.Helper()
	var c *rawClient
	rawTry(t, func() {
		c = dialRaw(t, address)
		c.attach(false, testHub+"/Partitions/"+partition, "")
	})
	defer func() { _ = c.conn.Close() }()
	for i, m := range messages {
		c.transfer(uint32(i), m)
		var d ours.Disposition
		if c.expect(&d); d.State.Code != ours.CodeAccepted {
			t.Fatalf("message %d: %+v", i, d.State)
		}
	}
}

// transfer sends a message in frames of 32 KiB.
func (c *rawClient) transfer(id uint32, m []byte) {
	c.t.Helper()
	for first := true; first || len(m) > 0; first = false {
		n := min(len(m), 32<<10)
		out, mark := ours.BeginFrame(nil, ours.TypeAMQP, 0)
		tr := ours.Transfer{DeliveryID: ours.Some(id), DeliveryTag: []byte{byte(id)}, MessageFormat: ours.Some(ours.FormatMessage), More: n < len(m)}
		out = append(tr.Append(out), m[:n]...)
		c.write(ours.EndFrame(out, mark))
		m = m[n:]
	}
}

// rawReceive returns all messages that a partition has, with the service's annotations.
func rawReceive(t testing.TB, address string, partition string) (out [][]byte) {
	t.Helper()
	rawTry(t, func() { out = rawReceiveOnce(t, address, partition) })
	return out
}

func rawReceiveOnce(t testing.TB, address string, partition string) [][]byte {
	t.Helper()
	c := dialRaw(t, address)
	defer func() { _ = c.conn.Close() }()
	c.attach(true, testHub+"/ConsumerGroups/other/Partitions/"+partition, "amqp.annotation.x-opt-offset > '-1'")
	flow := ours.Flow{
		NextIncomingID: ours.Some(uint32(0)), IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30,
		Handle: ours.Some(uint32(0)), DeliveryCount: ours.Some(uint32(0)), LinkCredit: ours.Some(uint32(1 << 30)), Drain: true,
	}
	c.send(&flow)
	var out [][]byte
	var partial []byte
	for {
		code, body := c.next()
		switch code {
		case ours.CodeTransfer:
			var tr ours.Transfer
			payload, err := tr.Decode(body)
			if err != nil {
				t.Fatal(err)
			}
			if partial = append(partial, payload...); !tr.More {
				out = append(out, partial)
				partial = nil
			}
		case ours.CodeFlow:
			var f ours.Flow
			if _, err := f.Decode(body); err != nil {
				t.Fatal(err)
			}
			if f.Handle.OK && f.Drain && f.LinkCredit.V == 0 {
				return out
			}
		default:
			t.Fatalf("frame 0x%x while receiving", code)
		}
	}
}

// withTimeout is for calls that must not hang a test.
func withTimeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
