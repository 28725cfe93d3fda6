package hub_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// rawClient speaks frames and nothing more, so that tests can say what no
// client library would.
type rawClient struct {
	net.Conn
	t      testing.TB
	frames *amqp.FrameReader
}

func dial(t testing.TB, addr string) *rawClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &rawClient{Conn: c, t: t, frames: amqp.NewFrameReader(c, 1<<20)}
}

func (c *rawClient) send(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *rawClient) perform(channel uint16, p amqp.Performative) {
	c.t.Helper()
	c.send(amqp.AppendFrame(nil, channel, p))
}

// next returns the next frame that is not a heartbeat.
func (c *rawClient) next() amqp.Frame {
	c.t.Helper()
	for {
		f, err := c.frames.Next()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(f.Body) > 0 {
			return f
		}
	}
}

// expect reads frames until one is of p's type, decodes it, and returns its
// payload. Flows in between are passed over.
func (c *rawClient) expect(p amqp.Performative) []byte {
	c.t.Helper()
	want, err := amqp.BodyCode(p.Append(nil))
	if err != nil {
		c.t.Fatal(err)
	}
	for {
		f := c.next()
		code, err := amqp.BodyCode(f.Body)
		if err != nil {
			c.t.Fatal(err)
		}
		if code == amqp.CodeFlow && want != amqp.CodeFlow {
			continue
		}
		rest, err := p.Decode(f.Body)
		if err != nil {
			c.t.Fatalf("got performative 0x%x, want 0x%x: %v", code, want, err)
		}
		return rest
	}
}

// open says hello as a client that pipelines everything, with PLAIN.
func (c *rawClient) open(rule, key string) {
	c.t.Helper()
	b := append([]byte(nil), amqp.HeaderSASL[:]...)
	b = amqp.AppendSASLFrame(b, &amqp.SASLInit{Mechanism: amqp.MechPlain, Response: []byte("\x00" + rule + "\x00" + key)})
	b = append(b, amqp.HeaderAMQP[:]...)
	b = amqp.AppendFrame(b, 0, &amqp.Open{ContainerID: "raw", Hostname: "localhost"})
	c.send(amqp.AppendFrame(b, 0, &amqp.Begin{IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30}))
	if h, err := c.frames.Header(); err != nil || h != amqp.HeaderSASL {
		c.t.Fatalf("header % x, %v", h, err)
	}
	c.expect(&amqp.SASLMechanisms{})
	outcome := amqp.SASLOutcome{Code: 99}
	c.expect(&outcome)
	if outcome.Code != amqp.SASLOK {
		c.t.Fatalf("outcome %d", outcome.Code)
	}
	if h, err := c.frames.Header(); err != nil || h != amqp.HeaderAMQP {
		c.t.Fatalf("header % x, %v", h, err)
	}
	c.expect(&amqp.Open{})
	c.expect(&amqp.Begin{})
}

func (c *rawClient) attachSender(handle uint32, address string) (a amqp.Attach) {
	c.t.Helper()
	c.perform(0, &amqp.Attach{
		Name: "s-" + address, Handle: handle, Source: &amqp.Source{}, Target: &amqp.Target{Address: address},
		InitialDeliveryCount: amqp.Some[uint32](0),
	})
	c.expect(&a)
	return a
}

func (c *rawClient) attachReceiver(handle uint32, address string, filter any) (a amqp.Attach) {
	c.t.Helper()
	source := &amqp.Source{Address: address}
	if filter != nil {
		source.Filter = amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: filter}}
	}
	c.perform(0, &amqp.Attach{Name: "r-" + address, Handle: handle, Receiver: true, Source: source, Target: &amqp.Target{}})
	c.expect(&a)
	return a
}

func (c *rawClient) credit(handle, count, credit uint32) {
	c.t.Helper()
	c.perform(0, &amqp.Flow{
		NextIncomingID: amqp.Some[uint32](1), IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30,
		Handle: amqp.Some(handle), DeliveryCount: amqp.Some(count), LinkCredit: amqp.Some(credit),
	})
}

// transferFrame is one delivery in one frame.
func transferFrame(dst []byte, handle, id, format uint32, payload []byte) []byte {
	dst, mark := amqp.BeginFrame(dst, amqp.TypeAMQP, 0)
	t := amqp.Transfer{
		Handle: handle, DeliveryID: amqp.Some(id), DeliveryTag: []byte{1}, MessageFormat: amqp.Some(format),
	}
	return amqp.EndFrame(append(t.Append(dst), payload...), mark)
}

// deliver sends one delivery in as many frames as it takes.
func (c *rawClient) deliver(handle, id, format uint32, payload []byte) {
	c.t.Helper()
	for first := true; first || len(payload) > 0; first = false {
		n := min(len(payload), 60000)
		b, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, 0)
		t := amqp.Transfer{Handle: handle, More: n < len(payload)}
		if first {
			t.DeliveryID, t.DeliveryTag, t.MessageFormat = amqp.Some(id), []byte{1}, amqp.Some(format)
		}
		c.send(amqp.EndFrame(append(t.Append(b), payload[:n]...), mark))
		payload = payload[n:]
	}
}

// wantEOF checks that the server hangs up.
func (c *rawClient) wantEOF() {
	c.t.Helper()
	for {
		if _, err := c.frames.Next(); err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !isReset(err) {
				c.t.Errorf("want the end of the connection, got %v", err)
			}
			return
		}
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout()
}

// wantClose checks that the server closes with a condition.
func (c *rawClient) wantClose(condition amqp.Symbol) {
	c.t.Helper()
	var cl amqp.Close
	c.expect(&cl)
	if cl.Error == nil || cl.Error.Condition != condition {
		c.t.Errorf("close with %v, want %s", cl.Error, condition)
	}
}
