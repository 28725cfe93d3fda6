package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

var compareValues = cmp.Comparer(func(a, b hubferry.Value) bool { return a == b })

// testPlace is the place of a partition of the scripted peer.
func testPlace(partition string) *hubferry.Place {
	return hubferry.NewPlace("peer", testHub, partition, "", 0)
}

// TestValuesThatGoAMQPCannotDecode reads and replicates events with char, decimal and
// what else go-amqp detaches a link for, among others. The partition goes on, and the
// values arrive.
func TestValuesThatGoAMQPCannotDecode(t *testing.T) { eachClient(t, testValuesThatGoAMQPCannotDecode) }

func testValuesThatGoAMQPCannotDecode(t *testing.T) {
	s := startServer(t, nil)
	odd := &hubferry.Content{Body: []byte("odd"), Properties: hubferry.Properties{
		{Name: "char", Value: hubferry.Char('é')},
		{Name: "decimal32", Value: hubferry.Decimal32(0x22500001)},
		{Name: "decimal64", Value: hubferry.Decimal64(1)},
		{Name: "decimal128", Value: hubferry.Decimal128([16]byte{1, 2, 3})},
		{Name: "symbol", Value: hubferry.Symbol("s")},
		{Name: "array of lists", Value: hubferry.Encoded(hubferry.KindArray, []byte{0xe0, 0x02, 0x03, 0x45})},
	}}
	var in [][]byte
	for i := range 10 {
		e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Append(nil, i)})
		if i%3 == 1 {
			e = hubferry.NewEvent(odd.Clone())
		}
		in = append(in, rawMessage(t, &e))
	}
	rawSend(t, s.address, "0", in...)
	c := connect(t, s.options(), hubferry.Env{})
	events := readEvents(t, openSource(t, c), 0, 10)
	var run []*hubferry.Event
	for i := range events {
		if events[i].Pos.Sequence != int64(i) {
			t.Fatalf("event %d has sequence number %d", i, events[i].Pos.Sequence)
		}
		run = append(run, &events[i])
	}
	w := openWriter(t, c, &TargetOptions{})
	if receipt, err := w.Write(withTimeout(t), hubferry.Run{Partition: 1, Events: run}); err != nil || receipt.N != 10 {
		t.Fatalf("%d, %v", receipt.N, err)
	}
	for i, msg := range rawReceive(t, s.address, "1") {
		e := rawEvent(t, msg)
		got, err := e.Content()
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 1 {
			if diff := cmp.Diff(odd, got, compareValues); diff != "" {
				t.Errorf("event %d (-want +got):\n%s", i, diff)
			}
		}
	}
}

// deliverOnce makes a peer send messages on the first credit that a link gets.
func (p *peer) deliverOnce(messages ...[]byte) {
	var once sync.Once
	p.onCredit = func(c *peerConn, ch uint16, handle uint32, _ uint32) {
		once.Do(func() {
			for _, m := range messages {
				c.deliver(ch, handle, m)
			}
		})
	}
}

// TestEventThatNobodyCanDecode checks that an event whose bytes make no sense is an
// event at its exact place, says so when it is looked at, and holds nobody up.
func TestEventThatNobodyCanDecode(t *testing.T) { eachClient(t, testEventThatNobodyCanDecode) }

func testEventThatNobodyCanDecode(t *testing.T) {
	p := startPeer(t)
	event := func(seq int64) []byte {
		e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Append(nil, seq)})
		return received(t, &e, seq)
	}
	brokenBehind := append(event(42), 0, 0x53, 0x79, 0x45)
	p.deliverOnce(event(41), brokenBehind, []byte("no AMQP"), event(44))
	src := openSource(t, connect(t, p.options(), hubferry.Env{}))
	r, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: 40, Offset: "9"}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	var events []hubferry.Event
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	for len(events) < 4 {
		if err := r.Read(withTimeout(t), &b); err != nil {
			t.Fatal(err)
		}
		events = append(events, b.Events...)
	}
	for i := range events {
		e := &events[i]
		if want := int64(41 + i); e.Pos.Sequence != want || e.Origin.Partition != "0" {
			t.Errorf("event %d is at %d of %v, want %d", i, e.Pos.Sequence, e.Origin, want)
		}
		_, err := e.Content()
		if poison := i == 1 || i == 2; poison != (err != nil) {
			t.Errorf("event %d: %v", i, err)
		}
		if err != nil && !strings.Contains(err.Error(), "decode event") {
			t.Errorf("event %d: the error says nothing: %v", i, err)
		}
	}
	// A target refuses exactly that event.
	w := openWriter(t, src.c, &TargetOptions{})
	receipt, err := w.Write(withTimeout(t), hubferry.Run{Events: []*hubferry.Event{&events[0], &events[1], &events[3]}})
	if e := asError(t, err); receipt.N != 1 || e.Kind != hubferry.Refused {
		t.Errorf("N=%d, %v", receipt.N, err)
	}
}

