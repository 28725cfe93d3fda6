package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
)

const allOfOne = "one/ConsumerGroups/$Default/Partitions/0"

func TestPlain(t *testing.T) {
	s := start(t, nil)
	for name, tc := range map[string]struct {
		init amqp.SASLInit
		want uint8
	}{
		"plain":           {amqp.SASLInit{Mechanism: "PLAIN", Response: []byte("\x00root\x00" + rootKey)}, amqp.SASLOK},
		"wrong key":       {amqp.SASLInit{Mechanism: "PLAIN", Response: []byte("\x00root\x00x")}, amqp.SASLAuth},
		"unknown rule":    {amqp.SASLInit{Mechanism: "PLAIN", Response: []byte("\x00x\x00" + rootKey)}, amqp.SASLAuth},
		"malformed":       {amqp.SASLInit{Mechanism: "PLAIN", Response: []byte("root")}, amqp.SASLAuth},
		"no response":     {amqp.SASLInit{Mechanism: "PLAIN"}, amqp.SASLAuth},
		"unknown":         {amqp.SASLInit{Mechanism: "SCRAM-SHA-1"}, amqp.SASLAuth},
		"anonymous":       {amqp.SASLInit{Mechanism: "ANONYMOUS", Response: []byte("anonymous")}, amqp.SASLOK},
		"external":        {amqp.SASLInit{Mechanism: "EXTERNAL"}, amqp.SASLOK},
		"mssbcbs":         {amqp.SASLInit{Mechanism: "MSSBCBS"}, amqp.SASLOK},
		"without a name":  {amqp.SASLInit{}, amqp.SASLAuth},
		"other character": {amqp.SASLInit{Mechanism: "plain"}, amqp.SASLAuth},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			c.send(amqp.AppendSASLFrame(amqp.HeaderSASL[:8:8], &tc.init))
			if h, err := c.frames.Header(); err != nil || h != amqp.HeaderSASL {
				t.Fatalf("header % x, %v", h, err)
			}
			var offer amqp.SASLMechanisms
			c.expect(&offer)
			if diff := cmp.Diff([]amqp.Symbol{"MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"}, offer.Mechanisms); diff != "" {
				t.Error(diff)
			}
			outcome := amqp.SASLOutcome{Code: 99}
			c.expect(&outcome)
			if outcome.Code != tc.want {
				t.Errorf("outcome %d, want %d", outcome.Code, tc.want)
			}
			if tc.want != amqp.SASLOK {
				c.wantEOF()
			}
		})
	}
}

// JavaScript with a connection string that has only a signature leaves SASL
// away. Such a connection has no rights until it puts a token.
func TestWithoutSASL(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.send(amqp.HeaderAMQP[:])
	c.perform(0, &amqp.Open{ContainerID: "x"})
	if h, err := c.frames.Header(); err != nil || h != amqp.HeaderAMQP {
		t.Fatalf("header % x, %v", h, err)
	}
	var open amqp.Open
	c.expect(&open)
	if open.MaxFrameSize.V != 65536 || open.ChannelMax.V != 4999 || open.IdleTimeout.V != 240000 || open.ContainerID == "" {
		t.Errorf("open %+v", open)
	}
	c.perform(0, &amqp.Begin{IncomingWindow: 10, OutgoingWindow: 10})
	var begin amqp.Begin
	c.expect(&begin)
	want := amqp.Begin{RemoteChannel: amqp.Some[uint16](0), NextOutgoingID: 1, IncomingWindow: 5000, OutgoingWindow: 10, HandleMax: amqp.Some[uint32](255)}
	if diff := cmp.Diff(want, begin); diff != "" {
		t.Error(diff)
	}
	a := c.attachSender(0, "one")
	var d amqp.Detach
	c.expect(&d)
	if a.Target != nil || a.Source == nil || !d.Closed || d.Error == nil || d.Error.Condition != amqp.ErrUnauthorizedAccess {
		t.Errorf("attach %+v, detach %+v", a, d)
	}
}

