package eventhubs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Connection = (*connection)(nil)

// connection is a configured way to one namespace. All its sources and targets share
// one AMQP connection, which is opened when it is first needed and again when it was
// lost; nothing is retried here.
type connection struct {
	opts      *ConnectionOptions
	env       hubferry.Env
	tokens    tokens
	dialer    *dialer
	hostname  string // for open
	audience  string // what the audiences of all hubs begin with
	namespace string // canonical identity (G-1)
	only      string // the only hub that the key is good for, or ""
	pace      *pacer
	budget    *budget

	spawn  spawner
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	dialing flight[*amqpConn]
	mu      sync.Mutex
	current *amqpConn
	closed  bool
	reads   map[string]any // flights of management reads, by what is read
}

// Connect opens a connection with options of type *ConnectionOptions. It reads the
// files that they name and does not reach the service yet.
func Connect(ctx context.Context, o hubferry.Options, env hubferry.Env) (hubferry.Connection, error) {
	opts, ok := o.(*ConnectionOptions)
	if !ok {
		return nil, fmt.Errorf("connect: options of type %T, want %T", o, opts)
	}
	if p := opts.Validate(); len(p) > 0 {
		return nil, fmt.Errorf("connect: %s: %s", cmp.Or(p[0].Field, "options"), p[0].Message)
	}
	c := &connection{opts: opts, env: env, reads: map[string]any{}, budget: newBudget(env.Budget)}
	if c.env.Log == nil {
		c.env.Log = slog.New(slog.DiscardHandler)
	}
	c.env.Log = c.env.Log.With("component", "eventhubs")
	cs := connString{host: opts.Namespace}
	if !opts.ConnectionString.IsZero() {
		var err error
		if cs, err = parseConnString(opts.ConnectionString.Reveal()); err != nil {
			return nil, fmt.Errorf("connect: connectionString: %w", err)
		}
	}
	if err := c.address(cs); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	var err error
	if c.tokens, err = newTokens(opts, cs, env); err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.spawn = func(run func(context.Context)) { c.run(life, run) }
	return c, nil
}

// run starts a goroutine that Close waits for.
func (c *connection) run(life context.Context, f func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // nobody waits any more, and life has ended or is about to
		go f(life)
		return
	}
	c.tasks.Go(func() { f(life) })
}

// address derives the names by which the namespace goes.
func (c *connection) address(cs connString) error {
	name, port, err := splitHost(cs.host)
	if err != nil {
		return err
	}
	c.hostname, c.only = name, cs.entityPath
	c.audience = "amqps://" + cs.host + "/"
	if cs.emulator {
		c.audience = "amqp://" + cs.host + "/"
	}
	local := cs.emulator || isLoopback(name)
	c.namespace = strings.ToLower(strings.TrimSuffix(name, "."))
	if local && port != "" {
		c.namespace = strings.ToLower(cs.host)
	}
	if c.opts.ID != "" {
		c.namespace = c.opts.ID
	}
	if !local {
		c.pace = &pacer{}
	}
	c.dialer, err = newDialer(c.opts, cs.host, cs.emulator, c.env)
	return err
}

func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.IsLoopback()
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// instance is the name that the service shows in its texts.
func (c *connection) instance() string { return cmp.Or(c.env.Instance, "hubferry") }

func (c *connection) idleTimeout() time.Duration {
	return cmp.Or(c.opts.IdleTimeout, defaultIdleTimeout)
}

// Namespace implements hubferry.Connection. It asks nobody.
func (c *connection) Namespace(context.Context) (string, error) { return c.namespace, nil }

// Source implements hubferry.Connection.
func (c *connection) Source(_ context.Context, hub string, o hubferry.Options) (hubferry.Source, error) {
	opts, ok := o.(*SourceOptions)
	if !ok {
		return nil, fmt.Errorf("source %s: options of type %T, want %T", hub, o, opts)
	}
	if err := c.check(hub); err != nil {
		return nil, err
	}
	return newSource(c, hub, opts), nil
}

// Target implements hubferry.Connection.
func (c *connection) Target(_ context.Context, o hubferry.Options) (hubferry.Target, error) {
	opts, ok := o.(*TargetOptions)
	if !ok {
		return nil, fmt.Errorf("target: options of type %T, want %T", o, opts)
	}
	return &target{c: c, opts: opts}, nil
}

// check refuses a hub that cannot be reached with this connection.
func (c *connection) check(hub string) error {
	c.mu.Lock()
	closed := c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return hubferry.ErrClosed
	case hub == "" || strings.ContainsAny(hub, "?#"):
		return &hubferry.Error{Kind: hubferry.NotFound, Op: "open hub", Err: fmt.Errorf("%q is no name of a hub", hub)}
	case c.only != "" && !strings.EqualFold(c.only, hub):
		return &hubferry.Error{
			Kind: hubferry.Unauthorized, Op: "open hub " + hub,
			Err:  fmt.Errorf("the connection string is for the hub %s only", c.only),
			Hint: "use the connection string of the namespace, or one for this hub",
		}
	}
	return nil
}

// get returns the AMQP connection, opening it if there is none.
func (c *connection) get(ctx context.Context) (*amqpConn, error) {
	c.mu.Lock()
	a, closed := c.current, c.closed
	c.mu.Unlock()
	switch {
	case closed:
		return nil, hubferry.ErrClosed
	case a != nil && !a.dead():
		return a, nil
	}
	a, err := c.dialing.join(ctx, c.spawn, c.reconnect)
	if err != nil {
		return nil, c.failed(classify("connect to "+c.dialer.address, nil, err, phaseConnect))
	}
	return a, nil
}

// failed gives the answer that a closed connection owes, instead of the error that
// closing it caused.
func (c *connection) failed(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return hubferry.ErrClosed
	}
	return err
}

// linkFailed is failed for the link to a hub. When the service found the token wanting,
// the next link shows a new one.
func (c *connection) linkFailed(hub string, e *hubferry.Error) error {
	c.mu.Lock()
	a := c.current
	c.mu.Unlock()
	if e.Kind == hubferry.Unauthorized && a != nil {
		a.claims.forget(c.audience + hub)
	}
	return c.failed(e)
}

func (c *connection) reconnect(life context.Context) (*amqpConn, error) {
	c.mu.Lock()
	old := c.current
	c.mu.Unlock()
	if old != nil && !old.dead() { // somebody was faster
		return old, nil
	}
	a, err := c.openConn(life)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.current = a
	}
	c.mu.Unlock()
	if closed {
		return nil, errors.Join(hubferry.ErrClosed, a.Close(life))
	}
	return a, nil
}

// session opens a session for the links to one hub: the connection is there and the
// service has a valid token for the hub.
func (c *connection) session(ctx context.Context, hub string) (session, error) {
	a, err := c.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.claims.ensure(ctx, c.audience+hub, c.spawn); err != nil {
		return nil, classify("sign in for "+hub, nil, err, phaseConnect)
	}
	s, err := a.Begin(ctx)
	if err != nil {
		return nil, classify("open session", nil, err, phaseConnect)
	}
	return s, nil
}

// Close implements hubferry.Connection.
func (c *connection) Close(ctx context.Context) error {
	c.mu.Lock()
	a, closed := c.current, c.closed
	c.current, c.closed = nil, true
	c.mu.Unlock()
	if closed {
		return nil
	}
	var err error
	if a != nil && !a.dead() {
		err = a.Close(ctx)
	}
	c.cancel()
	c.tasks.Wait()
	if err != nil {
		// The peer was gone already, or slow: there is nothing that anybody could do.
		c.env.Log.Debug("closing the connection", "error", err)
	}
	return nil
}
