package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// grace is how long a write that is under way may go on after an interrupt.
const grace = 5 * time.Second

// delivery writes events in runs, one per partition at a time.
type delivery struct {
	writer  hubferry.Writer
	route   route
	written func(*hubferry.Event) // if not nil, is told of each event of a round that is confirmed as a whole
	turn    int
	runs    [][]*hubferry.Event
}

// deliver writes what arrives, gathering while writes are under way. It ends when there is
// no more, at an interrupt, or when something cannot be written.
func (d *delivery) deliver(ctx context.Context, partitions int, in <-chan *hubferry.Event) (sent, error) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })()
	d.runs = make([][]*hubferry.Event, partitions)
	var s sent
	began := time.Now()
	for {
		select {
		case event, more := <-in:
			if !more {
				s.Seconds = time.Since(began).Seconds()
				return s, nil
			}
			d.gather(event, in)
			err := d.write(writing, &s)
			s.Seconds = time.Since(began).Seconds()
			if err != nil {
				return s, err
			}
		case <-ctx.Done():
			s.Seconds = time.Since(began).Seconds()
			return s, nil
		}
	}
}

// gather puts an event, and what else is there already, into the runs.
func (d *delivery) gather(event *hubferry.Event, in <-chan *hubferry.Event) {
	const most = 5000
	for n := 1; ; n++ {
		p := d.route(event, d.turn)
		d.runs[p] = append(d.runs[p], event)
		if n == most {
			return
		}
		select {
		case next, more := <-in:
			if !more {
				return
			}
			event = next
		default:
			return
		}
	}
}

// route chooses the partition of an event. The turn goes round the partitions with every
// round of writes.
type route func(e *hubferry.Event, turn int) int

// spread routes to the only partition if there is one (else -1), by the key, or, without
// one, to the partition whose turn it is.
func spread(l *hubferry.Layout, only int) route {
	return func(e *hubferry.Event, turn int) int {
		switch {
		case only >= 0:
			return only
		case e.Key.Kind != hubferry.NoKey && l.Partition != nil:
			return l.Partition(e.Key, len(l.Places))
		default:
			return turn
		}
	}
}

// write writes all runs at once, empties them, and counts what is confirmed.
func (d *delivery) write(ctx context.Context, s *sent) error {
	defer clear(d.runs)
	var all sync.WaitGroup
	counts, errs := make([]sent, len(d.runs)), make([]error, len(d.runs))
	for p, events := range d.runs {
		if len(events) > 0 {
			all.Go(func() { errs[p] = d.writeRun(ctx, hubferry.Run{Partition: p, Events: events}, &counts[p]) })
		}
	}
	all.Wait()
	d.turn = (d.turn + 1) % len(d.runs)
	for _, c := range counts {
		s.Events += c.Events
		s.Bytes += c.Bytes
	}
	err := errors.Join(errs...)
	if err == nil && d.written != nil {
		for _, events := range d.runs {
			for _, e := range events {
				d.written(e)
			}
		}
	}
	return err
}

// writeRun writes the events of one partition. Blips are retried, in order.
func (d *delivery) writeRun(ctx context.Context, run hubferry.Run, s *sent) error {
	const attempts = 5
	for attempt := 1; ; attempt++ {
		receipt, err := d.writer.Write(ctx, run)
		for _, e := range run.Events[:receipt.N] {
			s.Events++
			if c, err := e.Content(); err == nil {
				s.Bytes += int64(c.Size())
			}
		}
		run.Events = run.Events[receipt.N:]
		if err == nil && len(run.Events) == 0 {
			return nil
		}
		if receipt.N > 0 {
			attempt = 0
		}
		kind := hubferry.KindOf(err)
		if err != nil && (attempt == attempts || ctx.Err() != nil || (kind != hubferry.Transient && kind != hubferry.Throttled)) {
			return err
		}
		if err := wait(ctx, time.Duration(attempt)*time.Second); err != nil {
			return err
		}
	}
}

// wait pauses for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
