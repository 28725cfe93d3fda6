package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// like returns a source's answer, as the engine hands it over.
func like(b hubferry.Blueprint) func(context.Context) (hubferry.Blueprint, error) {
	return func(context.Context) (hubferry.Blueprint, error) { return b, nil }
}

func made(t *testing.T, c *cluster, o *kafka.TargetOptions, hub string, b func(context.Context) (hubferry.Blueprint, error)) error {
	t.Helper()
	if problems := o.Validate(); len(problems) > 0 {
		t.Fatal(problems)
	}
	target, err := connect(t, c.options(), hubferry.Env{}).Target(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close(context.WithoutCancel(t.Context())) })
	m, ok := target.(hubferry.Maker)
	if !ok {
		t.Fatal("the target is no Maker")
	}
	return m.Make(t.Context(), hub, b)
}

// settings returns partitions and chosen settings of a topic, by a client that does not
// know the driver.
func settings(t *testing.T, c *cluster, topic string, names ...string) (partitions int, values map[string]string) {
	t.Helper()
	cl := c.client(t)
	defer cl.Close()
	admin := kadm.NewClient(cl)
	topics, err := admin.ListTopics(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	configs, err := admin.DescribeTopicConfigs(t.Context(), topic)
	if err != nil || len(configs) != 1 {
		t.Fatalf("%v, %v", configs, err)
	}
	values = map[string]string{}
	for _, cfg := range configs[0].Configs {
		for _, name := range names {
			if cfg.Key == name {
				values[name] = cfg.MaybeValue()
			}
		}
	}
	return len(topics[topic].Partitions), values
}

// A topic is made as the source's topic is, whatever the brokers' own defaults are; but
// what would change its records, or is about brokers, stays behind.
func TestTopicIsCreatedLikeTheSource(t *testing.T) {
	c := newCluster(t)
	of := map[string]*string{}
	for k, v := range map[string]string{
		"retention.ms": "7200000", "cleanup.policy": "compact", "max.message.bytes": "2000000", "segment.bytes": "33554432",
		"min.insync.replicas": "1", "message.timestamp.type": "LogAppendTime",
	} {
		of[k] = &v
	}
	cl := c.client(t)
	defer cl.Close()
	if _, err := kadm.NewClient(cl).CreateTopic(t.Context(), 6, 1, of, "from"); err != nil {
		t.Fatal(err)
	}
	src, err := connect(t, c.options(), hubferry.Env{}).Source(t.Context(), "from", &kafka.SourceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(context.WithoutCancel(t.Context()))
	d, ok := src.(hubferry.Describer)
	if !ok {
		t.Fatal("the source is no Describer")
	}
	b, err := d.Describe(t.Context(), "")
	if err != nil || b.Partitions != 6 || b.Service != "kafka" {
		t.Fatalf("%+v, %v", b, err)
	}
	o := &kafka.TargetOptions{Ensure: kafka.EnsureCreate, TopicConfig: map[string]string{"retention.ms": "3600000"}, ReplicationFactor: 1}
	describe := func(ctx context.Context) (hubferry.Blueprint, error) { return d.Describe(ctx, "") }
	if err := made(t, c, o, "to", describe); err != nil {
		t.Fatal(err)
	}
	partitions, got := settings(t, c, "to", "retention.ms", "cleanup.policy", "max.message.bytes", "segment.bytes", "message.timestamp.type")
	want := map[string]string{
		"retention.ms": "3600000", "cleanup.policy": "compact", "max.message.bytes": "2000000", "segment.bytes": "33554432",
		"message.timestamp.type": "CreateTime",
	}
	if partitions != 6 {
		t.Errorf("%d partitions", partitions)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if err := made(t, c, o, "to", describe); err != nil {
		t.Errorf("make it again: %v", err)
	}
}

// A source of several topics tells of each, and of all how many partitions they need.
func TestSeveralTopicsAreDescribed(t *testing.T) {
	c := newCluster(t)
	for topic, partitions := range map[string]int32{"many": 7, "few": 2} {
		if err := c.CreateTopic(topic, partitions, map[string]string{"retention.ms": fmt.Sprint(partitions) + "000000"}); err != nil {
			t.Fatal(err)
		}
	}
	src, err := connect(t, c.options(), hubferry.Env{}).(hubferry.Selecting).SourceOf(t.Context(), hubferry.Selection{Pattern: "many|few"}, &kafka.SourceOptions{ConsumerGroup: "g"})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close(context.WithoutCancel(t.Context()))
	d, ok := src.(hubferry.Describer)
	if !ok {
		t.Fatal("the source is no Describer")
	}
	for hub, want := range map[string]string{"many": "7 7000000", "few": "2 2000000", "": "7 "} {
		b, err := d.Describe(t.Context(), hub)
		if got := fmt.Sprint(b.Partitions, " ", b.Settings["retention.ms"]); err != nil || got != want {
			t.Errorf("%q: %s, want %s (%v)", hub, got, want, err)
		}
	}
}

func TestEnsure(t *testing.T) {
	kafkaLike := hubferry.Blueprint{Service: "kafka", Partitions: 6, Settings: map[string]string{"retention.ms": "1000", "segment.bytes": "33554432"}}
	hubLike := hubferry.Blueprint{Partitions: 7, Settings: map[string]string{"retention.ms": "of another service"}}
	tests := []struct {
		name   string
		o      kafka.TargetOptions
		hub    string
		like   hubferry.Blueprint
		kind   hubferry.ErrorKind
		errors []string // parts of the error's text; none: there is no error
		counts int      // partitions afterwards; 0: there is no such topic
	}{
		{"off, missing", kafka.TargetOptions{}, "new", kafkaLike, 0, nil, 0},
		{"check, missing", kafka.TargetOptions{Ensure: kafka.EnsureCheck}, "new", kafkaLike, hubferry.NotFound, []string{"create"}, 0},
		{"check, different", kafka.TargetOptions{Ensure: kafka.EnsureCheck}, topicName, kafkaLike, hubferry.Fatal, []string{
			"it has 4 partitions, not 6", `retention.ms is "604800000", not "1000"`, "ensure: off",
		}, 4},
		{"check, equal", kafka.TargetOptions{Ensure: kafka.EnsureCheck}, topicName, hubferry.Blueprint{Partitions: 4}, 0, nil, 4},
		{"create, missing, like an event hub", kafka.TargetOptions{Ensure: kafka.EnsureCreate}, "new", hubLike, 0, nil, 7},
		{"create, there", kafka.TargetOptions{Ensure: kafka.EnsureCreate}, topicName, kafkaLike, 0, nil, 4},
		{"create, refused", kafka.TargetOptions{Ensure: kafka.EnsureCreate, ReplicationFactor: 9}, "new", hubLike, hubferry.Fatal, []string{"create topic new"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t)
			err := made(t, c, &tt.o, tt.hub, like(tt.like))
			if (err != nil) != (tt.errors != nil) || err != nil && hubferry.KindOf(err) != tt.kind {
				t.Fatalf("%v, of kind %v", err, hubferry.KindOf(err))
			}
			for _, part := range tt.errors {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
			if tt.counts == 0 {
				if c.PartitionInfo(tt.hub, 0) != nil {
					t.Error("the topic is there")
				}
				return
			}
			if n, _ := settings(t, c, tt.hub); n != tt.counts {
				t.Errorf("%d partitions, want %d", n, tt.counts)
			}
		})
	}
}

// A source that does not answer is told, not taken for one without settings.
func TestEnsureAsksTheSource(t *testing.T) {
	c := newCluster(t)
	gone := errors.New("gone")
	err := made(t, c, &kafka.TargetOptions{Ensure: kafka.EnsureCreate}, "new", func(context.Context) (hubferry.Blueprint, error) {
		return hubferry.Blueprint{}, gone
	})
	if !errors.Is(err, gone) {
		t.Errorf("%v", err)
	}
}

func TestSettingsAreKeptInSync(t *testing.T) {
	c := newCluster(t)
	values := make(chan string, 1)
	retention := "1000000"
	source := func(context.Context) (hubferry.Blueprint, error) {
		select {
		case retention = <-values:
		default:
		}
		return hubferry.Blueprint{Service: "kafka", Partitions: 4, Settings: map[string]string{"retention.ms": retention}}, nil
	}
	if err := made(t, c, &kafka.TargetOptions{SyncConfig: true, SyncInterval: time.Second}, topicName, source); err != nil {
		t.Fatal(err)
	}
	if _, got := settings(t, c, topicName, "retention.ms"); got["retention.ms"] != "1000000" {
		t.Errorf("at the start: %v", got)
	}
	values <- "2000000"
	for deadline := time.Now().Add(longWait); ; time.Sleep(50 * time.Millisecond) {
		if _, got := settings(t, c, topicName, "retention.ms"); got["retention.ms"] == "2000000" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the change of the source does not arrive")
		}
	}
}
