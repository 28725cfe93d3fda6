package blob

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
)

// Conn is a connection on which requests come. It remembers what Go's HTTP
// server forgets: how the client spelled the names of headers, because names
// of metadata are shown in the case in which they were set.
//
// It listens in while the header of a request is read: from the start, and
// from each call of Idle, up to the first empty line.
type Conn struct {
	net.Conn
	secure bool

	mu   sync.Mutex
	head []byte
	over bool // the empty line has come
}

// maxHead bounds what is remembered; an HTTP server refuses longer headers.
const maxHead = 128 << 10

// NewConn wraps a connection; secure says that it is encrypted.
func NewConn(c net.Conn, secure bool) *Conn { return &Conn{Conn: c, secure: secure} }

// Read reads, and listens in.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.over {
		c.head = append(c.head, b[:n]...)
		c.over = len(c.head) > maxHead || bytes.Contains(c.head, []byte("\r\n\r\n"))
	}
	return n, err
}

// Idle is called when an answer has been sent and another request may come.
func (c *Conn) Idle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head, c.over = nil, false
}

// connKey is the key of a Conn in the context of its requests.
type connKey struct{}

// Context returns the context for the requests of this connection.
func (c *Conn) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// spelling gives the names of the metadata in the header that was read last,
// as the client wrote them, by their lower case.
func (c *Conn) spelling() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	spelled := map[string]string{}
	for line := range bytes.SplitSeq(c.head, []byte("\r\n")) {
		if len(line) == 0 {
			break // the body follows
		}
		name, _, _ := bytes.Cut(line, []byte(":"))
		if len(name) > len(metaPrefix) && strings.EqualFold(string(name[:len(metaPrefix)]), metaPrefix) {
			own := string(name[len(metaPrefix):])
			spelled[strings.ToLower(own)] = own
		}
	}
	return spelled
}

// conn is the connection of a request, nil if it came on none of ours.
func (c *call) conn() *Conn {
	conn, _ := c.r.Context().Value(connKey{}).(*Conn)
	return conn
}

// spelling gives the names of metadata as the client wrote them, by their
// lower case.
func (c *call) spelling() map[string]string {
	if conn := c.conn(); conn != nil {
		return conn.spelling()
	}
	return nil
}

// secure reports whether the request came over TLS.
func (c *call) secure() bool {
	conn := c.conn()
	return c.r.TLS != nil || conn != nil && conn.secure
}
