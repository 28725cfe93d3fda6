package postgrestest

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
)

// Proxy is a relay in front of a server that knows enough of its protocol to lose the answer to a write that was done.
// Its methods may be called by several goroutines at once.
type Proxy struct {
	listener net.Listener
	target   string

	mu          sync.Mutex
	away        bool
	lose        int // answers of the next transactions that write
	still       chan struct{}
	open        map[net.Conn]bool
	connections int
	statements  int
}

// NewProxy starts a proxy in front of an address. The caller closes it; the context bounds no more than its making.
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, open: map[net.Conn]bool{}, still: make(chan struct{})}
	close(p.still)
	go p.accept(context.WithoutCancel(ctx))
	return p, nil
}

// Close ends the proxy and all connections.
func (p *Proxy) Close() {
	_ = p.listener.Close()
	p.SetStill(false)
	p.SetAway(true)
}

// Address is where the proxy listens.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// SetAway cuts all connections and takes no new ones, until it is called again.
func (p *Proxy) SetAway(away bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away = away
	if away {
		p.cut()
	}
}

// Cut cuts all connections.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for c := range p.open {
		_ = c.Close()
	}
}

// SetStill holds all answers back, until it is called again: connections look alive, and statements are done.
func (p *Proxy) SetStill(still bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.still:
		if still {
			p.still = make(chan struct{})
		}
	default:
		if !still {
			close(p.still)
		}
	}
}

// Lose loses the answers to the next n transactions that write: they are done, and their connections break.
func (p *Proxy) Lose(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = n
}

// Traffic returns how many connections there were, and how many answers to statements or groups of them.
func (p *Proxy) Traffic() (connections, statements int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections, p.statements
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.relay(ctx, client)
	}
}

func (p *Proxy) relay(ctx context.Context, client net.Conn) {
	defer client.Close() //nolint:errcheck // nothing depends on it
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close() //nolint:errcheck // nothing depends on it
	p.mu.Lock()
	away := p.away
	p.open[client], p.open[server] = true, true
	p.connections++
	p.mu.Unlock()
	if away {
		return
	}
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	p.answer(client, bufio.NewReader(server))
	p.mu.Lock()
	delete(p.open, client)
	delete(p.open, server)
	p.mu.Unlock()
}

// answer passes the server's messages on, those up to a ReadyForQuery together.
func (p *Proxy) answer(client io.Writer, server *bufio.Reader) {
	var held []byte
	wrote := false
	for {
		head := make([]byte, 5)
		if _, err := io.ReadFull(server, head); err != nil {
			_, _ = client.Write(held)
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(server, body); err != nil {
			return
		}
		held = append(append(held, head...), body...)
		switch head[0] {
		case 'C': // CommandComplete
			tag := string(body)
			wrote = wrote || strings.HasPrefix(tag, "COMMIT") || strings.HasPrefix(tag, "INSERT") || strings.HasPrefix(tag, "UPDATE")
			continue
		case 'Z': // ReadyForQuery: I is idle, T is inside a transaction
			if p.loses(wrote && body[0] == 'I') {
				return
			}
			wrote = wrote && body[0] == 'T'
		case 'R', 'E', 'G', 'N': // authentication, errors: they need an answer or nothing follows
		default:
			continue
		}
		p.mu.Lock()
		still := p.still
		p.mu.Unlock()
		<-still
		if _, err := client.Write(held); err != nil {
			return
		}
		held = held[:0]
	}
}

// loses counts an answer, and reports whether it gets lost.
func (p *Proxy) loses(wrote bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statements++
	if p.lose == 0 || !wrote {
		return false
	}
	p.lose--
	return true
}
