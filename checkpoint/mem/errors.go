package mem

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/hubferry/hubferry"
)

// checkID refuses an ID that names no partition.
func checkID(id hubferry.ID, op string) error {
	if id.Namespace != "" && id.Hub != "" && id.ConsumerGroup != "" && id.Partition != "" {
		return nil
	}
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: op,
		Err: fmt.Errorf("%s names no partition of a consumer group", id),
	}
}

// lost says that a partition belongs to somebody else.
func lost(id hubferry.ID, owner string) error {
	err := errors.New("nobody owns " + id.String())
	if owner != "" {
		err = fmt.Errorf("%s is owned by %q", id, owner)
	}
	return &hubferry.Error{Kind: hubferry.Lost, Op: "save checkpoint", Err: err}
}

// behind says that a checkpoint would go back.
func behind(id hubferry.ID, last hubferry.Checkpoint) error {
	return &hubferry.Error{
		Kind: hubferry.Lost, Op: "save checkpoint",
		Err: fmt.Errorf("the checkpoint of %s is already at %d", id, last.Position.Sequence),
	}
}

func compareID(a, b hubferry.ID) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hub, b.Hub),
		cmp.Compare(a.ConsumerGroup, b.ConsumerGroup), cmp.Compare(a.Partition, b.Partition))
}
