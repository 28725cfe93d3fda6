package entity

import (
	"errors"
	"fmt"
	"strings"
)

// Condition is an AMQP error condition.
type Condition string

// The conditions that this package gives to clients.
const (
	NotFound              Condition = "amqp:not-found"
	UnauthorizedAccess    Condition = "amqp:unauthorized-access"
	ResourceLimitExceeded Condition = "amqp:resource-limit-exceeded"
	LinkStolen            Condition = "amqp:link:stolen"
	DetachForced          Condition = "amqp:link:detach-forced"
	MessageSizeExceeded   Condition = "amqp:link:message-size-exceeded"
	InvalidField          Condition = "amqp:invalid-field"
	InternalError         Condition = "amqp:internal-error"
	NotAllowed            Condition = "amqp:not-allowed"
	ArgumentError         Condition = "com.microsoft:argument-error"
	ArgumentOutOfRange    Condition = "com.microsoft:argument-out-of-range"
	EntityDisabled        Condition = "com.microsoft:entity-disabled"
	EntityAlreadyExists   Condition = "com.microsoft:entity-already-exists"
	ServerBusy            Condition = "com.microsoft:server-busy"
)

// Error is an error for a client: the server sends it as it is.
type Error struct {
	// Condition is the AMQP error condition.
	Condition Condition
	// Text is the description. Clients match on some of them.
	Text string
	// Status is the code for $cbs, $management and HTTP replies.
	Status int
}

func (e *Error) Error() string { return string(e.Condition) + ": " + e.Text }

// AsError returns the *Error in err's chain, or one with the condition
// amqp:internal-error. It returns nil for nil.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Condition: InternalError, Text: "The service was unable to process the request: " + err.Error(), Status: 500}
}

func notFound(namespace, path string) *Error {
	return &Error{
		Condition: NotFound,
		Text:      fmt.Sprintf("The messaging entity 'sb://%s/%s' could not be found.", namespace, path),
		Status:    404,
	}
}

func partitionOutOfRange(count int) *Error {
	return &Error{
		Condition: ArgumentOutOfRange,
		Text:      fmt.Sprintf("The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and %d-1.", count),
		Status:    400,
	}
}

func unauthorized(text string) *Error {
	return &Error{Condition: UnauthorizedAccess, Text: text, Status: 401}
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Condition: ArgumentError, Text: field + ": " + fmt.Sprintf(format, args...), Status: 400}
}

func exists(namespace, path string) *Error {
	return &Error{
		Condition: EntityAlreadyExists,
		Text:      fmt.Sprintf("The messaging entity 'sb://%s/%s' already exists.", namespace, path),
		Status:    409,
	}
}

func quota(text string) *Error {
	return &Error{Condition: ResourceLimitExceeded, Text: text, Status: 403}
}

func disabled(namespace, path string) *Error {
	return &Error{
		Condition: EntityDisabled,
		Text:      fmt.Sprintf("The messaging entity 'sb://%s/%s' is currently disabled.", namespace, strings.ToLower(path)),
		Status:    403,
	}
}
