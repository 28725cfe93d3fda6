package seglog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// faults make the files of a log fail on demand.
type faults struct {
	mu sync.Mutex
	// room is how many bytes may still be written; negative is without end.
	room     int64
	sync     func() error
	truncate error
	open     error
	syncs    atomic.Int64
}

func newFaults() *faults { return &faults{room: -1} }

func (f *faults) set(change func(f *faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) openFile(name string, flag int, perm os.FileMode) (File, error) {
	f.mu.Lock()
	err := f.open
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	file, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file, f}, nil
}

type faultyFile struct {
	*os.File
	f *faults
}

// WriteAt writes as much as there is room for, as a full disk does.
func (w *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	if w.f.room < 0 || int64(len(b)) <= w.f.room {
		if w.f.room >= 0 {
			w.f.room -= int64(len(b))
		}
		return w.File.WriteAt(b, at)
	}
	n, _ := w.File.WriteAt(b[:w.f.room], at)
	w.f.room = 0
	return n, syscall.ENOSPC
}

func (w *faultyFile) Sync() error {
	w.f.syncs.Add(1)
	w.f.mu.Lock()
	fn := w.f.sync
	w.f.mu.Unlock()
	if fn != nil {
		return fn()
	}
	return w.File.Sync()
}

func (w *faultyFile) Truncate(n int64) error {
	w.f.mu.Lock()
	err := w.f.truncate
	w.f.mu.Unlock()
	if err != nil {
		return err
	}
	return w.File.Truncate(n)
}

func faulty(t *testing.T, fsync Fsync) (*Log, *faults, Options) {
	f := newFaults()
	o := Options{Dir: t.TempDir(), Fsync: fsync, OpenFile: f.openFile}
	return open(t, o), f, o
}

func TestFullDisk(t *testing.T) {
	for _, fsync := range []Fsync{FsyncInterval, FsyncBatch, FsyncNever} {
		for room := int64(0); room < 60; room += 5 {
			l, f, o := faulty(t, fsync)
			put(t, l, plain("before"))
			f.set(func(f *faults) { f.room = room })
			if _, err := l.Append(t.Context(), []Entry{plain("does not fit"), plain("at all")}); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("room %d: %v", room, err)
			}
			if i := l.Info(); i.Last != 0 {
				t.Fatalf("room %d: info = %+v", room, i)
			}
			f.set(func(f *faults) { f.room = -1 })
			if s := put(t, l, plain("after")); s.First != 1 {
				t.Fatalf("room %d: span = %+v", room, s)
			}
			want := []string{"0:before", "1:after"}
			if diff := cmp.Diff(want, messages(readAll(t, l, 0, 1000, 100))); diff != "" {
				t.Fatalf("room %d: %s", room, diff)
			}
			l = reopen(t, l, o)
			if diff := cmp.Diff(want, messages(readAll(t, l, 0, 1000, 100))); diff != "" {
				t.Fatalf("room %d, reopened: %s", room, diff)
			}
		}
	}
}

