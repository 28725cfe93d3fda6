package seglog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SEGLOG_CRASH_DIR"); dir != "" {
		crashChild(dir)
		return
	}
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

// clock is a settable clock.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_700_000_000_000)
	return c
}

func (c *clock) now() time.Time      { return time.UnixMilli(c.ms.Load()) }
func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// each runs a test on disk, with every fsync policy that differs, and in memory.
func each(t *testing.T, test func(t *testing.T, o Options)) {
	for name, o := range map[string]Options{
		"memory":   {},
		"interval": {Dir: "x"},
		"batch":    {Dir: "x", Fsync: FsyncBatch},
		"never":    {Dir: "x", Fsync: FsyncNever},
	} {
		t.Run(name, func(t *testing.T) {
			if o.Dir != "" {
				o.Dir = t.TempDir()
			}
			test(t, o)
		})
	}
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// reopen closes a log on disk and opens it again; one in memory it leaves.
func reopen(t testing.TB, l *Log, o Options) *Log {
	t.Helper()
	if o.Dir == "" {
		return l
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return open(t, o)
}

func keyed(key, msg string) Entry {
	return Entry{Key: []byte(key), Flags: FlagKey, Message: []byte(msg)}
}

func plain(msg string) Entry { return Entry{Message: []byte(msg)} }

func tombstone(key string) Entry {
	return Entry{Key: []byte(key), Flags: FlagKey | FlagTombstone}
}

func put(t testing.TB, l *Log, entries ...Entry) Span {
	t.Helper()
	s, err := l.Append(context.Background(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readAll reads from a sequence number to the end, in reads of the given size,
// and clones what it gets.
func readAll(t testing.TB, l *Log, from int64, maxBytes, maxRecords int) []Record {
	t.Helper()
	recs, err := tryReadAll(l, from, maxBytes, maxRecords)
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

func tryReadAll(l *Log, from int64, maxBytes, maxRecords int) ([]Record, error) {
	var b Batch
	var all []Record
	for {
		if err := l.Read(from, maxBytes, maxRecords, &b); err != nil {
			return all, err
		}
		if len(b.Records) == 0 {
			return all, nil
		}
		if len(b.Records) > maxRecords {
			return all, fmt.Errorf("read returned %d records, wanted at most %d", len(b.Records), maxRecords)
		}
		for _, r := range b.Records {
			r.Key, r.Publisher, r.Message = bytes.Clone(r.Key), bytes.Clone(r.Publisher), bytes.Clone(r.Message)
			all = append(all, r)
		}
		from = b.Next
	}
}

func messages(recs []Record) []string {
	var s []string
	for _, r := range recs {
		s = append(s, fmt.Sprintf("%d:%s", r.Sequence, r.Message))
	}
	return s
}

func TestRoundTrip(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now = c.now
		l := open(t, o)
		want := []Entry{
			{Message: []byte("no key")},
			{Message: []byte("empty key"), Key: []byte{}, Flags: FlagKey},
			{Message: []byte{}, Key: []byte("k"), Flags: FlagKey | FlagTombstone},
			{Message: []byte{0, 0xff}, Publisher: []byte("pub"), Key: []byte("ü"), Flags: FlagKey},
			{Message: bytes.Repeat([]byte{7}, 300_000)},
		}
		s := put(t, l, want[:2]...)
		if s.First != 0 || s.Last != 1 || s.FirstOffset != 0 || s.LastOffset <= 0 || s.Enqueued != c.ms.Load() {
			t.Errorf("first span = %+v", s)
		}
		c.add(-time.Hour) // a clock that goes back
		s2 := put(t, l, want[2:]...)
		if s2.First != 2 || s2.Last != 4 || s2.FirstOffset <= s.LastOffset || s2.Enqueued != s.Enqueued {
			t.Errorf("second span = %+v after %+v", s2, s)
		}
		for range 2 {
			got := readAll(t, l, 0, 1<<20, 100)
			if len(got) != len(want) {
				t.Fatalf("got %d records, want %d", len(got), len(want))
			}
			for i, r := range got {
				if r.Sequence != int64(i) || r.Enqueued != s.Enqueued {
					t.Errorf("record %d has sequence %d, time %d", i, r.Sequence, r.Enqueued)
				}
				w := want[i]
				if !bytes.Equal(w.Key, r.Key) || !bytes.Equal(w.Publisher, r.Publisher) || !bytes.Equal(w.Message, r.Message) || w.Flags != r.Flags {
					t.Errorf("record %d: got key %q, publisher %q, flags %d, %d bytes", i, r.Key, r.Publisher, r.Flags, len(r.Message))
				}
				if want[i].HasKey() != r.HasKey() || (r.Key == nil) != (want[i].Key == nil) {
					t.Errorf("record %d: key %q, has %v", i, r.Key, r.HasKey())
				}
			}
			if got[4].Offset != s2.LastOffset {
				t.Errorf("last offset = %d, span said %d", got[4].Offset, s2.LastOffset)
			}
			info := l.Info()
			wantInfo := Info{Begin: 0, Last: 4, LastOffset: s2.LastOffset, LastEnqueued: s.Enqueued, Bytes: info.Bytes}
			if info != wantInfo || info.Bytes < 300_000 {
				t.Errorf("info = %+v", info)
			}
			l = reopen(t, l, o)
		}
		c.add(2 * time.Hour)
		if s3 := put(t, l, plain("next")); s3.First != 5 || s3.FirstOffset <= s2.LastOffset || s3.Enqueued != c.ms.Load() {
			t.Errorf("third span = %+v", s3)
		}
	})
}

func TestEmptyLog(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		l := open(t, o)
		for range 2 {
			if i := l.Info(); !i.Empty || i.Begin != 0 || i.Last != -1 || i.LastOffset != -1 {
				t.Errorf("info = %+v", i)
			}
			var b Batch
			if err := l.Read(0, 100, 100, &b); err != nil || len(b.Records) != 0 || b.Next != 0 {
				t.Errorf("read = %v, %v", b.Records, err)
			}
			if s, err := l.SeekTime(0); s != 0 || err != nil {
				t.Errorf("seek time = %d, %v", s, err)
			}
			if s, err := l.SeekOffset(5); s != 0 || err != nil {
				t.Errorf("seek offset = %d, %v", s, err)
			}
			l = reopen(t, l, o)
		}
	})
}

func TestRefusedBatches(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.MaxBatchBytes = 1000
		l := open(t, o)
		for _, entries := range [][]Entry{nil, {plain(strings.Repeat("x", 1000))}} {
			if _, err := l.Append(t.Context(), entries); !errors.Is(err, ErrBatch) {
				t.Errorf("append of %d entries: %v", len(entries), err)
			}
		}
		if s := put(t, l, plain("ok")); s.First != 0 {
			t.Errorf("a refused batch took a number: %+v", s)
		}
	})
}

