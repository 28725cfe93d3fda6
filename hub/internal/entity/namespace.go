package entity

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// Limits bound what a namespace holds. A zero field is its default.
type Limits struct {
	// Hubs per namespace, default 1000.
	Hubs int
	// Partitions per hub, default 32.
	Partitions int
	// Groups per hub including $Default, default 20.
	Groups int
	// Receivers without epoch per partition and group, default 5.
	Receivers int
	// MessageBytes is the largest publication, one event or one batch with
	// its envelope, default 1048576. The node enforces it.
	MessageBytes int
}

// WithDefaults returns l with its zero fields set.
func (l Limits) WithDefaults() Limits {
	l.Hubs = cmp.Or(l.Hubs, 1000)
	l.Partitions = cmp.Or(l.Partitions, 32)
	l.Groups = cmp.Or(l.Groups, 20)
	l.Receivers = cmp.Or(l.Receivers, 5)
	l.MessageBytes = cmp.Or(l.MessageBytes, 1<<20)
	return l
}

// Storage says how events are kept. The zero value is the default.
type Storage struct {
	// Fsync is when an event is confirmed; see seglog.
	Fsync seglog.Fsync
	// SyncEvery is the time between syncs under FsyncInterval; zero is 1 s.
	SyncEvery time.Duration
	// SegmentBytes is the size of a segment; zero is seglog's default.
	SegmentBytes int64
	// MaintainEvery is the time between looks at retention and compaction;
	// zero is 5 s.
	MaintainEvery time.Duration
}

// PublishedKey is the key that the official emulator's documentation gives to
// its only rule, and so does a namespace without rules.
const PublishedKey = "SAS_KEY_VALUE"

// Options configure a namespace.
type Options struct {
	// Name is the short name, as in error texts. Clients may call the
	// namespace anything: hosts are never compared.
	Name string
	// Dir is the folder of this namespace; empty keeps all in memory.
	Dir string
	// Rules are the namespace's rules. None means DefaultRule with
	// PublishedKey, as the official emulator has it.
	Rules []Rule
	// Hash maps a partition key to 0..n-1; required.
	Hash func(key string, n int) int
	// Limits bound the namespace.
	Limits Limits
	// Storage says how events are kept.
	Storage Storage
	// AcceptJWT accepts every unexpired JSON web token, unverified, with all
	// rights. Off, such tokens are refused.
	AcceptJWT bool
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what an operator should know; nil discards.
	Log *slog.Logger
	// OpenFile opens segments; nil means os.OpenFile. Tests put faults here.
	OpenFile seglog.OpenFunc
}

// Namespace is a set of hubs behind one endpoint.
type Namespace struct {
	o    Options
	lock *seglog.DirLock // nil in memory

	// admin is held over changes of what is stored about hubs.
	admin sync.Mutex

	mu     sync.Mutex
	hubs   map[string]*Hub // by lower-case name
	closed bool

	stop    context.CancelFunc
	running sync.WaitGroup

	complained atomic.Int64 // when a fault of the disk was last logged
}

// Open opens a namespace with the hubs that its folder holds. The error is a
// *seglog.LockedError if another process has the folder, and has a
// *seglog.DamageError in its chain if confirmed events are not there.
func Open(ctx context.Context, o Options) (*Namespace, error) {
	o.Limits = o.Limits.WithDefaults()
	o.Storage.SyncEvery = cmp.Or(o.Storage.SyncEvery, time.Second)
	o.Storage.MaintainEvery = cmp.Or(o.Storage.MaintainEvery, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Hash == nil {
		return nil, errors.New("open namespace: Options.Hash is nil")
	}
	if len(o.Rules) == 0 {
		o.Rules = []Rule{{Name: DefaultRule, Key: PublishedKey, Rights: AllRights}}
	}
	if err := CheckRules(o.Rules); err != nil {
		return nil, err
	}
	n := &Namespace{o: o, hubs: map[string]*Hub{}}
	if o.Dir != "" {
		if err := n.load(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("open namespace %s: %w", o.Name, err), n.Close())
		}
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stop = stop
	n.running.Go(func() { n.maintain(background) })
	return n, nil
}

// Name returns the name given at Open.
func (n *Namespace) Name() string { return n.o.Name }

// Limits returns the limits in force.
func (n *Namespace) Limits() Limits { return n.o.Limits }

// Closed reports whether Close was called.
func (n *Namespace) Closed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// Hub returns the hub of that name, in any case, or a NotFound error.
func (n *Namespace) Hub(name string) (*Hub, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	h, ok := n.hubs[strings.ToLower(name)]
	if !ok {
		return nil, notFound(n.o.Name, name)
	}
	return h, nil
}

// Hubs returns all hubs, sorted by name.
func (n *Namespace) Hubs() []*Hub {
	n.mu.Lock()
	defer n.mu.Unlock()
	return sortHubs(n.hubs)
}

func sortHubs(hubs map[string]*Hub) []*Hub {
	return slices.SortedFunc(maps.Values(hubs), func(a, b *Hub) int {
		return cmp.Compare(strings.ToLower(a.name), strings.ToLower(b.name))
	})
}

// CreateHub creates a hub with a new identity. It is stored when CreateHub
// returns. A hub of that name is an EntityAlreadyExists error, a spec that the
// service would not accept an ArgumentError, too many hubs a
// ResourceLimitExceeded.
func (n *Namespace) CreateHub(ctx context.Context, spec HubSpec) (*Hub, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := spec.check(n.o.Limits); err != nil {
		return nil, err
	}
	n.admin.Lock()
	defer n.admin.Unlock()
	if err := n.free(spec.Name); err != nil {
		return nil, err
	}
	id := make([]byte, 16)
	rand.Read(id)
	h := newHub(n, hex.EncodeToString(id), n.o.Now(), spec)
	if err := n.openHub(h); err != nil {
		return nil, errors.Join(fmt.Errorf("create hub %s: %w", spec.Name, err), n.dropHub(h))
	}
	if err := n.commit(h, nil); err != nil {
		return nil, errors.Join(fmt.Errorf("create hub %s: %w", spec.Name, err), n.dropHub(h))
	}
	return h, nil
}

// free returns nil if another hub of that name can be created.
func (n *Namespace) free(name string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.closed:
		return shutdown()
	case n.hubs[strings.ToLower(name)] != nil:
		return exists(n.o.Name, name)
	case len(n.hubs) >= n.o.Limits.Hubs:
		return quota(fmt.Sprintf("The namespace '%s' has %d event hubs, which is the limit.", n.o.Name, len(n.hubs)))
	}
	return nil
}

