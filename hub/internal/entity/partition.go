package entity

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// Entry, Record, Batch, Span and Info are those of the partition's log.
type (
	// Entry is an event to be stored. Set FlagTombstone for an event
	// without content (no body, or an empty one).
	Entry = seglog.Entry
	// Record is a stored event.
	Record = seglog.Record
	// Batch is the result of a Read and its memory.
	Batch = seglog.Batch
	// Span says where a batch was stored.
	Span = seglog.Span
	// Info is a snapshot of a partition's ends.
	Info = seglog.Info
)

// Flags of entries and records.
const (
	FlagKey       = seglog.FlagKey
	FlagTombstone = seglog.FlagTombstone
)

// Partition is one partition of a hub.
type Partition struct {
	hub   *Hub
	index int
	id    string
	log   *seglog.Log
}

// Hub returns the hub.
func (p *Partition) Hub() *Hub { return p.hub }

// ID returns the partition's id, its decimal index.
func (p *Partition) ID() string { return p.id }

// Index returns the partition's number.
func (p *Partition) Index() int { return p.index }

// Submit stores a batch, all of it or nothing, and calls done exactly once
// when it is as durable as the fsync policy asks. Batches that one goroutine
// submits to a partition complete in order. done may run on the caller's
// goroutine before Submit returns, must not block and must not call Submit.
// The bytes behind entries may be reused as soon as Submit has returned.
//
// Errors are *Error: EntityDisabled, why the hub has ended, ArgumentError for
// an empty batch, MessageSizeExceeded for one that no segment can hold, and
// ServerBusy when the disk is full or fails: the client's retries find out
// when it works again.
func (p *Partition) Submit(entries []Entry, done func(Span, error)) {
	if e := p.refuses(); e != nil {
		done(Span{}, e)
		return
	}
	p.log.Submit(entries, func(s Span, err error) {
		if err != nil {
			done(Span{}, p.appendError(err))
			return
		}
		done(s, nil)
	})
}

// Append is Submit that waits. When ctx ends first the batch may or may not
// be stored.
func (p *Partition) Append(ctx context.Context, entries []Entry) (Span, error) {
	if e := p.refuses(); e != nil {
		return Span{}, e
	}
	s, err := p.log.Append(ctx, entries)
	if err != nil && ctx.Err() == nil {
		err = p.appendError(err)
	}
	return s, err
}

// refuses returns why nothing can be stored, or nil.
func (p *Partition) refuses() *Error {
	if e := p.hub.ended.Load(); e != nil {
		return e
	}
	if !p.hub.state.Load().spec.Status.sends() {
		return disabled(p.hub.ns.o.Name, p.hub.name)
	}
	return nil
}

func (p *Partition) appendError(err error) *Error {
	switch {
	case errors.Is(err, seglog.ErrBatch):
		return &Error{Condition: MessageSizeExceeded, Status: 413, Text: "The batch cannot be stored: it is empty or too large."}
	case errors.Is(err, seglog.ErrClosed):
		if e := p.hub.ended.Load(); e != nil {
			return e
		}
		return shutdown()
	}
	p.hub.ns.storageFailed(p, err)
	return &Error{
		Condition: ServerBusy, Status: 503,
		Text: "The server cannot store events at this time: its disk is full or fails. Please try again after 10 seconds.",
	}
}

// Read fills b with the records from sequence number from on: at most
// maxRecords, and no more once maxBytes of messages are there; at least one
// if there is any, however large. It may return fewer than there are. It does
// not wait: at the end b.Records is empty (see Watch). A from below the
// retained range starts at its begin.
func (p *Partition) Read(from int64, maxBytes, maxRecords int, b *Batch) error {
	return p.readError(p.log.Read(from, maxBytes, maxRecords, b))
}

func (p *Partition) readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, seglog.ErrClosed):
		if e := p.hub.ended.Load(); e != nil {
			return e
		}
		return shutdown()
	}
	p.hub.ns.storageFailed(p, err)
	return &Error{
		Condition: InternalError, Status: 500,
		Text: fmt.Sprintf("The server cannot read partition %s of '%s': %v", p.id, p.hub.name, err),
	}
}

// Info returns a snapshot of the partition's ends. It shows every batch whose
// done was called.
func (p *Partition) Info() Info { return p.log.Info() }

// Watch registers fn to be called after records became readable. fn must not
// block and must not call the partition; it may be called late once more
// after stop. One call may stand for many appends.
func (p *Partition) Watch(fn func()) (stop func()) { return p.log.Watch(fn) }

// Resolve fixes a start position: the sequence number to read from. An offset
// or sequence number beyond the last event is an ArgumentError with the
// service's text. A time in the future resolves to the end: use [Start.Skips]
// on what is read from there.
func (p *Partition) Resolve(s Start) (int64, error) {
	info := p.log.Info()
	switch s.Kind {
	case StartLatest:
		if s.Inclusive && !info.Empty {
			return info.Last, nil
		}
		return info.Last + 1, nil
	case StartSequence:
		if s.Value > info.Last {
			return 0, invalidSequence(s.Value, info.Last)
		}
		if !s.Inclusive {
			s.Value++
		}
		return max(s.Value, info.Begin), nil
	case StartOffset:
		if s.Value > info.LastOffset {
			return 0, invalidOffset(s.Value, info.LastOffset)
		}
		if !s.Inclusive {
			s.Value++
		}
		seq, err := p.log.SeekOffset(s.Value)
		return seq, p.readError(err)
	case StartTime:
		if !s.Inclusive && s.Value < math.MaxInt64 {
			s.Value++
		}
		seq, err := p.log.SeekTime(s.Value)
		return seq, p.readError(err)
	default:
		return info.Begin, nil
	}
}

func invalidOffset(offset, last int64) *Error {
	return &Error{
		Condition: ArgumentError, Status: 400,
		Text: fmt.Sprintf("The supplied offset '%d' is invalid. The last offset in the system is '%d'", offset, last),
	}
}

func invalidSequence(sequence, last int64) *Error {
	return &Error{
		Condition: ArgumentError, Status: 400,
		Text: fmt.Sprintf("The supplied sequence number '%d' is invalid. The last sequence number in the system is '%d'", sequence, last),
	}
}
