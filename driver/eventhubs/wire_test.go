package eventhubs

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/Azure/go-amqp"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// streamConn is a net.Conn that reads from a reader and writes nowhere.
type streamConn struct {
	net.Conn
	r io.Reader
}

func (c streamConn) Read(p []byte) (int, error)     { return c.r.Read(p) }
func (c streamConn) Write(p []byte) (int, error)    { return len(p), nil }
func (streamConn) SetReadDeadline(time.Time) error  { return nil }
func (streamConn) SetWriteDeadline(time.Time) error { return nil }

// stream is what a server might send: headers, frames of all sorts, a delivery in one
// frame and one in three.
func stream() []byte {
	s := slices.Clone(ours.HeaderSASL[:])
	s = ours.AppendSASLFrame(s, &ours.SASLMechanisms{Mechanisms: []ours.Symbol{ours.MechAnonymous}})
	s = append(s, ours.HeaderAMQP[:]...)
	s = ours.AppendFrame(s, 0, &ours.Open{ContainerID: "server"})
	s = ours.AppendEmptyFrame(s)
	s = ours.AppendFrame(s, 3, &ours.Attach{Name: "in", Source: &ours.Source{}, Target: &ours.Target{}, MaxMessageSize: ours.Some(uint64(1 << 20))})
	s = ours.AppendFrame(s, 3, &ours.Attach{Name: "out", Receiver: true, Source: &ours.Source{}, Target: &ours.Target{}, MaxMessageSize: ours.Some(uint64(1 << 20))})
	for _, part := range []struct {
		more bool
		body string
	}{{false, "whole"}, {true, strings.Repeat("a", 4000)}, {true, ""}, {false, "end"}} {
		var mark int
		s, mark = ours.BeginFrame(s, ours.TypeAMQP, 3)
		tr := ours.Transfer{DeliveryID: ours.Some(uint32(1)), DeliveryTag: []byte{1}, MessageFormat: ours.Some(uint32(0)), More: part.more}
		s = ours.EndFrame(append(tr.Append(s), part.body...), mark)
	}
	s = ours.AppendFrame(s, 3, &ours.Transfer{DeliveryID: ours.Some(uint32(2)), DeliveryTag: []byte{2}, Aborted: true})
	return ours.AppendFrame(s, 0, &ours.Close{})
}

// unwrapped reads a stream through a wire and undoes what it does.
func unwrapped(t *testing.T, r io.Reader, chunk int) (headers int, frames []ours.Frame, err error) {
	t.Helper()
	w := newWire(streamConn{r: r}, nil)
	var out bytes.Buffer
	for err == nil {
		p := make([]byte, chunk)
		var n int
		n, err = w.Read(p)
		if n == 0 && err == nil {
			t.Fatal("Read returned nothing")
		}
		out.Write(p[:n])
	}
	in := ours.NewFrameReader(&out, 2*maxFrame)
	for {
		if h, e := in.PeekHeader(); e == nil && h.Valid() {
			_, _ = in.Header()
			headers++
			continue
		}
		f, e := in.Next()
		if e != nil {
			return headers, frames, err
		}
		f.Body = slices.Clone(f.Body)
		frames = append(frames, f)
	}
}

