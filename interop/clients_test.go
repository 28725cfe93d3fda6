package interop

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite RESULTS.md from this run")

// TestMain runs more cases at once than there are cores: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// labels are the clients, in the order of the table.
var labels = []string{"go", "js", "python", "python-aio", "java"}

// bench is what a run of all cases shares: the hub, the clients, the table.
type bench struct {
	*server
	clients []client
	table   *table
}

// trial is one case with one client.
type trial struct {
	*testing.T
	*bench
	c    client
	note *string
}

// testCase is one row of the table.
type testCase struct {
	name string
	run  func(t *trial)
}

// TestClients runs every case with every client and prints the table. Clients whose set-up is absent are skipped by name.
func TestClients(t *testing.T) {
	b := &bench{server: startServer(t), table: &table{cells: make(map[[2]string]cell)}}
	b.startClients(t)
	all := slices.Concat(sendCases, receiveCases, epochCases, refusalCases, transportCases, processorCases, replicateCases)
	for _, tc := range all {
		b.table.rows = append(b.table.rows, tc.name)
	}
	t.Run("cases", func(t *testing.T) {
		for _, tc := range all {
			t.Run(strings.ReplaceAll(tc.name, " ", "-"), func(t *testing.T) {
				t.Parallel()
				b.sideBySide(t, tc, b.clients)
			})
		}
	})
	// Load needs the machine, and a restart ends every other connection.
	for _, tc := range aloneCases {
		b.table.rows = append(b.table.rows, tc.name)
		for some := range slices.Chunk(b.clients, tc.atOnce) {
			t.Run(strings.ReplaceAll(tc.name, " ", "-"), func(t *testing.T) { b.sideBySide(t, tc.testCase, some) })
		}
	}
	t.Logf("\n%s", b.table.markdown())
	b.checkDocument(t)
}

// sideBySide runs a case with several clients at once.
func (b *bench) sideBySide(t *testing.T, tc testCase, clients []client) {
	for _, c := range clients {
		t.Run(c.name(), func(t *testing.T) {
			t.Parallel()
			note := new(string)
			b.table.record(t, tc.name, c.name(), note)
			tc.run(&trial{T: t, bench: b, c: c, note: note})
		})
	}
}

// checkDocument compares RESULTS.md with a whole run, or rewrites it.
func (b *bench) checkDocument(t *testing.T) {
	t.Helper()
	if len(b.clients) < len(labels) || t.Failed() || partial() {
		return
	}
	file := "RESULTS.md"
	if *update {
		if err := os.WriteFile(file, []byte(b.table.document()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.table.document() {
		t.Errorf("%s is not what this run has shown; run go test ./interop -update", file)
	}
}

// partial says that -run has chosen among the cases.
func partial() bool {
	run := flag.Lookup("test.run")
	return run != nil && strings.Contains(run.Value.String(), "/")
}

// required says that a missing set-up is a failure.
func required() bool { return os.Getenv("HUBFERRY_INTEROP") == "1" }

func (b *bench) startClients(t *testing.T) {
	t.Helper()
	where, err := installed(b.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, label := range labels {
		var c client = newGoClient()
		if label != "go" {
			cmd, ok := command(label, b.root, where, b.ca)
			if !ok {
				missing(t, label)
				continue
			}
			p, err := start(label, cmd)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := p.close(); err != nil {
					t.Errorf("end the %s client: %v", label, err)
				}
			})
			c = p
		}
		hello, err := c.call(t.Context(), request{Op: "hello"})
		if err != nil {
			t.Fatal(err)
		}
		if label == "go" && hello.Version == "" {
			hello.Version = goModVersion(t, b.root, "azeventhubs/v2")
		}
		b.clients = append(b.clients, c)
		b.table.clients = append(b.table.clients, column{label, hello.SDK, hello.Version})
	}
}

func missing(t *testing.T, label string) {
	t.Helper()
	message := fmt.Sprintf("the %s client is not set up: run scripts/setup-interop.sh", label)
	if required() {
		t.Error(message)
		return
	}
	t.Run(label, func(t *testing.T) { t.Skip(message) })
}

// goModVersion is the version of a required module, for test binaries that carry no build information.
func goModVersion(t *testing.T, root, module string) string {
	t.Helper()
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if _, rest, ok := strings.Cut(line, module+" v"); ok {
			return strings.Fields(rest)[0]
		}
	}
	return ""
}

// callTimeout bounds one request; operations have their own, shorter limits.
const callTimeout = 3 * time.Minute

// try makes a request and leaves its failure to the caller. A harness failure ends the case, and so does what the SDK
// does not offer.
func (t *trial) try(r request) (response, *sdkError) {
	t.Helper()
	return t.tryWith(t.c, r)
}

func (t *trial) tryWith(c client, r request) (response, *sdkError) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout+time.Duration(r.WaitMs)*time.Millisecond+time.Duration(r.Seconds)*time.Second)
	defer cancel()
	out, err := c.call(ctx, r)
	if err == nil {
		return out, nil
	}
	own, ok := errors.AsType[*sdkError](err)
	if !ok || own.Class == "protocol" {
		t.Fatal(err)
	}
	if own.Class == "NotOffered" {
		t.notOffered(own.Text)
	}
	return out, own
}