func TestEndsOfConnections(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.Handshake = 300 * time.Millisecond })
	header := func(b ...byte) []byte { return append([]byte("AMQP"), b...) }
	for name, sent := range map[string][]byte{
		"garbage":             []byte("this is not AMQP at all, is it?"),
		"zeros":               make([]byte, 64),
		"wrong version":       header(0, 0, 9, 1),
		"AMQP's own TLS":      header(2, 1, 0, 0),
		"nothing":             nil,
		"half a header":       []byte("AMQ"),
		"half a SASL frame":   append(header(3, 1, 0, 0), 0, 0, 0),
		"no open":             header(0, 1, 0, 0),
		"huge frame":          append(header(3, 1, 0, 0), 0x7f, 0xff, 0xff, 0xff, 2, 1, 0, 0),
		"AMQP frame in SASL":  amqp.AppendFrame(header(3, 1, 0, 0), 0, &amqp.Open{}),
		"TLS without TLS":     {0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0},
		"never ending SASL":   append(header(3, 1, 0, 0), bytes.Repeat([]byte{0, 0, 0, 8, 2, 1, 0, 0}, 3)...),
		"HTTP without an end": []byte("GET / HTTP/1.1\r\nHost: x\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, s.addr)
			c.send(sent)
			if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
				t.Errorf("the connection was not ended: %v", err)
			}
		})
	}
}

// drip sends one byte after the other: each is progress, the whole is too slow.
func TestHandshakeHasAnEnd(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.Handshake = 200 * time.Millisecond })
	c := dial(t, s.addr)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.Copy(io.Discard, c)
	}()
	stream := append([]byte("AMQP\x00\x01\x00\x00"), bytes.Repeat([]byte{0, 0, 0, 8, 2, 0, 0, 0}, 1000)...)
	for _, b := range stream {
		if _, err := c.Write([]byte{b}); err != nil {
			break
		}
		select {
		case <-ended:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
	<-ended
}

func TestMalformedFrames(t *testing.T) {
	s := start(t, nil)
	frame := func(channel byte, body ...byte) []byte {
		b, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, uint16(channel))
		return amqp.EndFrame(append(b, body...), mark)
	}
	perform := func(channel uint16, p amqp.Performative) []byte { return amqp.AppendFrame(nil, channel, p) }
	for name, tc := range map[string]struct {
		sent []byte
		want amqp.Symbol
	}{
		"not AMQP":           {frame(0, 1, 2, 3), amqp.ErrFramingError},
		"unknown":            {frame(0, 0, 0x53, 0x99, 0x45), amqp.ErrFramingError},
		"a message section":  {frame(0, 0, 0x53, 0x75, 0xa0, 0), amqp.ErrFramingError},
		"bad field":          {frame(0, 0, 0x53, 0x12, 0xc0, 2, 1, 0x41), amqp.ErrFramingError},
		"lying count":        {frame(0, 0, 0x53, 0x12, 0xd0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff), amqp.ErrFramingError},
		"too large":          {[]byte{0, 1, 0, 1, 2, 0, 0, 0}, amqp.ErrFramingError},
		"bad offset":         {[]byte{0, 0, 0, 8, 1, 0, 0, 0}, amqp.ErrFramingError},
		"SASL type":          {[]byte{0, 0, 0, 8, 2, 1, 0, 0}, amqp.ErrFramingError},
		"second open":        {perform(0, &amqp.Open{}), amqp.ErrFramingError},
		"begin twice":        {perform(0, &amqp.Begin{}), amqp.ErrFramingError},
		"channel too high":   {perform(5000, &amqp.Begin{}), amqp.ErrFramingError},
		"unknown channel":    {perform(7, &amqp.Attach{Name: "x"}), amqp.ErrFramingError},
		"end of no session":  {perform(7, &amqp.End{}), amqp.ErrFramingError},
		"handle above limit": {perform(0, &amqp.Attach{Name: "x", Handle: 256}), amqp.ErrFramingError},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			c.open("root", rootKey)
			c.send(tc.sent)
			c.wantClose(tc.want)
			c.wantEOF()
		})
	}
}

