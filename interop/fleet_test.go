package interop

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry/internal/azuritetest"
)

// What the fleet reads, and where Hubferry takes it.
const (
	fleetPartitions = 16
	fleetHub        = "telemetry"
	fleetTarget     = "forwarded"
)

// fleetTimes are the settings of a fleet, and how long it is watched.
type fleetTimes struct {
	interval time.Duration // of Hubferry and JavaScript
	java     time.Duration // the interval of Java, whose default is longer
	expiry   time.Duration // of all but Python, which takes what it has: 30 to 36 s, and 3 minutes
	stable   time.Duration // how long nothing may move
	pace     time.Duration // between two events
}

// fleet is a group of processors of many makes on one hub.
type fleet struct {
	times     fleetTimes
	hub, blob string // connection strings
	prefix    string // of the group's blobs, as all members must write it
	store     *container.Client
	members   map[string]*member
	record    *record
}

// TestMixedFleet has two processes of Hubferry share a consumer group with the published Python sample and with processors
// of the JavaScript and Java SDKs. They must come to fair shares and stay there, and go on when two of them are killed;
// and somebody must handle every event. HUBFERRY_LONG=1 watches for minutes instead of seconds, on both servers.
func TestMixedFleet(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the SDKs take a port for a part of the namespace's name or leave it away, so that the hub needs an address " +
			"of its own with the protocol's port, such as Linux has in 127.0.0.0/8")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	where, err := installed(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"python", "sample", "js", "java"} {
		if where[part] == "" {
			missing(t, part)
			return
		}
	}
	t.Parallel() // it waits most of the time
	binary := buildProgram(t)
	times := fleetTimes{interval: 5 * time.Second, java: 5 * time.Second, expiry: time.Minute, stable: 20 * time.Second, pace: 20 * time.Millisecond}
	trials := []fleetTrial{{"hubferry hub", "js"}}
	if os.Getenv("HUBFERRY_LONG") != "" {
		times = fleetTimes{interval: 10 * time.Second, java: 30 * time.Second, expiry: 2 * time.Minute, stable: 3 * time.Minute, pace: 20 * time.Millisecond}
		trials = []fleetTrial{{"hubferry hub", "java"}, {"Azurite", "js"}}
	}
	var doc strings.Builder
	for _, trial := range trials {
		t.Run(strings.ReplaceAll(trial.server, " ", "-"), func(t *testing.T) {
			f := startFleet(t, binary, trial.server, times)
			f.joinSDKs(t, where)
			f.joinHubferry(t, "hubferry-1", binary)
			f.joinHubferry(t, "hubferry-2", binary)
			doc.WriteString(f.try(t, trial))
		})
	}
	t.Logf("\n%s%s", fleetHead, doc.String())
	if os.Getenv("HUBFERRY_LONG") != "" && !t.Failed() && !partial() {
		noteFleet(t, doc.String())
	}
}

// fleetTrial is where the store is, and who is killed beside one process of ours.
type fleetTrial struct{ server, victim string }

