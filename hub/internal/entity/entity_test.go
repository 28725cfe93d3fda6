package entity

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubferry/hubferry/internal/keyhash"
	"github.com/hubferry/hubferry/internal/leaktest"
)

func TestMain(m *testing.M) {
	os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
}

// clock is a settable clock.
type clock struct{ ms atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ms.Store(1_800_000_000_000)
	return c
}

func (c *clock) now() time.Time      { return time.UnixMilli(c.ms.Load()) }
func (c *clock) add(d time.Duration) { c.ms.Add(d.Milliseconds()) }

// logBuffer collects a log.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testOptions() Options {
	return Options{
		Name: "ns", Hash: keyhash.EventHubs,
		// Tests call Maintain themselves.
		Storage: Storage{MaintainEvery: time.Hour, SyncEvery: time.Hour},
	}
}

func openNS(t testing.TB, o Options) *Namespace {
	t.Helper()
	n, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// reopen closes a namespace on disk and opens it again.
func reopen(t testing.TB, n *Namespace) *Namespace {
	t.Helper()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	return openNS(t, n.o)
}

func create(t testing.TB, n *Namespace, spec HubSpec) *Hub {
	t.Helper()
	h, err := n.CreateHub(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func partition(t testing.TB, h *Hub, id string) *Partition {
	t.Helper()
	p, err := h.Partition(id)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func send(t testing.TB, p *Partition, messages ...string) Span {
	t.Helper()
	var entries []Entry
	for _, m := range messages {
		entries = append(entries, Entry{Message: []byte(m)})
	}
	s, err := p.Append(context.Background(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func receive(t testing.TB, p *Partition, from int64) []string {
	t.Helper()
	var b Batch
	var all []string
	for {
		if err := p.Read(from, 1<<20, 100, &b); err != nil {
			t.Fatal(err)
		}
		if len(b.Records) == 0 {
			return all
		}
		for _, r := range b.Records {
			all = append(all, string(r.Message))
		}
		from = b.Next
	}
}

// wantError checks condition, status and a part of the text of an error.
func wantError(t testing.TB, err error, c Condition, status int, text string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Condition != c || e.Status != status || !strings.Contains(e.Text, text) {
		t.Errorf("error %v, want %s %d with %q", err, c, status, text)
	}
}

func onDisk(t testing.TB) Options {
	o := testOptions()
	o.Dir = t.TempDir()
	return o
}

func logTo(w *logBuffer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
