package amqpclient

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

// answer is what Send returns.
type answer struct {
	state amqp.State
	sent  bool
}

func send(ctx context.Context, s *Sender, message []byte) func() (answer, error) {
	return do(func() (answer, error) {
		state, sent, err := s.Send(ctx, amqp.FormatBatch, message)
		return answer{state, sent}, err
	})
}

// TestSend sends a message of several frames to a peer with a small window, and asks for
// credit and window to be kept.
func TestSend(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 2)
	l := newSender(t, s, p, 0)
	if l.MaxMessageSize() != 9000 {
		t.Errorf("the peer allows %d bytes", l.MaxMessageSize())
	}
	message := bytes.Repeat([]byte("0123456789"), 200)
	result := send(t.Context(), l, message)
	p.send(peerChannel, &amqp.Flow{IncomingWindow: 2, Echo: true}) // nothing was sent before the answer
	var f amqp.Flow
	if p.expect(&f); f.NextOutgoingID != 0 {
		t.Errorf("without credit: %+v", f)
	}
	p.send(peerChannel, grant(0, 2, 1))
	var got []byte
	frames := 0
	for more := true; more; frames++ {
		if frames == 2 || frames == 4 {
			p.send(peerChannel, &amqp.Flow{NextIncomingID: amqp.Some(uint32(frames)), IncomingWindow: 0, Echo: true})
			if p.expect(&f); f.NextOutgoingID != uint32(frames) {
				t.Fatalf("%d frames sent in a window of %d", f.NextOutgoingID, frames)
			}
			p.send(peerChannel, &amqp.Flow{NextIncomingID: amqp.Some(uint32(frames)), IncomingWindow: 2})
		}
		var tr amqp.Transfer
		_, payload := p.expect(&tr)
		if first := frames == 0; tr.DeliveryID.OK != first || first && (tr.MessageFormat.V != amqp.FormatBatch || tr.Settled || len(tr.DeliveryTag) == 0) {
			t.Errorf("frame %d: %+v", frames, tr)
		}
		got = append(got, payload...)
		more = tr.More
	}
	if !bytes.Equal(got, message) {
		t.Errorf("%d bytes came as %d", len(message), len(got))
	}
	p.send(peerChannel, &amqp.Disposition{Receiver: true, First: 0, Settled: true, State: amqp.Accepted()})
	if a, err := result(); err != nil || a.state.Code != amqp.CodeAccepted || !a.sent {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestOutcomes has the peer answer several deliveries in several ways, in one range and not in
// order.
func TestOutcomes(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	l := newSender(t, begin(t, c, p, 100), p, 100)
	var results []func() (answer, error)
	for i := range 6 {
		results = append(results, send(t.Context(), l, []byte{byte(i)}))
		var tr amqp.Transfer
		if p.expect(&tr); tr.DeliveryID != amqp.Some(uint32(i)) {
			t.Fatalf("delivery %d has the id %d", i, tr.DeliveryID.V)
		}
	}
	no := &amqp.Error{Condition: amqp.ErrServerBusy}
	p.send(
		peerChannel,
		&amqp.Disposition{Receiver: true, First: 3, Settled: false, State: amqp.State{Code: amqp.CodeReceived}}, // says nothing
		&amqp.Disposition{Receiver: false, First: 0, Last: amqp.Some[uint32](5), Settled: true},                 // about others
		&amqp.Disposition{Receiver: true, First: 3, Settled: true, State: amqp.Rejected(no)},
		&amqp.Disposition{Receiver: true, First: 1, Last: amqp.Some[uint32](1 << 31), Settled: true, State: amqp.Accepted()},
		&amqp.Disposition{Receiver: true, First: 0, State: amqp.State{Code: amqp.CodeReleased}}, // not settled
	)
	var d amqp.Disposition
	if p.expect(&d); d.Receiver || d.First != 0 || !d.Settled {
		t.Errorf("an outcome that the peer has not settled is answered by %+v", d)
	}
	for i, want := range []uint8{amqp.CodeReleased, amqp.CodeAccepted, amqp.CodeAccepted, amqp.CodeRejected, amqp.CodeAccepted, amqp.CodeAccepted} {
		a, err := results[i]()
		if err != nil || a.state.Code != want || want == amqp.CodeRejected && a.state.Error.Condition != no.Condition {
			t.Errorf("delivery %d: %+v, %v", i, a, err)
		}
	}
}

// TestAcceptedTooEarly has the peer accept a delivery of which it has got one frame: what it
// says of others after that is worth nothing, either.
func TestAcceptedTooEarly(t *testing.T) {
	for name, d := range map[string]*amqp.Disposition{
		"alone":      {Receiver: true, First: 0, Settled: true, State: amqp.Accepted()},
		"in a range": {Receiver: true, First: 0, Last: amqp.Some[uint32](100), State: amqp.Accepted()},
	} {
		t.Run(name, func(t *testing.T) {
			o := usual()
			c, p := connect(t, &o, Options{})
			l := newSender(t, begin(t, c, p, 1), p, 0)
			p.send(peerChannel, grant(0, 1, 10))
			result := send(t.Context(), l, make([]byte, 2000))
			p.expect(&amqp.Transfer{})
			p.send(peerChannel, d)
			a, err := result()
			if e := endOf(t, err); e.What != "connection" || a.sent || a.state.Code != 0 {
				t.Errorf("%+v, %v", a, err)
			}
			p.expect(&amqp.Close{})
		})
	}
}

// TestRefusedHalfWay has the peer reject a delivery of which it has got one frame, as one
// that is too large: the rest is not sent.
func TestRefusedHalfWay(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	l := newSender(t, begin(t, c, p, 1), p, 0)
	p.send(peerChannel, grant(0, 1, 10))
	result := send(t.Context(), l, make([]byte, 2000))
	p.expect(&amqp.Transfer{})
	p.send(peerChannel, &amqp.Disposition{Receiver: true, First: 0, Settled: true, State: amqp.Rejected(&amqp.Error{Condition: amqp.ErrMessageSizeExceeded})})
	if a, err := result(); err != nil || a.sent || a.state.Code != amqp.CodeRejected {
		t.Errorf("%+v, %v", a, err)
	}
	p.send(peerChannel, grant(1, 1, 10))
	var tr amqp.Transfer
	if p.expect(&tr); !tr.Aborted {
		t.Errorf("half a message is followed by %+v", tr)
	}
}

// TestSendGivenUp withdraws what is not sent, aborts what is half sent, and says of each
// whether the peer may have it.
func TestSendGivenUp(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 1)
	l := newSender(t, s, p, 0)
	given := func(message []byte, begin func(), sent bool) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		result := send(ctx, l, message)
		begin()
		cancel()
		if a, err := result(); !errors.Is(err, context.Canceled) || a.sent != sent {
			t.Errorf("%d bytes: sent %v, %v", len(message), a.sent, err)
		}
	}
	given([]byte("no credit"), func() {}, false)
	p.send(peerChannel, grant(0, 1, 10))
	given(make([]byte, 2000), func() { p.expect(&amqp.Transfer{}) }, false)
	p.send(peerChannel, grant(1, 1, 10))
	var tr amqp.Transfer
	if p.expect(&tr); !tr.Aborted {
		t.Errorf("half a message is followed by %+v", tr)
	}
	p.send(peerChannel, grant(2, 1, 10))
	given([]byte("whole"), func() { p.expect(&amqp.Transfer{}) }, true)
	// A deadline that has passed, before anything could be sent.
	p.send(peerChannel, grant(3, 0, 10))
	result := send(within(t, 20*time.Millisecond), l, []byte("late"))
	if a, err := result(); !errors.Is(err, context.DeadlineExceeded) || a.sent {
		t.Errorf("sent %v, %v", a.sent, err)
	}
	p.send(peerChannel, grant(3, 10, 10))
	result = send(t.Context(), l, []byte("next"))
	if _, payload := p.expect(&tr); string(payload) != "next" {
		t.Errorf("next comes %q", payload)
	}
	p.send(peerChannel, &amqp.Disposition{Receiver: true, First: tr.DeliveryID.V, Settled: true, State: amqp.Accepted()})
	if _, err := result(); err != nil {
		t.Error(err)
	}
}

