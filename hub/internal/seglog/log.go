package seglog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// Log is one partition's log. Its methods may be called concurrently.
//
// Locks, in the order in which they are taken: maintain (one trim, compaction
// or close at a time), write (one appender at a time, held over a write to the
// file), sync (one fsync at a time), state (what readers need; never held over
// I/O), and a segment's own.
type Log struct {
	o Options

	maintain sync.Mutex

	write      sync.Mutex
	active     *segment // the newest; changed with write and state held
	next       int64    // as written, readers may not see it yet
	mark       mark
	waiting    []waiter // written, not synced (FsyncBatch)
	committing bool
	broken     bool // a rollback failed: the file is longer than active.size
	unsynced   bool // written since the last Sync
	commits    sync.WaitGroup

	syncing    sync.Mutex
	syncFailed error // of the newest segment's last fsync: a rollback is due

	state  sync.Mutex
	segs   []*segment // ascending; the slice is replaced, never changed
	sealed totals     // of all but the newest
	begin  int64
	seen   ends
	opened []*segment // sealed segments with an open file, oldest use first
	closed bool

	watchers watchers
	buffers  buffers
}

// ends is how far readers see: up to byte pos of the newest segment.
type ends struct {
	next int64
	mark mark
	pos  int64
}

type totals struct{ bytes, records int64 }

// maxOpen is how many sealed segments of a log stay open for readers.
const maxOpen = 2

