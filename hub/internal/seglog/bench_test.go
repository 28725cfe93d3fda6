package seglog

import (
	"bytes"
	"fmt"
	"testing"
)

func benchLogs(b *testing.B, run func(b *testing.B, o Options)) {
	for _, kind := range []struct {
		name string
		o    Options
	}{{"memory", Options{}}, {"disk", Options{Dir: "x"}}, {"batch", Options{Dir: "x", Fsync: FsyncBatch}}} {
		for _, size := range []int{100, 1024} {
			b.Run(fmt.Sprintf("%s/%dB", kind.name, size), func(b *testing.B) {
				o := kind.o
				if o.Dir != "" {
					o.Dir = b.TempDir()
				}
				b.SetBytes(int64(size))
				message = bytes.Repeat([]byte{'m'}, size)
				run(b, o)
			})
		}
	}
}

var message []byte

func batchOf(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{Key: []byte("a partition key"), Flags: FlagKey, Message: message}
	}
	return entries
}

// BenchmarkAppend stores events in batches of 100; time and bytes are per
// event. Old events are trimmed so that memory and disk do not fill.
func BenchmarkAppend(b *testing.B) {
	benchLogs(b, func(b *testing.B, o Options) {
		l := open(b, o)
		entries := batchOf(100)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			if n%100 == 0 {
				put(b, l, entries...)
			}
			if n%500_000 == 0 {
				if err := l.Trim(Keep{Bytes: 32 << 20}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkAppendOne stores events one by one.
func BenchmarkAppendOne(b *testing.B) {
	benchLogs(b, func(b *testing.B, o Options) {
		l := open(b, o)
		entries := batchOf(1)
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			put(b, l, entries...)
			if n%100_000 == 0 {
				if err := l.Trim(Keep{Bytes: 32 << 20}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkRead reads events that were stored in batches of 100, 300 at a
// time; time and bytes are per event.
func BenchmarkRead(b *testing.B) {
	benchLogs(b, func(b *testing.B, o Options) {
		o.Fsync = FsyncInterval
		l := open(b, o)
		const total = 50_000
		for range total / 100 {
			put(b, l, batchOf(100)...)
		}
		var batch Batch
		b.ReportAllocs()
		from, i := int64(0), 0
		for b.Loop() {
			if i == len(batch.Records) {
				if err := l.Read(from, 256<<10, 300, &batch); err != nil {
					b.Fatal(err)
				}
				if from, i = batch.Next, 0; from == total {
					from = 0
				}
			}
			if len(batch.Records[i].Message) != len(message) {
				b.Fatal("wrong record")
			}
			i++
		}
	})
}
