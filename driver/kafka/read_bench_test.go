package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// BenchmarkRead reads a topic from its beginning, again and again, through a bare client
// and through the source. One operation is one record. With HUBFERRY_INTEROP=1 it reads
// from a real broker, otherwise from kfake, whose own work then counts as well.
func BenchmarkRead(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, kind := range []string{"fake", "real"} {
			b.Run(fmt.Sprintf("%s/%d", kind, size), func(b *testing.B) {
				var s *service
				if kind == "fake" {
					s = fakeService(b)
				} else {
					s = realService(b)
				}
				const each = 50_000
				for p := range partitions {
					records := make([]*kgo.Record, each)
					for i := range records {
						records[i] = &kgo.Record{Topic: s.topic, Partition: int32(p), Key: fmt.Appendf(nil, "key-%d", i%1000), Value: make([]byte, size)}
					}
					s.produce(b, nil, records...)
				}
				b.Run("bare", func(b *testing.B) { readBare(b, s) })
				b.Run("source", func(b *testing.B) { readSource(b, s) })
			})
		}
	}
}

func readBare(b *testing.B, s *service) {
	b.Helper()
	b.ReportAllocs()
	for n := 0; n < b.N; {
		offsets := map[int32]kgo.Offset{}
		for p := range partitions {
			offsets[int32(p)] = kgo.NewOffset().AtStart()
		}
		cl := s.client(b, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: offsets}))
		for read := 0; n < b.N && read < partitions*50_000; {
			fetches := cl.PollFetches(b.Context())
			if err := fetches.Err(); err != nil {
				b.Fatal(err)
			}
			read += fetches.NumRecords()
			n += fetches.NumRecords()
		}
		cl.Close()
	}
}

func readSource(b *testing.B, s *service) {
	b.Helper()
	b.ReportAllocs()
	conn := connect(b, s.options(), hubferry.Env{Budget: 64 << 20})
	for n := 0; n < b.N; {
		source, err := conn.Source(b.Context(), s.topic, &kafka.SourceOptions{})
		if err != nil {
			b.Fatal(err)
		}
		infos, err := source.Partitions(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		counts := make(chan int, partitions)
		ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
		for i := range infos {
			go func() { counts <- readAll(ctx, b, source, &infos[i], (b.N-n)/partitions+1) }()
		}
		for range infos {
			n += <-counts
		}
		cancel()
		_ = source.Close(b.Context())
	}
}

// readAll reads a partition to its end, or so many events.
func readAll(ctx context.Context, b *testing.B, source hubferry.Source, info *hubferry.PartitionInfo, most int) int {
	b.Helper()
	r, err := source.Open(ctx, info.Place, info.Begin, hubferry.NoEpoch)
	if err != nil {
		b.Error(err)
		return b.N
	}
	defer r.Close(ctx)
	in, n := hubferry.Batch{Limit: hubferry.Limit{Events: 1000, Bytes: 4 << 20}, Next: info.Begin}, 0
	for n < most && in.Next.Sequence < info.End.Sequence {
		if err := r.Read(ctx, &in); err != nil {
			b.Error(err)
			return b.N
		}
		n += len(in.Events)
	}
	return n
}
