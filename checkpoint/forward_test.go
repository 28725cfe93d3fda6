package checkpoint_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

// forward is a store that is not Fenced, but Forward.
type forward struct {
	hubferry.CheckpointStore
	owners  []string
	refused error
}

func (f *forward) SaveForward(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	f.owners = append(f.owners, o.Owner)
	if f.refused != nil {
		return f.refused
	}
	return f.SaveCheckpoint(ctx, o.ID, c)
}

// A store that can refuse to go back is asked to, and its refusal ends the claim.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &forward{CheckpointStore: mem.New()}
		owner := checkpoint.OwnerName("task", "a")
		b, err := checkpoint.NewBalancer(checkpoint.Options{Source: newSource(1), Store: f, Group: group, Owner: owner})
		if err != nil {
			t.Fatal(err)
		}
		c, err := b.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Save(t.Context(), &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 5}}); err != nil {
			t.Fatal(err)
		}
		f.refused = &hubferry.Error{Kind: hubferry.Lost, Err: errors.New("somebody else was faster")}
		if err := c.Save(t.Context(), &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 6}}); hubferry.KindOf(err) != hubferry.Lost {
			t.Errorf("a refused save: %v", err)
		}
		if !closed(c.Lost) {
			t.Error("the claim lives on after the store has refused it")
		}
		if len(f.owners) != 2 || f.owners[0] != owner {
			t.Errorf("the store was asked to save for %q", f.owners)
		}
		if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
