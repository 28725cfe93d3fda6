package seglog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
)

// EmptySegment is the size of a segment file that holds no records.
const EmptySegment = segmentHead

const (
	segmentMagic  = "HFSEGM\x00\x01"
	segmentHead   = 96
	segmentSuffix = ".seg"
	indexSuffix   = ".idx"
	tempSuffix    = ".tmp"

	flagCompacted = 1

	// indexEvery is the distance of index entries in bytes: what a seek
	// reads through at most, besides one batch.
	indexEvery = 32 << 10
)

// segment is a run of frames. While it is the newest one its numbers change
// under Log.state; then it is sealed and only its store comes and goes.
type segment struct {
	path string // "" in memory
	base int64
	// gen grows when compaction writes a segment anew.
	gen int
	// end is the first sequence number after the segment; of the newest
	// segment it is not set.
	end       int64
	compacted bool

	floor   mark // where the log stood when the segment was begun
	last    mark // where it stands at its end
	records int64
	size    int64

	mu    sync.Mutex
	store store   // nil when the file is not open
	index []entry // nil when not loaded
	refs  int
	keep  bool // stays open between uses
	dead  bool // to be removed as soon as nobody uses it
}

// mark is what one point of a log is remembered by, besides its sequence
// number.
type mark struct {
	nextOffset int64 // of the next record
	lastOffset int64 // of the newest record, -1 if there was never one
	time       int64 // newest enqueued time, 0 if there was never one
}

// entry is a place in a segment where a frame starts.
type entry struct{ seq, offset, time, pos int64 }

func segmentName(base int64, gen int) string {
	if gen == 0 {
		return fmt.Sprintf("%020d%s", base, segmentSuffix)
	}
	return fmt.Sprintf("%020d-%d%s", base, gen, segmentSuffix)
}

func parseSegmentName(name string) (base int64, gen int, ok bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok {
		return 0, 0, false
	}
	if d, g, has := strings.Cut(digits, "-"); has {
		digits = d
		n, err := strconv.Atoi(g)
		if err != nil || n <= 0 {
			return 0, 0, false
		}
		gen = n
	}
	base, err := strconv.ParseInt(digits, 10, 64)
	return base, gen, err == nil && base >= 0 && len(digits) == 20
}

// header renders the segment's header.
func (s *segment) header() []byte {
	le := binary.LittleEndian
	b := []byte(segmentMagic)
	numbers := [8]int64{s.base, s.floor.nextOffset, s.floor.lastOffset, s.floor.time}
	flags := uint32(0)
	if s.compacted {
		flags = flagCompacted
		numbers[4], numbers[5], numbers[6], numbers[7] = s.end, s.last.nextOffset, s.last.lastOffset, s.last.time
	}
	for _, v := range numbers {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint32(b, flags)
	b = append(b, make([]byte, segmentHead-4-len(b))...)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads a segment's header into s.
func (s *segment) parseHeader(b []byte) error {
	le := binary.LittleEndian
	switch {
	case len(b) < segmentHead:
		return errors.New("the header is not complete")
	case string(b[:8]) != segmentMagic:
		return errors.New("the header is not that of a segment of this version")
	case le.Uint32(b[segmentHead-4:]) != crc32.Checksum(b[:segmentHead-4], castagnoli):
		return errors.New("the header does not match its checksum")
	}
	number := func(i int) int64 { return int64(le.Uint64(b[8+8*i:])) }
	if number(0) != s.base {
		return fmt.Errorf("the header says sequence number %d, the name says %d", number(0), s.base)
	}
	s.floor = mark{number(1), number(2), number(3)}
	s.compacted = le.Uint32(b[72:])&flagCompacted != 0
	if s.compacted {
		s.end, s.last = number(4), mark{number(5), number(6), number(7)}
	}
	return nil
}

// pin keeps the segment from being closed and removed until release.
func (s *segment) pin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs++
}

// open returns the store of a pinned segment, opening the file if need be.
func (s *segment) open(o *Options) (store, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.store == nil {
		f, err := o.OpenFile(s.path, os.O_RDONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("open segment: %w", err)
		}
		s.store = &fileStore{f}
	}
	return s.store, nil
}

// release ends what pin began.
func (s *segment) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refs--
	s.shut()
}

// list says whether the store stays open between uses. In memory and for the
// newest segment it does from the beginning, for the others while they are
// among the last ones used: this bounds open files, and memory for indexes.
func (s *segment) list(keep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep = keep
	s.shut()
}

// shut closes the store if nobody uses it nor wants to keep it; s.mu is held.
// An error of closing tells nothing that sync has not told.
func (s *segment) shut() {
	if s.refs > 0 || s.keep {
		return
	}
	if s.store != nil {
		_ = s.store.close()
		s.store, s.index = nil, nil
	}
	if s.dead {
		// What stays is removed by the next Open.
		_ = s.unlink()
	}
}

// remove deletes the segment's files as soon as nobody uses it.
func (s *segment) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep, s.dead = false, true
	s.shut()
}

// add notes a frame with so many records that was written at the end;
// Log.state is held, or the segment is not shared yet.
func (s *segment) add(f frame, records int, last mark) {
	s.mu.Lock()
	if n := len(s.index); n == 0 || s.size-s.index[n-1].pos >= indexEvery {
		s.index = append(s.index, entry{f.seq, f.offset, f.time, s.size})
	}
	s.mu.Unlock()
	s.size += int64(f.size)
	s.records += int64(records)
	s.last = last
}

// rewind forgets what was added from byte size on.
func (s *segment) rewind(size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size = size
	n := sort.Search(len(s.index), func(i int) bool { return s.index[i].pos >= size })
	s.index = slices.Clip(s.index[:n])
}

// seek returns the place of the last index entry that lies before what the
// caller looks for, or the first frame.
func (s *segment) seek(before func(e entry) bool) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := sort.Search(len(s.index), func(i int) bool { return !before(s.index[i]) })
	if n == 0 {
		return segmentHead
	}
	return s.index[n-1].pos
}

// unlink removes the segment's files.
func (s *segment) unlink() error {
	if s.path == "" {
		return nil
	}
	err := os.Remove(s.path)
	if ierr := os.Remove(s.indexPath()); ierr != nil && !errors.Is(ierr, os.ErrNotExist) && err == nil {
		err = ierr
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

func (s *segment) indexPath() string {
	return s.path[:len(s.path)-len(segmentSuffix)] + indexSuffix
}