// Open opens the log in o.Dir, creating it when it is not there, and repairs
// what a crash left (see the package comment). The error is a *DamageError if
// what was confirmed is not there.
func Open(o Options) (*Log, error) {
	l := &Log{o: o.withDefaults()}
	if o.Dir != "" {
		if err := l.recover(); err != nil {
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
	}
	if l.active == nil {
		s, err := l.newSegment(0, mark{lastOffset: -1})
		if err != nil {
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
		l.segs, l.active = []*segment{s}, s
		// From now on a first segment that is missing can be told from one
		// that retention dropped.
		if err := l.saveBegin(0, false); err != nil {
			return nil, fmt.Errorf("open log %s: %w", o.Dir, err)
		}
	}
	s := l.active
	l.next, l.mark = s.base+s.records, s.last
	l.seen = ends{l.next, l.mark, s.size}
	l.begin = min(max(l.begin, l.segs[0].base), l.next)
	l.recount()
	return l, nil
}

// recover finds the segments of the folder and opens the newest for writing.
func (l *Log) recover() error {
	begin, known, err := loadBegin(l.o.Dir)
	if err != nil {
		return err
	}
	segs, err := recoverSegments(&l.o, begin)
	if err != nil {
		return err
	}
	l.begin = begin
	if known && len(segs) > 0 && begin < segs[0].base {
		return &DamageError{File: segs[0].path, Sequence: begin, Reason: "the segment before it is missing"}
	}
	if len(segs) == 0 {
		if l.begin > 0 {
			return &DamageError{File: filepath.Join(l.o.Dir, segmentName(l.begin, 0)), Sequence: l.begin, Reason: "there are no segments"}
		}
		return nil
	}
	last := segs[len(segs)-1]
	if last.compacted {
		s, err := l.newSegment(last.end, last.last)
		if err != nil {
			return err
		}
		l.segs, l.active = append(segs, s), s
		return nil
	}
	if err := last.loadIndex(&l.o); err != nil {
		return err
	}
	// The index of the newest segment stands for a clean close; the first
	// append would make it a lie.
	if err := os.Remove(last.indexPath()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := l.o.OpenFile(last.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	last.store, last.keep = &fileStore{f}, true
	l.segs, l.active = segs, last
	return nil
}

// newSegment makes an empty segment. On disk it appears whole, header and
// all, or not at all.
func (l *Log) newSegment(base int64, floor mark) (*segment, error) {
	s := &segment{base: base, floor: floor, last: floor, size: segmentHead, index: []entry{}}
	if l.o.Dir == "" {
		s.store, s.keep = &memStore{}, true
		return s, nil
	}
	s.path = filepath.Join(l.o.Dir, segmentName(base, 0))
	f, err := l.createSegment(s, s.header())
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	s.store, s.keep = &fileStore{f}, true
	return s, nil
}

// createSegment writes a segment's first bytes under a temporary name and
// gives it its own when they are there.
func (l *Log) createSegment(s *segment, b []byte) (File, error) {
	temp := s.path + tempSuffix
	f, err := l.o.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteAt(b, 0)
	if err == nil && l.o.Fsync != FsyncNever {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temp, s.path)
	}
	if err == nil && l.o.Fsync != FsyncNever {
		err = syncDir(l.o.Dir)
	}
	if err != nil {
		// Under either name: a segment that stayed would lie in the middle of the one that is written on.
		_ = f.Close()
		_ = os.Remove(temp)
		_ = os.Remove(s.path)
		return nil, err
	}
	return f, nil
}

// recount sums up the sealed segments; state is held or the log is not shared.
func (l *Log) recount() {
	l.sealed = totals{}
	for _, s := range l.segs[:len(l.segs)-1] {
		l.sealed.bytes += s.size
		l.sealed.records += s.records
	}
}

// Info returns a snapshot of the log's ends.
func (l *Log) Info() Info {
	l.state.Lock()
	defer l.state.Unlock()
	i := Info{
		Begin: l.begin, Last: l.seen.next - 1, LastOffset: l.seen.mark.lastOffset, LastEnqueued: l.seen.mark.time,
		Bytes: l.sealed.bytes + l.active.size,
		Empty: l.begin >= l.seen.next,
	}
	if l.sealed.records == 0 && l.seen.next == l.active.base {
		i.Empty = true // compaction may leave nothing
	}
	return i
}

// Sync makes durable what was confirmed under FsyncInterval. It does nothing
// under the other policies or when nothing was written since. After an error
// the events since the last success may be lost if the machine fails, though
// not if the process does.
func (l *Log) Sync() error {
	l.write.Lock()
	s, do := l.active, l.unsynced && l.o.Fsync == FsyncInterval && l.o.Dir != "" && !l.closed
	l.unsynced = false
	if do {
		s.pin()
	}
	l.write.Unlock()
	if !do {
		return nil
	}
	defer s.release()
	st, err := s.open(&l.o)
	if err == nil {
		err = st.sync()
	}
	if err != nil {
		l.write.Lock()
		l.unsynced = true
		l.write.Unlock()
		return fmt.Errorf("sync %s: %w", s.path, err)
	}
	return nil
}

// Close ends the log: waits for what is being stored, makes it durable unless
// the policy is FsyncNever, and closes the files as soon as running reads are
// over. The log cannot be used any more, whatever Close returns. Closing twice
// is harmless.
func (l *Log) Close() error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	l.write.Lock()
	l.state.Lock()
	was := l.closed
	l.closed = true
	l.state.Unlock()
	l.write.Unlock()
	if was {
		return nil
	}
	l.commits.Wait()
	l.write.Lock()
	defer l.write.Unlock()
	err := l.finish()
	for _, s := range l.segs {
		s.list(false)
	}
	if err != nil {
		return fmt.Errorf("close log %s: %w", l.o.Dir, err)
	}
	return nil
}

// finish leaves the newest segment so that it can be opened without reading
// it through.
func (l *Log) finish() error {
	s := l.active
	if s.path == "" {
		return nil
	}
	if err := l.mend(); err != nil {
		return err
	}
	if l.o.Fsync == FsyncNever {
		return nil
	}
	if err := s.store.sync(); err != nil {
		return err
	}
	s.end = l.next
	return s.saveIndex(false)
}

// use marks a sealed segment as used and closes the one unused longest when
// there are too many; state is held.
func (l *Log) use(s *segment) {
	if s == l.active || s.path == "" {
		return
	}
	if i := slices.Index(l.opened, s); i >= 0 {
		l.opened = slices.Delete(l.opened, i, i+1)
	}
	s.list(true)
	if l.opened = append(l.opened, s); len(l.opened) > maxOpen {
		l.opened[0].list(false)
		l.opened = slices.Delete(l.opened, 0, 1)
	}
}

// watchers are the callbacks of Watch.
type watchers struct {
	mu   sync.Mutex
	list []*func() // replaced, never changed
}

// Watch registers fn to be called after records became readable. fn runs on
// the goroutine that appended, must not block and must not call the log; it
// may be called late once more after stop. One call may stand for many appends.
func (l *Log) Watch(fn func()) (stop func()) {
	w := &l.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = append(slices.Clip(w.list), &fn)
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.list = slices.DeleteFunc(slices.Clone(w.list), func(f *func()) bool { return f == &fn })
	}
}

func (w *watchers) wake() {
	w.mu.Lock()
	list := w.list
	w.mu.Unlock()
	for _, fn := range list {
		(*fn)()
	}
}
