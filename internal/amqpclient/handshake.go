package amqpclient

import (
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// handshake takes the connection up to and including open, one step at a time: servers were
// seen that do not take two at once. It reads and writes itself; the goroutines do not run yet.
func (c *Conn) handshake(o *Options) error {
	if err := c.header(amqp.HeaderSASL); err != nil {
		return err
	}
	var offer amqp.SASLMechanisms
	if err := c.expect(amqp.TypeSASL, &offer); err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	if !slices.Contains(offer.Mechanisms, amqp.MechAnonymous) {
		return fmt.Errorf("sasl: %w but %q", errNoAnonymous, offer.Mechanisms)
	}
	init := &amqp.SASLInit{Mechanism: amqp.MechAnonymous, Response: []byte("anonymous")}
	if err := c.direct(amqp.AppendSASLFrame(nil, init)); err != nil {
		return err
	}
	var outcome amqp.SASLOutcome
	if err := c.expect(amqp.TypeSASL, &outcome); err != nil {
		return fmt.Errorf("sasl: %w", err)
	}
	if outcome.Code != amqp.SASLOK {
		return fmt.Errorf("sasl: the peer refused the mechanism ANONYMOUS with code %d", outcome.Code)
	}
	if err := c.header(amqp.HeaderAMQP); err != nil {
		return err
	}
	return c.open(o)
}

// header sends a protocol header and reads the answer.
func (c *Conn) header(h amqp.ProtocolHeader) error {
	if c.trace != nil {
		c.trace(c.tracer.Header(amqp.Sent, h))
	}
	if _, err := c.nc.Write(h[:]); err != nil {
		return err
	}
	got, err := c.frames.Header()
	if err != nil {
		return fmt.Errorf("protocol header: %w", err)
	}
	if c.trace != nil {
		c.trace(c.tracer.Header(amqp.Received, got))
	}
	if got != h {
		return fmt.Errorf("the peer answers the protocol header %q with %q", h[:], got[:])
	}
	return nil
}

func (c *Conn) open(o *Options) error {
	open := &amqp.Open{
		ContainerID: o.ContainerID, Hostname: o.Hostname, Properties: o.Properties,
		MaxFrameSize: amqp.Some[uint32](MaxFrame), // and channels as many as there are
	}
	if o.IdleTimeout > 0 {
		open.IdleTimeout = amqp.Some(uint32((o.IdleTimeout / 2).Milliseconds()))
	}
	if err := c.direct(amqp.AppendFrame(nil, 0, open)); err != nil {
		return err
	}
	var answer amqp.Open
	if err := c.expect(amqp.TypeAMQP, &answer); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	c.maxFrame = int(min(answer.MaxFrameSize.Or(maxSent), maxSent))
	if c.maxFrame < amqp.MinMaxFrameSize {
		return fmt.Errorf("open: the peer takes frames of %d bytes only", c.maxFrame)
	}
	c.channelMax = min(answer.ChannelMax.Or(channelMax), channelMax)
	if answer.IdleTimeout.V > 0 {
		c.heartbeat = max(time.Duration(answer.IdleTimeout.V)*time.Millisecond/2, time.Millisecond)
	}
	return nil
}

// direct writes a frame at once.
func (c *Conn) direct(frame []byte) error {
	c.traceSent(frame)
	_, err := c.nc.Write(frame)
	return err
}

// expect reads the next frame into p, passing over heartbeats.
func (c *Conn) expect(typ uint8, p amqp.Performative) error {
	for {
		f, err := c.frames.Next()
		if err != nil {
			return err
		}
		if c.trace != nil {
			c.trace(c.tracer.Frame(amqp.Received, f))
		}
		if f.Type != typ {
			return violation(fmt.Sprintf("a frame of type %d", f.Type))
		}
		if len(f.Body) > 0 {
			_, err = p.Decode(f.Body)
			return err
		}
	}
}

func (c *Conn) traceSent(frames []byte) {
	if c.trace != nil {
		c.tracer.Frames(amqp.Sent, frames, c.trace)
	}
}
