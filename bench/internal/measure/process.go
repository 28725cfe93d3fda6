package measure

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ticks is the number of clock ticks in a second of /proc/PID/stat (USER_HZ): 100 on
// every architecture that Go runs on.
const ticks = 100

// Usage is what a process has used since it began.
type Usage struct {
	CPU  time.Duration // user and system, of all threads; a tick of 10 ms is the resolution
	Peak int64         // bytes: the most that was resident at one time
}

// UsageOf reads what a process has used from /proc, which Linux has.
func UsageOf(pid int) (Usage, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Usage{}, err
	}
	return parseUsage(stat, status)
}

// Usages is what a program has used, and the CPU time of processes beside it.
type Usages struct {
	Own    Usage
	Beside time.Duration
}

// UsagesOf reads what a program and those beside it have used.
func UsagesOf(pid int, beside ...int) (Usages, error) {
	own, err := UsageOf(pid)
	all := Usages{Own: own}
	for _, other := range beside {
		u, cause := UsageOf(other)
		all.Beside += u.CPU
		err = errors.Join(err, cause)
	}
	return all, err
}

// parseUsage reads what proc(5) describes.
func parseUsage(stat, status []byte) (Usage, error) {
	var u Usage
	// The second field is the name in brackets, and may hold anything.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 14 - 3, 15 - 3
	if len(fields) <= system {
		return u, fmt.Errorf("/proc/PID/stat has %d fields", len(fields))
	}
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			return u, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		u.CPU += time.Duration(n) * time.Second / ticks
	}
	_, rest, ok := strings.Cut(string(status), "VmHWM:")
	if !ok {
		return u, fmt.Errorf("/proc/PID/status has no VmHWM: the process has ended")
	}
	if _, err := fmt.Sscanf(rest, "%d kB", &u.Peak); err != nil {
		return u, fmt.Errorf("/proc/PID/status: VmHWM: %w", err)
	}
	u.Peak *= 1024
	return u, nil
}
