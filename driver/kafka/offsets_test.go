package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// Committed offsets are checkpoints to who is no member of the group. They are written only
// while it has none, and a claim begins with them.
func TestCheckpointsOfGroup(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		conn := s.connect(t)
		group := "group-of-" + s.topic
		source, err := conn.Source(t.Context(), s.topic, &kafka.SourceOptions{ConsumerGroup: group})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = source.Close(context.WithoutCancel(t.Context())) })
		own := source.(hubferry.Checkpoints)
		members := conn.(interface {
			Members(ctx context.Context, group string) (int, error)
		})
		count := func() int {
			for end := time.Now().Add(longWait); ; time.Sleep(100 * time.Millisecond) {
				n, err := members.Members(t.Context(), group)
				if err == nil {
					return n
				}
				// A cluster that has never had a group makes its coordinator now.
				if hubferry.KindOf(err) != hubferry.Transient || time.Now().After(end) {
					t.Fatal(err)
				}
			}
		}
		infos, err := source.Partitions(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		place := infos[1].Place
		id := hubferry.ID{Namespace: place.Namespace, Hub: s.topic, ConsumerGroup: group}
		n := count()
		if list, err := own.ListCheckpoints(t.Context(), id); err != nil || len(list) != 0 || n != 0 {
			t.Fatalf("a group that is not there has %d checkpoints and %d members (%v)", len(list), n, err)
		}
		id.Partition = "1"
		want := hubferry.Checkpoint{Position: hubferry.Position{Sequence: 41}, Incarnation: place.Incarnation, Time: time.UnixMilli(1_800_000_000_000).UTC()}
		if err := own.SaveCheckpoint(t.Context(), id, want); err != nil {
			t.Fatal(err)
		}
		list, err := own.ListCheckpoints(t.Context(), id.Group())
		if d := cmp.Diff(map[hubferry.ID]hubferry.Checkpoint{id: want}, list); err != nil || d != "" {
			t.Error(err, d)
		}
		m := s.joinOne(t)
		for _, c := range m.take(t, partitions) {
			if c.Place.Index == 1 {
				if d := cmp.Diff(&want, c.Checkpoint); d != "" {
					t.Error(d)
				}
			}
		}
		if n := count(); n != 1 {
			t.Errorf("%d members", n)
		}
		if err := own.SaveCheckpoint(t.Context(), id, want); hubferry.KindOf(err) != hubferry.Refused {
			t.Errorf("written beside a member: %v", err)
		}
		id.Partition = "x"
		if err := own.SaveCheckpoint(t.Context(), id, want); err == nil {
			t.Error("a partition without a number")
		}
	})
}