func TestSessionErrors(t *testing.T) {
	s := start(t, nil)
	for name, tc := range map[string]struct {
		sent amqp.Performative
		want amqp.Symbol
	}{
		"transfer":           {&amqp.Transfer{Handle: 9}, amqp.ErrUnattachedHandle},
		"flow":               {&amqp.Flow{Handle: amqp.Some[uint32](9)}, amqp.ErrUnattachedHandle},
		"detach":             {&amqp.Detach{Handle: 9}, amqp.ErrUnattachedHandle},
		"handle in use":      {&amqp.Attach{Name: "other", Handle: 1, Target: &amqp.Target{Address: "one"}}, amqp.ErrHandleInUse},
		"transfer the wrong": {&amqp.Transfer{Handle: 2}, amqp.ErrErrantLink},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, s.addr)
			c.open("root", rootKey)
			c.attachSender(1, "one")
			c.attachReceiver(2, allOfOne, nil)
			c.perform(0, tc.sent)
			var end amqp.End
			c.expect(&end)
			if end.Error == nil || end.Error.Condition != tc.want {
				t.Errorf("end with %v, want %s", end.Error, tc.want)
			}
			// What comes late on the channel is passed over; then it is free.
			c.perform(0, &amqp.Transfer{Handle: 1})
			c.perform(0, &amqp.End{})
			c.perform(0, &amqp.Begin{IncomingWindow: 1, OutgoingWindow: 1})
			c.expect(&amqp.Begin{})
		})
	}
}

func TestAttachReplies(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	filter := amqp.Described{Descriptor: uint64(0x000000137000000A), Value: "amqp.annotation.x-opt-offset > -1"}
	source := &amqp.Source{
		Address: "/ONE/consumergroups/$default/PARTITIONS/0", ExpiryPolicy: "session-end",
		Filter: amqp.Map{{Key: amqp.Symbol("apache.org:selector-filter:string"), Value: filter}},
	}
	c.perform(0, &amqp.Attach{
		Name: "r", Handle: 4, Receiver: true, SndSettleMode: amqp.Some(amqp.SenderUnsettled), RcvSettleMode: amqp.Some(amqp.ReceiverSecond),
		Source: source, Target: &amqp.Target{Address: "client", ExpiryPolicy: "session-end"},
		DesiredCapabilities: []amqp.Symbol{"com.microsoft:enable-receiver-runtime-metric", "com.microsoft:georeplication"},
		Properties:          amqp.Map{{Key: amqp.Symbol("com.microsoft:timeout"), Value: int64(5)}},
	})
	var got amqp.Attach
	c.expect(&got)
	want := amqp.Attach{
		Name: "r", Handle: 4, SndSettleMode: amqp.Some(amqp.SenderUnsettled), RcvSettleMode: amqp.Some(amqp.ReceiverSecond),
		Source: source, Target: &amqp.Target{Address: "client", ExpiryPolicy: "session-end"},
		InitialDeliveryCount: amqp.Some[uint32](0), MaxMessageSize: amqp.Some[uint64](2 << 20),
		OfferedCapabilities: []amqp.Symbol{"com.microsoft:enable-receiver-runtime-metric"}, Properties: amqp.Map{},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}

	c.perform(0, &amqp.Attach{Name: "s", Handle: 5, Source: &amqp.Source{}, Target: &amqp.Target{Address: "amqps://any.host:9/One"}, MaxMessageSize: amqp.Some[uint64](0)})
	c.expect(&got)
	if got.MaxMessageSize.V != 1<<20 || !got.Receiver || got.Properties == nil || got.Source == nil || got.Target == nil {
		t.Errorf("sender: %+v", got)
	}
	var flow amqp.Flow
	c.expect(&flow) // the credit is right behind
	if flow.Handle.V != 5 || flow.LinkCredit.V < 300 || !flow.DeliveryCount.OK || !flow.NextIncomingID.OK {
		t.Errorf("flow %+v", flow)
	}
}

