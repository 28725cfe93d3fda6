package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry/internal/kafkatest"
)

// TestChangeOver lets MirrorMaker 2 replicate under load, kills it, and lets the imported
// configuration go on from the imported positions while the load does not stop. A Java
// consumer then finds every record on the target, in order, and twice at most those that
// MirrorMaker had sent beyond what it had stored. With effectively-once delivery a kill of
// ours adds none.
func TestChangeOver(t *testing.T) {
	if os.Getenv("HUBFERRY_LONG") == "" {
		t.Skip("set HUBFERRY_LONG=1 to take over from a real MirrorMaker 2, which takes minutes")
	}
	t.Run("at-least-once", func(t *testing.T) { changeOver(t, false) })
	t.Run("effectively-once", func(t *testing.T) { changeOver(t, true) })
}

func changeOver(t *testing.T, once bool) {
	t.Helper()
	const partitions = 4
	west, east := kafkatest.Start(t, kafkatest.Options{}), kafkatest.Start(t, kafkatest.Options{})
	source, target := kafkaClient(t, west.Addr()), kafkaClient(t, east.Addr())
	if _, err := kadm.NewClient(source).CreateTopic(t.Context(), partitions, 1, nil, "orders"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	properties := filepath.Join(dir, "mm2.properties")
	text := fmt.Sprintf(`clusters = west, east
west.bootstrap.servers = %s
east.bootstrap.servers = %s
west->east.enabled = true
west->east.topics = orders
west->east.refresh.topics.interval.seconds = 5
west->east.emit.checkpoints.enabled = false
west->east.sync.topic.acls.enabled = false
west->east.emit.offset-syncs.enabled = false
emit.heartbeats.enabled = false
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
tasks.max = 2
east.offset.flush.interval.ms = 3000
`, west.Addr(), east.Addr())
	if err := os.WriteFile(properties, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}

	// MirrorMaker replicates, and is killed when it has stored positions and sent more.
	mm2 := kafkatest.StartMirrorMaker(t, kafkatest.MirrorMakerOptions{Properties: text})
	load := startLoad(t, source, "orders")
	eventually(t, 8*time.Minute, "MirrorMaker has stored positions of all partitions", func() bool {
		return len(storedPositions(t, east, "mm2-offsets.west.internal")) == partitions
	})
	before := sum(ends(t, target, "west.orders"))
	eventually(t, 3*time.Minute, "MirrorMaker replicates on", func() bool { return sum(ends(t, target, "west.orders")) > before+500 })
	if err := mm2.Kill(); err != nil {
		t.Fatal(err)
	}
	stored, copied := storedPositions(t, east, "mm2-offsets.west.internal"), ends(t, target, "west.orders")
	allowed := 0
	for p, end := range copied {
		allowed += int(end - (stored[p] + 1))
	}

	// The imported configuration and the imported positions.
	config := filepath.Join(dir, "hubferry.yaml")
	hubferry(t, "import", "mirrormaker", properties, "--output", config)
	if once {
		addDelivery(t, config)
	}
	hubferry(t, "validate", "--strict", "--config", config)
	eventually(t, 3*time.Minute, "MirrorMaker's membership has expired", func() bool {
		out, err := exec.CommandContext(t.Context(), program, "import", "mirrormaker", properties, "--positions", "--config", config).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "MirrorMaker still runs") {
			t.Fatalf("import --positions: %v\n%s", err, out)
		}
		return err == nil
	})
	if out := hubferry(t, "import", "mirrormaker", properties, "--positions", "--config", config, "--json"); strings.Count(out, `"action":"same"`) != partitions {
		t.Errorf("importing the positions again finds others:\n%s", out)
	}
	ferry := startRun(t, config)
	eventually(t, 3*time.Minute, "hubferry replicates", func() bool { return sum(ends(t, target, "west.orders")) > sum(copied)+500 })
	if once {
		ferry.kill()
		ferry = startRun(t, config)
	}
	sent := load.stop()
	committed := &logs{t, east, target, kadm.NewClient(target)}
	eventually(t, 4*time.Minute, "everything has arrived", func() bool {
		return ferry.status("west-to-east").State == "running" && ferry.status("west-to-east").Lag == 0 && len(committed.records("west.orders")) >= sent
	})
	ferry.stop()
	got := readWithJava(t, east, "west.orders", len(committed.records("west.orders")))
	t.Logf("%d records, of which MirrorMaker copied %d; stored by it %v, sent by it beyond that %d; %+v", sent, sum(copied), stored, allowed, got)
	if got.distinct != sent || got.reordered != 0 {
		t.Errorf("%d of %d records arrived, %d out of order", got.distinct, sent, got.reordered)
	}
	if got.duplicates > allowed {
		t.Errorf("%d duplicates, and MirrorMaker had sent only %d beyond its positions", got.duplicates, allowed)
	}
}

