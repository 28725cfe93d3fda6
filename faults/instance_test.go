package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/blob"
	"github.com/hubferry/hubferry/checkpoint/mem"
	"github.com/hubferry/hubferry/checkpoint/sqlite"
	"github.com/hubferry/hubferry/engine"
)

const taskName = "copy"

// instance replicates in this process, over a network of its own.
type instance struct {
	w      *world
	name   string
	engine *engine.Engine
	relays map[string]*relay // by host
	stop   context.CancelFunc
	done   chan struct{}
	ended  error
	closed []func(context.Context) error
}

// startInstance starts one more instance.
func (w *world) startInstance() (*instance, error) {
	w.mu.Lock()
	w.started++
	x := &instance{w: w, name: fmt.Sprintf("x%d", w.started), relays: map[string]*relay{}, done: make(chan struct{})}
	w.mu.Unlock()
	for host, at := range w.hosts {
		r, err := newRelay(at)
		if err != nil {
			return nil, err
		}
		x.relays[host] = r
	}
	log := w.log.With("instance", x.name)
	env := hubferry.Env{Log: log, Instance: x.name, Budget: 16 << 20, Dial: x.dial}
	ctx, cancel := context.WithCancel(w.ctx)
	x.stop = cancel
	task, err := w.service.task(ctx, x, env)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start %s: %w", x.name, err)
	}
	task.Name, task.SourceName = taskName, w.service.place()
	task.Delivery, task.Window, task.Budget = w.plan.delivery, window, 8<<20
	task.SaveEvents, task.SaveInterval = 200, time.Second
	task.Retry = engine.Retry{Min: 200 * time.Millisecond, Max: 500 * time.Millisecond}
	task.Fingerprint = "1"
	task.OnGap = w.plan.onGap
	inner := task.Coordinate
	if inner == nil {
		inner = func(ctx context.Context) (hubferry.Coordinator, error) { return x.balancer(ctx, task.Source, env) }
	}
	task.Coordinate = func(ctx context.Context) (hubferry.Coordinator, error) {
		c, err := inner(ctx)
		if err != nil {
			return nil, err
		}
		return &watchedCoordinator{c, x}, nil
	}
	if x.engine, err = engine.New([]engine.Task{task}, engine.Options{Log: log, Drain: 10 * time.Second}); err != nil {
		cancel()
		return nil, err
	}
	go func() {
		defer close(x.done)
		x.ended = x.engine.Run(ctx)
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		for _, f := range slices.Backward(x.closed) {
			_ = f(closing) // as the program does at its end
		}
		for _, r := range x.relays {
			r.close()
		}
	}()
	return x, nil
}

// later has something closed when the instance has ended.
func (x *instance) later(f func(context.Context) error) { x.closed = append(x.closed, f) }

// dial is the instance's only way to the outside: a name is looked up, and what listens there
// is reached through a relay.
func (x *instance) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	x.w.reach(atStart, x)
	host := x.w.hostOf(addr)
	r := x.relays[host]
	if r == nil {
		return nil, fmt.Errorf("dial %s: there is no such host in this world", addr)
	}
	if err := x.w.names.lookup(ctx, host); err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, r.address())
}

// balancer shares the partitions through the world's checkpoint store.
func (x *instance) balancer(ctx context.Context, source hubferry.Source, env hubferry.Env) (hubferry.Coordinator, error) {
	store, err := x.w.store.open(ctx, x, env)
	if err != nil {
		return nil, err
	}
	places, err := hubferry.PlacesOf(ctx, source)
	if err != nil {
		return nil, errors.Join(err, store.Close(ctx))
	}
	x.later(store.Close)
	id := hubferry.ID{Namespace: places[0].Namespace, Hub: places[0].Hub, ConsumerGroup: taskName}
	return checkpoint.NewBalancer(checkpoint.Options{
		Source: source, Store: store, Group: id, Owner: checkpoint.OwnerName(taskName, x.name),
		Interval: 300 * time.Millisecond, Expiry: x.w.plan.expiry, Refresh: time.Second, Log: env.Log,
	})
}

// status is what the instance does.
func (x *instance) status() hubferry.TaskStatus { return x.engine.Status()[0] }

// leave stops the instance in good order, as far as its world lets it.
func (x *instance) leave() error {
	x.stop()
	select {
	case <-x.done:
	case <-time.After(time.Minute):
		return fmt.Errorf("%s did not stop within a minute", x.name)
	}
	c := x.status().Counts
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	s := &x.w.counts
	s.Retries += c.Retries
	s.Found += c.Found
	s.DuplicatesSeen += c.DuplicatesSeen
	s.Unproven += c.Unproven
	s.Gaps += c.Gaps
	s.DeadLettered += c.DeadLettered
	for _, n := range c.Dropped {
		x.w.dropped += n
	}
	return nil
}

