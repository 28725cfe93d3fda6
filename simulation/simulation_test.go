package simulation

import (
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry/engine"
)

// seeds returns how many worlds are simulated. HUBFERRY_SEEDS=1000 makes it the long form.
func seeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("HUBFERRY_SEEDS"), 10, 64); err == nil {
		return n
	}
	if testing.Short() {
		return 4
	}
	return 16
}

// Nothing is lost, nothing comes out of order, and effectively once nothing comes twice,
// whatever dies, freezes, stalls or is stored late (G-3 to G-9).
func TestSeeds(t *testing.T) {
	for seed := range seeds() {
		if o := simulate(t, seed, "", true); o.bad() {
			t.Errorf("seed %d: %+v", seed, o.verdict)
		}
	}
}

// Each rule is needed: in a world in which it does not hold the judge finds the failure that
// it prevents. Some worlds are lucky, so one of several is enough.
func TestRulesAreNeeded(t *testing.T) {
	const most = 60
	for _, r := range rules {
		t.Run(string(r.rule), func(t *testing.T) {
			for seed := range uint64(most) {
				if o := simulate(t, seed, r.rule, true); o.bad() {
					t.Logf("seed %d: %+v", seed, o.verdict)
					return
				}
			}
			t.Errorf("%d worlds without it, and no failure: %s: %s", most, r.number, r.text)
		})
	}
}

// A process that is frozen between its look at the lease and the send, for longer than lease
// and send deadline together, writes when another one has taken over: nobody can prevent it,
// but it says so itself when it wakes, and who looks at the target sees it (G-9). It is the
// one thing that no driver of the other worlds does.
func TestFrozenBetweenLookAndSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scene{sources: 1, targets: 1, keys: 3, window: 500, delivery: engine.EffectivelyOnce, residue: true}
		w := newWorld(t, 1, s, t.Output())
		w.tasks = w.tasks[:1]
		first := w.start(0)
		w.produce(10)
		time.Sleep(time.Minute)
		first.freeze(10 * time.Minute)
		w.produce(10)
		time.Sleep(time.Minute)
		second := w.start(0)
		time.Sleep(20 * time.Minute)
		first.gone()
		second.kill()
		third := w.start(0)
		w.produce(10)
		time.Sleep(10 * time.Minute)
		third.gone()
		got := w.judge.verdict()
		if got.Lost > 0 || got.Duplicates == 0 {
			t.Fatalf("got %+v, want duplicates of what was frozen", got)
		}
		if w.counts.Unproven < int64(got.Duplicates) {
			t.Errorf("%d duplicates, and who was frozen tells of %d", got.Duplicates, w.counts.Unproven)
		}
		if w.counts.DuplicatesSeen != int64(got.Duplicates) {
			t.Errorf("%d duplicates, and %d were seen", got.Duplicates, w.counts.DuplicatesSeen)
		}
	})
}
