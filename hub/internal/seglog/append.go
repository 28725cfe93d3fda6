package seglog

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// waiter is a batch that is written and waits for an fsync.
type waiter struct {
	span Span
	done func(Span, error)
}

// buffers hold encoded batches on their way to a file.
type buffers struct{ pool sync.Pool }

// maxPooled bounds what an idle buffer may hold.
const maxPooled = 128 << 10

func (p *buffers) get(n int) *[]byte {
	if b, ok := p.pool.Get().(*[]byte); ok && cap(*b) >= n {
		return b
	}
	b := make([]byte, 0, n)
	return &b
}

func (p *buffers) put(b *[]byte) {
	if cap(*b) <= maxPooled {
		*b = (*b)[:0]
		p.pool.Put(b)
	}
}

// Submit stores a batch, all of it or nothing, and calls done exactly once
// when it is as durable as the log's fsync policy asks. Until then readers do
// not see it. Batches that one goroutine submits complete in their order. done
// may run on the caller's goroutine before Submit returns; it must not block
// and must not call the log's Submit, Append, Trim, Compact or Close. The
// bytes behind entries may be reused as soon as Submit has returned.
//
// After an error nothing of the batch is stored and its numbers are given to
// the next one. An error of the disk does not stop the log: the next Submit
// tries again.
func (l *Log) Submit(entries []Entry, done func(Span, error)) {
	size := frameSize(entries)
	if len(entries) == 0 || size > l.o.MaxBatchBytes {
		done(Span{}, fmt.Errorf("%w: %d events, %d bytes", ErrBatch, len(entries), size))
		return
	}
	var pooled *[]byte
	var buf []byte
	if l.o.Dir != "" {
		pooled = l.buffers.get(size)
		buf = *pooled
	} else {
		buf = make([]byte, 0, size)
	}
	b, last, next := encodeFrame(buf, entries)
	sum := bodySum(b)

	l.write.Lock()
	span, err := l.put(b, sum, len(entries), last, next)
	wait, start := err == nil && l.o.Fsync == FsyncBatch && l.o.Dir != "", false
	if wait {
		l.waiting = append(l.waiting, waiter{span, done})
		if start = !l.committing; start {
			l.committing = true
			l.commits.Add(1)
		}
	}
	l.write.Unlock()

	if pooled != nil {
		*pooled = b
		l.buffers.put(pooled)
	}
	switch {
	case start:
		go l.commit()
	case wait:
	case err != nil:
		done(Span{}, err)
	default:
		done(span, nil)
		l.watchers.wake()
	}
}

// Append is Submit that waits. When ctx ends first the batch may or may not
// be stored.
func (l *Log) Append(ctx context.Context, entries []Entry) (Span, error) {
	type result struct {
		span Span
		err  error
	}
	c := make(chan result, 1)
	l.Submit(entries, func(s Span, err error) { c <- result{s, err} })
	select {
	case r := <-c:
		return r.span, r.err
	case <-ctx.Done():
		return Span{}, ctx.Err()
	}
}

// put writes an encoded frame at the end of the newest segment; write is held.
func (l *Log) put(b []byte, sum uint32, count int, last, next int64) (Span, error) {
	if l.closed {
		return Span{}, ErrClosed
	}
	if err := l.mend(); err != nil {
		return Span{}, err
	}
	if l.active.size+int64(len(b)) > l.o.SegmentBytes && l.active.records > 0 {
		if err := l.roll(); err != nil {
			return Span{}, err
		}
	}
	s := l.active
	f := frame{seq: l.next, offset: l.mark.nextOffset, time: max(l.o.Now().UnixMilli(), l.mark.time), count: count, size: len(b)}
	sealFrame(b, f, sum)
	if err := s.store.write(s.size, b); err != nil {
		l.broken = s.store.truncate(s.size) != nil
		return Span{}, fmt.Errorf("write %s: %w", s.path, err)
	}
	span := Span{
		First: f.seq, Last: f.seq + int64(count) - 1,
		FirstOffset: f.offset, LastOffset: f.offset + last, Enqueued: f.time,
	}
	l.next += int64(count)
	l.mark = mark{f.offset + next, span.LastOffset, f.time}
	l.unsynced = true

	l.state.Lock()
	s.add(f, count, l.mark)
	if l.o.Fsync != FsyncBatch || s.path == "" {
		l.seen = ends{l.next, l.mark, s.size}
	}
	l.state.Unlock()
	return span, nil
}

