package entity

import (
	"context"
	"fmt"

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
// when it is as durable as the fsync policy asks. Batches of a partition
// complete in order. done may run on the caller's goroutine before Submit
// returns, must not block and must not call Submit. The bytes behind entries
// may be reused as soon as Submit has returned. Errors are *Error: disabled
// hub, deleted hub, full disk (server busy).
func (p *Partition) Submit(entries []Entry, done func(Span, error)) {
	p.log.Submit(entries, done)
}

// Append is Submit that waits. When ctx ends first the batch may or may not
// be stored.
func (p *Partition) Append(ctx context.Context, entries []Entry) (Span, error) {
	return p.log.Append(ctx, entries)
}

// Read fills b with the records from sequence number from on: at most
// maxRecords, and no more once maxBytes of messages are there; at least one
// if there is any, however large. It does not wait: at the end b.Records is
// empty (see Watch). A from below the retained range starts at its begin.
func (p *Partition) Read(from int64, maxBytes, maxRecords int, b *Batch) error {
	return p.log.Read(from, maxBytes, maxRecords, b)
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
		return p.log.SeekOffset(s.Value)
	case StartTime:
		if !s.Inclusive {
			s.Value++
		}
		return p.log.SeekTime(s.Value)
	default:
		return info.Begin, nil
	}
}

// Skips reports whether a record lies before s: only possible when s is a
// time that was in the future at Resolve.
func (s Start) Skips(r *Record) bool {
	return s.Kind == StartTime && (r.Enqueued < s.Value || r.Enqueued == s.Value && !s.Inclusive)
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
