package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/hub"
)

// workload is what happens on a hub that one process reads alone.
type workload struct {
	name       string
	partitions int
	rate       int // events per second and partition
}

var workloads = []workload{
	{"at rest, 1 partition", 1, 0},
	{"at rest, 16 partitions", 16, 0},
	{"10 events/s, 4 partitions", 4, 10},
	{"100 events/s, 4 partitions", 4, 100},
}

// program is one of those that are compared.
type program struct {
	name string
	task string // more keys of hubferry's task
	// events and wait are when the SDK's processor saves a checkpoint, whichever comes first; zero for hubferry.
	events int
	wait   time.Duration
}

// programs are what is compared, hubferry first. The processor is that of its published example, and one that saves as
// often as hubferry does by default.
var programs = []program{
	{name: "hubferry"},
	{name: "hubferry, effectively-once", task: ", delivery: effectively-once"},
	{name: "azeventhubs", events: 100, wait: time.Minute},
	{name: "azeventhubs, every 1,000 events or 5 s", events: 1000, wait: 5 * time.Second},
}

var storeFigures = []measure.Figure{
	{Name: "requests", Title: "requests/min", Format: "%.1f"},
	{Name: "partition", Title: "of these per partition", Format: "%.2f"},
	{Name: "list", Title: "lists", Format: "%.1f"},
	{Name: "ownership", Title: "claims and renewals", Format: "%.1f"},
	{Name: "checkpoint", Title: "checkpoints", Format: "%.1f"},
	{Name: "hubferry", Title: "records beside them", Format: "%.1f"},
	{Name: "other", Title: "others", Format: "%.1f"},
}

// place is where one program works: a hub, its copy, a container.
type place struct {
	workload
	program        program
	hub, container string
}

// store counts the requests of all programs in all workloads at the same time.
func (b *bench) store(ctx context.Context) (results []measure.Result, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var places []place
	for i, w := range workloads {
		for j, p := range programs {
			name := fmt.Sprintf("hub%d%d", i, j)
			places = append(places, place{workload: w, program: p, hub: name, container: "store" + name})
		}
	}
	s, err := b.serve(ctx, places)
	if err != nil {
		cancel()
		return nil, err
	}
	failed := make(chan error, 2*len(places))
	var running []*measure.Program
	defer func() {
		cancel()
		for _, p := range running {
			err = errors.Join(err, p.Stop())
		}
		err = errors.Join(err, s.close(ctx))
	}()
	for i := range places {
		p := &places[i]
		if p.program.events > 0 {
			go func() { failed <- process(ctx, s, p) }()
		} else {
			program, err := b.ferry(ctx, s, p)
			if err != nil {
				return nil, err
			}
			running = append(running, program)
		}
		if p.rate > 0 {
			go func() { failed <- generate(ctx, s.connection, p) }()
		}
	}
	if err := wait(ctx, b.warmUp, running, failed); err != nil {
		return nil, err
	}
	s.proxy.reset()
	began := time.Now()
	if err := wait(ctx, b.length, running, failed); err != nil {
		return nil, err
	}
	minutes := time.Since(began).Minutes()
	for i := range places {
		p := &places[i]
		counts, denied := s.proxy.counts(p.container)
		r := measure.Result{Case: p.name, Program: p.program.name, Figures: map[string]float64{}}
		for kind, n := range counts {
			r.Figures[kind] = float64(n) / minutes
			r.Figures["requests"] += float64(n) / minutes
		}
		for _, f := range storeFigures {
			r.Figures[f.Name] += 0 // none is a figure, too
		}
		r.Figures["partition"] = r.Figures["requests"] / float64(p.partitions)
		if denied > 0 {
			r.Problem = fmt.Sprintf("%d requests were refused", denied)
		}
		if r.Figures["ownership"] == 0 {
			r.Problem = "nobody owned anything"
		}
		results = append(results, r)
	}
	return results, nil
}

// wait waits for a while, in which nothing may end.
func wait(ctx context.Context, d time.Duration, running []*measure.Program, failed <-chan error) error {
	deadline := time.After(d)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-deadline:
			return nil
		case err := <-failed:
			return fmt.Errorf("it ended too early: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		for _, p := range running {
			select {
			case <-p.Ended:
				return errors.New("hubferry ended too early:\n" + p.Log())
			default:
			}
		}
	}
}

// service is an embedded hub with a storage account.
type service struct {
	server     *hub.Server
	connection string // of the namespace
	blob       string // of the account, behind the proxy
	proxy      *proxy
	dir        string
}

// serve starts what all places need.
func (b *bench) serve(ctx context.Context, places []place) (*service, error) {
	account := hub.AccountOptions{}
	namespace := hub.NamespaceOptions{Name: "bench"}
	for i := range places {
		p := &places[i]
		account.Containers = append(account.Containers, p.container)
		namespace.Hubs = append(namespace.Hubs, hub.HubOptions{Name: p.hub, Partitions: p.partitions}, hub.HubOptions{Name: p.hub + "copy", Partitions: p.partitions})
	}
	server, err := hub.New(ctx, hub.Options{Namespaces: []hub.NamespaceOptions{namespace}, Blob: []hub.AccountOptions{account}})
	if err != nil {
		return nil, err
	}
	s := &service{server: server, dir: b.dir}
	address, err := listen(ctx, func(l net.Listener) error { return server.Serve(ctx, l, namespace.Name) })
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	s.connection = "Endpoint=sb://" + address + ";SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true"
	blobs, err := listen(ctx, func(l net.Listener) error { return server.ServeBlob(ctx, l, hub.PublishedAccount) })
	if err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	if s.proxy, err = startProxy(ctx, blobs); err != nil {
		return nil, errors.Join(err, s.close(ctx))
	}
	s.blob = account.ConnectionString(s.proxy.address)
	return s, nil
}

func (s *service) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	return s.server.Close(ctx)
}

// listen serves on a port of its own.
func listen(ctx context.Context, serve func(l net.Listener) error) (address string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = serve(l) }() // it ends with the server
	return l.Addr().String(), nil
}

// ferry starts hubferry in a place.
func (b *bench) ferry(ctx context.Context, s *service, p *place) (*measure.Program, error) {
	return b.start(ctx, p.hub, fmt.Sprintf(`version: 1
connections: { bench: { eventhubs: { connectionString: %q } } }
checkpoints: { blob: { connectionString: %q, container: %s } }
tasks:
  copy: { source: { hub: bench/%s, consumerGroup: $Default, start: latest }, target: bench/%scopy%s }
`, s.connection, s.blob, p.container, p.hub, p.hub, p.program.task))
}

// start runs hubferry with a configuration.
func (b *bench) start(ctx context.Context, name, config string) (*measure.Program, error) {
	file := filepath.Join(b.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.hubferry, "run", "--config", file) //nolint:gosec // our own program
	return measure.Start(cmd)
}

// kindOf says what a request to the store is for.
func kindOf(method, path, query string) string {
	switch {
	case strings.Contains(query, "comp=list"):
		return "list"
	case method != "PUT":
		return "other"
	case strings.Contains(path, "/ownership"):
		return "ownership"
	case strings.Contains(path, "/checkpoint/"):
		return "checkpoint"
	case strings.Contains(path, "/hubferry/"):
		return "hubferry"
	}
	return "other"
}
