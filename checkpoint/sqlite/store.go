package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// Store is a checkpoint store in a SQLite file. Its methods may be called by several
// goroutines at once.
type Store struct {
	path           string
	file           os.FileInfo // of the path when it was opened
	writer, reader *sql.DB

	requests chan *request
	once     sync.Once
	closing  chan struct{} // closed by Close
	done     chan struct{} // closed when the write loop has ended
	closed   error         // of disconnect, once it was called
	shut     sync.Once
}

var _ hubferry.CheckpointStore = (*Store)(nil)

// check returns why no operation can begin.
func (s *Store) check(ctx context.Context) error {
	select {
	case <-s.closing:
		return hubferry.ErrClosed
	default:
		return ctx.Err()
	}
}

// ListOwnership implements hubferry.CheckpointStore.
func (s *Store) ListOwnership(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	const op = "list ownership"
	var found []hubferry.Ownership
	err := s.read(ctx, func() error {
		found = nil
		rows, err := s.reader.QueryContext(ctx,
			"SELECT partition, owner, etag, modified FROM ownership WHERE namespace = ? AND hub = ? AND consumer_group = ?",
			group.Namespace, group.Hub, group.ConsumerGroup)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err says it
		for rows.Next() {
			o := hubferry.Ownership{ID: group.Group()}
			var etag, modified int64
			if err := rows.Scan(&o.ID.Partition, &o.Owner, &etag, &modified); err != nil {
				return err
			}
			o.ETag, o.Modified = strconv.FormatInt(etag, 10), time.UnixMicro(modified).UTC()
			found = append(found, o)
		}
		return rows.Err()
	})
	return found, explain(s.path, op, err)
}

// ClaimOwnership implements hubferry.CheckpointStore. It writes all records or, with an
// error, none, unless the context ended while it was at work.
func (s *Store) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	const op = "claim"
	for _, o := range want {
		if err := incomplete(op, o.ID); err != nil {
			return nil, err
		}
	}
	want = append([]hubferry.Ownership(nil), want...)
	var got []hubferry.Ownership
	err := s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		var written []hubferry.Ownership
		var last int64
		err := tx.QueryRowContext(ctx, "UPDATE counter SET n = n + ? RETURNING n", len(want)).Scan(&last)
		if err != nil {
			return err
		}
		now := time.Now().Truncate(time.Microsecond)
		for i, o := range want {
			etag := last - int64(i)
			ok, err := claimOne(ctx, tx, o, etag, now)
			if err != nil {
				return err
			}
			if ok {
				o.ETag, o.Modified = strconv.FormatInt(etag, 10), now.Round(0).UTC()
				written = append(written, o)
			}
		}
		got = written
		return nil
	})
	if err != nil {
		return nil, explain(s.path, op, err)
	}
	return got, nil
}

// claimOne writes a record if its ETag is the stored one.
func claimOne(ctx context.Context, tx *sql.Tx, o hubferry.Ownership, etag int64, now time.Time) (bool, error) {
	var result sql.Result
	var err error
	if o.ETag == "" {
		result, err = tx.ExecContext(ctx,
			"INSERT INTO ownership (namespace, hub, consumer_group, partition, owner, etag, modified) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition, o.Owner, etag, now.UnixMicro())
	} else {
		before, parseErr := strconv.ParseInt(o.ETag, 10, 64)
		if parseErr != nil {
			return false, nil //nolint:nilerr // not an ETag of ours: it fits no record
		}
		result, err = tx.ExecContext(ctx,
			"UPDATE ownership SET owner = ?, etag = ?, modified = ? WHERE namespace = ? AND hub = ? AND consumer_group = ? AND partition = ? AND etag = ?",
			o.Owner, etag, now.UnixMicro(), o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition, before)
	}
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// ServerTime returns the clock that Ownership.Modified is measured by: this machine's.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	return time.Now().Round(0).UTC(), s.check(ctx)
}

// Groups returns every group that has a checkpoint or an ownership record, in order.
func (s *Store) Groups(ctx context.Context) ([]hubferry.ID, error) {
	const op = "list groups"
	var found []hubferry.ID
	err := s.read(ctx, func() error {
		found = nil
		rows, err := s.reader.QueryContext(ctx,
			"SELECT namespace, hub, consumer_group FROM ownership UNION SELECT namespace, hub, consumer_group FROM checkpoint ORDER BY 1, 2, 3")
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err says it
		for rows.Next() {
			var id hubferry.ID
			if err := rows.Scan(&id.Namespace, &id.Hub, &id.ConsumerGroup); err != nil {
				return err
			}
			found = append(found, id)
		}
		return rows.Err()
	})
	return found, explain(s.path, op, err)
}

// read repeats a reading operation while the file is locked, as it is while SQLite
// recovers it after a kill.
func (s *Store) read(ctx context.Context, op func() error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := patiently(ctx, op)
	if over := s.check(ctx); err != nil && over != nil {
		return over // that is why
	}
	return err
}

// Close waits for the write that is under way and closes the file. Writes that wait
// return ErrClosed.
func (s *Store) Close(ctx context.Context) error {
	s.once.Do(func() { close(s.closing) })
	select {
	case <-s.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.shut.Do(func() { s.closed = s.disconnect() })
	if s.closed != nil {
		return fmt.Errorf("close checkpoints: %w", s.closed)
	}
	return nil
}
