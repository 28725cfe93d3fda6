package interop

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub"
)

// The rules of the namespace under test.
const (
	rootRule, rootKey     = "RootManageSharedAccessKey", "cm9vdCBrZXkgb2YgdGhlIHRlc3Rz"
	listenRule, listenKey = "listen", "bGlzdGVuIGtleQ=="
	sendRule, sendKey     = "send", "c2VuZCBrZXk="
	namespace             = "interop"
)

// vectorsFile holds the test vectors of the key hash, from the root of the repository.
const vectorsFile = "internal/keyhash/testdata/partition-key-vectors.json"

// server is the hub under test with the ways to it. Plain, TLS and WebSocket connections share its port.
type server struct {
	root  string
	ca    string // file of the certificate that the clients must trust
	proxy *proxy // what clients connect to

	options hub.Options
	mu      sync.Mutex // guards what restart changes
	hub     *hub.Server
	stop    context.CancelFunc
	served  chan struct{}
}

func startServer(t *testing.T) *server {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := certificate(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{root: root, ca: cert, options: hub.Options{
		Dir: t.TempDir(),
		TLS: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
		Namespaces: []hub.NamespaceOptions{{Name: namespace, Rules: []hub.Rule{
			{Name: rootRule, Key: rootKey, Rights: hub.Manage},
			{Name: listenRule, Key: listenKey, Rights: hub.Listen},
			{Name: sendRule, Key: sendKey, Rights: hub.Send},
		}}},
	}}
	traceTo(t, &s.options)
	s.proxy = startProxy(t, s.start(t))
	t.Cleanup(func() { s.close(t) })
	return s
}

// traceTo writes the hub's frames and log into the file that HUBFERRY_INTEROP_TRACE names, to find out what broke.
func traceTo(t *testing.T, o *hub.Options) {
	t.Helper()
	name := os.Getenv("HUBFERRY_INTEROP_TRACE")
	if name == "" {
		return
	}
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	o.Trace = func(line string) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintln(file, time.Now().Format("05.000"), line)
	}
	o.Log = slog.New(slog.NewTextHandler(file, &slog.HandlerOptions{Level: slog.LevelDebug}))
	t.Cleanup(func() { _ = file.Close() })
}

// start runs the hub on a port of its own and returns the address.
func (s *server) start(t testing.TB) string {
	t.Helper()
	running, err := hub.New(context.Background(), s.options)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = running.Serve(ctx, listener, namespace)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hub, s.stop, s.served = running, stop, served
	return listener.Addr().String()
}

func (s *server) close(t testing.TB) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	s.stop()
	if err := s.hub.Close(ctx); err != nil {
		t.Errorf("close the hub: %v", err)
	}
	<-s.served
}

// restart stops the hub, leaves it down for the pause, and starts it with the same data.
func (s *server) restart(t testing.TB, pause time.Duration) {
	t.Helper()
	s.close(t)
	s.proxy.cut("")
	time.Sleep(pause)
	s.proxy.cut(s.start(t))
}

// newHub creates a hub of its own for a case.
func (s *server) newHub(t testing.TB, partitions int, groups ...string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	name := freshName("hub")
	err := s.hub.CreateHub(t.Context(), namespace, hub.HubOptions{Name: name, Partitions: partitions, ConsumerGroups: groups})
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// conn reaches a hub with all rights, without TLS.
func (s *server) conn(hub string) *conn { return s.connAs(hub, rootRule, rootKey) }

func (s *server) connAs(hub, rule, key string) *conn {
	return &conn{
		String: fmt.Sprintf("Endpoint=sb://localhost:%d;SharedAccessKeyName=%s;SharedAccessKey=%s;UseDevelopmentEmulator=true", s.proxy.port(), rule, key),
		Hub:    hub, Retries: 1,
	}
}

// connTLS reaches a hub over TLS as in the cloud, or over WebSockets.
func (s *server) connTLS(hub, transport string) *conn {
	return &conn{
		String: fmt.Sprintf("Endpoint=sb://localhost:%d;SharedAccessKeyName=%s;SharedAccessKey=%s", s.proxy.port(), rootRule, rootKey),
		Hub:    hub, Transport: transport, CA: s.ca, Retries: 1,
	}
}

// connElsewhere reaches a hub under a name that no resolver knows, at an address given apart from it.
func (s *server) connElsewhere(hub string) *conn {
	c := s.connTLS(hub, "")
	c.String = fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=%s;SharedAccessKey=%s", elsewhere, rootRule, rootKey)
	c.Endpoint = fmt.Sprintf("localhost:%d", s.proxy.port())
	return c
}

// signed is a connection string that carries a signature instead of a key.
func (s *server) signed(signature string) string {
	return fmt.Sprintf("Endpoint=sb://localhost:%d;SharedAccessSignature=%s;UseDevelopmentEmulator=true", s.proxy.port(), signature)
}

// resource is what a signature for a hub is made for.
func (s *server) resource(hub string) string {
	return fmt.Sprintf("sb://localhost:%d/%s", s.proxy.port(), hub)
}
