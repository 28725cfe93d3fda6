package checkpointtest

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

func storeCases() []Case {
	return []Case{
		{"GroupOnly", checkGroupOnly},
		{"OddNames", checkOddNames},
		{"IncompleteName", checkIncompleteName},
		{"SecondHandle", checkSecondHandle},
		{"Groups", checkGroups},
		{"Canceled", checkCanceled},
		{"Closed", checkClosed},
	}
}

// lookalikes are groups whose names run together when they are joined or matched
// without care.
func lookalikes() []hubferry.ID {
	return []hubferry.ID{
		{Namespace: "n", Hub: "a", ConsumerGroup: "b"},
		{Namespace: "n", Hub: "a", ConsumerGroup: "bb"},
		{Namespace: "n", Hub: "aa", ConsumerGroup: "b"},
		{Namespace: "nn", Hub: "a", ConsumerGroup: "b"},
		{Namespace: "n", Hub: "a/b", ConsumerGroup: "c"},
		{Namespace: "n", Hub: "a", ConsumerGroup: "b/c"},
		{Namespace: "n/a", Hub: "b", ConsumerGroup: "c"},
		{Namespace: "n", Hub: "a%2fb", ConsumerGroup: "c"},
		{Namespace: "n", Hub: "_", ConsumerGroup: "b"},
		{Namespace: "n", Hub: "%", ConsumerGroup: "b"},
		{Namespace: "n", Hub: "A", ConsumerGroup: "b"},
	}
}

// A listing is of one group and all of its partitions.
func checkGroupOnly(t testing.TB, h Harness) {
	s := open(t, h)
	for n, group := range lookalikes() {
		id := group
		id.Partition = "0"
		save(t, s, id, sequence(int64(n)))
		won(t, s, hubferry.Ownership{ID: id, Owner: group.String()})
	}
	for n, group := range lookalikes() {
		id := group
		id.Partition = "0"
		got := checkpoints(t, s, group)
		if diff := cmp.Diff([]hubferry.ID{id}, keys(got)); diff != "" {
			t.Errorf("checkpoints of %s (-want +got):\n%s", group, diff)
		}
		if got[id].Position.Sequence != int64(n) {
			t.Errorf("the checkpoint of %s is that of another group: %+v", id, got[id])
		}
		if diff := cmp.Diff([]hubferry.ID{id}, keys(owners(t, s, group))); diff != "" {
			t.Errorf("ownership of %s (-want +got):\n%s", group, diff)
		}
		if got := owners(t, s, group)[id].Owner; got != group.String() {
			t.Errorf("%s belongs to %q, which owns another group", id, got)
		}
	}
}