// TestDetached has the peer detach a sender: before an answer, and instead of one.
func TestDetached(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 100)
	l := newSender(t, s, p, 1)
	first := send(t.Context(), l, []byte("1"))
	p.expect(&amqp.Transfer{})
	second := send(t.Context(), l, []byte("2")) // has no credit
	for {
		c.mu.Lock()
		n := len(l.queue)
		c.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	p.send(peerChannel, &amqp.Detach{Handle: peerHandle, Closed: true, Error: &amqp.Error{Condition: amqp.ErrDetachForced}})
	var d amqp.Detach
	if p.expect(&d); !d.Closed || d.Error != nil {
		t.Errorf("our detach: %+v", d)
	}
	for i, result := range []func() (answer, error){first, second} {
		a, err := result()
		remote, ok := errors.AsType[*amqp.Error](err)
		if e := endOf(t, err); e.What != "link" || !ok || remote.Condition != amqp.ErrDetachForced || a.sent != (i == 0) {
			t.Errorf("delivery %d: sent %v, %v", i, a.sent, err)
		}
	}
	if l.Err() == nil {
		t.Error("the link is alive")
	}
	newSender(t, s, p, 0) // the handle is free, and the session goes on
}

func TestRefused(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 100)
	got := do(func() (*Receiver, error) { return s.NewReceiver(t.Context(), ReceiverOptions{Name: "r"}) })
	var a amqp.Attach
	p.expect(&a)
	a.Receiver, a.Source, a.Handle, a.InitialDeliveryCount = false, nil, peerHandle, amqp.Some[uint32](0)
	p.send(peerChannel, &a, &amqp.Detach{Handle: peerHandle, Closed: true, Error: &amqp.Error{Condition: amqp.ErrLinkStolen, Description: "epoch"}})
	_, err := got()
	remote, ok := errors.AsType[*amqp.Error](err)
	if !ok || remote.Condition != amqp.ErrLinkStolen || remote.Description != "epoch" {
		t.Errorf("%v", err)
	}
	p.expect(&amqp.Detach{})
	// One that is given up before the answer.
	ctx, cancel := context.WithCancel(t.Context())
	late := do(func() (*Sender, error) { return s.NewSender(ctx, SenderOptions{Name: "s"}) })
	p.expect(&a)
	cancel()
	if _, err := late(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	p.expect(&amqp.Detach{})
	a.Receiver, a.Handle = true, peerHandle
	p.send(peerChannel, &a, &amqp.Detach{Handle: peerHandle, Closed: true})
	newReceiver(t, s, p, 1)
}