// startFleet starts the hub and the store, without members.
func startFleet(t *testing.T, binary, server string, times fleetTimes) *fleet {
	t.Helper()
	address := loopback(t)
	p := startHub(t, "fleet", exec.Command(binary, "hub", "--namespace", "fleet="+address+":5672",
		"--hub", fmt.Sprintf("%s:%d", fleetHub, fleetPartitions), "--hub", fmt.Sprintf("%s:%d:judge", fleetTarget, fleetPartitions),
		"--blob", "devstoreaccount1=127.0.0.1:0", "--container", sampleContainer))
	f := &fleet{
		times: times, hub: strings.Replace(p.hub, address+":5672", address, 1), blob: p.blob,
		prefix:  address + "/" + fleetHub + "/$default/",
		members: map[string]*member{}, record: &record{by: map[string]map[string]int{}},
	}
	if server == "Azurite" {
		program, err := azuritetest.Find(t.Context(), "..")
		if err != nil {
			t.Fatal(err)
		}
		if program == "" {
			missing(t, "Azurite")
			t.SkipNow()
		}
		azurite, err := azuritetest.Start(context.WithoutCancel(t.Context()), program)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(azurite.Close)
		f.blob = azuritetest.ConnectionString(azurite.Endpoint)
	}
	var err error
	if f.store, err = container.NewClientFromConnectionString(f.blob, sampleContainer, nil); err != nil {
		t.Fatal(err)
	}
	if server == "Azurite" {
		if _, err := f.store.Create(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// loopback is an address of this machine with a free port 5672.
func loopback(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
		listener, err := net.Listen("tcp", address+":5672")
		if err == nil {
			_ = listener.Close()
			return address
		}
	}
	t.Fatal("no address has a free port 5672")
	return ""
}

// try runs a trial to its end and returns its rows of the table.
func (f *fleet) try(t *testing.T, trial fleetTrial) string {
	ctx, stop := context.WithCancel(context.Background())
	sending := make(chan error, 1)
	go func() { sending <- f.send(ctx) }()
	reading, stopReading := context.WithCancel(context.Background())
	read := make(chan struct{})
	go func() {
		defer close(read)
		f.readTarget(reading, t)
	}()
	defer func() {
		stop()
		stopReading()
		<-read
	}()
	began := time.Now()
	f.settle(t)
	converged := time.Since(began)

	from := f.record.count()
	held := f.watch(t)
	to := f.record.count()
	calm := f.handled(t, from, to)
	if len(calm.repeated) > 0 {
		t.Errorf("%d of %d events were handled again although nothing moved: %.500q", len(calm.repeated), to-from, calm.repeated)
	}

	killed := time.Now()
	f.members["hubferry-1"].kill()
	f.members[trial.victim].kill()
	rest := f.cover(t, len(f.members)-2, killed)
	covered := time.Since(killed)
	stop()
	if err := <-sending; err != nil {
		t.Fatal(err)
	}
	end := f.record.count()
	after := f.handled(t, to, end)
	if t.Failed() {
		t.Log(f.words())
	}
	return fmt.Sprintf("| %s | %s | %v | %d in %s | 0 | %d of %d | %s | hubferry, %s | %s | %v | %d of %d | %d |\n",
		trial.server, converged.Round(time.Second), held, to-from, f.times.stable, to-from-len(calm.missing), to-from, whoHandled(calm.by),
		trial.victim, covered.Round(time.Second), rest, end-to-len(after.missing), end-to, len(after.repeated))
}

// fleetHead is the head of the table.
const fleetHead = `| store | fair after | shares | events while nothing may move | moves | handled, once each | by | killed | covered by the rest after | shares then | events from the kill on, handled | of these again |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// whoHandled is who has handled how much.
func whoHandled(by map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(by)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, by[name]))
	}
	return strings.Join(parts, ", ")
}

// owner is who owns a partition, and since when at least.
type owner struct {
	name     string
	modified time.Time
}

// owners lists who owns what, and whether all partitions have a checkpoint. Records under any other name than the
// group's mean that the fleet does not see itself.
func (f *fleet) owners(t *testing.T) (owners map[string]owner, checkpoints int) {
	t.Helper()
	owners = map[string]owner{}
	for pager := f.store.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}); pager.More(); {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			name, ours := strings.CutPrefix(*b.Name, f.prefix)
			folder, partition, _ := strings.Cut(name, "/")
			switch id := b.Metadata["ownerid"]; {
			case !ours && !strings.Contains(*b.Name, "~hubferry/"):
				t.Fatalf("the fleet is split: somebody keeps %s, and the names of the others begin with %s", *b.Name, f.prefix)
			case !ours:
			case folder == "checkpoint":
				checkpoints++
			case folder == "ownership" && id != nil && *id != "":
				owners[partition] = owner{*id, *b.Properties.LastModified}
			}
		}
	}
	return owners, checkpoints
}

// shares is how many partitions each member owns, the largest first, as of records that were renewed after a time.
func shares(owners map[string]owner, since time.Time) []int {
	held := map[string]int{}
	for _, o := range owners {
		if o.modified.Sub(since) > time.Second { // the store's time has whole seconds
			held[o.name]++
		}
	}
	counts := slices.Sorted(maps.Values(held))
	slices.Reverse(counts)
	return counts
}

func sum(counts []int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// settleWait bounds how long the fleet may take beyond the expiry of its records: rounds of half a minute, one partition
// in each, on a machine that has other things to do.
const settleWait = 5 * time.Minute

// settle waits until all members have had fair shares for a while, and all partitions have a checkpoint.
func (f *fleet) settle(t *testing.T) {
	t.Helper()
	var was map[string]string
	var calm time.Time
	for deadline := time.Now().Add(f.times.expiry + settleWait); ; time.Sleep(time.Second) {
		owners, checkpoints := f.owners(t)
		now := names(owners)
		held := shares(owners, time.Time{})
		ok := sum(held) == fleetPartitions && len(held) == len(f.members) && held[0]-held[len(held)-1] <= 1
		if !ok || checkpoints < fleetPartitions || !maps.Equal(was, now) {
			was, calm = now, time.Now()
		}
		if ok && time.Since(calm) > 2*f.times.interval {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d members do not come to fair shares: %v, %d checkpoints%s", len(f.members), held, checkpoints, f.words())
		}
	}
}

// cover waits until so many members own all partitions by records that were renewed after a time, and returns the
// shares. They need not be fair at once: Python counts the dead for three minutes.
func (f *fleet) cover(t *testing.T, members int, since time.Time) []int {
	t.Helper()
	for deadline := time.Now().Add(f.times.expiry + settleWait); ; time.Sleep(time.Second) {
		owners, _ := f.owners(t)
		held := shares(owners, since)
		if sum(held) == fleetPartitions && len(held) == members {
			return held
		}
		if time.Now().After(deadline) {
			t.Fatalf("the rest do not cover all partitions: %v%s", held, f.words())
		}
	}
}

func names(owners map[string]owner) map[string]string {
	out := map[string]string{}
	for partition, o := range owners {
		out[partition] = o.name
	}
	return out
}

// watch looks on for a while, in which no partition may move, and returns the shares.
func (f *fleet) watch(t *testing.T) []int {
	t.Helper()
	first, _ := f.owners(t)
	was := names(first)
	for end := time.Now().Add(f.times.stable); time.Now().Before(end); time.Sleep(time.Second) {
		owners, _ := f.owners(t)
		for partition, o := range owners {
			if o.name != was[partition] {
				t.Errorf("partition %s has moved from %s to %s", partition, was[partition], o.name)
			}
		}
		was = names(owners)
	}
	return shares(first, time.Time{})
}

// handled waits until somebody has handled each of the events from one number to another.
func (f *fleet) handled(t *testing.T, from, to int) fate {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(200 * time.Millisecond) {
		out := f.record.judge(from, to)
		if len(out.missing) == 0 {
			return out
		}
		if time.Now().After(deadline) {
			t.Errorf("nobody has handled %d of %d events: %.500q%s", len(out.missing), to-from, out.missing, f.words())
			return out
		}
	}
}

// fleetTitle begins the part of CHECKPOINTS.md that a long run writes. Its times differ from run to run, so that nothing
// compares it.
const fleetTitle = "\n## A mixed fleet\n"

// noteFleet writes the rows of a long run into CHECKPOINTS.md, with -update.
func noteFleet(t *testing.T, rows string) {
	t.Helper()
	if !*update {
		return
	}
	const file = "CHECKPOINTS.md"
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	matrix, _, _ := strings.Cut(string(have), fleetTitle)
	text := matrix + fleetTitle + `
Written by ` + "`HUBFERRY_LONG=1 go test ./interop -run TestMixedFleet -update`" + `. Two processes of Hubferry, the published
sample of azure-eventhub-checkpointstoreblob-aio with nothing but its connection strings filled in, and a processor of the
JavaScript and one of the Java SDK share the group ` + "`$Default`" + ` of a hub with 16 partitions, which gets 50 events a second.

` + fleetHead + rows
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
