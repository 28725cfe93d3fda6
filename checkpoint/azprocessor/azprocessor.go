// Package azprocessor lets an azeventhubs.Processor, the event processor of Microsoft's
// Go SDK, keep its checkpoints and ownership in any store of Hubferry: an SQLite file on
// one machine, PostgreSQL on several, memory in tests. For Blob storage it adds to the
// SDK's own store that checkpoints of any SDK and age can be read.
//
// Names are folded to lower case, because Event Hubs ignores case: a processor that is
// configured with "$Default" and one with "$default" share their work.
//
// With a store that Hubferry's tasks use, processor and tasks share consumer groups as
// they do in Blob storage: see "shared" in the documentation of checkpoints.
package azprocessor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// Store is an azeventhubs.CheckpointStore over a store of Hubferry. Its methods may be
// called by several goroutines at once. It does not close the store.
type Store struct {
	store hubferry.CheckpointStore

	mu     sync.Mutex
	listed map[hubferry.ID]hubferry.Checkpoint
}

var _ azeventhubs.CheckpointStore = (*Store)(nil)

// New returns a checkpoint store for a processor. The store stays the caller's.
func New(store hubferry.CheckpointStore) *Store {
	return &Store{store: store, listed: map[hubferry.ID]hubferry.Checkpoint{}}
}

// toID folds the names that the SDK uses.
func toID(namespace, hub, group, partition string) hubferry.ID {
	return hubferry.ID{
		Namespace: strings.ToLower(namespace), Hub: strings.ToLower(hub), ConsumerGroup: strings.ToLower(group), Partition: partition,
	}
}

// ClaimOwnership writes each record if its ETag is still the stored one, or nil and there
// is none, and returns those that were written.
func (s *Store) ClaimOwnership(ctx context.Context, want []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	asked := make(map[hubferry.ID]azeventhubs.Ownership, len(want))
	records := make([]hubferry.Ownership, len(want))
	for i, o := range want {
		id := toID(o.FullyQualifiedNamespace, o.EventHubName, o.ConsumerGroup, o.PartitionID)
		asked[id] = o
		records[i] = hubferry.Ownership{ID: id, Owner: o.OwnerID}
		if o.ETag != nil {
			records[i].ETag = string(*o.ETag)
		}
	}
	written, err := s.store.ClaimOwnership(ctx, records)
	if err != nil {
		return nil, err
	}
	skew := s.skew(ctx)
	got := make([]azeventhubs.Ownership, len(written))
	for i, o := range written {
		got[i] = asked[o.ID] // with the names as the processor spells them
		got[i].ETag, got[i].LastModifiedTime = new(azcore.ETag(o.ETag)), o.Modified.Add(skew)
	}
	return got, nil
}

// ListOwnership returns the records of a consumer group.
func (s *Store) ListOwnership(ctx context.Context, namespace, hub, group string, _ *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	records, err := s.store.ListOwnership(ctx, toID(namespace, hub, group, ""))
	if err != nil {
		return nil, err
	}
	skew := s.skew(ctx)
	found := make([]azeventhubs.Ownership, len(records))
	for i, o := range records {
		found[i] = azeventhubs.Ownership{
			FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: o.ID.Partition,
			OwnerID: o.Owner, ETag: new(azcore.ETag(o.ETag)), LastModifiedTime: o.Modified.Add(skew),
		}
	}
	return found, nil
}

// skew returns how far this machine's clock, which the processor compares with, is ahead
// of the store's.
func (s *Store) skew(ctx context.Context) time.Duration {
	c, ok := s.store.(checkpoint.Clock)
	if !ok {
		return 0
	}
	now, err := c.ServerTime(ctx)
	if err != nil {
		return 0
	}
	return time.Now().Round(0).Sub(now)
}

// ListCheckpoints returns the checkpoints of a consumer group. A checkpoint that cannot be
// read is an error for all: without it the processor would begin at its default position
// and skip events.
func (s *Store) ListCheckpoints(ctx context.Context, namespace, hub, group string, _ *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	stored, err := s.store.ListCheckpoints(ctx, toID(namespace, hub, group, ""))
	if err != nil {
		return nil, err
	}
	found := make([]azeventhubs.Checkpoint, 0, len(stored))
	for id, c := range stored {
		if c.Err != nil {
			return nil, fmt.Errorf("partition %s: %w", id.Partition, c.Err)
		}
		one := azeventhubs.Checkpoint{
			FullyQualifiedNamespace: namespace, EventHubName: hub, ConsumerGroup: group, PartitionID: id.Partition,
			SequenceNumber: new(c.Position.Sequence),
		}
		switch {
		case c.Position.Sequence < 0:
			one.Offset = new("-1") // before the first event
		case c.Position.Offset != "":
			one.Offset = new(c.Position.Offset)
		}
		found = append(found, one)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.Copy(s.listed, stored)
	return found, nil
}

// SetCheckpoint stores a checkpoint, which needs a sequence number. What Hubferry keeps
// beside it and still holds of a later position stays: the incarnation of the hub,
// watermarks, the task's name.
func (s *Store) SetCheckpoint(ctx context.Context, c azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	id := toID(c.FullyQualifiedNamespace, c.EventHubName, c.ConsumerGroup, c.PartitionID)
	if c.SequenceNumber == nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: "save checkpoint", Err: errors.New("a checkpoint of " + id.String() + " has no sequence number")}
	}
	next := hubferry.Checkpoint{Position: hubferry.Position{Sequence: *c.SequenceNumber}, Time: time.Now()}
	if c.Offset != nil {
		next.Position.Offset = *c.Offset
	}
	s.mu.Lock()
	last := s.listed[id]
	s.mu.Unlock()
	next.Incarnation, next.Beginning = last.Incarnation, last.Beginning
	if last.Position.Sequence <= next.Position.Sequence {
		next.Marks = last.Marks
	}
	for name, state := range last.States {
		if strings.HasPrefix(name, "engine.") {
			if next.States == nil {
				next.States = map[string][]byte{}
			}
			next.States[name] = state
		}
	}
	return s.store.SaveCheckpoint(ctx, id, next)
}