func TestSingleEventsAndLiberalTransfers(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "one")
	event := amqp.AppendData(nil, []byte("single"))
	// Ids skip, a tag repeats, format is null, one is settled, one is aborted.
	var b []byte
	for _, id := range []uint32{5, 9} {
		b = transferFrame(b, 0, id, amqp.FormatMessage, event)
	}
	frame := func(t amqp.Transfer, payload []byte) {
		var mark int
		b, mark = amqp.BeginFrame(b, amqp.TypeAMQP, 0)
		b = amqp.EndFrame(append(t.Append(b), payload...), mark)
	}
	frame(amqp.Transfer{DeliveryID: amqp.Some[uint32](11), Settled: true}, event)
	frame(amqp.Transfer{DeliveryID: amqp.Some[uint32](12), More: true}, event[:5])
	frame(amqp.Transfer{DeliveryID: amqp.Some[uint32](12), Aborted: true}, nil)
	frame(amqp.Transfer{DeliveryID: amqp.Some[uint32](20), DeliveryTag: []byte{}, More: true}, event[:2])
	frame(amqp.Transfer{More: true}, event[2:6])
	frame(amqp.Transfer{}, event[6:])
	c.send(b)
	for _, want := range []uint32{5, 9, 20} {
		var d amqp.Disposition
		c.expect(&d)
		if !d.Receiver || d.First != want || d.Last.Or(want) != want || !d.Settled || d.State.Code != amqp.CodeAccepted {
			t.Errorf("disposition %+v, want %d accepted", d, want)
		}
	}
	c.attachReceiver(1, allOfOne, nil)
	c.credit(1, 0, 10)
	for i := range 4 {
		var tr amqp.Transfer
		payload := c.expect(&tr)
		s, err := amqp.Scan(payload)
		if err != nil || !bytes.Equal(s.Body.Of(payload), event) {
			t.Errorf("event %d: % x, %v", i, payload, err)
		}
		if !tr.Settled || tr.MessageFormat != amqp.Some(amqp.FormatMessage) || len(tr.DeliveryTag) == 0 || tr.DeliveryID != amqp.Some(uint32(i)) {
			t.Errorf("transfer %+v", tr)
		}
	}
}

func TestRefusedDeliveries(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.MessageBytes = 100_000 })
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "one")
	big := amqp.AppendData(nil, make([]byte, 150_000))
	for name, tc := range map[string]struct {
		format  uint32
		payload []byte
		want    amqp.Symbol
		text    string
	}{
		"oversize":         {0, big, amqp.ErrMessageSizeExceeded, "exceeds the limit (100000 bytes) currently allowed on the link."},
		"garbage":          {0, []byte("garbage"), amqp.ErrDecodeError, ""},
		"garbage in batch": {amqp.FormatBatch, amqp.AppendData(nil, []byte("garbage")), amqp.ErrDecodeError, ""},
		"value as batch":   {amqp.FormatBatch, amqp.AppendNull(amqp.AppendSection(nil, amqp.CodeValue)), amqp.ErrArgumentError, ""},
		"empty batch":      {amqp.FormatBatch, nil, amqp.ErrArgumentError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c.deliver(0, 1, tc.format, tc.payload)
			var d amqp.Disposition
			c.expect(&d)
			if d.State.Code != amqp.CodeRejected || d.State.Error == nil || d.State.Error.Condition != tc.want || !strings.Contains(d.State.Error.Description, tc.text) || !d.Settled {
				t.Errorf("disposition %+v, %v", d, d.State.Error)
			}
		})
	}
	c.send(transferFrame(nil, 0, 2, 0, amqp.AppendData(nil, []byte("fine")))) // the link is alive
	var d amqp.Disposition
	c.expect(&d)
	if d.State.Code != amqp.CodeAccepted {
		t.Errorf("disposition %+v", d)
	}
}

// fill stores n events of the given size in "one".
func fill(t *testing.T, s *testServer, n, size int) {
	t.Helper()
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "one")
	for i := range n {
		c.deliver(0, uint32(i), 0, amqp.AppendData(nil, bytes.Repeat([]byte{byte(i)}, size)))
	}
	for accepted := 0; accepted < n; {
		var d amqp.Disposition
		c.expect(&d)
		accepted += int(d.Last.Or(d.First)-d.First) + 1
	}
}

