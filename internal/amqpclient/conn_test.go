package amqpclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

func TestHandshake(t *testing.T) {
	small := usual()
	small.open.MaxFrameSize = amqp.Some[uint32](100)
	plain := usual()
	plain.mechanisms = []amqp.Symbol{amqp.MechPlain}
	refused := usual()
	refused.outcome = amqp.SASLAuth
	for name, c := range map[string]struct {
		offer offer
		text  string
	}{
		"no ANONYMOUS": {plain, "ANONYMOUS"},
		"refused":      {refused, "code 1"},
		"tiny frames":  {small, "100 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			p := newPeer(t, theirs)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = p.greet(&c.offer)
				_ = theirs.Close()
			}()
			if _, err := Open(t.Context(), ours, Options{}); err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
			<-done
		})
	}
	for name, answer := range map[string]string{
		"another protocol": "HTTP/1.1 400 Bad Request\r\n\r\n",
		"another version":  "AMQP\x00\x00\x09\x01",
		"hangs up":         "",
		"in the middle":    "AMQP\x03\x01\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				_, _ = io.ReadFull(theirs, make([]byte, 8))
				_, _ = io.WriteString(theirs, answer)
				_ = theirs.Close()
			}()
			if c, err := Open(t.Context(), ours, Options{}); err == nil {
				_ = c.Close(t.Context())
				t.Error("it opened")
			}
			if _, err := ours.Read(make([]byte, 1)); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the network connection is open still: %v", err)
			}
		})
	}
	t.Run("silence", func(t *testing.T) {
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		defer func() { _ = theirs.Close() }()
		if _, err := Open(within(t, 10*time.Millisecond), ours, Options{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestOpenSaysWhatItIsTold(t *testing.T) {
	ours, theirs := net.Pipe()
	o := usual()
	got := do(func() (*Conn, error) {
		return Open(t.Context(), ours, Options{
			ContainerID: "me", Hostname: "host", IdleTimeout: time.Minute,
			Properties: amqp.Map{{Key: amqp.Symbol("product"), Value: "p"}},
		})
	})
	p := newPeer(t, theirs)
	open, err := p.greet(&o)
	if err != nil {
		t.Fatal(err)
	}
	if open.ContainerID != "me" || open.Hostname != "host" || open.IdleTimeout != amqp.Some[uint32](30000) ||
		open.MaxFrameSize != amqp.Some[uint32](MaxFrame) || len(open.Properties) != 1 {
		t.Errorf("open %+v", open)
	}
	c, err := got()
	if err != nil {
		t.Fatal(err)
	}
	// Close: ours, theirs, and the end.
	closed := do(func() (struct{}, error) { return struct{}{}, c.Close(t.Context()) })
	p.expect(&amqp.Close{})
	p.send(0, &amqp.Close{})
	if _, err := closed(); err != nil {
		t.Error(err)
	}
	if _, err := theirs.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := c.Begin(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a session afterwards: %v", err)
	}
}

// TestKeepAlive runs on a clock of its own: a peer hears of us twice in its idle time-out,
// and is given up when it is silent for ours.
func TestKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual()
		o.open.IdleTimeout = amqp.Some[uint32](10_000)
		c, p := connect(t, &o, Options{IdleTimeout: time.Minute})
		start := time.Now()
		for i := range 4 { // the peer speaks, too
			f, err := p.frames.Next()
			if err != nil || len(f.Body) != 0 {
				t.Fatalf("%+v, %v", f, err)
			}
			if at, want := time.Since(start), time.Duration(i+1)*5*time.Second; at != want {
				t.Errorf("a heartbeat after %v, want %v", at, want)
			}
			p.write(amqp.AppendEmptyFrame(nil))
		}
		quiet := time.Now()
		go func() { _, _ = io.Copy(io.Discard, p.nc) }()
		<-c.Done()
		if time.Since(quiet) != time.Minute || !errors.Is(c.Err(), errSilent) {
			t.Errorf("over after %v: %v", time.Since(quiet), c.Err())
		}
	})
}

// TestStalledPeer is one that takes nothing any more.
func TestStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual()
		c, _ := connect(t, &o, Options{})
		start := time.Now()
		_, err := c.Begin(t.Context())
		if e := endOf(t, err); time.Since(start) != writeTimeout || !errors.Is(e, os.ErrDeadlineExceeded) {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

// TestCloseOfAStalledPeer is bounded by the caller's context, and by a moment for a peer that
// does not say goodbye.
func TestCloseOfAStalledPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := usual()
		c, _ := connect(t, &o, Options{})
		start := time.Now()
		if err := c.Close(within(t, time.Second)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("takes nothing: after %v, %v", time.Since(start), err)
		}
		c, p := connect(t, &o, Options{})
		go func() { _, _ = io.Copy(io.Discard, p.nc) }()
		start = time.Now()
		if err := c.Close(t.Context()); err != nil || time.Since(start) != farewell {
			t.Errorf("says nothing: after %v, %v", time.Since(start), err)
		}
	})
}

