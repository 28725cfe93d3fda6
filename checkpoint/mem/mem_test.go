package mem_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

func TestConformance(t *testing.T) { checkpointtest.Run(t, harness) }

func TestLeases(t *testing.T) {
	for _, c := range checkpointtest.LeaseCases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Check(t, harness(t)) })
		})
	}
}

func harness(testing.TB) checkpointtest.Harness {
	data := mem.New()
	return checkpointtest.Harness{
		Open:  func(testing.TB) hubferry.CheckpointStore { return data.Handle() },
		Break: func(_ testing.TB, id hubferry.ID) { data.Break(id) },
		Lose:  func(_ testing.TB, s hubferry.CheckpointStore) { loseOne(s.(*mem.Store)) },
		Away: func(_ testing.TB, s hubferry.CheckpointStore, away bool) {
			s.(*mem.Store).SetFault(func(mem.Call) mem.Fault {
				if away {
					return mem.Fault{Err: errors.New("away")}
				}
				return mem.Fault{}
			})
		},
	}
}

// loseOne loses the answer of the next write.
func loseOne(s *mem.Store) {
	done := false
	s.SetFault(func(c mem.Call) mem.Fault {
		if done || (c.Op != mem.ClaimOwnership && c.Op != mem.SaveCheckpoint) {
			return mem.Fault{}
		}
		done = true
		return mem.Fault{Err: checkpointtest.LostResponse(), Stored: true}
	})
}

var id = hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}

func TestFaults(t *testing.T) {
	errDown := errors.New("down")
	for name, tc := range map[string]struct {
		fault  mem.Fault
		want   error
		after  time.Duration // when the call returns
		stored bool          // then
		late   bool          // or later
	}{
		"none":          {stored: true},
		"slow":          {fault: mem.Fault{Before: time.Second, After: 2 * time.Second}, after: 3 * time.Second, stored: true},
		"fails":         {fault: mem.Fault{Err: errDown}, want: errDown},
		"lost response": {fault: mem.Fault{Err: errDown, Stored: true}, want: errDown, stored: true},
		"too slow":      {fault: mem.Fault{Before: time.Minute}, want: context.DeadlineExceeded, after: 10 * time.Second},
		"answer late":   {fault: mem.Fault{After: time.Minute}, want: context.DeadlineExceeded, after: 10 * time.Second, stored: true},
		"lingers":       {fault: mem.Fault{Before: time.Minute, Linger: true}, want: context.DeadlineExceeded, after: 10 * time.Second, late: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := mem.New()
				s.SetFault(func(c mem.Call) mem.Fault {
					if c.Op == mem.SaveCheckpoint {
						return tc.fault
					}
					return mem.Fault{}
				})
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err := s.SaveCheckpoint(ctx, id, hubferry.Checkpoint{})
				if !errors.Is(err, tc.want) {
					t.Errorf("save: %v, want %v", err, tc.want)
				}
				if took := time.Since(began); took != tc.after {
					t.Errorf("it took %s, want %s", took, tc.after)
				}
				if got := stored(t, s); got != tc.stored {
					t.Errorf("stored when the call returned: %t, want %t", got, tc.stored)
				}
				time.Sleep(2 * time.Minute)
				if got := stored(t, s); got != (tc.stored || tc.late) {
					t.Errorf("stored in the end: %t, want %t", got, tc.stored || tc.late)
				}
			})
		})
	}
}

func stored(t *testing.T, s *mem.Store) bool {
	t.Helper()
	found, err := s.ListCheckpoints(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return len(found) > 0
}

func TestClaimInPart(t *testing.T) {
	s := mem.New()
	errDown := errors.New("down")
	s.SetFault(func(mem.Call) mem.Fault { return mem.Fault{Err: errDown, Part: 1} })
	other := id
	other.Partition = "1"
	got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}, {ID: other, Owner: "a"}})
	if !errors.Is(err, errDown) || len(got) != 1 || got[0].ID != id {
		t.Errorf("a claim that fails after one record returned %v, %v", got, err)
	}
}

func TestKindSharesItsData(t *testing.T) {
	kind := mem.Kind()
	open := func() hubferry.CheckpointStore {
		s, err := kind.Open(t.Context(), kind.Options(), hubferry.Env{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := open().SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{}); err != nil {
		t.Fatal(err)
	}
	if found, err := open().ListCheckpoints(t.Context(), id); err != nil || len(found) != 1 {
		t.Errorf("a second store of one kind lists %v, %v", found, err)
	}
}
