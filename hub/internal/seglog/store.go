package seglog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"sync"
)

// store holds the bytes of one segment.
type store interface {
	// write puts one frame (or the header) at pos, which is the end. It
	// keeps b when retains is true.
	write(pos int64, b []byte) error
	// view returns bytes from pos on: a whole frame or more if want covers
	// it, never past limit. A file reads into buf, memory returns its own.
	view(pos int64, want int, limit int64, buf []byte) ([]byte, error)
	truncate(size int64) error
	sync() error
	close() error
}

// fileStore is a segment on disk.
type fileStore struct{ f File }

func (s *fileStore) write(pos int64, b []byte) error {
	_, err := s.f.WriteAt(b, pos)
	return err
}

func (s *fileStore) view(pos int64, want int, limit int64, buf []byte) ([]byte, error) {
	n := int(min(int64(want), limit-pos))
	if n <= 0 {
		return nil, nil
	}
	buf = slices.Grow(buf[:0], n)[:n]
	m, err := s.f.ReadAt(buf, pos)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf[:m], err
}

func (s *fileStore) truncate(size int64) error { return s.f.Truncate(size) }
func (s *fileStore) sync() error               { return s.f.Sync() }
func (s *fileStore) close() error              { return s.f.Close() }

// memStore is a segment in memory: a list of frames that are never changed,
// so that readers can use them without a copy.
type memStore struct {
	mu     sync.RWMutex
	frames []memFrame
}

type memFrame struct {
	pos  int64
	data []byte
}

func (s *memStore) write(pos int64, b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.frames = append(s.frames, memFrame{pos, b})
	return nil
}

func (s *memStore) view(pos int64, _ int, limit int64, _ []byte) ([]byte, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if pos >= limit {
		return nil, nil
	}
	i := sort.Search(len(s.frames), func(i int) bool { return s.frames[i].pos >= pos })
	if i == len(s.frames) || s.frames[i].pos != pos {
		return nil, fmt.Errorf("no batch at byte %d of a segment in memory", pos)
	}
	return s.frames[i].data, nil
}

func (s *memStore) truncate(size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := sort.Search(len(s.frames), func(i int) bool { return s.frames[i].pos >= size })
	s.frames = slices.Clip(s.frames[:i])
	return nil
}

func (s *memStore) sync() error  { return nil }
func (s *memStore) close() error { return nil }

// syncDir makes names in a folder durable. Systems that cannot sync a folder
// (Windows) make them so by themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = syncOpenDir(d)
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
