package seglog

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Everything at once: appenders, readers that wait for more, seeks, syncs and
// trims. Readers see every record once, in order, except what retention took.
func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		const writers, batches = 3, 60
		o.SegmentBytes = 5000
		l := open(t, o)
		var writing, others sync.WaitGroup
		stop := make(chan struct{})
		total := int64(writers * batches * 3)
		var trimmed atomic.Int64
		for w := range writers {
			writing.Go(func() {
				for i := range batches {
					m := fmt.Sprintf("%d.%d.%s", w, i, strings.Repeat("x", i%50))
					if _, err := l.Append(context.Background(), []Entry{plain(m), keyed("k", m), plain(m)}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for range 3 {
			others.Go(func() { follow(t, l, total, &trimmed) })
		}
		for _, work := range []func() error{
			l.Sync,
			func() error { _, err := l.SeekTime(l.Info().LastEnqueued); return err },
			func() error { _, err := l.SeekOffset(l.Info().LastOffset / 2); return err },
			func() error {
				keep := l.Info().Last / 4
				trimmed.Store(keep)
				return l.trimTo(keep)
			},
		} {
			others.Go(func() {
				for {
					if err := work(); err != nil {
						t.Error(err)
						return
					}
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond): // leaves time for the others
					}
				}
			})
		}
		writing.Wait()
		close(stop)
		others.Wait()
		if i := l.Info(); i.Last != total-1 {
			t.Errorf("info = %+v", i)
		}
	})
}

// follow reads a log from its beginning to a sequence number, waiting with a
// watch when there is nothing.
func follow(t *testing.T, l *Log, to int64, trimmed *atomic.Int64) {
	more := make(chan struct{}, 1)
	stop := l.Watch(func() {
		select {
		case more <- struct{}{}:
		default:
		}
	})
	defer stop()
	var b Batch
	lastTime, lastOffset := int64(0), int64(-1)
	for from := int64(0); from < to; {
		if err := l.Read(from, 3000, 40, &b); err != nil {
			t.Error(err)
			return
		}
		if len(b.Records) == 0 {
			<-more
			continue
		}
		if first := b.Records[0].Sequence; first != from && first > trimmed.Load() {
			t.Errorf("expected record %d, got %d, trimmed to %d", from, first, trimmed.Load())
		}
		for i, r := range b.Records {
			if r.Sequence != b.Records[0].Sequence+int64(i) || r.Enqueued < lastTime || r.Offset <= lastOffset || len(r.Message) == 0 {
				t.Errorf("record %d at %d: offset %d after %d", i, r.Sequence, r.Offset, lastOffset)
			}
			lastTime, lastOffset = r.Enqueued, r.Offset
		}
		from = b.Next
	}
}

// Readers and appenders beside a compaction that runs again and again: every
// key's newest record is always found.
func TestConcurrentCompaction(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 3000
		l := open(t, o)
		const keys, rounds = 7, 40
		var newest [keys]atomic.Int64
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				for done := false; !done; {
					select {
					case <-stop:
						done = true
					case <-time.After(time.Millisecond): // leaves time for the others
					}
					var want [keys]int64
					for k := range want {
						want[k] = newest[k].Load()
					}
					recs, err := tryReadAll(l, 0, 1000, 10)
					if err != nil {
						t.Error(err)
						return
					}
					seen := map[string]int64{}
					for _, r := range recs {
						seen[string(r.Key)] = r.Sequence
					}
					for k, w := range want {
						if s := seen[fmt.Sprint(k)]; s < w {
							t.Errorf("key %d: newest record is %d, saw %d", k, w, s)
						}
					}
				}
			})
		}
		all.Go(func() {
			for {
				if err := l.Compact(context.Background(), Compaction{}); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond): // leaves time for the others
				}
			}
		})
		for i := range rounds * keys {
			s, err := l.Append(context.Background(), []Entry{keyed(fmt.Sprint(i%keys), strings.Repeat("v", 20))})
			if err != nil {
				t.Fatal(err)
			}
			newest[i%keys].Store(s.First)
		}
		close(stop)
		all.Wait()
		compact(t, l, Compaction{})
		recs := readAll(t, l, 0, 1<<20, 1000)
		if !slices.IsSortedFunc(recs, func(a, b Record) int { return int(a.Sequence - b.Sequence) }) {
			t.Error("records out of order")
		}
		l = reopen(t, l, o)
		if again := readAll(t, l, 0, 1<<20, 1000); len(again) != len(recs) {
			t.Errorf("%d records, %d before the log was opened again", len(again), len(recs))
		}
	})
}
