package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry/internal/azuritetest"
	"github.com/hubferry/hubferry/internal/postgrestest"
)

// faultyStore is a checkpoint store behind proxies, one for each of two instances.
type faultyStore struct {
	config   [2]string // what follows "checkpoints:" of each
	host     [2]string // by which messages name the store
	secret   string    // that no line may hold
	away     func(instance int, away bool)
	harms    []harm
	requests func() int64 // since the last call
}

// harm is something that goes wrong with both proxies for a while.
type harm struct {
	name string
	says string // what a line of the log must hold: it goes on until then; "" is nothing
	do   func() // called again and again meanwhile
	end  func()
}

// faultyBlobs is Azurite behind proxies.
func faultyBlobs(t *testing.T) *faultyStore {
	t.Helper()
	if os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip("set HUBFERRY_INTEROP=1 to test against Azurite, which scripts/setup-azurite.sh installs")
	}
	program, err := azuritetest.Find(t.Context(), "..")
	if err != nil || program == "" {
		t.Fatalf("Azurite is not installed, see scripts/setup-azurite.sh: %v", err)
	}
	server, err := azuritetest.Start(context.WithoutCancel(t.Context()), program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	s := &faultyStore{secret: azuritetest.Key}
	var proxies [2]*azuritetest.Proxy
	var count, turn atomic.Int64
	set := func(i int, pick func(r *http.Request) *azuritetest.Fault) {
		proxies[i].Set(func(r *http.Request) *azuritetest.Fault {
			count.Add(1)
			if pick == nil {
				return nil
			}
			return pick(r)
		})
	}
	for i := range proxies {
		if proxies[i], err = azuritetest.NewProxy(server.Endpoint); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxies[i].Close)
		set(i, nil)
		s.config[i] = fmt.Sprintf("{ blob: { connectionString: %q, container: faults, createContainer: true } }", azuritetest.ConnectionString(proxies[i].URL))
		_, rest, _ := strings.Cut(proxies[i].URL, "://")
		s.host[i], _, _ = strings.Cut(rest, "/")
	}
	s.away = func(i int, away bool) {
		if !away {
			set(i, nil)
			return
		}
		set(i, func(*http.Request) *azuritetest.Fault { return &azuritetest.Fault{Cut: true} })
	}
	s.requests = func() int64 { return count.Swap(0) }
	each := func(nth int64, writes bool, f azuritetest.Fault) func() {
		return func() {
			for i := range proxies {
				set(i, func(r *http.Request) *azuritetest.Fault {
					if (writes && r.Method != http.MethodPut) || turn.Add(1)%nth != 0 {
						return nil
					}
					return &f
				})
			}
		}
	}
	heal := func() {
		for i := range proxies {
			set(i, nil)
		}
	}
	s.harms = []harm{
		{"500", "answered 500 InternalError", each(2, true, azuritetest.Fault{Status: 500, Code: "InternalError"}), heal},
		{"503 with Retry-After", "the service is busy", each(3, false, azuritetest.Fault{Status: 503, Code: "ServerBusy", After: "1"}), heal},
		{"412", "", each(2, true, azuritetest.Fault{Status: 412, Code: "ConditionNotMet"}), heal},
		{"409", "", each(2, true, azuritetest.Fault{Status: 409, Code: "BlobAlreadyExists"}), heal},
		{"answers lost", "is the account reachable?", each(2, true, azuritetest.Fault{Lose: true}), heal},
		{"cut connections", "", each(3, false, azuritetest.Fault{Cut: true}), heal},
		{"no answers", "", each(5, false, azuritetest.Fault{Hang: true}), heal},
	}
	return s
}

