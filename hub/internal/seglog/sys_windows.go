package seglog

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

func syncOpenDir(*os.File) error { return nil }

func lockFile(f *os.File) error {
	// The locked byte lies far behind the process id, which others may read.
	at := &windows.Overlapped{Offset: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errLocked
	}
	return err
}
