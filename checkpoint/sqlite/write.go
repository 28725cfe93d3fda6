package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"

	"github.com/hubferry/hubferry"
)

// request is a write that waits for its transaction.
type request struct {
	ctx  context.Context //nolint:containedctx // it travels through a channel
	op   func(ctx context.Context, tx *sql.Tx) error
	done chan error
}

// batch bounds the writes of one transaction, so that it stays short.
const batch = 256

// write has an operation done in a transaction, perhaps together with others. When the
// context ends first it may still be done.
func (s *Store) write(ctx context.Context, op func(ctx context.Context, tx *sql.Tx) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	r := &request{ctx: ctx, op: op, done: make(chan error, 1)}
	select {
	case s.requests <- r:
	case <-s.closing:
		return hubferry.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-r.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// writeLoop runs transactions until the store is closed.
func (s *Store) writeLoop(ctx context.Context) {
	defer close(s.done)
	for {
		select {
		case r := <-s.requests:
			s.commit(ctx, s.gather(r))
		case <-s.closing:
			return
		}
	}
}

// gather takes the requests that wait already.
func (s *Store) gather(first *request) []*request {
	rs := []*request{first}
	for len(rs) < batch {
		select {
		case r := <-s.requests:
			rs = append(rs, r)
		default:
			return rs
		}
	}
	return rs
}

// commit does requests in one transaction and answers each.
func (s *Store) commit(ctx context.Context, rs []*request) {
	errs := make([]error, len(rs))
	err := patiently(ctx, func() error { return s.transact(ctx, rs, errs) })
	for i, r := range rs {
		if err != nil {
			errs[i] = err
		}
		r.done <- errs[i]
	}
}

// transact is one attempt of commit. The errors of single requests go to errs; those
// requests have written nothing.
func (s *Store) transact(ctx context.Context, rs []*request, errs []error) error {
	now, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("%w: %w", errReplaced, err)
	}
	if !os.SameFile(now, s.file) {
		return errReplaced
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo after Commit
	for i, r := range rs {
		if errs[i] = r.ctx.Err(); errs[i] != nil {
			continue // nobody waits for it any more
		}
		err := r.op(ctx, tx)
		if _, ours := err.(*hubferry.Error); err != nil && !ours { //nolint:errorlint // made by an op, never wrapped
			return err
		}
		errs[i] = err
	}
	return tx.Commit()
}
