package amqp_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

type blank func() amqp.Performative

func fresh[T any, P interface {
	*T
	amqp.Performative
}]() amqp.Performative {
	return P(new(T))
}

// performatives are examples with all fields set and with none.
func performatives() []struct {
	full  amqp.Performative
	blank blank
} {
	symbols := []amqp.Symbol{"a", "b"}
	props := amqp.Map{{Key: amqp.Symbol("k"), Value: int64(5)}}
	failure := &amqp.Error{Condition: amqp.ErrNotFound, Description: "text", Info: props}
	return []struct {
		full  amqp.Performative
		blank blank
	}{
		{&amqp.Open{
			ContainerID: "c", Hostname: "h", MaxFrameSize: amqp.Some[uint32](65536), ChannelMax: amqp.Some[uint16](4999),
			IdleTimeout: amqp.Some[uint32](240000), OutgoingLocales: symbols, IncomingLocales: symbols,
			OfferedCapabilities: symbols, DesiredCapabilities: symbols, Properties: props,
		}, fresh[amqp.Open]},
		{&amqp.Begin{
			RemoteChannel: amqp.Some[uint16](7), NextOutgoingID: 1, IncomingWindow: 5000, OutgoingWindow: 4294967295,
			HandleMax: amqp.Some[uint32](255), OfferedCapabilities: symbols, DesiredCapabilities: symbols, Properties: props,
		}, fresh[amqp.Begin]},
		{&amqp.Attach{
			Name: "n", Handle: 3, Receiver: true, SndSettleMode: amqp.Some(amqp.SenderMixed), RcvSettleMode: amqp.Some(amqp.ReceiverSecond),
			Source: &amqp.Source{
				Address: "a", Durable: 2, ExpiryPolicy: "never", Timeout: 9, Dynamic: true, DynamicNodeProperties: props, DistributionMode: "move",
				Filter:         amqp.Map{{Key: amqp.Symbol("f"), Value: amqp.Described{Descriptor: uint64(0x0000468C00000004), Value: "x > '1'"}}},
				DefaultOutcome: amqp.Described{Descriptor: uint64(0x26), Value: amqp.List{}}, Outcomes: symbols, Capabilities: symbols,
			},
			Target: &amqp.Target{
				Address: "b", Durable: 1, ExpiryPolicy: "never", Timeout: 9, Dynamic: true, DynamicNodeProperties: props, Capabilities: symbols,
			},
			IncompleteUnsettled: true, InitialDeliveryCount: amqp.Some[uint32](0), MaxMessageSize: amqp.Some[uint64](1 << 40),
			OfferedCapabilities: symbols, DesiredCapabilities: symbols, Properties: props,
		}, fresh[amqp.Attach]},
		{&amqp.Flow{
			NextIncomingID: amqp.Some[uint32](0), IncomingWindow: 5, NextOutgoingID: 4294967295, OutgoingWindow: 300, Handle: amqp.Some[uint32](1),
			DeliveryCount: amqp.Some[uint32](2), LinkCredit: amqp.Some[uint32](300), Available: amqp.Some[uint32](0), Drain: true, Echo: true, Properties: props,
		}, fresh[amqp.Flow]},
		{&amqp.Transfer{
			Handle: 1, DeliveryID: amqp.Some[uint32](70000), DeliveryTag: []byte{}, MessageFormat: amqp.Some(amqp.FormatBatch), Settled: true, More: true,
			RcvSettleMode: amqp.Some(amqp.ReceiverFirst), State: amqp.State{Code: amqp.CodeReceived, SectionNumber: 1, SectionOffset: 2},
			Resume: true, Aborted: true, Batchable: true,
		}, fresh[amqp.Transfer]},
		{&amqp.Transfer{Handle: 1, DeliveryTag: bytes.Repeat([]byte{1}, 32)}, fresh[amqp.Transfer]},
		{&amqp.Transfer{Handle: 1, DeliveryTag: bytes.Repeat([]byte{1}, 300)}, fresh[amqp.Transfer]},
		{&amqp.Disposition{Receiver: true, First: 1, Last: amqp.Some[uint32](9), Settled: true, State: amqp.Accepted(), Batchable: true}, fresh[amqp.Disposition]},
		{&amqp.Disposition{First: 1, State: amqp.Rejected(failure)}, fresh[amqp.Disposition]},
		{&amqp.Disposition{State: amqp.State{Code: amqp.CodeReleased}}, fresh[amqp.Disposition]},
		{&amqp.Disposition{State: amqp.State{Code: amqp.CodeModified, DeliveryFailed: true, UndeliverableHere: true, Annotations: props}}, fresh[amqp.Disposition]},
		{&amqp.Detach{Handle: 5, Closed: true, Error: failure}, fresh[amqp.Detach]},
		{&amqp.End{Error: failure}, fresh[amqp.End]},
		{&amqp.Close{Error: failure}, fresh[amqp.Close]},
		{&amqp.SASLMechanisms{Mechanisms: symbols}, fresh[amqp.SASLMechanisms]},
		{&amqp.SASLInit{Mechanism: amqp.MechPlain, Response: []byte("r"), Hostname: "h"}, fresh[amqp.SASLInit]},
		{&amqp.SASLResponse{Response: []byte{1}}, fresh[amqp.SASLResponse]},
		{&amqp.SASLOutcome{Code: 1, Additional: []byte{2}}, fresh[amqp.SASLOutcome]},
	}
}

