package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/driver/eventhubs"
)

// namespace is an embedded hub in a process of its own.
type namespace struct {
	program    *measure.Program
	dir        string
	connection string
}

// serve starts a namespace with an empty hub. Its data are on disk, as of one who means it.
func (b *bench) serve(ctx context.Context, name string) (*namespace, error) {
	dir, err := os.MkdirTemp(b.dir, name)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.settings.hubferry, "hub", "--namespace", name+"=127.0.0.1:0", //nolint:gosec // our own program
		"--hub", fmt.Sprintf("%s:%d:copy", hubName, b.settings.partitions), "--data", dir)
	stdout, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdout.Close() }()
	cmd.Stdout = w
	p, err := measure.Start(cmd)
	_ = w.Close() // the process has it
	if err != nil {
		return nil, err
	}
	n := &namespace{program: p, dir: dir}
	for lines := bufio.NewScanner(stdout); n.connection == "" && lines.Scan(); {
		if _, text, ok := strings.Cut(lines.Text(), "Endpoint="); ok {
			n.connection = "Endpoint=" + strings.TrimSpace(text)
		}
	}
	if n.connection == "" {
		return nil, errors.Join(fmt.Errorf("the hub does not say where it listens:\n%s", p.Log()), n.remove())
	}
	return n, nil
}

// remove ends the namespace and takes its data away.
func (n *namespace) remove() error { return errors.Join(n.program.Stop(), os.RemoveAll(n.dir)) }

// client is the judge's way to the hub.
func (n *namespace) client() (*azeventhubs.ConsumerClient, error) {
	return azeventhubs.NewConsumerClientFromConnectionString(n.connection, hubName, azeventhubs.DefaultConsumerGroup, nil)
}

// writer opens the hub to put events into given partitions. azeventhubs sends either to a
// partition or with a key, so this is our driver.
func (n *namespace) writer(ctx context.Context) (hubferry.Writer, func() error, error) {
	c, err := eventhubs.Connect(ctx, &eventhubs.ConnectionOptions{ConnectionString: hubferry.NewSecret(n.connection)}, hubferry.Env{})
	if err != nil {
		return nil, nil, err
	}
	end := func() error { return c.Close(context.WithoutCancel(ctx)) }
	target, err := c.Target(ctx, &eventhubs.TargetOptions{})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	w, err := target.Open(ctx, hubName, hubferry.Trail{Mode: hubferry.TrailNone})
	if err != nil {
		return nil, nil, errors.Join(err, end())
	}
	return w, end, nil
}

// event makes an event. The first eight bytes of its body are its number.
func event(i int64, k string, size int) *hubferry.Event {
	body := make([]byte, size)
	binary.BigEndian.PutUint64(body, uint64(i))
	e := hubferry.NewEvent(&hubferry.Content{Body: body})
	e.Key = hubferry.Text(k)
	return &e
}

// fill puts n events into the hub, of ten thousand keys in turn, each where the service
// would put it.
func (n *namespace) fill(ctx context.Context, size int, events int64, partitions int) (err error) {
	w, end, err := n.writer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	errs := make([]error, partitions)
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() {
			own := keysOf(p, partitions)
			run := hubferry.Run{Partition: p}
			flush := func() error {
				_, err := w.Write(ctx, run)
				run.Events = run.Events[:0]
				return err
			}
			for round := int64(0); round < events; round += keys {
				for _, k := range own {
					if round+k < events {
						run.Events = append(run.Events, event(round+k, key(k), size))
					}
				}
				if errs[p] = flush(); errs[p] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// keysOf returns the numbers of the keys that belong to a partition.
func keysOf(p, partitions int) []int64 {
	var own []int64
	for k := range int64(keys) {
		if partitionOf(k, partitions) == p {
			own = append(own, k)
		}
	}
	return own
}

// generate puts events into the hub at a rate, every few milliseconds some, until ctx
// ends. Until ready is closed they are few, so that nothing piles up. It returns how many.
func (n *namespace) generate(ctx context.Context, size int, rate float64, partitions int, ready <-chan struct{}) (total int64, err error) {
	w, end, err := n.writer(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, end()) }()
	began, now := time.Now(), min(rate, 20)
	k := make([]string, keys)
	for i := range k {
		k[i] = key(int64(i))
	}
	due := func() int64 { return int64(time.Since(began).Seconds() * now) }
	for made := int64(0); ; {
		runs := make([]hubferry.Run, partitions)
		for ; made < due(); made++ {
			i := total % keys
			p := partitionOf(i, partitions)
			runs[p].Partition = p
			runs[p].Events = append(runs[p].Events, event(total, k[i], size))
			total++
		}
		errs := make([]error, partitions)
		var wg sync.WaitGroup
		for p := range runs {
			if len(runs[p].Events) > 0 {
				wg.Go(func() { _, errs[p] = w.Write(context.WithoutCancel(ctx), runs[p]) })
			}
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return total, fmt.Errorf("generate: %w", err)
		}
		select {
		case <-ready:
			ready, began, made, now = nil, time.Now(), 0, rate
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return total, nil
		}
	}
}

// config writes the configuration of hubferry for a run: what is measured is what one
// gets with the least of it.
func (b *bench) config(west, east *namespace) (string, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("hubferry-%d", b.runs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	file := filepath.Join(dir, "hubferry.yaml")
	text := fmt.Sprintf(`version: 1
connections:
  west: { eventhubs: { connectionString: "%s", client: %s } }
  east: { eventhubs: { connectionString: "%s", client: %[2]s } }
tasks:
  copy: { source: { hub: west/%[4]s, consumerGroup: copy, start: earliest }, target: east/%[4]s, %[5]s }
%[6]s
`, west.connection, b.settings.client, east.connection, hubName, b.settings.task, b.settings.top)
	return file, os.WriteFile(file, []byte(text), 0o600)
}
