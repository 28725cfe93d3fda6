package amqpclient

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// deliver sends a message in frames of so many bytes.
func (p *peer) deliver(id uint32, settled bool, message []byte, size int) {
	p.t.Helper()
	t := amqp.Transfer{Handle: peerHandle, DeliveryID: amqp.Some(id), DeliveryTag: []byte{1}, MessageFormat: amqp.Some[uint32](0), Settled: settled}
	out, _, _ := amqp.AppendDelivery(nil, peerChannel, t, message, size, 1<<20)
	p.write(out)
}

// receive takes messages until there are n.
func receive(t *testing.T, r *Receiver, n int) (all [][]byte) {
	t.Helper()
	for len(all) < n {
		got, err := r.Receive(within(t, 20*time.Second), nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, got...)
	}
	return all
}

// TestReceive takes small and large messages, some of which the peer has not settled, and
// some that it aborts.
func TestReceive(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	r := newReceiver(t, begin(t, c, p, 100), p, 10)
	large := bytes.Repeat([]byte("x"), 100_000)
	p.deliver(0, true, []byte("a"), 512)
	p.deliver(1, true, large, MaxFrame)
	half := amqp.Transfer{Handle: peerHandle, DeliveryID: amqp.Some[uint32](2), More: true, Settled: true}
	out, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, peerChannel)
	p.write(amqp.EndFrame(append(half.Append(out), "half"...), mark))
	p.send(peerChannel, &amqp.Transfer{Handle: peerHandle, Aborted: true})
	var f amqp.Flow // the credit of what was aborted is given again
	if p.expect(&f); f.DeliveryCount.V != 5+3 || f.LinkCredit.V != 10-2 {
		t.Errorf("flow %+v", f)
	}
	p.deliver(3, true, nil, 512)
	got := receive(t, r, 3)
	if string(got[0]) != "a" || !bytes.Equal(got[1], large) || len(got[2]) != 0 {
		t.Errorf("%d messages", len(got))
	}
	var b []byte
	for id := uint32(4); id < 7; id++ { // in one read
		tr := amqp.Transfer{Handle: peerHandle, DeliveryID: amqp.Some(id), DeliveryTag: []byte{1}}
		b, _, _ = amqp.AppendDelivery(b, peerChannel, tr, fmt.Append(nil, id), 512, 1)
	}
	p.write(b)
	var d amqp.Disposition
	for settled := uint32(4); settled < 7; settled = d.Last.V + 1 {
		if p.expect(&d); !d.Receiver || !d.Settled || d.State.Code != amqp.CodeAccepted || d.First != settled {
			t.Fatalf("what the peer has not settled is answered by %+v", d)
		}
	}
	got = receive(t, r, 3)
	for i, m := range got {
		if string(m) != fmt.Sprint(4+i) {
			t.Errorf("message %d is %q", 4+i, m)
		}
	}
	// The rest of the credit, and the counts of all that came.
	if err := r.Credit(5); err != nil {
		t.Fatal(err)
	}
	if p.expect(&f); f.DeliveryCount.V != 5+7 || f.LinkCredit.V != 10-6+5 {
		t.Errorf("flow %+v", f)
	}
	// Messages before a detach come before its error.
	p.deliver(7, true, []byte("last"), 512)
	p.send(peerChannel, &amqp.Detach{Handle: peerHandle, Closed: true, Error: &amqp.Error{Condition: amqp.ErrLinkStolen}})
	p.expect(&amqp.Detach{})
	if got := receive(t, r, 1); string(got[0]) != "last" {
		t.Errorf("%q", got)
	}
	if _, err := r.Receive(t.Context(), nil); endOf(t, err).Remote.Condition != amqp.ErrLinkStolen {
		t.Errorf("%v", err)
	}
}

// TestWindowIsRenewed sees a flow of the session when half of its window is used.
func TestWindowIsRenewed(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	r := newReceiver(t, begin(t, c, p, 100), p, 10_000)
	go func() {
		for id := range uint32(window / 2) {
			p.deliver(id, true, []byte("x"), 512)
		}
	}()
	var f amqp.Flow
	if p.expect(&f); f.Handle.OK || f.NextIncomingID.V != 1000+window/2 || f.IncomingWindow != window {
		t.Errorf("flow %+v", f)
	}
	receive(t, r, window/2)
}

// half sends the first frame of a delivery of two.
func (p *peer) half(id uint32, settled bool) {
	p.t.Helper()
	t := amqp.Transfer{Handle: peerHandle, DeliveryID: amqp.Some(id), DeliveryTag: []byte{1}, More: true, Settled: settled}
	out, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, peerChannel)
	p.write(amqp.EndFrame(append(t.Append(out), "half"...), mark))
}

// drop has the client handle what was sent, and checks that it answers nothing to that and
// keeps none of it.
func (p *peer) drop(r *Receiver) {
	p.t.Helper()
	p.send(peerChannel, &amqp.Flow{IncomingWindow: 100, Echo: true})
	p.expect(&amqp.Flow{})
	if got := r.Take(nil); len(got) > 0 || len(r.part) > 0 {
		p.t.Errorf("%d messages and %d bytes of another came after the end", len(got), len(r.part))
	}
}

