package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/audit/azure"
	"github.com/hubferry/hubferry/hub"
)

// server is an embedded hub in this process: a namespace, or a storage account. It can be
// ended and comes back with the same data, at another port.
type server struct {
	options hub.Options
	faults  hub.Faults
	ahead   atomic.Int64 // how far its clock is ahead, in ns

	mu      sync.Mutex
	running *hub.Server
	at      string
	stop    context.CancelFunc
	hubOf   hub.HubOptions // the hub of events, as of now
}

// rule is the rule of the hub by which instances sign in.
func rule(key string) hub.Rule { return hub.Rule{Name: "ferry", Key: key, Rights: hub.Manage} }

// update changes the hub of events.
func (s *server) update(ctx context.Context, change func(o *hub.HubOptions)) error {
	s.mu.Lock()
	o, running := s.hubOf, s.running
	s.mu.Unlock()
	if running == nil {
		return errors.New("the server is away")
	}
	change(&o)
	if err := running.UpdateHub(ctx, s.options.Namespaces[0].Name, o); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hubOf = o
	return nil
}

// key is the key by which instances sign in, as of now.
func (s *server) key() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hubOf.Rules[0].Key
}

const account = "storage"

// newServer makes a server of one namespace, or of a storage account if the name is "".
func newServer(dir, name string, log *slog.Logger, hubs ...hub.HubOptions) *server {
	s := &server{}
	s.options = hub.Options{
		Dir: dir, Log: log, Faults: &s.faults,
		Now: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	}
	if name == "" {
		s.options.Blob = []hub.AccountOptions{{Name: account, Containers: []string{"checkpoints"}}}
	} else {
		s.hubOf = hubs[0]
		s.options.Namespaces = []hub.NamespaceOptions{{Name: name}}
	}
	return s
}

// start starts it, or starts it again.
func (s *server) start(ctx context.Context) error {
	s.mu.Lock()
	o := s.options
	if len(o.Namespaces) > 0 {
		o.Namespaces = []hub.NamespaceOptions{{Name: o.Namespaces[0].Name, Hubs: []hub.HubOptions{s.hubOf}}}
	}
	s.mu.Unlock()
	running, err := hub.New(ctx, o)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, running.Close(ctx))
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		if len(s.options.Blob) > 0 {
			_ = running.ServeBlob(serving, ln, account)
		} else {
			_ = running.Serve(serving, ln, s.options.Namespaces[0].Name)
		}
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running, s.at, s.stop = running, ln.Addr().String(), stop
	return nil
}

// end ends it, without much of a farewell.
func (s *server) end(ctx context.Context) error {
	s.mu.Lock()
	running, stop := s.running, s.stop
	s.running = nil
	s.mu.Unlock()
	if running == nil {
		return nil
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cancel()
	err := running.Close(ctx)
	stop()
	return err
}

func (s *server) address() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.at
}

// direct is the way of the judge and of the load, which nothing disturbs but the server's own end.
func (s *server) direct() string { return hub.ConnectionString(s.address(), hub.DefaultRule(), "") }

// read reads a hub with Microsoft's SDK, until the server is there long enough.
func (s *server) read(ctx context.Context, name string) (records []audit.Record, partitions int, err error) {
	for range 60 {
		if records, partitions, err = azure.ReadHub(ctx, s.direct(), name); err == nil || ctx.Err() != nil {
			return records, partitions, err
		}
		pause(ctx, 250*time.Millisecond)
	}
	return nil, 0, fmt.Errorf("the judge cannot read %s: %w", name, err)
}

// sender sends with Microsoft's SDK.
type sender struct {
	server *server
	hub    string
	at     string
	client *azeventhubs.ProducerClient
}

// send sends texts with one key, or none, until they are confirmed: what is there twice for
// that is twice on the source.
func (p *sender) send(ctx context.Context, key string, texts []string) (err error) {
	for range 240 {
		if err = p.try(ctx, key, texts); err == nil || ctx.Err() != nil {
			return err
		}
		p.close()
		pause(ctx, 100*time.Millisecond)
	}
	return fmt.Errorf("the load cannot be sent: %w", err)
}

func (p *sender) try(ctx context.Context, key string, texts []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if p.client == nil || p.at != p.server.address() {
		p.close()
		client, err := azeventhubs.NewProducerClientFromConnectionString(p.server.direct(), p.hub, &azeventhubs.ProducerClientOptions{
			RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
		})
		if err != nil {
			return err
		}
		p.client, p.at = client, p.server.address()
	}
	var options azeventhubs.EventDataBatchOptions
	if key != "" {
		options.PartitionKey = &key
	}
	batch, err := p.client.NewEventDataBatch(ctx, &options)
	if err != nil {
		return err
	}
	for i, text := range texts {
		e := &azeventhubs.EventData{Body: []byte(text), Properties: map[string]any{"index": int64(i), "text": text}}
		if err := batch.AddEventData(e, nil); err != nil {
			return err
		}
	}
	return p.client.SendEventDataBatch(ctx, batch, nil)
}

func (p *sender) close() {
	if p.client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = p.client.Close(ctx)
	p.client = nil
}

// pause waits for a while, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
