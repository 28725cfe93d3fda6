package eventhubs

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// peer is a server that follows a script: it does what a real one may do and the
// embedded hub never does.
type peer struct {
	t       testing.TB
	address string

	mu         sync.Mutex
	partitions []string
	created    int64  // of the hub
	last       int64  // sequence number of the last event of each partition
	maxMessage uint64 // of links that send to us
	credit     uint32
	puts       []string // audiences of put-token, in order
	reads      int
	cbsStatus  int32
	// onBatch answers a message on a partition link.
	onBatch func(c *peerConn, channel uint16, handle, id uint32, msg []byte)
	// onAttach may answer the attach of a data link itself.
	onAttach func(c *peerConn, channel uint16, a *ours.Attach) (done bool)
	// onCredit is called when a client gives credit on a link that it receives on, and
	// onFlow for every flow.
	onCredit func(c *peerConn, channel uint16, handle uint32, credit uint32)
	onFlow   func(c *peerConn, channel uint16, w *ours.Flow)
	// shift is added to the numbers of channels and handles that are ours to choose.
	shift uint32
}

// peerConn is one connection to a peer.
type peerConn struct {
	p      *peer
	conn   net.Conn
	mu     sync.Mutex // writing
	links  map[[2]uint32]*peerLink
	nextID map[uint16]uint32
	ended  map[uint16]bool // sessions that we have ended
	shift  uint32
}

type peerLink struct {
	address  string
	receiver bool // the client receives
	partial  []byte
	id       uint32 // of the delivery under way
	replyTo  uint32 // handle of the other link of a pair
}

