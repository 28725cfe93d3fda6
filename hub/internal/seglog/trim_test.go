package seglog

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTrimByTime(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now, o.SegmentBytes = c.now, 1500
		l := open(t, o)
		var times []int64
		for i := range 60 {
			times = append(times, put(t, l, plain(fmt.Sprint(i))).Enqueued)
			c.add(time.Second)
		}
		segments := len(l.segs)
		for _, keep := range []int64{0, 1, 17, 18, 40, 59} {
			if err := l.Trim(Keep{Since: times[keep]}); err != nil {
				t.Fatal(err)
			}
			l = reopen(t, l, o)
			if i := l.Info(); i.Begin != keep || i.Last != 59 || i.Empty {
				t.Fatalf("keep from %d: info = %+v", keep, i)
			}
			recs := readAll(t, l, 0, 1<<20, 7)
			if len(recs) != int(60-keep) || recs[0].Sequence != keep {
				t.Fatalf("keep from %d: read %d records from %d", keep, len(recs), recs[0].Sequence)
			}
		}
		if len(l.segs) >= segments {
			t.Errorf("%d segments are left of %d", len(l.segs), segments)
		}
		// Retention that became longer brings nothing back.
		if err := l.Trim(Keep{Since: times[10]}); err != nil || l.Info().Begin != 59 {
			t.Errorf("begin went back: %+v, %v", l.Info(), err)
		}
		for _, seek := range []int64{times[3], times[59], times[0] - 1e9} {
			if s, err := l.SeekTime(seek); s != 59 || err != nil {
				t.Errorf("seek %d = %d, %v", seek, s, err)
			}
		}
	})
}

func TestTrimEverything(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		c := newClock()
		o.Now = c.now
		l := open(t, o)
		for range 3 { // emptied, used again, emptied again
			last := put(t, l, plain("a"), plain("b"))
			c.add(time.Hour)
			if err := l.Trim(Keep{Since: last.Enqueued + 1}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				want := Info{Begin: last.Last + 1, Last: last.Last, LastOffset: last.LastOffset, LastEnqueued: last.Enqueued, Bytes: segmentHead, Empty: true}
				if diff := cmp.Diff(want, l.Info()); diff != "" {
					t.Fatal(diff)
				}
				if recs := readAll(t, l, 0, 100, 100); len(recs) != 0 {
					t.Fatalf("read %v", messages(recs))
				}
				if err := l.Trim(Keep{Since: last.Enqueued + 1, Bytes: 1}); err != nil {
					t.Fatal(err)
				}
				l = reopen(t, l, o)
			}
			c.add(-2 * time.Hour) // time does not go back though
		}
		if s := put(t, l, plain("c")); s.First != 6 || s.Enqueued < c.ms.Load() {
			t.Errorf("span = %+v", s)
		}
		if o.Dir != "" {
			if files, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg")); len(files) != 1 {
				t.Errorf("files left: %v", files)
			}
		}
	})
}

func TestTrimBySize(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 1500
		l := open(t, o)
		for i := range 100 {
			put(t, l, plain(fmt.Sprintf("%03d", i)))
		}
		frame := int64(frameSize([]Entry{plain("000")}))
		for _, keep := range []int64{1 << 30, 5000, 4999, 3000, 1400, 2*frame + segmentHead, frame + segmentHead, segmentHead} {
			begin := l.Info().Begin
			if err := l.Trim(Keep{Bytes: keep}); err != nil {
				t.Fatal(err)
			}
			recs := readAll(t, l, 0, 1<<20, 1000)
			info := l.Info()
			if int64(len(recs)) != 100-info.Begin || info.Last != 99 {
				t.Fatalf("keep %d bytes: %d records, info %+v", keep, len(recs), info)
			}
			// What is retained fits, and one more record would not.
			heads := (int64(len(recs))*frame)/1400 + 2
			if size := int64(len(recs)) * frame; size > keep || info.Begin > begin && size+frame+heads*segmentHead < keep {
				t.Fatalf("keep %d bytes: %d records of %d bytes are left", keep, len(recs), frame)
			}
		}
		if i := l.Info(); !i.Empty || i.Begin != 100 {
			t.Errorf("info = %+v", i)
		}
		l = reopen(t, l, o)
		if s := put(t, l, plain("next")); s.First != 100 {
			t.Errorf("span = %+v", s)
		}
	})
}

// A reader that retention overtakes goes on at the begin, also in the middle
// of what it has buffered.
func TestTrimUnderReader(t *testing.T) {
	each(t, func(t *testing.T, o Options) {
		o.SegmentBytes = 1000
		l := open(t, o)
		for i := range 50 {
			put(t, l, plain(fmt.Sprint(i)), plain("x"))
		}
		var b Batch
		if err := l.Read(0, 1000, 3, &b); err != nil || b.Next != 3 {
			t.Fatal(b.Next, err)
		}
		if err := l.trimTo(71); err != nil {
			t.Fatal(err)
		}
		if err := l.Read(b.Next, 1000, 3, &b); err != nil || b.Records[0].Sequence != 71 {
			t.Fatalf("read %v, %v", messages(b.Records), err)
		}
	})
}

// On a full disk the newest segment cannot be replaced; the older ones go all
// the same, and the newest when there is room.
func TestTrimOnFullDisk(t *testing.T) {
	l, f, o := faulty(t, FsyncInterval)
	l.o.SegmentBytes = 700
	for i := range 40 {
		put(t, l, plain(fmt.Sprint(i)))
	}
	f.set(func(f *faults) { f.room = 0 })
	if err := l.trimTo(40); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	if i := l.Info(); !i.Empty || i.Begin != 40 || len(l.segs) != 1 {
		t.Errorf("info %+v, %d segments", i, len(l.segs))
	}
	f.set(func(f *faults) { f.room = -1 })
	if err := l.trimTo(40); err != nil {
		t.Error(err)
	}
	if i := l.Info(); !i.Empty || i.Begin != 40 || len(l.segs) != 1 || i.Bytes != segmentHead {
		t.Errorf("info %+v, %d segments", i, len(l.segs))
	}
	l = reopen(t, l, o)
	if s := put(t, l, plain("next")); s.First != 40 {
		t.Errorf("span %+v", s)
	}
}
