package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"github.com/hubferry/hubferry"
)

// Open opens the store, and makes the file if there is none. The log may be nil. The
// context bounds opening only.
func Open(ctx context.Context, o Options, log *slog.Logger) (*Store, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With("component", "checkpoint/sqlite")
	path, err := filepath.Abs(cmp.Or(o.Path, DefaultFile))
	if err != nil {
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	made, err := inspect(path)
	if err != nil {
		return nil, err
	}
	if name := networkFS(filepath.Dir(path)); name != "" {
		log.Warn("the checkpoint file is on a network file system, where locks cannot be trusted: keep it on a local disk, or use a store that is made for several machines",
			"path", path, "file system", name)
	}
	s := &Store{path: path, requests: make(chan *request), closing: make(chan struct{}), done: make(chan struct{})}
	if err := s.connect(ctx); err != nil {
		_ = s.disconnect() // the first error says more
		return nil, explain(path, "open checkpoints", err)
	}
	if made {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			// Others have no business in it. Without the right to change it, it stays.
			if err := os.Chmod(path+suffix, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
				log.Warn("the checkpoint file can be read by others", "path", path+suffix, "error", err)
			}
		}
	}
	if s.file, err = os.Stat(path); err != nil {
		_ = s.disconnect() // the first error says more
		return nil, fmt.Errorf("open checkpoints: %w", err)
	}
	go s.writeLoop(context.WithoutCancel(ctx))
	return s, nil
}

// inspect looks at the path before SQLite does, for better errors. It does not open the
// file: closing it would drop the locks that SQLite holds on it in this process.
func inspect(path string) (missing bool, err error) {
	wrong := func(err error, hint string) error {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: "open checkpoints " + path, Err: err, Hint: hint}
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
			return false, wrong(errors.New("its folder does not exist"), "make the folder, or name another path")
		}
		return true, nil
	case err != nil:
		return false, wrong(err, "")
	case info.IsDir():
		return false, wrong(errors.New("it is a folder"), "name a file")
	case !info.Mode().IsRegular():
		return false, wrong(errors.New("it is not a regular file"), "name a file on a local disk")
	}
	return false, nil
}

// dsn returns the name of the database for the driver. Waiting for a lock inside SQLite
// cannot be ended by a context, so it is kept short and repeated outside.
func dsn(path, extra string) string {
	name := filepath.ToSlash(path)
	if !strings.HasPrefix(name, "/") {
		name = "/" + name // a drive letter
	}
	u := url.URL{Path: name}
	return "file://" + u.EscapedPath() + "?_pragma=busy_timeout(100)&_pragma=synchronous(FULL)&_error_rc=1&_dqs=0" + extra
}

// connect opens the file twice, for writing and for reading, and brings its tables up to
// date.
func (s *Store) connect(ctx context.Context) (err error) {
	if s.writer, err = sql.Open("sqlite", dsn(s.path, "&_txlock=immediate")); err != nil {
		return err
	}
	// One connection: SQLite has one writer at a time anyway.
	s.writer.SetMaxOpenConns(1)
	s.writer.SetConnMaxIdleTime(0)
	if err := patiently(ctx, func() error { return prepareFile(ctx, s.writer) }); err != nil {
		return err
	}
	if s.reader, err = sql.Open("sqlite", dsn(s.path, "&_query_only=1")); err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(4)
	s.reader.SetMaxIdleConns(1)
	return patiently(ctx, func() error { return s.reader.PingContext(ctx) })
}

// disconnect closes the connections.
func (s *Store) disconnect() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// patience is how long an operation waits for the locks of other processes.
const patience = 20 * time.Second

// patiently repeats an operation while the file is locked.
func patiently(ctx context.Context, op func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := op()
		if err == nil || !isBusy(err) {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
