package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry/internal/kafkatest"
)

// logs is a real broker with topics of one partition, whose logs are not as plain as those
// of other tests.
type logs struct {
	*testing.T
	broker *kafkatest.Broker
	client *kgo.Client
	admin  *kadm.Client
}

// create makes a topic with settings such as "cleanup.policy=compact".
func (l *logs) create(topic string, partitions int, settings ...string) {
	l.Helper()
	configs := map[string]*string{"retention.ms": new("-1")}
	for _, s := range settings {
		k, v, _ := strings.Cut(s, "=")
		configs[k] = &v
	}
	if resp, err := l.admin.CreateTopic(l.Context(), int32(partitions), 1, configs, topic); err != nil {
		l.Fatalf("create %s: %v %s", topic, err, resp.ErrMessage)
	}
}

// fill produces records with the numbers [from, to) as value, each in a batch of its own,
// with one of ten keys and a timestamp long ago, a millisecond after the one before.
func (l *logs) fill(topic string, from, to int) {
	l.Helper()
	for n := from; n < to; n++ {
		r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key-%d", n%10), Value: fmt.Append(nil, n), Timestamp: time.UnixMilli(1_000_000_000_000 + int64(n))}
		if err := l.client.ProduceSync(l.Context(), r).FirstErr(); err != nil {
			l.Fatalf("produce to %s: %v", topic, err)
		}
	}
}

// records reads what is committed in a topic.
func (l *logs) records(topic string) []*kgo.Record {
	l.Helper()
	reader := kafkaClient(l.T, l.broker.Addr(), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer reader.Close()
	want := ends(l.T, l.client, topic)
	left := func() (n int) {
		for _, end := range want {
			n += int(max(end, 0))
		}
		return n
	}
	var all []*kgo.Record
	ctx, cancel := context.WithTimeout(l.Context(), time.Minute)
	defer cancel()
	for left() > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			l.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= want[int(r.Partition)] {
				want[int(r.Partition)] = 0
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all
}

func (l *logs) values(topic string) string {
	l.Helper()
	var all []string
	for _, r := range l.records(topic) {
		all = append(all, string(r.Value))
	}
	return strings.Join(all, " ")
}

// arrives waits until a topic holds what it should.
func (l *logs) arrives(topic, values string) {
	l.Helper()
	var got string
	for end := time.Now().Add(time.Minute); got != values; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			l.Fatalf("%s holds %q, not %q", topic, got, values)
		}
		got = l.values(topic)
	}
}

// trim removes the beginning of a topic, as retention does.
func (l *logs) trim(topic string, to int64) {
	l.Helper()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, At: to})
	resp, err := l.admin.DeleteRecords(l.Context(), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		l.Fatalf("trim %s: %v", topic, err)
	}
}

// cut removes the end of a log, from an offset on, while the broker is stopped: what a
// leader has that was elected although it had not got everything. The broker looks at all
// its logs when it starts, as after a crash.
func (l *logs) cut(topic string, from int64) {
	l.Helper()
	file := filepath.Join(l.broker.Dir(), "data", topic+"-0", "00000000000000000000.log")
	data, err := os.ReadFile(file)
	if err != nil {
		l.Fatal(err)
	}
	for at := 0; at+12 <= len(data); at += 12 + int(binary.BigEndian.Uint32(data[at+8:])) { // a batch begins with its offset and its length
		if binary.BigEndian.Uint64(data[at:]) == uint64(from) {
			err := os.Truncate(file, int64(at))
			if err == nil {
				err = os.Remove(filepath.Join(l.broker.Dir(), "data", ".kafka_cleanshutdown"))
			}
			if err != nil {
				l.Fatal(err)
			}
			return
		}
	}
	l.Fatalf("%s has no batch at %d", file, from)
}

func numbers(from, to int) string {
	return strings.Trim(fmt.Sprint(slices.Collect(func(yield func(int) bool) {
		for n := from; n < to && yield(n); n++ {
		}
	})), "[]")
}

