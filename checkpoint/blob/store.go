package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry"
)

// Store is a checkpoint store in a container of Azure Blob Storage. Its methods may be
// called by several goroutines at once.
type Store struct {
	*client
	name   string // of the container
	host   string // of the account, for errors
	create bool   // the container, when it is missing
	log    *slog.Logger

	once    sync.Once
	closing chan struct{} // closed by Close

	mu       sync.Mutex
	lanes    map[hubferry.ID]*lane
	listed   map[hubferry.ID]bool // groups whose checkpoints were listed
	looked   map[hubferry.ID]look // other spellings of groups
	reported map[string]bool      // what was logged once
}

var _ hubferry.CheckpointStore = (*Store)(nil)

// The operations, for errors.
const (
	opOpen  = "open checkpoints"
	opList  = "list checkpoints"
	opOwner = "list ownership"
	opClaim = "claim"
	opSave  = "save checkpoint"
)

// Open opens the store and looks whether the container is there; with CreateContainer it
// makes it. A service that is away is no error: the calls that need it will say so. Of
// the environment it uses Log, Dial, Trace and Fetch, all of which may be nil. The
// context bounds opening only.
func Open(ctx context.Context, o Options, env hubferry.Env) (*Store, error) {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	env.Log = env.Log.With("component", "checkpoint/blob")
	if p := o.Validate(); len(p) > 0 {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: opOpen, Err: fmt.Errorf("%s: %s", p[0].Field, p[0].Message)}
	}
	c, err := newClient(&o, env)
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: opOpen, Err: err}
	}
	a, err := o.access()
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: opOpen, Err: err}
	}
	s := &Store{
		client: c, name: o.Container, host: a.endpoint.Host, create: o.CreateContainer, log: env.Log, closing: make(chan struct{}),
		lanes: map[hubferry.ID]*lane{}, listed: map[hubferry.ID]bool{}, looked: map[hubferry.ID]look{}, reported: map[string]bool{},
	}
	if err := s.probe(ctx); err != nil {
		c.transport.CloseIdleConnections()
		return nil, err
	}
	return s, nil
}

// probe looks whether the container can be used. It returns what will not pass by itself.
func (s *Store) probe(ctx context.Context) error {
	err := s.page(ctx, s.container, &container.ListBlobsFlatOptions{MaxResults: new(int32(1))}, func(*container.BlobItem) {})
	if err = s.explain(opOpen, err, false); err == nil || ctx.Err() != nil {
		return err
	}
	if !passes(err) {
		return err
	}
	s.log.Warn("the checkpoint store cannot be reached yet", "error", err)
	return nil
}

// passes reports an error that is expected to pass by itself.
func passes(err error) bool {
	kind := hubferry.KindOf(err)
	return kind == hubferry.Transient || kind == hubferry.Throttled
}

// check returns why no operation can begin.
func (s *Store) check(ctx context.Context) error {
	select {
	case <-s.closing:
		return hubferry.ErrClosed
	default:
	}
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return s.explain("ask", fmt.Errorf("what came before took all of the time: %w", err), false)
	}
	return ctx.Err()
}

// page reads the first page of a listing, and makes a container that is missing and
// wanted.
func (s *Store) page(ctx context.Context, c *container.Client, o *container.ListBlobsFlatOptions, each func(*container.BlobItem)) error {
	return s.pages(ctx, c, o, 1, each)
}

// pages reads a listing, at most so many pages of it.
func (s *Store) pages(ctx context.Context, c *container.Client, o *container.ListBlobsFlatOptions, most int, each func(*container.BlobItem)) error {
	return s.withContainer(ctx, func() error {
		pager := c.NewListBlobsFlatPager(o)
		for range most {
			if !pager.More() {
				break
			}
			p, err := pager.NextPage(ctx)
			if err != nil {
				return err
			}
			if p.Segment == nil {
				continue
			}
			for _, item := range p.Segment.BlobItems {
				if item.Name != nil && item.Properties != nil {
					each(item)
				}
			}
		}
		return nil
	})
}

// withContainer does something, and once more after making the container if that was
// missing and is wanted.
func (s *Store) withContainer(ctx context.Context, do func() error) error {
	err := do()
	if !s.create || !bloberror.HasCode(err, bloberror.ContainerNotFound) {
		return err
	}
	_, made := s.container.Create(once(ctx), nil)
	if made != nil && !bloberror.HasCode(made, bloberror.ContainerAlreadyExists) {
		return made
	}
	if made == nil {
		s.log.Info("the container was created", "container", s.name)
	}
	return do()
}

// allPages is more pages than there are: 5,000 blobs each.
const allPages = 1 << 20

