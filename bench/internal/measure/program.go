package measure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Build builds the hubferry that is measured in a folder, and returns its path.
func Build(ctx context.Context, dir string) (string, error) {
	program := filepath.Join(dir, "hubferry")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/hubferry/hubferry/cmd/hubferry") //nolint:gosec // our own program
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build hubferry: %w\n%s", err, out)
	}
	return program, nil
}

// Program is a running program that is measured.
type Program struct {
	PID   int
	Ended <-chan struct{} // closed when it has ended
	Stop  func() error    // as an operator does
	Log   func() string   // what it has written to its standard error
}

// Start starts a program that ends in good order at a SIGTERM, which it also gets when the
// context of the command ends.
func Start(cmd *exec.Cmd) (*Program, error) {
	log := &buffer{}
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
	stop := func() error {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		select {
		case <-ended:
			return nil
		case <-time.After(time.Minute):
			return errors.Join(errors.New("the program does not stop"), cmd.Process.Kill())
		}
	}
	return &Program{PID: cmd.Process.Pid, Ended: ended, Stop: stop, Log: log.String}, nil
}

// buffer keeps what a program logs.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Machine says what figures were measured on.
func Machine() map[string]string {
	m := map[string]string{"cpus": strconv.Itoa(runtime.NumCPU()), "go": runtime.Version(), "time": time.Now().UTC().Format(time.RFC3339)}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		m["load"] = strings.TrimSpace(string(text))
	}
	return m
}
