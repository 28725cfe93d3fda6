package entity

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// maintain syncs, trims and compacts until ctx ends.
func (n *Namespace) maintain(ctx context.Context) {
	syncs := make(<-chan time.Time)
	if n.o.Dir != "" && n.o.Storage.Fsync == seglog.FsyncInterval {
		t := time.NewTicker(n.o.Storage.SyncEvery)
		defer t.Stop()
		syncs = t.C
	}
	t := time.NewTicker(n.o.Storage.MaintainEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-syncs:
			n.sync()
		case <-t.C:
			if err := n.Maintain(ctx); err != nil && ctx.Err() == nil {
				n.o.Log.Error("retention or compaction failed; it is tried again", "error", err)
			}
		}
	}
}

// sync makes durable what was confirmed since the last call.
func (n *Namespace) sync() {
	var g errgroup.Group
	g.SetLimit(parallel) // file systems join syncs that come together
	for _, h := range n.Hubs() {
		for _, p := range h.Partitions() {
			g.Go(func() error {
				if err := p.log.Sync(); err != nil {
					n.o.Log.Error("sync failed: events confirmed since the last sync may be lost if the machine fails",
						"hub", h.name, "partition", p.id, "error", err)
				}
				return nil
			})
		}
	}
	_ = g.Wait()
}

// Maintain applies retention and compaction to all hubs now. It happens by
// itself every Storage.MaintainEvery.
func (n *Namespace) Maintain(ctx context.Context) error {
	var errs []error
	now := n.o.Now()
	for _, h := range n.Hubs() {
		keep := h.state.Load().spec.Retention
		for _, p := range h.Partitions() {
			if ctx.Err() != nil {
				return errors.Join(append(errs, ctx.Err())...)
			}
			if err := keep.apply(ctx, p.log, now); err != nil && !errors.Is(err, seglog.ErrClosed) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// apply trims and compacts one log.
func (r Retention) apply(ctx context.Context, l *seglog.Log, now time.Time) error {
	if r.Compact {
		tombstones := r.Tombstones
		if tombstones == 0 {
			tombstones = time.Hour
		}
		if err := l.Compact(ctx, seglog.Compaction{TombstonesBefore: now.Add(-tombstones).UnixMilli()}); err != nil {
			return err
		}
	}
	keep := seglog.Keep{Bytes: r.Bytes}
	if r.For > 0 {
		keep.Since = now.Add(-r.For).UnixMilli()
	}
	if keep == (seglog.Keep{}) {
		return nil
	}
	return l.Trim(keep)
}

// storageFailed logs a fault of the disk, at most once in ten seconds.
func (n *Namespace) storageFailed(p *Partition, err error) {
	now := n.o.Now().UnixNano()
	last := n.complained.Load()
	if now-last < int64(10*time.Second) || !n.complained.CompareAndSwap(last, now) {
		return
	}
	n.o.Log.Error("storage fails; clients are told to try again", "hub", p.hub.name, "partition", p.id, "error", err)
}
