package amqpclient

import (
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	// quantum is how much is gathered before it is written.
	quantum = 256 << 10
	// keptBuffer is the largest buffer that an idle connection keeps.
	keptBuffer = 64 << 10
)

// write is the goroutine that writes. It ends with the connection, after a last frame if
// there is one.
func (c *Conn) write() {
	beat := time.NewTimer(time.Hour)
	defer beat.Stop()
	c.rest(beat)
	for {
		last, over := c.gather()
		if over {
			return
		}
		if last == nil {
			c.pump()
		}
		if len(c.out) > 0 {
			if err := c.flush(); err != nil {
				c.end(&EndError{What: "connection", Err: err}, nil)
				_ = c.nc.Close() // somebody else may have ended it, and waits for the peer
				return
			}
			c.rest(beat)
		}
		switch {
		case last != nil:
			c.hangUp()
			return
		case len(c.out) > 0:
			c.out = c.out[:0]
			continue // there may be more already
		}
		select {
		case <-c.wake:
		case <-beat.C:
			c.out = nil // idle for so long: give it back
			c.mu.Lock()
			c.outbox = amqp.AppendEmptyFrame(c.outbox)
			c.mu.Unlock()
		}
	}
}

// rest sets the time of the next heartbeat.
func (c *Conn) rest(beat *time.Timer) {
	if c.heartbeat > 0 {
		beat.Reset(c.heartbeat)
	} else {
		beat.Stop()
	}
}

// gather moves what waits into the output. It returns the last frame when it is time for it,
// and reports whether the connection ended without one.
func (c *Conn) gather() (last *amqp.Close, over bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil && c.final == nil {
		return nil, true
	}
	c.out = append(c.out, c.outbox...)
	if c.outbox = c.outbox[:0]; cap(c.outbox) > keptBuffer {
		c.outbox = nil
	}
	for _, s := range c.settled {
		c.out = s.appendSettled(c.out)
	}
	c.settled = emptied(c.settled)
	for _, s := range c.flows {
		c.out = s.appendFlows(c.out)
	}
	c.flows = emptied(c.flows)
	if c.final != nil {
		c.out = amqp.AppendFrame(c.out, 0, c.final)
	}
	return c.final, false
}

// emptied is a list with room for as much as before, which keeps nothing of that alive.
func emptied[T any](list []*T) []*T {
	clear(list)
	return list[:0]
}

// pump lets senders that are ready fill the output, in turns.
func (c *Conn) pump() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) < quantum && len(c.ready) > 0 {
		s := c.ready[0]
		c.ready[0] = nil
		c.ready = c.ready[1:]
		s.queued = false
		if s.pump() {
			c.setReady(s)
		}
	}
}

// setReady has the writer look at a sender. Called with mu held.
func (c *Conn) setReady(s *Sender) {
	if s.queued {
		return
	}
	s.queued = true
	c.ready = append(c.ready, s)
	c.signal()
}

// leaveBy says until when the output may leave that is gathered now. The zero time sets no
// limit.
func (c *Conn) leaveBy(until time.Time) {
	if !until.IsZero() && (c.latest.IsZero() || until.Before(c.latest)) {
		c.latest = until
	}
}

// flush writes the output in one call. What does not leave in time ends the connection: the
// peer must not get the end of a delivery after its deadline (G-9).
func (c *Conn) flush() error {
	c.traceSent(c.out)
	c.leaveBy(time.Now().Add(writeTimeout))
	err := c.nc.SetWriteDeadline(c.latest)
	c.latest = time.Time{}
	if err != nil {
		return err
	}
	_, err = c.nc.Write(c.out)
	return err
}

// hangUp closes the network connection when the peer has said goodbye, too, or after a moment.
func (c *Conn) hangUp() {
	timer := time.NewTimer(farewell)
	defer timer.Stop()
	select {
	case <-c.heard:
	case <-timer.C:
	}
	_ = c.nc.Close()
}
