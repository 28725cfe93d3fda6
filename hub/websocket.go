package hub

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// This file takes AMQP over WebSockets. The messages are a byte stream: one may
// hold a part of a frame or several frames.

const websocketPath = "/$servicebus/websocket"

// server returns the HTTP server of a namespace. It takes the connections that
// turned out to speak HTTP.
func (n *namespace) server(within time.Duration) *http.Server {
	return &http.Server{
		Handler:           http.HandlerFunc(n.serveHTTP),
		ReadHeaderTimeout: within,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

func (n *namespace) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.TrimSuffix(r.URL.Path, "/") != websocketPath { // .NET adds a slash
		n.api.ServeHTTP(w, r)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{"AMQPWSB10", "amqp"},
		// Pages of any origin may come: what they can do depends on the token
		// that they have, not on a cookie.
		InsecureSkipVerify: true,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return // Accept has answered
	}
	n.node.ServeConn(r.Context(), &remote{
		Conn: websocket.NetConn(r.Context(), ws, websocket.MessageBinary),
		addr: wsAddress(r.RemoteAddr),
	})
}

// remote is a connection that knows its peer's address.
type remote struct {
	net.Conn
	addr wsAddress
}

// RemoteAddr returns the address of the TCP connection.
func (r *remote) RemoteAddr() net.Addr { return r.addr }

// wsAddress is the address of the peer of a WebSocket.
type wsAddress string

// Network returns "websocket".
func (wsAddress) Network() string { return "websocket" }

// String returns host and port.
func (a wsAddress) String() string { return string(a) }

// handoff is a listener that is given its connections.
type handoff struct {
	conns chan net.Conn
	ended chan struct{}
	once  sync.Once
}

func newHandoff() *handoff {
	return &handoff{conns: make(chan net.Conn), ended: make(chan struct{})}
}

// give hands a connection over and waits until it is closed.
func (h *handoff) give(c net.Conn) {
	held := &heldConn{Conn: c, closed: make(chan struct{})}
	select {
	case h.conns <- held:
		<-held.closed
	case <-h.ended:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.ended) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return wsAddress("handoff") }

// heldConn tells when it is closed.
type heldConn struct {
	net.Conn
	closed chan struct{}
	once   sync.Once
}

// Close closes the connection and says so.
func (c *heldConn) Close() error {
	defer c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}
