package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// This file implements protocol headers, SASL and open. Client frames may come
// ahead of our answers, all in one segment (.NET and Python do so), and SASL may
// be left out (JavaScript with a SharedAccessSignature connection string).

// mechanisms are offered in the order of the real service. .NET looks for
// MSSBCBS and fails without it.
func mechanisms() []amqp.Symbol {
	return []amqp.Symbol{amqp.MechMSSBCBS, amqp.MechPlain, amqp.MechAnonymous, amqp.MechExternal}
}

// tlsRecord is the first byte of a TLS handshake.
const tlsRecord = 0x16

// handshake takes the connection up to and including open. It writes to the
// socket itself: the writer does not run yet.
func (c *conn) handshake() error {
	if err := c.nc.SetDeadline(time.Now().Add(c.lim.Handshake)); err != nil {
		return err
	}
	h, err := c.header()
	if err != nil {
		return err
	}
	if h == amqp.HeaderSASL {
		if err := c.sasl(); err != nil {
			return err
		}
		if h, err = c.header(); err != nil {
			return err
		}
	}
	switch {
	case h == amqp.HeaderAMQP:
	case h[0] == tlsRecord:
		return errors.New("the client speaks TLS, and this server has no certificate")
	default:
		// The specification's answer to a version that is not spoken here.
		return errors.Join(fmt.Errorf("the client does not speak AMQP 1.0: protocol header % x", h[:]), c.direct(amqp.HeaderSASL[:]))
	}
	if err := c.open(); err != nil {
		return err
	}
	if err := c.nc.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c.patience.on.Store(true)
	return nil
}

// header reads a protocol header.
func (c *conn) header() (amqp.ProtocolHeader, error) {
	h, err := c.frames.Header()
	if err != nil {
		return h, fmt.Errorf("protocol header: %w", err)
	}
	if c.trace != nil {
		c.trace.header(amqp.Received, h)
	}
	return h, nil
}

func (c *conn) direct(b []byte) error {
	_, err := c.nc.Write(b)
	return err
}

func (c *conn) sasl() error {
	out := amqp.AppendSASLFrame(slices.Clone(amqp.HeaderSASL[:]), &amqp.SASLMechanisms{Mechanisms: mechanisms()})
	c.traceOut(amqp.HeaderSASL, out[len(amqp.HeaderSASL):])
	if err := c.direct(out); err != nil {
		return err
	}
	f, err := c.frames.Next()
	if err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	if c.trace != nil {
		c.trace.frame(amqp.Received, f)
	}
	if f.Type != amqp.TypeSASL {
		return fmt.Errorf("sasl: frame of type %d", f.Type)
	}
	var init amqp.SASLInit
	if _, err := init.Decode(f.Body); err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	refusal := c.authenticate(&init)
	outcome := amqp.SASLOutcome{Code: amqp.SASLOK}
	if refusal != nil {
		outcome.Code = amqp.SASLAuth
	}
	out = amqp.AppendSASLFrame(nil, &outcome)
	if c.trace != nil {
		c.trace.sent(out)
	}
	return errors.Join(refusal, c.direct(out))
}

// authenticate checks the mechanism. Only PLAIN proves anything; with the
// others the client sends tokens later.
func (c *conn) authenticate(init *amqp.SASLInit) error {
	switch init.Mechanism {
	case amqp.MechAnonymous, amqp.MechExternal, amqp.MechMSSBCBS:
		return nil
	case amqp.MechPlain:
		parts := bytes.SplitN(init.Response, []byte{0}, 3)
		if len(parts) != 3 {
			return errors.New("sasl: malformed PLAIN response")
		}
		claim, err := c.ns.AuthorizePlain(string(parts[1]), string(parts[2]))
		if err != nil {
			return fmt.Errorf("sasl: PLAIN: %w", err)
		}
		c.claims.Put(claim)
		return nil
	}
	return fmt.Errorf("sasl: mechanism %q is not offered", init.Mechanism)
}

// open reads the client's open and answers it.
func (c *conn) open() error {
	if err := c.direct(amqp.HeaderAMQP[:]); err != nil {
		return err
	}
	if c.trace != nil {
		c.trace.header(amqp.Sent, amqp.HeaderAMQP)
	}
	f, err := c.frames.Next()
	for err == nil && len(f.Body) == 0 { // heartbeats are allowed this early
		f, err = c.frames.Next()
	}
	var open amqp.Open
	switch {
	case err != nil:
	case f.Type != amqp.TypeAMQP || f.Channel != 0:
		err = protocolError("open must be on channel 0")
	default:
		if c.trace != nil {
			c.trace.frame(amqp.Received, f)
		}
		_, err = open.Decode(f.Body)
	}
	c.maxFrame = int(min(open.MaxFrameSize.Or(c.lim.FrameBytes), c.lim.FrameBytes))
	if err == nil && c.maxFrame < amqp.MinMaxFrameSize {
		err = protocolError("max-frame-size of %d is below %d", c.maxFrame, amqp.MinMaxFrameSize)
	}
	c.heartbeat = heartbeat(time.Duration(open.IdleTimeout.V) * time.Millisecond)
	answer := c.frame(nil, 0, &amqp.Open{
		ContainerID:  c.node.containerID(),
		MaxFrameSize: amqp.Some(c.lim.FrameBytes),
		ChannelMax:   amqp.Some[uint16](channelMax),
		IdleTimeout:  amqp.Some(uint32(c.lim.Idle.Milliseconds())),
	})
	if err != nil { // the specification wants an open before close
		answer = c.frame(answer, 0, &amqp.Close{Error: &amqp.Error{
			Condition: amqp.ErrFramingError, Description: err.Error(),
		}})
	}
	c.log = c.log.With("container", open.ContainerID)
	product, _ := open.Properties.Get("product")
	version, _ := open.Properties.Get("version")
	c.log.Debug("opened", "hostname", open.Hostname, "product", product, "version", version)
	return errors.Join(err, c.direct(answer))
}

// heartbeat says how often something must be written to a client with the
// given idle time-out (0: none). The Go client gives up after 60 s of silence
// although it announces 30 s; 15 s suits everybody.
func heartbeat(idle time.Duration) time.Duration {
	const usual, least = 15 * time.Second, 20 * time.Millisecond
	if idle <= 0 {
		return usual
	}
	return max(least, min(usual, idle*2/5))
}

func (c *conn) traceOut(h amqp.ProtocolHeader, frame []byte) {
	if c.trace != nil {
		c.trace.header(amqp.Sent, h)
		c.trace.sent(frame)
	}
}
