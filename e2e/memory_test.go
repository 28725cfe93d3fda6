package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	contract "github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/eventhubs"
	"github.com/hubferry/hubferry/hub"
)

// memoryCase is a load that must not make the process larger than it may be.
type memoryCase struct {
	name                     string
	hubs, partitions         int
	events                   int // of each partition
	size                     int
	longer                   int // times the events in the long form
	memory                   int // MiB, in the configuration
	partitionsLong, hubsLong int
	fault                    *hub.Fault    // of the target
	away                     time.Duration // the target goes away for so long
}

// memoryCases are what the budget is for.
func memoryCases() []memoryCase {
	return []memoryCase{
		{name: "backlog", hubs: 1, partitions: 8, events: 7_500, longer: 17, size: 1024, memory: 80},
		{name: "slow target", hubs: 1, partitions: 8, events: 7_500, longer: 17, size: 1024, memory: 80, fault: &hub.Fault{Kind: hub.FaultDelay, After: 100 * time.Millisecond}},
		{name: "throttling target", hubs: 1, partitions: 8, events: 7_500, longer: 17, size: 1024, memory: 80, fault: &hub.Fault{Kind: hub.FaultRefuse, Times: 8, Skip: 8}},
		{name: "target away", hubs: 1, partitions: 8, events: 7_500, longer: 17, size: 1024, memory: 80, away: 3 * time.Second},
		{name: "events of 1 MB", hubs: 1, partitions: 4, events: 60, longer: 4, size: 1_000_000, memory: 224}, // the hub keeps 256 MiB of a partition in memory
		{name: "many partitions", hubs: 1, partitions: 120, partitionsLong: 1000, events: 200, longer: 1, size: 1024, memory: 128},
		{name: "many tasks", hubs: 25, hubsLong: 100, partitions: 2, events: 1000, longer: 10, size: 1024, memory: 128},
	}
}

// TestMemory runs the program with a budget and sees that it keeps to it (INV-6): the most
// that was resident at one time, as the operating system counts it. Its long form
// (HUBFERRY_LONG=1) has a million events, 1,000 partitions, a hundred tasks and the
// default budget of 256 MiB; the short one less of all.
func TestMemory(t *testing.T) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("needs /proc, which Linux has")
	}
	binary := plainProgram(t)
	for _, c := range memoryCases() {
		t.Run(c.name, func(t *testing.T) {
			if os.Getenv("HUBFERRY_LONG") != "" {
				c.events *= c.longer
				c.memory = 256
				c.partitions, c.hubs = max(c.partitions, c.partitionsLong), max(c.hubs, c.hubsLong)
				if c.away > 0 {
					c.away = 2 * time.Minute
				}
			}
			c.run(t, binary)
		})
	}
}

// run moves everything, and looks at the peak.
func (c *memoryCase) run(t *testing.T, binary string) {
	t.Helper()
	var faults hub.Faults
	o := hub.Options{Faults: &faults, Namespaces: []hub.NamespaceOptions{{Name: "west"}, {Name: "east"}}}
	o.Limits.Partitions = max(c.partitions, 32)
	var names []string
	for i := range c.hubs {
		name := fmt.Sprintf("load-%d", i)
		names = append(names, name)
		for n := range o.Namespaces {
			o.Namespaces[n].Hubs = append(o.Namespaces[n].Hubs, hub.HubOptions{Name: name, Partitions: c.partitions, ConsumerGroups: []string{"one"}})
		}
	}
	h := serveHere(t, o)
	fill(t, h.west, names, c)
	through := startRelay(t, h.ports[1])
	h.east = strings.Replace(h.east, h.ports[1], through.address, 1)
	if c.fault != nil {
		f := *c.fault
		f.Place = hub.Place{Namespace: "east"}
		defer faults.Add(f)()
	}
	config := h.writeConfig(t, fmt.Sprintf(`
memory: %dMiB
defaults: { retry: { min: 200ms, max: 1s } }
tasks:
  "copy-{hub}":
    forEach: { hub: [%s] }
    source: { hub: "west/{hub}", consumerGroup: one, start: earliest }
    target: "east/{hub}"
`, c.memory, strings.Join(names, ", ")))
	total := c.hubs * c.partitions * c.events
	x := startRunOf(t, binary, config)
	if c.away > 0 {
		eventually(t, 3*time.Minute, "events arrive", func() bool { return x.moved() > 0 })
		through.away.Store(true)
		through.cut()
		time.Sleep(c.away)
		through.away.Store(false)
	}
	eventually(t, 10*time.Minute, fmt.Sprintf("%d events are moved", total), func() bool { return x.moved() >= total })
	peak := peakMemory(t, x.cmd.Process.Pid)
	t.Logf("%d events of %d bytes in %d partitions: peak %.0f MiB of %d", total, c.size, c.hubs*c.partitions, peak, c.memory)
	allowed := float64(c.memory)
	if c.size > 1<<19 {
		// What a batch of such events leaves behind is a good part of the budget, and on a busy
		// machine the collector does not get to it in time.
		allowed *= 1.25
	}
	if peak > allowed {
		t.Errorf("the process took %.0f MiB, and %.0f are allowed", peak, allowed)
	}
	x.stop()
}

// plainProgram returns hubferry without the race detector, which takes many times the memory.
func plainProgram(t *testing.T) string {
	t.Helper()
	if !raceEnabled {
		return program
	}
	name := filepath.Join(t.TempDir(), "hubferry")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", name, "github.com/hubferry/hubferry/cmd/hubferry")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build hubferry: %v\n%s", err, out)
	}
	return name
}

// peakMemory returns how many MiB of a process were resident at most.
func peakMemory(t *testing.T, pid int) float64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%g kB", &kib); err != nil {
		t.Fatal("VmHWM:", err)
	}
	return kib / 1024
}

// fill puts the events of a case into its hubs.
func fill(t *testing.T, connection string, names []string, c *memoryCase) {
	t.Helper()
	conn, err := eventhubs.Connect(t.Context(), &eventhubs.ConnectionOptions{ConnectionString: contract.NewSecret(connection)}, contract.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	target, err := conn.Target(t.Context(), &eventhubs.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		w, err := target.Open(t.Context(), name, contract.Trail{Mode: contract.TrailNone})
		if err != nil {
			t.Fatal(err)
		}
		var g errgroup.Group
		g.SetLimit(20)
		for p := range c.partitions {
			g.Go(func() error { return fillPartition(t.Context(), w, p, c) })
		}
		if err := errors.Join(g.Wait(), w.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
}

func fillPartition(ctx context.Context, w contract.Writer, p int, c *memoryCase) error {
	const most = 1000
	e := contract.NewEvent(&contract.Content{Body: make([]byte, c.size)})
	e.Key = contract.Text(fmt.Sprintf("key-%d", p))
	for left := c.events; left > 0; {
		run := contract.Run{Partition: p}
		for range min(left, most) {
			run.Events = append(run.Events, &e)
		}
		if _, err := w.Write(ctx, run); err != nil {
			return err
		}
		left -= len(run.Events)
	}
	return nil
}
