package eventhubs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

// Conditions that package amqp has no name for.
const (
	condGeoOffset          ours.Symbol = "com.microsoft:georeplication:invalid-offset"
	condAuthFailed         ours.Symbol = "com.microsoft:auth-failed"
	condAddressNotFound    ours.Symbol = "com.microsoft:entity-not-found"
	condPreconditionFailed ours.Symbol = "amqp:precondition-failed"
	condFrameSizeTooSmall  ours.Symbol = "amqp:frame-size-too-small"
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
func judge(cond ours.Symbol, text string, at phase) verdict {
	switch cond {
	case ours.ErrServerBusy:
		return verdict{kind: hubferry.Throttled, after: busyPause, hint: busyHint(text)}
	case ours.ErrResourceLimitExceeded:
		return verdict{kind: hubferry.Throttled, after: quotaPause, hint: quotaHint(text)}
	case ours.ErrNotFound, ours.ErrResourceDeleted, condAddressNotFound:
		return verdict{kind: hubferry.NotFound, hint: "check the names of hub and consumer group, and that they exist in this namespace"}
	case ours.ErrArgumentOutOfRange:
		return verdict{kind: hubferry.NotFound, hint: "the hub has fewer partitions"}
	case ours.ErrEntityDisabled:
		return verdict{kind: hubferry.NotFound, hint: "the hub is disabled; enable it in the portal"}
	case ours.ErrUnauthorizedAccess, condAuthFailed:
		return verdict{kind: hubferry.Unauthorized, hint: rightHint(text)}
	case ours.ErrLinkStolen, ours.ErrProducerEpochStolen:
		return verdict{kind: hubferry.Lost, hint: stolenHint(text)}
	case ours.ErrMessageSizeExceeded:
		if at == phaseSend {
			return verdict{kind: hubferry.TooLarge, hint: "the target's tier allows no larger event"}
		}
		return verdict{kind: hubferry.Fatal}
	case condGeoOffset:
		return verdict{kind: hubferry.Gap, hint: "the hub became geo-replicated, which changes its offsets"}
	case ours.ErrArgumentError:
		if strings.Contains(text, "supplied offset") || strings.Contains(text, "supplied sequence number") {
			return verdict{kind: hubferry.Gap, hint: "the hub ends before the stored position: it was created anew, or restored; see onGap"}
		}
		return verdict{kind: final(at)}
	case ours.ErrNotAllowed, ours.ErrNotImplemented, ours.ErrDecodeError, ours.ErrInvalidField,
		condPreconditionFailed, condFrameSizeTooSmall, ours.ErrOutOfOrderSequence:
		return verdict{kind: final(at)}
	default:
		// Time-outs, cancelled operations, closed containers, internal errors, forced
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

// busyHint is for the service's own throttling ("... is being throttled. Error code :
// 50002 ..."). Other reasons to be busy, a full disk of an embedded hub say, stand in the
// text.
func busyHint(text string) string {
	if strings.Contains(text, "throttled") {
		return "the namespace is at its limit; add throughput units if it stays so"
	}
	return ""
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

// classify makes an Error of whatever the AMQP client, the network or the service said. What is
// classified already stays as it is: its Op says where, such as "connect to host:5671".
func classify(op string, place *hubferry.Place, err error, at phase) *hubferry.Error {
	if e, ok := errors.AsType[*hubferry.Error](err); ok {
		return e
	}
	e := &hubferry.Error{Kind: hubferry.Transient, Op: op, Place: place, Err: err}
	if reply, ok := errors.AsType[*replyError](err); ok {
		v := reply.judge()
		e.Kind, e.After, e.Hint = v.kind, v.after, v.hint
		return e
	}
	if remote, ok := errors.AsType[*ours.Error](err); ok {
		v := judge(remote.Condition, remote.Description, at)
		e.Kind, e.After, e.Hint, e.Err = v.kind, v.after, v.hint, remote
		return e
	}
	if at == phaseConnect {
		e.Kind, e.Hint = judgeDial(err)
	}
	return e
}

const plainHint = "the server speaks no TLS there; for an emulator add UseDevelopmentEmulator=true to the connection string"

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
		return hubferry.Transient, plainHint
	}
	if _, ok := errors.AsType[*handshakeError](err); ok && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)) {
		return hubferry.Transient, "perhaps " + plainHint // servers without TLS hang up on a handshake
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
		return judge(ours.Symbol(e.condition), e.text, phaseConnect)
	}
	switch e.status {
	case http.StatusUnauthorized:
		return judge(ours.ErrUnauthorizedAccess, e.text, phaseConnect)
	case http.StatusForbidden, http.StatusTooManyRequests:
		return judge(ours.ErrResourceLimitExceeded, e.text, phaseConnect)
	case http.StatusNotFound:
		return judge(ours.ErrNotFound, e.text, phaseConnect)
	case http.StatusGone:
		return judge(ours.ErrLinkStolen, e.text, phaseConnect)
	case http.StatusServiceUnavailable:
		return judge(ours.ErrServerBusy, e.text, phaseConnect)
	case http.StatusBadRequest, http.StatusNotImplemented:
		return verdict{kind: hubferry.Fatal}
	default:
		return verdict{kind: hubferry.Transient}
	}
}