// faultyPostgres is a PostgreSQL behind proxies.
func faultyPostgres(t *testing.T) *faultyStore {
	t.Helper()
	server, err := postgrestest.Start(t.Context())
	if errors.Is(err, postgrestest.ErrNotInstalled) && os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Remove)
	s := &faultyStore{secret: "s3cr3t-pa55"}
	var proxies [2]*postgrestest.Proxy
	for i := range proxies {
		if proxies[i], err = postgrestest.NewProxy(t.Context(), server.Address); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(proxies[i].Close)
		dsn := strings.Replace(postgrestest.DSN(proxies[i].Address()), "@", ":"+s.secret+"@", 1)
		s.config[i] = fmt.Sprintf("{ postgres: { dsn: %q } }", dsn)
		s.host[i] = proxies[i].Address()
	}
	s.away = func(i int, away bool) { proxies[i].SetAway(away) }
	var before int
	s.requests = func() int64 {
		n := 0
		for _, p := range proxies {
			connections, statements := p.Traffic()
			n += connections + statements
		}
		since := n - before
		before = n
		return int64(since)
	}
	each := func(do func(p *postgrestest.Proxy)) func() {
		return func() {
			for _, p := range proxies {
				do(p)
			}
		}
	}
	s.harms = []harm{
		{
			"answers lost", "(is the database reachable?)", each(func(p *postgrestest.Proxy) { p.Lose(1 << 30) }),
			each(func(p *postgrestest.Proxy) { p.Lose(0) }),
		},
		{"cut connections", "", each((*postgrestest.Proxy).Cut), func() {}},
		{
			"no answers", "context deadline exceeded (is the database reachable?)", each(func(p *postgrestest.Proxy) { p.SetStill(true) }),
			each(func(p *postgrestest.Proxy) { p.SetStill(false) }),
		},
	}
	return s
}

const storeTasks = `
checkpoints: STORE
defaults:
  window: { events: 1000 }
  balance: { interval: 500ms, expiry: 4s }
  retry: { min: 200ms, max: 1s }
tasks:
  even: { source: { hub: west/load, consumerGroup: even }, target: { hub: east/even, sendTimeout: 2s } }
  odd:  { source: { hub: west/load, consumerGroup: odd }, target: { hub: east/odd, sendTimeout: 2s }, delivery: effectively-once }
`

// lostClaims are the lines that tell of work that ended in the middle, which may repeat a
// window.
var lostClaims = regexp.MustCompile(`msg="(partition lost|partition starts again|partition did not stop cleanly)`)

// TestStoreFaults replicates under load while the checkpoint store fails in every way that
// a real one does, is away from one of two instances for longer than its lease, and while
// an instance comes and goes. Nothing is lost or reordered, at least once repeats a window
// at most where a claim was lost, and effectively once repeats nothing. The store is asked
// no more often than the cadence allows, and the log says which store has failed, for which
// task or partition, and how, without a secret. HUBFERRY_FAULTS=5m is the long form.
func TestStoreFaults(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers and takes half a minute")
	}
	for name, start := range map[string]func(t *testing.T) *faultyStore{"blob": faultyBlobs, "postgres": faultyPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			storeFaults(t, start(t))
		})
	}
}