// addDelivery makes the imported task one of effectively-once delivery.
func addDelivery(t *testing.T, config string) {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	before, after, ok := strings.Cut(string(text), "\n  west-to-east:\n")
	if !ok {
		t.Fatalf("the task is not in the configuration:\n%s", text)
	}
	if err := os.WriteFile(config, []byte(before+"\n  west-to-east:\n    delivery: effectively-once\n"+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

// hubferry runs the program to its end and returns its standard output.
func hubferry(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("hubferry %s: %v\n%s%s", strings.Join(args, " "), err, out, log.String())
	}
	return string(out)
}

func kafkaClient(t *testing.T, addr string, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(more, kgo.SeedBrokers(addr))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// ends returns the ends of the partitions of a topic, none if there is no such topic.
func ends(t *testing.T, cl *kgo.Client, topic string) map[int]int64 {
	t.Helper()
	list, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	m := map[int]int64{}
	list.Each(func(o kadm.ListedOffset) {
		if o.Err == nil {
			m[int(o.Partition)] = o.Offset
		}
	})
	return m
}

func sum(m map[int]int64) int64 {
	var n int64
	for _, v := range m {
		n += v
	}
	return n
}

// load sends records, key and value their number, until it is stopped.
type load struct {
	cancel context.CancelFunc
	done   chan error
	sent   atomic.Int64
	t      *testing.T
}

func startLoad(t *testing.T, cl *kgo.Client, topic string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, done: make(chan error, 1), t: t}
	t.Cleanup(cancel)
	go func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; {
			select {
			case <-ctx.Done():
				l.done <- nil
				return
			case <-tick.C:
			}
			records := make([]*kgo.Record, 20)
			for i := range records {
				records[i] = &kgo.Record{Topic: topic, Key: fmt.Append(nil, n%100), Value: fmt.Append(nil, n)}
				n++
			}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), records...).FirstErr(); err != nil {
				l.done <- err
				return
			}
			l.sent.Store(int64(n))
		}
	}()
	return l
}

// stop ends the load and returns how many records were sent.
func (l *load) stop() int {
	l.cancel()
	if err := <-l.done; err != nil {
		l.t.Fatal("load: ", err)
	}
	return int(l.sent.Load())
}

// storedPositions reads MirrorMaker's offsets topic, apart from the code under test.
func storedPositions(t *testing.T, b *kafkatest.Broker, topic string) map[int]int64 {
	t.Helper()
	cl := kafkaClient(t, b.Addr())
	want := sum(ends(t, cl, topic))
	found := map[int]int64{}
	if want == 0 {
		return found
	}
	cl.AddConsumeTopics(topic)
	for n := int64(0); n < want; {
		fetches := cl.PollFetches(t.Context())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			n++
			var partition int
			var offset int64
			if _, err := fmt.Sscanf(string(r.Key), `["MirrorSourceConnector",{"cluster":"west","partition":%d,"topic":"orders"}]`, &partition); err != nil {
				return
			}
			if _, err := fmt.Sscanf(string(r.Value), `{"offset":%d}`, &offset); err != nil {
				t.Errorf("position %s: %v", r.Value, err)
			}
			found[partition] = offset
		})
	}
	return found
}

// report is what the Java consumer found.
type report struct{ distinct, duplicates, reordered int }

// readWithJava reads a topic from its beginning with Kafka's own console consumer.
func readWithJava(t *testing.T, b *kafkatest.Broker, topic string, records int) report {
	t.Helper()
	out, err := b.Tool(t.Context(), "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"--bootstrap-server", b.Addr(), "--topic", topic, "--from-beginning", "--max-messages", strconv.Itoa(records), "--timeout-ms", "60000",
		"--isolation-level", "read_committed",
		"--property", "print.partition=true", "--property", "print.value=true")
	if err != nil {
		t.Fatal(err)
	}
	var r report
	seen := map[int]bool{}
	last := map[string]int{}
	for line := range strings.Lines(out) {
		partition, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("the console consumer printed %q", line)
		}
		if seen[n] {
			r.duplicates++
			continue
		}
		seen[n] = true
		if m, ok := last[partition]; ok && n < m {
			r.reordered++
		}
		last[partition] = n
	}
	r.distinct = len(seen)
	return r
}
