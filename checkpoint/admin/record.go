package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// Store is a checkpoint store as a person looks at it.
type Store struct {
	hubferry.CheckpointStore
	// Expiry is the age at which ownership that was not renewed is anybody's. 0 means
	// twice the balancer's default, which is the longest default of the Azure SDKs.
	Expiry time.Duration
}

func (s *Store) expiry() time.Duration {
	if s.Expiry > 0 {
		return s.Expiry
	}
	return 2 * checkpoint.DefaultExpiry
}

// Record is what a store, and the hub if it was asked, say of one partition of a group.
type Record struct {
	ID hubferry.ID
	// Checkpoint is nil when there is none.
	Checkpoint *hubferry.Checkpoint
	// Owner is who owns the partition, "" when nobody does. Renewed is when its record
	// was last written, by the store's clock; Active says that this is less than an expiry
	// ago.
	Owner   string
	Renewed time.Time
	Active  bool
	// Info is what the hub says, or nil if it was not asked or has no such partition.
	Info *hubferry.PartitionInfo
}

// Lag returns how many events lie behind the checkpoint. It is not known without a
// readable checkpoint or an answer of the hub.
func (r *Record) Lag() (int64, bool) {
	if r.Info == nil || r.Checkpoint == nil || r.Checkpoint.Err != nil {
		return 0, false
	}
	return max(0, r.Info.End.Sequence-max(r.Checkpoint.Position.Sequence, r.Info.Begin.Sequence)), true
}

// Groups returns the consumer groups that a store has records of, those of other
// programs too, in order. An error wraps errors.ErrUnsupported when the store cannot list.
func (s *Store) Groups(ctx context.Context) ([]hubferry.ID, error) {
	l, ok := s.CheckpointStore.(checkpoint.Lister)
	if !ok {
		return nil, fmt.Errorf("list groups: %w by this checkpoint store", errors.ErrUnsupported)
	}
	groups, err := l.Groups(ctx)
	if err != nil {
		return nil, err
	}
	groups = slices.DeleteFunc(groups, checkpoint.IsPresence)
	slices.SortFunc(groups, compareIDs)
	return groups, nil
}

// Read returns the records of a group, ordered by partition. infos are what the hub says
// of its partitions, nil if it was not asked; its partitions are then in the result even
// if the store knows nothing of them.
func (s *Store) Read(ctx context.Context, group hubferry.ID, infos []hubferry.PartitionInfo) ([]Record, error) {
	checkpoints, err := s.ListCheckpoints(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("list checkpoints of %s: %w", group, err)
	}
	owners, err := s.ListOwnership(ctx, group)
	if err != nil {
		return nil, fmt.Errorf("list ownership of %s: %w", group, err)
	}
	now, err := s.now(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*Record{}
	at := func(partition string) *Record {
		r := all[partition]
		if r == nil {
			r = &Record{ID: group}
			r.ID.Partition = partition
			all[partition] = r
		}
		return r
	}
	for id, c := range checkpoints {
		at(id.Partition).Checkpoint = &c
	}
	for _, o := range owners {
		r := at(o.ID.Partition)
		r.Owner, r.Renewed = o.Owner, o.Modified
		r.Active = o.Owner != "" && now.Sub(o.Modified) <= s.expiry()
	}
	for i := range infos {
		at(infos[i].Place.Partition).Info = &infos[i]
	}
	records := make([]Record, 0, len(all))
	for _, r := range all {
		records = append(records, *r)
	}
	slices.SortFunc(records, func(a, b Record) int { return compareIDs(a.ID, b.ID) })
	return records, nil
}

// now returns the time by the clock that ownership is measured by, or our own where the
// store has none.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	if c, ok := s.CheckpointStore.(checkpoint.Clock); ok {
		return c.ServerTime(ctx)
	}
	return time.Now(), nil
}

// compareIDs orders by name, partitions by number: 2 comes before 10.
func compareIDs(a, b hubferry.ID) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hub, b.Hub), cmp.Compare(a.ConsumerGroup, b.ConsumerGroup),
		cmp.Compare(len(a.Partition), len(b.Partition)), cmp.Compare(a.Partition, b.Partition),
	)
}
