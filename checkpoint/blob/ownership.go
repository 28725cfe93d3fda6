package blob

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/hubferry/hubferry"
)

// bare returns an ETag without quotes: answers have them, listings do not.
func bare(etag string) string { return strings.Trim(etag, `"`) }

// stamp is what a write has made.
type stamp struct {
	etag     string
	modified time.Time
}

// ifMatch is the condition that a blob has a version, or that there is none.
func ifMatch(etag string) *blob.AccessConditions {
	m := &blob.ModifiedAccessConditions{}
	if etag == "" {
		m.IfNoneMatch = new(azcore.ETagAny)
	} else {
		m.IfMatch = new(azcore.ETag(`"` + etag + `"`))
	}
	return &blob.AccessConditions{ModifiedAccessConditions: m}
}

// pointers is metadata as azblob takes it.
func (m metadata) pointers() map[string]*string {
	p := make(map[string]*string, len(m))
	for k, v := range m {
		p[k] = new(v)
	}
	return p
}

// upload writes a whole blob. The conditions may be nil.
func (s *Store) upload(ctx context.Context, name string, m metadata, body []byte, conditions *blob.AccessConditions) (stamp, error) {
	resp, err := s.container.NewBlockBlobClient(name).Upload(once(ctx), streaming.NopCloser(bytes.NewReader(body)),
		&blockblob.UploadOptions{Metadata: m.pointers(), AccessConditions: conditions})
	if err != nil {
		return stamp{}, err
	}
	return toStamp(resp.ETag, resp.LastModified), nil
}

// setMetadata replaces the metadata of a blob that is there.
func (s *Store) setMetadata(ctx context.Context, name string, m metadata, conditions *blob.AccessConditions) (stamp, error) {
	resp, err := s.container.NewBlobClient(name).SetMetadata(once(ctx), m.pointers(), &blob.SetMetadataOptions{AccessConditions: conditions})
	if err != nil {
		return stamp{}, err
	}
	return toStamp(resp.ETag, resp.LastModified), nil
}

func toStamp(etag *azcore.ETag, modified *time.Time) stamp {
	var v stamp
	if etag != nil {
		v.etag = bare(string(*etag))
	}
	if modified != nil {
		v.modified = modified.UTC()
	}
	return v
}

// ListOwnership implements hubferry.CheckpointStore. It never asks the secondary host:
// old ETags and times would give partitions away.
func (s *Store) ListOwnership(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	records, err := s.list(ctx, s.container, folderPrefix(group, folderOwnership))
	if err != nil {
		return nil, s.explain(opOwner, err, false)
	}
	return toOwnership(group, records), nil
}

// toOwnership makes ownership of the blobs of a group.
func toOwnership(group hubferry.ID, records map[string]item) []hubferry.Ownership {
	found := make([]hubferry.Ownership, 0, len(records))
	for partition, i := range records {
		id := group.Group()
		id.Partition = partition
		found = append(found, hubferry.Ownership{ID: id, Owner: ownerOf(i.meta), ETag: i.etag, Modified: i.modified})
	}
	slices.SortFunc(found, func(a, b hubferry.Ownership) int { return cmp.Compare(a.ID.Partition, b.ID.Partition) })
	return found
}

// ListJoint lists the ownership records of a group and of its presence group at once. It
// implements checkpoint.Joint.
func (s *Store) ListJoint(ctx context.Context, group, present hubferry.ID) ([]hubferry.Ownership, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	first, second := folderPrefix(group, folderOwnership), folderPrefix(present, folderOwnership)
	found, err := s.listFolders(ctx, s.container, groupPrefix(group)+folderOwnership, first, second)
	if err != nil {
		return nil, s.explain(opOwner, err, false)
	}
	return slices.Concat(toOwnership(group, found[first]), toOwnership(present, found[second])), nil
}

// ownerOf returns the owner; a record that names none is free.
func ownerOf(m metadata) string {
	return fromHeaderText(m.get(keyOwner))
}

// claimers is how many claims of one call are under way at a time.
const claimers = 16

// ClaimOwnership implements hubferry.CheckpointStore. The records are written side by
// side, each in one request. A deleted record cannot be claimed by its ETag.
func (s *Store) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	for _, o := range want {
		if err := incomplete(opClaim, o.ID); err != nil {
			return nil, err
		}
	}
	written := make([]hubferry.Ownership, len(want))
	errs := make([]error, len(want))
	var wg sync.WaitGroup
	turns := make(chan struct{}, claimers)
	for i, o := range want {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			written[i], errs[i] = s.claimOne(ctx, o)
		})
	}
	wg.Wait()
	var first error
	for _, err := range errs {
		if first = s.explain(opClaim, err, true); first != nil {
			break
		}
	}
	return slices.DeleteFunc(written, func(o hubferry.Ownership) bool { return o.ETag == "" }), first
}

// busyTries is how often a write is tried that the service was too busy to do.
const busyTries = 4

// claimOne writes one record. It returns no ETag if the race was lost.
func (s *Store) claimOne(ctx context.Context, o hubferry.Ownership) (hubferry.Ownership, error) {
	m := metadata{keyOwner: headerText(o.Owner)}
	name := blobName(o.ID, folderOwnership)
	var v stamp
	err := s.busy(func() error {
		return s.withContainer(ctx, func() (err error) {
			if o.ETag == "" {
				v, err = s.upload(ctx, name, m, nil, ifMatch(""))
			} else {
				v, err = s.setMetadata(ctx, name, m, ifMatch(o.ETag))
			}
			return err
		})
	})
	switch {
	case err == nil:
		o.ETag, o.Modified = v.etag, v.modified
		return o, nil
	case lostRace(err):
		return hubferry.Ownership{}, nil
	}
	return hubferry.Ownership{}, err
}

// busy repeats a write that the service was too busy to do. The gate has it wait.
func (s *Store) busy(do func() error) error {
	for try := 1; ; try++ {
		if err := do(); err == nil || !notDone(err) || try == busyTries {
			return err
		}
	}
}