// watchedCoordinator tells the world of claims.
type watchedCoordinator struct {
	hubferry.Coordinator
	x *instance
}

// Next implements hubferry.Coordinator.
func (c *watchedCoordinator) Next(ctx context.Context) (*hubferry.Claim, error) {
	claim, err := c.Coordinator.Next(ctx)
	if err != nil {
		return nil, err
	}
	c.x.w.claimed(c.x, claim)
	c.x.w.reach(atTakeOver, c.x)
	return claim, nil
}

// store is where a world keeps checkpoints and ownership.
type store interface {
	// open opens it for one instance, over that one's network.
	open(ctx context.Context, x *instance, env hubferry.Env) (hubferry.CheckpointStore, error)
	// checkpoints reads what is stored, behind everybody's back.
	checkpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error)
	close(ctx context.Context)
}

type memStore struct{ first *mem.Store }

func (s *memStore) open(_ context.Context, x *instance, _ hubferry.Env) (hubferry.CheckpointStore, error) {
	return &watchedMem{s.first.Handle(), x}, nil
}

func (s *memStore) checkpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	return s.first.ListCheckpoints(ctx, group)
}

func (s *memStore) close(context.Context) {}

// watchedMem tells the world when a checkpoint is about to be saved, as the next two do.
type watchedMem struct {
	*mem.Store
	x *instance
}

// SaveOwned implements checkpoint.Fenced.
func (s *watchedMem) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	s.x.w.reach(atCheckpoint, s.x)
	c.Position.Sequence += s.x.w.plan.lie
	return s.Store.SaveOwned(ctx, o, c)
}

type sqliteStore struct{ path string }

func (s *sqliteStore) open(ctx context.Context, x *instance, env hubferry.Env) (hubferry.CheckpointStore, error) {
	opened, err := sqlite.Open(ctx, sqlite.Options{Path: s.path}, env.Log)
	if err != nil {
		return nil, err
	}
	return &watchedSQLite{opened, x}, nil
}

func (s *sqliteStore) checkpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	opened, err := sqlite.Open(ctx, sqlite.Options{Path: s.path}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	found, err := opened.ListCheckpoints(ctx, group)
	return found, errors.Join(err, opened.Close(ctx))
}

func (s *sqliteStore) close(context.Context) {}

type watchedSQLite struct {
	*sqlite.Store
	x *instance
}

// SaveOwned implements checkpoint.Fenced.
func (s *watchedSQLite) SaveOwned(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	s.x.w.reach(atCheckpoint, s.x)
	return s.Store.SaveOwned(ctx, o, c)
}

// blobStore is the storage account of an embedded hub, at the host "store.test".
type blobStore struct{ server *server }

func (s *blobStore) options(endpoint string) blob.Options {
	a := s.server.options.Blob[0]
	return blob.Options{Container: "checkpoints", ConnectionString: hubferry.NewSecret(a.ConnectionString(endpoint))}
}

func (s *blobStore) open(ctx context.Context, x *instance, env hubferry.Env) (hubferry.CheckpointStore, error) {
	opened, err := blob.Open(ctx, s.options("store.test:80"), env)
	if err != nil {
		return nil, err
	}
	return &watchedBlob{opened, x}, nil
}

func (s *blobStore) checkpoints(ctx context.Context, group hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	for {
		opened, err := blob.Open(ctx, s.options(s.server.address()), hubferry.Env{Log: slog.New(slog.DiscardHandler)})
		if err == nil {
			var found map[hubferry.ID]hubferry.Checkpoint
			if found, err = opened.ListCheckpoints(ctx, group); err == nil {
				return found, opened.Close(ctx)
			}
			_ = opened.Close(ctx)
		}
		if ctx.Err() != nil {
			return nil, err
		}
		pause(ctx, 100*time.Millisecond)
	}
}

func (s *blobStore) close(ctx context.Context) { _ = s.server.end(ctx) }

type watchedBlob struct {
	*blob.Store
	x *instance
}

// SaveForward implements checkpoint.Forward.
func (s *watchedBlob) SaveForward(ctx context.Context, o hubferry.Ownership, c hubferry.Checkpoint) error {
	s.x.w.reach(atCheckpoint, s.x)
	return s.Store.SaveForward(ctx, o, c)
}

// newStore makes the store that the plan asks for.
func (w *world) newStore() (store, error) {
	switch w.plan.store {
	case group:
		return &groupStore{w.service.(*kafkaClusters).clusters[source]}, nil
	case "sqlite":
		return &sqliteStore{filepath.Join(w.dir, "checkpoints.db")}, nil
	case "blob":
		s := newServer(filepath.Join(w.dir, "store"), "", w.log.With("server", "store"))
		if err := s.start(w.ctx); err != nil {
			return nil, err
		}
		w.hosts["store.test"] = s.address
		return &blobStore{s}, nil
	default:
		return &memStore{mem.New()}, nil
	}
}
