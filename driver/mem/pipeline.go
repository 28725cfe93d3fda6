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
type pipeWriter struct {
	*logWriter
	mu    sync.Mutex
	pipes map[int]*pipe
}

// pipe is what is in flight for one partition.
type pipe struct {
	queue []submitted
	busy  bool
	room  chan struct{} // closed and renewed when there is room
}

type submitted struct {
	ctx  context.Context //nolint:containedctx // of the caller that waits for this run
	run  hubferry.Run
	done func(hubferry.Receipt, error)
}

func newPipeWriter(w *writer) *pipeWriter {
	return &pipeWriter{logWriter: &logWriter{w}, pipes: map[int]*pipe{}}
}

// Submit implements hubferry.Submitter. It waits while HubOptions.Pipeline runs are in
// flight. When a run fails, all that were submitted after it fail too.
func (w *pipeWriter) Submit(ctx context.Context, run hubferry.Run, done func(hubferry.Receipt, error)) {
	for {
		w.mu.Lock()
		p := w.pipes[run.Partition]
		if p == nil {
			p = &pipe{room: make(chan struct{})}
			w.pipes[run.Partition] = p
		}
		if len(p.queue) < w.hub.options.Pipeline {
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
		case <-ctx.Done():
			done(hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}, ctx.Err())
			return
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
		s := p.queue[0]
		w.mu.Unlock()
		receipt, err := w.Write(s.ctx, s.run)
		w.mu.Lock()
		fate := p.queue[:1:1]
		if err != nil {
			fate = p.queue
			p.queue = nil
		} else {
			p.queue = p.queue[1:]
		}
		close(p.room)
		p.room = make(chan struct{})
		w.mu.Unlock()
		s.done(receipt, err)
		for _, later := range fate[1:] {
			later.done(hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}, err)
		}
	}
}
