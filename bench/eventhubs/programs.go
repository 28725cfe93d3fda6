package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

// starters make the commands of the programs that can be compared.
var starters = map[string]func(ctx context.Context, b *bench, west, east *namespace) (*exec.Cmd, error){
	"hubferry": hubferryCommand,
	"loop":     copierCommand("loop"),
	"sample":   copierCommand("sample"),
}

func (b *bench) start(ctx context.Context, name string, west, east *namespace) (*measure.Program, error) {
	b.runs++
	cmd, err := starters[name](ctx, b, west, east)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return measure.Start(cmd)
}

func hubferryCommand(ctx context.Context, b *bench, west, east *namespace) (*exec.Cmd, error) {
	file, err := b.config(west, east)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.settings.hubferry, "run", "--config", file) //nolint:gosec // our own program
	if b.settings.profile != "" {
		cmd.Args = append(cmd.Args, "--cpu-profile", b.settings.profile)
	}
	return cmd, nil
}

// copierCommand makes this program one of its copiers.
func copierCommand(name string) func(ctx context.Context, b *bench, west, east *namespace) (*exec.Cmd, error) {
	return func(ctx context.Context, b *bench, west, east *namespace) (*exec.Cmd, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		return exec.CommandContext(ctx, self, name, strconv.Itoa(b.settings.partitions), west.connection, east.connection), nil //nolint:gosec // ourselves
	}
}

// copier copies one partition until the context ends.
type copier func(ctx context.Context, in *azeventhubs.PartitionClient, out *azeventhubs.ProducerClient, partition string) error

// copiers are the programs on azeventhubs, by the first argument that makes this program
// one of them.
var copiers = map[string]copier{"loop": loop, "sample": sample}

// copyHub copies all partitions. It keeps no position, and ends at the first error.
func copyHub(ctx context.Context, name string, args []string) (err error) {
	if len(args) != 3 {
		return fmt.Errorf("%s needs the number of partitions and the connection strings of both namespaces", name)
	}
	partitions, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	in, err := azeventhubs.NewConsumerClientFromConnectionString(args[1], hubName, "copy", nil)
	if err != nil {
		return err
	}
	out, err := azeventhubs.NewProducerClientFromConnectionString(args[2], hubName, nil)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, partitions)
	var wg sync.WaitGroup
	for p := range partitions {
		wg.Go(func() {
			defer cancel()
			errs[p] = copyPartition(ctx, name, in, out, strconv.Itoa(p))
		})
	}
	wg.Wait()
	closing := context.WithoutCancel(ctx)
	return errors.Join(errors.Join(errs...), in.Close(closing), out.Close(closing))
}

func copyPartition(ctx context.Context, name string, in *azeventhubs.ConsumerClient, out *azeventhubs.ProducerClient, p string) error {
	earliest := true
	client, err := in.NewPartitionClient(p, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: prefetch,
	})
	if err != nil {
		return err
	}
	defer func() { _ = client.Close(context.WithoutCancel(ctx)) }()
	for ctx.Err() == nil {
		if err := copiers[name](ctx, client, out, p); err != nil && ctx.Err() == nil {
			return fmt.Errorf("partition %s: %w", p, err)
		}
	}
	return nil
}

const (
	// prefetch is how many events azeventhubs lets the service send ahead; with less than
	// it takes at a time the loop would be slower.
	prefetch = 2000
	// loopBatch is how many events the loop takes at a time: about what a batch of 1 MiB
	// holds of events of 1 KiB.
	loopBatch = 900
	// sampleBatch is what Azure Functions give a function at a time, unless told
	// otherwise (maxEventBatchSize).
	sampleBatch = 100
)

// receive waits for an event and returns it with those that are at hand, at most n. Asked
// for n at once, the SDK would wait until there are as many.
func receive(ctx context.Context, in *azeventhubs.PartitionClient, n int) ([]*azeventhubs.ReceivedEventData, error) {
	first, err := in.ReceiveEvents(ctx, 1, nil)
	if err != nil || n == 1 {
		return first, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	more, err := in.ReceiveEvents(ctx, n-1, nil)
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return append(first, more...), err
}

// loop receives events and sends them to the partition of the same number: no key, no
// provenance, nothing else.
func loop(ctx context.Context, in *azeventhubs.PartitionClient, out *azeventhubs.ProducerClient, partition string) error {
	events, err := receive(ctx, in, loopBatch)
	if err != nil {
		return err
	}
	return send(ctx, out, events, azeventhubs.EventDataBatchOptions{PartitionID: &partition})
}

// sample does what the helper of Microsoft's replication samples does with the events that
// a function gets (EventHubReplicationTasks.ForwardToEventHub): it adds three properties to
// each, groups them by key, sends one batch for each key, all at the same time, and waits
// for all of them.
func sample(ctx context.Context, in *azeventhubs.PartitionClient, out *azeventhubs.ProducerClient, _ string) error {
	events, err := receive(ctx, in, sampleBatch)
	if err != nil {
		return err
	}
	groups := map[string][]*azeventhubs.ReceivedEventData{}
	var keyless []*azeventhubs.ReceivedEventData
	for _, e := range events {
		trace(e)
		if e.PartitionKey == nil {
			keyless = append(keyless, e)
			continue
		}
		groups[*e.PartitionKey] = append(groups[*e.PartitionKey], e)
	}
	errs := make(chan error, len(groups)+1)
	if len(keyless) > 0 {
		go func() { errs <- send(ctx, out, keyless, azeventhubs.EventDataBatchOptions{}) }()
	} else {
		errs <- nil
	}
	for k, group := range groups {
		go func() { errs <- send(ctx, out, group, azeventhubs.EventDataBatchOptions{PartitionKey: &k}) }()
	}
	for range len(groups) + 1 {
		err = errors.Join(err, <-errs)
	}
	return err
}

// trace adds the properties that the helper adds.
func trace(e *azeventhubs.ReceivedEventData) {
	if e.Properties == nil {
		e.Properties = map[string]any{}
	}
	add := func(name, value string) {
		if before, ok := e.Properties[name]; ok {
			value = fmt.Sprint(before, ";", value)
		}
		e.Properties[name] = value
	}
	if e.EnqueuedTime != nil {
		add("repl-enqueued-time", e.EnqueuedTime.UTC().Format("2006-01-02 15:04:05Z"))
	}
	add("repl-offset", e.Offset)
	add("repl-sequence", strconv.FormatInt(e.SequenceNumber, 10))
}

// send sends events in as few batches as they fit.
func send(ctx context.Context, out *azeventhubs.ProducerClient, events []*azeventhubs.ReceivedEventData, o azeventhubs.EventDataBatchOptions) error {
	for len(events) > 0 {
		batch, err := out.NewEventDataBatch(ctx, &o)
		if err != nil {
			return err
		}
		n := 0
		for ; n < len(events); n++ {
			if err := batch.AddEventData(&events[n].EventData, nil); errors.Is(err, azeventhubs.ErrEventDataTooLarge) && n > 0 {
				break
			} else if err != nil {
				return err
			}
		}
		if err := out.SendEventDataBatch(ctx, batch, nil); err != nil {
			return err
		}
		events = events[n:]
	}
	return nil
}