// The same on a real file system, which the environment must provide.
func TestRealFullDisk(t *testing.T) {
	small := os.Getenv("SEGLOG_SMALL_DISK")
	if small == "" {
		t.Skip("SEGLOG_SMALL_DISK does not name a folder on a small file system (mount -t tmpfs -o size=2m ...)")
	}
	for _, fsync := range []Fsync{FsyncInterval, FsyncBatch, FsyncNever} {
		dir, err := os.MkdirTemp(small, "") //nolint:usetesting // it must lie on the small file system
		if err != nil {
			t.Fatal(err)
		}
		o := Options{Dir: dir, Fsync: fsync, SegmentBytes: 100_000}
		l := open(t, o)
		stored := 0
		for round := range 3 {
			for {
				_, err := l.Append(t.Context(), []Entry{plain(fmt.Sprint(stored, strings.Repeat("x", 7777)))})
				if errors.Is(err, syscall.ENOSPC) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				stored++
			}
			for { // to the last byte
				_, err := l.Append(t.Context(), []Entry{plain(fmt.Sprint(stored, "xxx"))})
				if errors.Is(err, syscall.ENOSPC) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				stored++
			}
			if i := l.Info(); i.Last != int64(stored-1) {
				t.Fatalf("round %d: %d stored, info %+v", round, stored, i)
			}
			// Retention makes room again, though it needs a little itself.
			if err := l.Trim(Keep{Bytes: 300_000}); err != nil {
				t.Fatal(err)
			}
			l = reopen(t, l, o)
		}
		recs := readAll(t, l, 0, 1<<20, 100)
		for _, r := range recs {
			if !strings.HasPrefix(string(r.Message), fmt.Sprint(r.Sequence, "xxx")) {
				t.Fatalf("record %d is %.20s", r.Sequence, r.Message)
			}
		}
		if last := recs[len(recs)-1].Sequence; last != int64(stored-1) {
			t.Errorf("the last record is %d, %d were stored", last, stored)
		}
		_ = l.Close()
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that refuses even the truncation leaves half a batch in the file. It
// is taken back before the next batch, or by the next Open.
func TestFailedRollback(t *testing.T) {
	for _, fsync := range []Fsync{FsyncInterval, FsyncBatch} {
		l, f, o := faulty(t, fsync)
		put(t, l, plain("before"))
		boom := errors.New("boom")
		f.set(func(f *faults) { f.room, f.truncate = 20, boom })
		if _, err := l.Append(t.Context(), []Entry{plain("torn")}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		f.set(func(f *faults) { f.room = -1 })
		if _, err := l.Append(t.Context(), []Entry{plain("not yet")}); !errors.Is(err, boom) {
			t.Fatal(err)
		}
		if got := messages(readAll(t, l, 0, 100, 100)); len(got) != 1 {
			t.Fatal(got)
		}
		copied := Options{Dir: t.TempDir()}
		copyDir(t, o.Dir, copied.Dir)
		if diff := cmp.Diff([]string{"0:before"}, messages(readAll(t, open(t, copied), 0, 100, 100))); diff != "" {
			t.Error("after a kill:", diff)
		}
		f.set(func(f *faults) { f.truncate = nil })
		put(t, l, plain("after"))
		l = reopen(t, l, o)
		if diff := cmp.Diff([]string{"0:before", "1:after"}, messages(readAll(t, l, 0, 100, 100))); diff != "" {
			t.Error(diff)
		}
	}
}

func TestNoNewSegment(t *testing.T) {
	l, f, o := faulty(t, FsyncInterval)
	l.o.SegmentBytes = 300
	o.SegmentBytes = 300
	n := 0
	for len(l.segs) < 3 {
		put(t, l, plain(fmt.Sprint(n)))
		n++
	}
	f.set(func(f *faults) { f.open = syscall.EMFILE })
	var err error
	for err == nil {
		if _, err = l.Append(t.Context(), []Entry{plain(fmt.Sprint(n))}); err == nil {
			n++
		}
	}
	if !errors.Is(err, syscall.EMFILE) {
		t.Fatal(err)
	}
	f.set(func(f *faults) { f.open = nil })
	put(t, l, plain(fmt.Sprint(n)))
	l = reopen(t, l, o)
	if got := readAll(t, l, 0, 1<<20, 100); len(got) != n+1 || got[n].Sequence != int64(n) {
		t.Errorf("%d records, want %d", len(got), n+1)
	}
}

// Batches that arrive during an fsync share the next one.
func TestGroupCommit(t *testing.T) {
	l, f, _ := faulty(t, FsyncBatch)
	f.syncs.Store(0)
	started, proceed := make(chan struct{}, 10), make(chan struct{})
	f.set(func(f *faults) {
		f.sync = func() error {
			started <- struct{}{}
			<-proceed
			return nil
		}
	})
	const batches = 50
	var order []int64
	results := make(chan error, batches+1)
	done := func(s Span, err error) {
		order = append(order, s.First) // one goroutine calls
		results <- err
	}
	l.Submit([]Entry{plain("first")}, done)
	<-started
	for i := range batches {
		l.Submit([]Entry{plain(fmt.Sprint(i))}, done)
	}
	if i := l.Info(); i.Last != -1 {
		t.Errorf("readers see what is not synced: %+v", i)
	}
	if recs := readAll(t, l, 0, 100, 100); len(recs) != 0 {
		t.Errorf("readers get what is not synced: %v", messages(recs))
	}
	close(proceed)
	for range batches + 1 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	if n := f.syncs.Load(); n != 2 {
		t.Errorf("%d fsyncs for %d batches", n, batches+1)
	}
	for i, first := range order {
		if first != int64(i) {
			t.Fatalf("completed out of order: %v", order)
		}
	}
	if n := len(readAll(t, l, 0, 1<<20, 100)); n != batches+1 {
		t.Errorf("%d records", n)
	}
}

// An fsync that fails fails all batches that wait, and none of them is there
// afterwards.
func TestFailedSync(t *testing.T) {
	l, f, o := faulty(t, FsyncBatch)
	put(t, l, plain("before"))
	boom := errors.New("boom")
	started, proceed := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.set(func(f *faults) {
		f.sync = func() error {
			once.Do(func() {
				close(started)
				<-proceed
			})
			return boom
		}
	})
	results := make(chan error, 3)
	l.Submit([]Entry{plain("a")}, func(_ Span, err error) { results <- err })
	<-started
	l.Submit([]Entry{plain("b")}, func(_ Span, err error) { results <- err })
	l.Submit([]Entry{plain("c")}, func(_ Span, err error) { results <- err })
	close(proceed)
	for range 3 {
		if err := <-results; !errors.Is(err, boom) {
			t.Fatal(err)
		}
	}
	if got := messages(readAll(t, l, 0, 100, 100)); len(got) != 1 {
		t.Error("read what was refused:", got)
	}
	if _, err := l.Append(t.Context(), []Entry{plain("d")}); !errors.Is(err, boom) {
		t.Error("append while fsync fails:", err)
	}
	f.set(func(f *faults) { f.sync = nil })
	if s := put(t, l, plain("after")); s.First != 1 {
		t.Errorf("span = %+v", s)
	}
	l = reopen(t, l, o)
	if diff := cmp.Diff([]string{"0:before", "1:after"}, messages(readAll(t, l, 0, 100, 100))); diff != "" {
		t.Error(diff)
	}
}

// Fsyncs that fail now and then while segments change: what was confirmed is
// there in order, what was refused is not.
func TestFailingSyncsAndSegments(t *testing.T) {
	l, f, o := faulty(t, FsyncBatch)
	l.o.SegmentBytes, o.SegmentBytes = 700, 700
	var n atomic.Int64
	f.set(func(f *faults) {
		f.sync = func() error {
			if n.Add(1)%5 == 0 {
				return errors.New("boom")
			}
			return nil
		}
	})
	var mu sync.Mutex
	confirmed := map[int64]string{}
	var refused atomic.Int64
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			// Until the rollback has come, each append is refused at once: how many are is up to the scheduler, so
			// those that are stored are counted.
			for i, stored := 0, 0; stored < 100; i++ {
				msg := fmt.Sprintf("%d.%d", w, i)
				s, err := l.Append(context.Background(), []Entry{plain(msg)})
				if err != nil {
					refused.Add(1)
					runtime.Gosched()
					continue
				}
				stored++
				mu.Lock()
				if other := confirmed[s.First]; other != "" {
					t.Errorf("%s and %s have one number", other, msg)
				}
				confirmed[s.First] = msg
				mu.Unlock()
			}
		})
	}
	all.Wait()
	f.set(func(f *faults) { f.sync = nil })
	check := func() {
		t.Helper()
		got := readAll(t, l, 0, 1<<20, 1000)
		if len(got) != len(confirmed) {
			t.Errorf("%d records, %d were confirmed", len(got), len(confirmed))
		}
		for i, r := range got {
			if r.Sequence != int64(i) || confirmed[r.Sequence] != string(r.Message) {
				t.Fatalf("record %d is %q, confirmed was %q", r.Sequence, r.Message, confirmed[r.Sequence])
			}
		}
	}
	check()
	if len(confirmed) != 400 || refused.Load() == 0 || len(l.segs) < 3 {
		t.Errorf("%d confirmed, %d refused, %d segments: the test tests nothing", len(confirmed), refused.Load(), len(l.segs))
	}
	l = reopen(t, l, o)
	check()
}

