package hubferry

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrEnd is returned by a Reader that was opened for what there was (a tail) and has
// delivered all of it.
var ErrEnd = errors.New("end of the partition")

// ErrClosed is returned by every method of a Source, Target, Reader or Writer after
// its Close.
var ErrClosed = errors.New("already closed")

// ErrorKind is the class of an error, which decides what the engine does about it.
// Drivers classify, the engine retries.
type ErrorKind uint8

// The kinds of an Error.
const (
	// Fatal is an error that no retry helps: a bug, a protocol that does not fit.
	Fatal ErrorKind = iota
	// Transient is an error that is expected to pass: a cut connection, a time-out.
	Transient
	// Throttled asks for a pause of at least Error.After.
	Throttled
	// Aborted is a transaction that must be begun again.
	Aborted
	// NotFound is a hub, partition or consumer group that does not exist.
	NotFound
	// Unauthorized is a credential that is wrong, expired or lacks a right.
	Unauthorized
	// TooLarge is an event that the target cannot take because of its size: poison.
	TooLarge
	// Refused is an event or request that the service will never take: poison.
	Refused
	// Gap is a source that no longer has the next event (INV-7), see From and To.
	Gap
	// Lost is a partition that another owner has taken (INV-9).
	Lost
)

var errorKindNames = [...]string{
	"fatal", "transient", "throttled", "aborted", "not found", "unauthorized",
	"too large", "refused", "gap", "ownership lost",
}

// String returns the name of the kind in lower case, such as "not found".
func (k ErrorKind) String() string {
	if int(k) < len(errorKindNames) {
		return errorKindNames[k]
	}
	return fmt.Sprintf("kind(%d)", int(k))
}

// Poison reports whether the error is about one event, so that the task's onError
// policy decides, rather than about the service.
func (k ErrorKind) Poison() bool { return k == TooLarge || k == Refused }

// Error is the error of a driver, an editor or a store. Its text names the
// operation, the place and what to do; it never holds a secret (INV-8).
type Error struct {
	Kind  ErrorKind
	Op    string // what was being done: "send", "open receiver"
	Place *Place // where, if it concerns one partition
	// Unsure says that a write MAY be durable although it failed (G-9): the answer
	// was lost or late.
	Unsure bool
	After  time.Duration // Throttled: the least time to wait; 0 if the service named none
	// Event is the event that a TooLarge or Refused is about, where a call takes several
	// and does not say otherwise which one it is: one of those that Commit was given.
	Event *Event
	// From and To are the first and last missing sequence number of a Gap. To is less
	// than From when the range is not known.
	From, To int64
	Hint     string // what the operator can do about it
	Err      error
}

// Error returns "op place: cause (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Place != nil {
		b.WriteString(" " + e.Place.Path())
	}
	if e.Kind == Gap {
		if e.To >= e.From {
			fmt.Fprintf(&b, ": events %d to %d are missing", e.From, e.To)
		} else {
			fmt.Fprintf(&b, ": event %d is missing", e.From)
		}
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	} else if e.Kind != Gap {
		b.WriteString(": " + e.Kind.String())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first Error in err's chain. An error that nobody
// classified is Transient: repeating is safe, giving up is not (INV-3).
func KindOf(err error) ErrorKind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Transient
}
