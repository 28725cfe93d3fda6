package drivertest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

func positionSabotages() []sabotage {
	infos := func(change func(p *hubferry.PartitionInfo)) func([]hubferry.PartitionInfo) []hubferry.PartitionInfo {
		return func(all []hubferry.PartitionInfo) []hubferry.PartitionInfo {
			for i := range all {
				change(&all[i])
			}
			return all
		}
	}
	resolved := func(kind hubferry.StartKind, by int64) func(hubferry.Start, hubferry.Position) hubferry.Position {
		return func(s hubferry.Start, pos hubferry.Position) hubferry.Position {
			if s.Kind == kind {
				return hubferry.Position{Sequence: pos.Sequence + by}
			}
			return pos
		}
	}
	skip := func(n int64) func(hubferry.Position, int64) (hubferry.Position, int64) {
		return func(after hubferry.Position, epoch int64) (hubferry.Position, int64) {
			return hubferry.Position{Sequence: after.Sequence + n}, epoch
		}
	}
	place := func(change func(p *hubferry.Place) *hubferry.Place) func([]hubferry.PartitionInfo) []hubferry.PartitionInfo {
		return infos(func(p *hubferry.PartitionInfo) { p.Place = change(p.Place) })
	}
	return []sabotage{
		{name: "partitions in disorder", by: "partitions", b: broken{partitions: func(all []hubferry.PartitionInfo) []hubferry.PartitionInfo {
			slices.Reverse(all)
			return all
		}}},
		{name: "End is one too high", by: "partitions", b: broken{partitions: infos(func(p *hubferry.PartitionInfo) { p.End.Sequence++ })}},
		{name: "Begin is the first event", by: "partitions", b: broken{partitions: infos(func(p *hubferry.PartitionInfo) { p.Begin.Sequence++ })}},
		{name: "an old count of events", by: "partitions", b: broken{partitions: infos(func(p *hubferry.PartitionInfo) { p.End = p.Begin })}},
		{name: "the source calls its hub by an alias", by: "places agree", b: broken{partitions: place(func(p *hubferry.Place) *hubferry.Place {
			return hubferry.NewPlace("alias", p.Hub, p.Partition, p.Incarnation, p.Index)
		})}},
		{name: "another hash for keys", by: "partition of a key", b: broken{layout: func(l hubferry.Layout) hubferry.Layout {
			l.Partition = func(k hubferry.Key, n int) int { return len(k.Bytes) % n }
			return l
		}}},
		{name: "earliest leaves one out", by: "resolve", b: broken{resolve: resolved(hubferry.StartEarliest, 1)}},
		{name: "latest repeats one", by: "resolve", b: broken{resolve: resolved(hubferry.StartLatest, -1)}},
		{name: "a time leaves one out", by: "resolve", b: broken{resolve: resolved(hubferry.StartTime, 1)}},
		{name: "a time is the earliest", by: "resolve", b: broken{resolve: func(s hubferry.Start, pos hubferry.Position) hubferry.Position {
			if s.Kind == hubferry.StartTime {
				return hubferry.Position{Sequence: -1}
			}
			return pos
		}}},
		{name: "latest of nothing is beyond it", by: "resolve/empty partition", b: broken{resolve: resolved(hubferry.StartLatest, 1)}},
		{name: "resume leaves one out", by: "resume", b: broken{open: skip(1)}},
		{name: "resume repeats one", by: "resume", b: broken{open: skip(-1)}},
		{name: "a position beyond the end is the beginning", by: "resume/beyond the end", b: broken{
			open: func(_ hubferry.Position, epoch int64) (hubferry.Position, int64) {
				return hubferry.Position{Sequence: -1}, epoch
			},
		}},
		{name: "a refused position has no kind", by: "resume/beyond the end", b: broken{openErr: errorString}},
		{name: "an expired position is the end", by: "resume/expired", b: broken{
			open: func(after hubferry.Position, epoch int64) (hubferry.Position, int64) {
				if after.Offset != "" {
					after = hubferry.Position{Sequence: 19}
				}
				return after, epoch
			},
		}},
		{name: "a new hub has the old incarnation", by: "recreated", b: broken{partitions: place(func(p *hubferry.Place) *hubferry.Place {
			return hubferry.NewPlace(p.Namespace, p.Hub, p.Partition, "always the same", p.Index)
		})}},
	}
}

