package hub_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	// Azure's client leaves this one behind when a link is refused.
	theirs := goleak.IgnoreAnyFunction("github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/internal.(*Namespace).startNegotiateClaimRenewer.func3")
	os.Exit(leaktest.Main(m, func() error { return goleak.Find(theirs) }))
}

const (
	rootKey   = "SAS_KEY_VALUE"
	listenKey = "bGlzdGVuIGtleQ=="
	sendKey   = "c2VuZCBrZXk="
)

// testServer is a server with the namespace "test" on a port of its own.
type testServer struct {
	*hub.Server
	t      testing.TB
	faults *hub.Faults
	addr   string
	log    *logBuffer
	served sync.WaitGroup
}

func options() hub.Options {
	return hub.Options{Namespaces: []hub.NamespaceOptions{{
		Name: "test",
		Rules: []hub.Rule{
			{Name: "root", Key: rootKey, Rights: hub.Manage},
			{Name: "listen", Key: listenKey, Rights: hub.Listen},
			{Name: "send", Key: sendKey, Rights: hub.Send},
		},
		Hubs: []hub.HubOptions{
			{Name: "one", Partitions: 1},
			{Name: "four", Partitions: 4, ConsumerGroups: []string{"second"}},
			{Name: "many", Partitions: 32},
		},
	}}}
}

// start starts a server; change may alter its options.
func start(t testing.TB, change func(*hub.Options)) *testServer {
	t.Helper()
	return startAt(t, "127.0.0.1:0", change)
}

func startAt(t testing.TB, addr string, change func(*hub.Options)) *testServer {
	t.Helper()
	s := &testServer{t: t, faults: &hub.Faults{}, log: &logBuffer{}}
	o := options()
	o.Faults = s.faults
	o.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	o.Trace = func(line string) { fmt.Fprintln(s.log, line) }
	if change != nil {
		change(&o)
	}
	var err error
	if s.Server, err = hub.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	s.served.Go(func() {
		if err := s.Serve(context.Background(), ln, "test"); !errors.Is(err, hub.ErrClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *testServer) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		s.t.Errorf("Close: %v", err)
	}
	s.served.Wait()
	if s.t.Failed() && testing.Verbose() {
		s.t.Log(s.log.text())
	}
	for _, secret := range []string{rootKey, listenKey, sendKey, "sig=", "%3d&se="} {
		if strings.Contains(s.log.text(), secret) {
			s.t.Errorf("the log holds the secret %q", secret)
		}
	}
}

// logBuffer collects what a server logs and traces.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// connection is a connection string for a hub, with the rule and key.
func (s *testServer) connection(name, rule, key string) string {
	return fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=%s;SharedAccessKey=%s;UseDevelopmentEmulator=true;EntityPath=%s",
		s.addr, rule, key, name)
}

// noRetry makes failures visible at once.
var noRetry = azeventhubs.RetryOptions{MaxRetries: -1}

func (s *testServer) producer(name string) *azeventhubs.ProducerClient {
	s.t.Helper()
	return s.producerAs(name, "root", rootKey)
}

func (s *testServer) producerAs(name, rule, key string) *azeventhubs.ProducerClient {
	s.t.Helper()
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connection(name, rule, key), "",
		&azeventhubs.ProducerClientOptions{RetryOptions: noRetry})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

func (s *testServer) consumer(name, group string) *azeventhubs.ConsumerClient {
	s.t.Helper()
	return s.consumerAs(name, group, "root", rootKey)
}

func (s *testServer) consumerAs(name, group, rule, key string) *azeventhubs.ConsumerClient {
	s.t.Helper()
	c, err := azeventhubs.NewConsumerClientFromConnectionString(s.connection(name, rule, key), "", group,
		&azeventhubs.ConsumerClientOptions{RetryOptions: noRetry, InstanceID: "reader"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

// receiver opens a partition of a hub at a position.
func receiver(t testing.TB, c *azeventhubs.ConsumerClient, partition string, o azeventhubs.PartitionClientOptions) *azeventhubs.PartitionClient {
	t.Helper()
	pc, err := c.NewPartitionClient(partition, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close(context.Background()) })
	return pc
}

func earliest() azeventhubs.PartitionClientOptions {
	return azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: new(true)}}
}

// receive waits for n events.
func receive(t testing.TB, pc *azeventhubs.PartitionClient, n int) []*azeventhubs.ReceivedEventData {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	var all []*azeventhubs.ReceivedEventData
	for len(all) < n {
		events, err := pc.ReceiveEvents(ctx, n-len(all), nil)
		if err != nil {
			t.Fatalf("received %d of %d events: %v", len(all), n, err)
		}
		all = append(all, events...)
	}
	return all
}

// receiveError attaches and returns why receiving failed.
func receiveError(t testing.TB, pc *azeventhubs.PartitionClient) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	_, err := pc.ReceiveEvents(ctx, 1, nil)
	if err == nil {
		t.Fatal("received an event, want an error")
	}
	return err
}

// send publishes events as one batch.
func send(t testing.TB, p *azeventhubs.ProducerClient, o azeventhubs.EventDataBatchOptions, events ...*azeventhubs.EventData) {
	t.Helper()
	if err := trySend(t, p, o, events...); err != nil {
		t.Fatal(err)
	}
}

func trySend(t testing.TB, p *azeventhubs.ProducerClient, o azeventhubs.EventDataBatchOptions, events ...*azeventhubs.EventData) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	b, err := p.NewEventDataBatch(ctx, &o)
	if err != nil {
		return err
	}
	for _, e := range events {
		if err := b.AddEventData(e, nil); err != nil {
			return err
		}
	}
	return p.SendEventDataBatch(ctx, b, nil)
}

func texts(n int, format string) []*azeventhubs.EventData {
	events := make([]*azeventhubs.EventData, n)
	for i := range events {
		events[i] = &azeventhubs.EventData{Body: fmt.Appendf(nil, format, i)}
	}
	return events
}

func bodies(events []*azeventhubs.ReceivedEventData) (out []string) {
	for _, e := range events {
		out = append(out, string(e.Body))
	}
	return out
}

// until waits for a condition.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

// wantError checks that err mentions the condition and the text.
func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error is\n%v\nwant it to contain %q", err, p)
		}
	}
}
