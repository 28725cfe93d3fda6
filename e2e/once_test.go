package e2e

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/hub"
)

// long returns how often something is done: few in the short form, or what the variable
// HUBFERRY_KILLS says.
func long(t *testing.T, few int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("HUBFERRY_KILLS")); err == nil && n > 0 {
		return n
	}
	if testing.Short() {
		return max(few/2, 1)
	}
	return few
}

// random returns a source of moments, and says how to repeat them.
func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("HUBFERRY_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("HUBFERRY_SEED=%d repeats this run's moments", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// onceTasks are two tasks with effectively-once delivery, over equal and unequal numbers of
// partitions. They share no window with a checkpoint store that is asked often: a take-over
// takes three to five seconds.
const onceTasks = `
defaults:
  delivery: effectively-once
  window: { events: 1000 }
  balance: { interval: 500ms, expiry: 2500ms }
  retry: { min: 500ms, max: 2s }
tasks:
  even: { source: { hub: west/load, consumerGroup: even }, target: { hub: east/even, sendTimeout: SEND } }
  odd:  { source: { hub: west/load, consumerGroup: odd }, target: { hub: east/odd, sendTimeout: SEND } }
`

var onceHubs = []string{"west/load:8:even,odd", "east/even:8", "east/odd:5"}

func onceConfig(t *testing.T, h *hubs, sendTimeout time.Duration) string {
	t.Helper()
	return h.writeConfig(t, strings.ReplaceAll(onceTasks, "SEND", sendTimeout.String()))
}

// traffic begins to send n events to hubs of a namespace. The function that it returns waits
// until all are sent.
func traffic(t *testing.T, connection string, n, keys, perSecond int, to ...string) (end func()) {
	t.Helper()
	var all sync.WaitGroup
	for _, name := range to {
		all.Go(func() {
			s := &sender{connection: connection, hub: name, keys: keys, perSecond: perSecond}
			if err := s.run(t, n); err != nil {
				t.Errorf("send to %s: %v", name, err)
			}
		})
	}
	return all.Wait
}

// loads sends n events to the source, and a tenth as many to both targets, as somebody else
// would.
func loads(t *testing.T, h *hubs, n, perSecond int) (end func()) {
	t.Helper()
	load := traffic(t, h.west, n, 300, perSecond, "load")
	foreign := traffic(t, h.east, n/10, 50, perSecond/10, "even", "odd")
	return func() {
		load()
		foreign()
	}
}

// complete waits until nothing is missing on a target.
func complete(t *testing.T, h *hubs, target string) (r audit.Report) {
	t.Helper()
	eventually(t, 5*time.Minute, target+" has everything", func() bool {
		r = compare(t, h, "load", target)
		return r.Lost == 0
	})
	return r
}

// judge waits until nothing is missing on both targets, and reports the duplicates that
// nobody can explain: told is how many the program itself has told of.
func judge(t *testing.T, h *hubs, events, foreign, told int) {
	t.Helper()
	for _, target := range []string{"even", "odd"} {
		r := complete(t, h, target)
		t.Logf("%s: %+v", target, r)
		if !r.Faultless() || r.Events < events || r.Foreign < foreign {
			t.Errorf("%s: a promise was broken: %+v", target, r)
		}
		if r.Duplicates > told {
			t.Errorf("%s: %d duplicates, and the program has told of %d", target, r.Duplicates, told)
		}
	}
}

// TestOnceKills kills the replicating process with kill -9 at random moments under load,
// while somebody else writes to the targets: nothing is lost, doubled or reordered (G-3 to
// G-9). HUBFERRY_KILLS=50 is the long form.
func TestOnceKills(t *testing.T) {
	kills := long(t, 2)
	moments := random(t)
	events := kills * 8000
	h := startHubs(t, onceHubs...)
	config := onceConfig(t, h, 2*time.Second)
	end := loads(t, h, events, 1500)
	ferry := startRun(t, config)
	told := 0 // by processes that stood still for longer than their lease, as on a machine that is busy
	for range kills {
		// From before the partitions are claimed until long after they move.
		time.Sleep(time.Duration(200+moments.IntN(9000)) * time.Millisecond)
		ferry.kill()
		<-ferry.read
		told += twice(ferry.last)
		ferry = startRun(t, config)
	}
	end()
	arrived(t, h)
	last := ferry.final()
	told += twice(last)
	judge(t, h, events, events/10, told)
	t.Logf("%d kills; the last process found %d and %d events at the targets", kills, last["even"].Found, last["odd"].Found)
}

// twice is how many events a process has told of that may be there twice.
func twice(lines map[string]status) (n int) {
	for _, s := range lines {
		n += s.Unproven + s.DuplicatesSeen
	}
	return n
}

// arrived waits until nothing is missing on both targets.
func arrived(t *testing.T, h *hubs) {
	t.Helper()
	for _, target := range []string{"even", "odd"} {
		complete(t, h, target)
	}
}

// TestOnceTakeOvers stops a process in the middle of its sends (SIGSTOP) until another one
// has taken over, and lets it go again. What such a process still writes nobody can prevent;
// it tells so itself.
func TestOnceTakeOvers(t *testing.T) {
	turns := min(long(t, 1), 10)
	moments := random(t)
	events := turns * 20_000
	h := startHubs(t, onceHubs...)
	config := onceConfig(t, h, 2*time.Second)
	end := loads(t, h, events, 1500)
	a, b := startRun(t, config), startRun(t, config)
	taken := 0
	for attempt := 0; taken < turns && attempt < 20*turns; attempt++ {
		eventually(t, 3*time.Minute, "both processes have partitions", func() bool {
			return a.status("even").Partitions > 0 && b.status("even").Partitions > 0
		})
		time.Sleep(time.Duration(500+moments.IntN(2000)) * time.Millisecond)
		if err := a.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		has := func() bool { return b.status("even").Partitions == 8 && b.status("odd").Partitions == 8 }
		for end := time.Now().Add(20 * time.Second); !has() && time.Now().Before(end); {
			time.Sleep(50 * time.Millisecond)
		}
		if has() {
			taken++
			time.Sleep(time.Duration(3000+moments.IntN(3000)) * time.Millisecond) // it has begun to send
		} else {
			// It was stopped within a transaction of the SQLite store, whose lock nobody can
			// take from it.
			t.Log("the store was locked by the stopped process")
		}
		if err := a.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		a, b = b, a
	}
	if taken == 0 {
		t.Error("no process was ever taken over from")
	}
	end()
	arrived(t, h)
	// When they have ended, nothing more comes and they have told everything.
	told := twice(a.final()) + twice(b.final())
	judge(t, h, events, events/10, told)
	t.Logf("%d processes were stopped and taken over from; they tell of %d events that may be there twice", taken, told)
}

// TestOnceUnknownOutcomes loses answers of a hub: batches are stored or not, at once or
// late, and the sender cannot know (G-9).
func TestOnceUnknownOutcomes(t *testing.T) {
	late, sendTimeout := 1500*time.Millisecond, 4*time.Second
	if long(t, 1) > 1 {
		late, sendTimeout = 20*time.Second, 30*time.Second
	}
	for name, fault := range map[string]hub.Fault{
		"the answer is lost, the connection too": {Kind: hub.FaultCutAfter},
		"the batch is lost":                      {Kind: hub.FaultCutBefore},
		"the link is detached":                   {Kind: hub.FaultDetachAfter},
		"no answer":                              {Kind: hub.FaultNoAnswer},
		"stored late":                            {Kind: hub.FaultCutStoreLate, After: late},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			var faults hub.Faults
			h := startHere(t, &faults)
			config := onceConfig(t, h, sendTimeout)
			const events = 4000
			ferry := startRun(t, config)
			loads(t, h, events/2, 2000)() // and then nobody else is hit
			for _, target := range []string{"even", "odd"} {
				f := fault
				f.Place, f.Skip, f.Times = hub.Place{Namespace: "east", Hub: target}, 10, 6
				defer faults.Add(f)()
			}
			traffic(t, h.west, events/2, 300, 2000, "load")()
			// The faults begin after some batches, and how many events those have is up to the
			// scheduler.
			hit := func() bool { return ferry.status("even").Retries > 0 && ferry.status("odd").Retries > 0 }
			for end := time.Now().Add(3 * time.Minute); !hit() && time.Now().Before(end); {
				traffic(t, h.west, 500, 300, 2000, "load")()
			}
			if !hit() {
				t.Error("the status does not tell of the faults")
			}
			arrived(t, h)
			if fault.After > 0 {
				time.Sleep(fault.After) // for what is still to come
			}
			arrived(t, h)
			judge(t, h, events, events/20, twice(ferry.final()))
		})
	}
}

// startHere starts the hubs in this process, where their faults can be set.
func startHere(t *testing.T, faults *hub.Faults) *hubs {
	t.Helper()
	return serveHere(t, hub.Options{Faults: faults, Namespaces: []hub.NamespaceOptions{
		{Name: "west", Hubs: []hub.HubOptions{{Name: "load", Partitions: 8, ConsumerGroups: []string{"even", "odd"}}}},
		{Name: "east", Hubs: []hub.HubOptions{{Name: "even", Partitions: 8}, {Name: "odd", Partitions: 5}}},
	}})
}

// serveHere serves two namespaces, west and east, in this process.
func serveHere(t *testing.T, o hub.Options) *hubs {
	t.Helper()
	server, err := hub.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(func() {
		_ = server.Close(context.WithoutCancel(t.Context()))
		cancel()
	})
	h := &hubs{}
	for i, to := range []*string{&h.west, &h.east} {
		ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		h.ports[i] = ln.Addr().String()
		*to = hub.ConnectionString(h.ports[i], hub.DefaultRule(), "")
		go func() { _ = server.Serve(serving, ln, o.Namespaces[i].Name) }()
	}
	return h
}
