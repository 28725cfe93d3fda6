package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/audit/azure"
	"github.com/hubferry/hubferry/hub"
)

// aging is a pair of namespaces in this process, whose clock is three days slow and can be
// put forward: never beyond the present, or tokens would be expired.
type aging struct {
	hubs
	server *hub.Server
	faults hub.Faults
	ahead  atomic.Int64
}

func startAging(t *testing.T, source hub.HubOptions) *aging {
	t.Helper()
	a := &aging{}
	a.ahead.Store(-int64(72 * time.Hour))
	o := hub.Options{Now: func() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }, Faults: &a.faults}
	o.Namespaces = []hub.NamespaceOptions{
		{Name: "west", Hubs: []hub.HubOptions{source}}, {Name: "east", Hubs: []hub.HubOptions{{Name: "out", Partitions: 1}}},
	}
	var err error
	if a.server, err = hub.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		_ = a.server.Close(context.WithoutCancel(t.Context()))
		cancel()
	})
	for i, to := range []*string{&a.west, &a.east} {
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		a.ports[i] = ln.Addr().String()
		*to = hub.ConnectionString(a.ports[i], hub.DefaultRule(), "")
		go func() { _ = a.server.Serve(serving, ln, o.Namespaces[i].Name) }()
	}
	return a
}

// load sends n keyed events to the source.
func (a *aging) load(t *testing.T, n, keys int) {
	t.Helper()
	s := &sender{connection: a.west, hub: "in", keys: keys, perSecond: 100_000}
	if err := s.run(t, n); err != nil {
		t.Fatal(err)
	}
}

// begin returns the sequence number of the first event that the source retains.
func (a *aging) begin(t *testing.T) int64 {
	t.Helper()
	client, err := azeventhubs.NewConsumerClientFromConnectionString(a.west, "in", azeventhubs.DefaultConsumerGroup, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(t.Context()) }()
	p, err := client.GetPartitionProperties(t.Context(), "0", nil)
	if err != nil {
		t.Fatal(err)
	}
	return p.BeginningSequenceNumber
}

// replicate runs the task until it has moved all, and stops it.
func (a *aging) replicate(t *testing.T, config string, want int) {
	t.Helper()
	x := startRun(t, config)
	eventually(t, 3*time.Minute, "the target has all", func() bool {
		n, err := total(t, a.east, "out")
		return err == nil && n >= want
	})
	x.stop()
}

// gapTask has its partitions soon, and keeps them on a machine that is busy: a claim that is lost repeats events, of which
// the tests know how many there are.
const gapTask = `
defaults: { onGap: POLICY, balance: { interval: 300ms, expiry: 1m } }
tasks:
  t: { source: { hub: west/in, consumerGroup: one }, target: east/out }
`

// TestGaps lets retention overtake the reader and creates a hub again under its name: the
// verdict is right each time, and names the range (INV-7, G-1, G-2).
func TestGaps(t *testing.T) {
	in := hub.HubOptions{Name: "in", Partitions: 1, ConsumerGroups: []string{"one"}, Retention: hub.Retention{For: time.Hour}}
	for name, c := range map[string]struct {
		harm func(t *testing.T, a *aging)
		want string // of the error under onGap: stop
		more int    // events that arrive under onGap: continue
	}{
		"retention": {func(t *testing.T, a *aging) {
			a.load(t, 300, 10)
			a.ahead.Add(int64(2 * time.Hour))
			a.load(t, 200, 10)
			eventually(t, 3*time.Minute, "retention takes what is too old", func() bool { return a.begin(t) == 800 })
		}, "events 500 to 799 are missing", 200},
		"created again": {func(t *testing.T, a *aging) {
			a.again(t, in)
			a.load(t, 700, 10) // past the old checkpoint
		}, "created again", 700},
		"created again, and shorter": {func(t *testing.T, a *aging) {
			a.again(t, in)
			a.load(t, 50, 10)
		}, "created again", 50},
	} {
		for _, policy := range []string{"stop", "continue"} {
			t.Run(name+", "+policy, func(t *testing.T) {
				t.Parallel() // they mostly wait
				a := startAging(t, in)
				config := a.writeConfig(t, strings.Replace(gapTask, "POLICY", policy, 1))
				a.load(t, 500, 10)
				a.replicate(t, config, 500)
				c.harm(t, a)
				x := startRun(t, config)
				more := c.more
				if policy == "stop" {
					eventually(t, 3*time.Minute, "the task fails", func() bool { return x.status("t").State == "failed" })
					if s := x.status("t"); !strings.Contains(s.Error, c.want) {
						t.Errorf("the verdict is %q, want %q in it", s.Error, c.want)
					}
					more = 0
				}
				eventually(t, 3*time.Minute, "what is there arrives", func() bool {
					n, err := total(t, a.east, "out")
					return err == nil && n == 500+more
				})
				time.Sleep(500 * time.Millisecond)
				if n, err := total(t, a.east, "out"); err != nil || n != 500+more {
					t.Errorf("%d events arrived, want %d (%v)", n, 500+more, err)
				}
				x.stop()
			})
		}
	}
}