// errorString loses the class of an error.
func errorString(err error) error { return errors.New(err.Error()) }

func writeSabotages(over chan struct{}) []sabotage {
	return slices.Concat(runSabotages(), countSabotages(over), pipeSabotages(), tableSabotages())
}

func runSabotages() []sabotage {
	confirmed := func(r hubferry.Receipt, n int, err error) (hubferry.Receipt, error) {
		if err == nil {
			r.N = n
		}
		return r, err
	}
	return []sabotage{
		{name: "the last event of a run is dropped", by: "write/order", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			n := len(run.Events)
			run.Events = run.Events[:max(n-1, min(n, 1))]
			r, err := w.Writer.Write(ctx, run)
			return confirmed(r, n, err)
		}}},
		{name: "confirms before it stores", by: "write/order", says: "INV-1", b: broken{write: acksEarly}},
		{name: "keeps the run", by: "write/order", b: broken{write: keepsRun}},
		{name: "a run in disorder", by: "write/order", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			run.Events = slices.Clone(run.Events)
			if len(run.Events) > 1 {
				run.Events[0], run.Events[1] = run.Events[1], run.Events[0]
			}
			return w.Writer.Write(ctx, run)
		}}},
		{name: "stores twice", by: "write/order", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			if _, err := w.Writer.Write(ctx, run); err != nil {
				return hubferry.Receipt{}, err
			}
			return w.Writer.Write(ctx, run)
		}}},
		{name: "a receipt with a wrong position", by: "write/order", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			r.Last.Sequence++
			return r, err
		}}},
		{name: "goes by the key, not the run's partition", by: "write/chosen partition", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			for i, e := range run.Events {
				one := hubferry.Run{Partition: len(e.Key.String()) % 4, Events: run.Events[i : i+1]}
				if _, err := w.Writer.Write(ctx, one); err != nil {
					return hubferry.Receipt{N: i}, err
				}
			}
			return hubferry.Receipt{N: len(run.Events), Last: hubferry.Position{Sequence: -1}}, nil
		}}},
		{name: "an empty run is an event", by: "write/nothing", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			if len(run.Events) > 0 {
				return w.Writer.Write(ctx, run)
			}
			e := hubferry.NewEvent(&hubferry.Content{})
			_, err := w.Writer.Write(ctx, hubferry.Run{Partition: run.Partition, Events: []*hubferry.Event{&e}})
			return hubferry.Receipt{}, err
		}}},
		{name: "changes the events that it is given", by: "write/leaves events alone", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			for _, e := range run.Events {
				spoil(e, func(_ *hubferry.Event, c *hubferry.Content) { c.Properties.Set("seen", hubferry.Bool(true)) })
			}
			return r, err
		}}},
		{name: "a big run loses its middle", by: "write/more than a batch", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			n := len(run.Events)
			if n > 1000 {
				run.Events = slices.Concat(run.Events[:1000], run.Events[1001:])
			}
			r, err := w.Writer.Write(ctx, run)
			return confirmed(r, n, err)
		}}},
		{name: "partitions are mixed up", by: "write/partitions at once", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			w.mu.Lock()
			if w.n%5 == 0 {
				run.Partition = 0
			}
			w.mu.Unlock()
			return w.Writer.Write(ctx, run)
		}}},
	}
}

// acksEarly stores what it confirms when the next run comes.
func acksEarly(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
	w.mu.Lock()
	held := w.held
	w.held = nil
	for _, e := range run.Events {
		own := e.Share()
		w.held = append(w.held, &own)
	}
	w.mu.Unlock()
	if len(held) > 0 {
		if _, err := w.Writer.Write(ctx, hubferry.Run{Partition: run.Partition, Events: held}); err != nil {
			return hubferry.Receipt{}, err
		}
	}
	return hubferry.Receipt{N: len(run.Events), Last: hubferry.Position{Sequence: -1}}, nil
}

