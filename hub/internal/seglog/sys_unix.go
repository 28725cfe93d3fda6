//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package seglog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

func syncOpenDir(d *os.File) error { return d.Sync() }

func lockFile(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errLocked
	}
	return err
}
