package mem

import (
	"context"
	"errors"

	"github.com/hubferry/hubferry"
)

// adopted is what a table knows of one source partition: the stored checkpoint, and the
// writer that may move it.
type adopted struct {
	checkpoint *hubferry.Checkpoint
	by         *tableWriter
}

var (
	_ hubferry.Writer    = (*tableWriter)(nil)
	_ hubferry.Committer = (*tableWriter)(nil)
)

// tableWriter stores events and a position in one transaction.
type tableWriter struct{ *writer }

var (
	_ hubferry.Tailer    = (*transactWriter)(nil)
	_ hubferry.Committer = (*transactWriter)(nil)
)

// transactWriter is the same for a Log.
type transactWriter struct {
	*logWriter
	table *tableWriter
}

// Adopt implements hubferry.Committer.
func (w *transactWriter) Adopt(ctx context.Context, id hubferry.ID) (*hubferry.Checkpoint, error) {
	return w.table.Adopt(ctx, id)
}

// Commit implements hubferry.Committer.
func (w *transactWriter) Commit(ctx context.Context, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
	return w.table.Commit(ctx, id, runs, prev, next)
}

// Adopt implements hubferry.Committer.
func (w *tableWriter) Adopt(ctx context.Context, id hubferry.ID) (*hubferry.Checkpoint, error) {
	if err := w.ready(ctx, "adopt in"); err != nil {
		return nil, err
	}
	if err := w.hub.begin(ctx, OpAdopt, 0, w.done); err != nil {
		return nil, err
	}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	a := w.hub.checkpoints[id]
	a.by = w
	w.hub.checkpoints[id] = a
	return a.checkpoint, nil
}

// Commit implements hubferry.Committer. Checkpoints are equal when their positions and
// incarnations are.
func (w *tableWriter) Commit(ctx context.Context, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
	if err := w.ready(ctx, "commit to"); err != nil {
		return err
	}
	f := w.hub.fault(OpCommit, 0, nil)
	if f != nil {
		if err := f.wait(ctx, w.hub, w.done); err != nil {
			return err
		}
		if f.Err != nil && f.Store == 0 {
			return f.Err
		}
	}
	if err := w.commit(id, runs, prev, next); err != nil {
		return err
	}
	if f != nil {
		return f.Err
	}
	return nil
}

func (w *tableWriter) commit(id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	a := w.hub.checkpoints[id]
	if a.by != w || !same(a.checkpoint, prev) {
		return &hubferry.Error{Kind: hubferry.Lost, Op: "commit " + id.String(), Hint: "another instance has taken the partition over"}
	}
	records := make([][]record, len(runs))
	var stamp hubferry.Stamp
	for i, run := range runs {
		for _, e := range run.Events {
			r, err := w.record(e, &stamp, run.Partition)
			if err != nil {
				return about(e, err)
			}
			records[i] = append(records[i], r)
		}
	}
	for i, run := range runs {
		for _, r := range records[i] {
			w.hub.append(w.hub.partitions[run.Partition], r)
		}
	}
	stored := *next
	a.checkpoint = &stored
	w.hub.checkpoints[id] = a
	return nil
}

// about says which event an error is about.
func about(e *hubferry.Event, err error) error {
	if refused, ok := errors.AsType[*hubferry.Error](err); ok {
		named := *refused
		named.Event = e
		return &named
	}
	return err
}

func same(a, b *hubferry.Checkpoint) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Position == b.Position && a.Incarnation == b.Incarnation && a.Beginning == b.Beginning
}

// Committed returns the checkpoint that a table holds, or nil.
func (h *Hub) Committed(id hubferry.ID) *hubferry.Checkpoint {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.checkpoints[id].checkpoint
}

// Restore sets the checkpoint that a table holds, as a backup that is played in does.
func (h *Hub) Restore(id hubferry.ID, c *hubferry.Checkpoint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checkpoints[id] = adopted{checkpoint: c}
}
