package seglog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Compaction says how Compact works.
type Compaction struct {
	// TombstonesBefore removes tombstones that were enqueued before it
	// (milliseconds since the Unix epoch); zero removes none.
	TombstonesBefore int64
	// MaxKeys bounds the keys that one pass remembers, at some 100 bytes
	// each; zero is 1,000,000. One segment is always covered.
	MaxKeys int
}

// Compact keeps the last record of each key and removes the ones before it,
// once at least half as many bytes were appended as were compacted before;
// otherwise it does nothing. Sequence numbers and offsets of what stays do not
// change. Records without a key stay. A tombstone stays until it is older than
// TombstonesBefore and a pass comes by.
//
// It may be called while the log is used and ends early, between two segments
// and without harm, when ctx ends.
func (l *Log) Compact(ctx context.Context, c Compaction) error {
	l.maintain.Lock()
	defer l.maintain.Unlock()
	if c.MaxKeys == 0 {
		c.MaxKeys = 1_000_000
	}
	if err := l.compact(ctx, c); err != nil {
		return fmt.Errorf("compact log %s: %w", l.o.Dir, err)
	}
	return nil
}

func (l *Log) compact(ctx context.Context, c Compaction) error {
	if due, err := l.rollDirty(); err != nil || !due {
		return err
	}
	l.state.Lock()
	sealed := slices.Clone(l.segs[:len(l.segs)-1])
	l.state.Unlock()
	latest, covered, err := l.latestKeys(ctx, sealed, c.MaxKeys)
	if err != nil {
		return err
	}
	sealed = sealed[:covered]
	for len(sealed) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		// Merge neighbours as long as they certainly fit into one segment.
		n, size := 1, sealed[0].size
		for n < len(sealed) && size+sealed[n].size <= l.o.SegmentBytes {
			size += sealed[n].size
			n++
		}
		if err := l.rewrite(sealed[:n], latest, c.TombstonesBefore); err != nil {
			return err
		}
		sealed = sealed[n:]
	}
	return nil
}

// rollDirty reports whether there is enough to compact, and seals the newest
// segment for it.
func (l *Log) rollDirty() (bool, error) {
	l.write.Lock()
	defer l.write.Unlock()
	if l.closed {
		return false, ErrClosed
	}
	var clean, dirty int64
	l.state.Lock()
	for _, s := range l.segs {
		if s.compacted {
			clean += s.size
		} else {
			dirty += s.size - segmentHead
		}
	}
	l.state.Unlock()
	if dirty == 0 || dirty < clean/2 {
		return false, nil
	}
	if l.active.records == 0 {
		return true, nil
	}
	if err := l.mend(); err != nil {
		return false, err
	}
	return true, l.roll()
}

// keyHash stands for a key: two keys are the same if their hashes are.
type keyHash [16]byte

func hashKey(k []byte) keyHash {
	sum := sha256.Sum256(k)
	return keyHash(sum[:16])
}

