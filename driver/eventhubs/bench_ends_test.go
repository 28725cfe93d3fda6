package eventhubs

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
)

// BenchmarkReceive and BenchmarkSend are the two halves of BenchmarkCopy: all partitions at
// once, one operation an event.
func BenchmarkReceive(b *testing.B) { benchEnds(b, driverReceiver, sdkReceiver) }

func BenchmarkSend(b *testing.B) { benchEnds(b, driverSender, sdkSender) }

func benchEnds(b *testing.B, driver, sdk copier) {
	b.Helper()
	for _, size := range []int{100, 1024} {
		for _, client := range []string{ClientGoAMQP, ClientNative} {
			b.Run(fmt.Sprintf("%s/%dB", client, size), func(b *testing.B) { benchCopy(b, size, driver) })
		}
		b.Run(fmt.Sprintf("azeventhubs/%dB", size), func(b *testing.B) { benchCopy(b, size, sdk) })
	}
}

// driverReceiver reads events and looks at none of them.
func driverReceiver(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	c := connect(b, s.options(), hubferry.Env{})
	source, err := c.Source(b.Context(), "from", &SourceOptions{ConsumerGroup: "copy"})
	if err != nil {
		b.Fatal(err)
	}
	infos, err := source.Partitions(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return func(ctx context.Context, partition, n int) error {
		if n == 0 {
			return nil
		}
		r, err := source.Open(ctx, infos[partition].Place, infos[partition].Begin, hubferry.NoEpoch)
		if err != nil {
			return err
		}
		for batch := (hubferry.Batch{}); n > 0; n -= len(batch.Events) {
			batch.Limit = hubferry.Limit{Events: min(n, benchRun), Bytes: 1 << 20}
			if err := r.Read(ctx, &batch); err != nil {
				return err
			}
		}
		return r.Close(ctx)
	}
}

// driverSender writes the first events of the first hub again and again.
func driverSender(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	c := connect(b, s.options(), hubferry.Env{})
	from, err := c.Source(b.Context(), "from", &SourceOptions{ConsumerGroup: "copy"})
	if err != nil {
		b.Fatal(err)
	}
	events := readEvents(b, from.(*source), 0, benchRun)
	target, err := c.Target(b.Context(), &TargetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	w, err := target.Open(b.Context(), "to", hubferry.Trail{Task: "copy", Route: "to"})
	if err != nil {
		b.Fatal(err)
	}
	return func(ctx context.Context, partition, n int) error {
		own := make([]hubferry.Event, benchRun) // an event is used by one goroutine at a time
		run := hubferry.Run{Partition: partition}
		for i := range own {
			own[i] = events[i]
			run.Events = append(run.Events, &own[i])
		}
		for ; n > 0; n -= len(run.Events) {
			run.Events = run.Events[:min(n, len(run.Events))]
			if _, err := w.Write(ctx, run); err != nil {
				return err
			}
		}
		return nil
	}
}

func sdkReceiver(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(s.connString(testKeyName, testKey), "from", "copy", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = consumer.Close(context.WithoutCancel(b.Context())) })
	return func(ctx context.Context, partition, n int) error {
		if n == 0 {
			return nil
		}
		earliest := true
		pc, err := consumer.NewPartitionClient(strconv.Itoa(partition), &azeventhubs.PartitionClientOptions{
			StartPosition: azeventhubs.StartPosition{Earliest: &earliest}, Prefetch: defaultPrefetch,
		})
		if err != nil {
			return err
		}
		defer func() { _ = pc.Close(ctx) }()
		for n > 0 {
			events, err := pc.ReceiveEvents(ctx, min(n, benchRun), nil)
			if err != nil {
				return err
			}
			n -= len(events)
		}
		return nil
	}
}

func sdkSender(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	cs := s.connString(testKeyName, testKey)
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(cs, "from", "copy", nil)
	if err != nil {
		b.Fatal(err)
	}
	producer, err := azeventhubs.NewProducerClientFromConnectionString(cs, "to", nil)
	if err != nil {
		b.Fatal(err)
	}
	earliest := true
	pc, err := consumer.NewPartitionClient("0", &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: &earliest}})
	if err != nil {
		b.Fatal(err)
	}
	events, err := pc.ReceiveEvents(b.Context(), benchRun, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx := context.WithoutCancel(b.Context())
		_, _, _ = pc.Close(ctx), consumer.Close(ctx), producer.Close(ctx)
	})
	return func(ctx context.Context, partition, n int) error {
		id := strconv.Itoa(partition)
		for n > 0 {
			batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &id})
			if err != nil {
				return err
			}
			for _, e := range events[:min(n, len(events))] {
				if err := batch.AddEventData(&e.EventData, nil); err != nil {
					return err
				}
			}
			if err := producer.SendEventDataBatch(ctx, batch, nil); err != nil {
				return err
			}
			n -= min(n, len(events))
		}
		return nil
	}
}

// TestAllocationsPerEvent copies events with provenance and counts what is allocated for
// them in this process; the server is another one.
func TestAllocationsPerEvent(t *testing.T) { eachClient(t, testAllocationsPerEvent) }

func testAllocationsPerEvent(t *testing.T) {
	// What a run, a batch or a connection costs has its share in it, too.
	most := map[string]float64{ClientGoAMQP: 4, ClientNative: 0.5}[clientOf(t)]
	const events = benchPartitions * benchEvents
	copyPartition := driverCopier(t, benchServer(t, 100))
	got := testing.AllocsPerRun(1, func() {
		var wg sync.WaitGroup
		for p := range benchPartitions {
			wg.Go(func() {
				if err := copyPartition(t.Context(), p, benchEvents); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}) / events
	if t.Logf("%.3f allocations for each event", got); got > most {
		t.Errorf("%.3f allocations for each event, at most %v are allowed", got, most)
	}
}
