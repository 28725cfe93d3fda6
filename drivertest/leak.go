package drivertest

import (
	"runtime"
	"strings"
	"time"
)

// goroutines returns the ids of all goroutines but the caller's, or their stacks by id.
func goroutines(stacks map[string]string) map[string]bool {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	ids := map[string]bool{}
	for i, stack := range strings.Split(string(buf), "\n\n") {
		id, _, _ := strings.Cut(strings.TrimPrefix(stack, "goroutine "), " ")
		if i == 0 {
			continue // the caller
		}
		ids[id] = true
		if stacks != nil {
			stacks[id] = stack
		}
	}
	return ids
}

// leaked returns the stacks of goroutines that are new since the case began and do not
// end within the harness's patience.
func (s *suite) leaked() []string {
	deadline := time.Now().Add(s.h.patience())
	for {
		stacks := map[string]string{}
		goroutines(stacks)
		var left []string
		for id, stack := range stacks {
			if !s.before[id] && !s.ours(stack) {
				left = append(left, stack)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		s.pause(2 * time.Millisecond)
	}
}

// ours reports whether a goroutine belongs to the test or its harness.
func (s *suite) ours(stack string) bool {
	if strings.Contains(stack, "testing.tRunner") || strings.Contains(stack, "testing.(*T).Run") ||
		strings.Contains(stack, "os/signal.") || strings.Contains(stack, "runtime.ensureSigM") {
		return true
	}
	for _, text := range s.h.Goroutines {
		if strings.Contains(stack, text) {
			return true
		}
	}
	return false
}