func TestCreditAndDrain(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 5, 10)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachReceiver(0, allOfOne, nil)
	c.credit(0, 0, 2)
	for range 2 {
		c.expect(&amqp.Transfer{})
	}
	flow := amqp.Flow{
		NextIncomingID: amqp.Some[uint32](3), IncomingWindow: 100, OutgoingWindow: 100,
		Handle: amqp.Some[uint32](0), DeliveryCount: amqp.Some[uint32](2), LinkCredit: amqp.Some[uint32](0), Echo: true,
	}
	c.perform(0, &flow)
	var got amqp.Flow
	c.expect(&got) // no transfer comes before the answer
	if got.DeliveryCount.V != 2 || got.LinkCredit.V != 0 || got.NextIncomingID != amqp.Some[uint32](0) || got.NextOutgoingID != 3 {
		t.Errorf("echo %+v", got)
	}
	flow.LinkCredit, flow.Drain, flow.Echo = amqp.Some[uint32](10), true, false
	c.perform(0, &flow)
	for range 3 {
		c.expect(&amqp.Transfer{})
	}
	c.expect(&got)
	if got.DeliveryCount.V != 12 || got.LinkCredit != amqp.Some[uint32](0) || !got.Drain {
		t.Errorf("drained %+v", got)
	}
}

// A client may give the largest window and credit there are, as Azure's SDK for Rust does.
func TestEndlessWindowAndCredit(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 3, 10)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	const endless = math.MaxUint32
	c.perform(1, &amqp.Begin{IncomingWindow: endless, OutgoingWindow: endless})
	c.expect(&amqp.Begin{})
	c.perform(1, &amqp.Attach{Name: "r", Receiver: true, Source: &amqp.Source{Address: allOfOne}, Target: &amqp.Target{}})
	c.expect(&amqp.Attach{})
	c.perform(1, &amqp.Flow{
		NextIncomingID: amqp.Some[uint32](1), IncomingWindow: endless, OutgoingWindow: endless,
		Handle: amqp.Some[uint32](0), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](endless),
	})
	for i := range uint32(3) {
		var tr amqp.Transfer
		if c.expect(&tr); tr.DeliveryID.V != i {
			t.Errorf("delivery %d has the id %d", i, tr.DeliveryID.V)
		}
	}
}

// The window of the session counts frames; a delivery may be cut by it, and
// another link must not break into it.
func TestSessionWindow(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 3, 200_000) // four frames each
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.perform(1, &amqp.Begin{IncomingWindow: 2, OutgoingWindow: 100})
	c.expect(&amqp.Begin{})
	for handle := range uint32(2) {
		c.perform(1, &amqp.Attach{Name: fmt.Sprint("r", handle), Handle: handle, Receiver: true, Source: &amqp.Source{Address: allOfOne}, Target: &amqp.Target{}})
		c.expect(&amqp.Attach{})
	}
	widen := func(next, window uint32, handle amqp.Opt[uint32]) {
		f := amqp.Flow{NextIncomingID: amqp.Some(next), IncomingWindow: window, OutgoingWindow: 100, Handle: handle}
		if handle.OK {
			f.DeliveryCount, f.LinkCredit = amqp.Some[uint32](0), amqp.Some[uint32](3)
		}
		c.perform(1, &f)
	}
	widen(1, 2, amqp.Some[uint32](0))
	widen(1, 2, amqp.Some[uint32](1))
	frames, deliveries, size := uint32(0), 0, 0
	var current amqp.Transfer
	for deliveries < 6 {
		var tr amqp.Transfer
		payload := c.expect(&tr)
		frames++
		if size == 0 {
			current = tr
			if tr.DeliveryID != amqp.Some(uint32(deliveries)) {
				t.Fatalf("delivery id %v, want %d", tr.DeliveryID, deliveries)
			}
		} else if tr.Handle != current.Handle {
			t.Fatalf("link %d in the middle of a delivery of link %d", tr.Handle, current.Handle)
		}
		size += len(payload)
		if !tr.More {
			if size < 200_000 {
				t.Fatalf("delivery %d of %d bytes", deliveries, size)
			}
			deliveries++
			size = 0
		}
		if frames%2 == 0 { // the window is used up: nothing may come now
			_ = c.SetReadDeadline(time.Now().Add(3 * time.Millisecond))
			if f, err := c.frames.Next(); err == nil {
				t.Fatalf("frame beyond the window: % x", f.Body[:10])
			}
			_ = c.SetReadDeadline(time.Now().Add(60 * time.Second))
			widen(1+frames, 2, amqp.Opt[uint32]{})
		}
	}
}

