package mem

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// Store is one handle on a checkpoint store in memory. Its methods may be called by
// several goroutines at once. Values are copied on their way in and out.
type Store struct {
	data *data

	mu     sync.Mutex
	closed bool
	fault  func(Call) Fault
}

var _ hubferry.CheckpointStore = (*Store)(nil)

// data is what the handles of one store share.
type data struct {
	began time.Time

	mu          sync.Mutex
	writes      int64 // counts writes: the ETags
	skew        time.Duration
	checkpoints map[hubferry.ID]hubferry.Checkpoint
	ownership   map[hubferry.ID]hubferry.Ownership
}

// New returns a handle on new, empty data.
func New() *Store {
	return &Store{data: &data{
		began:       time.Now(),
		checkpoints: map[hubferry.ID]hubferry.Checkpoint{},
		ownership:   map[hubferry.ID]hubferry.Ownership{},
	}}
}

// Handle returns another handle on the same data, open and without faults.
func (s *Store) Handle() *Store { return &Store{data: s.data} }

// SetSkew sets how far the store's clock is ahead of this process's, for tests.
func (s *Store) SetSkew(d time.Duration) {
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	s.data.skew = d
}

// ListCheckpoints implements hubferry.Checkpoints.
func (s *Store) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	var found map[hubferry.ID]hubferry.Checkpoint
	err := s.do(ctx, Call{Op: ListCheckpoints, IDs: []hubferry.ID{group}}, func(*data, int) error {
		found = map[hubferry.ID]hubferry.Checkpoint{}
		for id, c := range s.data.checkpoints {
			if id.Group() == group.Group() {
				found[id] = clone(c)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SaveCheckpoint implements hubferry.Checkpoints.
func (s *Store) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	if err := checkID(id, "save checkpoint"); err != nil {
		return err
	}
	c = clone(c)
	return s.do(ctx, Call{Op: SaveCheckpoint, IDs: []hubferry.ID{id}}, func(d *data, _ int) error {
		d.checkpoints[id] = c
		return nil
	})
}

// SaveOwned stores a checkpoint of o.ID if the ownership record says that o.Owner owns
// the partition and the stored checkpoint is not further on, in one step; otherwise the
// error is of kind Lost and nothing is stored.
func (s *Store) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	if err := checkID(o.ID, "save checkpoint"); err != nil {
		return err
	}
	c = clone(c)
	return s.do(ctx, Call{Op: SaveCheckpoint, IDs: []hubferry.ID{o.ID}}, func(d *data, _ int) error {
		if now := d.ownership[o.ID]; now.Owner != o.Owner || o.Owner == "" {
			return lost(o.ID, now.Owner)
		}
		if last, ok := d.checkpoints[o.ID]; ok && last.Err == nil && c.Behind(&last) {
			return behind(o.ID, last)
		}
		d.checkpoints[o.ID] = c
		return nil
	})
}

// ListOwnership implements hubferry.CheckpointStore.
func (s *Store) ListOwnership(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	var found []hubferry.Ownership
	err := s.do(ctx, Call{Op: ListOwnership, IDs: []hubferry.ID{group}}, func(*data, int) error {
		found = nil
		for id, o := range s.data.ownership {
			if id.Group() == group.Group() {
				found = append(found, o)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b hubferry.Ownership) int { return compareID(a.ID, b.ID) })
	return found, nil
}

// ClaimOwnership implements hubferry.CheckpointStore.
func (s *Store) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	want = slices.Clone(want)
	call := Call{Op: ClaimOwnership}
	for _, o := range want {
		if err := checkID(o.ID, "claim"); err != nil {
			return nil, err
		}
		call.IDs = append(call.IDs, o.ID)
	}
	var got []hubferry.Ownership
	err := s.do(ctx, call, func(d *data, part int) error {
		var written []hubferry.Ownership
		for i, o := range want {
			if part > 0 && i >= part {
				break
			}
			if d.ownership[o.ID].ETag != o.ETag {
				continue
			}
			d.writes++
			o.ETag = strconv.FormatInt(d.writes, 10)
			o.Modified = d.now()
			d.ownership[o.ID] = o
			written = append(written, o)
		}
		got = written
		return nil
	})
	if f, ok := err.(*partError); ok { //nolint:errorlint // made by do, never wrapped
		return got, f.err
	}
	if err != nil {
		return nil, err
	}
	return got, nil
}

// ServerTime returns the store's own time, which Modified is measured by.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	if err := s.check(ctx); err != nil {
		return time.Time{}, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	return s.data.now(), nil
}

// Groups returns every group that has a checkpoint or an ownership record, in order.
func (s *Store) Groups(ctx context.Context) ([]hubferry.ID, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	s.data.mu.Lock()
	defer s.data.mu.Unlock()
	groups := map[hubferry.ID]bool{}
	for id := range s.data.checkpoints {
		groups[id.Group()] = true
	}
	for id := range s.data.ownership {
		groups[id.Group()] = true
	}
	return slices.SortedFunc(maps.Keys(groups), compareID), nil
}

// Close closes this handle; the data and the other handles live on.
func (s *Store) Close(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// check returns why no operation can begin.
func (s *Store) check(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return hubferry.ErrClosed
	}
	return ctx.Err()
}

// now returns the store's time. The caller holds d.mu.
func (d *data) now() time.Time {
	return d.began.Add(time.Since(d.began) + d.skew).Round(0).UTC()
}

// clone copies what a checkpoint refers to.
func clone(c hubferry.Checkpoint) hubferry.Checkpoint {
	c.Marks = maps.Clone(c.Marks)
	if c.States != nil {
		states := make(map[string][]byte, len(c.States))
		for name, state := range c.States {
			states[name] = slices.Clone(state)
		}
		c.States = states
	}
	return c
}
