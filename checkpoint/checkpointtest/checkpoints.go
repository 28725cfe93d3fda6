package checkpointtest

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

func checkpointCases() []Case {
	return []Case{
		{"RoundTrip", checkRoundTrip},
		{"Replace", checkReplace},
		{"NoSharing", checkNoSharing},
		{"BadRecord", checkBadRecord},
		{"Fenced", checkFenced},
		{"Forwards", checkForwards},
		{"StaleOwner", checkStaleOwner},
	}
}

// examples are checkpoints of every shape.
func examples() map[string]hubferry.Checkpoint {
	return map[string]hubferry.Checkpoint{
		"zero":          {},
		"before all":    {Position: hubferry.Position{Sequence: -1}},
		"offset":        {Position: hubferry.Position{Sequence: 12, Offset: "77309411"}},
		"huge":          {Position: hubferry.Position{Sequence: math.MaxInt64, Offset: "9223372036854775807"}},
		"beyond double": {Position: hubferry.Position{Sequence: 1<<53 + 1}},
		"negative":      {Position: hubferry.Position{Sequence: math.MinInt64, Offset: "-1"}},
		"opaque offset": {Position: hubferry.Position{Sequence: 5, Offset: "1:cnVzaA==;%2F '\"\\ ü\t-1"}},
		"leader epoch":  {Position: hubferry.Position{Sequence: 5, Epoch: math.MaxInt32}},
		"leader -1":     {Position: hubferry.Position{Sequence: 5, Epoch: -1}},
		"beginning":     {Position: hubferry.Position{Sequence: 5}, Beginning: math.MaxInt64},
		"all": {
			Position:    hubferry.Position{Sequence: 1841, Offset: "4611686018427387904", Epoch: 3},
			Incarnation: "2026-11-01T12:00:00.1234567Z",
			Beginning:   2,
			Time:        time.Date(2026, 11, 23, 1, 2, 3, 456e6, time.UTC),
			Clean:       true,
			Marks: map[string]hubferry.Position{
				"east.example.net/telemetry/0":     {Sequence: 7},
				"east.example.net/a%2Fb%3Bc/12":    {Sequence: math.MaxInt64, Offset: "opaque", Epoch: 2},
				"east.example.net/größe/partition": {Sequence: -1},
			},
			States: map[string][]byte{
				"dedupe":      {0, 255, 128, '"', '\n'},
				"engine.task": []byte("telemetry"),
				"chain/ü;%":   bytes.Repeat([]byte{0xA5}, 1024),
				"nothing":     {},
			},
		},
	}
}

// same compares checkpoints: empty and missing maps are equal.
var same = cmp.Options{
	cmpopts.EquateEmpty(),
	cmpopts.EquateApproxTime(time.Millisecond),
	cmp.Transformer("message", func(err error) string {
		if err == nil {
			return ""
		}
		return "error: " + err.Error()
	}),
}

// A checkpoint comes back as it was, for another handle, too.
func checkRoundTrip(t testing.TB, h Harness) {
	writer, reader := open(t, h), open(t, h)
	want := map[hubferry.ID]hubferry.Checkpoint{}
	for name, c := range examples() {
		id := at(name)
		save(t, writer, id, c)
		want[id] = c
	}
	if diff := cmp.Diff(want, checkpoints(t, reader, Group), same); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if got := owners(t, reader, Group); len(got) > 0 {
		t.Errorf("checkpoints made ownership records: %v", got)
	}
}

// A later checkpoint replaces all of the one before, to a lower position as well: who
// saves decides.
func checkReplace(t testing.TB, h Harness) {
	s := open(t, h)
	full := examples()["all"]
	save(t, s, at("0"), full)
	for _, next := range []hubferry.Checkpoint{sequence(2000), sequence(3), full} {
		save(t, s, at("0"), next)
		want := map[hubferry.ID]hubferry.Checkpoint{at("0"): next}
		if diff := cmp.Diff(want, checkpoints(t, s, Group), same); diff != "" {
			t.Errorf("listed (-want +got):\n%s", diff)
		}
	}
}