// A client may detach a link of which a delivery is half sent. The other links
// of the session go on.
func TestDetachInTheMiddle(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 2, 200_000) // four frames each
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.perform(1, &amqp.Begin{IncomingWindow: 2, OutgoingWindow: 100})
	c.expect(&amqp.Begin{})
	flow := amqp.Flow{NextIncomingID: amqp.Some[uint32](1), IncomingWindow: 2, DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](2)}
	for handle := range uint32(2) {
		c.perform(1, &amqp.Attach{Name: fmt.Sprint("r", handle), Handle: handle, Receiver: true, Source: &amqp.Source{Address: allOfOne}, Target: &amqp.Target{}})
		c.expect(&amqp.Attach{})
	}
	for handle := range uint32(2) {
		flow.Handle = amqp.Some(handle)
		c.perform(1, &flow)
	}
	var tr amqp.Transfer
	for range 2 {
		c.expect(&tr)
	}
	c.perform(1, &amqp.Detach{Handle: tr.Handle, Closed: true})
	c.expect(&amqp.Detach{})
	cut := tr.Handle
	c.perform(1, &amqp.Flow{NextIncomingID: amqp.Some[uint32](3), IncomingWindow: 100})
	for i := range 8 {
		c.expect(&tr)
		if tr.Handle == cut || tr.DeliveryID.OK != (i%4 == 0) || tr.DeliveryID.OK && tr.DeliveryID.V != uint32(1+i/4) {
			t.Fatalf("frame %d: %+v", i, tr)
		}
	}
}

func TestIdempotentProducersAreRefused(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.perform(0, &amqp.Attach{
		Name: "s", Source: &amqp.Source{}, Target: &amqp.Target{Address: "one/Partitions/0"},
		DesiredCapabilities: []amqp.Symbol{"com.microsoft:idempotent-producer"},
	})
	var a amqp.Attach
	c.expect(&a)
	var d amqp.Detach
	c.expect(&d)
	if a.Target != nil || d.Error == nil || d.Error.Condition != amqp.ErrNotImplemented {
		t.Errorf("attach %+v, detach %+v", a, d)
	}
}

func TestSmallFrames(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 1, 5000)
	c := dial(t, s.addr)
	b := append(amqp.HeaderAMQP[:8:8], amqp.AppendFrame(nil, 0, &amqp.Open{ContainerID: "x", MaxFrameSize: amqp.Some[uint32](512)})...)
	c.send(amqp.AppendFrame(b, 0, &amqp.Begin{IncomingWindow: 1000, OutgoingWindow: 1}))
	c.frames = amqp.NewFrameReader(c, 512)
	if _, err := c.frames.Header(); err != nil {
		t.Fatal(err)
	}
	c.expect(&amqp.Open{})
	c.expect(&amqp.Begin{})
	c.putToken(signature(s.addr, "root", rootKey, time.Hour), "sb://x/one")
	c.attachReceiver(0, allOfOne, nil)
	c.credit(0, 0, 1)
	total, frames := 0, 0
	for {
		var tr amqp.Transfer
		total += len(c.expect(&tr))
		frames++
		if !tr.More {
			break
		}
	}
	if total < 5000 || frames < 10 {
		t.Errorf("%d bytes in %d frames", total, frames)
	}
}

