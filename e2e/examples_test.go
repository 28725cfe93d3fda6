package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/audit/azure"
)

// example starts the hub that a configuration describes, on free ports, and the task.
func example(t *testing.T, name string) (*hubs, *runner) {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "examples", name, "hubferry.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// A copy, so that the checkpoints do not end up in the repository.
	file := filepath.Join(t.TempDir(), "hubferry.yaml")
	if err := os.WriteFile(file, source, 0o600); err != nil {
		t.Fatal(err)
	}
	h := &hubs{args: []string{"hub", "--config", file}}
	for i, variable := range []string{"WEST_LISTEN", "EAST_LISTEN"} {
		h.ports[i] = freePort(t)
		t.Setenv(variable, h.ports[i])
	}
	h.start(t)
	t.Setenv("WEST_CONNECTION", h.west)
	t.Setenv("EAST_CONNECTION", h.east)
	return h, startRun(t, file)
}

// TestExamples runs every configuration under examples/ as it stands.
func TestExamples(t *testing.T) {
	tested := map[string]func(t *testing.T){
		"replication": func(t *testing.T) {
			h, ferry := example(t, "replication")
			for _, hub := range []string{"flights", "quakes"} {
				s := &sender{connection: h.west, hub: hub, keys: 50, perSecond: 100_000}
				if err := s.run(t, 1000); err != nil {
					t.Fatal(err)
				}
				if r := settled(t, h, hub, hub); !r.Faultless() || r.Events != 1000 || r.Duplicates != 0 {
					t.Errorf("%s: %+v", hub, r)
				}
			}
			ferry.stop()
		},
		"both-ways": func(t *testing.T) {
			h, ferry := example(t, "both-ways")
			for _, connection := range []string{h.west, h.east} {
				s := &sender{connection: connection, hub: "flights", keys: 50, perSecond: 100_000}
				if err := s.run(t, 500); err != nil {
					t.Fatal(err)
				}
			}
			eventually(t, 3*time.Minute, "both sides have all", func() bool {
				w, err1 := total(t, h.west, "flights")
				e, err2 := total(t, h.east, "flights")
				return err1 == nil && err2 == nil && w >= 1000 && e >= 1000
			})
			time.Sleep(2 * time.Second) // what goes in circles would go on coming
			for _, connection := range []string{h.west, h.east} {
				if n, err := total(t, connection, "flights"); err != nil || n != 1000 {
					t.Errorf("%d events on one side, want 1000 (%v)", n, err)
				}
			}
			ferry.stop()
		},
		"kafka": func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "machines.state", "machines.alarms"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(cluster.Close)
			broker := cluster.ListenAddrs()[0]
			t.Setenv("PLANT_BROKER", broker)
			t.Setenv("OFFICE_BROKER", broker)
			h, ferry := example(t, "kafka")
			cl := kafkaClient(t, broker)
			for _, topic := range []string{"machines.state", "machines.alarms"} {
				for i := range 300 {
					r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "machine-%d", i%20), Value: fmt.Append(nil, i)}
					cl.Produce(t.Context(), r, func(_ *kgo.Record, err error) {
						if err != nil {
							t.Errorf("produce: %v", err)
						}
					})
				}
			}
			eventually(t, 3*time.Minute, "the event hub and both topics have all", func() bool {
				n, err := total(t, h.west, "machines")
				return err == nil && n == 300 && sum(ends(t, cl, "plant.machines.state")) == 300 && sum(ends(t, cl, "plant.machines.alarms")) == 300
			})
			ferry.stop()
		},
		"custom": func(t *testing.T) {
			custom := filepath.Join(t.TempDir(), "custom")
			if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", custom, "../examples/custom").CombinedOutput(); err != nil {
				t.Fatalf("build: %v\n%s", err, out)
			}
			standard := program
			program = custom
			t.Cleanup(func() { program = standard })
			h, ferry := example(t, "custom")
			var messages []message
			for i := range 100 {
				messages = append(messages, message{key: fmt.Sprint(i % 7), AMQPAnnotatedMessage: azeventhubs.AMQPAnnotatedMessage{
					Body:                  azeventhubs.AMQPAnnotatedMessageBody{Data: [][]byte{fmt.Append(nil, i)}},
					ApplicationProperties: map[string]any{"email": "someone@example.org", "kept": int64(i)},
				}})
			}
			sendAll(t, h.west, "flights", messages)
			caughtUp(t, h, "flights", "flights", 3*time.Minute)
			redacted(t, h)
			ferry.stop()
		},
	}
	folders, err := os.ReadDir(filepath.Join("..", "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !f.IsDir() {
			continue
		}
		test := tested[f.Name()]
		if test == nil {
			t.Errorf("no test runs examples/%s", f.Name())
			continue
		}
		t.Run(f.Name(), test)
	}
}

// redacted checks that just the one property is gone.
func redacted(t *testing.T, h *hubs) {
	t.Helper()
	in, _, err := azure.ReadHub(t.Context(), h.west, "flights")
	if err != nil {
		t.Fatal(err)
	}
	out, partitions, err := azure.ReadHub(t.Context(), h.east, "flights")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range out {
		if _, ok := r.Parts["property/email"]; ok {
			t.Fatal("the property was not redacted")
		}
	}
	for i := range in {
		delete(in[i].Parts, "property/email")
	}
	r := audit.Compare(in, out, audit.Options{Source: h.place("flights"), SourcePartitions: partitions, TargetPartitions: partitions})
	if !r.Faultless() || r.Events != 100 || strings.Join(r.Examples, "") != "" {
		t.Errorf("%+v", r)
	}
}
