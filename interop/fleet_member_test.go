package interop

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// member is a program that shares the group of a fleet.
type member struct {
	name   string
	cmd    *exec.Cmd
	stderr *tail
}

// kill ends a member as a crash would.
func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // it was killed, perhaps before
}

// join starts a member. The bodies in what it prints are the events that it has handled; a program of ours prints none.
func (f *fleet) join(t *testing.T, name string, cmd *exec.Cmd) {
	t.Helper()
	m := &member{name: name, cmd: cmd, stderr: &tail{}}
	cmd.Stderr = m.stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.kill)
	f.members[name] = m
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			f.record.handled(name, lines.Text())
		}
	}()
}

// joinSDKs starts the members that are written with the SDKs. Python is the published sample: it has its connection
// strings, and no other setting.
func (f *fleet) joinSDKs(t *testing.T, where map[string]string) {
	t.Helper()
	env := append(os.Environ(), "EVENT_HUB_CONN_STR="+f.hub, "EVENT_HUB_NAME="+fleetHub, "AZURE_STORAGE_CONN_STR="+f.blob)
	python := exec.Command(where["python"], "-u", where["sample"])
	python.Env = env
	f.join(t, "python", python)

	env = append(env, "AZURE_STORAGE_CONTAINER="+sampleContainer, fmt.Sprintf("EXPIRY=%.0f", f.times.expiry.Seconds()))
	js := exec.Command("node", filepath.Join("clients", "js", "fleet.js"))
	js.Env = append(env, "NODE_PATH="+where["js"], fmt.Sprintf("INTERVAL=%.0f", f.times.interval.Seconds()))
	f.join(t, "js", js)

	classes := filepath.Join(where["java"], "classes") + string(filepath.ListSeparator) + filepath.Join(where["java"], "libs", "*")
	java := exec.Command("java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", "-cp", classes, "interop.Fleet")
	java.Env = append(env, fmt.Sprintf("INTERVAL=%.0f", f.times.java.Seconds()))
	f.join(t, "java", java)
}

// joinHubferry starts a process of ours, of which all have one configuration.
func (f *fleet) joinHubferry(t *testing.T, name, binary string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hubferry.yaml")
	text := fmt.Sprintf(`version: 1
connections: { fleet: { eventhubs: { connectionString: "${FLEET}" } } }
checkpoints: { blob: { connectionString: "${STORE}", container: %s } }
tasks:
  forward:
    source: { hub: fleet/%s, consumerGroup: $Default, shared: true }
    target: fleet/%s
    balance: { interval: %s, expiry: %s }
`, sampleContainer, fleetHub, fleetTarget, f.times.interval, f.times.expiry)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "run", "--config", file)
	cmd.Env = append(os.Environ(), "FLEET="+f.hub, "STORE="+f.blob)
	f.join(t, name, cmd)
}

// record is what was sent, and who has handled it.
type record struct {
	mu   sync.Mutex
	sent []string                  // bodies, in the order in which they were confirmed
	by   map[string]map[string]int // how often, by body and member
}

var eventBody = regexp.MustCompile(`event-\d{7}`)

func (r *record) handled(member, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, body := range eventBody.FindAllString(text, -1) {
		if r.by[body] == nil {
			r.by[body] = map[string]int{}
		}
		r.by[body][member]++
	}
}

// count is how many events were sent by now.
func (r *record) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent)
}

// fate is what became of some of the events.
type fate struct {
	missing  []string       // nobody has handled them
	repeated []string       // somebody has handled them again
	by       map[string]int // how many each member has handled
}

// judge looks at the events from one number to another.
func (r *record) judge(from, to int) fate {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := fate{by: map[string]int{}}
	for _, body := range r.sent[from:to] {
		all := 0
		for member, n := range r.by[body] {
			all += n
			out.by[member] += n
		}
		switch {
		case all == 0:
			out.missing = append(out.missing, body)
		case all > 1:
			out.repeated = append(out.repeated, fmt.Sprint(body, r.by[body]))
		}
	}
	return out
}

// send sends events to all partitions in turn until the context ends.
func (f *fleet) send(ctx context.Context) error {
	producer, err := azeventhubs.NewProducerClientFromConnectionString(f.hub, fleetHub, nil)
	if err != nil {
		return err
	}
	defer producer.Close(context.WithoutCancel(ctx))
	tick := time.NewTicker(f.times.pace)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		partition, body := fmt.Sprint(n%fleetPartitions), fmt.Sprintf("event-%07d", n)
		// A send that has begun is finished: the record must know what became of it.
		whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		batch, err := producer.NewEventDataBatch(whole, &azeventhubs.EventDataBatchOptions{PartitionID: &partition})
		if err == nil {
			err = batch.AddEventData(&azeventhubs.EventData{Body: []byte(body)}, nil)
		}
		if err == nil {
			err = producer.SendEventDataBatch(whole, batch, nil)
		}
		cancel()
		if err != nil {
			return fmt.Errorf("send %s: %w", body, err)
		}
		f.record.mu.Lock()
		f.record.sent = append(f.record.sent, body)
		f.record.mu.Unlock()
	}
}

// readTarget reads what Hubferry has forwarded until the context ends.
func (f *fleet) readTarget(ctx context.Context, t *testing.T) {
	consumer, err := azeventhubs.NewConsumerClientFromConnectionString(f.hub, fleetTarget, "judge", nil)
	if err != nil {
		t.Error(err)
		return
	}
	defer consumer.Close(context.WithoutCancel(ctx))
	var reading sync.WaitGroup
	defer reading.Wait()
	for p := range fleetPartitions {
		partition, err := consumer.NewPartitionClient(fmt.Sprint(p), &azeventhubs.PartitionClientOptions{
			StartPosition: azeventhubs.StartPosition{Earliest: new(true)},
		})
		if err != nil {
			t.Error(err)
			return
		}
		reading.Go(func() {
			defer partition.Close(context.WithoutCancel(ctx))
			for ctx.Err() == nil {
				events, err := partition.ReceiveEvents(ctx, 1, nil)
				for _, e := range events {
					f.record.handled("hubferry", string(e.Body))
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("read partition %d of the target: %v", p, err)
					return
				}
			}
		})
	}
}

// words are the last words of all members, for a failure.
func (f *fleet) words() string {
	var b strings.Builder
	for name, m := range f.members {
		text := m.stderr.String()
		fmt.Fprintf(&b, "\n%s: %s\n", name, text[max(0, len(text)-2000):])
	}
	return b.String()
}