// TestMoreThanCredit has a peer send a message too many, whole or in parts, alone or together
// with one that it may send. What it may is received; the rest, and what it sends until it has
// detached, is neither kept nor accepted.
func TestMoreThanCredit(t *testing.T) {
	tr := amqp.Transfer{Handle: peerHandle, DeliveryTag: []byte{1}}
	for name, overrun := range map[string]func(p *peer){
		"whole": func(p *peer) {
			p.deliver(0, true, []byte("a"), 512)
			p.deliver(1, false, []byte("b"), 512)
		},
		"in parts": func(p *peer) {
			p.deliver(0, true, []byte("a"), 512)
			p.half(1, false)
			p.send(peerChannel, &amqp.Transfer{Handle: peerHandle})
		},
		"aborted": func(p *peer) {
			p.deliver(0, true, []byte("a"), 512)
			p.send(peerChannel, &amqp.Transfer{Handle: peerHandle, DeliveryID: amqp.Some[uint32](1), Aborted: true})
		},
		"together": func(p *peer) {
			first, second := tr, tr
			first.DeliveryID, second.DeliveryID, first.Settled = amqp.Some[uint32](0), amqp.Some[uint32](1), true
			b, _, _ := amqp.AppendDelivery(nil, peerChannel, first, []byte("a"), 512, 1)
			b, _, _ = amqp.AppendDelivery(b, peerChannel, second, make([]byte, 1000), 512, 10)
			p.write(b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := usual()
			c, p := connect(t, &o, Options{})
			r := newReceiver(t, begin(t, c, p, 100), p, 1)
			overrun(p)
			var d amqp.Detach
			p.send(peerChannel, &amqp.Flow{IncomingWindow: 100, Echo: true})
			if p.expect(&d); d.Error == nil || d.Error.Condition != amqp.ErrTransferLimit {
				t.Errorf("detach %+v", d)
			}
			p.expect(&amqp.Flow{})
			if got := receive(t, r, 1); len(got) != 1 || string(got[0]) != "a" {
				t.Errorf("got %q", got)
			}
			if _, err := r.Receive(within(t, 20*time.Second), nil); !errors.Is(err, errCredit) {
				t.Error(err)
			}
			p.deliver(2, false, []byte("c"), 512)
			p.half(3, false)
			p.drop(r)
		})
	}
}

// TestAfterClose has a peer go on when the link is closed on our side: in the middle of a
// delivery, and with others.
func TestAfterClose(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	r := newReceiver(t, begin(t, c, p, 100), p, 10)
	p.half(0, false)
	p.send(peerChannel, &amqp.Flow{IncomingWindow: 100, Echo: true}) // it has been read
	p.expect(&amqp.Flow{})
	r.Close()
	p.expect(&amqp.Detach{})
	p.send(peerChannel, &amqp.Transfer{Handle: peerHandle})
	p.deliver(1, false, []byte("b"), 512)
	p.deliver(2, false, make([]byte, 1000), 512)
	p.half(3, false)
	p.drop(r)
}

// TestMessagesAreKept checks that what was received is not written again.
func TestMessagesAreKept(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	r := newReceiver(t, begin(t, c, p, 100), p, 1000)
	go func() {
		for id := range uint32(1000) {
			p.deliver(id, true, bytes.Repeat([]byte{byte(id)}, int(id)), MaxFrame)
		}
	}()
	for i, m := range receive(t, r, 1000) {
		if !bytes.Equal(m, bytes.Repeat([]byte{byte(i)}, i)) {
			t.Fatalf("message %d has changed", i)
		}
		if cap(m) != len(m) && i < 500 {
			t.Fatalf("message %d can be appended to within what others use", i)
		}
	}
}

// TestMarksKeepNothing settles many deliveries between two writes, which marks the session
// once, and looks at what the connection still holds after the write: sessions and links that
// are over would stay in memory with their messages.
func TestMarksKeepNothing(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 100)
	r := newReceiver(t, s, p, 10)
	c.mu.Lock()
	for id := range uint32(100) {
		s.accepted = appendID(s.accepted, id)
		s.markSettled()
	}
	if n := len(c.settled); n != 1 {
		t.Errorf("the session is marked %d times", n)
	}
	r.markFlow()
	c.mu.Unlock()
	var d amqp.Disposition
	if p.expect(&d); d.First != 0 || d.Last.V != 99 {
		t.Errorf("disposition %+v", d)
	}
	p.expect(&amqp.Flow{})
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, list := range [][]*Session{c.settled, c.flows} {
		if all := list[:cap(list)]; len(all) == 0 || slices.ContainsFunc(all, func(s *Session) bool { return s != nil }) {
			t.Errorf("the connection keeps %d sessions in %v", len(list), all)
		}
	}
	if all := s.flowLinks[:cap(s.flowLinks)]; len(all) == 0 || slices.ContainsFunc(all, func(r *Receiver) bool { return r != nil }) {
		t.Errorf("the session keeps %d links in %v", len(s.flowLinks), all)
	}
}
