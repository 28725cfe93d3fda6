package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Checkpoints = (*groupSource)(nil)

// ListCheckpoints implements hubferry.Checkpoints: they are the committed offsets of the
// group. Those of other topics than the ID's are left out.
func (s *groupSource) ListCheckpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	committed, err := s.conn.admin.FetchOffsets(kadm.RequireStable(ctx), group.ConsumerGroup)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, classify("fetch the offsets of group "+group.ConsumerGroup, err)
	}
	found := map[hubferry.ID]hubferry.Checkpoint{}
	for _, o := range committed[group.Hub] {
		id := group
		id.Partition = strconv.Itoa(int(o.Partition))
		switch {
		case o.Err != nil:
			found[id] = hubferry.Checkpoint{Err: classify("fetch an offset of group "+group.ConsumerGroup, o.Err)}
		case o.At >= 0:
			found[id] = *parseNote(o.At, o.LeaderEpoch, o.Metadata)
		}
	}
	return found, nil
}

// SaveCheckpoint implements hubferry.Checkpoints. Brokers take it only while the group has
// no members: who is one saves by his claim.
func (s *groupSource) SaveCheckpoint(ctx context.Context, id hubferry.ID, c hubferry.Checkpoint) error {
	if isDone(s.done) {
		return hubferry.ErrClosed
	}
	op := fmt.Sprintf("commit an offset of group %s for %s/%s", id.ConsumerGroup, id.Hub, id.Partition)
	partition, err := strconv.ParseInt(id.Partition, 10, 32)
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: err}
	}
	text, err := formatNote(&c)
	if err != nil {
		return &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: err}
	}
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{
		Topic: id.Hub, Partition: int32(partition), At: max(c.Position.Sequence+1, 0), LeaderEpoch: c.Position.Epoch - 1, Metadata: text,
	})
	err = s.conn.admin.CommitAllOffsets(ctx, id.ConsumerGroup, offsets)
	if errors.Is(err, kerr.UnknownMemberID) {
		return &hubferry.Error{Kind: hubferry.Refused, Op: op, Err: err, Hint: "the group has members: stop who uses it first"}
	}
	return classify(op, err)
}

// Members returns how many members a consumer group has, of whatever protocol.
func (c *connection) Members(ctx context.Context, group string) (int, error) {
	if isDone(c.done) {
		return 0, hubferry.ErrClosed
	}
	groups, err := c.admin.DescribeGroups(ctx, group)
	if err == nil {
		err = groups.Error()
	}
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, classify("describe group "+group, err)
	}
	return len(groups[group].Members), nil
}
