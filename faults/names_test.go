package faults

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server that knows every name below test., and can fail.
type names struct {
	conn     net.PacketConn
	trouble  atomic.Int32
	answered atomic.Int64 // questions that were answered badly, or not
	done     chan struct{}
}

// What the name server does.
const (
	namesWork int32 = iota
	namesFail       // SERVFAIL
	namesGone       // NXDOMAIN
	namesMute       // no answer
)

func newNames() (*names, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &names{conn: conn, done: make(chan struct{})}
	go n.serve()
	return n, nil
}

func (n *names) close() {
	_ = n.conn.Close()
	<-n.done
}

func (n *names) serve() {
	defer close(n.done)
	buffer := make([]byte, 1500)
	for {
		size, from, err := n.conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		if answer := n.answer(buffer[:size]); answer != nil {
			_, _ = n.conn.WriteTo(answer, from) // who asked asks again
		}
	}
}

func (n *names) answer(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.Authoritative, m.RecursionAvailable = true, true, true
	m.Answers, m.Authorities, m.Additionals = nil, nil, nil
	switch n.trouble.Load() {
	case namesMute:
		n.answered.Add(1)
		return nil
	case namesFail:
		n.answered.Add(1)
		m.RCode = dnsmessage.RCodeServerFailure
	case namesGone:
		n.answered.Add(1)
		m.RCode = dnsmessage.RCodeNameError
	default:
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
	}
	packed, err := m.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// lookup resolves a name by this server, as Go's own resolver does it.
func (n *names) lookup(ctx context.Context, host string) error {
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.conn.LocalAddr().String())
	}}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	_, err := r.LookupHost(ctx, strings.TrimSuffix(host, ".")+".")
	return err
}
