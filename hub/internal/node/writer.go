package node

import (
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	// writeQuantum is how much is gathered before it is written.
	writeQuantum = 256 << 10
	// keepBuffer is the largest buffer that an idle connection keeps.
	keepBuffer = 64 << 10
	// patrolEvery is how often the claims of links are looked at, unless the
	// client is to hear from us less often.
	patrolEvery = time.Second
)

// write is the writing goroutine. It ends after close was written, or with the
// connection.
func (c *conn) write() {
	timer := time.NewTimer(c.heartbeat)
	defer timer.Stop()
	checked := time.Now()
	for {
		final := c.gather()
		if !final {
			c.pump()
		}
		if len(c.out) > 0 {
			if err := c.flush(); err != nil {
				c.fail(err)
				return
			}
			timer.Reset(c.heartbeat)
		}
		if now := time.Now(); now.Sub(checked) > max(patrolEvery, c.heartbeat) {
			checked = now
			c.patrol()
		}
		switch {
		case final:
			c.hangUp()
			return
		case len(c.out) > 0:
			c.out = c.out[:0]
			continue // there may be more already
		}
		select {
		case <-c.wake:
		case <-timer.C:
			c.out = amqp.AppendEmptyFrame(c.out)
			if c.trace != nil {
				c.trace.sent(c.out)
			}
			if err := c.flush(); err != nil {
				c.fail(err)
				return
			}
			timer.Reset(c.heartbeat)
			c.out, c.splice, c.batch = c.out[:0], nil, entity.Batch{}
			if cap(c.out) > keepBuffer {
				c.out = nil
			}
		case <-c.ended:
			return
		}
	}
}

// gather moves the outbox, flows and dispositions into the output and reports
// whether close is at its end.
func (c *conn) gather() (final bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out = append(c.out, c.outbox...)
	if cap(c.outbox) > keepBuffer {
		c.outbox = nil
	}
	c.outbox = c.outbox[:0]
	for _, s := range c.dirty {
		c.out = s.appendMarks(c.out)
	}
	c.dirty = c.dirty[:0]
	c.space.Broadcast()
	if c.final {
		c.out = c.frame(c.out, 0, &amqp.Close{Error: c.closeErr})
	}
	return c.final
}

// flush writes the output in one call.
func (c *conn) flush() error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(c.lim.Write)); err != nil {
		return err
	}
	_, err := c.nc.Write(c.out)
	return err
}

func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.finalErr == nil {
		c.finalErr = err
	}
	c.mu.Unlock()
	c.cut()
}

// hangUp closes our half of the socket after close was written. The reader
// ends when the peer does the same, or the time is over.
func (c *conn) hangUp() {
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	close(c.written)
	timer := time.NewTimer(lingerTime)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.cut()
	case <-c.ended:
	}
}

// pump lets links that are ready fill the output.
func (c *conn) pump() {
	for len(c.out) < writeQuantum {
		l := c.nextReady()
		if l == nil {
			return
		}
		if l.pump() {
			c.setReady(l)
		}
	}
}

// setReady puts l into the queue of links that may have something to send. It
// may be called from everywhere.
func (c *conn) setReady(l *link) {
	if !l.queued.CompareAndSwap(false, true) {
		return
	}
	c.readyMu.Lock()
	c.ready = append(c.ready, l)
	c.readyMu.Unlock()
	c.signal()
}

func (c *conn) nextReady() *link {
	c.readyMu.Lock()
	defer c.readyMu.Unlock()
	if len(c.ready) == 0 {
		return nil
	}
	l := c.ready[0]
	c.ready[0] = nil
	c.ready = c.ready[1:]
	// Cleared before the link looks for work: what is appended from now on
	// queues it again.
	l.queued.Store(false)
	return l
}
