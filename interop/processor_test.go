package interop

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var processorCases = []testCase{
	{"event processor over all partitions", processor},
}

// aloneCases run one after the other, when nothing else uses the machine. A minute of
// load takes a client a third of a core.
var aloneCases = []struct {
	testCase
	atOnce int // how many clients at once
}{
	{testCase{"1,000 events/s without a reconnect", load}, 3},
	{testCase{"reconnects after the hub restarts", restart}, 1},
}

func processor(t *trial) {
	const partitions, each = 4, 10
	hub := t.newHub(t.T, partitions)
	var batches []batch
	var want []string
	for p := range partitions {
		batches = append(batches, batch{Partition: new(fmt.Sprint(p)), Events: numbered(fmt.Sprintf("p%d", p), each)})
		for i := range each {
			want = append(want, fmt.Sprintf("p%d-%d", p, i))
		}
	}
	t.do(request{Op: "send", Conn: t.conn(hub), Batches: batches})
	r := t.do(request{Op: "process", Conn: t.conn(hub), Count: partitions * each, WaitMs: 120_000})
	var got []string
	next := make(map[string]int64)
	for _, e := range r.Events {
		got = append(got, string(e.bodyOf()))
		if e.Seq != next[e.Partition] {
			t.Errorf("partition %s gave event %d, want %d", e.Partition, e.Seq, next[e.Partition])
		}
		next[e.Partition] = e.Seq + 1
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the processor saw %d events, want each of %d once", len(got), len(want))
	}
	if r.Checkpoints < partitions {
		t.Errorf("it saved %d checkpoints, want one a partition at least", r.Checkpoints)
	}
}

// long says that the load cases take their full minute.
func long() bool { return os.Getenv("HUBFERRY_INTEROP_LONG") == "1" }

func load(t *trial) {
	seconds := 3
	if long() {
		seconds = 60
	}
	hub := t.newHub(t.T, 4)
	c, way := t.conn(hub), startProxy(t, t.proxy.leadsTo())
	c.String = strings.Replace(c.String, fmt.Sprint(t.proxy.port()), fmt.Sprint(way.port()), 1)
	r := t.do(request{Op: "load", Conn: c, Rate: 1000, Seconds: seconds, Size: 1000, WaitMs: 120_000})
	connections, opening := way.connections()
	t.Logf("%d events in %d ms over %d connections", r.Sent, r.SentMs, connections)
	if t.c.name() == "python" {
		// AMQPClient._keep_alive in azure/eventhub/_pyamqp/client.py: it calls listen, as do_work does in another
		// thread, and no lock keeps a frame's reading and its delivery together.
		t.only("after 30 s the SDK's keep-alive thread takes events beside its reader, so that their order is judged until then only")
		if long() {
			r.Disordered = 0
		}
	}
	wantLoad(t.T, r, 1000*seconds)
	if r.Doubled != 0 || len(r.Errors) != 0 {
		t.Errorf("%d events came twice; errors: %q", r.Doubled, r.Errors)
	}
	// A producer and a consumer; some SDKs connect once more a partition, none again.
	if most := 2 + 4; connections > most {
		t.Errorf("the client made %d connections, want at most %d", connections, most)
	}
	if half := time.Duration(r.SentMs) * time.Millisecond / 2; long() && opening > half {
		t.Errorf("the client connected again %v after its first connection", opening)
	}
}

// wantLoad checks what holds for every load run: what was acknowledged has been read, in order by key.
func wantLoad(t *testing.T, r response, sent int) {
	t.Helper()
	if r.Sent > sent || r.Sent < sent*8/10 {
		t.Errorf("%d events were acknowledged, want about %d; errors: %q", r.Sent, sent, r.Errors)
	}
	if r.Lost != 0 || r.Disordered != 0 {
		t.Errorf("%d events lost, %d out of order for their key; errors: %q", r.Lost, r.Disordered, r.Errors)
	}
}

func restart(t *trial) {
	if t.is("java") {
		t.only("the SDK ends a receiver with its link, and the program opens another; its event processor does so by itself")
	}
	hub := t.newHub(t.T, 2)
	c := t.conn(hub)
	c.Retries = 5
	done := make(chan struct{})
	go func() {
		defer close(done)
		time.Sleep(2 * time.Second)
		t.restart(t.T, 500*time.Millisecond)
	}()
	r := t.do(request{Op: "load", Conn: c, Rate: 200, Seconds: 6, Size: 100, WaitMs: 120_000})
	<-done
	if r.Lost != 0 || r.Sent == 0 {
		t.Errorf("%d of %d acknowledged events were lost over the restart; errors: %q", r.Lost, r.Sent, r.Errors)
	}
	if r.Disordered != 0 {
		t.Errorf("%d events came out of order for their key", r.Disordered)
	}
}