func TestReadLimits(t *testing.T) { eachClient(t, testReadLimits) }

func testReadLimits(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	var texts []string
	for range 20 {
		texts = append(texts, strings.Repeat("x", 10000))
	}
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(texts...)}); err != nil {
		t.Fatal(err)
	}
	src := openSource(t, c)
	r, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 35000}}
	next := int64(0)
	for next < 20 {
		if err := r.Read(withTimeout(t), &b); err != nil {
			t.Fatal(err)
		}
		if len(b.Events) > 3 {
			t.Errorf("%d events of 10 KB in a batch of 35 KB", len(b.Events))
		}
		for i := range b.Events {
			if b.Events[i].Pos.Sequence != next {
				t.Fatalf("event %d after %d", b.Events[i].Pos.Sequence, next-1)
			}
			next++
		}
		if b.Next != b.Events[len(b.Events)-1].Pos {
			t.Errorf("Next is %v", b.Next)
		}
	}
	if b.End.Sequence != 19 {
		t.Errorf("the end is %d, want 19 by the runtime metric", b.End.Sequence)
	}
	b.Limit.Bytes = 1
	if err := r.Close(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedReaders checks that an operator learns which setting helps.
func TestRefusedReaders(t *testing.T) { eachClient(t, testRefusedReaders) }

func testRefusedReaders(t *testing.T) {
	s := startServer(t, func(o *hub.Options) { o.Limits.Receivers = 1 })
	c := connect(t, s.options(), hubferry.Env{})
	src := openSource(t, c)
	place := testPlace("0")
	open := func(s *source, epoch int64) (hubferry.Reader, error) {
		return s.Open(withTimeout(t), place, hubferry.Position{Sequence: -1}, epoch)
	}
	wants := func(what string, err error, kind hubferry.ErrorKind, text string) {
		t.Helper()
		if e := asError(t, err); e.Kind != kind || !strings.Contains(e.Error(), text) {
			t.Errorf("%s: kind %v: %v", what, e.Kind, e)
		}
	}
	first, err := open(src, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(src, hubferry.NoEpoch)
	wants("one too many", err, hubferry.Throttled, "set consumerGroup")
	if asError(t, err).After == 0 {
		t.Error("no pause")
	}
	owner, err := open(src, 5)
	if err != nil {
		t.Fatal(err)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
	wants("stolen", first.Read(withTimeout(t), &b), hubferry.Lost, "New receiver")
	_, err = open(src, hubferry.NoEpoch)
	wants("beside an epoch", err, hubferry.Lost, "set consumerGroup")
	_, err = open(src, 4)
	wants("a lower epoch", err, hubferry.Lost, "raise ownerLevel")
	higher, err := c.Source(t.Context(), testHub, &SourceOptions{ConsumerGroup: "copy", OwnerLevel: 9})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = open(higher.(*source), 0); err != nil {
		t.Errorf("with ownerLevel: %v", err)
	}
	wants("stolen by ownerLevel", owner.Read(withTimeout(t), &b), hubferry.Lost, "epoch of '9'")
	unknown, err := c.Source(t.Context(), testHub, &SourceOptions{ConsumerGroup: "nobody"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = open(unknown.(*source), 0)
	wants("unknown group", err, hubferry.NotFound, "consumer group")
}

// TestTailGivesWay checks that a tail names its own setting.
func TestTailGivesWay(t *testing.T) { eachClient(t, testTailGivesWay) }

func testTailGivesWay(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{TailConsumerGroup: "copy"})
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a")}); err != nil {
		t.Fatal(err)
	}
	if _, err := openSource(t, c).Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, 0); err != nil {
		t.Fatal(err)
	}
	_, err := w.Tail(withTimeout(t), 0, hubferry.Position{Sequence: -1})
	if e := asError(t, err); e.Kind != hubferry.Lost || !strings.Contains(e.Error(), "tailConsumerGroup") {
		t.Errorf("kind %v: %v", e.Kind, e)
	}
}

func TestRefusedPosition(t *testing.T) { eachClient(t, testRefusedPosition) }

func testRefusedPosition(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies("a", "b")}); err != nil {
		t.Fatal(err)
	}
	for _, after := range []hubferry.Position{{Sequence: 500}, {Sequence: 500, Offset: "987654321"}} {
		_, err := openSource(t, c).Open(withTimeout(t), testPlace("0"), after, hubferry.NoEpoch)
		e := asError(t, err)
		if e.Kind != hubferry.Gap || e.From != 501 || e.To >= e.From || !strings.Contains(e.Error(), "event 501 is missing") {
			t.Errorf("%v: kind %v, %d to %d: %v", after, e.Kind, e.From, e.To, e)
		}
	}
}

