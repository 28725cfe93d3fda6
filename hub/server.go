package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/hub/internal/httpapi"
	"github.com/hubferry/hubferry/hub/internal/node"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// defaultConnections per namespace: the limit of the standard tier.
const defaultConnections = 5000

// ErrUnknownNamespace is returned for a namespace that Options did not name.
var ErrUnknownNamespace = errors.New("unknown namespace")

// ErrClosed is returned by Serve after Close.
var ErrClosed = errors.New("hub: server closed")

// Server is an embedded hub server. Its methods may be called concurrently.
type Server struct {
	o    Options
	log  *slog.Logger
	byID map[string]*namespace
	// accounts are the storage accounts, by name.
	accounts map[string]*account

	serving sync.WaitGroup // everything that runs

	mu     sync.Mutex
	closed bool
	open   map[io.Closer]struct{} // listeners and raw connections
}

// namespace is one namespace with what serves it.
type namespace struct {
	entity *entity.Namespace
	node   *node.Node
	http   *http.Server
	api    http.Handler
	handed *handoff
	raw    atomic.Int64 // connections, whatever they have said yet
}

// New opens the namespaces and creates the hubs that are missing. It listens
// nowhere yet. The server must be closed.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("component", "hub")
	s := &Server{
		o: o, log: o.Log, byID: map[string]*namespace{}, accounts: map[string]*account{},
		open: map[io.Closer]struct{}{},
	}
	s.o.Limits.Handshake = cmp.Or(o.Limits.Handshake, 30*time.Second)
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("hub options: %w", err)
	}
	if o.TLS == nil && o.TLSFiles != nil {
		var err error
		if s.o.TLS, err = o.TLSFiles.Load(); err != nil {
			return nil, err
		}
	}
	for _, each := range o.Namespaces {
		if err := s.addNamespace(ctx, each); err != nil {
			return nil, errors.Join(fmt.Errorf("namespace %q: %w", each.Name, err), s.Close(ctx))
		}
	}
	for _, each := range o.Blob {
		if err := s.addAccount(ctx, each); err != nil {
			return nil, errors.Join(fmt.Errorf("blob account %q: %w", each.AccountName(), err), s.Close(ctx))
		}
	}
	return s, nil
}

func (s *Server) addNamespace(ctx context.Context, o NamespaceOptions) error {
	switch {
	case o.Name == "":
		return errors.New("the name is empty")
	case s.byID[o.Name] != nil:
		return errors.New("the name is given twice")
	}
	options, err := s.o.entity(&o)
	if err != nil {
		return err
	}
	options.Hash = keyhash.EventHubs
	ns, err := entity.Open(ctx, options)
	if err != nil {
		return err
	}
	config := node.Config{
		Namespace: ns, Log: s.log.With("namespace", o.Name), Trace: s.o.Trace,
		Limits: node.Limits{
			Connections: s.o.Limits.Connections, Handshake: s.o.Limits.Handshake,
			Write: s.o.Limits.Write, Idle: s.o.Limits.Idle,
		},
	}
	if s.o.Faults != nil {
		config.Faults = s.o.Faults.namespace(o.Name)
	}
	n := &namespace{entity: ns, node: node.New(config), handed: newHandoff()}
	n.api = httpapi.New(httpapi.Options{
		Namespace: ns, Log: s.log.With("namespace", o.Name),
		Retention: (&HubOptions{}).spec(&s.o).Retention,
	})
	n.http = n.server(s.o.Limits.Handshake)
	if s.o.Faults != nil {
		s.o.Faults.attach(o.Name, n.node)
	}
	s.byID[o.Name] = n
	s.serving.Go(func() { _ = n.http.Serve(n.handed) })
	for _, h := range o.Hubs {
		if _, err := ns.EnsureHub(ctx, h.spec(&s.o)); err != nil {
			return fmt.Errorf("create hub %q: %w", h.Name, err)
		}
	}
	return nil
}

