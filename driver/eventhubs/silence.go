package eventhubs

import (
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

// watched is the stream below an AMQP client. When a read or a write ends because its deadline
// has passed it says so, with the address: a WebSocket only says that a context was cancelled.
type watched struct {
	net.Conn
	address string
	idle    time.Duration // the idle time-out of the connection
	reads   atomic.Int64  // deadlines, in Unix nanoseconds; 0: none
	writes  atomic.Int64
}

// silentError says that a peer was not heard of, or took nothing, for too long.
type silentError struct {
	address string
	idle    time.Duration // 0: it took nothing
}

func (e *silentError) Error() string {
	if e.idle > 0 {
		return fmt.Sprintf("nothing was heard of %s for %v, which is the connection's idleTimeout: "+
			"the service hangs, or something in between drops connections without a word", e.address, e.idle)
	}
	return fmt.Sprintf("%s did not take in time what was written to it", e.address)
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if err != nil && passed(&w.reads) {
		err = &silentError{address: w.address, idle: w.idle}
	}
	return n, err
}

func (w *watched) Write(b []byte) (int, error) {
	n, err := w.Conn.Write(b)
	switch {
	case err == nil:
	case passed(&w.reads): // a WebSocket ends both ways
		err = &silentError{address: w.address, idle: w.idle}
	case passed(&w.writes):
		err = &silentError{address: w.address}
	}
	return n, err
}

func (w *watched) SetReadDeadline(t time.Time) error {
	keep(&w.reads, t)
	return w.Conn.SetReadDeadline(t)
}

func (w *watched) SetWriteDeadline(t time.Time) error {
	keep(&w.writes, t)
	return w.Conn.SetWriteDeadline(t)
}

func (w *watched) SetDeadline(t time.Time) error {
	keep(&w.reads, t)
	keep(&w.writes, t)
	return w.Conn.SetDeadline(t)
}

func keep(deadline *atomic.Int64, t time.Time) {
	if t.IsZero() {
		deadline.Store(0)
		return
	}
	deadline.Store(t.UnixNano())
}

func passed(deadline *atomic.Int64) bool {
	at := deadline.Load()
	return at != 0 && time.Now().UnixNano() >= at
}
