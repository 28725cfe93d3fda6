package amqp

import "fmt"

// Error conditions of AMQP 1.0 and of Event Hubs that travel in Error.
const (
	ErrInternalError         Symbol = "amqp:internal-error"
	ErrNotFound              Symbol = "amqp:not-found"
	ErrUnauthorizedAccess    Symbol = "amqp:unauthorized-access"
	ErrDecodeError           Symbol = "amqp:decode-error"
	ErrResourceLimitExceeded Symbol = "amqp:resource-limit-exceeded"
	ErrNotAllowed            Symbol = "amqp:not-allowed"
	ErrInvalidField          Symbol = "amqp:invalid-field"
	ErrNotImplemented        Symbol = "amqp:not-implemented"
	ErrResourceDeleted       Symbol = "amqp:resource-deleted"
	ErrIllegalState          Symbol = "amqp:illegal-state"

	ErrConnectionForced Symbol = "amqp:connection:forced"
	ErrFramingError     Symbol = "amqp:connection:framing-error"

	ErrWindowViolation  Symbol = "amqp:session:window-violation"
	ErrErrantLink       Symbol = "amqp:session:errant-link"
	ErrHandleInUse      Symbol = "amqp:session:handle-in-use"
	ErrUnattachedHandle Symbol = "amqp:session:unattached-handle"

	ErrDetachForced        Symbol = "amqp:link:detach-forced"
	ErrTransferLimit       Symbol = "amqp:link:transfer-limit-exceeded"
	ErrMessageSizeExceeded Symbol = "amqp:link:message-size-exceeded"
	ErrLinkStolen          Symbol = "amqp:link:stolen"

	ErrServerBusy          Symbol = "com.microsoft:server-busy"
	ErrTimeout             Symbol = "com.microsoft:timeout"
	ErrArgumentError       Symbol = "com.microsoft:argument-error"
	ErrArgumentOutOfRange  Symbol = "com.microsoft:argument-out-of-range"
	ErrEntityDisabled      Symbol = "com.microsoft:entity-disabled"
	ErrOutOfOrderSequence  Symbol = "com.microsoft:out-of-order-sequence"
	ErrProducerEpochStolen Symbol = "com.microsoft:producer-epoch-stolen"
)

// Error is the AMQP error type: why a link, session or connection ended, or why
// a delivery was rejected.
type Error struct {
	Condition   Symbol
	Description string
	Info        Map
}

// Error returns condition and description.
func (e *Error) Error() string {
	if e.Description == "" {
		return string(e.Condition)
	}
	return fmt.Sprintf("%s: %s", e.Condition, e.Description)
}

func (e *Error) append(dst []byte) []byte {
	if e == nil {
		return AppendNull(dst)
	}
	dst, mark := beginComposite(dst, CodeError, 3)
	dst = AppendSymbol(dst, e.Condition)
	dst = appendOptString(dst, e.Description)
	return endCompound(appendOptMap(dst, e.Info), mark)
}

func (f *fields) error() *Error {
	if !f.next() {
		return nil
	}
	in := f.d.composite(CodeError)
	e := &Error{Condition: in.symbol(), Description: in.string(), Info: in.fieldMap()}
	in.done(&f.d)
	return e
}

// State is the state of a delivery. The zero State is absent (null).
type State struct {
	Code              uint8  // CodeReceived … CodeModified, 0 for none
	Error             *Error // of CodeRejected
	SectionNumber     uint32 // of CodeReceived
	SectionOffset     uint64
	DeliveryFailed    bool // of CodeModified
	UndeliverableHere bool
	Annotations       Map
}

// Accepted returns the state of a delivery that the receiver has taken over.
func Accepted() State { return State{Code: CodeAccepted} }

// Rejected returns the state of a delivery that the receiver refuses.
func Rejected(e *Error) State { return State{Code: CodeRejected, Error: e} }

func (s State) append(dst []byte) []byte {
	switch s.Code {
	case CodeAccepted, CodeReleased:
		// An empty list in its long form: one client does not know list0.
		return append(dst, byte(CodeDescribed), byte(CodeSmallUlong), s.Code, byte(CodeList8), 1, 0)
	case CodeRejected:
		dst, mark := beginComposite(dst, CodeRejected, 1)
		return endCompound(s.Error.append(dst), mark)
	case CodeReceived:
		dst, mark := beginComposite(dst, CodeReceived, 2)
		return endCompound(AppendUlong(AppendUint(dst, s.SectionNumber), s.SectionOffset), mark)
	case CodeModified:
		dst, mark := beginComposite(dst, CodeModified, 3)
		dst = AppendBool(AppendBool(dst, s.DeliveryFailed), s.UndeliverableHere)
		return endCompound(appendOptMap(dst, s.Annotations), mark)
	}
	return AppendNull(dst)
}

// state reads a delivery state. One of an unknown type (transactional, say) has
// code 0, like none at all.
func (f *fields) state() State {
	if !f.next() {
		return State{}
	}
	ahead := f.d
	code := ahead.Descriptor()
	if ahead.err != nil || code < CodeReceived || code > CodeModified {
		f.d.Skip()
		return State{}
	}
	in := f.d.composite(code)
	s := State{Code: uint8(code)}
	switch code {
	case CodeReceived:
		s.SectionNumber, s.SectionOffset = in.uint32().V, in.uint64().V
	case CodeRejected:
		s.Error = in.error()
	case CodeModified:
		s.DeliveryFailed, s.UndeliverableHere, s.Annotations = in.bool(), in.bool(), in.fieldMap()
	}
	in.done(&f.d)
	return s
}
