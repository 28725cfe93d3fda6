package eventhubs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// TestCountsOnTheWire reads 20,000 events, small and large, from a peer that counts
// every transfer and delivery itself and holds each flow against that.
func TestCountsOnTheWire(t *testing.T) { eachClient(t, testCountsOnTheWire) }

func testCountsOnTheWire(t *testing.T) {
	const events = 20000
	p := startPeer(t)
	p.shift = 7
	random := rand.New(rand.NewPCG(1, 2))
	var mu sync.Mutex
	var frames, deliveries uint32 // sent
	echoed, session := 0, -1      // the session on which events are read
	var handle, limit, end uint32 // of its link, in deliveries, in frames
	var body []byte               // of the next event
	var problems []string
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var ask func() // makes the client tell its numbers
	p.onFlow = func(c *peerConn, ch uint16, w *ours.Flow) {
		mu.Lock()
		defer mu.Unlock()
		reading := w.Handle.OK && c.links[[2]uint32{uint32(ch), w.Handle.V}].address[0] != '$'
		if reading {
			session = int(ch)
		}
		if session != int(ch) {
			return // the one of $cbs or $management
		}
		if w.NextIncomingID.V > frames {
			bad("next-incoming-id %d, and %d frames were sent", w.NextIncomingID.V, frames)
		}
		if !w.Handle.OK && w.NextIncomingID.V == frames && deliveries == events {
			echoed++
		}
		if reading {
			handle, limit = w.Handle.V, w.DeliveryCount.V+w.LinkCredit.V
			if w.DeliveryCount.V > deliveries {
				bad("delivery-count %d, and %d deliveries were sent", w.DeliveryCount.V, deliveries)
			}
			if credit := limit - deliveries; int32(credit) < 0 || credit > defaultPrefetch || int32(w.LinkCredit.V) < 0 {
				bad("credit %d on top of %d, after %d deliveries", w.LinkCredit.V, w.DeliveryCount.V, deliveries)
			}
		}
		if end = w.NextIncomingID.V + w.IncomingWindow; int32(end-frames) < 0 {
			bad("a window of %d frames", int32(end-frames))
		}
		for deliveries < min(limit, events) {
			if body == nil {
				size := 10
				if random.IntN(50) == 0 {
					size = random.IntN(200_000)
				}
				e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Appendf(nil, "%d %s", deliveries, strings.Repeat("x", size))})
				body = received(t, &e, int64(deliveries))
			}
			if int(end-frames)*peerPayload < len(body) {
				break // it comes as a whole
			}
			frames += c.deliver(ch, handle, body)
			deliveries++
			body = nil
		}
		ask = func() {
			c.send(ch, &ours.Flow{
				NextIncomingID: ours.Some(uint32(0)), IncomingWindow: 1 << 30, NextOutgoingID: frames, OutgoingWindow: 1 << 30, Echo: true,
			})
		}
		ask()
	}
	src := openSource(t, connect(t, p.options(), hubferry.Env{}))
	r, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 300, Bytes: 1 << 20}}
	for next := int64(0); next < events; {
		if err := r.Read(withTimeout(t), &b); err != nil {
			t.Fatalf("after %d events: %v", next, err)
		}
		for i := range b.Events {
			c, err := b.Events[i].Content()
			if err != nil || b.Events[i].Pos.Sequence != next || !bytes.HasPrefix(c.Body, fmt.Appendf(nil, "%d ", next)) {
				t.Fatalf("event %d is at %d: %v", next, b.Events[i].Pos.Sequence, err)
			}
			next++
		}
	}
	// When nothing is under way the numbers are exact.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		mu.Lock()
		done := echoed > 0
		ask()
		mu.Unlock()
		if done {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(problems) > 0 || echoed == 0 {
		t.Errorf("exact at the end: %v; %d problems, the first: %q", echoed > 0, len(problems), problems[:min(len(problems), 5)])
	}
}

// sessionStream is a begin and an attach, and deliveries on it, some in parts.
func sessionStream(deliveries [][]byte) []byte {
	s := ours.AppendFrame(nil, 5, &ours.Begin{RemoteChannel: ours.Some(uint16(2)), IncomingWindow: 1, OutgoingWindow: 1})
	s = ours.AppendFrame(s, 5, &ours.Attach{Name: "in", Handle: 9, Source: &ours.Source{}, Target: &ours.Target{}})
	for i, d := range deliveries {
		for first := true; first || len(d) > 0; first = false {
			n := min(len(d), 3000)
			var mark int
			s, mark = ours.BeginFrame(s, ours.TypeAMQP, 5)
			tr := ours.Transfer{Handle: 9, DeliveryID: ours.Some(uint32(i)), DeliveryTag: []byte{1}, MessageFormat: ours.Some(uint32(0)), Settled: true, More: n < len(d)}
			s = ours.EndFrame(append(tr.Append(s), d[:n]...), mark)
			d = d[n:]
		}
		if i%10 == 9 {
			s = ours.AppendEmptyFrame(s)
		}
	}
	return s
}