// TestGeoOffset is a hub whose offsets changed when it became geo-replicated.
func TestGeoOffset(t *testing.T) { eachClient(t, testGeoOffset) }

func testGeoOffset(t *testing.T) {
	p := startPeer(t)
	var filters []string
	p.onAttach = func(c *peerConn, ch uint16, a *ours.Attach) bool {
		d, _ := a.Source.Filter[0].Value.(ours.Described)
		text, _ := d.Value.(string)
		if filters = append(filters, text); !strings.Contains(text, "x-opt-offset") {
			return false
		}
		out := *a
		out.Receiver, out.Source, out.InitialDeliveryCount = false, nil, ours.Some(uint32(0))
		c.send(ch, &out)
		c.detach(ch, a.Handle, &ours.Error{Condition: "com.microsoft:georeplication:invalid-offset"})
		return true
	}
	p.last = 9
	c := connect(t, p.options(), hubferry.Env{})
	after := hubferry.Position{Sequence: 7, Offset: "123"}
	want := []string{"amqp.annotation.x-opt-offset > '123'", "amqp.annotation.x-opt-sequence-number > '7'"}
	if _, err := openSource(t, c).Open(withTimeout(t), testPlace("0"), after, hubferry.NoEpoch); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, filters); diff != "" {
		t.Errorf("filters of a source (-want +got):\n%s", diff)
	}
	filters = nil
	if _, err := openWriter(t, c, &TargetOptions{}).Tail(withTimeout(t), 0, after); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, filters); diff != "" {
		t.Errorf("filters of a tail (-want +got):\n%s", diff)
	}
}

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		after hubferry.Position
		want  string
	}{
		{hubferry.Position{Sequence: -1}, "x-opt-offset > '-1'"},
		{hubferry.Position{Sequence: -1, Offset: "2:-1:-1"}, "x-opt-offset > '-1'"},
		{hubferry.Position{Sequence: 0, Offset: "0"}, "x-opt-offset > '0'"},
		{hubferry.Position{Sequence: 9, Offset: "2:3:4"}, "x-opt-offset > '2:3:4'"},
		{hubferry.Position{Sequence: 9}, "x-opt-sequence-number > '9'"},
		{hubferry.Position{Sequence: 9, Offset: "x' or 'y"}, "x-opt-sequence-number > '9'"},
	} {
		if got := filter(c.after, true); got != "amqp.annotation."+c.want {
			t.Errorf("%+v: %s", c.after, got)
		}
	}
}

func TestLostWhileReading(t *testing.T) { eachClient(t, testLostWhileReading) }

func testLostWhileReading(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  func(c *peerConn, ch uint16, handle uint32)
		kind hubferry.ErrorKind
	}{
		{"stolen", func(c *peerConn, ch uint16, handle uint32) {
			c.detach(ch, handle, &ours.Error{Condition: ours.ErrLinkStolen})
		}, hubferry.Lost},
		{"moved", func(c *peerConn, ch uint16, handle uint32) {
			c.detach(ch, handle, &ours.Error{Condition: ours.ErrDetachForced})
		}, hubferry.Transient},
		{"hub deleted", func(c *peerConn, ch uint16, handle uint32) {
			c.detach(ch, handle, &ours.Error{Condition: ours.ErrNotFound})
		}, hubferry.NotFound},
		{"token expired", func(c *peerConn, ch uint16, handle uint32) {
			c.detach(ch, handle, &ours.Error{Condition: ours.ErrUnauthorizedAccess})
		}, hubferry.Unauthorized},
		{"connection closed", func(c *peerConn, _ uint16, _ uint32) {
			c.send(0, &ours.Close{Error: &ours.Error{Condition: ours.ErrConnectionForced}})
		}, hubferry.Transient},
		{"connection cut", func(c *peerConn, _ uint16, _ uint32) { _ = c.conn.Close() }, hubferry.Transient},
		{"garbage", func(c *peerConn, _ uint16, _ uint32) { c.write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, hubferry.Transient},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := startPeer(t)
			e := hubferry.NewEvent(&hubferry.Content{Body: []byte("x")})
			first := received(t, &e, 0)
			var once sync.Once
			p.onCredit = func(conn *peerConn, ch uint16, handle uint32, _ uint32) {
				once.Do(func() {
					conn.deliver(ch, handle, first)
					c.cut(conn, ch, handle)
				})
			}
			src := openSource(t, connect(t, p.options(), hubferry.Env{}))
			r, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, 1)
			if err != nil {
				t.Fatal(err)
			}
			b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
			for err == nil {
				err = r.Read(withTimeout(t), &b)
			}
			if e := asError(t, err); e.Kind != c.kind || e.Place == nil {
				t.Errorf("kind %v: %v", e.Kind, e)
			}
			if err := r.Close(withTimeout(t)); err != nil {
				t.Error(err)
			}
			if err := r.Read(withTimeout(t), &b); !errors.Is(err, hubferry.ErrClosed) {
				t.Errorf("after Close: %v", err)
			}
		})
	}
}

