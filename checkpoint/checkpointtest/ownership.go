package checkpointtest

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

func ownershipCases() []Case {
	return []Case{
		{"Create", checkCreate},
		{"Renew", checkRenew},
		{"Steal", checkSteal},
		{"Relinquish", checkRelinquish},
		{"NoCreateWithETag", checkNoCreateWithETag},
		{"ETagsNeverRepeat", checkETagsNeverRepeat},
		{"PartlyLost", checkPartlyLost},
		{"Listed", checkListed},
		{"OneClock", checkOneClock},
		{"LostResponse", checkLostResponse},
		{"ManyRecords", checkManyRecords},
	}
}

// A record is created only where there is none.
func checkCreate(t testing.TB, h Harness) {
	s := open(t, h)
	won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	lost(t, s, hubferry.Ownership{ID: at("0"), Owner: "b"})
	lost(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	if got := owners(t, s, Group)[at("0")].Owner; got != "a" {
		t.Errorf("partition 0 belongs to %q after lost races, want %q", got, "a")
	}
	won(t, s, hubferry.Ownership{ID: at("1"), Owner: "b"})
}

// A renewal needs the ETag of the last write.
func checkRenew(t testing.TB, h Harness) {
	s := open(t, h)
	first := won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	second := won(t, s, first)
	if second.Modified.Before(first.Modified) {
		t.Errorf("a renewal moved the time back from %s to %s", first.Modified, second.Modified)
	}
	lost(t, s, first)
	won(t, s, second)
}

// Whoever knows the ETag may write his own name, and the owner before him loses.
func checkSteal(t testing.TB, h Harness) {
	victim, thief := open(t, h), open(t, h)
	before := won(t, victim, hubferry.Ownership{ID: at("0"), Owner: "victim"})
	listed := owners(t, thief, Group)[at("0")]
	listed.Owner = "thief"
	won(t, thief, listed)
	lost(t, victim, before)
	if got := owners(t, victim, Group)[at("0")].Owner; got != "thief" {
		t.Errorf("the partition belongs to %q, want %q", got, "thief")
	}
}

// A relinquished record stays, without an owner, and keeps its line of ETags.
func checkRelinquish(t testing.TB, h Harness) {
	s := open(t, h)
	mine := won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	given := mine
	given.Owner = ""
	given = won(t, s, given)
	got, ok := owners(t, s, Group)[at("0")]
	if !ok || got.Owner != "" || got.ETag != given.ETag {
		t.Fatalf("a relinquished record is listed as %+v, want no owner and ETag %q", got, given.ETag)
	}
	lost(t, s, hubferry.Ownership{ID: at("0"), Owner: "b"})
	lost(t, s, mine)
	got.Owner = "b"
	won(t, s, got)
}

// A record that has gone is not made anew by who knows its old ETag.
func checkNoCreateWithETag(t testing.TB, h Harness) {
	s := open(t, h)
	lost(t, s, hubferry.Ownership{ID: at("0"), Owner: "a", ETag: "12345"})
	if got := owners(t, s, Group); len(got) > 0 {
		t.Errorf("a lost race left %v behind", got)
	}
}

// An ETag stands for one write, not for what was written.
func checkETagsNeverRepeat(t testing.TB, h Harness) {
	s := open(t, h)
	seen := map[string]int{}
	last := hubferry.Ownership{ID: at("0"), Owner: "a"}
	for i := range 10 {
		last = won(t, s, last)
		if before, ok := seen[last.ETag]; ok {
			t.Fatalf("writes %d and %d have the same ETag %q", before, i, last.ETag)
		}
		seen[last.ETag] = i
		last.Owner = []string{"b", "a", ""}[i%3]
	}
}

// Of several records those are written, and returned, whose race is won.
func checkPartlyLost(t testing.TB, h Harness) {
	s := open(t, h)
	won(t, s, hubferry.Ownership{ID: at("1"), Owner: "other"})
	third := won(t, s, hubferry.Ownership{ID: at("3"), Owner: "a"})
	got := claim(t, s,
		hubferry.Ownership{ID: at("0"), Owner: "a"},
		hubferry.Ownership{ID: at("1"), Owner: "a"},
		hubferry.Ownership{ID: at("2"), Owner: "a", ETag: "stale"},
		third,
		hubferry.Ownership{ID: at("4"), Owner: "a"})
	if diff := cmp.Diff([]hubferry.ID{at("0"), at("3"), at("4")}, keys(got)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
	for id, o := range owners(t, s, Group) {
		want := "a"
		if id == at("1") {
			want = "other"
		}
		if o.Owner != want {
			t.Errorf("%s belongs to %q, want %q", id, o.Owner, want)
		}
	}
	if got := claim(t, s); len(got) != 0 {
		t.Errorf("claiming nothing returned %v", got)
	}
}

// What is listed is what the claim returned.
func checkListed(t testing.TB, h Harness) {
	s := open(t, h)
	if got := owners(t, s, Group); len(got) > 0 {
		t.Errorf("an empty store lists %v", got)
	}
	a := won(t, s, hubferry.Ownership{ID: at("0"), Owner: "task%2Fone/host-1"})
	b := won(t, s, hubferry.Ownership{ID: at("10"), Owner: "Überraschung;=\t'\"%00"})
	want := map[hubferry.ID]hubferry.Ownership{a.ID: a, b.ID: b}
	equal := cmp.Comparer(func(x, y hubferry.Ownership) bool {
		return x.ID == y.ID && x.Owner == y.Owner && x.ETag == y.ETag && x.Modified.Equal(y.Modified)
	})
	if diff := cmp.Diff(want, owners(t, s, Group), equal); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}

// Times are of one clock, which is the store's, whichever handle writes.
func checkOneClock(t testing.TB, h Harness) {
	one, two := open(t, h), open(t, h)
	a := won(t, one, hubferry.Ownership{ID: at("0"), Owner: "a"})
	b := won(t, two, hubferry.Ownership{ID: at("1"), Owner: "b"})
	c := won(t, one, a)
	if b.Modified.Before(a.Modified) || c.Modified.Before(b.Modified) {
		t.Errorf("three writes, one after the other, have the times %s, %s, %s", a.Modified, b.Modified, c.Modified)
	}
	clock, ok := two.(checkpoint.Clock)
	if !ok {
		return
	}
	now, err := clock.ServerTime(t.Context())
	if err != nil {
		t.Fatalf("server time: %v", err)
	}
	if now.Before(c.Modified) {
		t.Errorf("the store's time %s is before that of a write, %s", now, c.Modified)
	}
}

var errCut = errors.New("checkpointtest: the connection was cut")

// LostResponse returns the error that a harness may answer with from Harness.Lose.
func LostResponse() error { return errCut }

// When the answer to a claim is lost, the caller gets an error, and finds out by listing.
func checkLostResponse(t testing.TB, h Harness) {
	if h.Lose == nil {
		t.Skip("the harness cannot lose a response")
	}
	s := open(t, h)
	before := won(t, s, hubferry.Ownership{ID: at("0"), Owner: "a"})
	h.Lose(t, s)
	got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{before})
	if err == nil {
		t.Fatalf("a claim without an answer returned %v and no error", got)
	}
	if len(got) > 0 {
		t.Errorf("a claim without an answer returned %v", got)
	}
	listed := owners(t, s, Group)[at("0")]
	if listed.ETag == before.ETag {
		t.Fatalf("the harness did not store the claim")
	}
	lost(t, s, before)
	won(t, s, listed)

	h.Lose(t, s)
	if err := s.SaveCheckpoint(t.Context(), at("0"), sequence(7)); err == nil {
		t.Errorf("saving without an answer returned no error")
	}
	if got := checkpoints(t, s, Group)[at("0")].Position.Sequence; got != 7 {
		t.Errorf("the checkpoint is at %d, want 7", got)
	}
}

// A group may have more records than any page of a listing.
func checkManyRecords(t testing.TB, h Harness) {
	s := open(t, h)
	const n = 1100
	want := make([]hubferry.Ownership, n)
	for i := range want {
		want[i] = hubferry.Ownership{ID: at(fmt.Sprint(i)), Owner: "a"}
	}
	if got := claim(t, s, want...); len(got) != n {
		t.Errorf("%d of %d new records were written", len(got), n)
	}
	if got := owners(t, s, Group); len(got) != n {
		t.Errorf("%d of %d records are listed", len(got), n)
	}
}