// keepsRun looks at the slice of the last run when the next one comes.
func keepsRun(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
	w.mu.Lock()
	held := w.held
	w.held = run.Events
	w.mu.Unlock()
	if len(held) > 0 {
		if _, err := w.Writer.Write(ctx, hubferry.Run{Partition: run.Partition, Events: held[:1]}); err != nil {
			return hubferry.Receipt{}, err
		}
	}
	return w.Writer.Write(ctx, run)
}

func countSabotages(over chan struct{}) []sabotage {
	high := func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
		r, err := w.Writer.Write(ctx, run)
		if err != nil {
			r.N = len(run.Events)
		}
		return r, err
	}
	return []sabotage{
		{name: "N too high after a refusal", by: "write/too large in the middle", b: broken{write: high}},
		{name: "N too low after a refusal", by: "write/too large in the middle", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			if err != nil {
				r.N = 0
			}
			return r, err
		}}},
		{name: "goes on behind a refused event", by: "write/too large in the middle", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			if err != nil && r.N+1 < len(run.Events) {
				_, _ = w.Writer.Write(ctx, hubferry.Run{Partition: run.Partition, Events: run.Events[r.N+1:]})
			}
			return r, err
		}}},
		{name: "a size that has no kind", by: "write/size limit", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			if err != nil {
				err = errorString(err)
			}
			return r, err
		}}},
		{name: "cuts what is too large", by: "write/size limit", b: broken{write: spoilRun(func(_ *hubferry.Event, c *hubferry.Content) {
			c.Body = c.Body[:min(len(c.Body), 60<<10)]
		})}},
		{name: "confirms without a context", by: "write/cancelled", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			if ctx.Err() != nil {
				return hubferry.Receipt{N: len(run.Events)}, nil //nolint:nilerr // this is the sabotage
			}
			return r, err
		}}},
		{name: "a context that ends is fatal", by: "write/cancelled", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			r, err := w.Writer.Write(ctx, run)
			if err != nil {
				err = &hubferry.Error{Kind: hubferry.Fatal, Op: "write", Err: err}
			}
			return r, err
		}}},
		{name: "ignores its context", by: "write/stalled", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			free, cancel := context.WithCancel(context.WithoutCancel(ctx))
			defer cancel()
			context.AfterFunc(ctx, func() { hang(over); cancel() })
			return w.Writer.Write(free, run)
		}}},
		{name: "N too high when nobody answered", by: "write/stalled", b: broken{write: high}},
		{name: "a cut connection is a confirmation", by: "write/cut", b: broken{write: cutConfirms}},
		{name: "a cut connection is fatal", by: "write/cut", b: broken{write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
			w.mu.Lock()
			n := w.n
			w.mu.Unlock()
			if n == 7 {
				return hubferry.Receipt{}, &hubferry.Error{Kind: hubferry.Fatal, Op: "write", Err: errors.New("connection reset")}
			}
			return w.Writer.Write(ctx, run)
		}}},
	}
}

// cutConfirms confirms a run that was not stored, now and then.
func cutConfirms(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
	w.mu.Lock()
	n := w.n
	w.mu.Unlock()
	if n == 9 {
		return hubferry.Receipt{N: len(run.Events), Last: hubferry.Position{Sequence: -1}}, nil
	}
	return w.Writer.Write(ctx, run)
}

func pipeSabotages() []sabotage {
	failed := &hubferry.Error{Kind: hubferry.Transient, Op: "submit", Err: errors.New("connection reset")}
	return []sabotage{
		{name: "runs are done in disorder", by: "write/submit", shape: "pipelined log", b: broken{
			submit: func(ctx context.Context, w *writer, run hubferry.Run, done func(hubferry.Receipt, error)) {
				r, err := w.Writer.Write(ctx, run)
				w.mu.Lock()
				w.n++
				first := w.n%2 == 1
				w.mu.Unlock()
				if first {
					time.AfterFunc(20*time.Millisecond, func() { done(r, err) })
					return
				}
				done(r, err)
			},
		}},
		{name: "later runs overtake one that failed", by: "write/submit and cut", shape: "pipelined log", b: broken{
			submit: func(ctx context.Context, w *writer, run hubferry.Run, done func(hubferry.Receipt, error)) {
				w.mu.Lock()
				w.n++
				n := w.n
				w.mu.Unlock()
				if n == 5 {
					done(hubferry.Receipt{}, failed)
					return
				}
				done(w.Writer.Write(ctx, run))
			},
		}},
	}
}