func TestCloseOfALink(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	l := newSender(t, begin(t, c, p, 100), p, 0)
	waits := send(t.Context(), l, []byte("x"))
	l.Close()
	p.expect(&amqp.Detach{})
	if _, err := waits(); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, _, err := l.Send(t.Context(), 0, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestEndlessWindowAndCredit sends to a peer that gives the largest window and credit there are.
func TestEndlessWindowAndCredit(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	l := newSender(t, begin(t, c, p, math.MaxUint32), p, 0)
	p.send(peerChannel, grant(0, math.MaxUint32, math.MaxUint32))
	result := send(t.Context(), l, []byte("x"))
	p.expect(&amqp.Transfer{})
	p.send(peerChannel, &amqp.Disposition{Receiver: true, First: 0, Settled: true, State: amqp.Accepted()})
	if _, err := result(); err != nil {
		t.Error(err)
	}
}

// TestDrain gives the credit back that nothing was to be sent for.
func TestDrain(t *testing.T) {
	o := usual()
	c, p := connect(t, &o, Options{})
	newSender(t, begin(t, c, p, 100), p, 0)
	f := grant(0, 100, 7)
	f.Drain = true
	p.send(peerChannel, f)
	var got amqp.Flow
	if p.expect(&got); got.DeliveryCount.V != 7 || got.LinkCredit != amqp.Some[uint32](0) || !got.Drain {
		t.Errorf("flow %+v", got)
	}
}
