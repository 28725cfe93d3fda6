package node_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/hub/internal/node"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// server is a node on a TCP port.
type server struct {
	t    testing.TB
	ns   *entity.Namespace
	node *node.Node
	addr string
}

func start(t testing.TB, change func(*node.Config, *entity.Options)) *server {
	t.Helper()
	o := entity.Options{Name: "test", Hash: keyhash.EventHubs}
	cfg := node.Config{Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if change != nil {
		change(&cfg, &o)
	}
	ns, err := entity.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Namespace = ns
	s := &server{t: t, ns: ns, node: node.New(cfg)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.node.ServeConn(ctx, c) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		stop, done := context.WithTimeout(context.Background(), 3*time.Second)
		defer done()
		_ = s.node.Shutdown(stop)
		cancel()
		running.Wait()
		_ = ns.Close()
	})
	return s
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

func (s *server) connection(hub string) string {
	return fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;EntityPath=%s", s.addr, hub)
}

func (s *server) hub(name string, partitions int) {
	s.t.Helper()
	if _, err := s.ns.CreateHub(s.t.Context(), entity.HubSpec{Name: name, Partitions: partitions}); err != nil {
		s.t.Fatal(err)
	}
}

func TestSmoke(t *testing.T) {
	s := start(t, nil)
	s.hub("h", 4)
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connection("h"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	props, err := p.GetEventHubProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(props)
	b, err := p.NewEventDataBatch(t.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: ptr("1")})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := b.AddEventData(&azeventhubs.EventData{Body: fmt.Appendf(nil, "event %d", i), Properties: map[string]any{"n": int64(i)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.SendEventDataBatch(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	c, err := azeventhubs.NewConsumerClientFromConnectionString(s.connection("h"), "", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	pc, err := c.NewPartitionClient("1", &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: ptr(true)}})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close(context.Background())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	events, err := pc.ReceiveEvents(ctx, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		t.Logf("%d %s %s %v", e.SequenceNumber, e.Offset, e.Body, e.Properties)
	}
	pp, err := c.GetPartitionProperties(ctx, "1", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", pp)
}

func ptr[T any](v T) *T { return &v }