func tableSabotages() []sabotage {
	withWriter := func(change func(c hubferry.Committer, prev, next **hubferry.Checkpoint)) func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
		return func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
			c, ok := w.Writer.(hubferry.Committer)
			if !ok {
				return errors.New("no committer")
			}
			change(c, &prev, &next)
			return c.Commit(ctx, id, runs, prev, next)
		}
	}
	return []sabotage{
		{name: "does not fence", by: "commit", shape: "table", b: broken{commit: func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
			c, ok := w.Writer.(hubferry.Committer)
			if !ok {
				return errors.New("no committer")
			}
			if _, err := c.Adopt(ctx, id); err != nil {
				return err
			}
			return c.Commit(ctx, id, runs, prev, next)
		}}},
		{name: "does not compare", by: "commit", shape: "table", b: broken{commit: func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, _, next *hubferry.Checkpoint) error {
			c, ok := w.Writer.(hubferry.Committer)
			if !ok {
				return errors.New("no committer")
			}
			now, err := c.Adopt(ctx, id)
			if err != nil {
				return err
			}
			return c.Commit(ctx, id, runs, now, next)
		}}},
		{name: "the position is not in the transaction", by: "commit", shape: "table", b: broken{commit: withWriter(
			func(_ hubferry.Committer, prev, next **hubferry.Checkpoint) { *next = &hubferry.Checkpoint{} })}},
		{name: "does not name the event", by: "commit/all or nothing", says: "which event", shape: "table", b: broken{commit: func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
			c, ok := w.Writer.(hubferry.Committer)
			if !ok {
				return errors.New("no committer")
			}
			err := c.Commit(ctx, id, runs, prev, next)
			if e, ok := errors.AsType[*hubferry.Error](err); ok {
				e.Event = nil
			}
			return err
		}}},
		{name: "stores half of a transaction", by: "commit/all or nothing", shape: "table", b: broken{commit: func(ctx context.Context, w *writer, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
			_, err := w.Write(ctx, runs[0])
			return err
		}}},
	}
}

func lifeSabotages(over chan struct{}) []sabotage {
	secretly := func(err error) error {
		return &hubferry.Error{Kind: hubferry.NotFound, Op: "open", Err: fmt.Errorf("SharedAccessKey=%s: %w", secret, err)}
	}
	return []sabotage{
		{name: "an unknown hub has no kind", by: "unknown hub", b: broken{openWriter: errorString}},
		{name: "an error shows a secret", by: "unknown hub", says: "secret", b: broken{openWriter: secretly}},
		{name: "a bad credential has no kind", by: "bad credential", b: broken{openWriter: errorString}},
		{name: "a bad credential is shown", by: "bad credential", says: "secret", b: broken{connect: func(o hubferry.Options, err error) error {
			c, ok := o.(*mem.ConnectionOptions)
			if ok && c.Key.Reveal() != secret {
				return &hubferry.Error{Kind: hubferry.Unauthorized, Op: "connect with " + c.Key.Reveal()}
			}
			return err
		}}},
		{name: "Close is forgotten", by: "use after close", b: broken{closeWriter: func(context.Context, *writer) error { return nil }}},
		{name: "the target's Close leaves its writers", by: "use after close", b: broken{closeTarget: func(context.Context, *target) error { return nil }}},
		{name: "the second Close fails", by: "close twice", b: broken{closeTarget: func(ctx context.Context, t *target) error {
			if _, err := t.Target.Open(ctx, "hub", hubferry.Trail{}); err != nil {
				return err
			}
			return t.Target.Close(ctx)
		}}},
		{name: "a goroutine is left", by: "read/order", says: "goroutine is left", b: broken{closeReader: func(ctx context.Context, r *reader) error {
			go hang(over)
			return r.Reader.Close(ctx)
		}}},
		{name: "Close hangs", by: "close twice", says: "does not end", b: broken{closeWriter: func(ctx context.Context, w *writer) error {
			hang(over)
			return w.Writer.Close(ctx)
		}}},
		{name: "the namespace is not that of the places", by: "options", b: broken{namespace: func() string { return "alias" }}},
	}
}