// What a caller does with his maps and slices afterwards is not the store's business.
func checkNoSharing(t testing.TB, h Harness) {
	s := open(t, h)
	given := examples()["all"]
	save(t, s, at("0"), given)
	given.States["dedupe"][0] = 99
	given.States["late"] = []byte("x")
	given.Marks["late"] = hubferry.Position{}
	listed := checkpoints(t, s, Group)[at("0")]
	if diff := cmp.Diff(examples()["all"], listed, same); diff != "" {
		t.Errorf("after a change of what was saved (-want +got):\n%s", diff)
	}
	listed.States["dedupe"][0] = 77
	delete(listed.Marks, "east.example.net/telemetry/0")
	if diff := cmp.Diff(examples()["all"], checkpoints(t, s, Group)[at("0")], same); diff != "" {
		t.Errorf("after a change of what was listed (-want +got):\n%s", diff)
	}
}

// One record that cannot be read does not hide the others, nor itself.
func checkBadRecord(t testing.TB, h Harness) {
	if h.Break == nil {
		t.Skip("the harness cannot break a record")
	}
	s := open(t, h)
	for _, p := range []string{"0", "1", "2"} {
		save(t, s, at(p), examples()["all"])
	}
	h.Break(t, at("1"))
	got := checkpoints(t, s, Group)
	if diff := cmp.Diff([]hubferry.ID{at("0"), at("1"), at("2")}, keys(got)); diff != "" {
		t.Fatalf("listed (-want +got):\n%s", diff)
	}
	if got[at("1")].Err == nil {
		t.Errorf("a broken record is listed without an error: %+v", got[at("1")])
	}
	for _, p := range []string{"0", "2"} {
		if diff := cmp.Diff(examples()["all"], got[at(p)], same); diff != "" {
			t.Errorf("beside a broken record, partition %s is (-want +got):\n%s", p, diff)
		}
	}
	save(t, s, at("1"), sequence(4))
	if c := checkpoints(t, s, Group)[at("1")]; c.Err != nil || c.Position.Sequence != 4 {
		t.Errorf("a broken record that was replaced is %+v", c)
	}
}

// A store that is fenced saves for the owner only.
func checkFenced(t testing.TB, h Harness) {
	s := open(t, h)
	fenced, ok := s.(checkpoint.Fenced)
	if !ok {
		t.Skip("the store is not fenced")
	}
	refused := func(owner string, want int64) {
		t.Helper()
		err := fenced.SaveOwned(t.Context(), hubferry.Ownership{ID: at("0"), Owner: owner}, sequence(99))
		if kind := hubferry.KindOf(err); err == nil || kind != hubferry.Lost {
			t.Errorf("%q saved without owning the partition: %v, want an error of kind %s", owner, err, hubferry.Lost)
		}
		got, ok := checkpoints(t, s, Group)[at("0")]
		if (want != 0) != ok || got.Position.Sequence != want {
			t.Errorf("a refused checkpoint was stored: %+v", got)
		}
	}
	refused("a", 0)
	refused("", 0)
	mine := won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	for _, n := range []int64{5, 6} {
		if err := fenced.SaveOwned(t.Context(), hubferry.Ownership{ID: at("0"), Owner: "a"}, sequence(n)); err != nil {
			t.Errorf("the owner saves: %v", err)
		}
		mine = won(t, s, mine) // a renewal in between changes nothing
	}
	refused("b", 6)
	mine.Owner = "b"
	mine = won(t, s, mine)
	refused("a", 6)
	mine.Owner = ""
	won(t, s, mine)
	refused("b", 6)
	refused("", 6)
	var e *hubferry.Error
	if err := fenced.SaveOwned(t.Context(), hubferry.Ownership{ID: at("0"), Owner: "a"}, sequence(1)); !errors.As(err, &e) {
		t.Errorf("the refusal is %v, want a *hubferry.Error", err)
	}
}

// saver returns how the balancer saves with a store, if that is more than SaveCheckpoint.
func saver(s hubferry.CheckpointStore) func(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	switch s := s.(type) {
	case checkpoint.Fenced:
		return s.SaveOwned
	case checkpoint.Forward:
		return s.SaveForward
	}
	return nil
}