func TestManySegments(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 2000
		l := open(t, o)
		var want []string
		for i := range 200 {
			var batch []Entry
			for j := range 1 + i%3 {
				want = append(want, fmt.Sprintf("%d:%d.%d", len(want), i, j))
				batch = append(batch, plain(fmt.Sprintf("%d.%d", i, j)))
			}
			put(t, l, batch...)
		}
		if len(l.segs) < 5 {
			t.Fatalf("only %d segments", len(l.segs))
		}
		for round := range 2 {
			for _, size := range []struct{ bytes, records int }{{1, 1}, {1 << 20, 7}, {20, 1000}, {1 << 20, 1000}} {
				got := messages(readAll(t, l, 0, size.bytes, size.records))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("round %d, reads of %v: %s", round, size, diff)
				}
			}
			for from := range int64(len(want)) {
				var b Batch
				if err := l.Read(from, 1, 1, &b); err != nil || len(b.Records) != 1 || b.Records[0].Sequence != from || b.Next != from+1 {
					t.Fatalf("read from %d: %v, %v", from, messages(b.Records), err)
				}
			}
			l = reopen(t, l, o)
		}
	})
}

func TestReadLimits(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		l := open(t, o)
		put(t, l, plain("aaaa"), plain("bbbb"), plain("cccc"))
		var b Batch
		for _, test := range []struct {
			bytes, records int
			want           int
		}{{8, 10, 2}, {7, 10, 1}, {1, 10, 1}, {100, 1, 1}, {100, 0, 0}, {0, 5, 1}, {12, 5, 3}} {
			if err := l.Read(0, test.bytes, test.records, &b); err != nil || len(b.Records) != test.want || b.Next != int64(test.want) {
				t.Errorf("read of %d bytes, %d records: got %d, next %d, %v", test.bytes, test.records, len(b.Records), b.Next, err)
			}
		}
		if err := l.Read(99, 10, 10, &b); err != nil || len(b.Records) != 0 || b.Next != 99 {
			t.Errorf("read beyond the end: %v, next %d, %v", b.Records, b.Next, err)
		}
	})
}

