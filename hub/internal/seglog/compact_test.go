package seglog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func compact(t testing.TB, l *Log, c Compaction) {
	t.Helper()
	if err := l.Compact(context.Background(), c); err != nil {
		t.Fatal(err)
	}
}

func TestCompact(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now = c.now
		l := open(t, o)
		put(t, l, keyed("a", "a1"), plain("no key"), keyed("b", "b1"), keyed("", "empty1"))
		put(t, l, keyed("a", "a2"))
		put(t, l, keyed("a", "a3"), keyed("", "empty2"), keyed("c", "c1"), plain("no key"))
		before := l.Info()
		compact(t, l, Compaction{})
		want := []string{"1:no key", "2:b1", "5:a3", "6:empty2", "7:c1", "8:no key"}
		for range 2 {
			if diff := cmp.Diff(want, messages(readAll(t, l, 0, 1000, 2))); diff != "" {
				t.Fatal(diff)
			}
			after := l.Info()
			after.Bytes = before.Bytes
			if diff := cmp.Diff(before, after); diff != "" {
				t.Error("the ends have changed:", diff)
			}
			l = reopen(t, l, o)
		}
		for from, first := range map[int64]string{0: "1:no key", 3: "5:a3", 4: "5:a3", 6: "6:empty2"} {
			if got := messages(readAll(t, l, from, 1000, 100)); got[0] != first {
				t.Errorf("read from %d begins with %s", from, got[0])
			}
		}
		put(t, l, keyed("b", "b2"), keyed("d", "d1"))
		put(t, l, keyed("c", strings.Repeat("x", 2000)))
		compact(t, l, Compaction{})
		got := messages(readAll(t, l, 0, 1<<20, 100))
		if diff := cmp.Diff([]string{"1:no key", "5:a3", "6:empty2", "8:no key", "9:b2", "10:d1"}, got[:len(got)-1]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCompactWhenDue(t *testing.T) {
	l := open(t, Options{})
	compact(t, l, Compaction{})
	if len(l.segs) != 1 {
		t.Error("an empty log was compacted")
	}
	put(t, l, keyed("a", strings.Repeat("x", 10_000)), keyed("a", strings.Repeat("x", 10_000)))
	compact(t, l, Compaction{})
	put(t, l, keyed("a", "small"))
	compact(t, l, Compaction{})
	if got := len(readAll(t, l, 0, 1<<20, 100)); got != 2 {
		t.Errorf("%d records: compacted for a little", got)
	}
	put(t, l, keyed("b", strings.Repeat("x", 10_000)))
	compact(t, l, Compaction{})
	if got := len(readAll(t, l, 0, 1<<20, 100)); got != 2 {
		t.Errorf("%d records: not compacted", got)
	}
}

func TestTombstones(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now = c.now
		l := open(t, o)
		put(t, l, keyed("a", "a1"), keyed("b", "b1"))
		dead := put(t, l, tombstone("a"))
		c.add(time.Hour)
		compact(t, l, Compaction{TombstonesBefore: dead.Enqueued})
		if diff := cmp.Diff([]string{"1:b1", "2:"}, messages(readAll(t, l, 0, 1000, 100))); diff != "" {
			t.Error("the tombstone must stay:", diff)
		}
		put(t, l, keyed("c", "enough to be due for another pass of compaction........................................................................................................................................................................................................................................................................................................................................................................"))
		compact(t, l, Compaction{TombstonesBefore: dead.Enqueued + 1})
		got := messages(readAll(t, l, 0, 1000, 100))
		if len(got) != 2 || got[0] != "1:b1" {
			t.Error("the tombstone must go:", got)
		}
	})
}

func TestCompactToNothing(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now = c.now
		l := open(t, o)
		put(t, l, keyed("a", "a1"))
		last := put(t, l, tombstone("a"))
		c.add(time.Hour)
		compact(t, l, Compaction{TombstonesBefore: c.ms.Load()})
		for range 2 {
			if recs := readAll(t, l, 0, 1000, 100); len(recs) != 0 {
				t.Errorf("read %v", messages(recs))
			}
			if i := l.Info(); !i.Empty || i.Last != 1 || i.LastOffset != last.LastOffset {
				t.Errorf("info = %+v", i)
			}
			l = reopen(t, l, o)
		}
		if s := put(t, l, keyed("a", "a2")); s.First != 2 || s.FirstOffset <= last.LastOffset {
			t.Errorf("span = %+v after %+v", s, last)
		}
	})
}