// TestKafkaLogs reads topics of a real broker whose logs have holes, times of the broker,
// and partitions that come; and logs that are cut at their beginning or their end, or are
// gone, which a task says with the exact range and answers as onGap says (INV-7, G-2).
func TestKafkaLogs(t *testing.T) {
	broker := kafkatest.Start(t, kafkatest.Options{})
	client := kafkaClient(t, broker.Addr(), kgo.UnknownTopicRetries(-1))
	l := &logs{t, broker, client, kadm.NewClient(client)}
	l.create("appended", 1, "message.timestamp.type=LogAppendTime")
	l.create("compacted", 1, "cleanup.policy=compact", "segment.ms=9", "min.cleanable.dirty.ratio=0.01")
	l.create("trimmed", 1, "cleanup.policy=compact,delete", "segment.ms=9", "min.cleanable.dirty.ratio=0.01")
	for _, topic := range []string{"aborted", "cut", "deleted", "grows"} {
		l.create(topic, 1)
		l.fill(topic, 0, 10)
	}
	l.fill("appended", 0, 10)
	l.fill("compacted", 0, 100)
	l.fill("trimmed", 0, 100)
	l.transactions("aborted")
	tasks := map[string]string{
		"appended": "appended", "compacted": "compacted", "aborted": "aborted", "deleted": "deleted", "grows": "grows",
		"trimmed-stop": "trimmed", "trimmed-continue": "trimmed, onGap: continue",
		"cut-stop": "cut", "cut-continue": "cut, onGap: continue", "cut-once": "cut, onGap: continue, delivery: effectively-once",
	}
	var text strings.Builder
	text.WriteString(fmt.Sprintf("version: 1\nconnections: { a: { kafka: { brokers: [\"%s\"] } } }\ndefaults: { retry: { min: 200ms, max: 1s } }\ntasks:\n", broker.Addr()))
	for name, source := range tasks {
		l.create("to."+name, 1)
		text.WriteString(fmt.Sprintf("  %s: { target: a/to.%s, source: a/%s }\n", name, name, source))
	}
	config := filepath.Join(t.TempDir(), "hubferry.yaml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []string{"compacted", "trimmed"} {
		eventually(t, 3*time.Minute, topic+" is compacted", func() bool { return len(l.records(topic)) < 60 })
	}
	x := startRun(t, config)

	// Holes are no gaps, and the lag goes.
	for name := range tasks {
		eventually(t, 3*time.Minute, name+" has no lag", func() bool {
			s := x.status(name)
			return s.State == "running" && s.Lag == 0 && s.Moved > 0
		})
	}
	l.arrives("to.aborted", numbers(0, 10)+" 11 13")
	if got, want := l.values("to.compacted"), l.values("compacted"); !strings.HasSuffix(got, numbers(95, 100)) || len(got) < len(want) {
		t.Errorf("%s arrived of %s", got, want)
	}
	if text := x.log.String(); strings.Contains(text, "missing") {
		t.Errorf("a gap was seen where none is:\n%s", text)
	}
	// The times of the broker go along.
	from, to := l.records("appended"), l.records("to.appended")
	for i := range from {
		if !to[i].Timestamp.Equal(from[i].Timestamp) || from[i].Timestamp.Year() < 2020 {
			t.Errorf("record %d was appended at %s, and came with %s", i, from[i].Timestamp, to[i].Timestamp)
		}
	}
	// A partition that comes is read, and what was mapped stays where it is.
	if _, err := l.admin.UpdatePartitions(t.Context(), 3, "grows"); err != nil {
		t.Fatal(err)
	}
	manual := kafkaClient(t, broker.Addr(), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(-1))
	eventually(t, 3*time.Minute, "the new partition is there", func() bool {
		return manual.ProduceSync(t.Context(), &kgo.Record{Topic: "grows", Partition: 2, Value: []byte("new")}).FirstErr() == nil
	})
	l.arrives("to.grows", numbers(0, 10)+" new")
	// A topic that is deleted is said to be so.
	if _, err := l.admin.DeleteTopic(t.Context(), "deleted"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, "the deletion is told", func() bool { return strings.Contains(x.status("deleted").Error, "it was deleted") })
	x.stop()

	// The log is cut at its end, others at their beginning, and new records come.
	l.trim("trimmed", 99)
	if err := broker.Stop(); err != nil { // an election, and so a new epoch, comes of it
		t.Fatal(err)
	}
	l.cut("cut", 6)
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.trim("trimmed", 100)
	l.fill("trimmed", 100, 103)
	l.trim("trimmed", 102)
	l.fill("cut", 20, 26) // past where the tasks were
	x = startRun(t, config)
	for name, want := range map[string]string{
		"trimmed-stop": "events 100 to 101 are missing", "cut-stop": "events 6 to 9 are missing: the log was cut back to offset 6",
	} {
		eventually(t, 3*time.Minute, name+" stops", func() bool { return x.status(name).State == "failed" })
		if s := x.status(name); !strings.Contains(s.Error, want) || !strings.Contains(s.Error, "onGap: continue") {
			t.Errorf("%s: the verdict is %q, want %q in it", name, s.Error, want)
		}
	}
	for _, name := range []string{"to.cut-continue", "to.cut-once"} {
		l.arrives(name, numbers(0, 10)+" "+numbers(20, 26))
	}
	eventually(t, 3*time.Minute, "what is behind the gap arrives", func() bool { return strings.HasSuffix(l.values("to.trimmed-continue"), " 102") })
	if got := l.values("to.trimmed-continue"); strings.Contains(got, " 101") {
		t.Errorf("%s is more than there was", got)
	}
	l.arrives("to.cut-stop", numbers(0, 10))
	x.stop()
	// What is saved is where the log is now.
	x = startRun(t, config)
	l.fill("cut", 26, 28)
	for _, name := range []string{"to.cut-continue", "to.cut-once"} {
		l.arrives(name, numbers(0, 10)+" "+numbers(20, 28))
	}
	x.stop()
}

// transactions ends a topic with some, every other one aborted.
func (l *logs) transactions(topic string) {
	l.Helper()
	cl := kafkaClient(l.T, l.broker.Addr(), kgo.TransactionalID("of-the-test"), kgo.DefaultProduceTopic(topic))
	for n := 10; n < 15; n++ {
		if err := cl.BeginTransaction(); err != nil {
			l.Fatal(err)
		}
		if err := cl.ProduceSync(l.Context(), &kgo.Record{Value: fmt.Append(nil, n)}).FirstErr(); err != nil {
			l.Fatal(err)
		}
		if err := cl.EndTransaction(l.Context(), kgo.TransactionEndTry(n%2 == 1)); err != nil {
			l.Fatal(err)
		}
	}
}