// EnsureHub creates a hub, or brings the one that is there to the spec: its
// retention becomes that of the spec, and so do its rules unless those of the
// spec are nil; groups and partitions that are missing are added. Status and
// user metadata stay. Fewer partitions than there are is an ArgumentError.
func (n *Namespace) EnsureHub(ctx context.Context, spec HubSpec) (*Hub, error) {
	h, err := n.CreateHub(ctx, spec)
	if e, ok := errors.AsType[*Error](err); !ok || e.Condition != EntityAlreadyExists {
		return h, err
	}
	return n.updateHub(ctx, spec, func(old HubSpec) HubSpec {
		spec.Status, spec.UserMetadata = old.Status, old.UserMetadata
		if spec.Rules == nil {
			spec.Rules = old.Rules
		}
		return spec
	})
}

// UpdateHub replaces what the hub named in the spec is like. Groups that are
// missing are added; none is removed. Zero Partitions keep their number, more
// are added, fewer are an ArgumentError. Receivers end when the new status
// allows none.
func (n *Namespace) UpdateHub(ctx context.Context, spec HubSpec) (*Hub, error) {
	return n.updateHub(ctx, spec, func(HubSpec) HubSpec { return spec })
}

func (n *Namespace) updateHub(ctx context.Context, spec HubSpec, merge func(old HubSpec) HubSpec) (*Hub, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.admin.Lock()
	defer n.admin.Unlock()
	h, err := n.Hub(spec.Name)
	if err != nil {
		return nil, err
	}
	old := h.Spec()
	spec = merge(old)
	spec.Name = old.Name
	spec.Partitions = cmp.Or(spec.Partitions, old.Partitions)
	if spec.Partitions < old.Partitions {
		return nil, invalid("partition count", "the hub '%s' has %d partitions; their number cannot be lowered to %d", old.Name, old.Partitions, spec.Partitions)
	}
	spec.Groups = union(old.Groups, spec.Groups)
	if err := spec.check(n.o.Limits); err != nil {
		return nil, err
	}
	more, err := n.openPartitions(h, old.Partitions, spec.Partitions)
	if err != nil {
		return nil, fmt.Errorf("update hub %s: %w", old.Name, err)
	}
	undo := h.apply(spec, more, n.o.Now())
	if err := n.commit(nil, nil); err != nil {
		undo()
		for _, p := range more {
			err = errors.Join(err, p.log.Close())
		}
		return nil, fmt.Errorf("update hub %s: %w", old.Name, err)
	}
	h.enforceStatus()
	return h, nil
}

// union returns the names of a and those of b that a has not, in any case.
func union(a, b []string) []string {
	all := slices.Clone(a)
	for _, name := range b {
		if !strings.EqualFold(name, DefaultGroup) && !slices.ContainsFunc(all, func(s string) bool { return strings.EqualFold(s, name) }) {
			all = append(all, name)
		}
	}
	return all
}

// DeleteHub removes a hub with its events; Deleted is closed and its
// receivers end. Deleting a hub that is not there is a NotFound error.
func (n *Namespace) DeleteHub(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.admin.Lock()
	defer n.admin.Unlock()
	h, err := n.Hub(name)
	if err != nil {
		return err
	}
	if err := n.commit(nil, h); err != nil {
		return fmt.Errorf("delete hub %s: %w", h.Name(), err)
	}
	h.end(notFound(n.o.Name, h.Name()))
	return n.dropHub(h)
}

// commit stores what the namespace consists of, with one hub more or less,
// and makes the change visible; admin is held.
func (n *Namespace) commit(add, remove *Hub) error {
	n.mu.Lock()
	hubs := make(map[string]*Hub, len(n.hubs)+1)
	for key, h := range n.hubs {
		if h != remove {
			hubs[key] = h
		}
	}
	closed := n.closed
	n.mu.Unlock()
	if closed {
		return shutdown()
	}
	if add != nil {
		hubs[strings.ToLower(add.name)] = add
	}
	if err := n.save(hubs); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hubs = hubs
	return nil
}

func shutdown() *Error {
	return &Error{Condition: DetachForced, Text: "The service is shutting down.", Status: 503}
}

// Close ends all receivers, closes all partitions, so that what was confirmed
// is durable, and releases the folder. Closing twice is harmless.
func (n *Namespace) Close() error {
	n.admin.Lock()
	defer n.admin.Unlock()
	n.mu.Lock()
	was := n.closed
	n.closed = true
	n.mu.Unlock()
	if was {
		return nil
	}
	if n.stop != nil {
		n.stop()
	}
	n.running.Wait()
	hubs := n.Hubs()
	for _, h := range hubs {
		h.end(shutdown())
	}
	err := n.closeLogs(hubs)
	if n.lock != nil {
		err = errors.Join(err, n.lock.Close())
	}
	return err
}
