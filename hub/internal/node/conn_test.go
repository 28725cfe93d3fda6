package node

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// newNode is a node in memory with the hub "h" of two partitions.
func newNode(t testing.TB) *Node {
	t.Helper()
	ns, err := entity.Open(t.Context(), entity.Options{Name: "test", Hash: keyhash.EventHubs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	if _, err := ns.CreateHub(t.Context(), entity.HubSpec{Name: "h", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	return New(Config{
		Namespace: ns, Log: slog.New(slog.DiscardHandler), Trace: func(string) {},
		// A client that stops in the middle of a frame is given up soon.
		Limits: Limits{Handshake: time.Second, Idle: 20 * time.Millisecond, Write: time.Second},
	})
}

// FuzzConn plays a client that says anything, after a proper start. (Goroutines
// make coverage vary, so run it with -fuzzminimizetime 1x.) The server
// must neither panic nor hang, and must let go of everything.
func FuzzConn(f *testing.F) {
	frames := func(p ...amqp.Performative) (b []byte) {
		for _, each := range p {
			b = amqp.AppendFrame(b, 0, each)
		}
		return b
	}
	producer := &amqp.Attach{Name: "s", Handle: 0, Source: &amqp.Source{}, Target: &amqp.Target{Address: "h"}}
	consumer := &amqp.Attach{Name: "r", Handle: 1, Receiver: true, Source: &amqp.Source{Address: "h/ConsumerGroups/$Default/Partitions/0"}}
	flow := &amqp.Flow{NextIncomingID: amqp.Some[uint32](1), IncomingWindow: 9, Handle: amqp.Some[uint32](1), LinkCredit: amqp.Some[uint32](5), Drain: true, Echo: true}
	transfer, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, 0)
	transfer = (&amqp.Transfer{DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{1}}).Append(transfer)
	transfer = amqp.EndFrame(amqp.AppendData(transfer, []byte("x")), mark)
	f.Add(frames(producer, consumer, flow))
	f.Add(append(frames(producer, consumer, flow), transfer...))
	f.Add(frames(consumer, &amqp.Detach{Handle: 1, Closed: true}, &amqp.End{}, &amqp.Begin{}, producer, &amqp.Close{}))
	f.Add(frames(&amqp.Attach{Name: "c", Target: &amqp.Target{Address: "$cbs"}}, &amqp.Transfer{Handle: 0, More: true}, &amqp.Transfer{Aborted: true}))
	f.Add([]byte("garbage"))
	n := newNode(f)
	hello := append(amqp.HeaderSASL[:8:8], amqp.AppendSASLFrame(nil, &amqp.SASLInit{
		Mechanism: amqp.MechPlain, Response: []byte("\x00RootManageSharedAccessKey\x00SAS_KEY_VALUE"),
	})...)
	hello = append(hello, amqp.HeaderAMQP[:]...)
	hello = append(hello, frames(&amqp.Open{ContainerID: "x"}, &amqp.Begin{IncomingWindow: 5})...)
	f.Fuzz(func(t *testing.T, in []byte) {
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			n.ServeConn(t.Context(), server)
		}()
		go func() {
			_, _ = client.Write(hello)
			_, _ = client.Write(in)
			_, _ = client.Write(frames(&amqp.Close{}))
		}()
		_ = client.SetDeadline(time.Now().Add(60 * time.Second))
		readToClose(client)
		_ = client.Close()
		select {
		case <-done:
		case <-time.After(60 * time.Second):
			t.Fatalf("the connection hangs after % x", in)
		}
		if c := n.Connections(); c != 0 {
			t.Fatalf("%d connections left", c)
		}
		hub, err := n.ns.Hub("h")
		if err != nil {
			t.Fatal(err)
		}
		group, err := hub.Group(entity.DefaultGroup)
		if err != nil {
			t.Fatal(err)
		}
		part, err := hub.Partition("0")
		if err != nil {
			t.Fatal(err)
		}
		for range 5 { // all places are free again
			r, err := group.Attach(part, entity.ReceiverOptions{})
			if err != nil {
				t.Fatalf("%v after % x", err, in)
			}
			defer r.Close()
		}
	})
}

// readToClose reads a server's side of a connection up to its close frame.
func readToClose(r io.Reader) {
	frames := amqp.NewFrameReader(r, 1<<20)
	var cl amqp.Close
	for range 2 {
		if _, err := frames.Header(); err != nil {
			return
		}
		for range 2 { // mechanisms and outcome, or what comes after the second header
			if _, err := frames.Next(); err != nil {
				return
			}
		}
	}
	for {
		f, err := frames.Next()
		if err != nil {
			return
		}
		if _, err := cl.Decode(f.Body); err == nil {
			return
		}
	}
}

// A delivery goes through one frame or many, whatever the sizes.
func TestFrameSizes(t *testing.T) {
	for _, maxFrame := range []int{512, 513, 4096, 65536} {
		for size := range 1500 {
			message := bytes.Repeat([]byte{byte(size)}, size)
			c := &conn{maxFrame: maxFrame}
			l := &link{c: c, s: &session{c: c, channel: 3}, handle: 7, out: &outbound{}}
			r := run{window: 1000}
			c.sendMessage(l, &r, message)
			frames := amqp.NewFrameReader(bytes.NewReader(c.out), uint32(maxFrame))
			var got []byte
			for i := 0; ; i++ {
				f, err := frames.Next()
				if err != nil {
					t.Fatalf("max %d, size %d, frame %d: %v", maxFrame, size, i, err)
				}
				var tr amqp.Transfer
				payload, err := tr.Decode(f.Body)
				if err != nil || f.Channel != 3 || tr.Handle != 7 || tr.DeliveryID.OK != (i == 0) {
					t.Fatalf("max %d, size %d, frame %d: %+v, %v", maxFrame, size, i, tr, err)
				}
				got = append(got, payload...)
				if !tr.More {
					break
				}
			}
			if _, err := frames.Next(); err != io.EOF || !bytes.Equal(got, message) { //nolint:errorlint // the reader promises EOF itself
				t.Fatalf("max %d, size %d: %d bytes, %v", maxFrame, size, len(got), err)
			}
		}
	}
}
