package eventhubs

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// gauge counts the bytes of messages that have come over a connection and that the test does
// not have yet.
type gauge struct {
	net.Conn
	mu     sync.Mutex
	stream bytes.Buffer // what is not taken apart yet
	held   int64
	peak   int64
}

func (g *gauge) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stream.Write(b[:n])
	for g.next() {
	}
	g.peak = max(g.peak, g.held)
	return n, err
}

// next takes a frame from the stream, if it is there. Called with mu held.
func (g *gauge) next() bool {
	stream := bytes.NewReader(g.stream.Bytes())
	in := ours.NewFrameReader(stream, 1<<20)
	if h, err := in.PeekHeader(); err != nil || h.Valid() {
		return err == nil && len(g.stream.Next(len(h))) > 0
	}
	f, err := in.Next()
	if err != nil {
		return false
	}
	g.stream.Next(g.stream.Len() - stream.Len() - in.Buffered())
	if code, err := ours.BodyCode(f.Body); err == nil && code == ours.CodeTransfer && f.Type == ours.TypeAMQP {
		var tr ours.Transfer
		if payload, err := tr.Decode(f.Body); err == nil {
			g.held += int64(len(payload))
		}
	}
	return true
}

func (g *gauge) took(events []hubferry.Event) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range events {
		g.held -= int64(events[i].Form().Size())
	}
}

// TestBytesThatWait reads thousands of small events, for which much credit was given, and then
// large ones, with a small budget: what has come and waits stays within it (INV-6).
func TestBytesThatWait(t *testing.T) { eachClient(t, testBytesThatWait) }

func testBytesThatWait(t *testing.T) {
	const partitions, small, large, size, budget = 4, 2000, 8, 1_000_000, 4 << 20
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	s := startServer(t, nil)
	writers := openWriter(t, connect(t, s.options(), hubferry.Env{}), &TargetOptions{})
	body := strings.Repeat("x", size)
	for p := range partitions {
		run := hubferry.Run{Partition: p, Events: bodies(make([]string, small)...)}
		for range large {
			if _, err := writers.Write(ctx, run); err != nil {
				t.Fatal(err)
			}
			run.Events = bodies(body)
		}
		if _, err := writers.Write(ctx, run); err != nil {
			t.Fatal(err)
		}
	}
	g := &gauge{}
	c := connect(t, s.options(), hubferry.Env{Budget: budget, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		g.Conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return g, err
	}})
	src := openSource(t, c)
	readers := make([]hubferry.Reader, partitions)
	for p := range readers {
		var err error
		if readers[p], err = src.Open(ctx, testPlace(string(rune('0'+p))), hubferry.Position{Sequence: -1}, hubferry.NoEpoch); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]int, partitions)
	read := func(p, until int) {
		b := hubferry.Batch{Limit: hubferry.Limit{Events: min(until-got[p], 100), Bytes: 1 << 20}}
		if err := readers[p].Read(ctx, &b); err != nil {
			t.Fatalf("partition %d, after %d events: %v", p, got[p], err)
		}
		g.took(b.Events)
		got[p] += len(b.Events)
	}
	for p := range readers {
		for got[p] < small {
			read(p, small)
		}
	}
	g.mu.Lock()
	g.peak = g.held
	g.mu.Unlock()
	for i := range large {
		for p := range readers {
			for got[p] < small+i+1 {
				read(p, small+i+1)
			}
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	// An event is larger than the share of a partition, which is then for one event and what
	// comes of the next before it is known. One more is just being handed over.
	if most := int64((partitions + 1) * (size + 64<<10)); g.peak > most {
		t.Errorf("%d bytes waited, and %d are allowed", g.peak, most)
	}
	t.Logf("%d bytes waited at most", g.peak)
}