// A store that is fenced, or saves forwards, does not let an old request, which arrives
// late, move a checkpoint back, nor one from before the task began anew move it on. A hub that
// was made anew, or cut back, begins again, and so does a task that says so.
func checkForwards(t testing.TB, h Harness) {
	s := open(t, h)
	saveOwned := saver(s)
	if saveOwned == nil {
		t.Skip("the store saves whatever it is given")
	}
	won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	at5 := hubferry.Checkpoint{Position: hubferry.Position{Sequence: 5, Epoch: 2}, Incarnation: "one"}
	for _, step := range []struct {
		name  string
		c     hubferry.Checkpoint
		moves bool
	}{
		{"the first", at5, true},
		{"the same again", at5, true},
		{"back", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 4, Epoch: 2}, Incarnation: "one"}, false},
		{"back in an older epoch", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 4, Epoch: 1}, Incarnation: "one"}, false},
		{"on in an older epoch", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 6, Epoch: 1}, Incarnation: "one"}, true},
		{"back in an incarnation that is not known", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 5, Epoch: 1}}, false},
		{"back in a newer epoch", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 3, Epoch: 3}, Incarnation: "one"}, true},
		{"back in another incarnation", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 1}, Incarnation: "two"}, true},
		{"on", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 500}, Incarnation: "two"}, true},
		{"back to a new beginning", hubferry.Checkpoint{Position: hubferry.Position{Sequence: -1}, Incarnation: "two", Beginning: 1}, true},
		{"on from before the beginning", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 501}, Incarnation: "two"}, false},
		{"on from the beginning", hubferry.Checkpoint{Position: hubferry.Position{Sequence: 7}, Incarnation: "two", Beginning: 1}, true},
		{"back to the beginning", hubferry.Checkpoint{Position: hubferry.Position{Sequence: -1}, Incarnation: "two", Beginning: 1}, false},
	} {
		before := checkpoints(t, s, Group)[at("0")]
		err := saveOwned(t.Context(), hubferry.Ownership{ID: at("0"), Owner: "a"}, step.c)
		if step.moves && err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if !step.moves && (err == nil || hubferry.KindOf(err) != hubferry.Lost) {
			t.Errorf("%s: %v, want an error of kind %s", step.name, err, hubferry.Lost)
		}
		want := step.c
		if !step.moves {
			want = before
		}
		if diff := cmp.Diff(want, checkpoints(t, s, Group)[at("0")], same); diff != "" {
			t.Errorf("%s: stored (-want +got):\n%s", step.name, diff)
		}
	}
}

// Who has lost a partition to another owner, and does not know it yet, saves nothing over
// what that one has saved, not even a later position.
func checkStaleOwner(t testing.TB, h Harness) {
	victim, thief := open(t, h), open(t, h)
	if saver(victim) == nil {
		t.Skip("the store saves whatever it is given")
	}
	saves := func(s hubferry.CheckpointStore, owner string, n int64) error {
		return saver(s)(t.Context(), hubferry.Ownership{ID: at("0"), Owner: owner}, sequence(n))
	}
	record := won(t, victim, hubferry.Ownership{ID: at("0"), Owner: "victim"})
	if err := saves(victim, "victim", 5); err != nil {
		t.Fatalf("the first owner saves: %v", err)
	}
	record.Owner = "thief"
	won(t, thief, record)
	checkpoints(t, thief, Group)
	if err := saves(thief, "thief", 6); err != nil {
		t.Fatalf("the second owner saves: %v", err)
	}
	for _, n := range []int64{5, 6, 9} {
		if err := saves(victim, "victim", n); err == nil || hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("the first owner saves %d: %v, want an error of kind %s", n, err, hubferry.Lost)
		}
	}
	if got := checkpoints(t, victim, Group)[at("0")].Position.Sequence; got != 6 {
		t.Errorf("the checkpoint is at %d, want 6", got)
	}
	if err := saves(thief, "thief", 7); err != nil {
		t.Errorf("the second owner saves again: %v", err)
	}
}