// TestTailEndsWithoutItsEnd is a partition whose last events retention takes while they
// are waited for.
func TestTailEndsWithoutItsEnd(t *testing.T) { eachClient(t, testTailEndsWithoutItsEnd) }

func testTailEndsWithoutItsEnd(t *testing.T) {
	p := startPeer(t)
	p.last = 5
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	r, err := w.Tail(withTimeout(t), 0, hubferry.Position{Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	r.(*tail).patience = 50 * time.Millisecond
	p.set(func(p *peer) { p.last = -1 }) // created anew, say
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	if err := r.Read(withTimeout(t), &b); !errors.Is(err, hubferry.ErrEnd) {
		t.Errorf("%v, want ErrEnd", err)
	}
}

// TestTailEndsBehindATombstone is a partition of a compacted hub whose last event is gone,
// which nothing but silence tells: on the first link, and on a second one.
func TestTailEndsBehindATombstone(t *testing.T) { eachClient(t, testTailEndsBehindATombstone) }

func testTailEndsBehindATombstone(t *testing.T) {
	p := startPeer(t)
	p.last = 5
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	r, err := w.Tail(withTimeout(t), 0, hubferry.Position{Sequence: 3})
	if err != nil {
		t.Fatal(err)
	}
	r.(*tail).patience = 50 * time.Millisecond
	first := r.(*tail).reader
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	if err := r.Read(withTimeout(t), &b); !errors.Is(err, hubferry.ErrEnd) {
		t.Errorf("%v, want ErrEnd", err)
	}
	if !first.isClosed() || r.(*tail).reader == first {
		t.Error("the end was believed without a look through another link")
	}
}

func TestTailStopsAtTheEndAsOfTheCall(t *testing.T) { eachClient(t, testTailStopsAtTheEndAsOfTheCall) }

func testTailStopsAtTheEndAsOfTheCall(t *testing.T) {
	p := startPeer(t)
	p.last = 2
	var messages [][]byte
	for seq := range int64(6) {
		e := hubferry.NewEvent(&hubferry.Content{Body: []byte("x")})
		messages = append(messages, received(t, &e, seq))
	}
	p.deliverOnce(messages...)
	w := openWriter(t, connect(t, p.options(), hubferry.Env{}), &TargetOptions{})
	r, err := w.Tail(withTimeout(t), 0, hubferry.Position{Sequence: -1})
	if err != nil {
		t.Fatal(err)
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 100, Bytes: 1 << 20}}
	n := 0
	for {
		if err = r.Read(withTimeout(t), &b); err != nil {
			break
		}
		n += len(b.Events)
	}
	if !errors.Is(err, hubferry.ErrEnd) || n != 3 || b.Next.Sequence > 2 {
		t.Errorf("%d events up to %d, then %v", n, b.Next.Sequence, err)
	}
}

func TestResolveTimeBetweenMilliseconds(t *testing.T) {
	eachClient(t, testResolveTimeBetweenMilliseconds)
}

func testResolveTimeBetweenMilliseconds(t *testing.T) {
	s := startServer(t, nil)
	c := connect(t, s.options(), hubferry.Env{})
	w := openWriter(t, c, &TargetOptions{})
	for i := range 3 {
		if _, err := w.Write(withTimeout(t), hubferry.Run{Events: bodies(fmt.Sprint(i))}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	src := openSource(t, c)
	events := readEvents(t, src, 0, 3)
	at := events[1].Time
	for _, c := range []struct {
		at   time.Time
		want int64
	}{{at, 0}, {at.Add(-time.Nanosecond), 0}, {at.Add(time.Nanosecond), 1}, {time.UnixMilli(-5), -1}, {time.Now().Add(time.Hour), 2}} {
		pos, err := src.Resolve(withTimeout(t), testPlace("0"), hubferry.Start{Kind: hubferry.StartTime, Time: c.at})
		if err != nil || pos.Sequence != c.want {
			t.Errorf("%v: after %d, %v; want %d", c.at, pos.Sequence, err, c.want)
		}
	}
}

func TestReadEndsWithItsContext(t *testing.T) { eachClient(t, testReadEndsWithItsContext) }

func testReadEndsWithItsContext(t *testing.T) {
	s := startServer(t, nil)
	src := openSource(t, connect(t, s.options(), hubferry.Env{}))
	r, err := src.Open(withTimeout(t), testPlace("0"), hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("claim lost")
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}}
	if err := r.Read(ctx, &b); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
