package e2e

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/porttest"
)

// program is the path of the hubferry executable, built once for all tests.
var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hubferry-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		program = filepath.Join(dir, "hubferry")
		args := []string{"build", "-o", program}
		if raceEnabled {
			args = append(args, "-race")
		}
		build := exec.CommandContext(context.Background(), "go", append(args, "github.com/hubferry/hubferry/cmd/hubferry")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build hubferry: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// process is a running hubferry.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	exit chan error
	// ended is closed when it has, and all that it wrote was passed on.
	ended chan struct{}
	log   *logBuffer
}

// spawn starts hubferry with these arguments; stdout gets its standard output.
func spawn(t *testing.T, stdout io.Writer, args ...string) *process {
	t.Helper()
	return spawnProgram(t, program, stdout, args...)
}

// spawnProgram is spawn for another build of hubferry.
func spawnProgram(t *testing.T, name string, stdout io.Writer, args ...string) *process {
	t.Helper()
	p := &process{t: t, exit: make(chan error, 1), ended: make(chan struct{}), log: &logBuffer{}}
	p.cmd = exec.CommandContext(t.Context(), name, args...)
	p.cmd.Stdout, p.cmd.Stderr = stdout, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.exit <- p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("hubferry %s:\n%s", args[0], p.log.tail(40))
		}
	})
	return p
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.wait() // what is killed ends with an error
}

// stop asks it to stop and fails the test unless it does so in good order.
func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.wait(); err != nil {
		p.t.Errorf("the process did not stop cleanly: %v\n%s", err, p.log.tail(20))
	}
}

// wait returns how it ended.
func (p *process) wait() error {
	select {
	case err := <-p.exit:
		p.exit <- err
		return err
	case <-time.After(3 * time.Minute):
		p.t.Fatal("the process did not end within three minutes")
		return nil
	}
}

// logBuffer keeps what a process writes.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) tail(n int) string {
	lines := strings.Split(b.String(), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// hubs is a hubferry hub with the namespaces west and east, which can be killed and comes
// back on the same ports with the same data.
type hubs struct {
	*process
	args       []string
	ports      [2]string
	west, east string // connection strings
	// clients are the AMQP clients of the two connections; "" is the default.
	clients [2]string
}

// startHubs starts the hub. Each entry describes a hub as the --hub flag does.
func startHubs(t *testing.T, list ...string) *hubs {
	t.Helper()
	h := &hubs{}
	h.args = []string{"hub", "--data", t.TempDir()}
	for i, name := range []string{"west", "east"} {
		h.ports[i] = freePort(t)
		h.args = append(h.args, "--namespace", name+"="+h.ports[i])
	}
	for _, one := range list {
		h.args = append(h.args, "--hub", one)
	}
	h.start(t)
	return h
}

// start starts it, or starts it again, and waits until it listens.
func (h *hubs) start(t *testing.T) {
	t.Helper()
	r, w := io.Pipe()
	h.process = spawn(t, w, h.args...)
	lines := make(chan string, 2)
	go func() {
		for s := bufio.NewScanner(r); s.Scan(); {
			if _, text, ok := strings.Cut(s.Text(), "Endpoint="); ok {
				lines <- "Endpoint=" + text
			}
		}
	}()
	for _, to := range []*string{&h.west, &h.east} {
		select {
		case *to = <-lines:
		case err := <-h.exit:
			t.Fatalf("the hub ended: %v\n%s", err, h.log.tail(20))
		case <-time.After(2 * time.Minute):
			t.Fatalf("the hub is not ready after two minutes\n%s", h.log.tail(20))
		}
	}
}

// place returns the canonical name of a hub of west, as repl-source has it.
func (h *hubs) place(hub string) string { return h.ports[0] + "/" + hub }

// freePort returns a loopback address whose port is free, and stays so while the hub is down.
func freePort(t *testing.T) string {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", port)
}

// writeConfig writes a configuration with both connections and what follows. Where a test
// does not choose the AMQP clients, HUBFERRY_TEST_CLIENT=go-amqp does.
func (h *hubs) writeConfig(t *testing.T, rest string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hubferry.yaml")
	var client [2]string
	for i := range client {
		if name := cmp.Or(h.clients[i], os.Getenv("HUBFERRY_TEST_CLIENT")); name != "" {
			client[i] = ", client: " + name
		}
	}
	text := fmt.Sprintf(`version: 1
connections:
  west: { eventhubs: { connectionString: "%s"%s } }
  east: { eventhubs: { connectionString: "%s"%s } }
%s`, h.west, client[0], h.east, client[1], rest)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// status is a line that hubferry run prints to a pipe.
type status struct {
	Task       string `json:"task"`
	State      string `json:"state"`
	Error      string `json:"error"`
	Partitions int    `json:"partitions"`
	Moved      int    `json:"moved"`
	Lag        int    `json:"lag"`

	Retries        int `json:"retries"`
	Found          int `json:"found"`
	DuplicatesSeen int `json:"duplicatesSeen"`
	Unproven       int `json:"unproven"`
}

// runner is a hubferry run whose status lines are watched.
type runner struct {
	*process
	read chan struct{} // closed when all that it wrote is read
	mu   sync.Mutex
	last map[string]status
}

// startRun starts hubferry run.
func startRun(t *testing.T, config string) *runner {
	t.Helper()
	return startRunOf(t, program, config)
}

// startRunOf is startRun for another build of hubferry.
func startRunOf(t *testing.T, name, config string) *runner {
	t.Helper()
	r, w := io.Pipe()
	x := &runner{process: spawnProgram(t, name, w, "run", "--config", config, "--every", "200ms"), read: make(chan struct{}), last: map[string]status{}}
	go func() {
		<-x.process.ended
		_ = w.Close() // all of it was passed on
	}()
	go func() {
		defer close(x.read)
		for d := json.NewDecoder(r); ; {
			var s status
			if d.Decode(&s) != nil {
				return
			}
			x.mu.Lock()
			x.last[s.Task] = s
			x.mu.Unlock()
		}
	}()
	return x
}

// status returns the newest line of a task.
func (x *runner) status(task string) status {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last[task]
}

// final stops the process and returns the last lines of its tasks.
func (x *runner) final() map[string]status {
	x.t.Helper()
	x.stop()
	<-x.read
	return x.last
}

// moved returns how many events all tasks have moved.
func (x *runner) moved() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	n := 0
	for _, s := range x.last {
		n += s.Moved
	}
	return n
}

// eventually waits until a condition holds.
func eventually(t *testing.T, within time.Duration, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !holds(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", within, what)
		}
	}
}
