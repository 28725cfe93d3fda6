package admin_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/admin"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

var group = hubferry.ID{Namespace: "contoso.example", Hub: "telemetry", ConsumerGroup: "readers"}

func partition(name string) hubferry.ID {
	id := group
	id.Partition = name
	return id
}

func at(sequence int64) hubferry.Checkpoint {
	return hubferry.Checkpoint{Position: hubferry.Position{Sequence: sequence}}
}

// store returns a store in which partition 0 has a checkpoint and partition 1 an owner.
func store(t *testing.T) *admin.Store {
	t.Helper()
	s := &admin.Store{CheckpointStore: mem.New(), Expiry: time.Minute}
	if err := s.SaveCheckpoint(t.Context(), partition("0"), at(41)); err != nil {
		t.Fatal(err)
	}
	got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: partition("1"), Owner: "task/instance"}})
	if err != nil || len(got) != 1 {
		t.Fatalf("claim: %v, %v", got, err)
	}
	return s
}

func infos(n int, begin, end int64) []hubferry.PartitionInfo {
	list := make([]hubferry.PartitionInfo, n)
	for i := range list {
		list[i] = hubferry.PartitionInfo{
			Place: hubferry.NewPlace(group.Namespace, group.Hub, string(rune('0'+i)), "now", i),
			Begin: hubferry.Position{Sequence: begin}, End: hubferry.Position{Sequence: end},
		}
	}
	return list
}

func TestRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store(t)
		read := func() []admin.Record {
			t.Helper()
			records, err := s.Read(t.Context(), group, infos(3, 9, 50))
			if err != nil || len(records) != 3 {
				t.Fatalf("read: %v, %v", records, err)
			}
			return records
		}
		records := read()
		if lag, ok := records[0].Lag(); !ok || lag != 9 {
			t.Errorf("lag of partition 0: %d, %t; want 9", lag, ok)
		}
		if _, ok := records[2].Lag(); ok {
			t.Error("a partition without a checkpoint has a lag")
		}
		if r := records[1]; !r.Active || r.Owner != "task/instance" {
			t.Errorf("partition 1: %+v, want an active owner", r)
		}
		time.Sleep(time.Minute + time.Second)
		if r := read()[1]; r.Active {
			t.Error("an owner that has not renewed for an expiry is active")
		}
	})
}

// What is gone does not count as lag.
func TestLagBehindRetention(t *testing.T) {
	c := at(3)
	r := admin.Record{Checkpoint: &c, Info: &infos(1, 9, 50)[0]}
	if lag, ok := r.Lag(); !ok || lag != 41 {
		t.Errorf("lag %d, %t; want the 41 events that are there", lag, ok)
	}
}

func TestPlanAndApply(t *testing.T) {
	tests := []struct {
		name    string
		to      map[string]int64
		may     admin.Permission
		refused []string
		written int
	}{
		{name: "nothing is there", to: map[string]int64{"2": 7}, written: 1},
		{name: "the same is there", to: map[string]int64{"0": 41}},
		{name: "something is there", to: map[string]int64{"0": 7, "2": 7}, refused: []string{"readers/0 has a checkpoint"}},
		{name: "something may be replaced", to: map[string]int64{"0": 7}, may: admin.Permission{Overwrite: true}, written: 1},
		{name: "owned", to: map[string]int64{"1": 7}, may: admin.Permission{Overwrite: true}, refused: []string{`readers/1 is owned by "task/instance"`}},
		{name: "owned, forced", to: map[string]int64{"1": 7}, may: admin.Permission{Force: true}, written: 1},
		{
			name: "all reasons", to: map[string]int64{"0": 7, "1": 7},
			refused: []string{"readers/0 has a checkpoint", "readers/1 is owned"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := store(t)
			to := map[hubferry.ID]hubferry.Checkpoint{}
			for p, n := range tt.to {
				to[partition(p)] = at(n)
			}
			planned, err := s.Plan(t.Context(), to)
			if err != nil || len(planned) != len(to) {
				t.Fatalf("plan: %v, %v", planned, err)
			}
			n, err := s.Apply(t.Context(), planned, tt.may)
			if n != tt.written || (err != nil) != (len(tt.refused) > 0) {
				t.Fatalf("apply: %d, %v; want %d written", n, err, tt.written)
			}
			for _, text := range tt.refused {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("error %q does not say %q", err, text)
				}
			}
			there, err := s.ListCheckpoints(t.Context(), group)
			if err != nil {
				t.Fatal(err)
			}
			for p, want := range tt.to {
				if got, ok := there[partition(p)]; len(tt.refused) == 0 && (!ok || got.Position.Sequence != want) {
					t.Errorf("partition %s is at %v, want %d", p, got.Position, want)
				}
			}
			if len(tt.refused) > 0 && there[partition("0")].Position.Sequence != 41 {
				t.Error("something was written although it was refused")
			}
		})
	}
}

// An owner that comes between the plan and its execution stops it.
func TestApplyLooksAgain(t *testing.T) {
	s := store(t)
	planned, err := s.Plan(t.Context(), map[hubferry.ID]hubferry.Checkpoint{partition("2"): at(7)})
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Refused(planned, admin.Permission{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: partition("2"), Owner: "x/y"}}); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Apply(t.Context(), planned, admin.Permission{}); n != 0 || err == nil {
		t.Errorf("apply: %d, %v; want a refusal", n, err)
	}
}

