package kafka

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// A reader that holds too much only since its share shrank is resumed when it runs dry.
func TestResumedAfterItsShareShrank(t *testing.T) {
	p := &pump{drained: make(chan struct{}, 1)}
	r := newReader(&source{options: &SourceOptions{}}, hubferry.NewPlace("c", "t", "0", "", 0), hubferry.Position{Sequence: -1})
	r.pump = p
	r.limit.Store(8 << 20)
	r.put(kgo.FetchTopicPartition{FetchPartition: kgo.FetchPartition{Records: []*kgo.Record{{Value: make([]byte, 1<<20)}}}}, nil)
	r.limit.Store(512 << 10) // other readers have come
	if got := r.state(); got != readerFull {
		t.Fatalf("state %d, want full", got)
	}
	r.paused.Store(true)
	if records, err := r.take(hubferry.Limit{Events: 10, Bytes: 2 << 20}, new(lot)); len(records) != 1 || err != nil {
		t.Fatalf("%d records, %v", len(records), err)
	}
	if len(p.changes) != 1 || p.changes[0] != (change{r, resumes}) {
		t.Errorf("changes %+v", p.changes)
	}
}

// What is copied out of an answer is the same, and is not the answer's any more.
func TestCopyOut(t *testing.T) {
	answer := []byte("keyvaluehead")
	records := []*kgo.Record{
		{Key: answer[:3], Value: answer[3:8], Headers: []kgo.RecordHeader{{Key: "a", Value: answer[8:]}, {Key: "b"}, {Key: "c", Value: answer[:0]}}},
		{Value: answer[:0]},
		{},
	}
	(&pump{source: new(source)}).copyOut(records)
	copy(answer, "????????????")
	want := []*kgo.Record{
		{Key: []byte("key"), Value: []byte("value"), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("head")}, {Key: "b"}, {Key: "c", Value: []byte{}}}},
		{Value: []byte{}},
		{},
	}
	for i, r := range records {
		if diff := cmp.Diff([]any{want[i].Key, want[i].Value, want[i].Headers}, []any{r.Key, r.Value, r.Headers}); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
}

// What a lane takes back is not sent, and what others have is.
func TestWithdraw(t *testing.T) {
	mine, others := make(chan answer, inFlight), make(chan answer, inFlight)
	over, live := &pending{}, &pending{}
	over.over.Store(true)
	queue := []shipment{
		{partition: 0, batch: &batch{run: live}, answers: mine},
		{partition: 2, batch: &batch{run: over}, answers: others},
		{partition: 0, batch: &batch{run: over}, answers: mine},
	}
	s := &sink{queue: append([]shipment{}, queue...)}
	s.withdraw(mine, func(b *batch) bool { return b.run.over.Load() })
	if len(s.queue) != 2 || s.queue[0].batch != queue[0].batch || s.queue[1].batch != queue[1].batch {
		t.Errorf("left: %+v", s.queue)
	}
	if a := <-mine; a.batch != queue[2].batch || !a.unsent || a.err == nil || len(mine)+len(others) > 0 {
		t.Errorf("answer %+v", a)
	}
}