// again deletes the source and creates it anew.
func (a *aging) again(t *testing.T, in hub.HubOptions) {
	t.Helper()
	if err := a.server.DeleteHub(t.Context(), "west", "in"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond) // another creation time
	if err := a.server.CreateHub(t.Context(), "west", in); err != nil {
		t.Fatal(err)
	}
}

// TestGapWhileRunning lets retention overtake a reader that its target holds up, and
// creates the source again under a running task.
func TestGapWhileRunning(t *testing.T) {
	in := hub.HubOptions{Name: "in", Partitions: 1, ConsumerGroups: []string{"one"}, Retention: hub.Retention{For: time.Hour}}
	task := strings.NewReplacer("POLICY", "stop", "onGap", "window: { events: 100 }, retry: { min: 200ms, max: 500ms }, onGap",
		"consumerGroup: one", "consumerGroup: one, prefetch: 10").Replace(gapTask)
	t.Run("retention", func(t *testing.T) {
		t.Parallel()
		a := startAging(t, in)
		x := startRun(t, a.writeConfig(t, task))
		eventually(t, 3*time.Minute, "the task runs", func() bool { return x.status("t").State == "running" })
		busy := a.faults.Add(hub.Fault{Place: hub.Place{Namespace: "east"}, Kind: hub.FaultRefuse, Condition: hub.InternalError})
		a.load(t, 500, 10)
		eventually(t, 3*time.Minute, "the target holds it up", func() bool { return x.status("t").State == "retrying" })
		a.ahead.Add(int64(2 * time.Hour))
		a.load(t, 200, 10)
		eventually(t, 3*time.Minute, "retention takes what is too old", func() bool { return a.begin(t) == 500 })
		busy()
		eventually(t, 3*time.Minute, "the task fails", func() bool { return x.status("t").State == "failed" })
		n, err := total(t, a.east, "out")
		if want := fmt.Sprintf("events %d to 499 are missing", n); err != nil || n == 0 || !strings.Contains(x.status("t").Error, want) {
			t.Errorf("the verdict is %q, want %q in it (%v)", x.status("t").Error, want, err)
		}
		x.stop()
	})
	t.Run("created again", func(t *testing.T) {
		t.Parallel()
		a := startAging(t, in)
		x := startRun(t, a.writeConfig(t, task))
		a.load(t, 500, 10)
		eventually(t, 3*time.Minute, "all has arrived", func() bool { n, err := total(t, a.east, "out"); return err == nil && n == 500 })
		a.again(t, in)
		a.load(t, 700, 10)
		eventually(t, 3*time.Minute, "the task fails", func() bool { return x.status("t").State == "failed" })
		if s := x.status("t"); !strings.Contains(s.Error, "created again") {
			t.Errorf("the verdict is %q", s.Error)
		}
		if n, err := total(t, a.east, "out"); err != nil || n != 500 {
			t.Errorf("%d events arrived, want 500 (%v)", n, err)
		}
		x.stop()
	})
}

// compacted waits until compaction has taken most of what the source got.
func (a *aging) compacted(t *testing.T) {
	t.Helper()
	eventually(t, 3*time.Minute, "the source is compacted", func() bool {
		records, _, err1 := azure.ReadHub(t.Context(), a.west, "in")
		n, err2 := total(t, a.west, "in")
		return err1 == nil && err2 == nil && len(records) < n/2
	})
}

// TestGapsOfCompaction shows that the holes of a compacted hub are no gaps once it is said
// to be one, from the start on and after a while of standing still; and what a task says
// that was not told.
func TestGapsOfCompaction(t *testing.T) {
	in := hub.HubOptions{Name: "in", Partitions: 1, ConsumerGroups: []string{"one"}, Retention: hub.Retention{Compact: true}}
	task := strings.Replace(gapTask, "POLICY", "stop", 1)
	t.Run("said", func(t *testing.T) {
		t.Parallel()
		a := startAging(t, in)
		config := a.writeConfig(t, strings.Replace(task, "consumerGroup: one", "consumerGroup: one, compacted: true", 1))
		for range 2 {
			a.load(t, 1000, 10)
			a.compacted(t)
			x := startRun(t, config)
			eventually(t, 3*time.Minute, "lag is gone", func() bool { s := x.status("t"); return s.State == "running" && s.Lag == 0 && s.Moved > 0 })
			x.stop()
			// What the target has and the source has compacted away meanwhile is no fault.
			if r := compare(t, &a.hubs, "in", "out"); r.Lost+r.Altered+r.Duplicates != 0 || r.Events == 0 {
				t.Errorf("%+v", r)
			}
			if strings.Contains(x.log.String(), "missing") {
				t.Errorf("a gap was seen where none is:\n%s", x.log)
			}
		}
	})
	t.Run("not said", func(t *testing.T) {
		t.Parallel()
		a := startAging(t, in)
		a.load(t, 1000, 10)
		a.compacted(t)
		x := startRun(t, a.writeConfig(t, task))
		eventually(t, 3*time.Minute, "the task fails", func() bool { return x.status("t").State == "failed" })
		if s := x.status("t"); !strings.Contains(s.Error, "are missing") || !strings.Contains(s.Error, "compacted: true") {
			t.Errorf("the verdict is %q", s.Error)
		}
		x.stop()
	})
}
