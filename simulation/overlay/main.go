// Command overlay prepares a Go runtime whose choices follow from a seed, for package
// simulation: which goroutine runs next, which case a select takes, in which order timers of
// one moment fire, where the iteration of a map begins.
//
//	go run ./simulation/overlay DIR
//
// writes changed copies of four files of the installed Go's runtime to DIR, and
// DIR/overlay.json for go test -overlay. Nothing that is installed is changed. A Go whose
// runtime looks different is refused: then the changes below have to be brought up to date.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// change replaces a text of the runtime that must be there exactly once.
type change struct{ old, with string }

// changes are those of each file. Only goroutines in a synctest bubble are bound to the
// seed, and only while a simulation has set one.
var changes = map[string][]change{
	"rand.go": {
		// Hashes of keys are the same in every process.
		{"\tglobalRand.state.Init(*seed)\n\tclear(seed[:])", "\t*seed = [32]byte{}\n\tglobalRand.state.Init(*seed)"},
		// Map iteration, math/rand/v2 and hash seeds.
		{
			"\tmp := getg().m\n\tc := &mp.chacha8\n",
			"\tmp := getg().m\n\tif simulationOn != 0 && mp.curg != nil && mp.curg.bubble != nil {\n\t\treturn simulationNext()\n\t}\n\tc := &mp.chacha8\n",
		},
		{"// rand32 is uint32(rand()), called from compiler-generated code.\n", stream + "// rand32 is uint32(rand()), called from compiler-generated code.\n"},
	},
	"select.go": {{"cheaprandn(uint32(norder + 1))", "simulationChoice(uint32(norder + 1))"}},
	"time.go":   {{"\t\t\tt.rand = cheaprand()\n", "\t\t\tt.rand = simulationChoice(1 << 31)\n"}},
	"proc.go": {
		// No real time: a goroutine runs until it waits.
		{"const forcePreemptNS = 10 * 1000 * 1000 // 10ms", "const forcePreemptNS = 1 << 60"},
		{"\tif randomizeScheduler && next && randn(2) == 0 {", "\tif simulationOn != 0 && next && simulationChoice(2) == 0 {"},
		// Any goroutine that can run may be the next. The seed binds one processor, so nobody
		// else looks at its queue meanwhile.
		{
			"\t\tgp := pp.runq[h%uint32(len(pp.runq))].ptr()\n\t\tif atomic.CasRel(&pp.runqhead, h, h+1) { // cas-release, commits consume\n\t\t\treturn gp, false\n",
			"\t\tif simulationOn != 0 && t-h > 1 {\n\t\t\ti, j := h%uint32(len(pp.runq)), (h+simulationChoice(t-h))%uint32(len(pp.runq))\n\t\t\tpp.runq[i], pp.runq[j] = pp.runq[j], pp.runq[i]\n\t\t}\n" +
				"\t\tgp := pp.runq[h%uint32(len(pp.runq))].ptr()\n\t\tif atomic.CasRel(&pp.runqhead, h, h+1) { // cas-release, commits consume\n\t\t\treturn gp, false\n",
		},
	},
}

// stream is the source of choices: splitmix64 from a seed that package simulation sets.
const stream = `
//go:linkname simulationOn
var simulationOn uint64

//go:linkname simulationState
var simulationState uint64

//go:nosplit
func simulationNext() uint64 {
	simulationState += 0x9e3779b97f4a7c15
	z := simulationState
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// simulationChoice returns a number below n.
//
//go:nosplit
func simulationChoice(n uint32) uint32 {
	if simulationOn == 0 {
		return cheaprandn(n)
	}
	return uint32((simulationNext() >> 32) * uint64(n) >> 32)
}

`

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: overlay DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "overlay:", err)
		os.Exit(1)
	}
}

// write writes the changed files and the list of them.
func write(dir string) error {
	out, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output() //nolint:noctx // it takes a moment, and there is nothing to clean up
	if err != nil {
		return fmt.Errorf("ask go where it is installed: %w", err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	replace := map[string]string{}
	for name, list := range changes {
		path := filepath.Join(root, "src", "runtime", name)
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := string(text)
		for _, c := range list {
			if n := strings.Count(changed, c.old); n != 1 {
				return fmt.Errorf("%s of %s has %d times what is to be changed, want once: %q", path, version, n, c.old)
			}
			changed = strings.Replace(changed, c.old, c.with, 1)
		}
		replace[path] = filepath.Join(dir, name+".txt") // nobody takes it for a package
		if err := os.WriteFile(replace[path], []byte(changed), 0o600); err != nil {
			return err
		}
	}
	list, err := json.MarshalIndent(map[string]any{"Replace": replace}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600)
}
