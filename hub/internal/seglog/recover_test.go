package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// build writes a log of batches into a new folder and leaves it as a kill
// does. It returns the places in the newest segment behind each batch.
func build(t testing.TB, batches int, segmentBytes int64) (o Options, want []string, ends []int64) {
	t.Helper()
	dir := t.TempDir()
	o = Options{Dir: filepath.Join(dir, "live"), SegmentBytes: segmentBytes, Fsync: FsyncNever}
	l := open(t, o)
	for i := range batches {
		put(t, l, plain(fmt.Sprintf("%d.a", i)), keyed("key", fmt.Sprintf("%d.b", i)))
		want = append(want, fmt.Sprintf("%d:%d.a", 2*i, i), fmt.Sprintf("%d:%d.b", 2*i+1, i))
		ends = append(ends, l.active.size)
	}
	killed := o
	killed.Dir = filepath.Join(dir, "killed")
	copyDir(t, o.Dir, killed.Dir)
	return killed, want, ends
}

func newestFile(t testing.TB, dir, pattern string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	return files[len(files)-1]
}

// Cutting the newest segment anywhere loses the batch that was cut, and what
// came behind it, and nothing before.
func TestTornTail(t *testing.T) {
	o, want, ends := build(t, 5, 0)
	file := newestFile(t, o.Dir, "*.seg")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for cut := segmentHead; cut <= len(whole); cut += 1 + cut%2 {
		batches := 0
		for batches < len(ends) && ends[batches] <= int64(cut) {
			batches++
		}
		for name, tail := range map[string][]byte{"cut": nil, "zeros": make([]byte, 10_000)} {
			if err := os.WriteFile(file, append(whole[:cut:cut], tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := Open(o)
			if tail != nil && batches < len(ends) && int64(cut) >= ends[batches]-frameTail {
				// Only the end mark is missing: that may be a batch that
				// was confirmed.
				if _, ok := errors.AsType[*DamageError](err); !ok {
					t.Fatalf("%s at %d: %v", name, cut, err)
				}
				continue
			}
			if err != nil {
				t.Fatalf("%s at %d: %v", name, cut, err)
			}
			if diff := cmp.Diff(want[:2*batches], messages(readAll(t, l, 0, 1<<20, 100)), equateEmpty); diff != "" {
				t.Fatalf("%s at %d: %s", name, cut, diff)
			}
			if s := put(t, l, plain("next")); s.First != int64(2*batches) {
				t.Fatalf("%s at %d: next span %+v", name, cut, s)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if l = open(t, o); len(readAll(t, l, 0, 1<<20, 100)) != 2*batches+1 {
				t.Fatalf("%s at %d: not what was there before", name, cut)
			}
			_ = l.Close()
			_ = os.Remove(strings.TrimSuffix(file, ".seg") + ".idx")
		}
	}
}

var equateEmpty = cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })

// A batch that is complete but not intact was confirmed: an error, not a cut.
func TestDamage(t *testing.T) {
	o, _, ends := build(t, 5, 0)
	file := newestFile(t, o.Dir, "*.seg")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(o)
		d, ok := errors.AsType[*DamageError](err)
		if !ok {
			t.Fatalf("byte %d flipped: %v", at, err)
		}
		batch := 0
		for batch < len(ends) && ends[batch] <= int64(at) {
			batch++
		}
		begin := int64(segmentHead)
		if at < segmentHead {
			begin = 0
		} else if batch > 0 {
			begin = ends[batch-1]
		}
		if d.File != file || d.Offset != begin || d.Sequence != int64(2*batch) || d.Reason == "" {
			t.Fatalf("byte %d flipped: %+v, want offset %d", at, d, begin)
		}
	}
}

func TestDamageElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		break_ func(t *testing.T, dir string)
		want   string
	}{
		"segment in the middle missing": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			remove(t, files[2])
		}, "one is missing"},
		"first segment missing": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			remove(t, files[0])
		}, "the segment before it is missing"},
		"newest segment missing": {func(t *testing.T, dir string) {
			remove(t, newestFile(t, dir, "*.seg"))
		}, "the segment behind it is missing"},
		"all segments missing": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			for _, f := range files {
				remove(t, f)
			}
			write(t, filepath.Join(dir, beginName), formatBegin(12))
		}, "there are no segments"},
		"older segment shortened": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			truncate(t, files[1], -1)
		}, "confirmed batches are missing"},
		"older segment shortened, no index": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			truncate(t, files[1], -1)
			remove(t, strings.TrimSuffix(files[1], ".seg")+".idx")
		}, "it ends within a batch"},
		"header shortened": {func(t *testing.T, dir string) {
			f := newestFile(t, dir, "*.seg")
			if err := os.Truncate(f, 50); err != nil {
				t.Fatal(err)
			}
		}, "the header is not complete"},
		"segment of another place": {func(t *testing.T, dir string) {
			files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
			b, err := os.ReadFile(files[1])
			if err != nil {
				t.Fatal(err)
			}
			write(t, files[2], string(b))
		}, "the name says"},
	} {
		t.Run(name, func(t *testing.T) {
			o, _, _ := build(t, 50, 700)
			test.break_(t, o.Dir)
			_, err := Open(o)
			if _, ok := errors.AsType[*DamageError](err); !ok || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), o.Dir) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// After a clean close even a missing end is noticed.
func TestShortenedAfterClose(t *testing.T) {
	o := Options{Dir: t.TempDir()}
	l := open(t, o)
	put(t, l, plain("a"))
	put(t, l, plain("b"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	truncate(t, newestFile(t, o.Dir, "*.seg"), -10)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "confirmed batches are missing") {
		t.Error(err)
	}
}

// Damage in an older segment is found when it is read, if not before, and
// nothing that was not stored is returned.
func TestDamageWhileReading(t *testing.T) {
	o, want, _ := build(t, 50, 700)
	files, _ := filepath.Glob(filepath.Join(o.Dir, "*.seg"))
	b, err := os.ReadFile(files[2])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-60] ^= 1
	write(t, files[2], string(b))
	l := open(t, o)
	recs, err := tryReadAll(l, 0, 1<<20, 1000)
	d, ok := errors.AsType[*DamageError](err)
	if !ok || d.File != files[2] {
		t.Errorf("error %v", err)
	}
	if got := messages(recs); len(got) == 0 || cmp.Diff(want[:len(got)], got) != "" {
		t.Errorf("read %v", got)
	}
	// What lies behind can be read still.
	if got := readAll(t, l, l.segs[3].base, 1<<20, 1000); len(got) == 0 {
		t.Error("nothing behind the damage")
	}
}

// Index files are made anew when they are missing or wrong.
func TestIndexLost(t *testing.T) {
	for name, break_ := range map[string]func(t *testing.T, file string){
		"missing":         func(t *testing.T, file string) { remove(t, file) },
		"empty":           func(t *testing.T, file string) { write(t, file, "") },
		"summary wrong":   func(t *testing.T, file string) { flip(t, file, 20) },
		"entries wrong":   func(t *testing.T, file string) { flip(t, file, summaryBytes+10) },
		"entries missing": func(t *testing.T, file string) { truncate(t, file, -8) },
	} {
		t.Run(name, func(t *testing.T) {
			o, want, _ := build(t, 50, 700)
			indexes, _ := filepath.Glob(filepath.Join(o.Dir, "*.idx"))
			if len(indexes) < 4 {
				t.Fatal(indexes)
			}
			for _, f := range indexes {
				break_(t, f)
			}
			l := open(t, o)
			if diff := cmp.Diff(want, messages(readAll(t, l, 0, 1<<20, 100))); diff != "" {
				t.Error(diff)
			}
			for i := range int64(100) {
				var b Batch
				if err := l.Read(i, 1, 1, &b); err != nil || b.Records[0].Sequence != i {
					t.Fatal(i, err)
				}
			}
			reopen(t, l, o)
			again, _ := filepath.Glob(filepath.Join(o.Dir, "*.idx"))
			if diff := cmp.Diff(indexes, again); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// FuzzRecover cuts the newest segment and flips bytes of it. Whatever is done,
// Open says so or gives back an unbroken beginning of what was stored that
// holds every batch before the first change.
func FuzzRecover(f *testing.F) {
	o, want, ends := build(f, 12, 0)
	file := newestFile(f, o.Dir, "*.seg")
	whole, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint16(0), uint16(0), uint8(0), uint16(0))
	f.Add(uint16(300), uint16(250), uint8(1), uint16(0))
	f.Add(uint16(0), uint16(97), uint8(255), uint16(512))
	f.Add(uint16(65000), uint16(101), uint8(4), uint16(0))
	f.Fuzz(func(t *testing.T, cut, at uint16, mask uint8, zeros uint16) {
		b := bytes.Clone(whole)
		first := len(b) // byte that is not as it was
		if n := int(cut); n < len(b) && n > 0 {
			b, first = b[:n], n
		}
		if n := int(at); n < len(b) && mask != 0 {
			b[n] ^= mask
			first = min(first, n)
		}
		b = append(b, make([]byte, zeros)...)
		o := Options{Dir: t.TempDir(), Fsync: FsyncNever}
		write(t, filepath.Join(o.Dir, filepath.Base(file)), string(b))
		l, err := Open(o)
		if err != nil {
			if d, ok := errors.AsType[*DamageError](err); !ok || d.Offset > int64(first) {
				t.Fatalf("damage at %d: %v", first, err)
			}
			return
		}
		defer l.Close()
		got, err := tryReadAll(l, 0, 1<<20, 1000)
		if err != nil {
			t.Fatal(err)
		}
		intact := 0
		for intact < len(ends) && ends[intact] <= int64(first) {
			intact++
		}
		if len(got) < 2*intact || len(got)%2 != 0 {
			t.Fatalf("damage at %d: %d records, %d lie before it", first, len(got), 2*intact)
		}
		if diff := cmp.Diff(want[:len(got)], messages(got), equateEmpty); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzRecord decodes arbitrary bytes as the body of a frame.
func FuzzRecord(f *testing.F) {
	b, _, _ := encodeFrame(nil, []Entry{plain("a"), keyed("", "b"), {Publisher: []byte("p"), Message: []byte{}}})
	f.Add(b[frameHead : len(b)-frameTail])
	f.Fuzz(func(t *testing.T, body []byte) {
		fr := frame{seq: 5, offset: 7, time: 9}
		for len(body) > 0 {
			r, rest, err := fr.nextRecord(body)
			if err != nil {
				return
			}
			if len(rest) >= len(body) || r.Sequence < 5 || r.Offset < 7 || r.HasKey() != (r.Key != nil) {
				t.Fatalf("%+v", r)
			}
			// What was decoded is encoded to the same, but for varints that
			// are longer than they need to be.
			again := appendRecord(nil, r.Sequence-5, r.Offset-7, &r.Entry)
			r2, tail, err := fr.nextRecord(again)
			if err != nil || len(tail) != 0 || cmp.Diff(r, r2) != "" {
				t.Fatalf("%+v became %+v, %v", r, r2, err)
			}
			body = rest
		}
	})
}

func remove(t testing.TB, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func flip(t testing.TB, file string, at int) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[at] ^= 1
	write(t, file, string(b))
}

// truncate cuts bytes (negative) off the end of a file.
func truncate(t testing.TB, file string, by int64) {
	t.Helper()
	st, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, st.Size()+by); err != nil {
		t.Fatal(err)
	}
}