// putToken does a whole $cbs exchange in a session of its own.
func (c *rawClient) putToken(token, audience string) (status int64) {
	c.t.Helper()
	c.perform(9, &amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100})
	c.expect(&amqp.Begin{})
	c.perform(9, &amqp.Attach{Name: "cbs", Handle: 0, Source: &amqp.Source{}, Target: &amqp.Target{Address: "$cbs"}})
	c.expect(&amqp.Attach{})
	c.perform(9, &amqp.Attach{Name: "cbs", Handle: 1, Receiver: true, Source: &amqp.Source{Address: "$cbs"}, Target: &amqp.Target{}})
	c.expect(&amqp.Attach{})
	c.perform(9, &amqp.Flow{
		NextIncomingID: amqp.Some[uint32](1), IncomingWindow: 100, OutgoingWindow: 100,
		Handle: amqp.Some[uint32](1), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](1),
	})
	b, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, 9)
	tr := amqp.Transfer{DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{}, MessageFormat: amqp.Some[uint32](0)}
	b = tr.Append(b)
	b, list := amqp.BeginList(amqp.AppendSection(b, amqp.CodeProperties), 1)
	b = amqp.EndList(amqp.AppendUlong(b, 42), list)
	b, m := amqp.BeginMap(amqp.AppendSection(b, amqp.CodeApplicationProperties), 3)
	for _, pair := range [][2]string{{"operation", "put-token"}, {"type", "servicebus.windows.net:sastoken"}, {"name", audience}} {
		b = amqp.AppendString(amqp.AppendString(b, pair[0]), pair[1])
	}
	b = amqp.EndMap(b, m)
	c.send(amqp.EndFrame(amqp.AppendString(amqp.AppendSection(b, amqp.CodeValue), token), mark))
	c.expect(&amqp.Disposition{})
	payload := c.expect(&tr)
	s, err := amqp.Scan(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	fields, _, _ := amqp.ListSection(s.Properties.Of(payload))
	for range 5 {
		fields.Skip()
	}
	if code := fields.Peek(); code != amqp.CodeSmallUlong || fields.Uint() != 42 {
		c.t.Errorf("correlation id of type %x", code)
	}
	items, _, _ := amqp.MapSection(s.ApplicationProperties.Of(payload))
	if string(items.Text()) != "status-code" || items.Peek() != amqp.CodeInt && items.Peek() != amqp.CodeSmallInt {
		c.t.Errorf("reply % x", payload)
	}
	status = items.Int()
	c.perform(9, &amqp.End{})
	c.expect(&amqp.End{})
	return status
}

func TestPutToken(t *testing.T) {
	s := start(t, nil)
	good := signature("sb://x/one", "root", rootKey, time.Hour)
	c := dial(t, s.addr)
	c.open("send", sendKey)
	for name, tc := range map[string]struct {
		token, audience string
		want            int64
	}{
		"good":        {good, "sb://x/one", 202},
		"below":       {good, "amqps://other:1/ONE/Partitions/0", 202},
		"elsewhere":   {good, "sb://x/four", 401},
		"no hub":      {good, "sb://x/nohub", 404},
		"bad":         {good + "x", "sb://x/one", 401},
		"expired":     {signature("sb://x/one", "root", rootKey, -time.Second), "sb://x/one", 401},
		"malformed":   {"SharedAccessSignature x", "sb://x/one", 400},
		"empty":       {"", "sb://x/one", 400},
		"no audience": {good, "", 400},
		"jwt":         {"eyJ.eyJ.x", "sb://x/one", 401},
	} {
		if got := c.putToken(tc.token, tc.audience); got != tc.want {
			t.Errorf("%s: status %d, want %d", name, got, tc.want)
		}
	}
}

func TestSecondCBSPair(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	attach := func(name string, handle uint32) *amqp.Error {
		c.perform(0, &amqp.Attach{Name: name, Handle: handle, Source: &amqp.Source{}, Target: &amqp.Target{Address: "$cbs"}})
		var a amqp.Attach
		c.expect(&a)
		if a.Target != nil {
			return nil
		}
		var d amqp.Detach
		c.expect(&d)
		return d.Error
	}
	if e := attach("a", 0); e != nil {
		t.Fatal(e)
	}
	if e := attach("b", 1); e == nil || e.Condition != amqp.ErrNotAllowed {
		t.Errorf("second: %v", e)
	}
	c.perform(0, &amqp.Detach{Handle: 0, Closed: true})
	c.expect(&amqp.Detach{})
	if e := attach("c", 2); e != nil {
		t.Errorf("after detach: %v", e)
	}
}

func TestSameLinkName(t *testing.T) {
	s := start(t, nil)
	c, other := dial(t, s.addr), dial(t, s.addr)
	c.open("root", rootKey)
	other.open("root", rootKey)
	c.attachSender(0, "one")
	other.attachSender(0, "one") // names are per connection
	c.attachReceiver(1, "one/ConsumerGroups/$Default/Partitions/0", nil)
	c.perform(0, &amqp.Attach{Name: "s-one", Handle: 3, Source: &amqp.Source{}, Target: &amqp.Target{Address: "one"}})
	var d amqp.Detach
	c.expect(&d)
	if d.Handle != 0 || d.Error == nil || d.Error.Condition != amqp.ErrLinkStolen {
		t.Errorf("detach %+v", d)
	}
	var a amqp.Attach
	c.expect(&a)
	if a.Handle != 3 || a.Target == nil {
		t.Errorf("attach %+v", a)
	}
}

