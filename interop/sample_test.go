package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry/internal/porttest"
)

// program is our binary, serving.
type program struct {
	cmd *exec.Cmd
	// hub and blob are the connection strings that it printed.
	hub, blob string
}

// serveProgram starts the hub as a person would: one event hub, one container, data on disk.
func serveProgram(t *testing.T, binary, dir, hubAddress, blobAddress string) *program {
	t.Helper()
	return startHub(t, "sample", exec.Command(binary, "hub", "--namespace", "sample="+hubAddress, "--hub", "telemetry:2",
		"--blob", "devstoreaccount1="+blobAddress, "--container", sampleContainer, "--data", dir))
}

// sampleContainer is the container that the published samples name.
const sampleContainer = "your-blob-container-name"

// startHub starts a hub with a namespace and the storage account devstoreaccount1, and waits until it serves.
func startHub(t *testing.T, namespace string, cmd *exec.Cmd) *program {
	t.Helper()
	p := &program{cmd: cmd}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	lines := bufio.NewScanner(out)
	for p.blob == "" && lines.Scan() {
		switch name, connection, _ := strings.Cut(lines.Text(), " "); name {
		case namespace:
			p.hub = strings.TrimSpace(connection)
		case "devstoreaccount1":
			p.blob = strings.TrimSpace(connection)
		}
	}
	if p.blob == "" {
		t.Fatal("the hub does not say where it listens")
	}
	return p
}

// kill ends the program as a crash would.
func (p *program) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// buildProgram builds our binary.
func buildProgram(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "hubferry")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/hubferry").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

// sample is the running sample.
type sample struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan string
	tail  *tail
}

func startSample(t *testing.T, python, root string, p *program) *sample {
	t.Helper()
	s := &sample{cmd: exec.Command(python, filepath.Join(root, "interop", "clients", "python", "checkpoint_sample.py")), lines: make(chan string, 100), tail: &tail{}}
	s.cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "EVENT_HUB_CONN_STR="+p.hub, "EVENT_HUB_NAME=telemetry", "AZURE_STORAGE_CONN_STR="+p.blob)
	s.cmd.Stderr = s.tail
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for l := bufio.NewScanner(out); l.Scan(); {
			s.lines <- l.Text()
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait() // an error if it has ended before
	})
	return s
}

// read waits for n lines, sorted.
func (s *sample) read(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for deadline := time.After(2 * time.Minute); len(all) < n; {
		select {
		case line, ok := <-s.lines:
			if !ok {
				t.Fatalf("the sample ended after %q:\n%s", all, s.tail)
			}
			all = append(all, line)
		case <-deadline:
			t.Fatalf("the sample has printed %q:\n%s", all, s.tail)
		}
	}
	slices.Sort(all)
	return all
}

// end lets the sample finish and give up its partitions, which takes it until its next round of balancing (30 s).
func (s *sample) end(t *testing.T) {
	t.Helper()
	if err := s.stdin.Close(); err != nil {
		t.Error(err)
	}
	for line := range s.lines {
		t.Errorf("the sample printed %q at its end", line)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("the sample: %v\n%s", err, s.tail)
	}
}

// The published sample of the asyncio checkpoint store runs against our one binary, with its connection strings filled
// in and nothing else. What it has checkpointed survives a kill of the binary: it goes on where it was, without a repeat.
func TestCheckpointSample(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	where, err := installed(root)
	if err != nil {
		t.Fatal(err)
	}
	if where["python"] == "" {
		missing(t, "python")
		return
	}
	t.Parallel() // it waits most of the time
	binary := buildProgram(t)
	dir := t.TempDir()
	hubAddress, blobAddress := freeAddress(t), freeAddress(t)
	p := serveProgram(t, binary, dir, hubAddress, blobAddress)
	store := sampleStore(t, p.blob)
	s := startSample(t, where["python"], root, p)
	store.owned(t, 2)
	first := s.attached(t, p.hub)
	want := sendSample(t, p.hub, first, first+9)
	if got := s.read(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("the sample has read %q, want %q", got, want)
	}
	store.checkpointed(t, first+8)
	s.end(t)
	store.owned(t, 0)

	p.kill()
	p = serveProgram(t, binary, dir, hubAddress, blobAddress)
	store.checkpointed(t, first+8)
	want = sendSample(t, p.hub, first+10, first+14)
	s = startSample(t, where["python"], root, p)
	if got := s.read(t, len(want)); !slices.Equal(got, want) {
		t.Errorf("after the kill the sample has read %q, want %q", got, want)
	}
	store.checkpointed(t, first+13)
}

