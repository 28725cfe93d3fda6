package azprocessor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/azprocessor"
	"github.com/hubferry/hubferry/checkpoint/mem"
	"github.com/hubferry/hubferry/checkpoint/sqlite"
	"github.com/hubferry/hubferry/hub"
)

// A processor of the Go SDK whose progress is in an SQLite file.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	store, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "checkpoints.db")}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(
		"Endpoint=sb://contoso.servicebus.windows.net/;SharedAccessKeyName=listen;SharedAccessKey=a2V5", "telemetry", "readers", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	processor, err := azeventhubs.NewProcessor(consumer, azprocessor.New(store), nil)
	fmt.Println(processor != nil, err)
	// processor.Run and processor.NextPartitionClient as with any other store.
	_ = consumer.Close(ctx)
	_ = store.Close(ctx)
	// Output: true <nil>
}

const partitions = 4

// serve starts an embedded hub and returns the connection string of its hub.
func serve(t *testing.T) string {
	t.Helper()
	rule := hub.Rule{Name: "root", Key: "cm9vdCBrZXkgb2YgdGhlIHRlc3Rz", Rights: hub.Manage}
	server, err := hub.New(t.Context(), hub.Options{Namespaces: []hub.NamespaceOptions{{
		Name: "west", Rules: []hub.Rule{rule}, Hubs: []hub.HubOptions{{Name: "Telemetry", Partitions: partitions}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(served)
		_ = server.Serve(ctx, listener, "west")
	}()
	t.Cleanup(func() {
		_ = server.Close(ctx)
		<-served
	})
	return hub.ConnectionString(listener.Addr().String(), rule, "")
}

// send sends numbered events, the same to each partition.
func send(t *testing.T, connection string, from, to int) {
	t.Helper()
	producer, err := azeventhubs.NewProducerClientFromConnectionString(connection, "telemetry", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close(t.Context())
	for p := range partitions {
		batch, err := producer.NewEventDataBatch(t.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: new(fmt.Sprint(p))})
		if err != nil {
			t.Fatal(err)
		}
		for i := from; i < to; i++ {
			if err := batch.AddEventData(&azeventhubs.EventData{Body: fmt.Append(nil, p, "-", i)}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := producer.SendEventDataBatch(t.Context(), batch, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// process runs a processor until it has seen so many events, which it checkpoints, and
// returns how often it saw each.
func process(t *testing.T, connection, group string, store hubferry.CheckpointStore, want int) map[string]int {
	t.Helper()
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(connection, "telemetry", group, nil)
	if err != nil {
		t.Fatal(err)
	}
	processor, err := azeventhubs.NewProcessor(consumer, azprocessor.New(store), &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy, UpdateInterval: 200 * time.Millisecond,
		// Stopped in the middle of a renewal it does not know its ETags and gives nothing back: the next one waits so long.
		PartitionExpirationDuration: 10 * time.Second,
		StartPositions:              azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: new(true)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	var mu sync.Mutex
	seen, total := map[string]int{}, 0
	read := func(client *azeventhubs.ProcessorPartitionClient) {
		defer client.Close(context.WithoutCancel(ctx))
		for ctx.Err() == nil {
			wait, done := context.WithTimeout(ctx, time.Second)
			events, err := client.ReceiveEvents(wait, 1, nil)
			done()
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				return
			}
			for _, e := range events {
				if err := client.UpdateCheckpoint(ctx, e, nil); err != nil {
					t.Errorf("checkpoint: %v", err)
				}
				mu.Lock()
				seen[string(e.Body)]++
				if total++; total == want {
					stop()
				}
				mu.Unlock()
			}
		}
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client := processor.NextPartitionClient(ctx)
			if client == nil {
				return
			}
			running.Go(func() { read(client) })
		}
	})
	if err := processor.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the processor ended: %v", err)
	}
	running.Wait()
	if err := consumer.Close(context.WithoutCancel(ctx)); err != nil {
		t.Error(err)
	}
	return seen
}

// A real processor works with the SQLite store and goes on from its checkpoints.
func TestProcessor(t *testing.T) {
	connection := serve(t)
	store, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(t.TempDir(), "checkpoints.db")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close(t.Context())
	const each = 10
	for round := range 2 {
		send(t, connection, round*each, (round+1)*each)
		// The second processor spells the group in another case.
		seen := process(t, connection, []string{"$Default", "$DEFAULT"}[round], store, partitions*each)
		for p := range partitions {
			for i := round * each; i < (round+1)*each; i++ {
				if n := seen[fmt.Sprint(p, "-", i)]; n != 1 {
					t.Errorf("round %d: event %d of partition %d was seen %d times", round, i, p, n)
				}
			}
		}
		groups, err := store.Groups(t.Context())
		if err != nil || len(groups) != 1 || groups[0].ConsumerGroup != "$default" {
			t.Fatalf("groups %v, %v", groups, err)
		}
		records, err := store.ListOwnership(t.Context(), groups[0])
		if err != nil || len(records) != partitions {
			t.Fatalf("owners %+v, %v", records, err)
		}
		found, err := store.ListCheckpoints(t.Context(), groups[0])
		if err != nil || len(found) != partitions {
			t.Fatalf("checkpoints %+v, %v", found, err)
		}
		for id, c := range found {
			if want := int64((round+1)*each - 1); c.Position.Sequence != want || c.Position.Offset == "" {
				t.Errorf("round %d: %s is at %+v, want %d", round, id, c.Position, want)
			}
		}
	}
}

// What Hubferry keeps beside a checkpoint survives a processor's, as far as it still holds.
func TestKeepsWhatHolds(t *testing.T) {
	data := mem.New()
	id := hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}
	ours := hubferry.Checkpoint{
		Position: hubferry.Position{Sequence: 5, Offset: "50"}, Incarnation: "one", Clean: true,
		Marks:  map[string]hubferry.Position{"east/h/0": {Sequence: 3}},
		States: map[string][]byte{"engine.task": []byte("t"), "chain": {1}},
	}
	if err := data.SaveCheckpoint(t.Context(), id, ours); err != nil {
		t.Fatal(err)
	}
	s := azprocessor.New(data)
	listed, err := s.ListCheckpoints(t.Context(), "N", "H", "G", nil)
	if err != nil || len(listed) != 1 || listed[0].ConsumerGroup != "G" || *listed[0].Offset != "50" || *listed[0].SequenceNumber != 5 {
		t.Fatalf("%+v, %v", listed, err)
	}
	set := func(sequence int64, offset string) hubferry.Checkpoint {
		t.Helper()
		c := listed[0]
		c.SequenceNumber, c.Offset = &sequence, &offset
		if err := s.SetCheckpoint(t.Context(), c, nil); err != nil {
			t.Fatal(err)
		}
		found, err := data.ListCheckpoints(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return found[id]
	}
	if got := set(9, "90"); got.Position != (hubferry.Position{Sequence: 9, Offset: "90"}) || got.Clean || len(got.Marks) != 1 || len(got.States) != 1 || got.Incarnation != "one" {
		t.Errorf("after a later checkpoint: %+v", got)
	}
	if got := set(4, "40"); got.Marks != nil || len(got.States) != 1 {
		t.Errorf("after an earlier checkpoint: %+v", got)
	}
	if err := s.SetCheckpoint(t.Context(), azeventhubs.Checkpoint{FullyQualifiedNamespace: "n", EventHubName: "h", ConsumerGroup: "g", PartitionID: "0"}, nil); hubferry.KindOf(err) != hubferry.Fatal {
		t.Errorf("without a sequence number: %v", err)
	}
	data.Break(id)
	if _, err := s.ListCheckpoints(t.Context(), "n", "h", "g", nil); err == nil {
		t.Error("a checkpoint that cannot be read is no error")
	}
}