func TestHeartbeats(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	b := append(amqp.HeaderAMQP[:8:8], amqp.AppendFrame(nil, 0, &amqp.Open{ContainerID: "x", IdleTimeout: amqp.Some[uint32](100)})...)
	c.send(b)
	if _, err := c.frames.Header(); err != nil {
		t.Fatal(err)
	}
	c.expect(&amqp.Open{})
	for range 3 {
		if f, err := c.frames.Next(); err != nil || len(f.Body) != 0 {
			t.Errorf("%+v, %v; want a heartbeat", f, err)
		}
	}
}

func TestSilentClientIsCut(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.Idle = 40 * time.Millisecond })
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.wantClose(amqp.ErrResourceLimitExceeded)
	c.wantEOF()
}

// A client that publishes and never reads is held back and then cut; so is one
// that asks for events and does not take them.
func TestStalledClients(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.Write = 200 * time.Millisecond })
	fill(t, s, 200, 200_000)
	t.Run("receiving", func(t *testing.T) {
		c := dial(t, s.addr)
		c.open("root", rootKey)
		c.attachReceiver(0, allOfOne, nil)
		c.credit(0, 0, 1000)
		until(t, func() bool { return strings.Contains(s.log.text(), "i/o timeout") })
		if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
			t.Errorf("the connection was not cut: %v", err)
		}
	})
	t.Run("attaching", func(t *testing.T) {
		c := dial(t, s.addr)
		c.open("root", rootKey)
		name := strings.Repeat("n", 60_000)
		for {
			b := amqp.AppendFrame(nil, 0, &amqp.Attach{Name: name, Source: &amqp.Source{}, Target: &amqp.Target{Address: "nohub"}})
			b = amqp.AppendFrame(b, 0, &amqp.Detach{Closed: true})
			if _, err := c.Write(b); err != nil {
				if ne, ok := err.(net.Error); ok && ne.Timeout() { //nolint:errorlint // from the socket itself
					t.Errorf("the connection was not cut: %v", err)
				}
				return
			}
		}
	})
}

func TestTooManyConnections(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Limits.Connections = 2 })
	for range 2 {
		dial(t, s.addr).open("root", rootKey)
	}
	dial(t, s.addr).send(amqp.HeaderAMQP[:])
	c := dial(t, s.addr)
	c.send(amqp.HeaderAMQP[:])
	c.wantEOF()
}

func TestClientCloses(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.perform(0, &amqp.Close{})
	var cl amqp.Close
	c.expect(&cl)
	if cl.Error != nil {
		t.Errorf("close with %v", cl.Error)
	}
	c.wantEOF()
}

func TestShutdownTellsClients(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	silent := dial(t, s.addr) // has not said what it speaks
	half := dial(t, s.addr)   // has not finished saying hello
	half.send(amqp.HeaderAMQP[:])
	if _, err := half.frames.Header(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	go func() { done <- s.Close(ctx) }()
	c.wantClose(amqp.ErrConnectionForced)
	c.perform(0, &amqp.Close{})
	if err := <-done; err != nil {
		t.Errorf("Close: %v", err)
	}
	silent.wantEOF()
	half.wantEOF()
	if _, err := net.Dial("tcp", s.addr); err == nil {
		t.Error("the port still takes connections")
	}
}

// Python's asynchronous client detaches links after it has ended their session. The
// connection goes on, and the channel can be begun again.
func TestDetachAfterEnd(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	for range 2 {
		c.perform(3, &amqp.Begin{NextOutgoingID: 1, IncomingWindow: 100, OutgoingWindow: 100})
		c.expect(&amqp.Begin{})
		c.perform(3, &amqp.End{})
		c.expect(&amqp.End{})
		c.perform(3, &amqp.Detach{Handle: 1, Closed: true})
		c.perform(3, &amqp.Disposition{Receiver: true, First: 1, Settled: true})
	}
	c.perform(0, &amqp.Close{})
	var cl amqp.Close
	c.expect(&cl)
	if cl.Error != nil {
		t.Errorf("close with %v", cl.Error)
	}
}
