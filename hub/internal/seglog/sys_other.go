//go:build !linux && !darwin && !freebsd && !netbsd && !openbsd && !dragonfly && !windows

package seglog

import "os"

func syncOpenDir(*os.File) error { return nil }

func lockFile(*os.File) error { return nil }
