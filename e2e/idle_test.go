package e2e

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub"
)

// TestIdle measures what a hundred tasks cost that have nothing to do, for a minute: CPU,
// memory, and frames on the wire, of which the service sees each. It is part of the long
// forms: set HUBFERRY_LONG=1.
func TestIdle(t *testing.T) {
	if os.Getenv("HUBFERRY_LONG") == "" {
		t.Skip("set HUBFERRY_LONG=1 to watch idle tasks for a minute")
	}
	const tasks, partitions = 100, 2
	var frames, transfers atomic.Int64
	o := hub.Options{Namespaces: []hub.NamespaceOptions{{Name: "west"}, {Name: "east"}}, Trace: func(line string) {
		frames.Add(1)
		if strings.Contains(line, "transfer") {
			transfers.Add(1)
		}
	}}
	var names []string
	for i := range tasks {
		names = append(names, fmt.Sprintf("idle-%d", i))
		for n := range o.Namespaces {
			o.Namespaces[n].Hubs = append(o.Namespaces[n].Hubs, hub.HubOptions{Name: names[i], Partitions: partitions, ConsumerGroups: []string{"one"}})
		}
	}
	h := serveHere(t, o)
	c := memoryCase{partitions: partitions, events: 1, size: 1024}
	fill(t, h.west, names, &c)
	config := h.writeConfig(t, fmt.Sprintf(`
tasks:
  "idle-{hub}":
    forEach: { hub: [%s] }
    source: { hub: "west/{hub}", consumerGroup: one, start: earliest }
    target: "east/{hub}"
`, strings.Join(names, ", ")))
	x := startRunOf(t, plainProgram(t), config)
	eventually(t, 3*time.Minute, "all partitions are moved", func() bool { return x.moved() >= tasks*partitions })
	time.Sleep(10 * time.Second) // the last checkpoints
	frames.Store(0)
	transfers.Store(0)
	before := cpuOf(t, x.cmd.Process.Pid)
	time.Sleep(time.Minute)
	cpu, peak := cpuOf(t, x.cmd.Process.Pid)-before, peakMemory(t, x.cmd.Process.Pid)
	t.Logf("%d idle tasks with %d partitions each: %s of CPU, %d frames, %d of them transfers, in a minute; peak %.0f MiB", tasks, partitions, cpu, frames.Load(), transfers.Load(), peak)
	if cpu > 3*time.Second || peak > 256 || transfers.Load() > tasks*partitions*6 {
		t.Error("an idle task costs more than a twentieth of a processor for all, the budget, or a request in ten seconds for each partition")
	}
	x.stop()
}

// cpuOf returns the CPU time, user and system, that a process has used.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("needs /proc, which Linux has:", err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	var ticks int64
	for _, i := range []int{14 - 3, 15 - 3} { // proc(5); a tick is 10 ms
		n, err := strconv.ParseInt(string(fields[i]), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
