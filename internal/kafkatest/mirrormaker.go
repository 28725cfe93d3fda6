package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// MirrorMakerOptions say how MirrorMaker 2 runs.
type MirrorMakerOptions struct {
	// Heap is the JVM's largest heap, as in -Xmx. Default "512m".
	Heap string
	// JVM are further arguments of the JVM, as of Options.
	JVM []string
	// Properties is the text of its configuration.
	Properties string
}

// MirrorMaker is a running MirrorMaker 2, in its dedicated mode.
type MirrorMaker struct {
	dir     string
	process *process
}

// LaunchMirrorMaker starts MirrorMaker 2. It returns at once: what it needs to begin, some
// seconds, is seen on the target. Who launches it calls Remove. It ends with this
// process, whatever becomes of it.
func LaunchMirrorMaker(ctx context.Context, o MirrorMakerOptions) (*MirrorMaker, error) {
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
	m := &MirrorMaker{}
	if m.dir, err = os.MkdirTemp("", "kafkatest-mm2-"); err != nil {
		return nil, err
	}
	err = errors.Join(
		os.WriteFile(m.file("log4j.properties"), []byte(log4j), 0o600),
		os.WriteFile(m.file("mm2.properties"), []byte(o.Properties), 0o600),
	)
	if err == nil {
		args := append([]string{"-Xmx" + o.Heap}, o.JVM...)
		args = append(args, "-Dlog4j.configuration=file:"+m.file("log4j.properties"), "-cp", filepath.Join(jars, "*"),
			"org.apache.kafka.connect.mirror.MirrorMaker", m.file("mm2.properties"))
		m.process, err = run(ctx, m.file("mm2.log"), args)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start MirrorMaker 2: %w", err), os.RemoveAll(m.dir))
	}
	return m, nil
}

func (m *MirrorMaker) file(name string) string { return filepath.Join(m.dir, name) }

// PID is its process id.
func (m *MirrorMaker) PID() int { return m.process.cmd.Process.Pid }

// Ended is closed when the process has ended.
func (m *MirrorMaker) Ended() <-chan struct{} { return m.process.done }

// Log returns what it has logged: warnings and errors.
func (m *MirrorMaker) Log() string {
	text, err := os.ReadFile(m.file("mm2.log"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// Stop ends it as an operator does.
func (m *MirrorMaker) Stop() error { return m.process.end(syscall.SIGTERM) }

// Kill ends it as kill -9 does.
func (m *MirrorMaker) Kill() error { return m.process.end(syscall.SIGKILL) }

// Remove kills it and removes its files.
func (m *MirrorMaker) Remove() error {
	var err error
	select {
	case <-m.process.done:
	default:
		err = m.Kill()
	}
	return errors.Join(err, os.RemoveAll(m.dir))
}

// StartMirrorMaker starts it for one test and kills it at the test's end.
func StartMirrorMaker(t testing.TB, o MirrorMakerOptions) *MirrorMaker {
	t.Helper()
	Require(t)
	m, err := LaunchMirrorMaker(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("MirrorMaker's log:\n%s", m.Log())
		}
		if err := m.Remove(); err != nil {
			t.Errorf("remove MirrorMaker: %v", err)
		}
	})
	return m
}
