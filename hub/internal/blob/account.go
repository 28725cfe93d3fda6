package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// Limits bound what clients can cost. A zero field is its default.
type Limits struct {
	// BlobBytes is the largest body, default 4 MiB.
	BlobBytes int64
	// AccountBytes is what the account may hold in memory, names and metadata
	// included; default 256 MiB.
	AccountBytes int64
}

// Options configure an account.
type Options struct {
	// Name is the account's name; see CheckAccountName.
	Name string
	// Keys are the keys that sign requests; at least one.
	Keys [][]byte
	// Dir is the folder of this account; empty keeps all in memory.
	Dir string
	// Fsync is when a change is confirmed; see seglog.
	Fsync seglog.Fsync
	// SyncEvery is the time between syncs under FsyncInterval; zero is 1 s.
	SyncEvery time.Duration
	// Limits bound what clients can cost.
	Limits Limits
	// Bearer checks a JSON web token. Nil refuses all of them.
	Bearer func(token string) error
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log receives what an operator should know, and each request at debug
	// level; nil discards.
	Log *slog.Logger
	// OpenFile opens the journal's files; nil means os.OpenFile. Tests put
	// faults here.
	OpenFile seglog.OpenFunc
}

// Account is one storage account. It is an http.Handler, and its methods may
// be called concurrently.
type Account struct {
	o       Options
	store   *store
	uploads *semaphore.Weighted // bytes of bodies on their way in

	stop    context.CancelFunc
	running sync.WaitGroup
	once    sync.Once
}

// uploading is how many bytes of bodies may be on their way in at a time.
const uploading = 64 << 20

// maintainEvery is the time between looks at the journal's size.
const maintainEvery = 10 * time.Second

// Open opens an account with what its folder holds. The error is a
// *seglog.LockedError if another process has the folder, and has a
// *seglog.DamageError in its chain if what was confirmed is not there. The
// account must be closed.
func Open(ctx context.Context, o Options) (*Account, error) {
	o.Limits.BlobBytes = cmp.Or(o.Limits.BlobBytes, 4<<20)
	o.Limits.AccountBytes = cmp.Or(o.Limits.AccountBytes, 256<<20)
	o.SyncEvery = cmp.Or(o.SyncEvery, time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if err := CheckAccountName(o.Name); err != nil {
		return nil, err
	}
	if len(o.Keys) == 0 {
		return nil, errors.New("the account has no key")
	}
	a := &Account{o: o, store: newStore(o.Now, o.Limits.AccountBytes), uploads: semaphore.NewWeighted(max(uploading, o.Limits.BlobBytes))}
	if o.Dir != "" {
		j, err := openJournal(o, a.store)
		if err != nil {
			return nil, fmt.Errorf("open account %s: %w", o.Name, err)
		}
		a.store.journal = j
	}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	a.stop = stop
	if a.store.journal != nil {
		a.running.Go(func() { a.maintain(background) })
	}
	return a, nil
}

// Name is the account's name.
func (a *Account) Name() string { return a.o.Name }

func (a *Account) now() time.Time { return a.o.Now() }

// EnsureContainer creates a container if it is not there.
func (a *Account) EnsureContainer(ctx context.Context, name string) error {
	if err := CheckContainerName(name); err != nil {
		return err
	}
	_, err := a.store.createContainer(ctx, name, nil)
	if e, ok := errors.AsType[*serviceError](err); ok && e.code == containerAlreadyExists {
		return nil
	}
	return err
}

// maintain syncs and compacts the journal until ctx ends.
func (a *Account) maintain(ctx context.Context) {
	syncs := make(<-chan time.Time)
	if a.o.Fsync == seglog.FsyncInterval {
		t := time.NewTicker(a.o.SyncEvery)
		defer t.Stop()
		syncs = t.C
	}
	t := time.NewTicker(maintainEvery)
	defer t.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-syncs:
			err = a.store.journal.log.Sync()
		case <-t.C:
			err = a.compact(ctx)
		}
		if err != nil && ctx.Err() == nil {
			a.o.Log.Error("the storage of blobs fails; it is tried again", "account", a.o.Name, "error", err)
		}
	}
}

// compact drops what is superseded in the journal, if it is worth while.
func (a *Account) compact(ctx context.Context) error {
	a.store.mu.RLock()
	live := a.store.used
	a.store.mu.RUnlock()
	return a.store.journal.compact(ctx, live, a.now())
}

// Close waits for the change under way, refuses all others, and closes the
// files. Closing twice is harmless.
func (a *Account) Close() error {
	var err error
	a.once.Do(func() {
		a.stop()
		a.running.Wait()
		err = a.store.close()
	})
	return err
}