func startPeer(t testing.TB) *peer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, address: ln.Addr().String(), partitions: []string{"0", "1", "2", "3"}, last: -1,
		maxMessage: 1 << 20, credit: 100_000, cbsStatus: 202, created: 1700000000000,
		onBatch: func(c *peerConn, ch uint16, _, id uint32, _ []byte) { c.dispose(ch, id, ours.Accepted()) },
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c := &peerConn{p: p, conn: conn, links: map[[2]uint32]*peerLink{}, nextID: map[uint16]uint32{}, ended: map[uint16]bool{}}
			t.Cleanup(func() { _ = conn.Close() })
			wg.Go(func() {
				if err := c.serve(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					t.Logf("peer: %v", err)
				}
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return p
}

func (p *peer) options() *ConnectionOptions {
	s := &testServer{address: p.address}
	return s.options()
}

// set changes the script.
func (p *peer) set(f func(p *peer)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// script returns a copy of the script as it stands.
func (p *peer) script() peer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return peer{
		partitions: p.partitions, created: p.created, last: p.last, maxMessage: p.maxMessage, credit: p.credit,
		puts: append([]string(nil), p.puts...), reads: p.reads, cbsStatus: p.cbsStatus,
		onBatch: p.onBatch, onAttach: p.onAttach, onCredit: p.onCredit, onFlow: p.onFlow, shift: p.shift,
	}
}

func (c *peerConn) serve() error {
	in := ours.NewFrameReader(c.conn, 1<<20)
	for {
		h, err := in.PeekHeader()
		if err != nil {
			return err
		}
		if h.Valid() {
			_, _ = in.Header()
			c.write(h[:])
			if h == ours.HeaderSASL {
				c.write(ours.AppendSASLFrame(nil, &ours.SASLMechanisms{Mechanisms: []ours.Symbol{ours.MechAnonymous}}))
			}
			continue
		}
		f, err := in.Next()
		if err != nil {
			return err
		}
		if f.Type == ours.TypeSASL {
			c.write(ours.AppendSASLFrame(nil, &ours.SASLOutcome{}))
			continue
		}
		if len(f.Body) == 0 {
			continue
		}
		if done, err := c.frame(f); done || err != nil {
			return err
		}
	}
}

func (c *peerConn) write(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = c.conn.Write(b)
}

// send sends a performative on the session whose channel on the client's side is given.
func (c *peerConn) send(channel uint16, p ours.Performative) {
	switch p.(type) {
	case *ours.Open, *ours.Close:
		c.write(ours.AppendFrame(nil, 0, p))
	default:
		c.write(ours.AppendFrame(nil, channel+uint16(c.shift), p))
	}
}

func (c *peerConn) frame(f ours.Frame) (done bool, err error) {
	code, err := ours.BodyCode(f.Body)
	if err != nil {
		return false, err
	}
	switch code {
	case ours.CodeOpen:
		c.shift = c.p.script().shift
		c.send(0, &ours.Open{ContainerID: "peer", MaxFrameSize: ours.Some(uint32(65536)), ChannelMax: ours.Some(uint16(4999))})
	case ours.CodeBegin:
		c.send(f.Channel, &ours.Begin{RemoteChannel: ours.Some(f.Channel), NextOutgoingID: 0, IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30})
	case ours.CodeAttach:
		var a ours.Attach
		if _, err := a.Decode(f.Body); err != nil {
			return false, err
		}
		c.attach(f.Channel, &a)
	case ours.CodeTransfer:
		return false, c.transfer(f)
	case ours.CodeFlow:
		var w ours.Flow
		if _, err := w.Decode(f.Body); err != nil {
			return false, err
		}
		s := c.p.script()
		if s.onFlow != nil {
			s.onFlow(c, f.Channel, &w)
		}
		if w.Handle.OK && s.onCredit != nil {
			if l := c.links[[2]uint32{uint32(f.Channel), w.Handle.V}]; l != nil && l.receiver && l.address[0] != '$' {
				s.onCredit(c, f.Channel, w.Handle.V, w.LinkCredit.V)
			}
		}
	case ours.CodeDetach:
		var d ours.Detach
		if _, err := d.Decode(f.Body); err != nil {
			return false, err
		}
		key := [2]uint32{uint32(f.Channel), d.Handle}
		if c.links[key] != nil {
			delete(c.links, key)
			c.send(f.Channel, &ours.Detach{Handle: d.Handle + c.shift, Closed: true})
		}
	case ours.CodeEnd:
		if !c.ended[f.Channel] {
			c.send(f.Channel, &ours.End{})
		}
		delete(c.ended, f.Channel)
	case ours.CodeClose:
		c.send(0, &ours.Close{})
		return true, nil
	}
	return false, nil
}

func (c *peerConn) attach(channel uint16, a *ours.Attach) {
	s := c.p.script()
	l := &peerLink{receiver: a.Receiver}
	if a.Receiver {
		l.address = a.Source.Address
	} else {
		l.address = a.Target.Address
	}
	if l.address[0] != '$' && s.onAttach != nil && s.onAttach(c, channel, a) {
		return
	}
	for key, other := range c.links { // the pair of a node is on one session
		if key[0] == uint32(channel) && other.address == l.address {
			other.replyTo, l.replyTo = a.Handle, key[1]
		}
	}
	c.links[[2]uint32{uint32(channel), a.Handle}] = l
	out := *a
	out.Receiver, out.Handle = !a.Receiver, a.Handle+c.shift
	out.MaxMessageSize = ours.Some(s.maxMessage)
	out.InitialDeliveryCount = ours.Opt[uint32]{}
	if a.Receiver {
		out.InitialDeliveryCount = ours.Some(uint32(0))
	}
	c.send(channel, &out)
	if !a.Receiver && s.credit > 0 {
		c.send(channel, &ours.Flow{
			NextIncomingID: ours.Some(uint32(0)), IncomingWindow: 1 << 30, OutgoingWindow: 1 << 30,
			Handle: ours.Some(a.Handle + c.shift), DeliveryCount: ours.Some(uint32(0)), LinkCredit: ours.Some(s.credit),
		})
	}
}

func (c *peerConn) transfer(f ours.Frame) error {
	var tr ours.Transfer
	payload, err := tr.Decode(f.Body)
	if err != nil {
		return err
	}
	l := c.links[[2]uint32{uint32(f.Channel), tr.Handle}]
	if l == nil {
		return nil
	}
	if tr.DeliveryID.OK {
		l.id = tr.DeliveryID.V
	}
	if l.partial = append(l.partial, payload...); tr.More {
		return nil
	}
	msg := l.partial
	l.partial = nil
	if l.address[0] != '$' {
		s := c.p.script()
		s.onBatch(c, f.Channel, tr.Handle, l.id, msg)
		return nil
	}
	c.dispose(f.Channel, l.id, ours.Accepted())
	return c.reply(f.Channel, l, msg)
}

func (c *peerConn) dispose(channel uint16, id uint32, state ours.State) {
	c.send(channel, &ours.Disposition{Receiver: true, First: id, Settled: true, State: state})
}

func (c *peerConn) detach(channel uint16, handle uint32, e *ours.Error) {
	delete(c.links, [2]uint32{uint32(channel), handle})
	c.send(channel, &ours.Detach{Handle: handle + c.shift, Closed: true, Error: e})
}

// peerPayload is how much of a message a peer puts into a frame.
const peerPayload = maxFrame - 100

// deliver sends a settled message on a link that the client receives on, in frames of
// up to 40,000 bytes, and returns their number.
func (c *peerConn) deliver(channel uint16, handle uint32, msg []byte) (frames uint32) {
	c.mu.Lock()
	id := c.nextID[channel]
	c.nextID[channel] = id + 1
	c.mu.Unlock()
	for first := true; first || len(msg) > 0; first = false {
		n := min(len(msg), peerPayload)
		out, mark := ours.BeginFrame(nil, ours.TypeAMQP, channel+uint16(c.shift))
		tr := ours.Transfer{
			Handle: handle + c.shift, DeliveryID: ours.Some(id), DeliveryTag: []byte{1}, Settled: true,
			MessageFormat: ours.Some(ours.FormatMessage), More: n < len(msg),
		}
		c.write(ours.EndFrame(append(tr.Append(out), msg[:n]...), mark))
		msg = msg[n:]
		frames++
	}
	return frames
}

// reply answers put-token and READ.
func (c *peerConn) reply(channel uint16, l *peerLink, msg []byte) error {
	s, err := ours.Scan(msg)
	if err != nil {
		return err
	}
	request := map[string]any{}
	for _, p := range rawPairs(c.p.t, s.ApplicationProperties.Of(msg)) {
		request[p.Name] = p.Value.Raw()
	}
	fields, _, err := ours.ListSection(s.Properties.Of(msg))
	if err != nil {
		return err
	}
	id := fields.Value()
	status, body := int32(200), any(nil)
	c.p.mu.Lock()
	switch {
	case l.address == cbsNode:
		name, _ := request["name"].(string)
		c.p.puts = append(c.p.puts, name)
		status = c.p.cbsStatus
	case request["type"] == "com.microsoft:eventhub":
		c.p.reads++
		var ids ours.Array
		for _, id := range c.p.partitions {
			ids.Items = append(ids.Items, id)
		}
		body = ours.Map{
			{Key: "name", Value: request["name"]},
			{Key: "created_at", Value: ours.Timestamp(c.p.created)},
			{Key: "partition_count", Value: int32(len(c.p.partitions))},
			{Key: "partition_ids", Value: ids},
		}
	default:
		c.p.reads++
		body = ours.Map{
			{Key: "begin_sequence_number", Value: int64(0)},
			{Key: "last_enqueued_sequence_number", Value: c.p.last},
			{Key: "last_enqueued_offset", Value: "-1"},
			{Key: "is_partition_empty", Value: c.p.last < 0},
			{Key: "last_enqueued_time_utc", Value: ours.Timestamp(0)},
		}
	}
	c.p.mu.Unlock()
	out, err := ours.AppendValue(ours.AppendSection(nil, ours.CodeProperties), ours.List{nil, nil, nil, nil, nil, id})
	if err != nil {
		return err
	}
	if out, err = ours.AppendValue(ours.AppendSection(out, ours.CodeApplicationProperties), ours.Map{{Key: "status-code", Value: status}}); err != nil {
		return err
	}
	if out, err = ours.AppendValue(ours.AppendSection(out, ours.CodeValue), body); err != nil {
		return err
	}
	c.deliver(channel, l.replyTo, out)
	return nil
}

// received is a message as a hub delivers it.
func received(t testing.TB, e *hubferry.Event, seq int64) []byte {
	t.Helper()
	copied := e.Share()
	c, err := copied.Edit()
	if err != nil {
		t.Fatal(err)
	}
	c.Annotations = append(c.Annotations,
		hubferry.Property{Name: "x-opt-sequence-number", Value: hubferry.Long(seq)},
		hubferry.Property{Name: "x-opt-offset", Value: hubferry.String("o")},
		hubferry.Property{Name: "x-opt-enqueued-time", Value: hubferry.Timestamp(1700000000000 + seq)})
	return rawMessage(t, &copied)
}
