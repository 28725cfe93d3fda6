package seglog

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// scanned is what reading a segment through has found.
type scanned struct {
	// end is the sequence number after the last record (of a compacted
	// segment: the end of its range).
	end int64
	// torn is true if an unfinished frame follows the last whole one.
	torn bool
}

// scanSegment reads a whole segment, checks every frame and fills s in. A
// sealed segment must end with a whole frame.
func scanSegment(o *Options, s *segment, sealed bool) (scanned, error) {
	f, err := o.OpenFile(s.path, os.O_RDONLY, 0)
	if err != nil {
		return scanned{}, fmt.Errorf("open segment: %w", err)
	}
	defer f.Close() //nolint:errcheck // only read
	sc := scanner{s: s, f: f, sealed: sealed, end: s.base}
	head := make([]byte, segmentHead)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return scanned{}, fmt.Errorf("read segment %s: %w", s.path, err)
	}
	if err := s.parseHeader(head[:n]); err != nil {
		return scanned{}, &DamageError{File: s.path, Sequence: s.base, Reason: err.Error()}
	}
	end := s.last
	s.size, s.index, s.records, s.last = segmentHead, []entry{}, 0, s.floor
	for {
		more, err := sc.step()
		if err != nil {
			return scanned{}, err
		}
		if !more {
			break
		}
	}
	if s.compacted {
		if sc.end > s.end {
			return scanned{}, sc.damage("the segment goes on past the end of its range")
		}
		sc.end, s.last = s.end, end
	}
	return scanned{end: sc.end, torn: sc.torn}, nil
}

// scanner walks over a segment's frames, one buffer at a time.
type scanner struct {
	s      *segment
	f      File
	sealed bool
	buf    []byte
	data   []byte // unread part of buf, starts at s.size
	eof    bool
	end    int64
	torn   bool
}

const scanBuffer = 1 << 20

// fill makes at least n bytes available unless the file ends before.
func (c *scanner) fill(n int) error {
	if len(c.data) >= n || c.eof {
		return nil
	}
	n = max(n, scanBuffer)
	if cap(c.buf) < n {
		c.buf = make([]byte, n)
	}
	c.buf = c.buf[:n]
	m, err := c.f.ReadAt(c.buf, c.s.size)
	c.data = c.buf[:m]
	if errors.Is(err, io.EOF) {
		c.eof, err = true, nil
	}
	if err != nil {
		return fmt.Errorf("read segment %s: %w", c.s.path, err)
	}
	return nil
}

// step checks the frame at s.size. It reports false at the end of the
// segment, with torn set if an unfinished frame is there.
func (c *scanner) step() (bool, error) {
	if err := c.fill(frameHead); err != nil || len(c.data) == 0 {
		return false, err
	}
	if len(c.data) < frameHead {
		return false, c.cut("it ends within the header of a batch")
	}
	f, ok := parseFrame(c.data)
	if !ok {
		// A whole frame ends with something else than zeros.
		zeros, err := c.zeros(c.s.size+frameHead, c.data[frameHead:])
		switch {
		case err != nil:
			return false, err
		case zeros:
			return false, c.cut("it ends with zeros")
		}
		return false, c.damage("the header of a batch does not match its checksum")
	}
	if err := c.fill(f.size); err != nil {
		return false, err
	}
	if len(c.data) < f.size {
		return false, c.cut("it ends within a batch")
	}
	if err := c.intact(f); err != nil || c.torn {
		return false, err
	}
	if err := c.accept(f); err != nil {
		return false, err
	}
	c.data = c.data[f.size:]
	return true, nil
}

// intact checks the records of a frame that is all there.
func (c *scanner) intact(f frame) error {
	b := c.data[:f.size]
	if frameIntact(b) {
		return nil
	}
	if bodyIntact(b) {
		return c.damage("the end mark of a batch is not there")
	}
	// A file system may show the length of a write whose last blocks it never
	// got. Then the end of the frame, and all behind it, is zero.
	if bytes.Equal(b[f.size-frameTail:], make([]byte, frameTail)) {
		zeros, err := c.zeros(c.s.size+int64(f.size), c.data[f.size:])
		if err != nil {
			return err
		}
		if zeros {
			return c.cut("the end of a batch was never written")
		}
	}
	return c.damage("a batch does not match its checksum")
}

// accept checks that a whole frame continues the segment and notes it.
func (c *scanner) accept(f frame) error {
	s := c.s
	switch {
	case f.seq < c.end || !s.compacted && f.seq != c.end:
		return c.damage(fmt.Sprintf("a batch begins with sequence number %d, expected %d", f.seq, c.end))
	case f.offset < s.last.nextOffset || !s.compacted && f.offset != s.last.nextOffset:
		return c.damage(fmt.Sprintf("a batch begins with offset %d, expected %d", f.offset, s.last.nextOffset))
	case f.time < s.last.time:
		return c.damage("the time of a batch lies before that of the one before")
	}
	n, last := 0, mark{time: f.time}
	for body := c.data[frameHead : f.size-frameTail]; len(body) > 0; n++ {
		r, rest, err := f.nextRecord(body)
		if err != nil || r.Sequence < c.end {
			return c.damage("a batch holds a malformed record")
		}
		body, last.lastOffset, last.nextOffset = rest, r.Offset, r.Offset+weight(&r.Entry)
		c.end = r.Sequence + 1
	}
	if n != f.count || !s.compacted && c.end != f.seq+int64(f.count) {
		return c.damage("a batch does not hold as many records as it says")
	}
	s.add(f, n, last)
	return nil
}