func TestPerformativeRoundTrip(t *testing.T) {
	for _, tc := range performatives() {
		for _, p := range []amqp.Performative{tc.full, tc.blank()} {
			b := append(p.Append(nil), "payload"...)
			got := tc.blank()
			rest, err := got.Decode(b)
			if err != nil {
				t.Errorf("%T: %v", p, err)
				continue
			}
			if diff := cmp.Diff(p, got, cmp.AllowUnexported()); diff != "" && !defaulted(p) {
				t.Errorf("%T: %s", p, diff)
			}
			if string(rest) != "payload" {
				t.Errorf("%T: rest %q", p, rest)
			}
		}
	}
}

// defaulted tells examples that come back with a default filled in.
func defaulted(p amqp.Performative) bool {
	_, ok := p.(*amqp.SASLResponse) // a response is never absent
	return ok
}

// Clients leave trailing nulls away, use the other forms of descriptors, write
// one symbol without an array.
func TestLiberalDecode(t *testing.T) {
	want := amqp.Begin{NextOutgoingID: 1, IncomingWindow: 5, OutgoingWindow: 6, OfferedCapabilities: []amqp.Symbol{"x"}}
	name := "amqp:begin:list"
	list := []byte{0xc0, 11, 6, 0x40, 0x52, 1, 0x43 + 0x0f, 5, 0x60, 0, 6, 0x40, 0xa3, 1, 'x'}
	list[1] = byte(len(list) - 2)
	for form, descriptor := range map[string][]byte{
		"small ulong": {0x53, 0x11},
		"ulong":       {0x80, 0, 0, 0, 0, 0, 0, 0, 0x11},
		"sym8":        append([]byte{0xa3, byte(len(name))}, name...),
		"sym32":       append([]byte{0xb3, 0, 0, 0, byte(len(name))}, name...),
	} {
		b := append(append([]byte{0}, descriptor...), list...)
		var got amqp.Begin
		if _, err := got.Decode(b); err != nil {
			t.Errorf("%s: %v", form, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", form, diff)
		}
		if code, err := amqp.BodyCode(b); code != amqp.CodeBegin || err != nil {
			t.Errorf("%s: code %x, %v", form, code, err)
		}
	}
	var end amqp.End
	if _, err := end.Decode([]byte{0, 0x53, 0x17, 0x45}); err != nil {
		t.Errorf("list0: %v", err)
	}
	var transfer amqp.Transfer
	if payload, err := transfer.Decode([]byte{0, 0x53, 0x14, 0xc0, 2, 1, 0x43, 'p'}); err != nil || string(payload) != "p" {
		t.Errorf("short transfer: %q, %v", payload, err)
	}
	extra := []byte{0, 0x53, 0x18, 0xc0, 3, 2, 0x40, 0x41} // a later version of close
	var cl amqp.Close
	if _, err := cl.Decode(extra); err != nil {
		t.Errorf("extra field: %v", err)
	}
}

func TestMalformedPerformatives(t *testing.T) {
	for name, b := range map[string][]byte{
		"not described":    {0xc0, 1, 0},
		"not a list":       {0, 0x53, 0x11, 0xc1, 1, 0},
		"mandatory null":   {0, 0x53, 0x11, 0xc0, 3, 2, 0x40, 0x40},
		"mandatory absent": {0, 0x53, 0x11, 0x45},
		"out of range":     {0, 0x53, 0x11, 0xc0, 10, 1, 0x80, 1, 0, 0, 0, 0, 0, 0, 0},
		"wrong type":       {0, 0x53, 0x11, 0xc0, 3, 1, 0xa1, 0},
		"cut":              {0, 0x53, 0x11, 0xc0, 9, 1, 0x41},
	} {
		var begin amqp.Begin
		if _, err := begin.Decode(b); err == nil {
			t.Errorf("%s: decoded %+v", name, begin)
		} else if _, ok := errors.AsType[amqp.SyntaxError](err); !ok {
			t.Errorf("%s: error of type %T", name, err)
		}
	}
	var detach amqp.Detach
	if _, err := detach.Decode([]byte{0, 0x53, 0x17, 0x45}); err == nil {
		t.Error("an end was decoded as detach")
	}
}

// The hot path of a server and a client: decoding a transfer, encoding one.
func TestTransferDoesNotAllocate(t *testing.T) {
	in := (&amqp.Transfer{Handle: 1, DeliveryID: amqp.Some[uint32](70000), DeliveryTag: []byte{1, 2, 3, 4}, MessageFormat: amqp.Some[uint32](0)}).Append(nil)
	in = append(in, make([]byte, 1000)...)
	out := make([]byte, 0, 2000)
	var transfer amqp.Transfer
	if n := testing.AllocsPerRun(100, func() {
		payload, err := transfer.Decode(in)
		if err != nil {
			t.Fatal(err)
		}
		var mark int
		out, mark = amqp.BeginFrame(out[:0], amqp.TypeAMQP, 1)
		out = amqp.EndFrame(append(transfer.Append(out), payload...), mark)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestFrameReader(t *testing.T) {
	stream := append([]byte(nil), amqp.HeaderSASL[:]...)
	stream = amqp.AppendSASLFrame(stream, &amqp.SASLOutcome{})
	stream = append(stream, amqp.HeaderAMQP[:]...)
	stream = amqp.AppendEmptyFrame(stream)
	stream = append(stream, 0, 0, 0, 16, 3, 0, 1, 2, 'e', 'x', 't', '!', 'b', 'o', 'd', 'y') // an extended header
	long, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, 3)
	long = amqp.EndFrame(append(long, make([]byte, 20000)...), mark)
	stream = append(stream, long...)
	for name, r := range map[string]io.Reader{
		"at once": bytes.NewReader(stream), "byte by byte": iotest.OneByteReader(bytes.NewReader(stream)),
		"data with EOF": iotest.DataErrReader(bytes.NewReader(stream)), "halves": iotest.HalfReader(bytes.NewReader(stream)),
	} {
		t.Run(name, func(t *testing.T) {
			f := amqp.NewFrameReader(r, 65536)
			if h, err := f.Header(); h != amqp.HeaderSASL || err != nil {
				t.Fatalf("% x, %v", h, err)
			}
			if fr, err := f.Next(); err != nil || fr.Type != amqp.TypeSASL || len(fr.Body) == 0 {
				t.Fatalf("%+v, %v", fr, err)
			}
			if h, err := f.Header(); h != amqp.HeaderAMQP || err != nil {
				t.Fatalf("% x, %v", h, err)
			}
			if fr, err := f.Next(); err != nil || len(fr.Body) != 0 {
				t.Fatalf("%+v, %v", fr, err)
			}
			if fr, err := f.Next(); err != nil || fr.Channel != 0x102 || string(fr.Body) != "body" {
				t.Fatalf("%+v, %v", fr, err)
			}
			if fr, err := f.Next(); err != nil || fr.Channel != 3 || len(fr.Body) != 20000 {
				t.Fatalf("%d bytes, %v", len(fr.Body), err)
			}
			if _, err := f.Next(); err != io.EOF { //nolint:errorlint // exactly EOF is promised
				t.Errorf("at the end: %v", err)
			}
		})
	}
}

// countedReader counts the calls that a stream is read with.
type countedReader struct {
	r     io.Reader
	calls int
}

func (c *countedReader) Read(p []byte) (int, error) {
	c.calls++
	return c.r.Read(p)
}

// TestFrameReaderGrows checks that a busy stream of frames that never end where the
// buffer does is read in large pieces.
func TestFrameReaderGrows(t *testing.T) {
	var stream []byte
	const frames = 2000
	for range frames {
		var mark int
		stream, mark = amqp.BeginFrame(stream, amqp.TypeAMQP, 0)
		stream = amqp.EndFrame(append(stream, make([]byte, 1001)...), mark)
	}
	in := &countedReader{r: bytes.NewReader(stream)}
	f := amqp.NewFrameReader(in, 65536)
	for range frames {
		if _, err := f.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if most := 2*len(stream)/(2*65536) + 10; in.calls > most {
		t.Errorf("%d reads for %d bytes, want %d at most", in.calls, len(stream), most)
	}
}

func TestFrameReaderRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"too small":    {0, 0, 0, 7, 2, 0, 0, 0},
		"too large":    {0, 1, 0, 1, 2, 0, 0, 0},
		"offset small": {0, 0, 0, 8, 1, 0, 0, 0},
		"offset large": {0, 0, 0, 8, 3, 0, 0, 0},
		"cut":          {0, 0, 0, 9, 2, 0, 0, 0},
		"cut header":   {0, 0, 0},
	} {
		f := amqp.NewFrameReader(bytes.NewReader(b), 65536)
		if fr, err := f.Next(); err == nil || err == io.EOF { //nolint:errorlint // EOF itself is the wrong answer
			t.Errorf("%s: %+v, %v", name, fr, err)
		}
	}
	_, err := amqp.NewFrameReader(bytes.NewReader([]byte{0xff, 0, 0, 0, 2, 0, 0, 0}), 65536).Next()
	if size, ok := errors.AsType[*amqp.FrameSizeError](err); !ok || size.Size != 0xff000000 {
		t.Errorf("error %v", err)
	}
}

func FuzzPerformative(f *testing.F) {
	for _, tc := range performatives() {
		f.Add(tc.full.Append(nil))
		f.Add(tc.blank().Append(nil))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, tc := range performatives() {
			p := tc.blank()
			if _, err := p.Decode(in); err != nil {
				continue
			}
			first := p.Append(nil)
			again := tc.blank()
			if _, err := again.Decode(first); err != nil {
				t.Fatalf("%T of % x: %v", p, in, err)
			}
			if second := again.Append(nil); !bytes.Equal(first, second) {
				t.Fatalf("%T: % x\nbecomes % x\nbecomes % x", p, in, first, second)
			}
		}
		sameTransfer(t, in)
		var tracer amqp.Tracer
		tracer.Frame(amqp.Sent, amqp.Frame{Body: in})
		tracer.Frame(amqp.Sent, amqp.Frame{Type: amqp.TypeSASL, Body: in})
	})
}

// sameTransfer decodes a transfer with a short list once more, with a long one: the second
// way is not the quick one, and must say the same.
func sameTransfer(t *testing.T, in []byte) {
	t.Helper()
	const head = 6 // 00 53 14 c0 size count
	if len(in) < head || !bytes.HasPrefix(in, []byte{0, 0x53, amqp.CodeTransfer}) || amqp.Code(in[3]) != amqp.CodeList8 || in[4] == 0 {
		return
	}
	long := append([]byte{0, 0x53, amqp.CodeTransfer, byte(amqp.CodeList32), 0, 0, 0, in[4] + 3, 0, 0, 0}, in[head-1:]...)
	if int(in[4])+3 > 255 {
		return
	}
	var quick, slow amqp.Transfer
	rest, err := quick.Decode(in)
	slowRest, slowErr := slow.Decode(long)
	if (err == nil) != (slowErr == nil) {
		t.Fatalf("% x: %v; as a long list: %v", in, err, slowErr)
	}
	if err != nil {
		return
	}
	if diff := cmp.Diff(slow, quick); diff != "" || !bytes.Equal(rest, slowRest) {
		t.Fatalf("% x (-long +short):\n%s\npayloads % x, % x", in, diff, slowRest, rest)
	}
}

func TestTransferShortAndLong(t *testing.T) {
	id, format := amqp.Some[uint32](300), amqp.Some(amqp.FormatBatch)
	for _, tr := range []amqp.Transfer{
		{},
		{Handle: 7, DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{}, MessageFormat: amqp.Some[uint32](0)},
		{Handle: 300, DeliveryID: id, DeliveryTag: []byte("0123456789"), MessageFormat: format, Settled: true},
		{Handle: 1, More: true},
		{Handle: 1, RcvSettleMode: amqp.Some[uint8](1), Resume: true, Aborted: true, Batchable: true},
	} {
		b := tr.Append(nil)
		sameTransfer(t, b)
		sameTransfer(t, append(b, "payload"...))
		for i := range b { // and what is wrong is wrong in both
			sameTransfer(t, b[:i])
			changed := bytes.Clone(b)
			changed[i] ^= 0x15
			sameTransfer(t, changed)
		}
	}
}

func FuzzFrameReader(f *testing.F) {
	f.Add([]byte("AMQP\x00\x01\x00\x00\x00\x00\x00\x08\x02\x00\x00\x00"))
	f.Add([]byte{0, 0, 0, 16, 3, 0, 1, 2, 'e', 'x', 't', '!', 'b', 'o', 'd', 'y'})
	f.Fuzz(func(t *testing.T, in []byte) {
		r := amqp.NewFrameReader(bytes.NewReader(in), 4096)
		total := 0
		for {
			fr, err := r.Next()
			if err != nil {
				return
			}
			if total += len(fr.Body) + 8; total > len(in) {
				t.Fatalf("frames of %d bytes out of %d", total, len(in))
			}
		}
	})
}
