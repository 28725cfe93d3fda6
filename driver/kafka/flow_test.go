package kafka_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// What many partitions have for a broker that is busy goes in few requests, each with one
// batch of a partition, and each partition keeps its order.
func TestBatchesShareRequests(t *testing.T) {
	c := newCluster(t, kfake.NumBrokers(1))
	var mu sync.Mutex
	var requests [][]int32
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	for p := range partitions { // a broker must know a producer before several batches are in flight
		if _, err := w.Write(t.Context(), hubferry.Run{Partition: p, Events: named(0, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if produce, ok := req.(*kmsg.ProduceRequest); ok {
			var carried []int32
			for _, topic := range produce.Topics {
				for _, p := range topic.Partitions {
					carried = append(carried, p.Partition)
				}
			}
			mu.Lock()
			requests = append(requests, carried)
			mu.Unlock()
		}
		return nil, nil, false
	})
	sub, ok := w.(hubferry.Submitter)
	if !ok {
		t.Fatal("the writer is no Submitter")
	}
	// What is ready when the broker goes on is up to the scheduler, so there are rounds until it was enough.
	const runs = 4
	rounds, shared := 0, false
	for end := time.Now().Add(longWait); !shared && time.Now().Before(end); rounds++ {
		release := c.stall()
		var landed sync.WaitGroup
		for i := range runs {
			for p := range partitions {
				landed.Add(1)
				sub.Submit(t.Context(), hubferry.Run{Partition: p, Events: named(1+rounds*runs+i, 1)}, func(r hubferry.Receipt, err error) {
					defer landed.Done()
					if err != nil || r.N != 1 {
						t.Errorf("run %d of partition %d: %d events, %v", i, p, r.N, err)
					}
				})
			}
		}
		time.Sleep(100 * time.Millisecond) // the more is ready when the broker goes on, the fewer the requests
		release()
		landed.Wait()
		mu.Lock()
		shared = len(requests) < runs*partitions
		for _, carried := range requests {
			seen := map[int32]bool{}
			for _, p := range carried {
				if seen[p] {
					t.Errorf("a request carries two batches of partition %d", p)
				}
				seen[p] = true
			}
		}
		requests = nil
		mu.Unlock()
	}
	if !shared {
		t.Errorf("%d batches never went in fewer requests", runs*partitions)
	}
	want := make([]int, 1+rounds*runs)
	for i := range want {
		want[i] = i
	}
	for p := range partitions {
		var got []string
		for _, e := range c.dump(t, p) {
			content, err := e.Content()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(content.Body))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("partition %d: %v", p, got)
		}
	}
}

// A partition that nobody reads holds up no other, however much there is, and loses nothing.
func TestSlowReaderHoldsUpNobody(t *testing.T) {
	c := newCluster(t)
	const each, size = 300, 4 << 10
	for p := range partitions {
		events := make([]hubferry.Event, each)
		for i := range events {
			body := bytes.Repeat([]byte{byte(p)}, size)
			copy(body, fmt.Appendf(nil, "%d/%d ", p, i))
			events[i] = hubferry.NewEvent(&hubferry.Content{Body: body})
		}
		c.inject(t, p, events)
	}
	conn := connect(t, c.options(), hubferry.Env{Budget: 1 << 20}) // a queue has room for a part
	s, err := conn.Source(t.Context(), topicName, &kafka.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	infos, err := s.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	readers := make([]hubferry.Reader, partitions)
	for p := range readers {
		if readers[p], err = s.Open(t.Context(), infos[p].Place, hubferry.Position{Sequence: -1}, hubferry.NoEpoch); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = readers[p].Close(context.WithoutCancel(t.Context())) })
	}
	read := func(p int) {
		ctx, cancel := context.WithTimeout(t.Context(), longWait)
		defer cancel()
		batch := hubferry.Batch{Limit: hubferry.Limit{Events: 7, Bytes: 1 << 20}}
		for next := 0; next < each; {
			if err := readers[p].Read(ctx, &batch); err != nil {
				t.Errorf("partition %d, after %d events: %v", p, next, err)
				return
			}
			for i := range batch.Events {
				content, err := batch.Events[i].Content()
				want := bytes.Repeat([]byte{byte(p)}, size)
				copy(want, fmt.Appendf(nil, "%d/%d ", p, next))
				if err != nil || !bytes.Equal(content.Body, want) {
					t.Errorf("partition %d, event %d: %.20q, %v", p, next, content.Body, err)
					return
				}
				next++
			}
		}
	}
	var fast sync.WaitGroup
	for p := 1; p < partitions; p++ {
		fast.Go(func() { read(p) })
	}
	fast.Wait() // while nobody reads partition 0
	read(0)
}
