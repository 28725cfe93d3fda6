package amqp_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goamqp "github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

var update = flag.Bool("update", false, "write the golden files from what go-amqp encodes")

// golden compares bytes that an independent library wrote with those recorded.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", "golden", name+".hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.Dump(got)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), hex.Dump(got)); diff != "" {
		t.Errorf("go-amqp writes other bytes than it did: %s", diff)
	}
	return got
}

// Messages that go-amqp encodes are understood, and what we encode of them is
// understood by go-amqp.
func TestMessagesOfGoAMQP(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	for name, tc := range map[string]struct {
		msg  *goamqp.Message
		want amqp.Map // application properties
	}{
		"data": {msg: goamqp.NewMessage([]byte("body"))},
		"properties": {msg: &goamqp.Message{
			ApplicationProperties: map[string]any{"one": uint8(1)},
			Value:                 []any{int32(1), nil, "x", map[string]any{"k": int64(-1)}},
		}, want: amqp.Map{{Key: "one", Value: uint8(1)}}},
		"symbols": {msg: &goamqp.Message{
			Annotations: goamqp.Annotations{"a": goamqp.UUID{1, 2}},
			Sequence:    [][]any{{at, 1.5, float32(2.5), []byte{1}, true}, {}},
			Footer:      goamqp.Annotations{"f": goamqp.Symbol("s")},
		}},
		"all": {msg: &goamqp.Message{
			Header: &goamqp.MessageHeader{Durable: true, Priority: 3, TTL: time.Second},
			Properties: &goamqp.MessageProperties{
				MessageID: uint64(5), UserID: []byte("u"), To: new("to"), Subject: new("s"), CreationTime: &at, GroupSequence: new(uint32(9)),
			},
			ApplicationProperties: map[string]any{"p": strings.Repeat("long", 100)},
			Data:                  [][]byte{[]byte("one"), bytes.Repeat([]byte{2}, 300)},
		}, want: amqp.Map{{Key: "p", Value: strings.Repeat("long", 100)}}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := tc.msg.MarshalBinary()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "message-"+name, b)
			s, err := amqp.Scan(b)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want != nil {
				d := amqp.NewDecoder(s.ApplicationProperties.Of(b))
				d.Descriptor()
				if diff := cmp.Diff(any(tc.want), d.Value()); diff != "" {
					t.Error(diff)
				}
			}
			var back goamqp.Message
			if err := back.UnmarshalBinary(reencode(t, b)); err != nil {
				t.Fatal(err)
			}
			var direct goamqp.Message
			if err := direct.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(direct, back, cmp.AllowUnexported(goamqp.Message{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// reencode decodes every section to Go values and encodes those.
func reencode(t *testing.T, msg []byte) (out []byte) {
	t.Helper()
	d := amqp.NewDecoder(msg)
	for d.Len() > 0 {
		b, err := amqp.AppendValue(nil, d.Value())
		if err != nil || d.Err() != nil {
			t.Fatal(err, d.Err())
		}
		out = append(out, b...)
	}
	return out
}

// TestFramesOfGoAMQP records what go-amqp's client writes from SASL to close,
// against a peer that answers with this package's frames.
func TestFramesOfGoAMQP(t *testing.T) {
	client, server := net.Pipe()
	record := make(chan []byte, 1)
	go func() { record <- playServer(t, server) }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := goamqp.NewConn(ctx, client, &goamqp.ConnOptions{
		ContainerID: "golden", HostName: "host", SASLType: goamqp.SASLTypePlain("user", "password"),
		Properties: map[string]any{"product": "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	session, err := conn.NewSession(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := session.NewSender(ctx, "hub", &goamqp.SenderOptions{Name: "sender", SettlementMode: goamqp.SenderSettleModeMixed.Ptr()})
	if err != nil {
		t.Fatal(err)
	}
	if got := sender.MaxMessageSize(); got != 1<<20 {
		t.Errorf("max-message-size %d", got)
	}
	if err := sender.Send(ctx, goamqp.NewMessage([]byte("hello")), nil); err != nil {
		t.Fatal(err)
	}
	err = sender.Send(ctx, goamqp.NewMessage([]byte("again")), nil)
	if e, ok := err.(*goamqp.Error); !ok || e.Condition != "com.microsoft:server-busy" || e.Description != "slow down" { //nolint:errorlint // no wrapping is expected
		t.Errorf("rejected: %v", err)
	}
	if err := sender.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := session.Close(ctx); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close() // it does not wait for the answer
	frames := golden(t, "frames", <-record)
	// What was recorded comes out of this package's encoder in another form but
	// with the same meaning.
	r := amqp.NewFrameReader(bytes.NewReader(frames), 65536)
	for seen := 0; ; seen++ {
		f, err := r.Next()
		if err == io.EOF && seen > 8 { //nolint:errorlint // the reader promises EOF itself
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		known := false
		for _, tc := range performatives() {
			p, again := tc.blank(), tc.blank()
			if _, err := p.Decode(f.Body); err != nil {
				continue
			}
			known = true
			if _, err := again.Decode(p.Append(nil)); err != nil {
				t.Errorf("%+v: %v", p, err)
			}
			if diff := cmp.Diff(p, again); diff != "" {
				t.Error(diff)
			}
			break
		}
		if !known {
			t.Errorf("frame % x is not understood", f.Body)
		}
	}
}

// playServer answers a client by the book and returns the frames that it got,
// without protocol headers.
func playServer(t *testing.T, c net.Conn) (frames []byte) {
	t.Helper()
	defer func() { _ = c.Close() }()
	r := amqp.NewFrameReader(c, 65536)
	write := func(b []byte) {
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Header(); err != nil {
		t.Error(err)
		return nil
	}
	write(amqp.AppendSASLFrame(append([]byte(nil), amqp.HeaderSASL[:]...), &amqp.SASLMechanisms{
		Mechanisms: []amqp.Symbol{amqp.MechMSSBCBS, amqp.MechPlain, amqp.MechAnonymous},
	}))
	for {
		f, err := r.Next()
		if err != nil {
			t.Error(err)
			return frames
		}
		if len(f.Body) == 0 {
			continue // a heartbeat
		}
		var mark int
		frames, mark = amqp.BeginFrame(frames, f.Type, f.Channel)
		frames = amqp.EndFrame(append(frames, f.Body...), mark)
		code, err := amqp.BodyCode(f.Body)
		if err != nil {
			t.Error(err)
			return frames
		}
		if code == amqp.CodeSASLInit {
			write(amqp.AppendSASLFrame(nil, &amqp.SASLOutcome{}))
			if _, err := r.Header(); err != nil {
				t.Error(err)
				return frames
			}
			write(amqp.HeaderAMQP[:])
			continue
		}
		if code == amqp.CodeClose {
			return frames
		}
		for _, p := range answer(t, code, f.Body) {
			write(amqp.AppendFrame(nil, 0, p))
		}
	}
}

func answer(t *testing.T, code uint64, body []byte) []amqp.Performative {
	t.Helper()
	switch code {
	case amqp.CodeOpen:
		return []amqp.Performative{&amqp.Open{ContainerID: "server", MaxFrameSize: amqp.Some[uint32](65536)}}
	case amqp.CodeBegin:
		return []amqp.Performative{&amqp.Begin{
			RemoteChannel: amqp.Some[uint16](0), NextOutgoingID: 1, IncomingWindow: 5000, OutgoingWindow: 5000, HandleMax: amqp.Some[uint32](255),
		}}
	case amqp.CodeAttach:
		return []amqp.Performative{
			&amqp.Attach{
				Name: "sender", Receiver: true, SndSettleMode: amqp.Some(amqp.SenderMixed), RcvSettleMode: amqp.Some(amqp.ReceiverFirst),
				Source: &amqp.Source{}, Target: &amqp.Target{Address: "hub"}, MaxMessageSize: amqp.Some[uint64](1 << 20), Properties: amqp.Map{},
			},
			&amqp.Flow{
				NextIncomingID: amqp.Some[uint32](0), IncomingWindow: 5000, OutgoingWindow: 5000, NextOutgoingID: 1,
				Handle: amqp.Some[uint32](0), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](10),
			},
		}
	case amqp.CodeTransfer:
		var tr amqp.Transfer
		payload, err := tr.Decode(body)
		if err != nil {
			t.Error(err)
		}
		state := amqp.Accepted()
		if bytes.Contains(payload, []byte("again")) {
			state = amqp.Rejected(&amqp.Error{Condition: amqp.ErrServerBusy, Description: "slow down"})
		}
		return []amqp.Performative{&amqp.Disposition{Receiver: true, First: tr.DeliveryID.V, Last: tr.DeliveryID, Settled: true, State: state}}
	case amqp.CodeDetach:
		return []amqp.Performative{&amqp.Detach{Closed: true}}
	case amqp.CodeEnd:
		return []amqp.Performative{&amqp.End{}}
	}
	return nil
}
