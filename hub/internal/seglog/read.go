package seglog

import (
	"fmt"
	"slices"
	"sort"
)

// What one Read takes from a file at once, unless a batch is larger.
const (
	minRead = 16 << 10
	maxRead = 512 << 10
)

// place is where a Batch stands, so that the next Read goes on in the bytes
// that are there already.
type place struct {
	walker
	cur  frame  // the frame at the start of walker.data, if body is not nil
	body []byte // its unread records
	next int64  // the sequence number that this is the place of
}

// Read fills b with the records from sequence number from on: at most
// maxRecords, and no more once maxBytes of messages are there; at least one
// if there is any, however large. It may return fewer than there are. It does
// not wait: at the end b.Records is empty. A from before the retained range
// starts at its begin. A Batch that is used for one log's successive reads
// goes on where it stands without reading twice; it holds up to 512 KiB of
// memory, or one batch if that is larger.
//
// The error is a *DamageError if a segment does not hold what was stored.
func (l *Log) Read(from int64, maxBytes, maxRecords int, b *Batch) error {
	b.Records = b.Records[:0]
	for {
		r, err := l.begins(from, b)
		if err != nil || r.seg == nil || maxRecords <= 0 {
			r.done()
			return err
		}
		err = r.read(maxBytes, maxRecords, b)
		r.done()
		if err != nil || len(b.Records) > 0 {
			return err
		}
		// The rest of the segment was compacted away: go on behind it.
		from = r.end
	}
}

// reading is a use of one segment.
type reading struct {
	seg   *segment
	store store
	from  int64
	end   int64 // go on here when the segment holds nothing more
	limit int64 // byte up to which it may be read
}

func (r *reading) done() {
	if r.seg != nil {
		r.seg.release()
	}
}

// begins finds the segment for a read and holds it open. There is none at the
// end of the log.
func (l *Log) begins(from int64, b *Batch) (reading, error) {
	l.state.Lock()
	if l.closed {
		l.state.Unlock()
		return reading{}, ErrClosed
	}
	from = max(from, l.begin)
	b.Next = from
	if from >= l.seen.next {
		l.state.Unlock()
		return reading{}, nil
	}
	i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base > from }) - 1
	r := l.reading(l.segs[i])
	r.from = from
	l.state.Unlock()
	if err := r.hold(&l.o); err != nil {
		return reading{}, err
	}
	switch p := &b.place; {
	case p.seg == r.seg && p.next == from:
	case p.seg == r.seg && from < p.next && p.rewinds(from):
		p.body = nil
	default:
		*p = place{walker: walker{seg: r.seg, buf: p.buf, pos: r.seg.seek(func(e entry) bool { return e.seq <= from })}}
	}
	return r, nil
}

// reading pins a segment and describes what of it may be read now; state is
// held.
func (l *Log) reading(s *segment) reading {
	l.use(s)
	s.pin()
	r := reading{seg: s, end: s.end, limit: s.size}
	if s == l.active {
		r.end, r.limit = l.seen.next, l.seen.pos
	}
	return r
}

// hold opens the pinned segment; after an error it is not pinned any more.
func (r *reading) hold(o *Options) (err error) {
	if r.store, err = r.seg.open(o); err == nil {
		err = r.seg.loadIndex(o)
	}
	if err != nil {
		r.done()
	}
	return err
}

// read collects records. A file's records lie in the Batch's one buffer, so it
// stops before it would have to be filled again.
func (r *reading) read(maxBytes, maxRecords int, b *Batch) error {
	p := &b.place
	_, oneBuffer := r.store.(*fileStore)
	want := min(max(maxBytes+maxBytes/8, minRead), maxRead)
	room := maxBytes
	for {
		for len(p.body) > 0 {
			rec, rest, err := p.cur.nextRecord(p.body)
			if err != nil {
				return r.seg.damage(p.pos, r.from, err.Error())
			}
			if rec.Sequence >= r.from {
				if len(b.Records) >= maxRecords || len(b.Records) > 0 && len(rec.Message) > room {
					p.next = b.Next
					return nil
				}
				room -= len(rec.Message)
				b.Records = append(b.Records, rec)
				b.Next = rec.Sequence + 1
			}
			p.body = rest
		}
		p.next = b.Next
		if p.body != nil {
			p.skip(p.cur)
			p.body = nil
		}
		f, data, err := p.frame(r.store, r.limit, want, oneBuffer && len(b.Records) > 0)
		if err != nil || data == nil {
			return err
		}
		if !r.seg.compacted && f.seq+int64(f.count) <= r.from {
			p.skip(f)
			continue
		}
		if oneBuffer && !frameIntact(data) { // memory does not rot
			return r.seg.damage(p.pos, f.seq, "a batch does not match its checksum")
		}
		p.cur, p.body = f, data[frameHead:f.size-frameTail]
	}
}

func (s *segment) damage(pos, seq int64, reason string) error {
	return &DamageError{File: s.path, Offset: pos, Sequence: seq, Reason: reason}
}

// walker goes over the frames of a segment.
type walker struct {
	seg  *segment
	pos  int64  // of data in the segment
	data []byte // read already
	buf  []byte // behind data, if the segment is a file
	// What was read at once, of which data is the rest, and its place.
	chunk    []byte
	chunkPos int64
}

