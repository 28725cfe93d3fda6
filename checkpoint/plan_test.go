package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
)

// table makes a view: one letter per partition says who owns it, "." that it is free.
// Upper-case letters are foreign members.
func table(me, members, owners string) *view {
	v := &view{me: me, owner: map[string]string{}, barred: map[string]bool{}}
	for _, m := range members {
		v.members = append(v.members, string(m))
	}
	for i, o := range owners {
		name := string(o)
		if o == '.' {
			name = ""
		}
		v.owner[fmt.Sprint(i)] = name
	}
	v.foreign = func(m string) bool { return m >= "A" && m <= "Z" }
	return v
}

func TestPlan(t *testing.T) {
	for _, tc := range []struct {
		name                string
		me, members, owners string
		ending              int
		barred              string
		claim, steal        []string
		shed                int
		settled             bool
	}{
		{name: "alone, all free", me: "a", members: "a", owners: "....", claim: []string{"0", "1", "2", "3"}},
		{name: "alone, all mine", me: "a", members: "a", owners: "aaaa", settled: true},
		{name: "no partitions", me: "a", members: "ab", owners: "", settled: true},
		{name: "one of two at a cold start", me: "a", members: "ab", owners: "....", claim: []string{"0", "1"}},
		{name: "the other of two", me: "b", members: "ab", owners: "....", claim: []string{"2", "3"}},
		{name: "the odd one goes to the first name", me: "a", members: "ab", owners: "...", claim: []string{"0", "1"}},
		{name: "and not to the second", me: "b", members: "ab", owners: "...", claim: []string{"2"}},
		{name: "who has more keeps the odd one", me: "b", members: "ab", owners: "bb.", claim: nil},
		{name: "a newcomer takes nothing that is held", me: "b", members: "ab", owners: "aaaa"},
		{name: "who has too much gives", me: "a", members: "ab", owners: "aaaa", shed: 2},
		{name: "but not again what it gives already", me: "a", members: "ab", owners: "aaaa", ending: 2},
		{name: "nor more than is left", me: "a", members: "ab", owners: "aaaa", ending: 1, shed: 1},
		{name: "one more than the other is fair", me: "a", members: "ab", owners: "aab", settled: true},
		{name: "two more is not", me: "a", members: "ab", owners: "aaab", shed: 1},
		{name: "more members than partitions", me: "c", members: "abc", owners: "ab", settled: true},
		{name: "a barred one is left", me: "a", members: "a", owners: "..", barred: "0", claim: []string{"1"}},
		{name: "we do not steal from our own", me: "b", members: "ab", owners: "aaaa"},
		{name: "we do from foreign ones", me: "b", members: "bX", owners: "XXXX", steal: []string{"0", "1"}},
		{name: "of the largest first", me: "b", members: "bXY", owners: "XXYYYYY", steal: []string{"2", "3"}},
		{name: "not while something is free", me: "b", members: "bX", owners: "XXX.", claim: []string{"3"}},
		{name: "not for the sake of one", me: "b", members: "bX", owners: "bXX", settled: true},
		{name: "decimal order", me: "a", members: "ab", owners: "............", claim: []string{"0", "1", "2", "3", "4", "5"}},
	} {
		v := table(tc.me, tc.members, tc.owners)
		v.ending = tc.ending
		for _, p := range tc.barred {
			v.barred[string(p)] = true
		}
		want := plan{claim: tc.claim, steal: tc.steal, shed: tc.shed, settled: tc.settled}
		if diff := cmp.Diff(want, v.make(), cmp.AllowUnexported(plan{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
	}
}

// TestPlansAgree lets members with the same view act at once, again and again, and wants
// them never to claim the same partition, and to end fair.
func TestPlansAgree(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		members := "abcdefghijklmnopqrstuvwxyz"[:1+rnd.IntN(26)]
		owner := make([]byte, rnd.IntN(60))
		for i := range owner {
			owner[i] = (members + ".")[rnd.IntN(len(members)+1)]
		}
		rounds := 0
		for ; rounds < 3; rounds++ {
			next := slices.Clone(owner)
			for _, me := range members {
				p := table(string(me), members, string(owner)).make()
				for _, id := range p.claim {
					var i int
					_, _ = fmt.Sscan(id, &i)
					if next[i] != '.' || owner[i] != '.' {
						t.Fatalf("members %s, owners %s: %c claims %s, which %c has", members, owner, me, id, next[i])
					}
					next[i] = byte(me)
				}
				for i := range next {
					if p.shed > 0 && owner[i] == byte(me) {
						next[i] = '.'
						p.shed--
					}
				}
			}
			owner = next
		}
		if p := table("a", members, string(owner)).make(); !p.settled {
			t.Fatalf("members %s: after %d rounds the owners are %s", members, rounds, owner)
		}
	}
}

func TestJudge(t *testing.T) {
	const expiry = time.Minute
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}
	// Each step lists the record at a time of ours, with a store's clock that may be off.
	type step struct {
		at       time.Duration // our clock
		store    time.Duration // the store's, or -1 if it has none
		etag     string
		modified time.Duration // by the store's clock
		expired  bool
	}
	for name, steps := range map[string][]step{
		"the store says so at once":    {{0, time.Hour, "1", time.Hour - 2*expiry, true}},
		"not yet":                      {{0, time.Hour, "1", time.Hour - expiry, false}, {time.Second, time.Hour + time.Second, "1", time.Hour - expiry, true}},
		"without a clock we watch":     {{0, -1, "1", -2 * time.Hour, false}, {expiry, -1, "1", -2 * time.Hour, false}, {expiry + 1, -1, "1", -2 * time.Hour, true}},
		"a renewal begins it anew":     {{0, -1, "1", 0, false}, {expiry, -1, "2", 0, false}, {2 * expiry, -1, "2", 0, false}, {2*expiry + 1, -1, "2", 0, true}},
		"a record of the future":       {{0, 0, "1", 24 * time.Hour, false}, {expiry + 1, expiry + 1, "1", 24 * time.Hour, true}},
		"a step forward is distrusted": {{0, 0, "1", 0, false}, {time.Second, time.Hour, "1", 0, false}, {2 * time.Second, time.Hour + time.Second, "2", time.Hour, false}},
		"a step back counts at once":   {{0, time.Hour, "1", time.Hour, false}, {time.Second, 0, "2", 0, false}, {30 * time.Second, 29 * time.Second, "3", 29 * time.Second, false}},
	} {
		j := newJudge(expiry)
		for i, s := range steps {
			now := began.Add(s.at)
			record := hubferry.Ownership{ID: id, ETag: s.etag, Modified: began.Add(s.modified)}
			j.observe(id.Group(), []hubferry.Ownership{record}, now)
			if s.store >= 0 {
				j.read(began.Add(s.store), now)
			}
			if got := j.expired(record, now); got != s.expired {
				t.Errorf("%s: step %d: expired %t, want %t", name, i, got, s.expired)
			}
		}
		j.observe(id.Group(), nil, began)
		if len(j.seen) > 0 {
			t.Errorf("%s: a record that has gone is remembered", name)
		}
	}
}

// The judge knows how seldom others renew.
func TestGaps(t *testing.T) {
	j := newJudge(time.Minute)
	began := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	id := hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}
	for i, o := range []hubferry.Ownership{
		{Owner: "x", ETag: "1", Modified: began},
		{Owner: "x", ETag: "1", Modified: began},
		{Owner: "x", ETag: "2", Modified: began.Add(30 * time.Second)},
		{Owner: "x", ETag: "3", Modified: began.Add(40 * time.Second)},
		{Owner: "y", ETag: "4", Modified: began.Add(140 * time.Second)},
		{Owner: "", ETag: "5", Modified: began.Add(240 * time.Second)},
	} {
		o.ID = id
		j.observe(id.Group(), []hubferry.Ownership{o}, began.Add(time.Duration(i)*time.Minute))
	}
	if diff := cmp.Diff(map[string]time.Duration{"x": 30 * time.Second}, j.gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}
