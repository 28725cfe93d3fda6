package checkpointtest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/hubferry/hubferry"
)

func raceCases() []Case {
	return []Case{
		{"RaceToCreate", checkRaceToCreate},
		{"RaceToSteal", checkRaceToSteal},
		{"Concurrent", checkConcurrent},
	}
}

const racers, laps = 16, 5

// race lets many claim one record at once, from two handles, and returns the winner.
func race(t testing.TB, handles []hubferry.CheckpointStore, o hubferry.Ownership) hubferry.Ownership {
	t.Helper()
	var (
		mu      sync.Mutex
		winners []hubferry.Ownership
		wg      sync.WaitGroup
		gun     = make(chan struct{})
	)
	for i := range racers {
		wg.Go(func() {
			mine := o
			mine.Owner = fmt.Sprintf("racer-%d", i)
			<-gun
			got, err := handles[i%len(handles)].ClaimOwnership(t.Context(), []hubferry.Ownership{mine})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("%s: %v", mine.Owner, err)
			}
			winners = append(winners, got...)
		})
	}
	close(gun)
	wg.Wait()
	if len(winners) != 1 {
		t.Fatalf("a race for %s has %d winners: %v", o.ID, len(winners), winners)
	}
	listed := owners(t, handles[0], Group)[o.ID]
	if listed.Owner != winners[0].Owner || listed.ETag != winners[0].ETag {
		t.Fatalf("%v won, but %v is listed", winners[0], listed)
	}
	return listed
}

// Of many that create a record at once exactly one succeeds.
func checkRaceToCreate(t testing.TB, h Harness) {
	handles := []hubferry.CheckpointStore{open(t, h), open(t, h)}
	for lap := range laps {
		race(t, handles, hubferry.Ownership{ID: at(fmt.Sprint(lap))})
	}
}

// Of many that write with one ETag exactly one succeeds.
func checkRaceToSteal(t testing.TB, h Harness) {
	handles := []hubferry.CheckpointStore{open(t, h), open(t, h)}
	last := won(t, handles[0], hubferry.Ownership{ID: at("0"), Owner: "victim"})
	for range laps {
		last = race(t, handles, last)
	}
}

// All methods may be called at once. Each goroutine has a partition of its own, and what
// it wrote is there when all have written.
func checkConcurrent(t testing.TB, h Harness) {
	const n = 8
	handles := []hubferry.CheckpointStore{open(t, h), open(t, h)}
	var mine [n]hubferry.Ownership
	for i := range mine {
		mine[i] = hubferry.Ownership{ID: at(fmt.Sprint(i)), Owner: fmt.Sprint("owner-", i)}
	}
	for lap := range int64(laps) {
		var wg sync.WaitGroup
		for i := range mine {
			wg.Go(func() {
				s := handles[i%len(handles)]
				got, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{mine[i]})
				if err != nil || len(got) != 1 {
					t.Errorf("renewal %d of %s: %v, %v", lap, mine[i].ID, got, err)
					return
				}
				mine[i] = got[0]
				if err := s.SaveCheckpoint(t.Context(), mine[i].ID, sequence(lap)); err != nil {
					t.Errorf("save %s: %v", mine[i].ID, err)
				}
				if _, err := s.ListOwnership(t.Context(), Group); err != nil {
					t.Errorf("list: %v", err)
				}
				if _, err := s.ListCheckpoints(t.Context(), Group); err != nil {
					t.Errorf("list: %v", err)
				}
			})
		}
		wg.Wait()
		found, listed := checkpoints(t, handles[0], Group), owners(t, handles[1], Group)
		for _, o := range mine {
			if c, ok := found[o.ID]; !ok || c.Position.Sequence != lap {
				t.Errorf("%s is at %+v after all have saved %d", o.ID, c, lap)
			}
			if listed[o.ID].ETag != o.ETag {
				t.Errorf("%s has ETag %q, its last writer got %q", o.ID, listed[o.ID].ETag, o.ETag)
			}
		}
	}
}
