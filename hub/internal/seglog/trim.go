package seglog

import (
	"fmt"
	"os"
	"path/filepath"
)

// Keep says what retention keeps.
type Keep struct {
	// Since removes records that were enqueued before it (milliseconds
	// since the Unix epoch); zero removes none for their age.
	Since int64
	// Bytes removes the oldest records until no more than this remain;
	// zero is without limit.
	Bytes int64
}

// Trim applies retention: it moves the begin to the first record to be kept
// and frees the segments before it. Numbers are not given out again. It may be
// called while the log is used; readers that stand before the new begin go on
// at the begin.
func (l *Log) Trim(keep Keep) error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	begin, err := l.retained(keep)
	if err != nil {
		return fmt.Errorf("trim log %s: %w", l.o.Dir, err)
	}
	if err := l.trimTo(begin); err != nil {
		return fmt.Errorf("trim log %s: %w", l.o.Dir, err)
	}
	return nil
}

// retained finds the first sequence number to be kept.
func (l *Log) retained(keep Keep) (int64, error) {
	begin := int64(0)
	if keep.Since > 0 {
		seq, err := l.SeekTime(keep.Since)
		if err != nil {
			return 0, err
		}
		begin = seq
	}
	if keep.Bytes > 0 {
		seq, err := l.seekSize(keep.Bytes)
		if err != nil {
			return 0, err
		}
		begin = max(begin, seq)
	}
	return begin, nil
}

// seekSize finds the first batch from which on no more than so many bytes
// remain.
func (l *Log) seekSize(bytes int64) (int64, error) {
	l.state.Lock()
	if l.closed {
		l.state.Unlock()
		return 0, ErrClosed
	}
	over := l.sealed.bytes + l.active.size - bytes
	if over <= 0 {
		l.state.Unlock()
		return 0, nil
	}
	for _, s := range l.segs {
		if s != l.active && over >= s.size-segmentHead {
			over -= s.size
			continue
		}
		if over <= 0 {
			l.state.Unlock()
			return s.base, nil
		}
		r := l.reading(s)
		l.state.Unlock()
		return l.seekByte(r, segmentHead+over)
	}
	defer l.state.Unlock()
	return l.seen.next, nil
}

// seekByte finds the first batch of a segment at or behind a byte; there is
// none: what follows the segment.
func (l *Log) seekByte(r reading, pos int64) (int64, error) {
	if err := r.hold(&l.o); err != nil {
		return 0, err
	}
	defer r.done()
	found := r.end
	at := r.seg.seek(func(e entry) bool { return e.pos <= pos })
	err := r.each(at, func(f frame, recs []Record) bool {
		if at >= pos {
			found = recs[0].Sequence
			return false
		}
		at += int64(f.size)
		return true
	})
	return found, err
}

// trimTo moves the begin and drops the segments that lie before it.
func (l *Log) trimTo(begin int64) error {
	// Without room for a new segment the newest one stays; the others may go.
	rolled := l.rollTrimmed(begin)
	l.state.Lock()
	if l.closed {
		l.state.Unlock()
		return ErrClosed
	}
	old := l.begin
	begin = max(min(begin, l.seen.next), old)
	l.state.Unlock()

	// The begin is stored first: a segment must not be gone while the stored
	// begin lies before it.
	if begin > old {
		if err := l.saveBegin(begin, l.o.Fsync != FsyncNever); err != nil {
			return err
		}
	}
	l.state.Lock()
	l.begin = begin
	n := 0
	for n < len(l.segs)-1 && l.segs[n].end <= begin {
		n++
	}
	gone := l.segs[:n]
	l.segs = l.segs[n:]
	l.recount()
	l.forget(gone)
	l.state.Unlock()
	for _, s := range gone {
		s.remove()
	}
	return rolled
}

// rollTrimmed begins a new segment when all of the newest one is to go, so
// that its room is freed too.
func (l *Log) rollTrimmed(begin int64) error {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed || l.active.records == 0 || begin < l.next {
		return nil
	}
	if err := l.mend(); err != nil {
		return err
	}
	return l.roll()
}

// saveBegin stores the begin in place: retention must work on a full disk,
// where no other file could be written. Half a write does not match its
// checksum and counts as none.
func (l *Log) saveBegin(begin int64, durable bool) error {
	if l.o.Dir == "" {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(l.o.Dir, beginName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(formatBegin(begin)), 0)
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
