package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// BenchmarkEncode measures what a target does for an event before it is sent: from a record
// as it was read to a finished batch, with the provenance of this hop and of one before.
func BenchmarkEncode(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for hops, headers := range map[string][]kgo.RecordHeader{
			"first": nil,
			"second": {
				{Key: hubferry.ReplEnqueueTime, Value: []byte("2026-01-02T03:04:05.006Z")},
				{Key: hubferry.ReplSequence, Value: []byte("12345")},
				{Key: hubferry.ReplOffset, Value: []byte("12345")},
				{Key: hubferry.ReplSource, Value: []byte("cluster/topic/3")},
				{Key: hubferry.ReplID, Value: []byte("task/route/0")},
			},
		} {
			b.Run(fmt.Sprintf("%d B, %s hop", size, hops), func(b *testing.B) { benchmarkEncode(b, size, headers) })
		}
	}
}

func benchmarkEncode(b *testing.B, size int, headers []kgo.RecordHeader) {
	const run = 4096
	origin := hubferry.NewPlace("4L6g3nShT-eMCtK--X86sw", "topic", "0", "", 0)
	events := make([]*hubferry.Event, run)
	for i := range events {
		e := event(new(form), &kgo.Record{
			Key: fmt.Appendf(nil, "key %d", i%1000), Value: make([]byte, size), Headers: headers,
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)), Offset: int64(i),
		}, origin)
		events[i] = &e
	}
	t := &target{options: TargetOptions{}.withDefaults(), producer: &producer{}}
	w := &writer{target: t, limit: defaultMaxMessage}
	w.spare.New = func() any { return newEncoder(hubferry.Trail{Task: "task", Route: "route"}) }
	bytes := 0
	x := &batcher{
		w: w, place: origin,
		reserve: func(n int64) (*batch, error) { return &batch{data: t.producer.buffer(int(n))}, nil },
		take: func(out *batch) {
			out.seal(producerID{1, 0}, false)
			bytes += len(out.data)
			t.producer.recycle(out.data)
		},
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := x.encode(b.Context(), events); err != nil {
			b.Fatal(err)
		}
	}
	n := float64(b.N) * run
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/n, "ns/event")
	b.ReportMetric(float64(bytes)/n, "B/event-sent")
}