// The outcome is compared with a plain model, over many passes, with few keys
// remembered, small segments, merging, trims and reopening.
func TestCompactModel(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		rnd := rand.New(rand.NewPCG(1, 2))
		o.SegmentBytes = 2000
		l := open(t, o)
		var model []Record
		newest := map[string]int64{}
		check := func() {
			t.Helper()
			got := map[int64]string{}
			last := int64(-1)
			for _, r := range readAll(t, l, 0, 1<<20, 50) {
				if r.Sequence <= last {
					t.Fatalf("sequence %d after %d", r.Sequence, last)
				}
				last = r.Sequence
				got[r.Sequence] = string(r.Message)
				m := model[r.Sequence]
				if string(m.Message) != string(r.Message) || m.Offset != r.Offset || m.Enqueued != r.Enqueued || string(m.Key) != string(r.Key) {
					t.Fatalf("record %d has changed", r.Sequence)
				}
			}
			begin := l.Info().Begin
			for i, m := range model {
				if int64(i) >= begin && (!m.HasKey() || newest[string(m.Key)] == int64(i)) && got[int64(i)] == "" {
					t.Fatalf("record %d is lost", i)
				}
			}
		}
		for round := range 25 {
			for range rnd.IntN(30) {
				var batch []Entry
				for range 1 + rnd.IntN(4) {
					e := plain(fmt.Sprintf("%d-%s", len(model)+len(batch), strings.Repeat("m", rnd.IntN(60))))
					if rnd.IntN(10) > 0 {
						e.Key, e.Flags = fmt.Appendf(nil, "k%d", rnd.IntN(25)), FlagKey
					}
					batch = append(batch, e)
				}
				s := put(t, l, batch...)
				var offset int64
				for i, e := range batch {
					model = append(model, Record{Sequence: s.First + int64(i), Offset: s.FirstOffset + offset, Enqueued: s.Enqueued, Entry: e})
					offset += weight(&batch[i])
					if e.HasKey() {
						newest[string(e.Key)] = s.First + int64(i)
					}
				}
			}
			compact(t, l, Compaction{MaxKeys: 1 + rnd.IntN(40)})
			check()
			if round%7 == 3 {
				l = reopen(t, l, o)
				check()
			}
			if round%11 == 5 && len(model) > 0 {
				if err := l.trimTo(int64(rnd.IntN(len(model)))); err != nil {
					t.Fatal(err)
				}
				check()
			}
		}
		compact(t, l, Compaction{})
		if n := len(readAll(t, l, 0, 1<<20, 1000)); n >= len(model)/2 {
			t.Errorf("%d of %d records are left: nothing was compacted", n, len(model))
		}
	})
}

// A reader in the middle of a segment that compaction replaces goes on in the
// new one and misses nothing that is there.
func TestCompactUnderReader(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 1500
		l := open(t, o)
		for i := range 100 {
			put(t, l, keyed(fmt.Sprint(i%30), fmt.Sprint(i)), plain("stays"))
		}
		var b Batch
		if err := l.Read(0, 1000, 15, &b); err != nil || b.Next != 15 {
			t.Fatal(b.Next, err)
		}
		compact(t, l, Compaction{})
		from := b.Next
		var got []int64
		for {
			if err := l.Read(from, 1000, 15, &b); err != nil {
				t.Fatal(err)
			}
			if len(b.Records) == 0 {
				break
			}
			for _, r := range b.Records {
				got = append(got, r.Sequence)
			}
			from = b.Next
		}
		var want []int64
		for i := int64(15); i < 200; i++ {
			if i%2 == 1 || i/2 >= 70 {
				want = append(want, i)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestCompactCanceled(t *testing.T) {
	l := open(t, Options{Dir: t.TempDir(), SegmentBytes: 1000})
	for i := range 100 {
		put(t, l, keyed("k", fmt.Sprint(i)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Compact(ctx, Compaction{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(readAll(t, l, 0, 1<<20, 1000)); n != 100 {
		t.Errorf("%d records", n)
	}
	compact(t, l, Compaction{})
	if n := len(readAll(t, l, 0, 1<<20, 1000)); n != 1 {
		t.Errorf("%d records", n)
	}
}

// A process that is killed during a compaction leaves the old segments beside
// the new one, or the new one unfinished.
func TestCompactKilled(t *testing.T) {
	o := Options{Dir: t.TempDir(), SegmentBytes: 1000}
	l := open(t, o)
	for i := range 30 {
		put(t, l, keyed(fmt.Sprint(i%3), fmt.Sprint(i)))
	}
	old := map[string][]byte{}
	files, _ := filepath.Glob(filepath.Join(o.Dir, "*"))
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		old[f] = b
	}
	compact(t, l, Compaction{})
	want := messages(readAll(t, l, 0, 1<<20, 100))
	if len(want) != 3 {
		t.Fatal(want)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	newest := segmentName(l.active.base, 0)
	for f, b := range old {
		if filepath.Base(f) >= newest {
			continue // the newest segment then went on
		}
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unfinished := filepath.Join(o.Dir, segmentName(0, 2)+tempSuffix)
	if err := os.WriteFile(unfinished, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	if diff := cmp.Diff(want, messages(readAll(t, l, 0, 1<<20, 100))); diff != "" {
		t.Error(diff)
	}
	left, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg"))
	if len(left) != len(l.segs) {
		t.Errorf("files left: %v", left)
	}
	if _, err := os.Stat(unfinished); !errors.Is(err, os.ErrNotExist) {
		t.Error("the unfinished segment is still there")
	}
}
