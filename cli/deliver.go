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
	writer    hubferry.Writer
	layout    *hubferry.Layout
	partition int // the only one, or -1
	turn      int // of the partitions, for events without a key
	runs      [][]*hubferry.Event
}

// deliver writes what arrives, gathering while writes are under way. It ends when there is
// no more, at an interrupt, or when something cannot be written.
func deliver(ctx context.Context, f *sendFlags, w hubferry.Writer, l *hubferry.Layout, in <-chan *hubferry.Event) (sent, error) {
	writing, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, stop) })()
	d := &delivery{writer: w, layout: l, partition: f.partition, runs: make([][]*hubferry.Event, len(l.Places))}
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
		p := d.route(event)
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

// route returns the partition of an event. Those without a key go where the turn is.
func (d *delivery) route(event *hubferry.Event) int {
	switch {
	case d.partition >= 0:
		return d.partition
	case event.Key.Kind != hubferry.NoKey && d.layout.Partition != nil:
		return d.layout.Partition(event.Key, len(d.layout.Places))
	default:
		return d.turn
	}
}

// write writes all runs at once, empties them, and counts what is confirmed.
func (d *delivery) write(ctx context.Context, s *sent) error {
	var all sync.WaitGroup
	counts, errs := make([]sent, len(d.runs)), make([]error, len(d.runs))
	for p, events := range d.runs {
		if len(events) > 0 {
			all.Go(func() { errs[p] = d.writeRun(ctx, hubferry.Run{Partition: p, Events: events}, &counts[p]) })
		}
	}
	all.Wait()
	clear(d.runs)
	d.turn = (d.turn + 1) % len(d.layout.Places)
	for _, c := range counts {
		s.Events += c.Events
		s.Bytes += c.Bytes
	}
	return errors.Join(errs...)
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
		select {
		case <-time.After(time.Duration(attempt) * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
