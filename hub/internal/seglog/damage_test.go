package seglog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Logs of several segments, some of them compacted, some trimmed, are damaged
// anywhere, in one or two files: bytes flipped, files cut, files gone. What can
// be read afterwards is what was stored, in order; and damage of anything but
// segments costs nothing.
func TestRandomDamage(t *testing.T) {
	rounds := 150
	if testing.Short() {
		rounds = 30
	}
	for round := range rounds {
		rnd := rand.New(rand.NewPCG(uint64(round), 77))
		dir := filepath.Join(t.TempDir(), "log")
		o := Options{Dir: dir, SegmentBytes: 900, Fsync: FsyncNever}
		want, begin := randomLog(t, rnd, o)
		segments := false
		for range 1 + rnd.IntN(2) {
			segments = damageFile(t, rnd, dir) || segments
		}
		l, err := Open(o)
		if err != nil {
			if !segments {
				t.Fatalf("round %d: no segment was damaged: %v", round, err)
			}
			continue
		}
		got, err := tryReadAll(l, 0, 1<<20, 1+rnd.IntN(50))
		if err != nil && !segments {
			t.Fatalf("round %d: no segment was damaged: %v", round, err)
		}
		last := int64(-1)
		for _, r := range got {
			w, ok := want[r.Sequence]
			if !ok && r.Sequence >= begin || ok && (!bytes.Equal(w.Message, r.Message) || !bytes.Equal(w.Key, r.Key) || w.Offset != r.Offset || w.Enqueued != r.Enqueued) {
				t.Fatalf("round %d: record %d was never stored so: %+v", round, r.Sequence, r)
			}
			if r.Sequence <= last {
				t.Fatalf("round %d: record %d after %d", round, r.Sequence, last)
			}
			last = r.Sequence
		}
		if !segments && len(got) < len(want) {
			t.Fatalf("round %d: %d of %d records are there, and no segment was damaged", round, len(got), len(want))
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// randomLog writes a log, cleanly closed or not, and returns what is in it
// from its begin on.
func randomLog(t *testing.T, rnd *rand.Rand, o Options) (map[int64]Record, int64) {
	t.Helper()
	dir := o.Dir
	o.Dir += ".live"
	l := open(t, o)
	for range 3 {
		for range rnd.IntN(40) {
			put(t, l, keyed(fmt.Sprint(rnd.IntN(9)), strings.Repeat("k", rnd.IntN(30))), plain(strings.Repeat("p", rnd.IntN(30))))
		}
		if rnd.IntN(3) == 0 {
			compact(t, l, Compaction{})
		}
		if rnd.IntN(3) == 0 && l.next > 0 {
			if err := l.trimTo(rnd.Int64N(l.next)); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := map[int64]Record{}
	for _, r := range readAll(t, l, 0, 1<<20, 100) {
		want[r.Sequence] = r
	}
	begin := l.Info().Begin
	if rnd.IntN(2) == 0 { // as after a kill
		copyDir(t, o.Dir, dir)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		copyDir(t, o.Dir, dir)
	}
	return want, begin
}

// damageFile does something to one file and reports whether it is a segment.
func damageFile(t *testing.T, rnd *rand.Rand, dir string) (segment bool) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(files) == 0 {
		return false
	}
	file := files[rnd.IntN(len(files))]
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return false
	}
	switch rnd.IntN(5) {
	case 0:
		remove(t, file)
	case 1:
		write(t, file, string(b[:rnd.IntN(len(b))]))
	case 2:
		write(t, file, string(b)+strings.Repeat("\x00", rnd.IntN(100)))
	default:
		b[rnd.IntN(len(b))] ^= byte(1 + rnd.IntN(255))
		write(t, file, string(b))
	}
	return strings.HasSuffix(file, segmentSuffix)
}