// mend repeats a rollback that failed; write is held.
func (l *Log) mend() error {
	if !l.broken {
		return nil
	}
	s := l.active
	err := s.store.truncate(s.size)
	if err == nil && l.o.Fsync == FsyncBatch {
		err = s.store.sync()
	}
	if err != nil {
		return fmt.Errorf("take back what could not be stored in %s: %w", s.path, err)
	}
	l.broken = false
	return nil
}

// roll seals the newest segment and begins another; write is held. What is
// written is durable then, unless the policy is FsyncNever.
func (l *Log) roll() error {
	s := l.active
	if err := l.syncSealed(s); err != nil {
		return err
	}
	fresh, err := l.newSegment(l.next, l.mark)
	if err != nil {
		return err
	}
	l.state.Lock()
	s.end = l.next
	l.state.Unlock()
	// Only an acceleration: a full disk must not stop the append.
	_ = s.saveIndex(true)
	l.state.Lock()
	l.segs = append(slices.Clip(l.segs), fresh)
	l.active = fresh
	l.sealed.bytes += s.size
	l.sealed.records += s.records
	l.seen = ends{l.next, l.mark, fresh.size}
	l.use(s)
	l.state.Unlock()
	l.unsynced = false
	return nil
}

// syncSealed makes a segment durable before it is sealed. After an fsync that
// failed the next one may succeed although data is gone, so both this one and
// that of commit see to it that the rollback comes first.
func (l *Log) syncSealed(s *segment) error {
	if l.o.Fsync == FsyncNever || s.path == "" {
		return nil
	}
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.syncFailed != nil {
		return l.syncFailed
	}
	if err := s.store.sync(); err != nil {
		err = fmt.Errorf("sync %s: %w", s.path, err)
		// Only what readers have not seen is still to be synced, by a commit that will find this and roll back. When
		// there is none, nothing would ever take the error away.
		l.state.Lock()
		unseen := l.seen.next < l.next
		l.state.Unlock()
		if unseen {
			l.syncFailed = err
		}
		return err
	}
	return nil
}

// commit syncs what waits, again and again until nothing does: all that is
// written while one fsync runs shares the next.
func (l *Log) commit() {
	defer l.commits.Done()
	for {
		l.write.Lock()
		batch := l.waiting
		l.waiting = nil
		if len(batch) == 0 {
			l.committing = false
			l.write.Unlock()
			return
		}
		s := l.active
		to := ends{l.next, l.mark, s.size}
		st := s.store
		s.pin()
		l.write.Unlock()
		err := l.syncWaiting(st, to)
		s.release()
		stored := to.next
		if err != nil {
			var later []waiter
			stored, later = l.rollback()
			batch = append(batch, later...)
		}
		for _, w := range batch {
			if w.span.First < stored {
				w.done(w.span, nil)
			} else {
				w.done(Span{}, err)
			}
		}
		l.watchers.wake()
	}
}

// syncWaiting makes the log durable up to to and shows it to readers.
func (l *Log) syncWaiting(st store, to ends) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	if l.syncFailed == nil {
		if err := st.sync(); err != nil {
			l.syncFailed = fmt.Errorf("sync the log: %w", err)
		}
	}
	l.state.Lock()
	defer l.state.Unlock()
	if l.seen.next >= to.next {
		// A roll has synced the segment meanwhile, with success.
		l.syncFailed = nil
		return nil
	}
	if l.syncFailed != nil {
		return l.syncFailed
	}
	l.seen = to
	return nil
}

// rollback takes back all that readers have not seen after an fsync failed.
// It returns the sequence number up to which the log is stored, and the
// batches that were written since the fsync began. Nothing from there on was
// confirmed, so its numbers can be given out again.
func (l *Log) rollback() (stored int64, later []waiter) {
	l.write.Lock()
	defer l.write.Unlock()
	later, l.waiting = l.waiting, nil
	l.state.Lock()
	s := l.active
	l.next, l.mark = l.seen.next, l.seen.mark
	s.rewind(l.seen.pos)
	s.records, s.last = l.next-s.base, l.mark
	l.state.Unlock()
	l.broken = true
	// An error is met again, and reported, by the next append.
	_ = l.mend()
	l.syncing.Lock()
	l.syncFailed = nil
	l.syncing.Unlock()
	return l.next, later
}
