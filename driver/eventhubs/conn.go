package eventhubs

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// amqpConn is one AMQP connection with what lives and dies with it.
type amqpConn struct {
	transport
	claims *claims

	cbs, management node
}

// node is a pair of links that is opened when it is first needed and again when it was
// lost.
type node struct {
	mu     sync.Mutex
	rpc    *rpc
	flight flight[*rpc]
}

// The nodes that answer requests.
const (
	cbsNode        = "$cbs"
	managementNode = "$management"
)

// Limits on how long things may take for which nobody set a deadline.
const (
	dialTimeout = 30 * time.Second
	openTimeout = 30 * time.Second
)

var errNoAnswer = errors.New("the service does not answer")

// cause returns why a context ended, if it did, instead of the error that came of it.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// openConn connects and starts what runs in the background until life ends.
func (c *connection) openConn(life context.Context) (*amqpConn, error) {
	ctx, cancel := context.WithTimeout(life, dialTimeout)
	defer cancel()
	nc, err := c.dialer.open(ctx, life)
	if err != nil {
		return nil, err
	}
	nc = &watched{Conn: nc, address: c.dialer.address, idle: c.idleTimeout()}
	t, err := openTransport(ctx, c.opts.Client, nc, &openOptions{
		container: "hubferry-" + rand.Text(),
		hostname:  c.hostname,
		idle:      c.idleTimeout(),
		properties: ours.Map{
			{Key: ours.Symbol("product"), Value: "hubferry"},
			{Key: ours.Symbol("platform"), Value: runtime.GOOS},
			{Key: ours.Symbol("framework"), Value: runtime.Version()},
			{Key: ours.Symbol("user-agent"), Value: "hubferry (" + c.instance() + ")"},
		},
		trace: c.traceLine(),
	})
	if err != nil {
		return nil, err
	}
	a := &amqpConn{transport: t}
	a.claims = newClaims(c.tokens, c.env.Log, func(ctx context.Context, audience string, t token) error {
		return c.putToken(ctx, a, audience, t)
	})
	c.spawn(func(ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go func() { // ends with the connection, which Close closes
			<-a.Done()
			cancel()
		}()
		a.claims.keep(ctx)
	})
	return a, nil
}

// dead reports whether the connection is gone.
func (a *amqpConn) dead() bool {
	select {
	case <-a.Done():
		return true
	default:
		return false
	}
}

// traceLine returns where the frames of a connection are to be told of, or nil. Each line
// begins with the address: the others are of another connection.
func (c *connection) traceLine() func(line string) {
	address := c.dialer.address + " "
	switch {
	case c.env.Trace != nil:
		return func(line string) { c.env.Trace(address + line) }
	case c.opts.Trace:
		return func(line string) { c.env.Log.Info("frame", slog.String("frame", address+line)) }
	default:
		return nil
	}
}

// putToken shows a token to the service. The links to $cbs stay open: the service
// allows one pair per connection.
func (c *connection) putToken(ctx context.Context, a *amqpConn, audience string, t token) error {
	props := ours.Map{
		{Key: "operation", Value: "put-token"},
		{Key: "type", Value: t.kind},
		{Key: "name", Value: audience},
	}
	if !t.expires.IsZero() {
		props = append(props, ours.Pair{Key: "expiration", Value: ours.TimestampOf(t.expires)})
	}
	_, err := c.request(ctx, a, &a.cbs, cbsNode, t.text, props)
	return err
}

// request calls a node, opening its links if they are not.
func (c *connection) request(ctx context.Context, a *amqpConn, n *node, name string, value any, props ours.Map) (reply, error) {
	r := n.get()
	if r == nil {
		var err error
		if r, err = n.flight.join(ctx, c.spawn, func(life context.Context) (*rpc, error) { return c.openNode(life, a, n, name) }); err != nil {
			return reply{}, err
		}
	}
	return r.call(ctx, value, props)
}

func (n *node) get() *rpc {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.rpc != nil && !n.rpc.dead() {
		return n.rpc
	}
	return nil
}

func (c *connection) openNode(life context.Context, a *amqpConn, n *node, name string) (*rpc, error) {
	if r := n.get(); r != nil {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(life, openTimeout)
	defer cancel()
	n.mu.Lock()
	old := n.rpc
	n.rpc = nil
	n.mu.Unlock()
	if old != nil {
		_ = old.close(ctx) // one of its links is gone; the service wants both gone
	}
	r, err := openRPC(ctx, a, name)
	if err != nil {
		return nil, err
	}
	c.spawn(r.run)
	n.mu.Lock()
	n.rpc = r
	n.mu.Unlock()
	return r, nil
}