// zeros reports whether all from byte at to the end of the file is zero; data
// is what was read from there.
func (c *scanner) zeros(at int64, data []byte) (bool, error) {
	for {
		if slices.ContainsFunc(data, func(b byte) bool { return b != 0 }) {
			return false, nil
		}
		at += int64(len(data))
		buf := make([]byte, 64<<10)
		n, err := c.f.ReadAt(buf, at)
		if n == 0 && errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return false, fmt.Errorf("read segment %s: %w", c.s.path, err)
		}
		data = buf[:n]
	}
}

// cut notes an unfinished frame, which only the newest segment may have.
func (c *scanner) cut(reason string) error {
	if c.sealed {
		return c.damage(reason)
	}
	c.torn = true
	return nil
}

func (c *scanner) damage(reason string) error {
	if !c.sealed {
		reason += fmt.Sprintf(" (to give up everything from there on, truncate the file to %d bytes)", c.s.size)
	}
	return &DamageError{File: c.s.path, Offset: c.s.size, Sequence: c.end, Reason: reason}
}

// recoverSegments reads the folder of a log: its segments in order, the last
// one ready to be appended to, or none if the folder is new. What lies before
// begin is removed.
func recoverSegments(o *Options, begin int64) ([]*segment, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	segs, err := listSegments(o.Dir)
	if err != nil {
		return nil, err
	}
	var kept []*segment
	for i, s := range segs {
		newest := i == len(segs)-1
		n := len(kept)
		// Compaction replaced several segments by the one before, or
		// retention dropped them, and they were not removed any more.
		if n > 0 && kept[n-1].compacted && s.base < kept[n-1].end || !newest && segs[i+1].base <= begin && segs[i+1].base > s.base {
			if err := s.unlink(); err != nil {
				return nil, err
			}
			continue
		}
		if err := recoverSegment(o, s, newest); err != nil {
			return nil, err
		}
		if n > 0 && (s.base != kept[n-1].end || s.floor.nextOffset != kept[n-1].last.nextOffset) {
			return nil, &DamageError{
				File: s.path, Sequence: kept[n-1].end,
				Reason: fmt.Sprintf("the segment before it ends at sequence number %d: one is missing", kept[n-1].end),
			}
		}
		kept = append(kept, s)
	}
	return kept, nil
}

func listSegments(dir string) ([]*segment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segs []*segment
	for _, f := range files {
		if strings.HasSuffix(f.Name(), tempSuffix) {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return nil, err
			}
			continue
		}
		if base, gen, ok := parseSegmentName(f.Name()); ok {
			segs = append(segs, &segment{path: filepath.Join(dir, f.Name()), base: base, gen: gen})
		}
	}
	slices.SortFunc(segs, func(a, b *segment) int {
		return cmp.Or(cmp.Compare(a.base, b.base), cmp.Compare(b.gen, a.gen))
	})
	return segs, nil
}

// recoverSegment fills s in from its index file or by reading it through.
func recoverSegment(o *Options, s *segment, newest bool) error {
	f, err := os.Open(s.path)
	if err != nil {
		return err
	}
	head := make([]byte, segmentHead)
	n, err := f.ReadAt(head, 0)
	st, serr := f.Stat()
	if cerr := f.Close(); cerr != nil || serr != nil {
		return errors.Join(serr, cerr)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read segment %s: %w", s.path, err)
	}
	if err := s.parseHeader(head[:n]); err != nil {
		return &DamageError{File: s.path, Sequence: s.base, Reason: err.Error()}
	}
	if sealed, err := s.loadSummary(); err == nil {
		if sealed && newest {
			return &DamageError{File: s.path, Offset: s.size, Sequence: s.end, Reason: "the segment behind it is missing"}
		}
		if st.Size() < s.size {
			return &DamageError{
				File: s.path, Offset: st.Size(), Sequence: s.base,
				Reason: fmt.Sprintf("it has %d bytes and had %d: confirmed batches are missing", st.Size(), s.size),
			}
		}
		if st.Size() == s.size {
			return nil
		}
	}
	sc, err := scanSegment(o, s, !newest || s.compacted)
	if err != nil {
		return err
	}
	s.end = sc.end
	if sc.torn {
		o.Log.Warn("cut an unfinished batch off the end of a segment", "file", s.path, "offset", s.size,
			"bytes", st.Size()-s.size, "sequence", s.end)
		return truncateFile(o, s)
	}
	if newest {
		return nil
	}
	// Only an acceleration: a full disk must not stop the start.
	_ = s.saveIndex(true)
	s.index = nil
	return nil
}

func truncateFile(o *Options, s *segment) error {
	f, err := o.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Truncate(s.size)
	if err == nil && o.Fsync != FsyncNever {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

const beginName = "begin"

// formatBegin is the content of the file: the number and its checksum. The
// width is fixed so that the file can be written in place.
func formatBegin(v int64) string {
	n := fmt.Sprintf("%020d", v)
	return fmt.Sprintf("%s %08x\n", n, crc32.Checksum([]byte(n), castagnoli))
}

// loadBegin reads the first retained sequence number. It is not known if none
// was stored.
func loadBegin(dir string) (begin int64, known bool, err error) {
	b, err := os.ReadFile(filepath.Join(dir, beginName))
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	// What does not match its checksum is not known: it is only a bound, which
	// retention finds again, but a wrong one would hide events.
	digits, _, _ := strings.Cut(string(b), " ")
	if v, err := strconv.ParseInt(digits, 10, 64); err == nil && v >= 0 && string(b) == formatBegin(v) {
		return v, true, nil
	}
	return 0, false, nil
}