// merged reads a stream through a wire and puts the messages together again.
func merged(t *testing.T, w *wire) (messagesOut [][]byte, transfers int) {
	t.Helper()
	in := ours.NewFrameReader(w, 2*maxFrame)
	m := &amqp.Message{}
	for {
		f, err := in.Next()
		if err != nil {
			return messagesOut, transfers
		}
		if code, err := ours.BodyCode(f.Body); len(f.Body) == 0 || err != nil || code != ours.CodeTransfer {
			continue
		}
		var tr ours.Transfer
		payload, err := tr.Decode(f.Body)
		if err != nil {
			t.Fatal(err)
		}
		transfers++
		for d := ours.NewDecoder(payload); d.Len() > 0; {
			if d.Descriptor() != ours.CodeData {
				t.Fatal("a section that is not data")
			}
			m.Data = append(m.Data, slices.Clone(d.Binary()))
			if d.Err() != nil {
				t.Fatal(d.Err())
			}
		}
		if !tr.More {
			for msg := range messages(m) {
				messagesOut = append(messagesOut, msg)
			}
			m = &amqp.Message{}
		}
	}
}

func TestMessagesComeApartAgain(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	var want [][]byte
	for i := range 500 {
		d := make([]byte, random.IntN(200))
		if i%7 == 0 {
			d = make([]byte, random.IntN(10000))
		}
		for j := range d {
			d[j] = byte(random.Uint32())
		}
		want = append(want, d)
	}
	for name, r := range map[string]func([]byte) *wire{
		"at once":      func(b []byte) *wire { return newWire(streamConn{r: bytes.NewReader(b)}, nil) },
		"byte by byte": func(b []byte) *wire { return newWire(streamConn{r: iotest.OneByteReader(bytes.NewReader(b))}, nil) },
		"in halves":    func(b []byte) *wire { return newWire(streamConn{r: iotest.HalfReader(bytes.NewReader(b))}, nil) },
	} {
		w := r(sessionStream(want))
		got, transfers := merged(t, w)
		if !slices.EqualFunc(want, got, bytes.Equal) {
			t.Errorf("%s: %d messages, want %d, or they differ", name, len(got), len(want))
		}
		if name == "at once" && transfers > len(want)*3/4 {
			t.Errorf("%d transfers for %d messages: nothing is merged", transfers, len(want))
		}
	}
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte("one|two|three|four"), 10)
	f.Add(bytes.Repeat([]byte("0123456789|"), 500), 100)
	f.Fuzz(func(t *testing.T, text []byte, chunk int) {
		want := bytes.Split(text, []byte("|"))
		if chunk <= 0 || len(text) > 1<<16 {
			return
		}
		w := newWire(streamConn{r: bytes.NewReader(sessionStream(want))}, nil)
		got, _ := merged(t, w)
		if !slices.EqualFunc(want, got, bytes.Equal) {
			t.Fatalf("%d messages became %d, or they differ", len(want), len(got))
		}
	})
}

// TestMergeKeepsOut checks where deliveries are not merged: on sessions with two links,
// between links, and when they are not settled.
func TestMergeKeepsOut(t *testing.T) {
	begin := ours.AppendFrame(nil, 0, &ours.Begin{RemoteChannel: ours.Some(uint16(0)), IncomingWindow: 1, OutgoingWindow: 1})
	attach := func(s []byte, handle uint32, sends bool) []byte {
		return ours.AppendFrame(s, 0, &ours.Attach{Name: fmt.Sprint(handle), Handle: handle, Receiver: !sends, Source: &ours.Source{}, Target: &ours.Target{}})
	}
	transfer := func(s []byte, handle uint32, settled bool) []byte {
		s, mark := ours.BeginFrame(slices.Clone(s), ours.TypeAMQP, 0)
		tr := ours.Transfer{Handle: handle, DeliveryID: ours.Some(uint32(0)), DeliveryTag: []byte{1}, MessageFormat: ours.Some(uint32(0)), Settled: settled}
		return ours.EndFrame(append(tr.Append(s), "x"...), mark)
	}
	one := attach(slices.Clone(begin), 0, true)
	for _, c := range []struct {
		name   string
		stream []byte
		want   int
	}{
		{"merged", transfer(transfer(transfer(one, 0, true), 0, true), 0, true), 1},
		{"not settled", transfer(transfer(transfer(one, 0, false), 0, false), 0, false), 3},
		{"two links", transfer(transfer(attach(attach(slices.Clone(begin), 0, false), 1, true), 1, true), 1, true), 2},
		{"another handle", transfer(transfer(one, 0, true), 3, true), 2},
		{"no begin", transfer(transfer(nil, 0, true), 0, true), 2},
	} {
		got, transfers := merged(t, newWire(streamConn{r: bytes.NewReader(c.stream)}, nil))
		if transfers != c.want || len(got) != bytes.Count(c.stream, []byte{0x00, 0x53, 0x14}) {
			t.Errorf("%s: %d transfers, want %d; %d messages", c.name, transfers, c.want, len(got))
		}
	}
}

// TestLargePrefetch sees that the largest prefetch does not run into the end of the
// session's window.
func TestLargePrefetch(t *testing.T) { eachClient(t, testLargePrefetch) }

func testLargePrefetch(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	texts := make([]string, 20000)
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(texts...)}); err != nil {
		t.Fatal(err)
	}
	src, err := c.Source(t.Context(), testHub, &SourceOptions{ConsumerGroup: "copy", Prefetch: maxPrefetch})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	readEvents(t, src.(*source), 0, len(texts))
	t.Logf("%d events in %v", len(texts), time.Since(start))
}
