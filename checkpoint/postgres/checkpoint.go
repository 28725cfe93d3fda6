package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/hubferry/hubferry"
)

const opSave = "save checkpoint"

// ListCheckpoints implements hubferry.Checkpoints.
func (s *Store) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	var found map[hubferry.ID]hubferry.Checkpoint
	err := s.run(ctx, "list checkpoints", true, func(ctx context.Context) error {
		found = map[hubferry.ID]hubferry.Checkpoint{}
		rows, err := s.pool.Query(ctx, fmt.Sprintf(
			`SELECT partition, sequence, "offset", epoch, incarnation, beginning, time, clean, marks::text, states::text
			FROM %s.checkpoint WHERE namespace = $1 AND hub = $2 AND consumer_group = $3`, s.schema),
			group.Namespace, group.Hub, group.ConsumerGroup)
		if err != nil {
			return err
		}
		defer rows.Close()
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
		return nil, err
	}
	return found, nil
}

// columns are those of a checkpoint, and values their place holders.
const (
	columns = `namespace, hub, consumer_group, partition, sequence, "offset", epoch, incarnation, beginning, time, clean, marks, states`
	values  = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10::timestamptz, $11, $12::jsonb, $13::jsonb`
	replace = `ON CONFLICT (namespace, hub, consumer_group, partition) DO UPDATE SET sequence = excluded.sequence, "offset" = excluded."offset",
		epoch = excluded.epoch, incarnation = excluded.incarnation, beginning = excluded.beginning, time = excluded.time, clean = excluded.clean, marks = excluded.marks, states = excluded.states`
)

// SaveCheckpoint implements hubferry.Checkpoints.
func (s *Store) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	args, err := arguments(id, c)
	if err != nil {
		return err
	}
	return s.run(ctx, opSave, false, func(ctx context.Context) error {
		_, err := s.pool.Exec(ctx, fmt.Sprintf("INSERT INTO %s.checkpoint AS c (%s) VALUES (%s) %s", s.schema, columns, values, replace), args...)
		return err
	})
}

// SaveOwned stores a checkpoint of o.ID if the ownership record says that o.Owner owns
// the partition and the stored checkpoint is not further on, in one statement; otherwise
// the error is of kind Lost and nothing is stored. It implements checkpoint.Fenced.
func (s *Store) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	args, err := arguments(o.ID, c)
	if err != nil {
		return err
	}
	// The same checkpoint may be saved twice: a lost answer is no reason to give up.
	return s.run(ctx, opSave, true, func(ctx context.Context) error {
		// The lock keeps the row from being claimed until the checkpoint is there.
		tag, err := s.pool.Exec(ctx, fmt.Sprintf(
			`WITH own AS (SELECT owner FROM %[1]s.ownership WHERE namespace = $1 AND hub = $2 AND consumer_group = $3 AND partition = $4 FOR SHARE)
			INSERT INTO %[1]s.checkpoint AS c (%[2]s) SELECT %[3]s FROM own WHERE owner = $14 AND owner <> '' %[4]s
			WHERE NOT (c.beginning > excluded.beginning OR (c.beginning = excluded.beginning AND c.sequence > excluded.sequence
				AND c.epoch >= excluded.epoch AND (c.incarnation = excluded.incarnation OR c.incarnation = '' OR excluded.incarnation = '')))`,
			s.schema, columns, values, replace), append(args, o.Owner)...)
		if err != nil || tag.RowsAffected() > 0 {
			return err
		}
		return s.why(ctx, o)
	})
}

// why tells why a checkpoint was not saved.
func (s *Store) why(ctx context.Context, o hubferry.Ownership) error {
	var owner string
	var at *int64
	err := s.pool.QueryRow(ctx, fmt.Sprintf(
		`SELECT owner, (SELECT sequence FROM %[1]s.checkpoint AS c WHERE c.namespace = o.namespace AND c.hub = o.hub
			AND c.consumer_group = o.consumer_group AND c.partition = o.partition)
		FROM %[1]s.ownership AS o WHERE namespace = $1 AND hub = $2 AND consumer_group = $3 AND partition = $4`, s.schema),
		o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition).Scan(&owner, &at)
	var reason error
	switch {
	case errors.Is(err, pgx.ErrNoRows), err == nil && owner == "":
		reason = fmt.Errorf("nobody owns %s", o.ID)
	case err != nil:
		reason = fmt.Errorf("%s was lost (%w)", o.ID, err)
	case owner != o.Owner:
		reason = fmt.Errorf("%s is owned by %q", o.ID, owner)
	case at != nil:
		reason = fmt.Errorf("the checkpoint of %s is already at %d", o.ID, *at)
	default:
		reason = fmt.Errorf("%s was lost for a moment", o.ID)
	}
	return &hubferry.Error{Kind: hubferry.Lost, Op: opSave, Err: reason}
}

// position is a mark in JSON.
type position struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset,omitempty"`
	Epoch    int32  `json:"epoch,omitempty"`
}

