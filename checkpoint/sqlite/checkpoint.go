package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
)

// ListCheckpoints implements hubferry.Checkpoints.
func (s *Store) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	const op = "list checkpoints"
	var found map[hubferry.ID]hubferry.Checkpoint
	err := s.read(ctx, func() error {
		found = map[hubferry.ID]hubferry.Checkpoint{}
		rows, err := s.reader.QueryContext(ctx,
			"SELECT partition, sequence, offset, epoch, incarnation, beginning, time, clean, marks, states FROM checkpoint WHERE namespace = ? AND hub = ? AND consumer_group = ?",
			group.Namespace, group.Hub, group.ConsumerGroup)
		if err != nil {
			return err
		}
		defer rows.Close() //nolint:errcheck // rows.Err says it
		for rows.Next() {
			id := group.Group()
			var r row
			if err := rows.Scan(&id.Partition, &r.sequence, &r.offset, &r.epoch, &r.incarnation, &r.beginning, &r.time, &r.clean, &r.marks, &r.states); err != nil {
				return err
			}
			found[id] = r.decode(id)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, explain(s.path, op, err)
	}
	return found, nil
}

// SaveCheckpoint implements hubferry.Checkpoints.
func (s *Store) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	return s.save(ctx, id, c, nil)
}

// SaveOwned stores a checkpoint of o.ID if the ownership record says that o.Owner owns
// the partition and the stored checkpoint is not further on, in one transaction;
// otherwise the error is of kind Lost and nothing is stored.
func (s *Store) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	return s.save(ctx, o.ID, c, func(ctx context.Context, tx *sql.Tx) error {
		var owner string
		var sequence, epoch, beginning sql.NullInt64
		var incarnation sql.NullString
		err := tx.QueryRowContext(ctx,
			`SELECT owner, sequence, epoch, incarnation, beginning
			FROM ownership LEFT JOIN checkpoint USING (namespace, hub, consumer_group, partition)
			WHERE namespace = ? AND hub = ? AND consumer_group = ? AND partition = ?`,
			o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition).Scan(&owner, &sequence, &epoch, &incarnation, &beginning)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		there := hubferry.Checkpoint{
			Position:    hubferry.Position{Sequence: sequence.Int64, Epoch: int32(epoch.Int64)},
			Incarnation: incarnation.String, Beginning: beginning.Int64,
		}
		var why error
		switch {
		case owner == "":
			why = fmt.Errorf("nobody owns %s", o.ID)
		case owner != o.Owner:
			why = fmt.Errorf("%s is owned by %q", o.ID, owner)
		case sequence.Valid && c.Behind(&there):
			why = fmt.Errorf("the checkpoint of %s is already at %d", o.ID, sequence.Int64)
		default:
			return nil
		}
		return &hubferry.Error{Kind: hubferry.Lost, Op: "save checkpoint", Err: why}
	})
}

// save stores a checkpoint if the guard has no objection.
func (s *Store) save(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint, guard func(context.Context, *sql.Tx) error) error {
	const op = "save checkpoint"
	if err := incomplete(op, id); err != nil {
		return err
	}
	r, err := encode(c)
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: err}
	}
	err = s.write(ctx, func(ctx context.Context, tx *sql.Tx) error {
		if guard != nil {
			if err := guard(ctx, tx); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx,
			`INSERT INTO checkpoint (namespace, hub, consumer_group, partition, sequence, offset, epoch, incarnation, beginning, time, clean, marks, states)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET sequence = excluded.sequence, offset = excluded.offset, epoch = excluded.epoch, incarnation = excluded.incarnation,
				beginning = excluded.beginning, time = excluded.time, clean = excluded.clean, marks = excluded.marks, states = excluded.states`,
			id.Namespace, id.Hub, id.ConsumerGroup, id.Partition,
			r.sequence, r.offset, r.epoch, r.incarnation, r.beginning, r.time, r.clean, r.marks, r.states)
		return err
	})
	return explain(s.path, op, err)
}

// row is a checkpoint as the table has it.
type row struct {
	sequence            int64
	offset, incarnation string
	epoch, clean        int64
	beginning           int64
	time, marks, states sql.NullString
}

// position is a mark in JSON.
type position struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset,omitempty"`
	Epoch    int32  `json:"epoch,omitempty"`
}

// encode makes a row of a checkpoint.
func encode(c hubferry.Checkpoint) (row, error) {
	r := row{
		sequence: c.Position.Sequence, offset: c.Position.Offset, epoch: int64(c.Position.Epoch),
		incarnation: c.Incarnation, beginning: c.Beginning,
	}
	if c.Clean {
		r.clean = 1
	}
	if !c.Time.IsZero() {
		r.time = sql.NullString{String: c.Time.UTC().Format(time.RFC3339Nano), Valid: true}
	}
	if len(c.Marks) > 0 {
		marks := make(map[string]position, len(c.Marks))
		for path, p := range c.Marks {
			if !utf8.ValidString(path) {
				return r, fmt.Errorf("the path %q of a mark is not UTF-8", path)
			}
			marks[path] = position(p)
		}
		b, err := json.Marshal(marks)
		if err != nil {
			return r, fmt.Errorf("marks: %w", err)
		}
		r.marks = sql.NullString{String: string(b), Valid: true}
	}
	if len(c.States) > 0 {
		for name := range c.States {
			if !utf8.ValidString(name) {
				return r, fmt.Errorf("the name %q of a state is not UTF-8", name)
			}
		}
		b, err := json.Marshal(c.States)
		if err != nil {
			return r, fmt.Errorf("states: %w", err)
		}
		r.states = sql.NullString{String: string(b), Valid: true}
	}
	return r, nil
}

// decode makes a checkpoint of a row. What cannot be read stands in its Err.
func (r row) decode(id hubferry.ID) hubferry.Checkpoint {
	c := hubferry.Checkpoint{
		Position:    hubferry.Position{Sequence: r.sequence, Offset: r.offset, Epoch: int32(r.epoch)},
		Incarnation: r.incarnation, Beginning: r.beginning,
		Clean: r.clean != 0,
	}
	var errs []error
	if r.time.Valid {
		t, err := time.Parse(time.RFC3339Nano, r.time.String)
		if err != nil {
			errs = append(errs, err)
		}
		c.Time = t
	}
	if r.marks.Valid {
		var marks map[string]position
		if err := json.Unmarshal([]byte(r.marks.String), &marks); err != nil {
			errs = append(errs, fmt.Errorf("marks: %w", err))
		}
		c.Marks = make(map[string]hubferry.Position, len(marks))
		for path, p := range marks {
			c.Marks[path] = hubferry.Position(p)
		}
	}
	if r.states.Valid {
		if err := json.Unmarshal([]byte(r.states.String), &c.States); err != nil {
			errs = append(errs, fmt.Errorf("states: %w", err))
		}
	}
	if r.epoch != int64(c.Position.Epoch) {
		errs = append(errs, fmt.Errorf("the epoch %d is out of range", r.epoch))
	}
	if err := errors.Join(errs...); err != nil {
		return hubferry.Checkpoint{Err: fmt.Errorf("read checkpoint of %s: %w", id, err)}
	}
	return c
}