// rewinds goes back to the beginning of what was read at once if that lies
// before the sequence number. A reader comes back when it could not use all
// that it got.
func (w *walker) rewinds(to int64) bool {
	if len(w.chunk) < frameHead {
		return false
	}
	if f, ok := parseFrame(w.chunk); !ok || f.seq > to {
		return false
	}
	w.data, w.pos = w.chunk, w.chunkPos
	return true
}

// frame returns the frame at the walker's place, its header checked but not
// its records, or none at limit. If keep is true and the frame is not in the
// buffer, it returns none either.
func (w *walker) frame(st store, limit int64, want int, keep bool) (frame, []byte, error) {
	for range 3 {
		need := frameHead
		if len(w.data) >= frameHead {
			f, ok := parseFrame(w.data)
			switch {
			case !ok:
				return f, nil, w.seg.damage(w.pos, w.seg.base, "the header of a batch does not match its checksum")
			case f.size <= len(w.data):
				return f, w.data[:f.size], nil
			case w.pos+int64(f.size) > limit:
				return f, nil, w.seg.damage(w.pos, f.seq, "a batch goes on past the end of the segment")
			}
			need = f.size
		}
		if keep || w.pos >= limit {
			return frame{}, nil, nil
		}
		if _, file := st.(*fileStore); file && w.buf == nil {
			w.buf = []byte{}
		}
		data, err := st.view(w.pos, max(want, need), limit, w.buf)
		if err != nil {
			return frame{}, nil, fmt.Errorf("read segment %s: %w", w.seg.path, err)
		}
		w.data, w.chunk, w.chunkPos = data, data, w.pos
		if w.buf != nil {
			w.buf = data[:0]
		}
		if len(data) < need {
			return frame{}, nil, w.seg.damage(w.pos, w.seg.base, "the segment is shorter than it was")
		}
	}
	return frame{}, nil, w.seg.damage(w.pos, w.seg.base, "the segment changes while it is read")
}

// skip goes on behind f, the frame at the walker's place.
func (w *walker) skip(f frame) {
	w.pos += int64(f.size)
	w.data = w.data[f.size:]
}

// SeekOffset returns the sequence number of the first record whose offset is
// at least offset, or the next number to be given out when there is none.
func (l *Log) SeekOffset(offset int64) (int64, error) {
	return l.search(
		func(m mark) bool { return m.lastOffset >= offset },
		func(e entry) bool { return e.offset <= offset },
		func(r *Record) bool { return r.Offset >= offset })
}

// SeekTime returns the sequence number of the first record that was enqueued
// at ms or later (milliseconds since the Unix epoch), or the next number to
// be given out when there is none.
func (l *Log) SeekTime(ms int64) (int64, error) {
	return l.search(
		func(m mark) bool { return m.time >= ms },
		func(e entry) bool { return e.time < ms },
		func(r *Record) bool { return r.Enqueued >= ms })
}

// search finds the first retained record that is a hit, given which segments
// may end behind it and which index entries may lie before it.
func (l *Log) search(ends func(mark) bool, before func(entry) bool, hit func(*Record) bool) (int64, error) {
	for from := int64(0); ; {
		l.state.Lock()
		if l.closed {
			l.state.Unlock()
			return 0, ErrClosed
		}
		next, begin := l.seen.next, l.begin
		i := sort.Search(len(l.segs), func(i int) bool { return l.segs[i].base >= from && ends(l.segs[i].last) })
		if i == len(l.segs) || l.segs[i].base >= next {
			l.state.Unlock()
			return next, nil
		}
		r := l.reading(l.segs[i])
		l.state.Unlock()
		seq, err := l.searchSegment(r, before, hit)
		if err != nil || seq >= 0 {
			return max(seq, begin), err
		}
		from = max(r.end, r.seg.base+1)
	}
}

// searchSegment returns -1 if no record of the segment is a hit.
func (l *Log) searchSegment(r reading, before func(entry) bool, hit func(*Record) bool) (int64, error) {
	if err := r.hold(&l.o); err != nil {
		return 0, err
	}
	defer r.done()
	found := int64(-1)
	err := r.each(r.seg.seek(before), func(_ frame, recs []Record) bool {
		if i := slices.IndexFunc(recs, func(r Record) bool { return hit(&r) }); i >= 0 {
			found = recs[i].Sequence
		}
		return found < 0
	})
	return found, err
}

// each calls fn for every frame from byte pos on until it returns false. The
// records are valid during the call only.
func (r *reading) each(pos int64, fn func(f frame, recs []Record) bool) error {
	w := walker{seg: r.seg, pos: pos}
	var recs []Record
	for {
		f, data, err := w.frame(r.store, r.limit, maxRead, false)
		if err != nil || data == nil {
			return err
		}
		if !frameIntact(data) {
			return r.seg.damage(w.pos, f.seq, "a batch does not match its checksum")
		}
		recs = recs[:0]
		for body := data[frameHead : f.size-frameTail]; len(body) > 0; {
			rec, rest, err := f.nextRecord(body)
			if err != nil {
				return r.seg.damage(w.pos, f.seq, err.Error())
			}
			recs, body = append(recs, rec), rest
		}
		if !fn(f, recs) {
			return nil
		}
		w.skip(f)
	}
}
