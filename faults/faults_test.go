package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry/engine"
)

// draw makes a plan of a seed.
func draw(seed uint64) plan {
	r := random(seed)
	drivers := network
	if d := os.Getenv("HUBFERRY_FAULTS_DRIVER"); d != "" {
		drivers = []string{d}
	}
	p := drawWorld(r, seed, drivers[r.IntN(len(drivers))])
	for range 40 {
		s := drawStep(r, &p, able(p.driver))
		for range r.IntN(3) {
			s.add(r, &p, able(p.driver))
		}
		p.steps = append(p.steps, s)
	}
	return p
}

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed*0x9E3779B97F4A7C15, 1)) }

// drawWorld makes a plan without faults.
func drawWorld(r *rand.Rand, seed uint64, driver string) plan {
	p := plan{seed: seed, driver: driver, instances: 1 + r.IntN(2), onGap: engine.OnGapStop, expiry: 4 * time.Second, idle: 3 * time.Second}
	p.delivery = []engine.Delivery{engine.AtLeastOnce, engine.EffectivelyOnce}[r.IntN(2)]
	p.store = []string{"mem", "sqlite", "blob"}[r.IntN(3)]
	if driver == kafkas && r.IntN(3) > 0 {
		p.store = group
	}
	p.partitions = [2]int{1 + r.IntN(4), 1 + r.IntN(4)}
	if r.IntN(2) == 0 {
		p.partitions[target] = p.partitions[source]
	}
	return p
}

// able returns the faults that a driver can have.
func able(driver string) (list []*fault) {
	for _, f := range table() {
		if f.can(driver) {
			list = append(list, f)
		}
	}
	return list
}

// drawStep chooses one of some faults, and a moment for it.
func drawStep(r *rand.Rand, p *plan, faults []*fault) step {
	s := step{moment: moment(r.IntN(int(moments))), pick: r.Uint64()}
	s.lasts = time.Duration(50+r.IntN(350)) * time.Millisecond
	if r.IntN(5) == 0 {
		s.lasts = time.Duration(r.Int64N(int64(longest)))
	}
	s.add(r, p, faults)
	return s
}

// add adds a fault to those of a step, unless it is one of them.
func (s *step) add(r *rand.Rand, p *plan, faults []*fault) {
	f := faults[r.IntN(len(faults))]
	side := target
	if len(f.sides) > 0 {
		if side = f.sides[r.IntN(len(f.sides))]; side == stores && p.store != "blob" {
			side = target
		}
	}
	if slices.ContainsFunc(s.faults, func(g *fault) bool { return g.name == f.name }) {
		return
	}
	s.faults, s.sides = append(s.faults, f), append(s.sides, side)
}

// gate are the worlds of every run of the tests: each driver gets each fault that it can have,
// in two worlds of which each has a half of them.
func gate() (plans []plan) {
	for i, driver := range network {
		faults := able(driver)
		for half := range 2 {
			seed := uint64(10*i + half + 1)
			r := random(seed)
			p := drawWorld(r, seed, driver)
			p.delivery = []engine.Delivery{engine.EffectivelyOnce, engine.AtLeastOnce}[(i+half)%2]
			p.insist = true
			p.instances, p.expiry, p.idle = 2-half, 10*time.Second, 5*time.Second // for a slow machine
			for n := half; n < len(faults); n += 2 {
				s := drawStep(r, &p, faults[n:n+1])
				s.moment = moment((n/2 + i) % int(moments))
				p.steps = append(p.steps, s)
			}
			plans = append(plans, p)
		}
	}
	return plans
}

// TestFaults runs worlds in which everything goes wrong, and judges them: nothing is lost,
// altered or out of order (INV-1 to INV-5), checkpoints pass nothing that is not at the
// target (INV-2), nobody gets a partition of which another is certain (INV-9), gaps are not
// invented (INV-7), and with effectively-once delivery nothing is there twice of which the
// program does not tell itself (G-7 to G-9).
func TestFaults(t *testing.T) {
	plans := gate()
	if n, err := strconv.ParseUint(os.Getenv("HUBFERRY_SEED"), 10, 64); err == nil {
		i := slices.IndexFunc(plans, func(p plan) bool { return p.seed == n })
		if i < 0 {
			plans, i = []plan{draw(n)}, 0
		}
		plans = plans[i : i+1]
	} else if testing.Short() {
		plans = plans[:1]
	}
	results := make([]result, len(plans))
	var all sync.WaitGroup // they mostly wait
	for i, p := range plans {
		dir := t.TempDir()
		all.Go(func() { results[i] = run(t.Context(), dir, p) })
	}
	all.Wait()
	for i := range results {
		tell(t, &results[i])
	}
}

// tell reports how a world ended.
func tell(t *testing.T, r *result) {
	t.Helper()
	p := &r.plan
	t.Logf("seed %d: %s, %s, %s, %v, %d instances: %d faults in %s, %+v, claims %d, %+v", p.seed, p.driver, p.delivery, p.store, p.partitions, p.instances,
		len(r.injected), r.took.Round(time.Millisecond), r.report, r.claims, r.counts)
	for i, d := range r.times { // as far as it came
		t.Logf("  %6.2fs %s", d.Seconds(), &p.steps[i])
	}
	t.Log("  ", strings.Join(r.laps, ", "))
	for _, m := range r.missed {
		t.Logf("  %s %s hit nothing", m.fault, m.moment)
	}
	if r.log == "" {
		return
	}
	file := filepath.Join(os.TempDir(), fmt.Sprintf("hubferry-faults-%d.log", p.seed))
	_ = os.WriteFile(file, []byte(r.log), 0o600)
	for _, err := range r.errs {
		t.Errorf("seed %d: %v", p.seed, err)
	}
	if len(r.errs) > 0 {
		t.Errorf("HUBFERRY_SEED=%d repeats this schedule; the log is in %s", p.seed, file)
	}
}
