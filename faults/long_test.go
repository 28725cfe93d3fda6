package faults

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// atOnce is how many worlds the long form has at a time, unless HUBFERRY_FAULTS_WORLDS says
// otherwise. They wait most of the time.
const atOnce = 8

// TestFaultsForHours is the long form: worlds of random seeds, one after the other and some at
// a time, until HUBFERRY_FAULTS_HOURS are over. Every failure says how to repeat its
// schedule. It writes the table of what was injected to bin/faults.md.
func TestFaultsForHours(t *testing.T) {
	hours, err := strconv.ParseFloat(os.Getenv("HUBFERRY_FAULTS_HOURS"), 64)
	if err != nil || hours <= 0 {
		t.Skip("set HUBFERRY_FAULTS_HOURS, as make faults does, for the long form")
	}
	worlds := atOnce
	if n, err := strconv.Atoi(os.Getenv("HUBFERRY_FAULTS_WORLDS")); err == nil && n > 0 {
		worlds = n
	}
	var sum tally
	end := time.Now().Add(time.Duration(hours * float64(time.Hour)))
	first := uint64(time.Now().UnixNano()) / 1e6 * 1000
	t.Logf("seeds from %d on", first)
	var all sync.WaitGroup
	for i := range worlds {
		all.Go(func() {
			for n := uint64(0); time.Now().Before(end); n++ {
				seed := first + uint64(i)*1_000_000 + n
				dir := filepath.Join(t.TempDir(), fmt.Sprint(seed))
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Error(err)
					return
				}
				r := run(context.WithoutCancel(t.Context()), dir, draw(seed))
				_ = os.RemoveAll(dir)
				tell(t, &r)
				sum.add(&r)
				sum.write(t)
			}
		})
	}
	all.Wait()
	t.Log("\n" + sum.String())
}

// tally sums up worlds.
type tally struct {
	mu                                                 sync.Mutex
	began                                              time.Time
	worlds, once, failed                               int
	events, lost, reordered, altered, repeats, deepest int
	duplicates, told                                   int // of worlds with effectively-once delivery
	injected                                           map[injected]int
	seeds                                              []uint64 // of those that failed
}

func (s *tally) add(r *result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.injected == nil {
		s.injected, s.began = map[injected]int{}, time.Now().Add(-r.took)
	}
	s.worlds++
	if len(r.errs) > 0 {
		s.failed++
		s.seeds = append(s.seeds, r.plan.seed)
	}
	s.events += r.report.Events
	s.lost += r.report.Lost
	s.reordered += r.report.Reordered
	s.altered += r.report.Altered + r.report.Misplaced + r.report.Strays
	if r.plan.delivery == "effectively-once" {
		s.once++
		s.duplicates += r.report.Duplicates
		s.told += int(r.counts.Unproven + r.counts.DuplicatesSeen)
	} else {
		s.repeats += r.report.Duplicates
		s.deepest = max(s.deepest, r.report.DeepestRepeat)
	}
	for _, i := range r.injected {
		s.injected[i]++
	}
}

// String returns the table as Markdown.
func (s *tally) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	total := 0
	sums := map[[2]string]int{} // by fault and driver
	byMoment := map[string]map[moment]int{}
	drivers, faults := map[string]bool{}, map[string]int{}
	for i, n := range s.injected {
		total += n
		drivers[i.driver] = true
		faults[i.fault] += n
		sums[[2]string{i.fault, i.driver}] += n
		if byMoment[i.fault] == nil {
			byMoment[i.fault] = map[moment]int{}
		}
		byMoment[i.fault][i.moment] += n
	}
	fmt.Fprintf(&b, "%d faults in %d worlds and %s: of %d events %d were lost, %d reordered, %d altered.\n", total, s.worlds, time.Since(s.began).Round(time.Second), s.events, s.lost, s.reordered, s.altered)
	fmt.Fprintf(&b, "Effectively once (%d worlds): %d duplicates, and the program told of %d that there may be. ", s.once, s.duplicates, s.told)
	fmt.Fprintf(&b, "At least once (%d worlds): %d repeats, the deepest %d events back. %d worlds failed%s.\n\n", s.worlds-s.once, s.repeats, s.deepest, s.failed, seedsOf(s.seeds))
	names := slices.Sorted(maps.Keys(drivers))
	b.WriteString("| fault |")
	for _, d := range names {
		b.WriteString(" " + d + " |")
	}
	for m := range momentNames {
		b.WriteString(" " + momentNames[m] + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(names)+len(momentNames)) + "\n")
	for _, f := range slices.SortedFunc(maps.Keys(faults), func(a, b string) int { return cmp.Or(cmp.Compare(faults[b], faults[a]), cmp.Compare(a, b)) }) {
		b.WriteString("| " + f + " |")
		for _, d := range names {
			fmt.Fprintf(&b, " %s |", count(sums[[2]string{f, d}]))
		}
		for m := range momentNames {
			fmt.Fprintf(&b, " %s |", count(byMoment[f][moment(m)]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func seedsOf(seeds []uint64) string {
	if len(seeds) == 0 {
		return ""
	}
	return " (seeds " + strings.Trim(fmt.Sprint(seeds), "[]") + ")"
}

// write keeps the table where it is found when the run is broken off.
func (s *tally) write(t *testing.T) {
	t.Helper()
	file := os.Getenv("HUBFERRY_FAULTS_TABLE")
	if file == "" {
		return
	}
	if err := os.WriteFile(file, []byte(s.String()), 0o600); err != nil {
		t.Error(err)
	}
}