func storeFaults(t *testing.T, s *faultyStore) {
	t.Helper()
	const partitions, window = 4, 1000
	phase, perSecond := 1500*time.Millisecond, 800
	if d, err := time.ParseDuration(os.Getenv("HUBFERRY_FAULTS")); err == nil && d > 0 {
		phase = d / time.Duration(len(s.harms)+3)
	}
	h := startHubs(t, "load:4:even,odd", "even:4", "odd:3")
	var configs [2]string
	for i := range configs {
		configs[i] = h.writeConfig(t, strings.Replace(storeTasks, "STORE", s.config[i], 1))
	}
	a, b := startRun(t, configs[0]), startRun(t, configs[1])
	all := []*runner{a, b}
	has := func(x *runner, n int) bool {
		return x.status("even").Partitions >= n && x.status("odd").Partitions >= n
	}
	eventually(t, 3*time.Minute, "two instances share the work", func() bool { return has(a, 1) && has(b, 1) })

	seconds := (phase*time.Duration(len(s.harms)+2) + 12*time.Second).Seconds()
	end := traffic(t, h.west, int(seconds)*perSecond, 300, perSecond, "load")
	eventually(t, 3*time.Minute, "events arrive", func() bool { n, err := total(t, h.east, "even"); return err == nil && n > 500 })
	// bounded reports what the store was asked in a while, against what two instances with
	// two tasks each may ask: a round each half a second, with some lists and a renewal for
	// each partition, and a save of two requests per second and partition; reads are tried
	// three times, and a save may begin again when others were faster.
	began := time.Now()
	bounded := func(what string) {
		t.Helper()
		n, most := s.requests(), int64(time.Since(began).Seconds()+1)*2*2*(2*(4+partitions)*3+partitions*2*4)
		t.Logf("%s: %d requests in %s", what, n, time.Since(began).Round(10*time.Millisecond))
		if n > most {
			t.Errorf("%s: %d requests to the store in %s, more than %d", what, n, time.Since(began), most)
		}
		began = time.Now()
	}
	s.requests()
	for _, harm := range s.harms {
		logged := [2]int{len(a.log.String()), len(b.log.String())}
		said := func() bool {
			return strings.Contains(a.log.String()[logged[0]:]+b.log.String()[logged[1]:], harm.says)
		}
		for until := time.Now().Add(time.Minute); ; time.Sleep(phase / 3) { // whose lease is over gets it back
			for end := time.Now().Add(phase); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
				harm.do()
			}
			harm.end()
			if said() || time.Now().After(until) {
				break
			}
		}
		bounded(harm.name)
		if !said() {
			t.Errorf("%s: no line of the log says %q", harm.name, harm.says)
		}
	}
	// Away from one of them for longer than its lease: it says so, and the other one takes over.
	s.away(0, true)
	eventually(t, 3*time.Minute, "the other instance has everything", func() bool { return has(b, partitions) })
	time.Sleep(phase)
	s.away(0, false)
	bounded("away")
	if !ofTask.MatchString(a.log.String()) { // told once, when it begins
		t.Error("away: no line of the log says of which task the partitions could not be renewed")
	}
	eventually(t, 3*time.Minute, "the work is shared again", func() bool { return has(a, 1) })
	b.stop() // gives everything back
	b = startRun(t, configs[1])
	all = append(all, b)
	end()

	targets := []string{"even", "odd"}
	for _, target := range targets {
		caughtUp(t, h, "load", target, 5*time.Minute)
		settled(t, h, "load", target)
	}
	// Now that they have ended, nothing more comes and they have told everything.
	told, repeats := 0, 0
	for _, x := range all {
		if x == a || x == b {
			x.stop()
		}
		<-x.read
		told += x.status("odd").Unproven + x.status("odd").DuplicatesSeen
		repeats += len(lostClaims.FindAllString(x.log.String(), -1))
	}
	for _, target := range targets {
		most := told
		if target == "even" {
			most = repeats * window
		}
		r := compare(t, h, "load", target)
		t.Logf("%s: %+v", target, r)
		if !r.Faultless() || r.Events < int(seconds)*perSecond {
			t.Errorf("%s: a promise was broken: %+v", target, r)
		}
		if r.Duplicates > most || r.DeepestRepeat > window {
			t.Errorf("%s: %d duplicates, the deepest %d back; at most %d can be explained, each within a window of %d", target, r.Duplicates, r.DeepestRepeat, most, window)
		}
	}
	for _, x := range all {
		text := x.log.String()
		if strings.Contains(text, s.secret) {
			t.Errorf("the secret of the store is in the log:\n%s", text)
		}
		s.named(t, text)
	}
}

// Lines about the store: of one partition, and of all of a task's.
var (
	ofPartition = regexp.MustCompile(`msg="(checkpoint not saved|partition not released)[^"]*" component=engine task=\w+ partition=\d `)
	ofTask      = regexp.MustCompile(`msg="partitions could not be (renewed|balanced)[^"]*" task=\w+ component=checkpoint group=\S+/load/`)
)

// named checks that every line about the store names it. That a record keeps changing is not about the store.
func (s *faultyStore) named(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if (ofPartition.MatchString(line) || ofTask.MatchString(line)) && !strings.Contains(line, "the record keeps changing") &&
			!strings.Contains(line, s.host[0]) && !strings.Contains(line, s.host[1]) {
			t.Errorf("it does not say which store is meant: %s", line)
		}
	}
}