func TestGroups(t *testing.T) {
	s := store(t)
	for _, name := range []string{"readers~hubferry", "another"} {
		id := group
		id.ConsumerGroup, id.Partition = name, "0"
		if _, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a/b"}}); err != nil {
			t.Fatal(err)
		}
	}
	groups, err := s.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := group
	other.ConsumerGroup = "another"
	if !slices.Equal(groups, []hubferry.ID{other, group}) {
		t.Errorf("groups %v, want no presence records", groups)
	}
	if _, err := (&admin.Store{CheckpointStore: unlistable{s}}).Groups(t.Context()); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot list: %v", err)
	}
}

// unlistable hides a store's optional sides.
type unlistable struct{ hubferry.CheckpointStore }

func TestExamine(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	old := at(41)
	old.Incarnation = "before"
	unreadable := hubferry.Checkpoint{Err: errors.New("no sequence number")}
	start, done, ahead := at(-1), at(50), at(51)
	behind := at(4)
	info := &infos(1, 9, 50)[0]
	tests := []struct {
		name   string
		record admin.Record
		want   string // severity and text, "" means nothing
	}{
		{"all is well", admin.Record{Checkpoint: &done, Info: info}, ""},
		{"start of the stream", admin.Record{Checkpoint: &start, Info: info}, ""},
		{"unreadable", admin.Record{Checkpoint: &unreadable}, "trouble: its checkpoint cannot be read: no sequence number"},
		{"ahead", admin.Record{Checkpoint: &ahead, Info: info}, "trouble: its checkpoint is at 51, beyond the hub's last event 50"},
		{"behind", admin.Record{Checkpoint: &behind, Info: info}, "warning: its checkpoint is at 4, but events up to 9 are gone: 5 will be missing"},
		{"another hub", admin.Record{Checkpoint: &old, Info: info}, "trouble: its checkpoint belongs to a hub that was deleted"},
		{"hub not asked", admin.Record{Checkpoint: &ahead}, ""},
		{"live owner", admin.Record{Owner: "a/b", Active: true, Renewed: now, Checkpoint: &done, Info: info}, ""},
		{
			"dead owner",
			admin.Record{Owner: "a/b", Renewed: now.Add(-time.Hour), Checkpoint: &done, Info: info},
			`notice: its owner "a/b" last renewed 1h0m0s ago`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.record.ID = partition("0")
			found := admin.Examine([]admin.Record{tt.record}, now)
			if tt.want == "" {
				if len(found) > 0 {
					t.Errorf("found %+v", found)
				}
				return
			}
			if len(found) != 1 || !strings.HasPrefix(found[0].Severity.String()+": "+found[0].Text, tt.want) || found[0].Hint == "" {
				t.Errorf("found %+v, want %q", found, tt.want)
			}
		})
	}
}

// What only the comparison of partitions shows.
func TestExamineTogether(t *testing.T) {
	c := at(50)
	live := infos(2, 9, 50)
	records := []admin.Record{
		{ID: partition("0"), Checkpoint: &c, Info: &live[0]},
		{ID: partition("1"), Info: &live[1]},
		{ID: partition("7"), Checkpoint: &c},
		{ID: partition("8"), Owner: "a/b", Active: true},
	}
	var got []string
	for _, f := range admin.Examine(records, time.Now()) {
		got = append(got, f.Severity.String()+" "+f.ID.Partition)
	}
	if want := []string{"warning 7", "warning 8", "notice 1"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}

func TestExamineNames(t *testing.T) {
	id := func(namespace, hub, group string) hubferry.ID {
		return hubferry.ID{Namespace: namespace, Hub: hub, ConsumerGroup: group}
	}
	tests := []struct {
		name   string
		groups []hubferry.ID
		want   []string
	}{
		{"one name each", []hubferry.ID{id("a.example", "h", "g"), id("a.example", "h", "g2"), id("a.example", "i", "g")}, nil},
		{"casings", []hubferry.ID{id("a.example", "h", "$default"), id("A.example", "H", "$Default")}, []string{"trouble: one group has records in several casings"}},
		{
			"a port",
			[]hubferry.ID{id("a.example", "h", "g"), id("a.example:5671", "h", "g")},
			[]string{`warning: the namespace "a.example:5671" has a port`, "warning: one hub and group has records under several namespaces"},
		},
		{"ports of this machine are names", []hubferry.ID{id("127.0.0.1:5672", "h", "g"), id("127.0.0.1:5673", "h", "g"), id("localhost:1", "h", "g")}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found := admin.ExamineNames(tt.groups)
			if len(found) != len(tt.want) {
				t.Fatalf("found %+v, want %d", found, len(tt.want))
			}
			for _, want := range tt.want {
				if !slices.ContainsFunc(found, func(f admin.Finding) bool {
					return strings.HasPrefix(f.Severity.String()+": "+f.Text, want) && f.Hint != ""
				}) {
					t.Errorf("found %+v, want %q", found, want)
				}
			}
		})
	}
}

// A store that fails is told, and nothing is written.
func TestStoreFails(t *testing.T) {
	s := &admin.Store{CheckpointStore: broken{mem.New()}}
	if _, err := s.Plan(t.Context(), map[hubferry.ID]hubferry.Checkpoint{partition("0"): at(1)}); err == nil || !strings.Contains(err.Error(), group.String()) {
		t.Errorf("plan: %v", err)
	}
}

type broken struct{ hubferry.CheckpointStore }

func (broken) ListOwnership(context.Context, hubferry.ID) ([]hubferry.Ownership, error) {
	return nil, errors.New("the store is away")
}
