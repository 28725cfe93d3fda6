package simulation

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// job is a world that a worker process is asked to run.
type job struct {
	Seed uint64 `json:"seed"`
	Rule rule   `json:"rule"`
}

// TestWorker runs the worlds that it is told on its standard input. TestReport starts it.
func TestWorker(t *testing.T) {
	if os.Getenv("HUBFERRY_SIMULATE") != "worker" {
		t.Skip("make simulate starts it")
	}
	// One processor and no collector while a world runs: nothing that depends on the time of
	// day takes part in its schedule.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	runtime.MemProfileRate = 0
	for seed := range uint64(10) { // what is only done once is done
		simulate(t, seed, "", false)
	}
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		tidy()
		if !in.Scan() {
			return
		}
		var j job
		if err := json.Unmarshal(in.Bytes(), &j); err != nil {
			t.Fatal(err)
		}
		if err := out.Encode(simulate(t, j.Seed, j.Rule, false)); err != nil {
			t.Fatal(err)
		}
	}
}

// tidy collects garbage when there is much.
func tidy() {
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapAlloc > 400<<20 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond) // what the collector has woken goes to sleep
	}
}

// TestSeed runs one world again, with everything that its instances log.
func TestSeed(t *testing.T) {
	seed, err := strconv.ParseUint(os.Getenv("HUBFERRY_SEED"), 10, 64)
	if err != nil {
		t.Skip("make simulate SEED=17 runs it")
	}
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(-1)
	broken := rule(os.Getenv("HUBFERRY_RULE"))
	for s := range uint64(10) {
		simulate(t, s, "", false)
	}
	o := simulate(t, seed, broken, true)
	t.Logf("seed %d, %+v: %+v, hash %s", seed, sceneOf(seed, broken), o.verdict, o.Hash)
	if o.bad() {
		t.Error("a promise was broken")
	}
}

// TestReport runs many worlds with all rules in force, then some without each of them, and
// prints what it has found as Markdown.
func TestReport(t *testing.T) {
	if os.Getenv("HUBFERRY_SIMULATE") != "report" {
		t.Skip("make simulate runs it")
	}
	first, _ := strconv.ParseUint(os.Getenv("HUBFERRY_FIRST"), 10, 64)
	n := seeds()
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush() //nolint:errcheck // nobody is there to be told
	var jobs []job
	for i := range n {
		jobs = append(jobs, job{Seed: first + i})
	}
	began := time.Now()
	outcomes := work(t, jobs)
	took := time.Since(began)
	for _, o := range outcomes {
		if o.bad() {
			t.Errorf("seed %d: %+v; make simulate SEED=%d shows it", o.Seed, o.verdict, o.Seed)
		}
	}
	printAll(out, outcomes, took)
	printRules(t, out, first, max(n/50, 20))
	printReplays(t, out, outcomes)
}

// work has worlds run by one process per processor.
func work(t *testing.T, jobs []job) []outcome {
	t.Helper()
	queue := make(chan job, len(jobs))
	for _, j := range jobs {
		queue <- j
	}
	close(queue)
	var mu sync.Mutex
	var all []outcome
	var running sync.WaitGroup
	for range runtime.NumCPU() {
		running.Go(func() {
			worker := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWorker$", "-test.timeout=0")
			worker.Env = append(os.Environ(), "HUBFERRY_SIMULATE=worker")
			worker.Stderr = os.Stderr
			in, err := worker.StdinPipe()
			if err != nil {
				t.Error(err)
				return
			}
			out, err := worker.StdoutPipe()
			if err != nil {
				t.Error(err)
				return
			}
			if err := worker.Start(); err != nil {
				t.Error(err)
				return
			}
			ask, answers := json.NewEncoder(in), json.NewDecoder(out)
			for j := range queue {
				var o outcome
				if err := ask.Encode(j); err != nil {
					t.Errorf("ask for seed %d: %v", j.Seed, err)
					break
				}
				if err := answers.Decode(&o); err != nil {
					t.Errorf("seed %d of rule %q: no answer: %v", j.Seed, j.Rule, err)
					break
				}
				mu.Lock()
				all = append(all, o)
				mu.Unlock()
			}
			_ = in.Close()                  // it ends then
			_, _ = io.Copy(io.Discard, out) // its last words
			if err := worker.Wait(); err != nil {
				t.Errorf("a worker: %v", err)
			}
		})
	}
	running.Wait()
	slices.SortFunc(all, func(a, b outcome) int { return cmp.Compare(a.Seed, b.Seed) })
	return all
}

