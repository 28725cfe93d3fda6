package entity

import "time"

// StartKind says by what a start position is given.
type StartKind uint8

// The kinds of start positions.
const (
	// StartEarliest is the first retained event.
	StartEarliest StartKind = iota
	// StartLatest is the end; inclusive is the last event before it.
	StartLatest
	// StartOffset is Start.Value as an offset.
	StartOffset
	// StartSequence is Start.Value as a sequence number.
	StartSequence
	// StartTime is Start.Value as milliseconds since the Unix epoch.
	StartTime
)

// Start is where a receiver wants to begin.
type Start struct {
	Kind StartKind
	// Value is the offset, sequence number or time; it may be negative.
	Value int64
	// Inclusive is ">=": an event exactly at the position is delivered too.
	Inclusive bool
}

// AtTime is the inclusive start at a time.
func AtTime(t time.Time) Start {
	return Start{Kind: StartTime, Value: t.UnixMilli(), Inclusive: true}
}

// Skips reports whether a record lies before s: only possible when s is a
// time that was in the future at Resolve.
func (s Start) Skips(r *Record) bool {
	return s.Kind == StartTime && (r.Enqueued < s.Value || r.Enqueued == s.Value && !s.Inclusive)
}