// Serve takes connections to the named namespace from ln until ctx ends, the
// server closes or accepting fails, and closes ln. Several listeners may serve
// one namespace. The error is ErrClosed after Close, ErrUnknownNamespace, or
// that of ctx or ln. When ctx ends only accepting does: connections go on until
// Close.
func (s *Server) Serve(ctx context.Context, ln net.Listener, namespace string) error {
	n := s.byID[namespace]
	if n == nil {
		return errors.Join(fmt.Errorf("%w %q", ErrUnknownNamespace, namespace), ln.Close())
	}
	return s.accept(ctx, ln, func(ctx context.Context, nc net.Conn) { s.serveConn(ctx, n, nc) })
}

// accept gives connections to serve until ctx ends, the server closes or
// accepting fails, and closes ln.
func (s *Server) accept(ctx context.Context, ln net.Listener, serve func(context.Context, net.Conn)) error {
	if !s.track(ln) {
		return ErrClosed
	}
	defer s.untrack(ln)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for pause := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			if s.track(nc) {
				go serve(context.WithoutCancel(ctx), nc)
			}
		case s.isClosed():
			return ErrClosed
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of file descriptors, say: it may pass
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log.Warn("accept", "error", err)
			if err := sleep(ctx, pause); err != nil {
				return err
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// track notes something that Close shall close and wait for. It closes it at
// once, and reports false, when the server is closed.
func (s *Server) track(c io.Closer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = c.Close()
		return false
	}
	s.open[c] = struct{}{}
	s.serving.Add(1)
	return true
}

func (s *Server) untrack(c io.Closer) {
	_ = c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	s.serving.Done()
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// serveConn serves one connection to its end.
func (s *Server) serveConn(ctx context.Context, n *namespace, nc net.Conn) {
	defer s.untrack(nc)
	defer n.raw.Add(-1)
	if !s.admit(&n.raw, nc, "namespace", n.entity.Name()) {
		return
	}
	c, isHTTP, err := sniff(nc, s.o.TLS, s.o.Limits.Handshake)
	switch {
	case err != nil:
		s.log.Debug("connection ended before it said anything", "remote", nc.RemoteAddr().String(), "error", err)
	case isHTTP:
		n.handed.give(c)
	default:
		n.node.ServeConn(ctx, c)
	}
}

// admit counts a connection to an endpoint, and reports whether it is within
// the limit.
func (s *Server) admit(count *atomic.Int64, nc net.Conn, kind, name string) bool {
	most := int64(cmp.Or(s.o.Limits.Connections, defaultConnections))
	if count.Add(1) > most {
		s.log.Warn("connection refused: too many", kind, name, "remote", nc.RemoteAddr().String(), "limit", most)
		return false
	}
	return true
}

// Close stops accepting, sends close to all clients, waits until they have
// gone, and closes the namespaces and accounts with their data. When ctx ends first the
// remaining connections are cut; the data is closed in order all the same.
// Closing twice is harmless.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	for c := range s.open {
		if ln, ok := c.(net.Listener); ok {
			_ = ln.Close()
		}
	}
	s.mu.Unlock()
	if again {
		return nil
	}
	var all sync.WaitGroup
	for _, n := range s.byID {
		all.Go(func() {
			if err := n.node.Shutdown(ctx); err != nil {
				s.log.Warn("clients were cut at the end", "namespace", n.entity.Name(), "error", err)
			}
			_ = n.http.Close()
			_ = n.handed.Close()
		})
	}
	for _, a := range s.accounts {
		all.Go(func() { a.shutdown(ctx) })
	}
	all.Wait()
	s.mu.Lock()
	for c := range s.open { // those that have not said what they speak
		_ = c.Close()
	}
	s.mu.Unlock()
	s.serving.Wait()
	var errs []error
	for _, n := range s.byID {
		errs = append(errs, n.entity.Close())
	}
	for _, a := range s.accounts {
		errs = append(errs, a.blob.Close())
	}
	return errors.Join(errs...)
}
