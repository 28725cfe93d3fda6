package checkpointtest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// recorder is a testing.TB that notes failures instead of reporting them.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	skipped  bool
	cleanups []func()
}

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (r *recorder) Skip(...any) {
	r.skipped = true
	runtime.Goexit()
}

func (r *recorder) Cleanup(f func()) { r.cleanups = append(r.cleanups, f) }

// record runs one case and returns what it found.
func record(t *testing.T, c checkpointtest.Case, h checkpointtest.Harness) *recorder {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Check(r, h)
	}()
	<-done
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	return r
}

// sound is a harness for a store that breaks no rule.
func sound() checkpointtest.Harness {
	data := mem.New()
	return checkpointtest.Harness{
		Open:  func(testing.TB) hubferry.CheckpointStore { return data.Handle() },
		Break: func(_ testing.TB, id hubferry.ID) { data.Break(id) },
		Lose: func(_ testing.TB, s hubferry.CheckpointStore) {
			done := false
			s.(interface {
				SetFault(func(mem.Call) mem.Fault)
			}).SetFault(func(c mem.Call) mem.Fault {
				if done || c.Op == mem.ListCheckpoints || c.Op == mem.ListOwnership {
					return mem.Fault{}
				}
				done = true
				return mem.Fault{Err: checkpointtest.LostResponse(), Stored: true}
			})
		},
	}
}

func TestSoundStorePasses(t *testing.T) {
	for _, c := range checkpointtest.Cases() {
		r := record(t, c, sound())
		if len(r.failures) > 0 || r.skipped {
			t.Errorf("%s: skipped %t, %q", c.Name, r.skipped, r.failures)
		}
	}
}

// TestBrokenStoresAreCaught runs the cases against stores that break one rule each.
func TestBrokenStoresAreCaught(t *testing.T) {
	proven := map[string]bool{}
	for _, m := range mutants() {
		t.Run(m.name, func(t *testing.T) {
			for _, c := range checkpointtest.Cases() {
				if !slices.Contains(m.caught, c.Name) {
					continue
				}
				proven[c.Name] = true
				h := sound()
				data := h.Open(t).(*mem.Store)
				h.Open = func(testing.TB) hubferry.CheckpointStore { return m.make(data.Handle()) }
				if r := record(t, c, h); len(r.failures) == 0 {
					t.Errorf("%s does not notice (skipped: %t)", c.Name, r.skipped)
				}
			}
		})
	}
	for _, c := range checkpointtest.Cases() {
		if !proven[c.Name] {
			t.Errorf("no broken store proves case %s", c.Name)
		}
	}
}

// broken is a store in memory with some methods replaced.
type broken struct {
	*mem.Store
	claim func(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error)
	owned func(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error)
	save  func(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error
	list  func(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error)
	fence func(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error
	group func(ctx context.Context) ([]hubferry.ID, error)
	close func(ctx context.Context) error
}

func (b *broken) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	if b.claim != nil {
		return b.claim(ctx, want)
	}
	return b.Store.ClaimOwnership(ctx, want)
}

func (b *broken) ListOwnership(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	if b.owned != nil {
		return b.owned(ctx, group)
	}
	return b.Store.ListOwnership(ctx, group)
}

func (b *broken) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	if b.save != nil {
		return b.save(ctx, id, c)
	}
	return b.Store.SaveCheckpoint(ctx, id, c)
}

func (b *broken) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	if b.list != nil {
		return b.list(ctx, group)
	}
	return b.Store.ListCheckpoints(ctx, group)
}

func (b *broken) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	if b.fence != nil {
		return b.fence(ctx, o, c)
	}
	return b.Store.SaveOwned(ctx, o, c)
}

func (b *broken) Groups(ctx context.Context) ([]hubferry.ID, error) {
	if b.group != nil {
		return b.group(ctx)
	}
	return b.Store.Groups(ctx)
}

func (b *broken) Close(ctx context.Context) error {
	if b.close != nil {
		return b.close(ctx)
	}
	return b.Store.Close(ctx)
}