// item is one blob of a listing.
type item struct {
	meta     metadata
	etag     string
	modified time.Time
}

// list lists the blobs of one folder of a group by partition. Its name ends with a
// slash, so that accounts with a hierarchical namespace show no folders; where they show
// some all the same, these are left out.
func (s *Store) list(ctx context.Context, c *container.Client, folder string) (map[string]item, error) {
	found, err := s.listFolders(ctx, c, folder, folder)
	return found[folder], err
}

// listFolders lists all that begins with a prefix, by folder and partition.
func (s *Store) listFolders(ctx context.Context, c *container.Client, prefix string, folders ...string) (map[string]map[string]item, error) {
	found := map[string]map[string]item{}
	for _, folder := range folders {
		found[folder] = map[string]item{}
	}
	err := s.pages(ctx, c, &container.ListBlobsFlatOptions{
		Prefix: &prefix, Include: container.ListBlobsInclude{Metadata: true},
	}, allPages, func(b *container.BlobItem) {
		i := toItem(b)
		if i.meta.get("hdiisfolder") == "true" {
			return
		}
		for _, folder := range folders {
			if partition, ok := partitionOf(*b.Name, folder); ok {
				found[folder][partition] = i
				return
			}
		}
		s.report("blob "+*b.Name, "a blob in the folder of a consumer group is no partition's", "blob", *b.Name)
	})
	return found, err
}

// toItem copies what matters of a listed blob.
func toItem(b *container.BlobItem) item {
	i := item{meta: make(metadata, len(b.Metadata))}
	for k, v := range b.Metadata {
		if v != nil {
			i.meta[k] = *v
		} else {
			i.meta[k] = ""
		}
	}
	if b.Properties.ETag != nil {
		i.etag = bare(string(*b.Properties.ETag))
	}
	if b.Properties.LastModified != nil {
		i.modified = b.Properties.LastModified.UTC()
	}
	return i
}

// report logs a warning once.
func (s *Store) report(key, text string, args ...any) {
	s.mu.Lock()
	known := s.reported[key]
	s.reported[key] = true
	s.mu.Unlock()
	if !known {
		s.log.Warn(text, args...)
	}
}

// ServerTime returns the clock that Ownership.Modified is measured by, as the last answer
// told it. It asks only if there was none yet. It implements checkpoint.Clock.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	if err := s.check(ctx); err != nil {
		return time.Time{}, err
	}
	if t, ok := s.clock.now(); ok {
		return t, nil
	}
	err := s.page(ctx, s.container, &container.ListBlobsFlatOptions{MaxResults: new(int32(1))}, func(*container.BlobItem) {})
	if err != nil {
		return time.Time{}, s.explain("ask for the time", err, false)
	}
	t, ok := s.clock.now()
	if !ok {
		return time.Time{}, &hubferry.Error{Kind: hubferry.Transient, Op: "ask for the time", Err: errors.New("the answer has no date")}
	}
	return t, nil
}

// Groups returns every group that has a checkpoint or an ownership record, in order. It
// lists the whole container. It implements checkpoint.Lister.
func (s *Store) Groups(ctx context.Context) ([]hubferry.ID, error) {
	const op = "list groups"
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	var groups map[hubferry.ID]bool
	err := s.read(ctx, op, func(c *container.Client) error {
		groups = map[hubferry.ID]bool{}
		return s.pages(ctx, c, nil, allPages, func(b *container.BlobItem) {
			if id, ok := groupOf(*b.Name); ok {
				groups[id] = true
			}
		})
	})
	if err != nil {
		return nil, err
	}
	return slices.SortedFunc(maps.Keys(groups), compareID), nil
}

// read reads what may be a little old: where the account is away, from the secondary
// host.
func (s *Store) read(ctx context.Context, op string, from func(c *container.Client) error) error {
	err := s.explain(op, from(s.container), false)
	if err == nil || s.secondary == nil || ctx.Err() != nil || !passes(err) {
		return err
	}
	if second := from(s.secondary); second != nil {
		return errors.Join(err, s.explain(op+" at the secondary host", second, false))
	}
	s.log.Warn("checkpoints were read from the secondary host and may be old", "error", err)
	return nil
}

// Close ends the store's connections. Calls that are under way finish by themselves.
func (s *Store) Close(context.Context) error {
	s.once.Do(func() { close(s.closing) })
	s.transport.CloseIdleConnections()
	return nil
}

func compareID(a, b hubferry.ID) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hub, b.Hub),
		cmp.Compare(a.ConsumerGroup, b.ConsumerGroup), cmp.Compare(a.Partition, b.Partition))
}
