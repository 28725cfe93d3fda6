package eventhubs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/go-amqp"

	"github.com/hubferry/hubferry"
)

// The conditions of Event Hubs that AMQP does not define. The others are go-amqp's.
const (
	condServerBusy      amqp.ErrCond = "com.microsoft:server-busy"
	condTimeout         amqp.ErrCond = "com.microsoft:timeout"
	condCancelled       amqp.ErrCond = "com.microsoft:operation-cancelled"
	condContainerClose  amqp.ErrCond = "com.microsoft:container-close"
	condDisabled        amqp.ErrCond = "com.microsoft:entity-disabled"
	condArgument        amqp.ErrCond = "com.microsoft:argument-error"
	condOutOfRange      amqp.ErrCond = "com.microsoft:argument-out-of-range"
	condGeoOffset       amqp.ErrCond = "com.microsoft:georeplication:invalid-offset"
	condOutOfOrder      amqp.ErrCond = "com.microsoft:out-of-order-sequence"
	condProducerStolen  amqp.ErrCond = "com.microsoft:producer-epoch-stolen"
	condAuthFailed      amqp.ErrCond = "com.microsoft:auth-failed"
	condAddressNotFound amqp.ErrCond = "com.microsoft:entity-not-found"
)

// Pauses that the service asks for. Its own text for server-busy is "wait 4 seconds
// and try again"; a reader that is one too many has to wait for another to go.
const (
	busyPause  = 4 * time.Second
	quotaPause = 30 * time.Second
)

// phase is what was being done when an error came: the same condition means another
// thing for an event than for a link.
type phase uint8

const (
	phaseConnect phase = iota // dialing, signing in, management
	phaseAttach               // opening a link
	phaseRead
	phaseSend // a batch was rejected
)

// verdict is what a condition means to the engine.
type verdict struct {
	kind  hubferry.ErrorKind
	after time.Duration
	hint  string
}

// judge classifies a condition and its text.
func judge(cond amqp.ErrCond, text string, at phase) verdict {
	switch cond {
	case condServerBusy:
		return verdict{kind: hubferry.Throttled, after: busyPause, hint: "the namespace is at its limit; add throughput units if it stays so"}
	case amqp.ErrCondResourceLimitExceeded:
		return verdict{kind: hubferry.Throttled, after: quotaPause, hint: quotaHint(text)}
	case amqp.ErrCondNotFound, amqp.ErrCondResourceDeleted, condAddressNotFound:
		return verdict{kind: hubferry.NotFound, hint: "check the names of hub and consumer group, and that they exist in this namespace"}
	case condOutOfRange:
		return verdict{kind: hubferry.NotFound, hint: "the hub has fewer partitions"}
	case condDisabled:
		return verdict{kind: hubferry.NotFound, hint: "the hub is disabled; enable it in the portal"}
	case amqp.ErrCondUnauthorizedAccess, condAuthFailed:
		return verdict{kind: hubferry.Unauthorized, hint: rightHint(text)}
	case amqp.ErrCondStolen, condProducerStolen:
		return verdict{kind: hubferry.Lost, hint: stolenHint(text)}
	case amqp.ErrCondMessageSizeExceeded:
		if at == phaseSend {
			return verdict{kind: hubferry.TooLarge, hint: "the target's tier allows no larger event"}
		}
		return verdict{kind: hubferry.Fatal}
	case condGeoOffset:
		return verdict{kind: hubferry.Gap, hint: "the hub became geo-replicated, which changes its offsets"}
	case condArgument:
		if strings.Contains(text, "supplied offset") || strings.Contains(text, "supplied sequence number") {
			return verdict{kind: hubferry.Gap, hint: "the hub ends before the stored position: it was created anew, or restored; see onGap"}
		}
		return verdict{kind: final(at)}
	case amqp.ErrCondNotAllowed, amqp.ErrCondNotImplemented, amqp.ErrCondDecodeError, amqp.ErrCondInvalidField,
		amqp.ErrCondPreconditionFailed, amqp.ErrCondFrameSizeTooSmall, condOutOfOrder:
		return verdict{kind: final(at)}
	default:
		// condTimeout, condCancelled, condContainerClose, internal errors, forced
		// detaches and closes, errors of sessions, and whatever is new: they pass.
		return verdict{kind: hubferry.Transient}
	}
}

// final is the kind of an error that repeating does not cure: of the event when one
// was sent, otherwise of the task.
func final(at phase) hubferry.ErrorKind {
	if at == phaseSend {
		return hubferry.Refused
	}
	return hubferry.Fatal
}

