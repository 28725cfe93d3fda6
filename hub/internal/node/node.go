package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// Limits bound what a client can cost. A zero field is its default.
type Limits struct {
	// Connections at one time, default 5000.
	Connections int
	// FrameBytes is the largest frame accepted, default 65536.
	FrameBytes uint32
	// Handshake is the time for everything up to the open frame, default 30 s.
	Handshake time.Duration
	// Write is the time in which a client must take what is written to it,
	// default 60 s.
	Write time.Duration
	// Idle is the idle time-out announced to clients, default 240 s. One that
	// sends nothing for a quarter more than this is cut.
	Idle time.Duration
	// OutboxBytes is how much may wait for the writer, default 1 MiB.
	OutboxBytes int
	// PendingBytes is how much of one connection may wait to become durable
	// and, apart from that, in deliveries that are half received; default
	// 16 MiB each.
	PendingBytes int
	// Links per connection, default 4096.
	Links int
}

func (l Limits) withDefaults() Limits {
	l.Connections = cmp.Or(l.Connections, 5000)
	l.FrameBytes = cmp.Or(l.FrameBytes, 65536)
	l.Handshake = cmp.Or(l.Handshake, 30*time.Second)
	l.Write = cmp.Or(l.Write, 60*time.Second)
	l.Idle = cmp.Or(l.Idle, 240*time.Second)
	l.OutboxBytes = cmp.Or(l.OutboxBytes, 1<<20)
	l.PendingBytes = cmp.Or(l.PendingBytes, 16<<20)
	l.Links = cmp.Or(l.Links, 4096)
	return l
}

// Config is what a Node is made of.
type Config struct {
	Namespace *entity.Namespace
	Limits    Limits
	// Log receives what an operator should know; required.
	Log *slog.Logger
	// Trace gets one line per frame, secrets removed; nil is off. It is called
	// from several goroutines.
	Trace func(line string)
	// Faults are consulted on every send and by the background of links; nil
	// is none.
	Faults Injector
}

// Node serves the AMQP connections of one namespace.
type Node struct {
	cfg    Config
	ns     *entity.Namespace
	serial atomic.Uint64
	parts  sync.Pool // of *partBuffer

	mu      sync.Mutex
	conns   map[*conn]struct{}
	closing bool
	idle    sync.WaitGroup
}

// New returns a node. It starts nothing.
func New(cfg Config) *Node {
	cfg.Limits = cfg.Limits.withDefaults()
	return &Node{cfg: cfg, ns: cfg.Namespace, conns: map[*conn]struct{}{}}
}

// errFull is logged when a connection is turned away.
var errFull = errors.New("too many connections")

// ServeConn serves one connection until it ends and closes it. It returns when
// the connection's goroutines have ended. Cancelling ctx cuts the connection;
// Shutdown ends it properly.
func (n *Node) ServeConn(ctx context.Context, nc net.Conn) {
	c := newConn(n, nc)
	if err := n.add(c); err != nil {
		n.cfg.Log.Warn("connection refused", "remote", c.remote, "error", err)
		_ = nc.Close()
		return
	}
	defer n.remove(c)
	stop := context.AfterFunc(ctx, func() { c.cut() })
	defer stop()
	c.serve(ctx)
}

func (n *Node) add(c *conn) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closing:
		return net.ErrClosed
	case len(n.conns) >= n.cfg.Limits.Connections:
		return errFull
	}
	n.conns[c] = struct{}{}
	n.idle.Add(1)
	return nil
}

func (n *Node) remove(c *conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.conns, c)
	n.idle.Done()
}

// each calls f for all connections of the moment.
func (n *Node) each(f func(*conn)) {
	n.mu.Lock()
	conns := make([]*conn, 0, len(n.conns))
	for c := range n.conns {
		conns = append(conns, c)
	}
	n.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

// Connections is the number of open connections.
func (n *Node) Connections() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.conns)
}

// Shutdown refuses new connections, sends close with amqp:connection:forced to
// the open ones, and waits until all have ended. When ctx ends first the rest
// are cut and its error is returned.
func (n *Node) Shutdown(ctx context.Context) error {
	n.mu.Lock()
	n.closing = true
	n.mu.Unlock()
	n.each(func(c *conn) {
		c.shut(&amqp.Error{Condition: amqp.ErrConnectionForced, Description: "The service is shutting down."})
	})
	done := make(chan struct{})
	go func() {
		n.idle.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		n.each((*conn).cut)
		<-done
		return ctx.Err()
	}
}

// containerID is how one connection's open frame names the server.
func (n *Node) containerID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:]) + "_G" + "0"
}

// toAMQP turns an error of entity into one for the wire.
func toAMQP(err error) *amqp.Error {
	e := entity.AsError(err)
	return &amqp.Error{Condition: amqp.Symbol(e.Condition), Description: e.Text}
}
