package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// client is one SDK that answers the protocol of doc.go.
type client interface {
	// name is the client's row in the table, such as "python-aio".
	name() string
	// call answers one request; an *sdkError is the SDK's own, any other error is the harness's.
	call(ctx context.Context, r request) (response, error)
	close() error
}

// process is a client program of another language. Calls may run at once.
type process struct {
	label  string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stderr *tail

	mu      sync.Mutex
	next    int
	waiting map[int]chan response
	dead    chan struct{} // closed when stdout ends
}

// installed asks the set-up script where the clients of other languages are, by name.
// Where the script cannot run there are none.
func installed(root string) (map[string]string, error) {
	out, err := exec.Command("bash", filepath.Join(root, "scripts", "setup-interop.sh"), "--where").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask setup-interop.sh where the clients are: %w", err)
	}
	where := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		if name, path, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			where[name] = path
		}
	}
	return where, nil
}

// command is the program of one client; ok is false when its set-up is absent.
func command(label, root string, where map[string]string, ca string) (cmd *exec.Cmd, ok bool) {
	programs := filepath.Join(root, "interop", "clients")
	language, variant, _ := strings.Cut(label, "-")
	dir, ok := where[language]
	if !ok {
		return nil, false
	}
	switch language {
	case "python":
		cmd = exec.Command(dir, filepath.Join(programs, "python", "main.py"))
		if variant == "aio" {
			cmd.Args = append(cmd.Args, "--aio")
		}
		cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	case "js":
		cmd = exec.Command("node", filepath.Join(programs, "js", "main.js"))
		cmd.Env = append(os.Environ(), "NODE_PATH="+dir, "NODE_EXTRA_CA_CERTS="+ca)
	case "java":
		classes := filepath.Join(dir, "classes") + string(filepath.ListSeparator) + filepath.Join(dir, "libs", "*")
		cmd = exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "-cp", classes, "interop.Main")
		cmd.Env = append(os.Environ(), "HUBFERRY_INTEROP_CA="+ca)
	}
	return cmd, true
}

// start runs a client program.
func start(label string, cmd *exec.Cmd) (*process, error) {
	p := &process{label: label, cmd: cmd, stderr: &tail{}, waiting: make(map[int]chan response), dead: make(chan struct{})}
	cmd.Stderr = p.stderr
	var err error
	if p.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s client: %w", label, err)
	}
	go p.receive(stdout)
	return p, nil
}

func (p *process) name() string { return p.label }

func (p *process) receive(stdout io.Reader) {
	defer close(p.dead)
	lines := bufio.NewReaderSize(stdout, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var r response
		if err := json.Unmarshal(line, &r); err != nil {
			r.Error = &sdkError{Class: "protocol", Text: fmt.Sprintf("%v in %.300s", err, line)}
		}
		p.mu.Lock()
		if waiting, ok := p.waiting[r.ID]; ok {
			delete(p.waiting, r.ID)
			waiting <- r
		}
		p.mu.Unlock()
	}
}

func (p *process) call(ctx context.Context, r request) (response, error) {
	answer := make(chan response, 1)
	p.mu.Lock()
	p.next++
	r.ID = p.next
	p.waiting[r.ID] = answer
	line, err := json.Marshal(r)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return response{}, fmt.Errorf("ask the %s client to %s: %w", p.label, r.Op, err)
	}
	select {
	case got := <-answer:
		if got.Error != nil {
			return got, got.Error
		}
		return got, nil
	case <-p.dead:
		return response{}, fmt.Errorf("the %s client ended during %s; its last words:\n%s", p.label, r.Op, p.stderr)
	case <-ctx.Done():
		return response{}, fmt.Errorf("the %s client did not answer %s: %w; its last words:\n%s", p.label, r.Op, ctx.Err(), p.stderr)
	}
}

// close ends the program, by force if its stdin's end is not enough.
func (p *process) close() error {
	err := p.stdin.Close()
	select {
	case <-p.dead:
	case <-time.After(5 * time.Second):
		err = errors.Join(err, p.cmd.Process.Kill())
		<-p.dead
	}
	var exit *exec.ExitError
	if waitErr := p.cmd.Wait(); waitErr != nil && !errors.As(waitErr, &exit) {
		err = errors.Join(err, waitErr)
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 8 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = bytes.Clone(t.buf[over:])
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}