// arguments makes the values of a checkpoint's columns.
func arguments(id hubferry.ID, c hubferry.Checkpoint) ([]any, error) {
	if err := incomplete(opSave, id); err != nil {
		return nil, err
	}
	texts := []string{c.Position.Offset, c.Incarnation}
	var when *time.Time
	if !c.Time.IsZero() {
		when = new(c.Time.UTC())
	}
	var marks, states *string
	if len(c.Marks) > 0 {
		m := make(map[string]position, len(c.Marks))
		for path, p := range c.Marks {
			m[path] = position(p)
			texts = append(texts, path, p.Offset)
		}
		b, err := json.Marshal(m)
		if err != nil {
			return nil, fmt.Errorf("%s: marks: %w", opSave, err)
		}
		marks = new(string(b))
	}
	if len(c.States) > 0 {
		for name := range c.States {
			texts = append(texts, name)
		}
		b, err := json.Marshal(c.States)
		if err != nil {
			return nil, fmt.Errorf("%s: states: %w", opSave, err)
		}
		states = new(string(b))
	}
	for _, text := range texts {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: opSave, Err: fmt.Errorf("the text %q in the checkpoint of %s cannot be stored", text, id)}
		}
	}
	return []any{
		id.Namespace, id.Hub, id.ConsumerGroup, id.Partition,
		c.Position.Sequence, c.Position.Offset, c.Position.Epoch, c.Incarnation, c.Beginning, when, c.Clean, marks, states,
	}, nil
}

// row is a checkpoint as the table has it.
type row struct {
	sequence            int64
	offset, incarnation string
	epoch               int32
	beginning           int64
	time                *time.Time
	clean               bool
	marks, states       *string
}

// decode makes a checkpoint of a row. What cannot be read stands in its Err.
func (r *row) decode(id hubferry.ID) hubferry.Checkpoint {
	c := hubferry.Checkpoint{
		Position:    hubferry.Position{Sequence: r.sequence, Offset: r.offset, Epoch: r.epoch},
		Incarnation: r.incarnation, Beginning: r.beginning, Clean: r.clean,
	}
	if r.time != nil {
		c.Time = r.time.UTC()
	}
	var errs []error
	if r.marks != nil {
		var marks map[string]position
		if err := json.Unmarshal([]byte(*r.marks), &marks); err != nil {
			errs = append(errs, fmt.Errorf("marks: %w", err))
		}
		c.Marks = make(map[string]hubferry.Position, len(marks))
		for path, p := range marks {
			c.Marks[path] = hubferry.Position(p)
		}
	}
	if r.states != nil {
		if err := json.Unmarshal([]byte(*r.states), &c.States); err != nil {
			errs = append(errs, fmt.Errorf("states: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return hubferry.Checkpoint{Err: fmt.Errorf("read checkpoint of %s: %w", id, err)}
	}
	return c
}
