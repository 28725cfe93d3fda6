package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/hubferry/hubferry/bench/internal/measure"
	"github.com/hubferry/hubferry/internal/kafkatest"
)

// starters start the programs that can be compared.
var starters = map[string]func(ctx context.Context, b *bench) (*measure.Program, error){
	"hubferry":             startHubferry,
	"mirrormaker":          func(ctx context.Context, b *bench) (*measure.Program, error) { return startMirrorMaker(ctx, b, tuned) },
	"mirrormaker-defaults": func(ctx context.Context, b *bench) (*measure.Program, error) { return startMirrorMaker(ctx, b, "") },
	"loop":                 func(ctx context.Context, b *bench) (*measure.Program, error) { return startLoop(ctx, b) },
	"loop-headers":         func(ctx context.Context, b *bench) (*measure.Program, error) { return startLoop(ctx, b, withHeaders) },
}

func (b *bench) start(ctx context.Context, name string) (*measure.Program, error) {
	b.runs++
	p, err := starters[name](ctx, b)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return p, nil
}

// startHubferry runs hubferry with the least of a configuration: what is measured is what
// one gets. Each run has a group of its own, so that it begins at the beginning.
func startHubferry(ctx context.Context, b *bench) (*measure.Program, error) {
	dir := filepath.Join(b.dir, fmt.Sprintf("hubferry-%d", b.runs))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "hubferry.yaml")
	text := fmt.Sprintf(`version: 1
connections:
  west: { kafka: { brokers: ["%s"] } }
  east: { kafka: { brokers: ["%s"] } }
tasks:
  bench-%d: { source: { topic: west/%s, start: earliest }, target: east/%[4]s, %s }
%s
`, b.west.Addr(), b.east.Addr(), b.runs, topic, b.settings.task, b.settings.top)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, b.settings.hubferry, "run", "--config", file) //nolint:gosec // our own program
	if b.settings.profile != "" {
		cmd.Args = append(cmd.Args, "--cpu-profile", b.settings.profile)
	}
	return measure.Start(cmd)
}

// startLoop runs this program as the bare loop.
func startLoop(ctx context.Context, b *bench, more ...string) (*measure.Program, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{loopCommand, b.west.Addr(), b.east.Addr()}, more...)
	return measure.Start(exec.CommandContext(ctx, self, args...)) //nolint:gosec // ourselves
}

// least is what MirrorMaker needs to replicate one topic under its own name.
const least = `clusters = A, B
A.bootstrap.servers = %s
B.bootstrap.servers = %s
A->B.enabled = true
A->B.topics = bench
B->A.enabled = false
emit.heartbeats.enabled = false
A->B.emit.checkpoints.enabled = false
A->B.sync.group.offsets.enabled = false
A->B.emit.offset-syncs.enabled = false
A->B.sync.topic.acls.enabled = false
A->B.replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy
A->B.refresh.topics.interval.seconds = 5
replication.factor = 1
checkpoints.topic.replication.factor = 1
heartbeats.topic.replication.factor = 1
offset.storage.replication.factor = 1
status.storage.replication.factor = 1
config.storage.replication.factor = 1
tasks.max = 2
`

// tuned is for throughput: large fetches, large batches.
const tuned = `B.offset.flush.interval.ms = 10000
A.consumer.max.poll.records = 10000
A.consumer.fetch.min.bytes = 262144
A.consumer.fetch.max.wait.ms = 50
A.consumer.max.partition.fetch.bytes = 4194304
A.consumer.fetch.max.bytes = 67108864
B.producer.batch.size = 1048576
B.producer.linger.ms = 10
B.producer.buffer.memory = 134217728
B.producer.max.request.size = 4194304
B.producer.compression.type = none
B.producer.enable.idempotence = true
B.producer.max.in.flight.requests.per.connection = 5
`

func startMirrorMaker(ctx context.Context, b *bench, more string) (*measure.Program, error) {
	m, err := kafkatest.LaunchMirrorMaker(ctx, kafkatest.MirrorMakerOptions{
		Heap: "2g", JVM: []string{"-Xms256m"}, Properties: fmt.Sprintf(least, b.west.Addr(), b.east.Addr()) + more,
	})
	if err != nil {
		return nil, err
	}
	return &measure.Program{
		PID: m.PID(), Ended: m.Ended(),
		Stop: func() error { return errors.Join(m.Stop(), m.Remove()) },
		Log:  func() string { return strings.TrimSpace(m.Log()) },
	}, nil
}
