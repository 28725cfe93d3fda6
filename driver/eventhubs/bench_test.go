package eventhubs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/hub"
)

const (
	benchPartitions = 8
	benchEvents     = 5000 // per partition and round
	benchRun        = 512
)

// benchHubs asks for a server with two hubs for benchmarks.
func benchHubs(o *hub.Options) {
	o.Namespaces[0].Hubs = []hub.HubOptions{
		{Name: "from", Partitions: benchPartitions, ConsumerGroups: []string{"copy"}},
		{Name: "to", Partitions: benchPartitions},
	}
}

// benchEnv makes the test binary a server for benchmarks, see TestMain: in a process of
// its own it does not take its share of the CPU time that is measured.
const benchEnv = "HUBFERRY_BENCH_SERVER"

// serveBench is that process. It ends when its standard input does.
func serveBench() int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o := serverOptions(&hub.Faults{})
	benchHubs(&o)
	server, err := hub.New(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(ln.Addr())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	_ = server.Serve(ctx, ln, "ns")
	return 0
}

// benchServer has events in the first hub.
func benchServer(b testing.TB, size int) *testServer {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), benchEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = stdin.Close(), cmd.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	s := &testServer{address: strings.TrimSpace(line)}
	c := connect(b, s.options(), hubferry.Env{})
	target, err := c.Target(b.Context(), &TargetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	w, err := target.Open(b.Context(), "from", hubferry.Trail{Mode: hubferry.TrailNone})
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	for p := range benchPartitions {
		wg.Go(func() {
			var events []*hubferry.Event
			for i := range benchEvents {
				e := hubferry.NewEvent(&hubferry.Content{
					Body: make([]byte, size),
					Properties: hubferry.Properties{
						{Name: "type", Value: hubferry.String("reading")},
						{Name: "device", Value: hubferry.Int(int32(i))},
					},
				})
				e.Key = hubferry.Text(fmt.Sprintf("device-%05d", i%10000))
				events = append(events, &e)
			}
			if _, err := w.Write(b.Context(), hubferry.Run{Partition: p, Events: events}); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	return s
}

// BenchmarkCopy copies a hub to another, all partitions at once, one operation an event:
// with this driver, provenance included, and with the plainest loop on Microsoft's SDK.
// What counts on a busy machine is cpu-ns/op, the CPU time of the client alone.
func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{100, 1024} {
		for _, client := range []string{ClientGoAMQP, ClientNative} {
			b.Run(fmt.Sprintf("%s/%dB", client, size), func(b *testing.B) { benchCopy(b, size, driverCopier) })
		}
		b.Run(fmt.Sprintf("azeventhubs/%dB", size), func(b *testing.B) { benchCopy(b, size, sdkCopier) })
	}
}

// copier makes a function that copies n events of a partition from its beginning.
type copier func(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error

func benchCopy(b *testing.B, size int, with copier) {
	s := benchServer(b, size)
	copyPartition := with(b, s)
	b.ReportAllocs()
	b.ResetTimer()
	start, cpu := time.Now(), cpuTime(b)
	for left := b.N; left > 0; {
		n := min(left, benchPartitions*benchEvents)
		left -= n
		var wg sync.WaitGroup
		for p := range benchPartitions {
			wg.Go(func() {
				if err := copyPartition(b.Context(), p, (n+p)/benchPartitions); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "events/s")
	b.ReportMetric(float64(cpuTime(b)-cpu)/float64(b.N), "cpu-ns/op")
}

func driverCopier(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	c := connect(b, s.options(), hubferry.Env{})
	source, err := c.Source(b.Context(), "from", &SourceOptions{ConsumerGroup: "copy"})
	if err != nil {
		b.Fatal(err)
	}
	infos, err := source.Partitions(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	target, err := c.Target(b.Context(), &TargetOptions{})
	if err != nil {
		b.Fatal(err)
	}
	w, err := target.Open(b.Context(), "to", hubferry.Trail{Task: "copy", Route: "to"})
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
		batch := hubferry.Batch{Limit: hubferry.Limit{Bytes: 1 << 20}}
		events := make([]hubferry.Event, 0, benchRun)
		run := hubferry.Run{Partition: partition}
		for n > 0 {
			for events = events[:0]; len(events) < min(n, benchRun); events = append(events, batch.Events...) {
				batch.Limit.Events = min(n, benchRun) - len(events)
				if err := r.Read(ctx, &batch); err != nil {
					return err
				}
			}
			run.Events = run.Events[:0]
			for i := range events {
				run.Events = append(run.Events, &events[i])
			}
			if _, err := w.Write(ctx, run); err != nil {
				return err
			}
			n -= len(events)
		}
		return r.Close(ctx)
	}
}

func sdkCopier(b testing.TB, s *testServer) func(ctx context.Context, partition, n int) error {
	cs := s.connString(testKeyName, testKey)
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(cs, "from", "copy", nil)
	if err != nil {
		b.Fatal(err)
	}
	producer, err := azeventhubs.NewProducerClientFromConnectionString(cs, "to", nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx := context.WithoutCancel(b.Context())
		_, _ = consumer.Close(ctx), producer.Close(ctx)
	})
	return func(ctx context.Context, partition, n int) error {
		if n == 0 {
			return nil
		}
		id, earliest := strconv.Itoa(partition), true
		pc, err := consumer.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
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
			batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &id})
			if err != nil {
				return err
			}
			for _, e := range events {
				if err := batch.AddEventData(&e.EventData, nil); err != nil {
					return err
				}
			}
			if err := producer.SendEventDataBatch(ctx, batch, nil); err != nil {
				return err
			}
			n -= len(events)
		}
		return nil
	}
}
