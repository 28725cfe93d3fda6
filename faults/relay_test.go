package faults

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// relay is the network between one instance and one server: it forwards connections, and
// misbehaves when it is told to.
type relay struct {
	ln net.Listener
	to func() string // where the server is now
	// shut is an address that nobody listens at.
	shut net.Conn

	mu      sync.Mutex
	over    bool
	refused bool
	flows   map[*flow]bool
	all     sync.WaitGroup
	// watch, if not nil, is asked about what a client is about to send; when it says so,
	// it is called no more.
	watch func(chunk []byte) bool
}

// flow is one connection through a relay.
type flow struct {
	client, server net.Conn

	mu      sync.Mutex
	changed chan struct{} // closed when the modes change
	modes   [2]mode       // of what the client sends, of what the server sends
	late    time.Duration // of what is kept in mode hold
}

// mode is what becomes of what one side sends.
type mode uint8

const (
	forward mode = iota
	wait         // nothing is read, so that it piles up
	drop         // it is read and thrown away: the other side does not learn of it, nor of the end
	hold         // it is kept, and delivered when its sender is long gone
)

const (
	fromClient = 0
	fromServer = 1
)

func newRelay(to func() string) (*relay, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{ln: ln, to: to, flows: map[*flow]bool{}}
	r.all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r.all.Go(func() { r.serve(c) })
		}
	})
	return r, nil
}

// address is where to connect: nobody listens there while the relay refuses.
func (r *relay) address() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused {
		return r.shut.LocalAddr().String()
	}
	return r.ln.Addr().String()
}

func (r *relay) close() {
	r.mu.Lock()
	r.over = true
	r.watch = nil
	r.mu.Unlock()
	_ = r.ln.Close()
	r.set(fromClient, forward, 0)
	r.set(fromServer, forward, 0)
	r.cut()
	if r.shut != nil {
		_ = r.shut.Close()
	}
	r.all.Wait()
}

func (r *relay) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", r.to())
	if err != nil {
		reset(client)
		return
	}
	defer func() { _ = server.Close() }()
	f := &flow{client: client, server: server, changed: make(chan struct{})}
	r.mu.Lock()
	if r.over {
		r.mu.Unlock()
		return
	}
	r.flows[f] = true
	r.mu.Unlock()
	var ways sync.WaitGroup
	ways.Go(func() { r.carry(f, fromClient, client, server) })
	ways.Go(func() { r.carry(f, fromServer, server, client) })
	ways.Wait()
	r.mu.Lock()
	delete(r.flows, f)
	r.mu.Unlock()
}

// carry forwards one way of a connection until it ends.
func (r *relay) carry(f *flow, way int, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	var kept []byte
	silent := false // the other side must not learn of the end
	for {
		n, err := from.Read(buffer)
		chunk := buffer[:n]
		if way == fromClient && n > 0 {
			r.look(chunk)
		}
		switch f.pass(way) {
		case drop:
			silent, chunk = true, nil
		case hold:
			kept, chunk = append(kept, chunk...), nil
		default:
		}
		if len(chunk) > 0 {
			if _, werr := to.Write(chunk); werr != nil {
				err = werr
			}
		}
		if err == nil {
			continue
		}
		if kept != nil {
			time.Sleep(f.lateness())
			_, _ = to.Write(kept) // who sent it is gone
			_ = to.Close()
			return
		}
		if !silent {
			_ = to.Close()
		}
		return
	}
}

// pass waits until something may pass, and returns what becomes of it.
func (f *flow) pass(way int) mode {
	for {
		f.mu.Lock()
		m, changed := f.modes[way], f.changed
		f.mu.Unlock()
		if m != wait {
			return m
		}
		<-changed
	}
}

func (f *flow) lateness() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.late
}

// look shows what a client sends to who waits for it.
func (r *relay) look(chunk []byte) {
	r.mu.Lock()
	watch := r.watch
	r.mu.Unlock()
	if watch == nil || !watch(chunk) {
		return
	}
	r.mu.Lock()
	r.watch = nil
	r.mu.Unlock()
}

// await has f called with what clients send, until it returns true; nil ends that.
func (r *relay) await(f func(chunk []byte) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watch = f
}

// set changes the mode of one way of all connections, and returns how many there are.
func (r *relay) set(way int, m mode, late time.Duration) int {
	flows := r.open()
	for _, f := range flows {
		f.mu.Lock()
		f.modes[way], f.late = m, late
		close(f.changed)
		f.changed = make(chan struct{})
		f.mu.Unlock()
	}
	return len(flows)
}

func (r *relay) open() []*flow {
	r.mu.Lock()
	defer r.mu.Unlock()
	flows := make([]*flow, 0, len(r.flows))
	for f := range r.flows {
		flows = append(flows, f)
	}
	return flows
}

// cut ends all connections at once, and returns how many there were.
func (r *relay) cut() int {
	flows := r.open()
	for _, f := range flows {
		reset(f.client)
		reset(f.server)
	}
	return len(flows)
}

// lose ends all connections of clients. What the servers shall still get of them is left.
func (r *relay) lose() {
	for _, f := range r.open() {
		reset(f.client)
	}
}

// refuse makes new connections be refused, or no longer.
func (r *relay) refuse(refused bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if refused && r.shut == nil {
		// The port of one end of a connection is taken, and nobody listens there.
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		c, err := net.Dial("tcp", ln.Addr().String())
		if err = errors.Join(err, ln.Close()); err != nil {
			return err
		}
		r.shut = c
	}
	r.refused = refused
	return nil
}

// reset closes a connection without a word.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
