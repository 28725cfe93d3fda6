package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
)

// screen shows a block of lines that is redrawn in place, with log lines scrolling by
// above it. On anything but a terminal it shows the log lines only. Its methods may be
// called by several goroutines at once.
type screen struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	block    []string
}

// Write prints log lines above the block.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out bytes.Buffer
	s.erase(&out)
	out.Write(p)
	s.draw(&out)
	if _, err := s.w.Write(out.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show replaces the block.
func (s *screen) show(lines []string) {
	if !s.terminal {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out bytes.Buffer
	s.erase(&out)
	s.block = lines
	s.draw(&out)
	_, _ = s.w.Write(out.Bytes()) // a terminal that is gone is no reason to stop
}

// erase moves the cursor to where the block begins and clears from there on.
func (s *screen) erase(out *bytes.Buffer) {
	if n := len(s.block); n > 0 {
		fmt.Fprintf(out, "\x1b[%dA\r\x1b[J", n)
	}
}

func (s *screen) draw(out *bytes.Buffer) {
	if len(s.block) > 0 {
		out.WriteString(strings.Join(s.block, "\n") + "\n")
	}
}