// printAll prints what happened with all rules in force.
func printAll(out io.Writer, outcomes []outcome, took time.Duration) {
	var sum verdict
	faults := map[fault]int{}
	bad := 0
	for _, o := range outcomes {
		sum.Events += o.Events
		sum.Lost += o.Lost
		sum.Duplicates += o.Duplicates
		sum.Reordered += o.Reordered
		sum.Beyond += o.Beyond
		sum.Excused += o.Excused
		for f, n := range o.Faults {
			faults[f] += n
		}
		if o.bad() {
			bad++
		}
	}
	total := 0
	for _, n := range faults {
		total += n
	}
	fmt.Fprintf(out, "\n%d seeds in %s: %.0f a minute on %d processors (%s %s/%s); schedules bound to the seed: %t\n\n",
		len(outcomes), took.Round(time.Second), float64(len(outcomes))/took.Minutes(), runtime.NumCPU(), runtime.Version(), runtime.GOOS, runtime.GOARCH, seeded)
	fmt.Fprintf(out, "%d events at the source, each moved by two tasks; %d faults; %d seeds failed: %d lost, %d duplicates, %d reordered, %d reads beyond the window;\n"+
		"%d duplicates where the target had lost what proves them, all of them announced as unproven\n\n",
		sum.Events, total, bad, sum.Lost, sum.Duplicates, sum.Reordered, sum.Beyond, sum.Excused)
	fmt.Fprint(out, "| fault | times |\n|---|--:|\n")
	for _, f := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(out, "| %s | %d |\n", f, faults[f])
	}
}

// printRules prints how soon the lack of each rule is found.
func printRules(t *testing.T, out io.Writer, first, n uint64) {
	t.Helper()
	fmt.Fprintf(out, "\n| rule | put out of force | seeds until found | found by, of %d seeds | as |\n|---|---|--:|--:|---|\n", n)
	for _, r := range rules {
		var jobs []job
		for i := range n {
			jobs = append(jobs, job{first + i, r.rule})
		}
		var sum verdict
		found, until := 0, "never"
		for i, o := range work(t, jobs) {
			if !o.bad() {
				continue
			}
			if found++; found == 1 {
				until = strconv.Itoa(i + 1)
			}
			sum.Lost += o.Lost
			sum.Duplicates += o.Duplicates
			sum.Reordered += o.Reordered
			sum.Beyond += o.Beyond
		}
		if found == 0 {
			t.Errorf("%d worlds without it, and no failure: %s: %s", n, r.number, r.text)
		}
		fmt.Fprintf(out, "| %s: %s | %s | %s | %d | %d lost, %d duplicates, %d reordered, %d beyond the window |\n",
			r.number, r.text, r.how, until, found, sum.Lost, sum.Duplicates, sum.Reordered, sum.Beyond)
	}
}

// printReplays runs some worlds again, in another order, and compares.
func printReplays(t *testing.T, out io.Writer, outcomes []outcome) {
	t.Helper()
	if !seeded {
		return
	}
	hashes := map[uint64]string{}
	var jobs []job
	for i := 0; i < len(outcomes); i += max(1, len(outcomes)/100) {
		o := outcomes[i]
		hashes[o.Seed] = o.Hash
		jobs = append(jobs, job{Seed: o.Seed})
	}
	slices.Reverse(jobs)
	same := 0
	for _, o := range work(t, jobs) {
		if hashes[o.Seed] == o.Hash {
			same++
		}
	}
	fmt.Fprintf(out, "\n%d of %d seeds that were run again, in other processes and in another order, did the same at the same times.\n", same, len(jobs))
}
