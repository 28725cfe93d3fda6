package eventhubs

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	if os.Getenv(benchEnv) != "" {
		os.Exit(serveBench())
	}
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

const (
	testKeyName = "RootManageSharedAccessKey"
	testKey     = "Zm9vYmFyLXRoaXMtaXMtc2VjcmV0"
	testHub     = "Telemetry"
)

// testServer is an embedded hub on a port of the kernel's choice.
type testServer struct {
	server  *hub.Server
	faults  *hub.Faults
	address string
}

// serverOptions are one namespace with the hub testHub.
func serverOptions(faults *hub.Faults) hub.Options {
	return hub.Options{
		Faults: faults,
		Namespaces: []hub.NamespaceOptions{{
			Name: "ns",
			Rules: []hub.Rule{
				{Name: testKeyName, Key: testKey, Rights: hub.Manage | hub.Listen | hub.Send},
				{Name: "listen", Key: testKey, Rights: hub.Listen},
				{Name: "send", Key: testKey, Rights: hub.Send},
			},
			Hubs: []hub.HubOptions{{Name: testHub, Partitions: 4, ConsumerGroups: []string{"copy", "other"}}},
		}},
	}
}

// startServer starts a server with one namespace that has the hub testHub.
func startServer(t testing.TB, change func(o *hub.Options)) *testServer {
	t.Helper()
	s := &testServer{faults: &hub.Faults{}}
	o := serverOptions(s.faults)
	if change != nil {
		change(&o)
	}
	ctx := context.WithoutCancel(t.Context())
	server, err := hub.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	s.server = server
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ctx, ln, "ns")
	}()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(ctx, 60*time.Second)
		defer cancel()
		if err := server.Close(ctx); err != nil {
			t.Errorf("close the hub: %v", err)
		}
		<-served
	})
	return s
}

// connString is what a user would write.
func (s *testServer) connString(keyName, key string) string {
	return "Endpoint=sb://" + s.address + ";SharedAccessKeyName=" + keyName + ";SharedAccessKey=" + key + ";UseDevelopmentEmulator=true"
}

func (s *testServer) options() *ConnectionOptions {
	return &ConnectionOptions{ConnectionString: hubferry.NewSecret(s.connString(testKeyName, testKey))}
}

// eachClient runs a test once with each AMQP client: connect goes by the name of the subtest.
func eachClient(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	for _, client := range []string{ClientGoAMQP, ClientNative} {
		t.Run(client, test)
	}
}

// clientOf returns the client that a test is for, "" if it does not matter.
func clientOf(t testing.TB) string {
	for part := range strings.SplitSeq(t.Name(), "/") {
		if part == ClientGoAMQP || part == ClientNative {
			return part
		}
	}
	return ""
}

// connect connects the driver. The connection is closed with the test.
func connect(t testing.TB, o *ConnectionOptions, env hubferry.Env) *connection {
	t.Helper()
	if env.Log == nil {
		env.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	o.Client = cmp.Or(o.Client, clientOf(t))
	c, err := Connect(t.Context(), o, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close the connection: %v", err)
		}
	})
	return c.(*connection)
}

// openWriter opens a writer without provenance.
func openWriter(t testing.TB, c *connection, o *TargetOptions) *writer {
	t.Helper()
	target, err := c.Target(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w, err := target.Open(t.Context(), testHub, hubferry.Trail{Mode: hubferry.TrailNone})
	if err != nil {
		t.Fatal(err)
	}
	return w.(*writer)
}

// openSource opens a source with the consumer group "copy".
func openSource(t testing.TB, c *connection) *source {
	t.Helper()
	s, err := c.Source(t.Context(), testHub, &SourceOptions{ConsumerGroup: "copy"})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*source)
}

// readAll reads n events of a partition from its beginning.
func readEvents(t testing.TB, s *source, partition, n int) []hubferry.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	infos, err := s.Partitions(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(ctx, infos[partition].Place, hubferry.Position{Sequence: -1}, hubferry.NoEpoch)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close(ctx) }()
	var out []hubferry.Event
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1000, Bytes: 1 << 20}}
	for len(out) < n {
		if err := r.Read(ctx, &b); err != nil {
			t.Fatalf("after %d of %d events: %v", len(out), n, err)
		}
		out = append(out, b.Events...)
	}
	return out
}

// bodies makes events with these bodies.
func bodies(texts ...string) []*hubferry.Event {
	var out []*hubferry.Event
	for _, text := range texts {
		e := hubferry.NewEvent(&hubferry.Content{Body: []byte(text)})
		out = append(out, &e)
	}
	return out
}
