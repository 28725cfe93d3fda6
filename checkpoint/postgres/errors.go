package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubferry/hubferry"
)

// explain classifies an error and says what can be done about it. A write may have been
// done although it failed, unless the server itself refused it.
func (s *Store) explain(op string, err error, write bool) error {
	if err == nil || errors.Is(err, hubferry.ErrClosed) || errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*hubferry.Error](err); ok {
		return err
	}
	e := &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: fmt.Errorf("%s: %w", s.where, err)}
	switch {
	case errors.Is(err, errManual), errors.Is(err, errNewer):
		e.Kind = hubferry.Fatal
		if errors.Is(err, errNewer) {
			e.Hint = "run the release that made them, or a later one"
		}
		return e
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		e.Kind, e.Hint = refusal(refused.Code)
		return e
	}
	e.Unsure = write && !notDone(err)
	e.Hint = "is the database reachable?"
	return e
}

// refusal classifies an error of the server by its SQLSTATE.
func refusal(code string) (hubferry.ErrorKind, string) {
	switch {
	case code == undefinedTable, code == invalidSchema:
		return hubferry.Fatal, "the tables have gone: stop all processes that use them, and start them again"
	case code == duplicateTable, code == uniqueViolation:
		return hubferry.Fatal, "name another schema"
	case code == "42501":
		return hubferry.Unauthorized, "the user lacks a right: CREATE on the database for the first start (or migrate: manual), then SELECT, INSERT and UPDATE on the tables and USAGE on the sequence"
	case code == "3D000":
		return hubferry.NotFound, "create the database, or name another one"
	case code == "25006":
		return hubferry.Transient, "the server is a standby or read-only: name the primary"
	case code == "53300":
		return hubferry.Transient, "the server has no free connection"
	case strings.HasPrefix(code, "28"):
		return hubferry.Unauthorized, "check user and password, and what the server lets in"
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "54"):
		return hubferry.Transient, "the server lacks memory, disk or the like"
	case strings.HasPrefix(code, "22"):
		return hubferry.Refused, "a name or a value cannot be stored as text"
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "40"), strings.HasPrefix(code, "55"), strings.HasPrefix(code, "57"), strings.HasPrefix(code, "58"):
		return hubferry.Transient, ""
	}
	return hubferry.Fatal, ""
}

// abortedError is the error of a transaction that was not committed.
type abortedError struct{ err error }

func (e *abortedError) Error() string { return e.err.Error() }

func (e *abortedError) Unwrap() error { return e.err }

// commitError is the error of a commit, which may have been done unless the server says
// otherwise.
type commitError struct{ err error }

func (e *commitError) Error() string { return "commit: " + e.err.Error() }

func (e *commitError) Unwrap() error { return e.err }

// notDone reports an error after which something certainly was not done, and may succeed.
func notDone(err error) bool {
	if isPgError(err) {
		return isCode(err, "40001", "40P01", "57P01", "57P02", "57P03")
	}
	if _, committed := errors.AsType[*commitError](err); committed {
		return false
	}
	_, aborted := errors.AsType[*abortedError](err)
	return aborted || pgconn.SafeToRetry(err)
}

// incomplete refuses an ID that names no partition, or has a character that no text of
// PostgreSQL can have.
func incomplete(op string, id hubferry.ID) error {
	fail := func(format string, args ...any) error {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: fmt.Errorf(format, args...)}
	}
	switch {
	case id.Namespace == "" || id.Hub == "" || id.ConsumerGroup == "" || id.Partition == "":
		return fail("%s names no partition of a consumer group", id)
	case strings.ContainsRune(id.Namespace+id.Hub+id.ConsumerGroup+id.Partition, 0):
		return fail("the name %q has a character that PostgreSQL cannot store", id.String())
	}
	return nil
}

func isPgError(err error) bool {
	_, ok := errors.AsType[*pgconn.PgError](err)
	return ok
}
