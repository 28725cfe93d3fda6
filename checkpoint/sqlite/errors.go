package sqlite

import (
	"context"
	"errors"
	"fmt"

	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/hubferry/hubferry"
)

// code returns SQLite's primary result code of an error, or -1.
func code(err error) int {
	if e, ok := errors.AsType[*driver.Error](err); ok {
		return e.Code() & 0xff
	}
	return -1
}

// isBusy reports an error that passes as soon as another process is done.
func isBusy(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		return true
	}
	return false
}

// errReplaced is a file that is no longer the one that was opened.
var errReplaced = errors.New("the file was removed or replaced while it was in use")

// explain classifies an error and says what can be done about it.
func explain(path, op string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[*hubferry.Error](err); ok || errors.Is(err, hubferry.ErrClosed) {
		return err
	}
	e := &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: fmt.Errorf("%s: %w", path, err)}
	switch code(err) {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		e.Hint = "another process keeps the file locked"
	case sqlite3.SQLITE_FULL:
		e.Hint = "the disk is full: free some space"
	case sqlite3.SQLITE_IOERR:
		e.Hint = "the disk reports an error or is full"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH:
		e.Kind, e.Hint = hubferry.Unauthorized, "the file or its folder cannot be written: change the permissions, or name another path"
	case sqlite3.SQLITE_CANTOPEN:
		e.Kind, e.Hint = hubferry.Unauthorized, "the file or its folder cannot be opened for writing: change the permissions, or name another path"
	case sqlite3.SQLITE_NOTADB:
		e.Kind, e.Hint = hubferry.Fatal, "the file is not a SQLite database: name another path, or remove it if nobody needs it"
	case sqlite3.SQLITE_CORRUPT:
		e.Kind, e.Hint = hubferry.Fatal, "the file is damaged: restore it from a backup, or remove it and start from a position that you name"
	}
	switch {
	case errors.Is(err, errForeign):
		e.Kind, e.Hint = hubferry.Fatal, "name another path"
	case errors.Is(err, errNewer):
		e.Kind, e.Hint = hubferry.Fatal, "run the release that wrote it, or a later one"
	case errors.Is(err, errReplaced):
		e.Kind, e.Hint = hubferry.Fatal, "stop all processes that use it, and start them again"
	}
	return e
}

// incomplete refuses an ID that names no partition.
func incomplete(op string, id hubferry.ID) error {
	if id.Namespace != "" && id.Hub != "" && id.ConsumerGroup != "" && id.Partition != "" {
		return nil
	}
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: op,
		Err: fmt.Errorf("%s names no partition of a consumer group", id),
	}
}
