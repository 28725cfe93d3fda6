package interop

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	checkpoints "github.com/hubferry/hubferry/checkpoint/all"
	"github.com/hubferry/hubferry/config"
	drivers "github.com/hubferry/hubferry/driver/all"
	"github.com/hubferry/hubferry/engine"
)

var replicateCases = []testCase{
	{"what it sent, replicated by a task, reads the same", replicated},
}

// replicated sends events with everything that the SDK can write, lets a task carry them
// to another hub, and compares what the same SDK reads on both sides (INV-5). Java and
// JavaScript judge the char and decimal properties that the SDK for Go cannot read.
func replicated(t *trial) {
	from, to := t.newHub(t.T, 1, "ferry"), t.newHub(t.T, 1)
	sent := everything(t)
	t.send(from, "0", sent...)
	stop := startTask(t, from, to)
	defer stop()
	source, target := t.receive(from, "0", earliest, len(sent)), t.receive(to, "0", earliest, len(sent))
	for i := range source {
		want, got := source[i], target[i]
		hops := slices.DeleteFunc(slices.Clone(got.Properties), func(n named) bool { return !strings.HasPrefix(n.Name, "repl-") })
		if len(hops) != 5 {
			t.Errorf("event %d has %d properties of provenance, want 5: %v", i, len(hops), hops)
		}
		got.Properties = slices.DeleteFunc(got.Properties, func(n named) bool { return strings.HasPrefix(n.Name, "repl-") })
		if diff := cmp.Diff(withoutPlace(want), withoutPlace(got)); diff != "" {
			t.Errorf("event %d (-source +target):\n%s", i, diff)
		}
	}
}

// everything is an event for each part of one that the client can write.
func everything(t *trial) []event {
	types := withBody([]byte("types"))
	types.Properties = append(everyType(), compoundTypes()...)
	message := withBody(filler(300))
	message.Message = everyField()
	message.Annotations = []named{{"x-opt-custom", integer("long", 7)}, {"other", symbol("s")}}
	events := []event{withBody(nil), withBody(filler(70_000)), types, message}
	if !t.is("java") {
		v := value{T: "map", Map: [][2]value{{text("a"), integer("int", 1)}, {text("b"), list(text("c"), null())}}}
		footer := withBody([]byte("footer"))
		footer.Footer = []named{{"checksum", integer("int", 5)}}
		events = append(events, footer, event{AMQPValue: &v}, event{AMQPSequence: []value{integer("int", 1), text("two")}})
	}
	if t.is("go", "python") {
		events = append(events, event{Data: []string{base64.StdEncoding.EncodeToString([]byte("one")), base64.StdEncoding.EncodeToString(filler(300))}})
	} else {
		rare := withBody([]byte("rare"))
		rare.Properties = rareTypes(t)
		events = append(events, rare)
	}
	return events
}

// withoutPlace is an event without what differs from hub to hub, in a fixed order.
func withoutPlace(e event) event {
	e.Seq, e.Offset, e.EnqueuedMs, e.Partition, e.Metrics = 0, "", 0, "", nil
	if e.AMQPValue != nil {
		v := canonical(*e.AMQPValue)
		e.AMQPValue = &v
	}
	for _, section := range []*[]named{&e.Properties, &e.Message, &e.Annotations, &e.Footer} {
		*section = slices.DeleteFunc(viewSection("", *section), func(n named) bool { return strings.HasPrefix(n.Name, "x-opt-") && n.Name != "x-opt-custom" })
		if len(*section) == 0 {
			*section = nil
		}
	}
	return e
}

// startTask runs a task from one hub to another, as hubferry run does, until stop.
func startTask(t *trial, from, to string) (stop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hubferry.yaml")
	text := fmt.Sprintf(`version: 1
connections: { hub: { eventhubs: { connectionString: %q } } }
checkpoints: { mem: {} }
tasks: { copy: { source: { hub: hub/%s, consumerGroup: ferry }, target: hub/%s } }
`, t.conn(from).String, from, to)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := config.Load(config.Input{File: file, Lookup: os.LookupEnv}, &config.Registry{Drivers: drivers.Drivers(), Stores: checkpoints.Stores()})
	if err != nil {
		t.Fatal(err)
	}
	built, err := app.Build(t.Context(), config.BuildOptions{Env: hubferry.Env{Instance: "interop"}})
	if err != nil {
		t.Fatal(err)
	}
	running, err := engine.New(built.Tasks, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- running.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the task did not stop cleanly: %v", err)
		}
		closing, done := context.WithTimeout(context.Background(), 10*time.Second)
		defer done()
		if err := built.Close(closing); err != nil {
			t.Errorf("close what the task held open: %v", err)
		}
	}
}
