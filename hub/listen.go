package hub

import (
	"bufio"
	"crypto/tls"
	"net"
	"time"
)

// This file finds out what a connection speaks. The first byte is enough: AMQP
// begins with "AMQP", TLS with a handshake record (22), HTTP with a method.

const tlsHandshake = 0x16

// peeked is a connection of which the first bytes have been looked at.
type peeked struct {
	net.Conn
	r *bufio.Reader
}

// Read returns what was peeked at, then what follows.
func (p *peeked) Read(b []byte) (int, error) {
	if p.r != nil {
		if p.r.Buffered() > 0 {
			return p.r.Read(b)
		}
		p.r = nil
	}
	return p.Conn.Read(b)
}

// CloseWrite closes our half of the connection, if it can be.
func (p *peeked) CloseWrite() error {
	if half, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// sniff waits for the first byte of a connection, unwraps TLS, and says whether
// what is spoken is HTTP.
func sniff(nc net.Conn, config *tls.Config, within time.Duration) (c net.Conn, isHTTP bool, err error) {
	if err := nc.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, false, err
	}
	p := &peeked{Conn: nc, r: bufio.NewReaderSize(nc, 16)}
	first, err := p.r.Peek(1)
	if err != nil {
		return nil, false, err
	}
	if first[0] == tlsHandshake && config != nil {
		return sniff(tls.Server(p, config), nil, within)
	}
	return p, first[0] >= 'B' && first[0] <= 'Z', p.SetReadDeadline(time.Time{})
}