// TestEndsAreTold has the peer end a connection in several ways, and looks at what those see
// who use it.
func TestEndsAreTold(t *testing.T) {
	why := &amqp.Error{Condition: amqp.ErrConnectionForced, Description: "shutdown"}
	for name, c := range map[string]struct {
		act    func(p *peer)
		remote bool
		closes amqp.Symbol // the condition of our close, "" for none at all
		text   string
	}{
		"close":             {func(p *peer) { p.send(0, &amqp.Close{Error: why}) }, true, "none", "shutdown"},
		"close, no reason":  {func(p *peer) { p.send(0, &amqp.Close{}) }, false, "none", "no reason"},
		"hangs up":          {func(p *peer) { _ = p.nc.Close() }, false, "", "EOF"},
		"garbage":           {func(p *peer) { p.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, false, amqp.ErrFramingError, "frame of"},
		"an unknown frame":  {func(p *peer) { p.send(peerChannel, &amqp.SASLOutcome{}) }, false, amqp.ErrFramingError, "performative"},
		"no such channel":   {func(p *peer) { p.send(9, &amqp.Flow{}) }, false, amqp.ErrFramingError, "channel"},
		"no such handle":    {func(p *peer) { p.send(peerChannel, &amqp.Transfer{Handle: 3}) }, false, amqp.ErrFramingError, "handle"},
		"detach of nothing": {func(p *peer) { p.send(peerChannel, &amqp.Detach{Handle: 3}) }, false, amqp.ErrFramingError, "handle"},
		"attach unasked":    {func(p *peer) { p.send(peerChannel, &amqp.Attach{Name: "x", Handle: 3}) }, false, amqp.ErrFramingError, "attach"},
		"begin unasked":     {func(p *peer) { p.send(3, &amqp.Begin{RemoteChannel: amqp.Some[uint16](9)}) }, false, amqp.ErrFramingError, "session"},
	} {
		t.Run(name, func(t *testing.T) {
			o := usual()
			conn, p := connect(t, &o, Options{})
			s := begin(t, conn, p, 100)
			r := newReceiver(t, s, p, 1)
			waits := do(func() ([][]byte, error) { return r.Receive(t.Context(), nil) })
			c.act(p)
			if c.closes != "" {
				var last amqp.Close
				p.expect(&last)
				if got := last.Error; c.closes == "none" != (got == nil) || got != nil && got.Condition != c.closes {
					t.Errorf("our close has %v", got)
				}
				_ = p.nc.Close()
			}
			_, err := waits()
			e := endOf(t, err)
			remote, ok := errors.AsType[*amqp.Error](err)
			if e.What != "connection" || ok != c.remote || ok && remote.Condition != why.Condition || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%s: %v", e.What, err)
			}
			<-conn.Done()
			if _, err := conn.Begin(t.Context()); err == nil {
				t.Error("a session afterwards")
			}
			if err := r.Credit(1); err == nil {
				t.Error("credit afterwards")
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestSessions(t *testing.T) {
	o := usual()
	o.open.ChannelMax = amqp.Some[uint16](1)
	c, p := connect(t, &o, Options{})
	s := begin(t, c, p, 100)
	// One that the peer does not answer, and that is given up.
	ctx, cancel := context.WithCancel(t.Context())
	got := do(func() (*Session, error) { return c.Begin(ctx) })
	var b amqp.Begin
	channel, _ := p.expect(&b)
	if _, err := c.Begin(t.Context()); !errors.Is(err, errChannels) {
		t.Errorf("a third session of two: %v", err)
	}
	cancel()
	if _, err := got(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if ch, _ := p.expect(&amqp.End{}); ch != channel {
		t.Errorf("end on channel %d, want %d", ch, channel)
	}
	p.send(7, &amqp.Begin{RemoteChannel: amqp.Some(channel)}, &amqp.End{}) // late
	// One that the peer ends.
	p.send(peerChannel, &amqp.End{Error: &amqp.Error{Condition: amqp.ErrWindowViolation}})
	p.expect(&amqp.End{})
	_, err := s.NewSender(t.Context(), SenderOptions{Name: "s"})
	remote, ok := errors.AsType[*amqp.Error](err)
	if e := endOf(t, err); e.What != "session" || !ok || remote.Condition != amqp.ErrWindowViolation {
		t.Errorf("%v", err)
	}
	// Both channels are free again.
	s = begin(t, c, p, 100)
	if s.channel > 1 {
		t.Errorf("channel %d", s.channel)
	}
	closed := do(func() (struct{}, error) { return struct{}{}, s.Close(t.Context()) })
	p.expect(&amqp.End{})
	if _, err := s.NewReceiver(t.Context(), ReceiverOptions{Name: "r"}); !errors.Is(err, ErrClosed) {
		t.Errorf("a link of a closed session: %v", err)
	}
	p.send(peerChannel, &amqp.End{})
	if _, err := closed(); err != nil {
		t.Error(err)
	}
}
