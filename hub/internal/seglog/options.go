package seglog

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
)

// ErrClosed is returned by everything that is called after Close.
var ErrClosed = errors.New("seglog: closed")

// ErrBatch is in the chain of errors about a batch that can never be stored:
// empty, or larger than a segment may be.
var ErrBatch = errors.New("seglog: batch refused")

// Fsync says when a batch counts as stored.
type Fsync uint8

const (
	// FsyncInterval confirms a batch when the operating system has it and
	// leaves fsync to the owner's calls of Sync. It survives the death of
	// the process, not always a loss of power.
	FsyncInterval Fsync = iota
	// FsyncBatch confirms a batch after an fsync. Batches that arrive
	// during one fsync share the next.
	FsyncBatch
	// FsyncNever never calls fsync.
	FsyncNever
)

// ParseFsync reads "batch", "interval" or "never"; empty is FsyncInterval.
func ParseFsync(s string) (Fsync, error) {
	switch s {
	case "", "interval":
		return FsyncInterval, nil
	case "batch":
		return FsyncBatch, nil
	case "never":
		return FsyncNever, nil
	}
	return 0, fmt.Errorf("fsync policy %q: want batch, interval or never", s)
}

// File is what the log needs of a file; *os.File is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Truncate(size int64) error
	Sync() error
}

// Options configure a Log.
type Options struct {
	// Dir is the folder of this log alone; empty means memory. Who opens
	// logs must hold the folder: see LockDir.
	Dir string
	// Fsync is when a batch is confirmed; the zero value is FsyncInterval.
	Fsync Fsync
	// SegmentBytes is the size after which a new segment is begun; zero is
	// 64 MiB on disk and 4 MiB in memory. Retention frees whole segments.
	SegmentBytes int64
	// MaxBatchBytes bounds one batch as it is stored; zero is 64 MiB.
	MaxBatchBytes int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log is told what Open repaired; nil discards.
	Log *slog.Logger
	// OpenFile opens a segment; nil means os.OpenFile. Tests put faults here.
	OpenFile OpenFunc
}

// OpenFunc opens a file as os.OpenFile does.
type OpenFunc func(name string, flag int, perm os.FileMode) (File, error)

func (o Options) withDefaults() Options {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 64<<20)
	if o.Dir == "" {
		o.SegmentBytes = min(o.SegmentBytes, 4<<20)
	}
	o.MaxBatchBytes = cmp.Or(o.MaxBatchBytes, 64<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OpenFile == nil {
		o.OpenFile = func(name string, flag int, perm os.FileMode) (File, error) {
			f, err := os.OpenFile(name, flag, perm)
			if err != nil {
				return nil, err
			}
			return f, nil
		}
	}
	return o
}

// DamageError says that a segment does not hold what was confirmed once.
type DamageError struct {
	// File is the segment and Offset the place in it, in bytes.
	File   string
	Offset int64
	// Sequence is the first sequence number that may be affected.
	Sequence int64
	// Reason says what does not fit.
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("segment %s is damaged at byte %d (from sequence number %d on): %s; restore the file from a backup, or remove the hub and create it again",
		e.File, e.Offset, e.Sequence, e.Reason)
}