// Readers spread over the pumps of a source, two of one partition never share one, and pumps
// that nobody needs end.
func TestReadersShareTwoPumps(t *testing.T) {
	c, err := newConnection(&ConnectionOptions{Brokers: []string{"127.0.0.1:1"}}, hubferry.Env{}) // nobody is there
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(c, &SourceOptions{}, selection{})
	t.Cleanup(func() { _ = errors.Join(s.Close(context.WithoutCancel(t.Context())), c.Close(t.Context())) })
	open := func(partition int) *reader {
		t.Helper()
		r := newReader(s, hubferry.NewPlace("c", "t", "", "", partition), hubferry.Position{Sequence: -1})
		if _, err := s.open(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		return r
	}
	loads := func() []int {
		s.mu.Lock()
		defer s.mu.Unlock()
		var loads []int
		for _, p := range s.pumps {
			n, _ := p.load(partitionName{})
			loads = append(loads, n)
		}
		return loads
	}
	want := func(what string, want ...int) {
		t.Helper()
		if diff := cmp.Diff(want, loads()); diff != "" {
			t.Errorf("readers of each pump, %s (-want +got):\n%s", what, diff)
		}
		if n := c.pumpCount(); n != len(want) {
			t.Errorf("%s: %d pumps are counted, want %d", what, n, len(want))
		}
	}
	first := open(0)
	want("one partition", 1)
	others := []*reader{open(1), open(2), open(3)}
	want("four partitions", 2, 2)
	again, third := open(0), open(0)
	want("three readers of one partition", 2, 3, 1)
	if first.pump == again.pump || first.pump == third.pump || again.pump == third.pump {
		t.Error("readers of one partition share a pump")
	}
	for _, r := range append(others, again, third) {
		if err := r.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	want("one again", 1)
}

// What events were read into is used again when they are given back, and not before; a parcel
// that several reads share when all of them are.
func TestLots(t *testing.T) {
	s := newSource(nil, &SourceOptions{}, selection{})
	p := &pump{source: s, drained: make(chan struct{}, 1)}
	r := newReader(s, hubferry.NewPlace("c", "t", "0", "", 0), hubferry.Position{Sequence: -1})
	r.pump = p
	offset := int64(0)
	fetched := func(n int) {
		var records []*kgo.Record
		for range n {
			value := bytes.Repeat([]byte{byte(offset)}, leastParcel)
			records = append(records, &kgo.Record{Offset: offset, Key: []byte{byte(offset)}, Value: value})
			offset++
		}
		in := p.copyOut(records)
		r.put(kgo.FetchTopicPartition{FetchPartition: kgo.FetchPartition{Records: records}}, in)
	}
	read := func(n int) *hubferry.Batch {
		t.Helper()
		b := &hubferry.Batch{Limit: hubferry.Limit{Events: n, Bytes: 1 << 30}}
		if err := r.Read(t.Context(), b); err != nil || len(b.Events) != n || b.Free == nil {
			t.Fatalf("%d events, %v", len(b.Events), err)
		}
		return b
	}
	intact := func(b *hubferry.Batch, from byte) {
		t.Helper()
		for i := range b.Events {
			c, err := b.Events[i].Content()
			want := bytes.Repeat([]byte{from + byte(i)}, leastParcel)
			if err != nil || !bytes.Equal(c.Body, want) || !bytes.Equal(b.Events[i].Key.Bytes, want[:1]) {
				t.Errorf("event %d is %.4q under key %q, %v", from+byte(i), c.Body, b.Events[i].Key, err)
			}
		}
	}
	fetched(3)
	fetched(2)
	one, two := read(2), read(3) // the second has a part of either answer
	if n := len(r.where); n != 0 {
		t.Errorf("%d parcels are left in the queue", n)
	}
	one.Free()
	fetched(3) // may have what the first read lived in, but not what the second still uses
	three := read(3)
	intact(two, 2)
	intact(three, 5)
	two.Free()
	fetched(3)
	four := read(3)
	intact(three, 5)
	intact(four, 8)
}

// A parcel counts its users, and is not used for much less than it has room for (INV-6).
func TestParcels(t *testing.T) {
	var s spare
	p := s.parcel(leastParcel)
	p.users.Add(1)
	s.leave(p)
	if n := p.users.Load(); n != 1 {
		t.Errorf("%d users, want 1", n)
	}
	s.leave(p)
	for range 100 { // whatever the pool has kept
		if got := s.parcel(8 * leastParcel); cap(got.bytes) > 16*leastParcel || len(got.bytes) > 0 || got.users.Load() != 1 {
			t.Fatalf("a parcel with room for %d, %d used, %d users", cap(got.bytes), len(got.bytes), got.users.Load())
		}
		s.leave(s.parcel(64 * leastParcel))
	}
}