func TestSyncFails(t *testing.T) {
	l, f, _ := faulty(t, FsyncInterval)
	put(t, l, plain("a"))
	boom := errors.New("boom")
	f.set(func(f *faults) { f.sync = func() error { return boom } })
	for range 2 {
		if err := l.Sync(); !errors.Is(err, boom) {
			t.Error(err)
		}
	}
	f.set(func(f *faults) { f.sync = nil })
	f.syncs.Store(0)
	for range 3 {
		if err := l.Sync(); err != nil {
			t.Error(err)
		}
	}
	if n := f.syncs.Load(); n != 1 {
		t.Errorf("%d syncs, one was needed", n)
	}
}

func TestReadFails(t *testing.T) {
	l, f, _ := faulty(t, FsyncInterval)
	l.o.SegmentBytes = 300
	for i := range 40 {
		put(t, l, plain(fmt.Sprint(i)))
	}
	f.set(func(f *faults) { f.open = syscall.EMFILE })
	if err := l.Read(0, 100, 100, &Batch{}); !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "open segment") {
		t.Error(err)
	}
	f.set(func(f *faults) { f.open = nil })
	if n := len(readAll(t, l, 0, 100, 100)); n != 40 {
		t.Errorf("%d records", n)
	}
}

// Many segments and readers do not keep more than a few files open.
func TestOpenFiles(t *testing.T) {
	var files atomic.Int64
	o := Options{Dir: t.TempDir(), SegmentBytes: 300, OpenFile: func(name string, flag int, perm os.FileMode) (File, error) {
		f, err := os.OpenFile(name, flag, perm)
		if err != nil {
			return nil, err
		}
		files.Add(1)
		return &countedFile{f, &files}, nil
	}}
	l := open(t, o)
	for i := range 100 {
		put(t, l, plain(fmt.Sprint(i)))
	}
	var b Batch
	for from := range int64(100) {
		if err := l.Read(99-from, 100, 1, &b); err != nil {
			t.Fatal(err)
		}
		if _, err := l.SeekOffset(from * 30); err != nil {
			t.Fatal(err)
		}
		if n := files.Load(); n > maxOpen+1 {
			t.Fatalf("%d files are open", n)
		}
	}
	if err := l.Trim(Keep{Bytes: 1000}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if n := files.Load(); n != 0 {
		t.Errorf("%d files are open after close", n)
	}
}

type countedFile struct {
	*os.File
	n *atomic.Int64
}

func (f *countedFile) Close() error {
	f.n.Add(-1)
	return f.File.Close()
}

func copyDir(t testing.TB, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}
