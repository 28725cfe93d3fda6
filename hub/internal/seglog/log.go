package seglog

import (
	"bytes"
	"context"
	"errors"
	"sort"
	"sync"
	"time"
)

// ErrClosed is returned by everything that is called after Close.
var ErrClosed = errors.New("seglog: closed")

// Options configure a Log.
type Options struct {
	// Dir is the folder of this log; empty means memory.
	Dir string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Log is one partition's log. Its methods may be called concurrently.
type Log struct {
	now func() time.Time

	mu       sync.Mutex
	records  []Record
	next     int64
	offset   int64
	last     int64
	lastTime int64
	closed   bool

	watchMu  sync.Mutex
	watchers map[*func()]struct{}
}

// Open opens the log in o.Dir, creating it when it is not there.
func Open(o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Log{now: o.Now, last: -1, watchers: map[*func()]struct{}{}}, nil
}

// Submit stores a batch, all of it or nothing, and calls done exactly once
// when it is as durable as the log's fsync policy asks. Batches complete in
// the order of their sequence numbers. done may run on the caller's goroutine
// before Submit returns, must not block and must not call Submit. The bytes
// behind entries may be reused as soon as Submit has returned.
func (l *Log) Submit(entries []Entry, done func(Span, error)) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		done(Span{}, ErrClosed)
		return
	}
	s := Span{First: l.next, FirstOffset: l.offset, Enqueued: max(l.now().UnixMilli(), l.lastTime)}
	for _, e := range entries {
		e.Key, e.Publisher, e.Message = bytes.Clone(e.Key), bytes.Clone(e.Publisher), bytes.Clone(e.Message)
		l.records = append(l.records, Record{Sequence: l.next, Offset: l.offset, Enqueued: s.Enqueued, Entry: e})
		s.Last, s.LastOffset = l.next, l.offset
		l.last, l.lastTime = l.offset, s.Enqueued
		l.next++
		l.offset += int64(len(e.Message)) + 64
	}
	l.mu.Unlock()
	done(s, nil)
	l.wake()
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

// Read fills b with the records from sequence number from on: at most
// maxRecords, and no more once maxBytes of messages are there; at least one
// if there is any, however large. It does not wait: at the end b.Records is
// empty. A from before the retained range starts at its begin.
func (l *Log) Read(from int64, maxBytes, maxRecords int, b *Batch) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.Records = b.Records[:0]
	if l.closed {
		return ErrClosed
	}
	from = max(from, 0)
	b.Next = min(from, l.next)
	for i := from; i < l.next && len(b.Records) < maxRecords; i++ {
		r := l.records[i]
		if maxBytes -= len(r.Message); maxBytes < 0 && len(b.Records) > 0 {
			break
		}
		b.Records = append(b.Records, r)
		b.Next = i + 1
	}
	return nil
}

// Info returns a snapshot of the log's ends.
func (l *Log) Info() Info {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := Info{Last: l.next - 1, LastOffset: l.last, LastEnqueued: l.lastTime, Empty: l.next == 0, Bytes: l.offset}
	return i
}

// SeekOffset returns the sequence number of the first record whose offset is
// at least offset, or the next number to be given out when there is none.
func (l *Log) SeekOffset(offset int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(sort.Search(len(l.records), func(i int) bool { return l.records[i].Offset >= offset })), nil
}

// SeekTime returns the sequence number of the first record that was enqueued
// at ms or later (milliseconds since the Unix epoch), or the next number to
// be given out when there is none.
func (l *Log) SeekTime(ms int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(sort.Search(len(l.records), func(i int) bool { return l.records[i].Enqueued >= ms })), nil
}

// Watch registers fn to be called after records became readable. fn runs on
// the goroutine that appended, must not block and must not call the log; it
// may be called late once more after stop. One call may stand for many appends.
func (l *Log) Watch(fn func()) (stop func()) {
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	l.watchers[&fn] = struct{}{}
	return func() {
		l.watchMu.Lock()
		defer l.watchMu.Unlock()
		delete(l.watchers, &fn)
	}
}

func (l *Log) wake() {
	l.watchMu.Lock()
	defer l.watchMu.Unlock()
	for fn := range l.watchers {
		(*fn)()
	}
}

// Close ends the log.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.records = nil
	return nil
}
