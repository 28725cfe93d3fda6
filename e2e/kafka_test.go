package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/kafkatest"
)

// kafkaJudge is Apache's own client for Kafka (testdata/Records.java).
type kafkaJudge struct {
	t      *testing.T
	jars   string
	broker *kafkatest.Broker
}

func newKafkaJudge(t *testing.T) *kafkaJudge {
	t.Helper()
	j := &kafkaJudge{t: t, broker: kafkatest.Start(t, kafkatest.Options{})}
	var err error
	if j.jars, err = kafkatest.Jars(t.Context()); err != nil {
		t.Fatal(err)
	}
	return j
}

func (j *kafkaJudge) run(args ...string) []byte {
	j.t.Helper()
	args = append([]string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", filepath.Join(j.jars, "*"), filepath.Join("testdata", "Records.java"), j.broker.Addr()}, args...)
	cmd := exec.CommandContext(j.t.Context(), "java", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		j.t.Fatalf("java Records %v: %v\n%s", args[5:], err, stderr.String())
	}
	return out
}

// create makes a topic that keeps records whose timestamps are old.
func (j *kafkaJudge) create(topic string, partitions int) {
	j.t.Helper()
	if out, err := j.broker.Tool(j.t.Context(), "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", j.broker.Addr(),
		"--create", "--topic", topic, "--partitions", strconv.Itoa(partitions), "--replication-factor", "1",
		"--config", "retention.ms=-1", "--config", "max.message.bytes=2000000"); err != nil {
		j.t.Fatalf("create %s: %v\n%s", topic, err, out)
	}
}

// kafkaRecord is a record as the judge sees it. Bytes are base64; nil is null.
type kafkaRecord struct {
	Topic         string      `json:"topic"`
	Partition     int         `json:"partition"`
	Offset        int64       `json:"offset"`
	Timestamp     int64       `json:"timestamp"`
	TimestampType string      `json:"timestampType"`
	Key           []byte      `json:"key"`
	Value         []byte      `json:"value"`
	Headers       [][2][]byte `json:"headers"`
	provenance    map[string]string
}

// dump returns the records of topics by partition, once there are so many of them, with
// their provenance apart.
func (j *kafkaJudge) dump(topics map[string]int) map[string]map[int][]kafkaRecord {
	j.t.Helper()
	args := []string{"dump"}
	all := map[string]map[int][]kafkaRecord{}
	for topic, n := range topics {
		args = append(args, fmt.Sprintf("%s=%d", topic, n))
		all[topic] = map[int][]kafkaRecord{}
	}
	have := map[string]int{}
	for d := json.NewDecoder(bytes.NewReader(j.run(args...))); d.More(); {
		r := kafkaRecord{provenance: map[string]string{}}
		if err := d.Decode(&r); err != nil {
			j.t.Fatal(err)
		}
		var own [][2][]byte
		for _, h := range r.Headers {
			if name := string(h[0]); strings.HasPrefix(name, "repl-") {
				r.provenance[name] = string(h[1])
			} else {
				own = append(own, h)
			}
		}
		r.Headers = own
		all[r.Topic][r.Partition] = append(all[r.Topic][r.Partition], r)
		have[r.Topic]++
	}
	if d := cmp.Diff(topics, have); d != "" {
		j.t.Fatalf("records by topic: %s", d)
	}
	return all
}

// same checks that what arrived is what was sent, and that the provenance names each hop.
func same(t *testing.T, what string, sent, got map[int][]kafkaRecord, path ...string) {
	t.Helper()
	for p, records := range sent {
		if len(records) != len(got[p]) {
			t.Errorf("%s: partition %d: %d records became %d", what, p, len(records), len(got[p]))
			continue
		}
		for i, want := range records {
			have := got[p][i]
			text := func(r *kafkaRecord) string {
				return fmt.Sprintf("key %q of nil %v, value %.40q (%d) of nil %v, headers %q, at %d %s",
					r.Key, r.Key == nil, r.Value, len(r.Value), r.Value == nil, r.Headers, r.Timestamp, r.TimestampType)
			}
			if a, b := text(&want), text(&have); a != b || !bytes.Equal(want.Value, have.Value) {
				t.Errorf("%s: partition %d, record %d:\n sent %s\n got  %s", what, p, i, a, b)
			}
			var places []string
			for _, hub := range path {
				places = append(places, fmt.Sprintf("%s/%d", hub, p))
			}
			if have.provenance["repl-source"] != strings.Join(places, ";") {
				t.Errorf("%s: partition %d, record %d came by %q, want %q", what, p, i, have.provenance["repl-source"], places)
			}
			if offsets := strings.Split(have.provenance["repl-sequence"], ";"); len(offsets) != len(path) || offsets[0] != strconv.FormatInt(want.Offset, 10) {
				t.Errorf("%s: partition %d, record %d: repl-sequence is %q, the first hop was %d", what, p, i, have.provenance["repl-sequence"], want.Offset)
			}
		}
	}
}

// TestKafkaFidelity moves records of every shape from Kafka to Kafka, and from Kafka over
// an event hub back to Kafka. Apache's own client writes them and reads what arrives
// (INV-4, INV-5).
func TestKafkaFidelity(t *testing.T) {
	j := newKafkaJudge(t)
	h := startHubs(t, "west/middle:4:one", "west/typed:1:one", "east/none:1")
	j.create("origin", 4)
	n, err := strconv.Atoi(strings.TrimSpace(string(j.run("produce", "origin"))))
	if err != nil {
		t.Fatal(err)
	}
	sendAll(t, h.west, "typed", typed())
	config := h.writeConfig(t, fmt.Sprintf(`  kafka: { kafka: { brokers: ["%s"] } }
tasks:
  direct: { source: kafka/origin, target: { hub: kafka/direct, ensure: create } }
  out:    { source: kafka/origin, target: west/middle }
  back:   { source: { hub: west/middle, consumerGroup: one }, target: { hub: kafka/back, ensure: create, topicConfig: { retention.ms: "-1" } } }
  typed:  { source: { hub: west/typed, consumerGroup: one }, target: { hub: kafka/typed, ensure: create, compression: zstd } }
`, j.broker.Addr()))
	ferry := startRun(t, config)
	records := j.dump(map[string]int{"origin": n, "direct": n, "back": n, "typed": len(typed())})
	ferry.stop()
	sent, direct, back := records["origin"], records["direct"], records["back"]
	origin, _, _ := strings.Cut(direct[0][0].provenance["repl-source"], "/origin/")
	if len(origin) < 20 {
		t.Errorf("the cluster has the name %q in the provenance", origin)
	}
	same(t, "Kafka to Kafka", sent, direct, origin+"/origin")
	same(t, "Kafka to event hub to Kafka", sent, back, origin+"/origin", h.place("middle"))
	checkTyped(t, records["typed"][0])
}

// typed are events of an event hub whose properties have types.
func typed() []message {
	text := "application/json"
	return []message{{
		key: "device-1",
		AMQPAnnotatedMessage: azeventhubs.AMQPAnnotatedMessage{
			Body:                  azeventhubs.AMQPAnnotatedMessageBody{Data: [][]byte{[]byte("body")}},
			ApplicationProperties: map[string]any{"n": int64(-7)},
			Properties:            &azeventhubs.AMQPAnnotatedMessageProperties{MessageID: "id-1", ContentType: &text},
		},
	}, {
		AMQPAnnotatedMessage: azeventhubs.AMQPAnnotatedMessage{
			Body:                  azeventhubs.AMQPAnnotatedMessageBody{Value: "a value"},
			ApplicationProperties: map[string]any{"plain": "text"},
			Properties:            &azeventhubs.AMQPAnnotatedMessageProperties{MessageID: uint64(7)},
		},
	}}
}

// checkTyped checks that an event of an event hub is a record that people can read.
func checkTyped(t *testing.T, got []kafkaRecord) {
	t.Helper()
	if len(got) != 2 {
		t.Fatalf("%d records", len(got))
	}
	show := func(r *kafkaRecord) []string {
		out := []string{string(r.Key), string(r.Value)}
		for _, h := range r.Headers {
			out = append(out, string(h[0])+"="+string(h[1]))
		}
		return out
	}
	want := [][]string{
		{
			"device-1", "body", "n=-7", "amqp-message-id=id-1", "amqp-content-type=application/json",
			"amqp-types=n=long;amqp-content-type=symbol",
		},
		{"", "\x00Sw\xa1\x07a value", "plain=text", "amqp-message-id=7", "amqp-types=amqp-message-id=ulong", "amqp-body=sections"},
	}
	for i := range got {
		if d := cmp.Diff(want[i], show(&got[i])); d != "" {
			t.Errorf("record %d: %s", i, d)
		}
		if age := time.Since(time.UnixMilli(got[i].Timestamp)); age < 0 || age > time.Hour {
			t.Errorf("record %d has the timestamp %d, the event was enqueued just now", i, got[i].Timestamp)
		}
	}
	if got[1].Key != nil {
		t.Errorf("an event without a key has the record key %q", got[1].Key)
	}
}
