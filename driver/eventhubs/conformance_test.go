package eventhubs

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/drivertest"
	"github.com/hubferry/hubferry/hub"
)

func TestConformance(t *testing.T) { eachClient(t, testConformance) }

func testConformance(t *testing.T) {
	drivertest.Run(t, func(t testing.TB) *drivertest.Harness { return newHarness(t, TransportAMQP) })
}

func TestConformanceWebSocket(t *testing.T) { eachClient(t, testConformanceWebSocket) }

func testConformanceWebSocket(t *testing.T) {
	if testing.Short() {
		t.Skip("the transport is tried by TestTransports")
	}
	drivertest.Run(t, func(t testing.TB) *drivertest.Harness { return newHarness(t, TransportWebSocket) })
}

// TestConformanceTLS is what a namespace of Azure is reached through.
func TestConformanceTLS(t *testing.T) { eachClient(t, testConformanceTLS) }

func testConformanceTLS(t *testing.T) {
	if testing.Short() {
		t.Skip("the transport is tried by TestTransports")
	}
	drivertest.Run(t, func(t testing.TB) *drivertest.Harness {
		const name = "contoso.servicebus.windows.net"
		cert, ca := certificate(t, name)
		caFile := filepath.Join(t.TempDir(), "ca.pem")
		if err := os.WriteFile(caFile, ca, 0o600); err != nil {
			t.Fatal(err)
		}
		secured := func(o *hub.Options) {
			o.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
		}
		h := newHarness(t, TransportAMQP, secured)
		for _, options := range []hubferry.Options{h.Connection, h.BadConnection} {
			o := options.(*ConnectionOptions)
			o.ConnectionString = hubferry.NewSecret(strings.TrimSuffix(o.ConnectionString.Reveal(), ";UseDevelopmentEmulator=true"))
			o.TLS = TLSOptions{CAFile: caFile, ServerName: name}
		}
		return h
	})
}

func newHarness(t testing.TB, transport string, changes ...func(o *hub.Options)) *drivertest.Harness {
	t.Helper()
	s := startServer(t, func(o *hub.Options) {
		o.Limits.Receivers = 50 // the suite opens many
		for _, change := range changes {
			change(o)
		}
	})
	good, bad := s.options(), &ConnectionOptions{ConnectionString: hubferry.NewSecret(s.connString(testKeyName, "wrong"+testKey))}
	good.Transport, bad.Transport = transport, transport
	good.Client, bad.Client = clientOf(t), clientOf(t)
	return &drivertest.Harness{
		Driver:        Driver(),
		Fields:        messageFields,
		Connection:    good,
		BadConnection: bad,
		Source:        &SourceOptions{ConsumerGroup: "copy"},
		Target:        &TargetOptions{},
		Secrets:       []string{testKey, "sig="},
		Hub:           testHub,
		Unknown:       "nowhere",
		Goroutines:    []string{"hubferry/hub", "net/http.(*Server)"},
		Patience:      time.Minute,
		Inject: func(t testing.TB, partition int, events []hubferry.Event) {
			messages := make([][]byte, len(events))
			for i := range events {
				messages[i] = rawMessage(t, &events[i])
			}
			rawSend(t, s.address, strconv.Itoa(partition), messages...)
		},
		Dump: func(t testing.TB, partition int) []hubferry.Event {
			var events []hubferry.Event
			for _, m := range rawReceive(t, s.address, strconv.Itoa(partition)) {
				events = append(events, rawEvent(t, m))
			}
			return events
		},
		Send: s.sendByKey,
		Cut:  func(testing.TB) { s.faults.Cut("ns") },
		Stall: func(testing.TB) func() {
			return s.faults.Add(hub.Fault{Kind: hub.FaultNoAnswer})
		},
		Recreate: func(t testing.TB) {
			ctx := context.WithoutCancel(t.Context())
			if err := s.server.DeleteHub(ctx, "ns", testHub); err != nil {
				t.Fatal(err)
			}
			o := hub.HubOptions{Name: testHub, Partitions: 4, ConsumerGroups: []string{"copy", "other"}}
			if err := s.server.CreateHub(ctx, "ns", o); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// sendByKey sends events as Microsoft's own client does, one batch for each key.
func (s *testServer) sendByKey(t testing.TB, events []hubferry.Event) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connString(testKeyName, testKey), testHub, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(ctx) }()
	for i := range events {
		key := string(events[i].Key.Bytes)
		b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: &key})
		if err != nil {
			t.Fatal(err)
		}
		c, err := events[i].Content()
		if err != nil {
			t.Fatal(err)
		}
		if err := b.AddEventData(&azeventhubs.EventData{Body: c.Body}, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.SendEventDataBatch(ctx, b, nil); err != nil {
			t.Fatal(err)
		}
	}
}