// latestKeys notes the newest sequence number of each key in the segments
// that were not compacted yet, and says how many segments it has covered.
func (l *Log) latestKeys(ctx context.Context, sealed []*segment, maxKeys int) (map[keyHash]int64, int, error) {
	latest := map[keyHash]int64{}
	began := false
	for i, s := range sealed {
		if s.compacted {
			continue
		}
		if began && len(latest) >= maxKeys {
			return latest, i, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		began = true
		err := l.scan(s, func(_ frame, recs []Record) bool {
			for i := range recs {
				if recs[i].HasKey() {
					latest[hashKey(recs[i].Key)] = recs[i].Sequence
				}
			}
			return true
		})
		if err != nil {
			return nil, 0, err
		}
	}
	return latest, len(sealed), nil
}

// scan goes over a sealed segment.
func (l *Log) scan(s *segment, fn func(frame, []Record) bool) error {
	s.pin()
	r := reading{seg: s, limit: s.size}
	defer r.done()
	var err error
	if r.store, err = s.open(&l.o); err != nil {
		return err
	}
	return r.each(segmentHead, fn)
}

// rewrite replaces neighbouring sealed segments by one that holds what is to
// be kept of them.
func (l *Log) rewrite(old []*segment, latest map[keyHash]int64, tombstonesBefore int64) error {
	first, last := old[0], old[len(old)-1]
	out := &segment{base: first.base, end: last.end, compacted: true, floor: first.floor, last: last.last, size: segmentHead, index: []entry{}}
	w, err := l.newRewriter(out, first.gen+1)
	if err != nil {
		return err
	}
	for _, s := range old {
		err := l.scan(s, func(f frame, recs []Record) bool {
			w.add(f, slices.DeleteFunc(recs, func(r Record) bool {
				if !r.HasKey() {
					return false
				}
				newest, known := latest[hashKey(r.Key)]
				return known && r.Sequence < newest || r.Flags&FlagTombstone != 0 && r.Enqueued < tombstonesBefore
			}))
			return w.err == nil
		})
		if err == nil {
			err = w.err
		}
		if err != nil {
			w.abort()
			return err
		}
	}
	if err := w.finish(); err != nil {
		return err
	}
	l.state.Lock()
	i := slices.Index(l.segs, first)
	l.segs = slices.Replace(slices.Clone(l.segs), i, i+len(old), out)
	l.recount()
	l.forget(old)
	if out.path != "" {
		l.use(out)
	}
	l.state.Unlock()
	for _, s := range old {
		s.remove()
	}
	return nil
}

// forget takes segments off the list of open ones; state is held.
func (l *Log) forget(gone []*segment) {
	l.opened = slices.DeleteFunc(l.opened, func(s *segment) bool { return slices.Contains(gone, s) })
}

// rewriter writes a compacted segment.
type rewriter struct {
	l    *Log
	s    *segment
	st   store
	file File // nil in memory
	buf  []byte
	err  error
}

func (l *Log) newRewriter(s *segment, gen int) (*rewriter, error) {
	w := &rewriter{l: l, s: s}
	if l.o.Dir == "" {
		w.st = &memStore{}
		return w, nil
	}
	s.gen = gen
	s.path = filepath.Join(l.o.Dir, segmentName(s.base, gen))
	f, err := l.o.OpenFile(s.path+tempSuffix, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	w.st, w.file = &fileStore{f}, f
	if err := w.st.write(0, s.header()); err != nil {
		w.abort()
		return nil, err
	}
	return w, nil
}

// add writes what is left of a frame.
func (w *rewriter) add(f frame, recs []Record) {
	if len(recs) == 0 || w.err != nil {
		return
	}
	w.buf = w.buf[:0]
	if w.file == nil {
		w.buf = nil
	}
	b := append(w.buf, make([]byte, frameHead)...)
	for i := range recs {
		b = appendRecord(b, recs[i].Sequence-f.seq, recs[i].Offset-f.offset, &recs[i].Entry)
	}
	b = appendEnd(b)
	f.count, f.size = len(recs), len(b)
	sealFrame(b, f, bodySum(b))
	if w.err = w.st.write(w.s.size, b); w.err == nil {
		w.s.add(f, len(recs), w.s.last)
	}
	w.buf = b
}

// finish makes the segment durable and gives it its name.
func (w *rewriter) finish() error {
	s := w.s
	if w.file == nil {
		s.store, s.keep = w.st, true
		return nil
	}
	err := error(nil)
	if w.l.o.Fsync != FsyncNever {
		err = w.file.Sync()
	}
	if cerr := w.file.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(s.path+tempSuffix, s.path)
	}
	if err == nil && w.l.o.Fsync != FsyncNever {
		err = syncDir(w.l.o.Dir)
	}
	if err != nil {
		_ = os.Remove(s.path + tempSuffix)
		return err
	}
	// Only an acceleration: the index is made anew when it is missing.
	_ = s.saveIndex(true)
	s.index = nil
	return nil
}

func (w *rewriter) abort() {
	if w.file != nil {
		_ = w.file.Close()
		_ = os.Remove(w.s.path + tempSuffix)
	}
}
