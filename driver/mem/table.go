package mem

import (
	"context"

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
	var records []record
	var stamp hubferry.Stamp
	for _, run := range runs {
		for _, e := range run.Events {
			r, err := w.record(e, &stamp, 0)
			if err != nil {
				return err
			}
			records = append(records, r)
		}
	}
	for _, r := range records {
		w.hub.append(w.hub.partitions[0], r)
	}
	stored := *next
	a.checkpoint = &stored
	w.hub.checkpoints[id] = a
	return nil
}

func same(a, b *hubferry.Checkpoint) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Position == b.Position && a.Incarnation == b.Incarnation
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
