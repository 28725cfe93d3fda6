package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		err = w.session(ctx, open)
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
			return w.gap(err)
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

// session reads with one reader until it fails or ctx ends, which is also when a person
// pauses; stop ends with a clean stop only.
func (w *worker) session(stop, ctx context.Context) error {
	info, err := w.identify(ctx)
	if err != nil {
		return err
	}
	if err := w.arrived(info); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer w.looking.Wait()
	defer cancel()
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
		n, gap := w.contiguous(ctx, &in)
		if gap != nil {
			if n == 0 {
				return gap
			}
			in.Events, in.Next = in.Events[:n], in.Events[n-1].Pos // what lies before it is moved
		}
		w.working()
		if err := w.take(stop, &in); err != nil {
			return err
		}
		if gap != nil {
			return gap
		}
	}
}

// take takes a batch out of the reader's hands and passes it to the loop. A pause does
// not interrupt it: what was read is delivered. A stop does, while there is no budget for
// it, or too much before it: what uses the budget up may wait for long.
func (w *worker) take(stop context.Context, in *hubferry.Batch) error {
	if len(in.Events) == 0 && in.Next.Sequence <= w.next.Sequence {
		return nil
	}
	var bytes int64
	for i := range in.Events {
		bytes += int64(in.Events[i].Size())
	}
	if err := w.keepPace(stop); err != nil {
		return err
	}
	if err := w.budget.acquire(stop, bytes, w.press); err != nil {
		return err
	}
	events, free := in.Events, in.Free
	if free == nil {
		events = slices.Clone(events)
	} else if !w.lends {
		free = nil
	}
	b := w.tracker.add(events, in.Next, bytes, free)
	w.next = in.Next
	w.noteRead(len(in.Events), in.Next, in.End)
	select {
	case w.batches <- b:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// maxAhead is how much may wait in a lane, by Event.Size, before a worker reads on: a run of
// a good size is always ready then, and more would only lie in memory.
const maxAhead = 1 << 20

// keepPace waits while what was read waits for targets that are slower than the source.
func (w *worker) keepPace(stop context.Context) error {
	for w.waiting.Load() > w.mayWait {
		select {
		case <-w.taken:
		case <-stop.Done():
			return stop.Err()
		case <-w.ctx.Done():
			return w.ctx.Err()
		}
	}
	return nil
}

// mayWait returns how much may wait for a route: as much for each of the lanes that the
// partition's events go to.
func (m layout) mayWait() int64 {
	if m.Source == m.Target {
		return maxAhead
	}
	return int64(m.Target) * maxAhead
}

// identify checks that the hub is still the one that the position belongs to (G-1), and
// returns what the source says of the partition.
func (w *worker) identify(ctx context.Context) (*hubferry.PartitionInfo, error) {
	info, err := w.describe(ctx)
	if err != nil {
		return nil, err
	}
	// An answer may be a moment old, and what we have read younger: a position beyond the
	// end is only believed when it stays so. What a position with an epoch has become is for
	// the reader to say, which knows where the log was cut back.
	beyond := func() bool { return w.next.Sequence > info.End.Sequence && w.next.Epoch == 0 }
	for range 3 {
		if !beyond() {
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
	if beyond() {
		w.recreated = true
		return nil, w.gapError(info.End.Sequence+1, w.next.Sequence,
			fmt.Sprintf("the checkpoint is at event %d but the last event there is %d: the hub is not the one it was",
				w.next.Sequence, info.End.Sequence))
	}
	return info, nil
}

// describe asks the source about the partition.
func (w *worker) describe(ctx context.Context) (*hubferry.PartitionInfo, error) {
	found, err := w.survey(ctx)
	if err != nil {
		return nil, err
	}
	info := found.info
	if info == nil {
		w.recreated = true
		return nil, w.gapError(w.next.Sequence+1, w.next.Sequence, "the hub has no such partition any more")
	}
	w.noteEnd(info.End)
	return info, nil
}

// pressed asks the loop to flush what editors hold, because the window is full of it.
func (w *worker) pressed() { signal(w.full) }

// contiguous compares what was read with what should come next (G-2), and returns how many
// events come before a gap that nothing is moved behind. Where onGap says to continue, what
// was read behind a gap is moved: the source may not have it any more.
func (w *worker) contiguous(ctx context.Context, in *hubferry.Batch) (int, error) {
	expected := w.next.Sequence + 1
	if w.sparse {
		if err := w.look(ctx, in); err != nil {
			return 0, err
		}
	}
	told := false
	for i := range in.Events {
		got := in.Events[i].Pos.Sequence
		var gap error
		switch {
		case got == expected:
		case got < expected:
			w.recreated = true
			return i, w.gapError(expected, expected-1, fmt.Sprintf("event %d came after event %d", got, expected-1))
		case !w.sparse:
			gap = w.missing(w.gapError(expected, got-1, ""))
		case w.holes.begin.Sequence < expected:
			w.pass(ctx, expected, got-1)
		case !told:
			told = true
			gap = w.missing(w.holesInHand(in.Events[i:], expected))
		}
		if gap != nil {
			return i, gap
		}
		expected = got + 1
	}
	return len(in.Events), nil
}

// missing obeys onGap where what is in hand can be moved: it returns the gap, or counts it.
func (w *worker) missing(gap error) error {
	if w.OnGap != OnGapContinue {
		return gap
	}
	w.count(func(c *hubferry.Counts) { c.Gaps++ })
	w.log.Warn("events are missing, going on as onGap says", "partition", w.place.Partition, "error", gap)
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

// gap obeys onGap where the reader cannot go on: it returns the error, or asks for a new
// worker. What is missing may have been read already, if a log was cut back: then what has
// its place now is read.
func (w *worker) gap(err error) error {
	if err := w.missing(err); err != nil {
		return err
	}
	var again restartError
	if e, ok := errors.AsType[*hubferry.Error](err); ok && !w.recreated && e.From <= min(e.To, w.next.Sequence) {
		again.cut = &hubferry.Position{Sequence: e.From - 1}
	}
	return again
}

// restartError asks for a new worker that begins at the hub's first retained event, or where
// its log was cut back.
type restartError struct {
	cut *hubferry.Position // nil if it was not
}

func (restartError) Error() string { return "the partition begins anew" }

// retrying and working tell people what the worker is doing.
func (w *worker) retrying(err error, d time.Duration) {
	w.count(func(c *hubferry.Counts) { c.Retries++ })
	w.setState(hubferry.Retrying, err)
	level := retryLevel(d)
	w.sourceIll = w.sourceIll || level > slog.LevelDebug
	w.log.Log(w.ctx, level, "retrying", "partition", w.place.Partition, "in", d.Round(time.Millisecond), "error", err)
}

func (w *worker) working() {
	w.setState(hubferry.Running, nil)
	if w.sourceIll {
		w.sourceIll = false
		w.log.Info("source works again", "partition", w.place.Partition)
	}
}
