package seglog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// lockName is the file that is locked. It stays when the lock is released: to
// remove it would let two processes lock two files.
const lockName = "LOCK"

// DirLock is the hold of a process on a data folder.
type DirLock struct{ f *os.File }

// LockedError says that somebody else holds a data folder.
type LockedError struct {
	// Dir is the folder.
	Dir string
	// PID is the process that holds it, 0 if unknown.
	PID int
}

func (e *LockedError) Error() string {
	by := "another process"
	if e.PID != 0 {
		by = fmt.Sprintf("process %d", e.PID)
	}
	return fmt.Sprintf("data folder %s is in use by %s; stop it, or choose another folder", e.Dir, by)
}

// LockDir takes a data folder, which it creates if need be, for this process.
// The system releases it when the process ends, however it ends. The error is
// a *LockedError if somebody holds the folder.
func LockDir(dir string) (*DirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data folder: %w", err)
	}
	if err := lockFile(f); err != nil {
		held := &LockedError{Dir: dir}
		if b, rerr := os.ReadFile(path); rerr == nil {
			if pid, perr := strconv.Atoi(strings.TrimSpace(string(b))); perr == nil {
				held.PID = pid
			}
		}
		_ = f.Close()
		if errors.Is(err, errLocked) {
			return nil, held
		}
		return nil, fmt.Errorf("lock data folder %s: %w", dir, err)
	}
	// The process id is for people; a full disk must not stop the start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(strconv.AppendInt(nil, int64(os.Getpid()), 10), 0)
	}
	return &DirLock{f}, nil
}

// Close releases the folder.
func (l *DirLock) Close() error { return l.f.Close() }

var errLocked = errors.New("locked")
