package seglog

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
)

// An index file is magic[8] then the numbers of a segment, 8 bytes each (see
// summary), a checksum[4], the number of entries[4], the entries (32 bytes
// each) and their checksum[4].
const (
	indexMagic   = "HFINDX\x00\x01"
	summaryCount = 11
	summaryBytes = 8 + summaryCount*8 + 4
)

// What a segment was when its index was written.
const (
	isCompacted = 1
	isSealed    = 2 // there is a segment behind it
)

func (s *segment) summary(sealed bool) [summaryCount]int64 {
	kind := int64(0)
	if s.compacted {
		kind |= isCompacted
	}
	if sealed {
		kind |= isSealed
	}
	return [summaryCount]int64{
		s.base, s.end, kind, s.floor.nextOffset, s.floor.lastOffset, s.floor.time,
		s.last.nextOffset, s.last.lastOffset, s.last.time, s.records, s.size,
	}
}

// saveIndex writes the index file of a segment whose end is set; sealed says
// whether there is a segment behind it. It is not synced: an index that does
// not fit is not used.
func (s *segment) saveIndex(sealed bool) error {
	if s.path == "" {
		return nil
	}
	le := binary.LittleEndian
	b := []byte(indexMagic)
	for _, v := range s.summary(sealed) {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint32(b, crc32.Checksum(b, castagnoli))
	s.mu.Lock()
	entries := s.index
	s.mu.Unlock()
	b = le.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		for _, v := range [4]int64{e.seq, e.offset, e.time, e.pos} {
			b = le.AppendUint64(b, uint64(v))
		}
	}
	b = le.AppendUint32(b, crc32.Checksum(b[summaryBytes:], castagnoli))
	return WriteFile(s.indexPath(), b, false)
}

var errNoIndex = errors.New("no usable index")

// loadSummary reads the numbers of a segment from its index file, and says
// whether there was a segment behind it.
func (s *segment) loadSummary() (sealed bool, err error) {
	f, err := os.Open(s.indexPath())
	if err != nil {
		return false, errNoIndex
	}
	defer f.Close() //nolint:errcheck // only read
	b := make([]byte, summaryBytes)
	if n, _ := f.ReadAt(b, 0); n < len(b) {
		return false, errNoIndex
	}
	le := binary.LittleEndian
	if string(b[:8]) != indexMagic || le.Uint32(b[summaryBytes-4:]) != crc32.Checksum(b[:summaryBytes-4], castagnoli) {
		return false, errNoIndex
	}
	var v [summaryCount]int64
	for i := range v {
		v[i] = int64(le.Uint64(b[8+8*i:]))
	}
	floor, last := mark{v[3], v[4], v[5]}, mark{v[6], v[7], v[8]}
	if v[0] != s.base || (v[2]&isCompacted != 0) != s.compacted || floor != s.floor || s.compacted && (v[1] != s.end || last != s.last) {
		return false, errNoIndex
	}
	s.end, s.last, s.records, s.size = v[1], last, v[9], v[10]
	return v[2]&isSealed != 0, nil
}

// loadIndex reads the entries of a sealed segment. Without a usable file the
// segment is read through and the file written anew.
func (s *segment) loadIndex(o *Options) error {
	s.mu.Lock()
	loaded := s.index != nil
	s.mu.Unlock()
	if loaded || s.path == "" {
		return nil
	}
	entries, err := readEntries(s.indexPath(), s.size)
	if err == nil {
		s.mu.Lock()
		s.index = entries
		s.mu.Unlock()
		return nil
	}
	fresh := &segment{path: s.path, base: s.base}
	sc, err := scanSegment(o, fresh, true)
	if err != nil {
		return err
	}
	if sc.end != s.end || fresh.size != s.size {
		return &DamageError{File: s.path, Offset: fresh.size, Sequence: sc.end, Reason: "the segment is not what it was"}
	}
	fresh.end = s.end
	s.mu.Lock()
	s.index = fresh.index
	s.mu.Unlock()
	// Only an acceleration: a full disk must not stop readers.
	_ = fresh.saveIndex(true)
	return nil
}

func readEntries(path string, size int64) ([]entry, error) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) < summaryBytes+8 {
		return nil, errNoIndex
	}
	le := binary.LittleEndian
	b = b[summaryBytes:]
	n := int(le.Uint32(b))
	if len(b) != 4+32*n+4 || le.Uint32(b[len(b)-4:]) != crc32.Checksum(b[:len(b)-4], castagnoli) {
		return nil, errNoIndex
	}
	entries := make([]entry, n)
	for i := range entries {
		p := b[4+32*i:]
		entries[i] = entry{int64(le.Uint64(p)), int64(le.Uint64(p[8:])), int64(le.Uint64(p[16:])), int64(le.Uint64(p[24:]))}
		if entries[i].pos < segmentHead || entries[i].pos >= size {
			return nil, errNoIndex
		}
	}
	return entries, nil
}

// WriteFile replaces a file as a whole: who opens it sees the old or the new
// content. If durable is true the new one survives a loss of power when
// WriteFile returns.
func WriteFile(path string, b []byte, durable bool) error {
	f, err := os.OpenFile(path+tempSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil && durable {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(path+tempSuffix, path)
	}
	if err != nil {
		_ = os.Remove(path + tempSuffix)
		return err
	}
	if durable {
		return syncDir(filepath.Dir(path))
	}
	return nil
}
