package checkpointtest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/hubferry/hubferry"
)

// Harness is a store with no records, for one case.
type Harness struct {
	// Open returns a new handle on the store's data: always the same data. The suite
	// closes it.
	Open func(t testing.TB) hubferry.CheckpointStore
	// Break makes the stored checkpoint of a partition unreadable, behind the store's
	// back. nil skips the case that needs it.
	Break func(t testing.TB, id hubferry.ID)
	// Lose makes the next write through a handle succeed and answer with an error, as
	// when a connection is cut in between. nil skips the cases that need it.
	Lose func(t testing.TB, s hubferry.CheckpointStore)
	// Away makes the store unreachable through a handle, and through no other, and
	// reachable again. nil skips the case that needs it.
	Away func(t testing.TB, s hubferry.CheckpointStore, away bool)
}

// Case is one rule for stores.
type Case struct {
	Name  string
	Check func(t testing.TB, h Harness)
}

// Run runs all cases, each with a harness of its own. The function that makes it may
// clean up with t.Cleanup.
func Run(t *testing.T, harness func(t testing.TB) Harness) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) { c.Check(t, harness(t)) })
	}
}

// Cases returns all cases, in an order that finds simple mistakes first.
func Cases() []Case {
	return slices.Concat(ownershipCases(), raceCases(), checkpointCases(), storeCases())
}

// Group is a consumer group that cases use. Its name has no upper-case letters, as the
// names of services that ignore case have none (G-1).
var Group = hubferry.ID{Namespace: "west.example.net", Hub: "telemetry", ConsumerGroup: "$default"}

// at returns a partition of Group.
func at(partition string) hubferry.ID {
	id := Group
	id.Partition = partition
	return id
}

// open returns a handle that is closed at the end.
func open(t testing.TB, h Harness) hubferry.CheckpointStore {
	t.Helper()
	s := h.Open(t)
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// claim writes records and returns those that were written, by ID.
func claim(t testing.TB, s hubferry.CheckpointStore, want ...hubferry.Ownership) map[hubferry.ID]hubferry.Ownership {
	t.Helper()
	asked := map[hubferry.ID]hubferry.Ownership{}
	for _, o := range want {
		asked[o.ID] = o
	}
	written, err := s.ClaimOwnership(t.Context(), want)
	if err != nil {
		t.Fatalf("claim %v: %v", want, err)
	}
	got := map[hubferry.ID]hubferry.Ownership{}
	for _, o := range written {
		if _, twice := got[o.ID]; twice {
			t.Errorf("claim returned %s twice", o.ID)
		}
		if a, ok := asked[o.ID]; !ok || a.Owner != o.Owner {
			t.Errorf("claim returned %s of %q, which was not asked for", o.ID, o.Owner)
		}
		got[o.ID] = o
	}
	return got
}

// won writes a record and fails if that does not succeed.
func won(t testing.TB, s hubferry.CheckpointStore, o hubferry.Ownership) hubferry.Ownership {
	t.Helper()
	got, ok := claim(t, s, o)[o.ID]
	if !ok {
		t.Fatalf("%q did not get %s with ETag %q", o.Owner, o.ID, o.ETag)
	}
	if got.ETag == "" || got.ETag == o.ETag {
		t.Fatalf("the ETag of %s after a write is %q and was %q, want a new one", o.ID, got.ETag, o.ETag)
	}
	if got.Modified.IsZero() {
		t.Errorf("the time of %s after a write is missing", o.ID)
	}
	return got
}

// lost tries to write a record and fails if that succeeds.
func lost(t testing.TB, s hubferry.CheckpointStore, o hubferry.Ownership) {
	t.Helper()
	if _, ok := claim(t, s, o)[o.ID]; ok {
		t.Errorf("%q got %s with ETag %q, want the race lost", o.Owner, o.ID, o.ETag)
	}
}

// owners lists the records of a group.
func owners(t testing.TB, s hubferry.CheckpointStore, group hubferry.ID) map[hubferry.ID]hubferry.Ownership {
	t.Helper()
	records, err := s.ListOwnership(t.Context(), group)
	if err != nil {
		t.Fatalf("list the ownership of %s: %v", group, err)
	}
	got := map[hubferry.ID]hubferry.Ownership{}
	for _, o := range records {
		if _, twice := got[o.ID]; twice {
			t.Errorf("%s is listed twice", o.ID)
		}
		got[o.ID] = o
	}
	return got
}

// save stores a checkpoint.
func save(t testing.TB, s hubferry.CheckpointStore, id hubferry.ID, c hubferry.Checkpoint) {
	t.Helper()
	if err := s.SaveCheckpoint(t.Context(), id, c); err != nil {
		t.Fatalf("save %s: %v", id, err)
	}
}

// checkpoints lists the checkpoints of a group.
func checkpoints(t testing.TB, s hubferry.CheckpointStore, group hubferry.ID) map[hubferry.ID]hubferry.Checkpoint {
	t.Helper()
	got, err := s.ListCheckpoints(t.Context(), group)
	if err != nil {
		t.Fatalf("list the checkpoints of %s: %v", group, err)
	}
	return got
}

// sequence returns a checkpoint that differs from others in its sequence number.
func sequence(n int64) hubferry.Checkpoint {
	return hubferry.Checkpoint{Position: hubferry.Position{Sequence: n}}
}

func compareID(a, b hubferry.ID) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hub, b.Hub),
		cmp.Compare(a.ConsumerGroup, b.ConsumerGroup), cmp.Compare(a.Partition, b.Partition))
}

// keys returns the IDs of a listing in order.
func keys[V any](m map[hubferry.ID]V) []hubferry.ID {
	return slices.SortedFunc(maps.Keys(m), compareID)
}
