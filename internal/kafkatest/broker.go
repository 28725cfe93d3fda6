package kafkatest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hubferry/hubferry/internal/porttest"
)

// startTimeout is generous: on a loaded machine a JVM needs its time.
const startTimeout = 10 * time.Minute

// Options say what sort of broker is wanted. The zero value fits functional tests.
type Options struct {
	// Heap is the JVM's heap, minimum and maximum, as in -Xmx. Default "512m".
	Heap string
	// JVM are further arguments of the JVM. The default is a small, quick start
	// (-XX:+UseSerialGC -XX:TieredStopAtLevel=1); measurements want []string{}.
	JVM []string
	// Properties are added to the broker's, or replace them.
	Properties map[string]string
}

// Broker is a process that is a cluster. Its methods may be called by one goroutine at a
// time; the addresses by any.
type Broker struct {
	options  Options
	dir      string
	jars     string
	identity *identity
	ports    map[string]int

	mu      sync.Mutex
	process *process // nil while stopped
}

// Launch starts a broker with an empty log and waits until it is ready. Who launches it
// calls Remove. The broker ends with this process, whatever becomes of it.
func Launch(ctx context.Context, o Options) (*Broker, error) {
	jars, err := Jars(ctx)
	if err != nil {
		return nil, err
	}
	if o.Heap == "" {
		o.Heap = "512m"
	}
	if o.JVM == nil {
		o.JVM = []string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}
	}
	b := &Broker{options: o, jars: jars}
	if b.dir, err = os.MkdirTemp("", "kafkatest-"); err != nil {
		return nil, err
	}
	if err := b.prepare(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(b.dir))
	}
	if err := b.Start(ctx); err != nil {
		err = fmt.Errorf("%w; the end of its log:\n%s", err, b.tail())
		return nil, errors.Join(err, b.Remove())
	}
	return b, nil
}

// Jars returns the folder of the jars of Kafka and MirrorMaker 2 that scripts/setup-kafka.sh
// has brought.
func Jars(ctx context.Context) (string, error) {
	_ = os.Getenv("HUBFERRY_KAFKA") // the script does; so results for another version are not taken from go test's cache
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("find the root of the module: %w", err)
	}
	script := filepath.Join(filepath.Dir(strings.TrimSpace(string(out))), "scripts", "setup-kafka.sh")
	out, err = exec.CommandContext(ctx, "bash", script, "--where").Output() //nolint:gosec // the script of this repository
	if err != nil {
		return "", fmt.Errorf("ask setup-kafka.sh where Kafka is: %w", err)
	}
	jars, ok := strings.CutPrefix(strings.TrimSpace(string(out)), "libs=")
	if !ok {
		return "", errors.New("the jars of Apache Kafka are missing: run make setup")
	}
	return jars, nil
}

// prepare chooses ports, makes keys, and formats the log.
func (b *Broker) prepare(ctx context.Context) error {
	var err error
	if b.identity, err = newIdentity(); err != nil {
		return err
	}
	if b.ports, err = freePorts(listeners...); err != nil {
		return err
	}
	if err := os.WriteFile(b.file("log4j.properties"), []byte(log4j), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(b.file("server.properties"), b.properties(), 0o600); err != nil {
		return err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	id[0] &= 0x7f           // the tool takes what begins with a hyphen for an option
	args := []string{"format", "-c", b.file("server.properties"), "-t", base64.RawURLEncoding.EncodeToString(id[:])}
	for _, user := range []string{User, Guest} {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, user, Password))
		}
	}
	_, err = b.Tool(ctx, "kafka.tools.StorageTool", args...)
	return err
}

// freePorts chooses ports that nobody listens on, one for each name.
func freePorts(names ...string) (map[string]int, error) {
	ports := map[string]int{}
	for _, name := range names {
		var err error
		if ports[name], err = porttest.Free(); err != nil {
			return nil, err
		}
	}
	return ports, nil
}

// Tool runs a Java class of Kafka's jars, such as kafka.admin.ConfigCommand or
// org.apache.kafka.tools.GetOffsetShell, and returns what it prints.
func (b *Broker) Tool(ctx context.Context, class string, args ...string) (string, error) {
	args = append([]string{"-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j.configuration=file:" + b.file("log4j.properties"), "-cp", filepath.Join(b.jars, "*"), class}, args...)
	cmd := exec.CommandContext(ctx, "java", args...) //nolint:gosec // a test's own command
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("run %s: %w\n%s%s", class, err, out, &stderr)
	}
	return string(out), nil
}