func TestWire(t *testing.T) {
	for name, r := range map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"byte by byte": iotest.OneByteReader,
		"in halves":    iotest.HalfReader,
	} {
		for _, chunk := range []int{1, 7, 512, 1 << 20} {
			headers, frames, err := unwrapped(t, r(bytes.NewReader(stream())), chunk)
			if !errors.Is(err, io.EOF) || headers != 2 {
				t.Fatalf("%s: %d headers, %v", name, headers, err)
			}
			var parts []string
			var limits []uint64
			for _, f := range frames {
				code, err := ours.BodyCode(append(f.Body, 0)[:len(f.Body)])
				if len(f.Body) == 0 {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				switch code {
				case ours.CodeTransfer:
					var tr ours.Transfer
					payload, err := tr.Decode(f.Body)
					if err != nil {
						t.Fatal(err)
					}
					if tr.Aborted {
						parts = append(parts, "aborted")
						continue
					}
					d := ours.NewDecoder(payload)
					if d.Descriptor() != ours.CodeData {
						t.Fatalf("payload % x is no data section", payload[:min(len(payload), 16)])
					}
					part := d.Binary()
					if (part[0] == morePart) != tr.More {
						t.Errorf("a part of kind %d, more is %v", part[0], tr.More)
					}
					parts = append(parts, string(part[1:]))
					if d.Err() != nil || d.Len() != 0 {
						t.Fatalf("data section: %v, %d bytes left", d.Err(), d.Len())
					}
				case ours.CodeAttach:
					var a ours.Attach
					if _, err := a.Decode(f.Body); err != nil {
						t.Fatal(err)
					}
					limits = append(limits, a.MaxMessageSize.V)
				}
			}
			if want := []string{"whole", strings.Repeat("a", 4000), "", "end", "aborted"}; !slices.Equal(parts, want) {
				t.Errorf("%s, chunks of %d: the parts of the deliveries changed", name, chunk)
			}
			// The limit is raised where the peer sends, and kept where it receives.
			if want := []uint64{2 << 20, 1 << 20}; !slices.Equal(limits, want) {
				t.Errorf("max-message-size %v, want %v", limits, want)
			}
		}
	}
}

func TestWireDoesNotWaitWithSomethingAtHand(t *testing.T) {
	client, server := net.Pipe()
	defer func() { _, _ = client.Close(), server.Close() }()
	w := newWire(client, nil)
	whole := ours.AppendFrame(nil, 0, &ours.Close{})
	go func() { _, _ = server.Write(append(whole, 0, 0, 0)) }() // and the beginning of another
	if err := client.SetReadDeadline(time.Now().Add(60 * time.Second)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 1000)
	if n, err := w.Read(p); err != nil || n != len(whole) {
		t.Fatalf("Read = %d, %v; want the whole frame of %d bytes", n, err, len(whole))
	}
	if err := client.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Read(p); err == nil {
		t.Fatal("Read returned a frame that is not complete")
	}
}

func FuzzWire(f *testing.F) {
	f.Add(stream(), 100)
	f.Add([]byte("AMQP\x00\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00"), 3)
	f.Add([]byte{0, 0, 0, 12, 2, 0, 0, 0, 0, 0x53, 0x14, 0x45}, 1)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		chunk = max(chunk, 1) % 100000
		if chunk == 0 {
			return
		}
		_, _, err := unwrapped(t, iotest.HalfReader(bytes.NewReader(in)), chunk)
		if err == nil {
			t.Fatal("no error at the end")
		}
	})
}

// TestWhatGoAMQPCannotDecode shows what wire is for. If it fails because go-amqp has
// learned more, look whether wire is still needed.
func TestWhatGoAMQPCannotDecode(t *testing.T) {
	prop := func(v any) []byte {
		msg, err := ours.AppendValue(ours.AppendSection(nil, ours.CodeApplicationProperties), ours.Map{{Key: "p", Value: v}})
		if err != nil {
			t.Fatal(err)
		}
		return ours.AppendData(msg, []byte("body"))
	}
	for name, v := range map[string]any{
		"char":       ours.Char('x'),
		"decimal32":  ours.Decimal32{},
		"decimal64":  ours.Decimal64{},
		"decimal128": ours.Decimal128{},
		"in a list":  ours.List{ours.Char('x')},
		"of lists":   ours.Array{Items: []any{ours.List{}}},
	} {
		var m amqp.Message
		if err := m.UnmarshalBinary(prop(v)); err == nil {
			t.Errorf("%s: go-amqp decodes it: %v", name, m.ApplicationProperties)
		}
	}
	var m amqp.Message
	if err := m.UnmarshalBinary(prop(ours.Symbol("s"))); err != nil {
		t.Fatal(err)
	}
	if v, ok := m.ApplicationProperties["p"].(string); !ok {
		t.Errorf("a symbol is a %T, and no string any more", v)
	}
}
