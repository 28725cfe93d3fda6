package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
)

var (
	_ checkpoint.Clock  = (*Store)(nil)
	_ checkpoint.Fenced = (*Store)(nil)
	_ checkpoint.Lister = (*Store)(nil)
)

func open(t testing.TB, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Path: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

// alter changes a file behind the store's back.
func alter(t testing.TB, path, statement string, args ...any) {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, ""))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// losing answers the next write with an error after it was done.
type losing struct {
	*Store
	lose bool
}

func (l *losing) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	got, err := l.Store.ClaimOwnership(ctx, want)
	if l.lose {
		l.lose = false
		return nil, checkpointtest.LostResponse()
	}
	return got, err
}

func (l *losing) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	err := l.Store.SaveCheckpoint(ctx, id, c)
	if l.lose {
		l.lose = false
		return checkpointtest.LostResponse()
	}
	return err
}

// harness makes a store whose Break runs a statement.
func harness(statement string) func(t testing.TB) checkpointtest.Harness {
	return func(t testing.TB) checkpointtest.Harness {
		path := filepath.Join(t.TempDir(), "a file?#%20.db")
		return checkpointtest.Harness{
			Open: func(t testing.TB) hubferry.CheckpointStore {
				s, err := Open(t.Context(), Options{Path: path}, nil)
				if err != nil {
					t.Fatal(err)
				}
				return &losing{Store: s}
			},
			Break: func(t testing.TB, id hubferry.ID) { alter(t, path, statement, id.Partition) },
			Lose:  func(_ testing.TB, s hubferry.CheckpointStore) { s.(*losing).lose = true },
		}
	}
}

func TestConformance(t *testing.T) {
	checkpointtest.Run(t, harness("UPDATE checkpoint SET marks = '{' WHERE partition = ?"))
}

func TestLeases(t *testing.T) {
	if testing.Short() {
		t.Skip("leases take their time")
	}
	checkpointtest.RunLeases(t, harness(""))
}

// Whatever part of a record is bad, it stays alone with it.
func TestBadRecords(t *testing.T) {
	for _, statement := range []string{
		`UPDATE checkpoint SET states = '{"dedupe":"no base64"}' WHERE partition = ?`,
		`UPDATE checkpoint SET states = '' WHERE partition = ?`,
		`UPDATE checkpoint SET time = 'yesterday' WHERE partition = ?`,
		`UPDATE checkpoint SET epoch = 1 << 40 WHERE partition = ?`,
	} {
		for _, c := range checkpointtest.Cases() {
			if c.Name == "BadRecord" {
				t.Run(statement, func(t *testing.T) { c.Check(t, harness(statement)(t)) })
			}
		}
	}
}

var id = hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}

