package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// Change is a checkpoint that is to be written.
type Change struct {
	// Record is what stood there when the change was planned.
	Record
	// To is the new checkpoint.
	To hubferry.Checkpoint
}

// Overwrites reports whether a checkpoint is there already that stands elsewhere. To mark it
// as another task's overwrites nothing.
func (c *Change) Overwrites() bool { return c.Checkpoint != nil && !c.stays() }

// Same reports whether the store already says so.
func (c *Change) Same() bool {
	return c.stays() && string(c.Checkpoint.States[checkpoint.TaskState]) == string(c.To.States[checkpoint.TaskState])
}

// stays reports whether the position that is there is the new one.
func (c *Change) stays() bool {
	return c.Checkpoint != nil && c.Checkpoint.Err == nil && c.Checkpoint.Incarnation == c.To.Incarnation &&
		c.Checkpoint.Position.Sequence == c.To.Position.Sequence && c.Checkpoint.Position.OffsetText() == c.To.Position.OffsetText()
}

// Permission is what a person allows a change to do.
type Permission struct {
	Overwrite bool // replace checkpoints that are there
	Force     bool // although somebody owns the partition
}

// Refused says which changes a permission does not cover, in words for a person; nil
// means none.
func Refused(changes []Change, p Permission) error {
	var errs []error
	for i := range changes {
		c := &changes[i]
		switch {
		case c.Same():
		case c.Active && !p.Force:
			errs = append(errs, fmt.Errorf("%s is owned by %q, renewed at %s: stop that consumer first, or its next checkpoint replaces this one",
				c.ID, c.Owner, c.Renewed.UTC().Format("2006-01-02 15:04:05Z")))
		case c.Overwrites() && !p.Overwrite:
			errs = append(errs, &OverwriteError{ID: c.ID})
		}
	}
	return errors.Join(errs...)
}

// OverwriteError says that a checkpoint is there already and nobody allowed to replace it.
type OverwriteError struct{ ID hubferry.ID }

// Error implements error.
func (e *OverwriteError) Error() string {
	return fmt.Sprintf("%s has a checkpoint already, which would be overwritten", e.ID)
}

// Plan says what writing these checkpoints would change. The IDs may be of several groups.
func (s *Store) Plan(ctx context.Context, to map[hubferry.ID]hubferry.Checkpoint) ([]Change, error) {
	groups := map[hubferry.ID]bool{}
	for id := range to {
		groups[id.Group()] = true
	}
	var changes []Change
	for group := range groups {
		records, err := s.Read(ctx, group, nil)
		if err != nil {
			return nil, err
		}
		there := map[hubferry.ID]Record{}
		for _, r := range records {
			there[r.ID] = r
		}
		for id, c := range to {
			if id.Group() != group {
				continue
			}
			r := there[id]
			r.ID = id
			changes = append(changes, Change{Record: r, To: c})
		}
	}
	sortChanges(changes)
	return changes, nil
}

// Apply writes the checkpoints that a plan showed, and returns how many it wrote. It looks
// again first, and refuses everything if anything would now go beyond the permission. What
// was written before an error stays.
func (s *Store) Apply(ctx context.Context, planned []Change, p Permission) (int, error) {
	to := make(map[hubferry.ID]hubferry.Checkpoint, len(planned))
	for i := range planned {
		to[planned[i].ID] = planned[i].To
	}
	changes, err := s.Plan(ctx, to)
	if err != nil {
		return 0, err
	}
	if err := Refused(changes, p); err != nil {
		return 0, err
	}
	written := 0
	for i := range changes {
		if changes[i].Same() {
			continue
		}
		if err := s.SaveCheckpoint(ctx, changes[i].ID, changes[i].To); err != nil {
			return written, fmt.Errorf("write checkpoint of %s: %w", changes[i].ID, err)
		}
		written++
	}
	return written, nil
}