// do makes a request that must succeed.
func (t *trial) do(r request) response {
	t.Helper()
	return t.doWith(t.c, r)
}

func (t *trial) doWith(c client, r request) response {
	t.Helper()
	out, err := t.tryWith(c, r)
	if err != nil {
		t.Fatalf("%s with %s: %v", r.Op, c.name(), err)
	}
	return out
}

// notOffered ends the case: this SDK has no way to do it.
func (t *trial) notOffered(why string) {
	t.Helper()
	*t.note = why
	t.Skip(why)
}

// only notes what a case leaves out for this client.
func (t *trial) only(what string) { *t.note = what }

// is says whether the client's SDK is one of the named languages.
func (t *trial) is(languages ...string) bool {
	language, _, _ := strings.Cut(t.c.name(), "-")
	return slices.Contains(languages, language)
}

// send sends a batch to a partition and fails the case on an error.
func (t *trial) send(hub, partition string, events ...event) {
	t.Helper()
	r := t.do(request{Op: "send", Conn: t.conn(hub), Partition: &partition, Events: events})
	if r.Sent != len(events) {
		t.Fatalf("sent %d of %d events", r.Sent, len(events))
	}
}

var earliest = position{Kind: "earliest"}

// receive reads n events of a partition from a position with the case's client.
func (t *trial) receive(hub, partition string, from position, n int) []event {
	t.Helper()
	return t.receiveWith(t.c, hub, partition, from, n)
}

const receiveWait = 2 * time.Minute

func (t *trial) receiveWith(c client, hub, partition string, from position, n int) []event {
	t.Helper()
	reader := t.openWith(c, request{Conn: t.conn(hub), Partition: &partition, From: &from})
	events, err := reader.read(n, receiveWait)
	if err != nil {
		t.Fatalf("receive with %s: %v", c.name(), err)
	}
	if len(events) != n {
		t.Fatalf("received %d events with %s, want %d: %v", len(events), c.name(), n, bodies(events))
	}
	return events
}

// reader is an open receiver of a client.
type reader struct {
	t  *trial
	c  client
	id string
}

// open opens a receiver; it is closed with the case.
func (t *trial) open(r request) *reader {
	t.Helper()
	return t.openWith(t.c, r)
}

func (t *trial) openWith(c client, r request) *reader {
	t.Helper()
	r.Op = "open"
	out := &reader{t: t, c: c, id: t.doWith(c, r).Reader}
	t.Cleanup(func() { out.close() })
	return out
}

// read waits for n events; fewer come back when the time is over or the receiver has failed.
func (r *reader) read(n int, wait time.Duration) ([]event, *sdkError) {
	r.t.Helper()
	out, err := r.t.tryWith(r.c, request{Op: "read", Reader: r.id, Count: n, WaitMs: int(wait.Milliseconds())})
	return out.Events, err
}

func (r *reader) close() {
	if r.id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	if _, err := r.c.call(ctx, request{Op: "close", Reader: r.id}); err != nil {
		r.t.Logf("close a reader of %s: %v", r.c.name(), err)
	}
	r.id = ""
}

func bodies(events []event) []string {
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%.40q", e.bodyOf()))
	}
	return out
}

func wantBodies(t *trial, got []event, want ...string) {
	t.Helper()
	var have []string
	for _, e := range got {
		have = append(have, string(e.bodyOf()))
	}
	if !slices.Equal(have, want) {
		t.Errorf("received %q, want %q", have, want)
	}
}

// says reports whether all words are in the error as the SDK shows it, whatever the case and the hyphens.
func (e *sdkError) says(words ...string) bool {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "") }
	shown := plain(e.Error())
	for _, w := range words {
		if !strings.Contains(shown, plain(w)) {
			return false
		}
	}
	return true
}

// refused fails the case unless the error says all the words.
func (t *trial) refused(err *sdkError, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it went through, want a refusal that says %q", words)
	}
	if !err.says(words...) {
		t.Errorf("refused with %v, want all of %q in it", err, words)
	}
}

var serial atomic.Int64

// freshName is a name that no other case uses.
func freshName(prefix string) string { return fmt.Sprintf("%s-%d", prefix, serial.Add(1)) }

// sas is a shared access signature as the SDKs make it.
func sas(resource, rule, key string, expiry time.Time) string {
	encoded := url.QueryEscape(resource)
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%s\n%d", encoded, expiry.Unix())
	signature := url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", encoded, signature, expiry.Unix(), rule)
}