// Dir is where the broker keeps its log and its settings. Remove removes it.
func (b *Broker) Dir() string { return b.dir }

func (b *Broker) file(name string) string { return filepath.Join(b.dir, name) }

// Start starts a broker that was stopped or killed, with the same data and ports, and
// waits until it is ready.
func (b *Broker) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil {
		return errors.New("start a broker that runs")
	}
	args := append([]string{"-Xms" + b.options.Heap, "-Xmx" + b.options.Heap}, b.options.JVM...)
	args = append(args, "-Dlog4j.configuration=file:"+b.file("log4j.properties"), "-cp", filepath.Join(b.jars, "*"), "kafka.Kafka", b.file("server.properties"))
	p, err := run(ctx, b.file("broker.log"), args)
	if err != nil {
		return fmt.Errorf("start a broker: %w", err)
	}
	b.process = p
	return p.ready(ctx)
}

// Stop ends the broker as an operator does, and waits until it has.
func (b *Broker) Stop() error { return b.finish(syscall.SIGTERM) }

// Kill ends the broker as a power failure of its process does.
func (b *Broker) Kill() error { return b.finish(syscall.SIGKILL) }

func (b *Broker) finish(s syscall.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return nil
	}
	p := b.process
	b.process = nil
	return p.end(s)
}

// Pause makes the broker stop answering, until Resume. The signal alone would return while
// threads of the broker still run, so it waits until the kernel calls them stopped.
func (b *Broker) Pause() error {
	if err := b.signal(pause); err != nil {
		return err
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.PID()))
		if err != nil || bytes.Contains(text, []byte("State:\tT")) {
			return nil //nolint:nilerr // there is no such file but on Linux
		}
		<-time.After(time.Millisecond)
	}
	return errors.New("the broker did not stop")
}

// Resume ends a Pause.
func (b *Broker) Resume() error { return b.signal(resume) }

func (b *Broker) signal(s os.Signal) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return errors.New("the broker does not run")
	}
	return b.process.cmd.Process.Signal(s)
}

// Remove kills the broker and removes its data.
func (b *Broker) Remove() error { return errors.Join(b.Kill(), os.RemoveAll(b.dir)) }

// PID is the process id of the running broker, or 0.
func (b *Broker) PID() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil {
		return 0
	}
	return b.process.cmd.Process.Pid
}

// tail returns the end of the broker's log.
func (b *Broker) tail() string {
	const most = 4 << 10
	text, err := os.ReadFile(b.file("broker.log"))
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}

// process is one run of a JVM.
type process struct {
	cmd  *exec.Cmd
	log  string
	from int64         // where this run begins in the log
	done chan struct{} // closed when the process has ended
	// guard kills the process when we end in whatever way: it waits for the end of
	// lifeline, its standard input.
	guard    *exec.Cmd
	lifeline io.Closer
}

func run(ctx context.Context, log string, args []string) (*process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // the process has its own handle
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	p := &process{log: log, from: info.Size(), done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx)                  // it lives until end
	p.cmd = exec.CommandContext(ctx, "java", args...) //nolint:gosec // a test's own command
	p.cmd.Stdout, p.cmd.Stderr = file, file
	p.cmd.SysProcAttr = alone() // a Ctrl-C at the terminal is for the tests, which then end it
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // however it ends is fine
		close(p.done)
	}()
	p.guard = exec.CommandContext(ctx, "sh", "-c", `read -r _; kill -9 "$1"`, "sh", strconv.Itoa(p.cmd.Process.Pid)) //nolint:gosec // a number
	p.guard.SysProcAttr = alone()
	p.lifeline, err = p.guard.StdinPipe()
	if err == nil {
		err = p.guard.Start()
	}
	if err != nil {
		return nil, errors.Join(err, p.cmd.Process.Kill())
	}
	return p, nil
}

// ready waits until the broker says that it has started.
func (p *process) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(p.log)
		if err != nil {
			return err
		}
		if bytes.Contains(text[p.from:], []byte("Kafka Server started")) {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("the broker has ended")
		case <-ctx.Done():
			return fmt.Errorf("wait for the broker: %w", ctx.Err())
		case <-tick.C:
		}
	}
}

func (p *process) end(s syscall.Signal) error {
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		err = errors.Join(err, fmt.Errorf("the broker did not end after %v", s), p.cmd.Process.Kill())
		<-p.done
	}
	// The guard must not kill who has the number next.
	err = errors.Join(err, p.guard.Process.Kill())
	_ = p.guard.Wait() // it was killed
	return errors.Join(err, ignoreClosed(p.lifeline.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
