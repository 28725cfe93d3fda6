package amqpclient

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/porttest"
)

// TestBrokers talks to brokers whose AMQP is of other makers: transfers in many frames both
// ways, settlement by either side, little credit, a pause in which both must be heard, a link
// that is refused, and the ends of everything.
func TestBrokers(t *testing.T) {
	for _, name := range []string{"Artemis", "Qpid"} {
		t.Run(name, func(t *testing.T) { testBroker(t, startBroker(t, name), refuseSelector) })
	}
	t.Run("RabbitMQ", func(t *testing.T) { testBroker(t, startRabbitMQ(t), refuseAddress) })
}

// refuseSelector asks for a link with a selector that is none.
func refuseSelector(ctx context.Context, t *testing.T, s *Session) {
	_, err := s.NewReceiver(ctx, ReceiverOptions{Name: "refused", Address: "queue", Filter: amqp.Map{{
		Key:   amqp.Symbol("apache.org:selector-filter:string"),
		Value: amqp.Described{Descriptor: uint64(0x468C00000004), Value: "((("},
	}}})
	if e := endOf(t, err); e.What != "link" || e.Remote == nil || e.Remote.Condition != amqp.ErrInvalidField {
		t.Errorf("a selector that is none: %v", err)
	}
}

// refuseAddress asks a broker that knows no selectors for a link to an address that is none.
// RabbitMQ ends the session for it.
func refuseAddress(ctx context.Context, t *testing.T, s *Session) {
	other, err := s.c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.NewReceiver(ctx, ReceiverOptions{Name: "refused", Address: "/nonsense/of/no/kind"})
	if e := endOf(t, err); e.Remote == nil || e.What == "connection" {
		t.Errorf("an address that is none: %v", err)
	}
}

// rabbitMQ is where Debian puts it; the rabbitmq-server of its PATH would change the user.
const rabbitMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"

// startRabbitMQ starts the broker of the Debian package rabbitmq-server, whose AMQP 1.0 is a
// plugin that belongs to it, with everything it writes in a folder of the test's.
func startRabbitMQ(t *testing.T) string {
	t.Helper()
	if os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip("needs a broker: set HUBFERRY_INTEROP=1")
	}
	if _, err := os.Stat(rabbitMQ); err != nil {
		t.Skip("needs RabbitMQ: apt-get install rabbitmq-server (its service need not run)")
	}
	ports := make([]string, 3) // of AMQP, of Erlang, and of Erlang's port mapper
	for i := range ports {
		number, err := porttest.Free()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = strconv.Itoa(number)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "plugins"), []byte("[rabbitmq_amqp1_0]."), 0o600); err != nil {
		t.Fatal(err)
	}
	mapper := []string{"ERL_EPMD_PORT=" + ports[2], "ERL_EPMD_ADDRESS=127.0.0.1"}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), rabbitMQ)
	cmd.Env = append(mapper, "PATH="+os.Getenv("PATH"), "HOME="+dir,
		"RABBITMQ_ALLOW_INPUT=1", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput", // a process of one piece, without a console
		"RABBITMQ_NODENAME=test"+ports[0]+"@localhost", "RABBITMQ_NODE_IP_ADDRESS=127.0.0.1",
		"RABBITMQ_NODE_PORT="+ports[0], "RABBITMQ_DIST_PORT="+ports[1],
		"RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "plugins"),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "none"), "RABBITMQ_CONF_ENV_FILE="+filepath.Join(dir, "none.sh"),
		"RABBITMQ_GENERATED_CONFIG_DIR="+dir, "RABBITMQ_FEATURE_FLAGS_FILE="+filepath.Join(dir, "flags"),
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	drained := make(chan struct{})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		_ = cmd.Wait()
		kill := exec.CommandContext(context.WithoutCancel(t.Context()), "epmd", "-kill")
		kill.Env = append(mapper, "PATH="+os.Getenv("PATH"))
		if text, err := kill.CombinedOutput(); err != nil {
			t.Logf("epmd: %v: %s", err, text)
		}
	})
	started := make(chan bool, 1)
	go func() {
		defer close(drained)
		defer close(started)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log.WriteString(lines.Text() + "\n")
			if strings.Contains(lines.Text(), "Server startup complete") {
				started <- true
			}
		}
	}()
	late := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	if !<-started {
		t.Fatalf("RabbitMQ does not start:\n%s", log.String())
	}
	return net.JoinHostPort("127.0.0.1", ports[0])
}

// startBroker starts a program of testdata and returns its address.
func startBroker(t *testing.T, name string) string {
	t.Helper()
	if os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip("needs Java and two AMQP brokers: run make setup, and set HUBFERRY_INTEROP=1")
	}
	where, err := exec.CommandContext(t.Context(), "bash", "../../scripts/setup-amqp.sh", "--where").Output()
	libs, ok := strings.CutPrefix(strings.TrimSpace(string(where)), "libs=")
	if err != nil || !ok {
		t.Fatalf("the jars of the brokers are missing: run scripts/setup-amqp.sh (%v)", err)
	}
	number, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	port := strconv.Itoa(number)
	address := "127.0.0.1:" + port
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "java", "-Xmx256m", "-XX:TieredStopAtLevel=1",
		"-cp", filepath.Join(libs, "*"), filepath.Join("testdata", name+".java"), port, t.TempDir())
	var log bytes.Buffer
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	late := time.AfterFunc(5*time.Minute, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if lines.Text() == "ready" {
			return address
		}
	}
	t.Fatalf("%s does not start:\n%s", name, log.String())
	return ""
}

func testBroker(t *testing.T, address string, refuse func(ctx context.Context, t *testing.T, s *Session)) {
	ctx := within(t, 5*time.Minute)
	nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Open(ctx, nc, Options{ContainerID: "test", Hostname: "localhost", IdleTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.NewSender(ctx, SenderOptions{Name: "s", Address: "queue"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := c.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const limit = 30_000 // less than most of the messages have
	r, err := in.NewReceiver(ctx, ReceiverOptions{Name: "r", Address: "queue", Limit: limit})
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, i*i*i%100_000) }
	sent := do(func() (int, error) {
		for i := range n {
			state, _, err := l.Send(ctx, amqp.FormatMessage, amqp.AppendData(nil, body(i)))
			if err != nil || state.Code != amqp.CodeAccepted {
				return i, fmt.Errorf("%+v, %w", state, err)
			}
		}
		return n, nil
	})
	if err := r.Credit(20); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; {
		got, err := r.Receive(ctx, nil)
		if err != nil {
			t.Fatalf("after %d messages: %v", i, err)
		}
		var done int64
		for _, m := range got {
			done += int64(len(m))
			sections, err := amqp.Scan(m)
			if err != nil {
				t.Fatal(err)
			}
			d := amqp.NewDecoder(sections.Body.Of(m))
			d.Descriptor()
			if b := d.Binary(); !bytes.Equal(b, body(i)) {
				t.Fatalf("message %d has %d bytes, want %d", i, len(b), len(body(i)))
			}
			i++
		}
		r.Limit(limit, done)
		if err := r.Credit(uint32(len(got))); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := sent(); err != nil {
		t.Fatalf("send %d: %v", i, err)
	}
	time.Sleep(3 * time.Second) // longer than the time-out of one of them
	if state, _, err := l.Send(ctx, amqp.FormatMessage, amqp.AppendData(nil, []byte("after a pause"))); err != nil || state.Code != amqp.CodeAccepted {
		t.Errorf("after a pause: %+v, %v", state, err)
	}
	refuse(ctx, t, s)
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}
