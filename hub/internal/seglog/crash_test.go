package seglog

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// crashChild is the process that TestKill kills: it appends for ever and
// prints what was confirmed.
func crashChild(dir string) {
	fsync, err := ParseFsync(os.Getenv("SEGLOG_CRASH_FSYNC"))
	if err != nil {
		panic(err)
	}
	l, err := Open(Options{Dir: dir, Fsync: fsync, SegmentBytes: 20_000})
	if err != nil {
		panic(err)
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	for w := range 3 {
		all.Go(func() {
			for i := 0; ; i++ {
				msg := fmt.Sprintf("%d-%d-%d-%s", os.Getpid(), w, i, strings.Repeat("x", rand.IntN(2000)))
				s, err := l.Append(context.Background(), []Entry{plain(msg), plain(msg + "'")})
				if err != nil {
					panic(err)
				}
				mu.Lock()
				fmt.Printf("%d %s\n", s.First, msg)
				mu.Unlock()
			}
		})
	}
	all.Wait()
}

// What was confirmed is there after a kill -9, under every policy: batches
// whole, in order, and nothing that was not sent.
func TestKill(t *testing.T) {
	for _, fsync := range []string{"interval", "batch", "never"} {
		t.Run(fsync, func(t *testing.T) {
			dir := t.TempDir()
			confirmed := map[int64]string{}
			for round := range 4 {
				killOnce(t, dir, fsync, confirmed, 50+rand.IntN(400))
				l := open(t, Options{Dir: dir, SegmentBytes: 20_000})
				recs := readAll(t, l, 0, 1<<20, 1000)
				if len(recs)%2 != 0 {
					t.Fatalf("round %d: half a batch", round)
				}
				for i := 0; i < len(recs); i += 2 {
					a, b := recs[i], recs[i+1]
					if a.Sequence != int64(i) || b.Sequence != int64(i+1) || string(a.Message)+"'" != string(b.Message) {
						t.Fatalf("round %d: records %d and %d are no batch: %d %.40q, %d %.40q", round, i, i+1, a.Sequence, a.Message, b.Sequence, b.Message)
					}
					if want, ok := confirmed[a.Sequence]; ok && want != string(a.Message) {
						t.Fatalf("round %d: record %d is %.40q, confirmed was %.40q", round, i, a.Message, want)
					}
					delete(confirmed, a.Sequence)
					confirmed[a.Sequence] = string(a.Message)
				}
				if len(confirmed) != len(recs)/2 {
					t.Fatalf("round %d: %d batches are there, %d were confirmed", round, len(recs)/2, len(confirmed))
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// killOnce runs a child until it has confirmed so many batches.
func killOnce(t *testing.T, dir, fsync string, confirmed map[int64]string, lines int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "SEGLOG_CRASH_DIR="+dir, "SEGLOG_CRASH_FSYNC="+fsync)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := bufio.NewScanner(out)
	for n := 0; s.Scan(); n++ {
		var seq int64
		var msg string
		// The pipe ends within a line when the child is killed.
		if k, _ := fmt.Sscan(s.Text(), &seq, &msg); k != 2 || !strings.HasSuffix(s.Text(), msg) {
			continue
		}
		if n < lines || strings.HasSuffix(msg, "x") {
			confirmed[seq] = msg
		}
		if n == lines {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	_ = cmd.Wait() // says "killed"
}
