package mem

import (
	"context"
	"sync"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Writer    = (*pipeWriter)(nil)
	_ hubferry.Tailer    = (*pipeWriter)(nil)
	_ hubferry.Submitter = (*pipeWriter)(nil)
)

// pipeWriter has several runs of one partition in flight. A goroutine per partition
// stores them; it lives while there are runs.
//
// After a run failed, every Submit for its partition fails with Aborted until a Write
// has succeeded. A caller that submits from one goroutine and learns of failures in
// another could otherwise store a run behind one that failed.
type pipeWriter struct {
	*logWriter
	mu    sync.Mutex
	pipes map[int]*pipe
}

// pipe is what is in flight for one partition.
type pipe struct {
	queue  []submitted
	busy   bool
	failed bool          // a run failed and no Write came since
	room   chan struct{} // closed and renewed when there is room
}

type submitted struct {
	ctx  context.Context //nolint:containedctx // of the caller that waits for this run
	run  hubferry.Run
	done func(hubferry.Receipt, error)
}

func newPipeWriter(w *writer) *pipeWriter {
	return &pipeWriter{logWriter: &logWriter{w}, pipes: map[int]*pipe{}}
}

// pipe returns the pipe of a partition, under the lock.
func (w *pipeWriter) pipe(partition int) *pipe {
	p := w.pipes[partition]
	if p == nil {
		p = &pipe{room: make(chan struct{})}
		w.pipes[partition] = p
	}
	return p
}

// Write implements hubferry.Writer.
func (w *pipeWriter) Write(ctx context.Context, run hubferry.Run) (hubferry.Receipt, error) {
	receipt, err := w.logWriter.Write(ctx, run)
	if err == nil {
		w.mu.Lock()
		w.pipe(run.Partition).failed = false
		w.mu.Unlock()
	}
	return receipt, err
}

// Submit implements hubferry.Submitter. It waits while HubOptions.Pipeline runs are in
// flight.
func (w *pipeWriter) Submit(ctx context.Context, run hubferry.Run, done func(hubferry.Receipt, error)) {
	for {
		w.mu.Lock()
		p := w.pipe(run.Partition)
		if len(p.queue) < w.hub.options.Pipeline || ctx.Err() != nil {
			p.queue = append(p.queue, submitted{ctx, run, done})
			start := !p.busy
			p.busy = true
			w.mu.Unlock()
			if start {
				go w.drain(p)
			}
			return
		}
		room := p.room
		w.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done(): // it is queued all the same, to fail in its turn
		}
	}
}

// drain stores what is queued for a partition, until there is nothing.
func (w *pipeWriter) drain(p *pipe) {
	for {
		w.mu.Lock()
		if len(p.queue) == 0 {
			p.busy = false
			w.mu.Unlock()
			return
		}
		s, failed := p.queue[0], p.failed
		w.mu.Unlock()
		receipt := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}
		err := w.ready(s.ctx, "write to")
		switch {
		case err != nil:
		case failed:
			err = &hubferry.Error{Kind: hubferry.Aborted, Op: "write", Place: w.hub.place(s.run.Partition), Hint: "an earlier run failed; write again from it"}
		default:
			receipt, err = w.logWriter.Write(s.ctx, s.run)
		}
		w.mu.Lock()
		p.failed = p.failed || err != nil
		p.queue = p.queue[1:]
		close(p.room)
		p.room = make(chan struct{})
		w.mu.Unlock()
		s.done(receipt, err)
	}
}
