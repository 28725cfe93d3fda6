package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// maxRead bounds one Read. Larger batches gain nothing; smaller ones settle sooner.
const maxRead = 1000

// fetch reads the partition into w.batches until ctx ends or something needs a decision.
// It opens the reader again after errors that pass, and after a pause.
func (w *worker) fetch(ctx context.Context) error {
	attempt := 0
	for {
		open, cancel, err := w.gate.pass(ctx)
		if err != nil {
			return nil //nolint:nilerr // a clean stop is no error
		}
		before := w.next
		err = w.session(open)
		paused := open.Err() != nil
		cancel()
		switch {
		case ctx.Err() != nil || w.ctx.Err() != nil:
			return nil //nolint:nilerr // a clean stop is no error; else the worker knows its cause
		case paused:
			attempt = 0
			w.pressed() // what was read is delivered, also what editors hold
			continue
		case errors.Is(err, hubferry.ErrEnd):
			return err
		}
		if w.next != before {
			attempt = 0
		}
		switch hubferry.KindOf(err) {
		case hubferry.Lost, hubferry.Fatal:
			return err
		case hubferry.Gap:
			if err := w.gap(err); err != nil {
				return err
			}
			continue
		default:
		}
		attempt++
		d, again := w.Retry.delay(attempt, err)
		if !again {
			return gaveUp(attempt-1, err)
		}
		w.retrying(err, d)
		_ = sleep(ctx, d) // the next round sees why
	}
}

// session reads with one reader until it fails.
func (w *worker) session(ctx context.Context) error {
	fresh, err := w.identify(ctx)
	if err != nil {
		return err
	}
	reader, err := w.claim.Open(ctx, w.next)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = reader.Close(ctx) // nothing depends on it
	}()
	w.working()
	in := hubferry.Batch{Next: w.next}
	for {
		room, err := w.tracker.waitRoom(ctx, w.pressed)
		if err != nil {
			return err
		}
		in.Limit = hubferry.Limit{Events: min(room, maxRead), Bytes: w.readBytes}
		if err := reader.Read(ctx, &in); err != nil {
			return err
		}
		if err := w.contiguous(&in, fresh); err != nil {
			return err
		}
		fresh = nil
		w.working()
		if err := w.take(&in); err != nil {
			return err
		}
	}
}

// take copies a batch out of the reader's hands and passes it to the loop. A pause does
// not interrupt it: what was read is delivered.
func (w *worker) take(in *hubferry.Batch) error {
	if len(in.Events) == 0 && in.Next.Sequence <= w.next.Sequence {
		return nil
	}
	var bytes int64
	for i := range in.Events {
		bytes += int64(in.Events[i].Size())
	}
	if err := w.budget.acquire(w.ctx, bytes, w.press); err != nil {
		return err
	}
	b := w.tracker.add(slices.Clone(in.Events), in.Next, bytes)
	w.next = in.Next
	w.noteRead(len(in.Events), in.Next, in.End)
	select {
	case w.batches <- b:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// identify checks that the hub is still the one that the position belongs to (G-1), and
// returns what the source says of the partition.
func (w *worker) identify(ctx context.Context) (*hubferry.PartitionInfo, error) {
	info, err := w.describe(ctx)
	if err != nil {
		return nil, err
	}
	// An answer may be a moment old, and what we have read younger: a position beyond the
	// end is only believed when it stays so.
	for range 3 {
		if w.next.Sequence <= info.End.Sequence {
			break
		}
		if err := sleep(ctx, time.Second); err != nil {
			return nil, err
		}
		if info, err = w.describe(ctx); err != nil {
			return nil, err
		}
	}
	if was, is := w.incarnation, info.Place.Incarnation; was != "" && is != "" && was != is {
		w.recreated = true
		return nil, w.gapError(w.next.Sequence+1, w.next.Sequence, "the hub was deleted and created again")
	}
	if w.next.Sequence > info.End.Sequence {
		w.recreated = true
		return nil, w.gapError(info.End.Sequence+1, w.next.Sequence,
			fmt.Sprintf("the checkpoint is at event %d but the last event there is %d: the hub is not the one it was",
				w.next.Sequence, info.End.Sequence))
	}
	return info, nil
}

// describe asks the source about the partition.
func (w *worker) describe(ctx context.Context) (*hubferry.PartitionInfo, error) {
	infos, err := w.partitions(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(infos, func(p hubferry.PartitionInfo) bool { return p.Place.Index == w.place.Index })
	if i < 0 {
		w.recreated = true
		return nil, w.gapError(w.next.Sequence+1, w.next.Sequence, "the hub has no such partition any more")
	}
	w.noteEnd(infos[i].End)
	return &infos[i], nil
}

// pressed asks the loop to flush what editors hold, because the window is full of it.
func (w *worker) pressed() { signal(w.full) }

// contiguous compares what was read with what should come next (G-2). Fresh is what the
// source said when the reader was opened, nil after the first read.
func (w *worker) contiguous(in *hubferry.Batch, fresh *hubferry.PartitionInfo) error {
	expected := w.next.Sequence + 1
	for i := range in.Events {
		got := in.Events[i].Pos.Sequence
		switch {
		case got == expected:
		case got < expected:
			w.recreated = true
			return w.gapError(expected, expected-1, fmt.Sprintf("event %d came after event %d", got, expected-1))
		case !w.sparse:
			// Continuing takes up what is there, from just before it.
			w.skipTo = &hubferry.Position{Sequence: got - 1}
			return w.gapError(expected, got-1, "")
		case fresh != nil && i == 0 && fresh.Begin.Sequence >= expected:
			w.skipTo = &fresh.Begin
			return w.gapError(expected, min(fresh.Begin.Sequence, got-1), "")
		}
		expected = got + 1
	}
	return nil
}

func (w *worker) gapError(from, to int64, cause string) error {
	e := &hubferry.Error{
		Kind: hubferry.Gap, Op: "read", Place: w.place, From: from, To: to,
		Hint: "set onGap: continue to accept the loss and go on with what is there",
	}
	if cause != "" {
		e.Err = errors.New(cause)
	}
	if !w.recreated && to >= from && !w.sparse {
		e.Hint += "; if the hub is compacted, set compacted: true on the source"
	}
	return e
}

// gap obeys the onGap policy: it returns the error, or moves past the gap.
func (w *worker) gap(err error) error {
	if w.OnGap != OnGapContinue {
		return err
	}
	w.count(func(c *hubferry.Counts) { c.Gaps++ })
	w.log.Warn("events are missing, going on as onGap says", "partition", w.place.Partition, "error", err)
	if w.recreated || w.skipTo == nil {
		return errRestart
	}
	w.next, w.skipTo = *w.skipTo, nil
	return nil
}

// errRestart asks for a new worker that begins at the hub's first retained event.
var errRestart = errors.New("the partition begins anew")

// retrying and working tell people what the worker is doing.
func (w *worker) retrying(err error, d time.Duration) {
	w.count(func(c *hubferry.Counts) { c.Retries++ })
	w.setState(hubferry.Retrying, err)
	w.log.Log(w.ctx, retryLevel(d), "retrying", "partition", w.place.Partition, "in", d.Round(time.Millisecond), "error", err)
}

func (w *worker) working() { w.setState(hubferry.Running, nil) }
