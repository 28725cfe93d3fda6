package interop

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy is a TCP relay between the clients and the hub: it counts connections and can cut them. Its address stays
// when the hub restarts on another port.
type proxy struct {
	listener net.Listener

	mu       sync.Mutex
	target   string // empty: connections are refused by closing them
	open     map[net.Conn]bool
	accepted []time.Time
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, open: make(map[net.Conn]bool)}
	go p.accept()
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut("")
	})
	return p
}

// leadsTo is where connections go.
func (p *proxy) leadsTo() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target
}

// connections says how many there were, and the time from the first to the last of them.
func (p *proxy) connections() (count int, opening time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.accepted)
	if n == 0 {
		return 0, 0
	}
	return n, p.accepted[n-1].Sub(p.accepted[0])
}

func (p *proxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.relay(client)
	}
}

func (p *proxy) relay(client net.Conn) {
	defer func() { _ = client.Close() }()
	p.mu.Lock()
	p.accepted = append(p.accepted, time.Now())
	target := p.target
	p.mu.Unlock()
	if target == "" {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.mu.Lock()
	p.open[client], p.open[server] = true, true
	p.mu.Unlock()
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		// One side's end ends the connection: AMQP has no use for half of one.
		_, _ = to.Close(), from.Close()
		done <- struct{}{}
	}
	go pipe(server, client)
	go pipe(client, server)
	<-done
	<-done
	p.mu.Lock()
	delete(p.open, client)
	delete(p.open, server)
	p.mu.Unlock()
}

// cut closes every connection and sends new ones to target from now on.
func (p *proxy) cut(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	for c := range p.open {
		_ = c.Close()
	}
}
