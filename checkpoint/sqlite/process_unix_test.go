//go:build unix

package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// TestMain lets the test binary be a process of its own: see roles.
func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv("HUBFERRY_TEST_ROLE")]
	if !ok {
		os.Exit(m.Run())
	}
	if err := role(context.Background(), os.Getenv("HUBFERRY_TEST_PATH"), os.Getenv("HUBFERRY_TEST_NAME")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// roles are what other processes do in these tests.
var roles = map[string]func(ctx context.Context, path, name string) error{
	"write": writeForever,
	"race":  raceForRecords,
	"open": func(ctx context.Context, path, _ string) error {
		s, err := Open(ctx, Options{Path: path}, nil)
		if err != nil {
			return err
		}
		return s.Close(ctx)
	},
}

// child returns a process in a role.
func child(t *testing.T, role, path, name string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), "HUBFERRY_TEST_ROLE="+role, "HUBFERRY_TEST_PATH="+path, "HUBFERRY_TEST_NAME="+name)
	c.Stderr = os.Stderr
	return c
}

// writeForever saves checkpoints of growing sequence numbers, renews a record, and prints
// each number that was confirmed.
func writeForever(ctx context.Context, path, name string) error {
	s, err := Open(ctx, Options{Path: path}, nil)
	if err != nil {
		return err
	}
	mine := id
	mine.Partition = name
	found, err := s.ListCheckpoints(ctx, id)
	if err != nil {
		return err
	}
	owned, err := s.ListOwnership(ctx, id)
	if err != nil {
		return err
	}
	record := hubferry.Ownership{ID: mine}
	for _, o := range owned {
		if o.ID == mine {
			record = o
		}
	}
	for seq := found[mine].Position.Sequence + 1; ; seq++ {
		record.Owner = strconv.FormatInt(seq, 10)
		got, err := s.ClaimOwnership(ctx, []hubferry.Ownership{record})
		if err != nil || len(got) != 1 {
			return fmt.Errorf("renewal %d: %v, %w", seq, got, err)
		}
		record = got[0]
		c := hubferry.Checkpoint{Position: hubferry.Position{Sequence: seq}, States: map[string][]byte{"x": make([]byte, 1024)}}
		if err := s.SaveCheckpoint(ctx, mine, c); err != nil {
			return fmt.Errorf("save %d: %w", seq, err)
		}
		fmt.Println(seq)
	}
}

// TestKill kills writing processes at random moments. What they have said was confirmed
// is there, and the file is sound.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		var wg sync.WaitGroup
		last := make([]int64, 2)
		for i := range last {
			c := child(t, "write", path, strconv.Itoa(i))
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				after := 1 + rand.IntN(40)
				lines := bufio.NewScanner(out)
				for n := 0; lines.Scan(); n++ {
					last[i], _ = strconv.ParseInt(lines.Text(), 10, 64)
					if n == after {
						_ = c.Process.Kill()
					}
				}
				_ = c.Wait()
			})
		}
		wg.Wait()
		s, err := Open(t.Context(), Options{Path: path}, nil)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		found, err := s.ListCheckpoints(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		for i, confirmed := range last {
			mine := id
			mine.Partition = strconv.Itoa(i)
			// One more may have been stored without a chance to say so.
			if at := found[mine].Position.Sequence; confirmed == 0 || at < confirmed || at > confirmed+1 {
				t.Errorf("round %d: partition %d is at %d, and %d was confirmed", round, i, at, confirmed)
			}
		}
		var verdict string
		if err := s.reader.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			t.Errorf("round %d: integrity check: %q, %v", round, verdict, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

const racedRecords = 60

// raceForRecords creates records that other processes create as well, and prints those
// that it got. Each is tried by all at about the same time.
func raceForRecords(ctx context.Context, path, name string) error {
	s, err := Open(ctx, Options{Path: path}, nil)
	if err != nil {
		return err
	}
	defer s.Close(ctx)
	for i := range racedRecords {
		mine := id
		mine.Partition = strconv.Itoa(i)
		got, err := s.ClaimOwnership(ctx, []hubferry.Ownership{{ID: mine, Owner: name}})
		if err != nil {
			return err
		}
		for _, o := range got {
			fmt.Println(o.ID.Partition)
		}
	}
	return nil
}

// TestProcessesRace lets several processes make one file and claim the same records.
func TestProcessesRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	var mu sync.Mutex
	var wg sync.WaitGroup
	winners := map[string][]string{}
	for i := range 4 {
		name := fmt.Sprint("process-", i)
		wg.Go(func() {
			out, err := child(t, "race", path, name).Output()
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			for line := range strings.Lines(string(out)) {
				winners[strings.TrimSpace(line)] = append(winners[strings.TrimSpace(line)], name)
			}
		})
	}
	wg.Wait()
	records, err := open(t, path).ListOwnership(t.Context(), id)
	if err != nil || len(records) != racedRecords {
		t.Fatalf("%d of %d records are there: %v", len(records), racedRecords, err)
	}
	for _, o := range records {
		if w := winners[o.ID.Partition]; len(w) != 1 || w[0] != o.Owner {
			t.Errorf("partition %s belongs to %s, and its winners are %v", o.ID.Partition, o.Owner, w)
		}
	}
}

// TestNoPermission opens files as somebody who may not write them.
func TestNoPermission(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to start a process as another user")
	}
	dir, err := os.MkdirTemp("", "hubferry") //nolint:usetesting // its parent must be open to the other user
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary := filepath.Join(dir, "test")
	copyFile(t, os.Args[0], binary)
	chmod := func(path string, mode fs.FileMode) {
		t.Helper()
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	chmod(dir, 0o755)
	for name, tc := range map[string]struct {
		dir, file fs.FileMode // the file's is 0 if there is none
		want      string
	}{
		"read-only file":                {0o777, 0o444, "cannot be written"},
		"file that cannot be read":      {0o777, 0o600, "cannot be opened"},
		"folder that cannot be written": {0o755, 0, "cannot be opened"},
		"file in a read-only folder":    {0o755, 0o666, "folder cannot be"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			mkdir(t, folder)
			path := filepath.Join(folder, "checkpoints.db")
			if tc.file != 0 {
				s, err := Open(t.Context(), Options{Path: path}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				chmod(path, tc.file)
			}
			chmod(folder, tc.dir)
			c := child(t, "open", path, "")
			c.Path = binary
			c.Stderr = nil
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
			out, err := c.CombinedOutput()
			if err == nil || !strings.Contains(string(out), tc.want) || !strings.Contains(string(out), "change the permissions") {
				t.Errorf("it ended with %v and said %q, want %q and what to do", err, out, tc.want)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestManySaves shows that saves of many partitions share transactions.
func TestManySaves(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "checkpoints.db"))
	const n = 500
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			mine := id
			mine.Partition = strconv.Itoa(i)
			if err := s.SaveCheckpoint(t.Context(), mine, hubferry.Checkpoint{Position: hubferry.Position{Sequence: int64(i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d saves at once took %s", n, time.Since(began))
	found, err := s.ListCheckpoints(t.Context(), id)
	if err != nil || len(found) != n {
		t.Errorf("%d of %d checkpoints are there: %v", len(found), n, err)
	}
}