// A file of an earlier release is brought up to date, with what it holds.
func TestMigrate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	alter(t, path, "PRAGMA journal_mode = WAL; "+migrations[0]+fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = 1; ", applicationID)+
		`INSERT INTO counter VALUES (1);
		INSERT INTO checkpoint (namespace, hub, consumer_group, partition, sequence, offset, epoch, incarnation, clean)
		VALUES ('n', 'h', 'g', '0', 7, '', 0, 'one', 1)`)
	got, err := open(t, path).ListCheckpoints(t.Context(), id.Group())
	if err != nil || got[id].Position.Sequence != 7 || got[id].Beginning != 0 || got[id].Incarnation != "one" {
		t.Errorf("a checkpoint of an earlier release is %+v (%v)", got[id], err)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		make func(t *testing.T, path string)
		path string
		kind hubferry.ErrorKind
		want string
	}{
		"text": {
			make: func(t *testing.T, path string) { write(t, path, strings.Repeat("version: 1\n", 1000)) },
			kind: hubferry.Fatal, want: "is not a SQLite database",
		},
		"short text": {
			make: func(t *testing.T, path string) { write(t, path, "version: 1\n") },
			kind: hubferry.Fatal, want: "is not a SQLite database",
		},
		"another program": {
			make: func(t *testing.T, path string) { alter(t, path, "CREATE TABLE users (name TEXT)") },
			kind: hubferry.Fatal, want: "SQLite database of another program",
		},
		"another application": {
			make: func(t *testing.T, path string) { alter(t, path, "PRAGMA application_id = 7; CREATE TABLE x (y)") },
			kind: hubferry.Fatal, want: "SQLite database of another program",
		},
		"newer": {
			make: func(t *testing.T, path string) {
				open(t, path)
				alter(t, path, "PRAGMA user_version = 99")
			},
			kind: hubferry.Fatal, want: "newer release",
		},
		"folder": {
			make: func(t *testing.T, path string) { mkdir(t, path) },
			kind: hubferry.Fatal, want: "it is a folder",
		},
		"no folder": {
			path: "missing/checkpoints.db",
			kind: hubferry.Fatal, want: "folder does not exist",
		},
		"torn": {
			make: func(t *testing.T, path string) {
				s, err := Open(t.Context(), Options{Path: path}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := os.Truncate(path, 4096); err != nil {
					t.Fatal(err)
				}
			},
			kind: hubferry.Fatal, want: "damaged",
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "checkpoints.db")
			if tc.path != "" {
				path = filepath.Join(t.TempDir(), tc.path)
			}
			if tc.make != nil {
				tc.make(t, path)
			}
			before, _ := os.ReadFile(path)
			s, err := Open(t.Context(), Options{Path: path}, nil)
			if err == nil {
				s.Close(t.Context())
				t.Fatal("it was opened")
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) || hubferry.KindOf(err) != tc.kind {
				t.Errorf("error %q of kind %s, want %q and the path, of kind %s", err, hubferry.KindOf(err), tc.want, tc.kind)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Errorf("a refused file was changed")
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	write(t, path, "")
	if err := open(t, path).SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{}); err != nil {
		t.Error(err)
	}
}

func TestFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	if err := open(t, path).SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{}); err != nil {
		t.Error(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, error %v, want mode 0600", suffix, info.Mode().Perm(), err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "checkpoints.db"))
	if err := s.SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{Position: hubferry.Position{Sequence: 1}}); err != nil {
		t.Fatal(err)
	}
	limit := func(pages int) {
		t.Helper()
		if _, err := s.writer.ExecContext(t.Context(), "PRAGMA max_page_count = "+map[int]string{1: "1", 0: "1073741823"}[pages]); err != nil {
			t.Fatal(err)
		}
	}
	limit(1)
	big := hubferry.Checkpoint{Position: hubferry.Position{Sequence: 2}, States: map[string][]byte{"x": make([]byte, 1<<20)}}
	err := s.SaveCheckpoint(t.Context(), id, big)
	if err == nil || hubferry.KindOf(err) != hubferry.Transient || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("saving on a full disk: %v", err)
	}
	found, err := s.ListCheckpoints(t.Context(), id)
	if err != nil || found[id].Position.Sequence != 1 {
		t.Errorf("after a failed save: %v, %v", found, err)
	}
	limit(0)
	if err := s.SaveCheckpoint(t.Context(), id, big); err != nil {
		t.Errorf("saving when there is space again: %v", err)
	}
}

func TestReplacedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	s := open(t, path)
	mine, err := s.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string) {
		t.Helper()
		_, err := s.ClaimOwnership(t.Context(), mine)
		if err == nil || hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), "removed or replaced") {
			t.Errorf("renewal %s: %v", when, err)
		}
	}
	check("after the file was removed")
	other := open(t, path)
	check("after another process made a new one")
	if got, err := other.ClaimOwnership(t.Context(), mine); err != nil || len(got) > 0 {
		t.Errorf("an ETag of the old file fits the new one: %v, %v", got, err)
	}
}

func TestWaitsForLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoints.db")
	s := open(t, path)
	other, err := sql.Open("sqlite", dsn(path, "&_txlock=immediate"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.SaveCheckpoint(ctx, id, hubferry.Checkpoint{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("saving while the file is locked: %v, want the context's error", err)
	}
	if _, err := s.ListCheckpoints(t.Context(), id); err != nil {
		t.Errorf("reading while the file is locked: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- s.SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{}) }()
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("saving when the lock has gone: %v", err)
	}
}

func TestKind(t *testing.T) {
	kind := Kind()
	o := kind.Options().(*Options)
	o.Path = filepath.Join(t.TempDir(), "checkpoints.db")
	if p := o.Validate(); len(p) > 0 {
		t.Errorf("a path has problems: %v", p)
	}
	s, err := kind.Open(t.Context(), o, hubferry.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for _, path := range []string{":memory:", "file:x.db"} {
		o.Path = path
		if p := o.Validate(); len(p) != 1 || p[0].Field != "path" {
			t.Errorf("the path %q has the problems %v", path, p)
		}
	}
}