// attached sends events until the sample has read one of each partition, as it begins at the end wherever that is when
// it gets there. It returns the number of the next event.
func (s *sample) attached(t *testing.T, connection string) (next int) {
	t.Helper()
	var last []string
	for next = 1; next < 200; next++ {
		lines := sendSample(t, connection, next, next)
		timeout := time.After(500 * time.Millisecond)
		for waiting := true; waiting; {
			select {
			case line := <-s.lines:
				if slices.Contains(lines, line) {
					last = append(last, line)
				}
				waiting = len(last) < len(lines)
			case <-timeout:
				waiting = false
			}
		}
		if len(last) == len(lines) {
			return next + 1
		}
		last = nil
	}
	t.Fatalf("the sample reads nothing:\n%s", s.tail)
	return 0
}

// freeAddress is one that stays free while what listens on it is down.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint("127.0.0.1:", port)
}

// sendSample sends events with the numbers from first to last to both partitions, and returns what the sample shall
// print of them.
func sendSample(t *testing.T, connection string, first, last int) (lines []string) {
	t.Helper()
	producer, err := azeventhubs.NewProducerClientFromConnectionString(connection, "telemetry", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close(context.Background())
	for _, partition := range []string{"0", "1"} {
		batch, err := producer.NewEventDataBatch(t.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: &partition})
		if err != nil {
			t.Fatal(err)
		}
		for n := first; n <= last; n++ {
			body := fmt.Sprintf("event %03d", n)
			if err := batch.AddEventData(&azeventhubs.EventData{Body: []byte(body)}, nil); err != nil {
				t.Fatal(err)
			}
			lines = append(lines, partition+" "+body)
		}
		if err := producer.SendEventDataBatch(t.Context(), batch, nil); err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// judge looks at the sample's container with the official Go client.
type judge struct{ c *container.Client }

func sampleStore(t *testing.T, connection string) judge {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	c, err := container.NewClientFromConnectionString(connection, sampleContainer,
		&container.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}}})
	if err != nil {
		t.Fatal(err)
	}
	return judge{c}
}

// blobs are the metadata of all blobs, by the last two parts of their names.
func (j judge) blobs(t *testing.T) map[string]map[string]*string {
	t.Helper()
	all := map[string]map[string]*string{}
	for pager := j.c.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}); pager.More(); {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			parts := strings.Split(*b.Name, "/")
			all[strings.Join(parts[len(parts)-2:], "/")] = b.Metadata
		}
	}
	return all
}

// eventually waits until the blobs are as they shall be.
func (j judge) eventually(t *testing.T, what string, ok func(map[string]map[string]*string) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		all := j.blobs(t)
		if ok(all) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %s: there are %v", what, slices.Sorted(maps.Keys(all)))
		}
	}
}

// owned waits until somebody owns n partitions.
func (j judge) owned(t *testing.T, n int) {
	t.Helper()
	j.eventually(t, fmt.Sprint(n, " owned partitions"), func(all map[string]map[string]*string) bool {
		owned := 0
		for name, m := range all {
			if strings.HasPrefix(name, "ownership/") && m["ownerid"] != nil && *m["ownerid"] != "" {
				owned++
			}
		}
		return owned == n
	})
}

// checkpointed waits until both partitions have a checkpoint at a sequence number.
func (j judge) checkpointed(t *testing.T, sequence int) {
	t.Helper()
	j.eventually(t, fmt.Sprint("checkpoints at ", sequence), func(all map[string]map[string]*string) bool {
		for _, p := range []string{"0", "1"} {
			if m := all["checkpoint/"+p]; m["sequencenumber"] == nil || *m["sequencenumber"] != fmt.Sprint(sequence) {
				return false
			}
		}
		return true
	})
}
