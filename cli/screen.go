package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"
)

// screen shows a block of lines that is redrawn in place, with log lines scrolling by
// above it. On anything but a terminal it shows the log lines only. Its methods may be
// called by several goroutines at once.
type screen struct {
	terminal bool
	size     func() (width, height int) // 0: unknown

	mu    sync.Mutex
	w     io.Writer
	block []string
}

// newScreen returns a screen on w, which is redrawn if it is a terminal.
func newScreen(w io.Writer, terminal bool) *screen {
	return &screen{w: w, terminal: terminal, size: func() (int, int) {
		f, ok := w.(*os.File)
		if !ok {
			return 0, 0
		}
		width, height, err := term.GetSize(int(f.Fd()))
		if err != nil {
			return 0, 0
		}
		return width, height
	}}
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
	s.block = s.fit(lines)
	s.draw(&out)
	_, _ = s.w.Write(out.Bytes()) // a terminal that is gone is no reason to stop
}

// keep leaves the block where it is: what follows is written below it.
func (s *screen) keep() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.block = nil
}

// fit cuts what the window has no room for: a line that wraps, or one that has scrolled
// away, could not be erased again.
func (s *screen) fit(lines []string) []string {
	width, height := s.size()
	if room := height - 1; height > 1 && len(lines) > room {
		more := fmt.Sprintf("... %d more lines", len(lines)-room+1)
		lines = append(append([]string{}, lines[:room-1]...), more)
	}
	fitted := make([]string, len(lines))
	for i, line := range lines {
		if text := []rune(line); width > 0 && len(text) > width {
			line = string(text[:width])
		}
		fitted[i] = line
	}
	return fitted
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