// A reader that could not use all that it got asks for some of it again.
func TestReadAgain(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 4000
		l := open(t, o)
		for i := range 100 {
			put(t, l, plain(fmt.Sprint(2*i)), plain(fmt.Sprint(2*i+1)))
		}
		rnd := rand.New(rand.NewPCG(3, 4))
		var b Batch
		for from := int64(0); from < 200; {
			if err := l.Read(from, 1000, 1+rnd.IntN(40), &b); err != nil || len(b.Records) == 0 {
				t.Fatal(from, err)
			}
			for i, r := range b.Records {
				if want := fmt.Sprint(from + int64(i)); r.Sequence != from+int64(i) || string(r.Message) != want {
					t.Fatalf("read from %d: record %d is %d, %s", from, i, r.Sequence, r.Message)
				}
			}
			from = max(0, b.Next-int64(rnd.IntN(len(b.Records)+3)))
		}
	})
}

func TestSeek(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now, o.SegmentBytes = c.now, 3000
		l := open(t, o)
		for i := range 100 {
			put(t, l, plain(fmt.Sprint(i)), plain("x"))
			if i%3 == 0 {
				c.add(time.Second)
			}
		}
		for range 2 {
			recs := readAll(t, l, 0, 1<<20, 1000)
			for _, r := range recs {
				if s, err := l.SeekOffset(r.Offset); s != r.Sequence || err != nil {
					t.Fatalf("seek offset %d = %d, %v; want %d", r.Offset, s, err, r.Sequence)
				}
				if s, err := l.SeekOffset(r.Offset + 1); s != r.Sequence+1 || err != nil {
					t.Fatalf("seek offset %d+1 = %d, %v; want %d", r.Offset, s, err, r.Sequence+1)
				}
			}
			first := map[int64]int64{}
			for _, r := range recs {
				if _, ok := first[r.Enqueued]; !ok {
					first[r.Enqueued] = r.Sequence
				}
			}
			for ms, want := range first {
				if s, err := l.SeekTime(ms); s != want || err != nil {
					t.Fatalf("seek time %d = %d, %v; want %d", ms, s, err, want)
				}
				if s, err := l.SeekTime(ms - 1); s != want || err != nil {
					t.Fatalf("seek time %d-1 = %d, %v; want %d", ms, s, err, want)
				}
			}
			if s, err := l.SeekTime(c.ms.Load() + 1); s != 200 || err != nil {
				t.Fatalf("seek the future = %d, %v", s, err)
			}
			if s, err := l.SeekTime(-62135596800000); s != 0 || err != nil {
				t.Fatalf("seek the year 1 = %d, %v", s, err)
			}
			l = reopen(t, l, o)
		}
	})
}

func TestWatch(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		l := open(t, o)
		woken := make(chan struct{}, 10)
		stop := l.Watch(func() { woken <- struct{}{} })
		stop2 := l.Watch(func() {})
		put(t, l, plain("a"))
		<-woken
		if i := l.Info(); i.Last != 0 {
			t.Errorf("woken before the record is there: %+v", i)
		}
		stop()
		stop2()
		stop()
		put(t, l, plain("b"))
		if err := l.Close(); err != nil { // waits for late calls
			t.Fatal(err)
		}
		select {
		case <-woken:
			t.Error("woken after stop")
		default:
		}
	})
}

func TestClosed(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		l := open(t, o)
		put(t, l, plain("a"))
		if err := errors.Join(l.Close(), l.Close()); err != nil {
			t.Fatal(err)
		}
		_, err := l.Append(t.Context(), []Entry{plain("b")})
		_, serr := l.SeekTime(0)
		for what, err := range map[string]error{
			"append": err, "read": l.Read(0, 1, 1, &Batch{}), "seek": serr,
			"trim": l.Trim(Keep{Bytes: 1}), "compact": l.Compact(t.Context(), Compaction{}),
		} {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := l.Sync(); err != nil {
			t.Errorf("sync: %v", err)
		}
	})
}

func TestAppendContext(t *testing.T) {
	l := open(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, []Entry{plain("a")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockDir(dir)
	held, ok := errors.AsType[*LockedError](err)
	if !ok || held.Dir != dir || held.PID != os.Getpid() || !strings.Contains(err.Error(), fmt.Sprint(dir, " is in use by process ", os.Getpid())) {
		t.Errorf("second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := LockDir(dir)
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestParseFsync(t *testing.T) {
	for s, want := range map[string]Fsync{"": FsyncInterval, "interval": FsyncInterval, "batch": FsyncBatch, "never": FsyncNever} {
		if got, err := ParseFsync(s); got != want || err != nil {
			t.Errorf("%q = %v, %v", s, got, err)
		}
	}
	if _, err := ParseFsync("always"); err == nil {
		t.Error("no error for an unknown policy")
	}
}