// Any text can be a name.
func checkOddNames(t testing.TB, h Harness) {
	s := open(t, h)
	odd := []string{"$default", "a;b", "a/b", "a%b", "%2F", "größe", "日本", "a b", "'; --", `"\`, "..", "0.1", "-", "a\tb", "\u0301"}
	for i, name := range odd {
		group := hubferry.ID{Namespace: odd[(i+1)%len(odd)], Hub: odd[(i+2)%len(odd)], ConsumerGroup: name}
		id := group
		id.Partition = odd[(i+3)%len(odd)]
		save(t, s, id, sequence(int64(i)))
		won(t, s, hubferry.Ownership{ID: id, Owner: name})
		got := checkpoints(t, s, group)
		if c, ok := got[id]; !ok || len(got) != 1 || c.Position.Sequence != int64(i) {
			t.Errorf("the checkpoints of %s are %+v", group, got)
		}
		if o := owners(t, s, group); len(o) != 1 || o[id].Owner != name {
			t.Errorf("the ownership of %s is %+v", group, o)
		}
	}
}

// What names no partition is refused, not stored somewhere.
func checkIncompleteName(t testing.TB, h Harness) {
	s := open(t, h)
	full := at("0")
	for _, change := range []func(*hubferry.ID){
		func(id *hubferry.ID) { id.Namespace = "" },
		func(id *hubferry.ID) { id.Hub = "" },
		func(id *hubferry.ID) { id.ConsumerGroup = "" },
		func(id *hubferry.ID) { id.Partition = "" },
	} {
		id := full
		change(&id)
		if err := s.SaveCheckpoint(t.Context(), id, sequence(1)); err == nil {
			t.Errorf("a checkpoint of %+v was stored", id)
		}
		if got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}}); err == nil {
			t.Errorf("ownership of %+v was stored: %v", id, got)
		}
	}
}

// A second handle sees what the first one did, before and after it is closed.
func checkSecondHandle(t testing.TB, h Harness) {
	first, second := h.Open(t), open(t, h)
	mine := won(t, first, hubferry.Ownership{ID: at("0"), Owner: "a"})
	save(t, first, at("0"), sequence(5))
	look := func(s hubferry.CheckpointStore) {
		t.Helper()
		if got := owners(t, s, Group)[at("0")]; got.Owner != "a" || got.ETag != mine.ETag {
			t.Errorf("another handle sees the record %+v", got)
		}
		if got := checkpoints(t, s, Group)[at("0")]; got.Position.Sequence != 5 {
			t.Errorf("another handle sees the checkpoint %+v", got)
		}
	}
	look(second)
	if err := first.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	look(second)
	look(open(t, h))
	mine.Owner = "b"
	won(t, second, mine)
}

// A store that lists groups lists each one once, also one without checkpoints.
func checkGroups(t testing.TB, h Harness) {
	s := open(t, h)
	lister, ok := s.(checkpoint.Lister)
	if !ok {
		t.Skip("the store lists no groups")
	}
	want := map[hubferry.ID]bool{}
	for i, group := range lookalikes() {
		want[group] = true
		for _, p := range []string{"0", "1"} {
			id := group
			id.Partition = p
			if i%2 == 0 {
				save(t, s, id, sequence(1))
			}
			if i%3 != 0 || i%2 != 0 {
				won(t, s, hubferry.Ownership{ID: id, Owner: "a"})
			}
		}
	}
	listed, err := lister.Groups(t.Context())
	if err != nil {
		t.Fatalf("list groups: %v", err)
	}
	got := map[hubferry.ID]bool{}
	for _, id := range listed {
		if got[id] {
			t.Errorf("%s is listed twice", id)
		}
		got[id] = true
	}
	if diff := cmp.Diff(keys(want), keys(got)); diff != "" {
		t.Errorf("groups (-want +got):\n%s", diff)
	}
}

// A context that has ended ends every call.
func checkCanceled(t testing.TB, h Harness) {
	s := open(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for op, err := range everything(ctx, s) {
		if err == nil {
			t.Errorf("%s with a canceled context returned no error", op)
		}
	}
	if got := owners(t, s, Group); len(got) > 0 {
		t.Errorf("a canceled claim was stored: %v", got)
	}
	if got := checkpoints(t, s, Group); len(got) > 0 {
		t.Errorf("a canceled checkpoint was stored: %v", got)
	}
}

// A closed store says so, and can be closed again.
func checkClosed(t testing.TB, h Harness) {
	s := h.Open(t)
	for range 2 {
		if err := s.Close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	for op, err := range everything(t.Context(), s) {
		if !errors.Is(err, hubferry.ErrClosed) {
			t.Errorf("%s after Close returned %v, want ErrClosed", op, err)
		}
	}
}

// everything calls all methods but Close and returns their errors.
func everything(ctx context.Context, s hubferry.CheckpointStore) map[string]error {
	errs := map[string]error{}
	_, errs["ListCheckpoints"] = s.ListCheckpoints(ctx, Group)
	errs["SaveCheckpoint"] = s.SaveCheckpoint(ctx, at("0"), sequence(1))
	_, errs["ListOwnership"] = s.ListOwnership(ctx, Group)
	_, errs["ClaimOwnership"] = s.ClaimOwnership(ctx, []hubferry.Ownership{{ID: at("0"), Owner: "a"}})
	if f, ok := s.(checkpoint.Fenced); ok {
		errs["SaveOwned"] = f.SaveOwned(ctx, hubferry.Ownership{ID: at("0"), Owner: "a"}, sequence(1))
	}
	if l, ok := s.(checkpoint.Lister); ok {
		_, errs["Groups"] = l.Groups(ctx)
	}
	return errs
}
