package amqpclient

import (
	"errors"
	"fmt"

	"github.com/hubferry/hubferry/internal/amqp"
)

// ErrClosed says that the caller itself has closed what he uses.
var ErrClosed = errors.New("closed")

var (
	errSilent      = errors.New("the peer was silent for longer than the idle time-out")
	errCredit      = errors.New("the peer sent more than it had credit for")
	errNoReason    = errors.New("the peer gave no reason")
	errNoAnonymous = errors.New("the peer does not offer the SASL mechanism ANONYMOUS")
)

// An EndError says that a link, a session or a connection is over, and why.
type EndError struct {
	What string // "link", "session" or "connection"
	// Remote is what the peer said, nil if it said nothing or the end was not its doing.
	Remote *amqp.Error
	// Err is the reason when there is no Remote: the network, a violation of the protocol,
	// ErrClosed.
	Err error
}

// Error tells what is over and why.
func (e *EndError) Error() string {
	if e.Remote != nil {
		return fmt.Sprintf("the peer ended the %s: %v", e.What, e.Remote)
	}
	return fmt.Sprintf("the %s is over: %v", e.What, e.Err)
}

// Unwrap returns what the peer said, or the reason.
func (e *EndError) Unwrap() error {
	if e.Remote != nil {
		return e.Remote
	}
	return e.Err
}

// ended is the error of something that the peer has ended.
func ended(what string, remote *amqp.Error) *EndError {
	if remote == nil {
		return &EndError{What: what, Err: errNoReason}
	}
	return &EndError{What: what, Remote: remote}
}

const errTooLarge = violation("a message beyond all limits")

// violation is a breach of the protocol by the peer, which ends the connection.
type violation string

func (v violation) Error() string { return "the peer breaks the protocol: " + string(v) }
