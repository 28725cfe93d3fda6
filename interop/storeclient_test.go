package interop

import (
	"context"
	"fmt"
	"strconv"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2/checkpoints"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
	blobstore "github.com/hubferry/hubferry/checkpoint/blob"
)

// goStore makes one call of the Go SDK's own store.
func goStore(ctx context.Context, r request) (out response, err error) {
	c, err := container.NewClientFromConnectionString(r.Blob, r.Container, nil)
	if err != nil {
		return out, err
	}
	store, err := checkpoints.NewBlobStore(c, nil)
	if err != nil {
		return out, err
	}
	var owned []azeventhubs.Ownership
	switch r.Action {
	case "claim":
		for _, o := range r.Records {
			one := azeventhubs.Ownership{
				FullyQualifiedNamespace: r.Namespace, EventHubName: r.Hub, ConsumerGroup: r.Group, PartitionID: o.Partition, OwnerID: o.Owner,
			}
			if o.ETag != "" {
				one.ETag = new(azcore.ETag(o.ETag))
			}
			owned = append(owned, one)
		}
		owned, err = store.ClaimOwnership(ctx, owned, nil)
	case "owners":
		owned, err = store.ListOwnership(ctx, r.Namespace, r.Hub, r.Group, nil)
	case "save":
		sequence, parseErr := strconv.ParseInt(r.At.Sequence, 10, 64)
		if parseErr != nil {
			return out, parseErr
		}
		err = store.SetCheckpoint(ctx, azeventhubs.Checkpoint{
			FullyQualifiedNamespace: r.Namespace, EventHubName: r.Hub, ConsumerGroup: r.Group, PartitionID: r.At.Partition,
			Offset: &r.At.Offset, SequenceNumber: &sequence,
		}, nil)
	default:
		var saved []azeventhubs.Checkpoint
		saved, err = store.ListCheckpoints(ctx, r.Namespace, r.Hub, r.Group, nil)
		for _, c := range saved {
			out.Saved = append(out.Saved, savedRecord{c.PartitionID, *c.Offset, fmt.Sprint(*c.SequenceNumber)})
		}
	}
	for _, o := range owned {
		out.Ownership = append(out.Ownership, ownership{o.PartitionID, o.OwnerID, string(*o.ETag)})
	}
	return out, err
}

// hubferryClient answers the one operation that matters here with our own store.
type hubferryClient struct{}

func (hubferryClient) name() string { return "hubferry" }

func (hubferryClient) close() error { return nil }

func (hubferryClient) call(ctx context.Context, r request) (response, error) {
	out, err := ourStore(ctx, r)
	if err != nil {
		return out, &sdkError{Class: fmt.Sprintf("%T", err), Condition: hubferry.KindOf(err).String(), Text: err.Error()}
	}
	return out, nil
}

func ourStore(ctx context.Context, r request) (out response, err error) {
	store, err := blobstore.Open(ctx, blobstore.Options{Container: r.Container, ConnectionString: hubferry.NewSecret(r.Blob)}, hubferry.Env{})
	if err != nil {
		return out, err
	}
	defer store.Close(ctx)
	group := hubferry.ID{Namespace: r.Namespace, Hub: r.Hub, ConsumerGroup: r.Group}
	at := func(partition string) hubferry.ID {
		id := group
		id.Partition = partition
		return id
	}
	var owned []hubferry.Ownership
	switch r.Action {
	case "claim":
		for _, o := range r.Records {
			owned = append(owned, hubferry.Ownership{ID: at(o.Partition), Owner: o.Owner, ETag: o.ETag})
		}
		owned, err = store.ClaimOwnership(ctx, owned)
	case "owners":
		owned, err = store.ListOwnership(ctx, group)
	case "save":
		sequence, parseErr := strconv.ParseInt(r.At.Sequence, 10, 64)
		if parseErr != nil {
			return out, parseErr
		}
		err = store.SaveCheckpoint(ctx, at(r.At.Partition), hubferry.Checkpoint{Position: hubferry.Position{Sequence: sequence, Offset: r.At.Offset}})
	default:
		saved, listErr := store.ListCheckpoints(ctx, group)
		err = listErr
		for id, c := range saved {
			one := savedRecord{id.Partition, c.Position.OffsetText(), fmt.Sprint(c.Position.Sequence)}
			if c.Err != nil {
				one.Offset, one.Sequence = "error", "error"
			} else if c.Position.Offset == "" {
				one.Offset = "none"
			}
			out.Saved = append(out.Saved, one)
		}
	}
	for _, o := range owned {
		out.Ownership = append(out.Ownership, ownership{o.ID.Partition, o.Owner, o.ETag})
	}
	return out, err
}