func quotaHint(text string) string {
	if strings.Contains(text, "allowed receivers") {
		return "a partition takes 5 readers without an epoch per consumer group; set consumerGroup (of a target: tailConsumerGroup) to one that nothing else reads"
	}
	return "a quota of the namespace is used up"
}

func rightHint(text string) string {
	switch {
	case strings.Contains(text, "'Send'"):
		return "the key or identity needs the right to send"
	case strings.Contains(text, "'Listen'"):
		return "the key or identity needs the right to listen"
	}
	return "check the key or identity of the connection, and the clock of this machine"
}

func stolenHint(text string) string {
	switch {
	case strings.Contains(text, "non-epoch receiver is not allowed"):
		return "somebody reads this consumer group with an epoch; set consumerGroup (of a target: tailConsumerGroup) to one that nobody holds"
	case strings.Contains(text, "cannot be created"):
		return "a reader with a higher epoch holds the partition; give the task its own consumerGroup, or raise ownerLevel to take this one over"
	}
	return ""
}

// serviceError is an AMQP error in words.
type serviceError struct{ err *amqp.Error }

func (e *serviceError) Error() string {
	if e.err.Description == "" {
		return string(e.err.Condition)
	}
	return string(e.err.Condition) + ": " + e.err.Description
}

func (e *serviceError) Unwrap() error { return e.err }

// classify makes an Error of whatever go-amqp, the network or the service said.
func classify(op string, place *hubferry.Place, err error, at phase) *hubferry.Error {
	if e, ok := errors.AsType[*hubferry.Error](err); ok {
		if e.Place != nil || place == nil {
			return e
		}
		placed := *e
		placed.Place = place
		return &placed
	}
	e := &hubferry.Error{Kind: hubferry.Transient, Op: op, Place: place, Err: err}
	if reply, ok := errors.AsType[*replyError](err); ok {
		v := reply.judge()
		e.Kind, e.After, e.Hint = v.kind, v.after, v.hint
		return e
	}
	if remote, ok := errors.AsType[*amqp.Error](err); ok {
		v := judge(remote.Condition, remote.Description, at)
		e.Kind, e.After, e.Hint, e.Err = v.kind, v.after, v.hint, &serviceError{remote}
		return e
	}
	if at == phaseConnect {
		e.Kind, e.Hint = judgeDial(err)
	}
	return e
}

// judgeDial classifies what connecting can fail with.
func judgeDial(err error) (kind hubferry.ErrorKind, hint string) {
	if t, ok := errors.AsType[*tunnelError](err); ok && t.status == http.StatusProxyAuthRequired {
		return hubferry.Unauthorized, "the proxy wants a user and password: proxy: http://user:password@host:port"
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return hubferry.Unauthorized, "set tls.caFile to the authority that signed the server's certificate"
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return hubferry.Unauthorized, "set tls.serverName to a name that the server's certificate has"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return hubferry.Unauthorized, "the server's certificate is not valid"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return hubferry.Transient, "the server speaks no TLS there; for an emulator add UseDevelopmentEmulator=true to the connection string"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return hubferry.Transient, "check the name of the namespace"
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return hubferry.Transient, "no answer; where only port 443 is open, set transport: websocket"
	}
	return hubferry.Transient, ""
}

// replyError is a reply of $cbs or $management that says no.
type replyError struct {
	node      string
	status    int64
	condition string
	text      string
}

func (e *replyError) Error() string {
	s := fmt.Sprintf("%s answered %d", e.node, e.status)
	if e.text != "" {
		s += ": " + e.text
	}
	return s
}

// judge goes by the condition if there is one, and otherwise by the status, which is
// one of HTTP's.
func (e *replyError) judge() verdict {
	if e.condition != "" {
		return judge(amqp.ErrCond(e.condition), e.text, phaseConnect)
	}
	switch e.status {
	case http.StatusUnauthorized:
		return judge(amqp.ErrCondUnauthorizedAccess, e.text, phaseConnect)
	case http.StatusForbidden, http.StatusTooManyRequests:
		return judge(amqp.ErrCondResourceLimitExceeded, e.text, phaseConnect)
	case http.StatusNotFound:
		return judge(amqp.ErrCondNotFound, e.text, phaseConnect)
	case http.StatusGone:
		return judge(amqp.ErrCondStolen, e.text, phaseConnect)
	case http.StatusServiceUnavailable:
		return judge(condServerBusy, e.text, phaseConnect)
	case http.StatusBadRequest, http.StatusNotImplemented:
		return verdict{kind: hubferry.Fatal}
	default:
		return verdict{kind: hubferry.Transient}
	}
}
