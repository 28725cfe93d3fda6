package eventhubs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestJudge(t *testing.T) {
	const some = "some text"
	for _, c := range []struct {
		cond     ours.Symbol
		text     string
		at       phase
		kind     hubferry.ErrorKind
		after    time.Duration
		contains string
	}{
		{ours.ErrServerBusy, "The request was terminated because the namespace x is being throttled. Error code : 50002.", phaseSend, hubferry.Throttled, busyPause, "throughput"},
		{ours.ErrServerBusy, some, phaseSend, hubferry.Throttled, busyPause, ""},
		{ours.ErrTimeout, some, phaseSend, hubferry.Transient, 0, ""},
		{"com.microsoft:operation-cancelled", some, phaseSend, hubferry.Transient, 0, ""},
		{"com.microsoft:container-close", some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrEntityDisabled, some, phaseAttach, hubferry.NotFound, 0, "disabled"},
		{ours.ErrArgumentError, some, phaseAttach, hubferry.Fatal, 0, ""},
		{ours.ErrArgumentError, some, phaseSend, hubferry.Refused, 0, ""},
		{ours.ErrArgumentError, "The supplied offset '9' is invalid. The last offset in the system is '3'", phaseAttach, hubferry.Gap, 0, "onGap"},
		{ours.ErrArgumentError, "The supplied sequence number '9' is invalid. The last sequence number in the system is '3'", phaseRead, hubferry.Gap, 0, "onGap"},
		{ours.ErrArgumentOutOfRange, some, phaseAttach, hubferry.NotFound, 0, "partitions"},
		{condGeoOffset, some, phaseAttach, hubferry.Gap, 0, "geo-replicated"},
		{ours.ErrOutOfOrderSequence, some, phaseSend, hubferry.Refused, 0, ""},
		{ours.ErrProducerEpochStolen, some, phaseSend, hubferry.Lost, 0, ""},
		{condAuthFailed, some, phaseConnect, hubferry.Unauthorized, 0, "clock"},
		{ours.ErrNotFound, some, phaseAttach, hubferry.NotFound, 0, "consumer group"},
		{condAddressNotFound, some, phaseConnect, hubferry.NotFound, 0, ""},
		{ours.ErrResourceDeleted, some, phaseRead, hubferry.NotFound, 0, ""},
		{ours.ErrUnauthorizedAccess, "Unauthorized access. 'Send' claim(s) are required", phaseAttach, hubferry.Unauthorized, 0, "right to send"},
		{ours.ErrUnauthorizedAccess, "Unauthorized access. 'Listen' claim(s) are required", phaseAttach, hubferry.Unauthorized, 0, "right to listen"},
		{ours.ErrResourceLimitExceeded, "Exceeded the maximum number of allowed receivers per partition", phaseAttach, hubferry.Throttled, quotaPause, "consumerGroup"},
		{ours.ErrResourceLimitExceeded, some, phaseSend, hubferry.Throttled, quotaPause, "quota"},
		{ours.ErrMessageSizeExceeded, some, phaseSend, hubferry.TooLarge, 0, "tier"},
		{ours.ErrMessageSizeExceeded, some, phaseRead, hubferry.Fatal, 0, ""},
		{ours.ErrLinkStolen, "New receiver 'x' with higher epoch of '3' is created", phaseRead, hubferry.Lost, 0, ""},
		{ours.ErrLinkStolen, "and so non-epoch receiver is not allowed.", phaseAttach, hubferry.Lost, 0, "tailConsumerGroup"},
		{ours.ErrLinkStolen, "Receiver 'x' with epoch 1 cannot be created.", phaseAttach, hubferry.Lost, 0, "ownerLevel"},
		{ours.ErrNotAllowed, some, phaseSend, hubferry.Refused, 0, ""},
		{ours.ErrNotAllowed, some, phaseAttach, hubferry.Fatal, 0, ""},
		{ours.ErrNotImplemented, some, phaseAttach, hubferry.Fatal, 0, ""},
		{ours.ErrDecodeError, some, phaseSend, hubferry.Refused, 0, ""},
		{ours.ErrInvalidField, some, phaseAttach, hubferry.Fatal, 0, ""},
		{condPreconditionFailed, some, phaseRead, hubferry.Fatal, 0, ""},
		{condFrameSizeTooSmall, some, phaseRead, hubferry.Fatal, 0, ""},
		{ours.ErrInternalError, some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrIllegalState, some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrConnectionForced, some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrFramingError, some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrDetachForced, some, phaseRead, hubferry.Transient, 0, ""},
		{ours.ErrTransferLimit, some, phaseSend, hubferry.Transient, 0, ""},
		{ours.ErrWindowViolation, some, phaseRead, hubferry.Transient, 0, ""},
		{"com.example:new", some, phaseRead, hubferry.Transient, 0, ""},
	} {
		v := judge(c.cond, c.text, c.at)
		if v.kind != c.kind || v.after != c.after || !strings.Contains(v.hint, c.contains) {
			t.Errorf("%s (%s): kind %v, after %v, hint %q; want %v", c.cond, c.text, v.kind, v.after, v.hint, c.kind)
		}
	}
}

func TestJudgeReply(t *testing.T) {
	for _, c := range []struct {
		reply replyError
		kind  hubferry.ErrorKind
	}{
		{replyError{status: 400}, hubferry.Fatal},
		{replyError{status: 401}, hubferry.Unauthorized},
		{replyError{status: 403}, hubferry.Throttled},
		{replyError{status: 404}, hubferry.NotFound},
		{replyError{status: 404, condition: "amqp:not-found"}, hubferry.NotFound},
		{replyError{status: 400, condition: "com.microsoft:argument-out-of-range"}, hubferry.NotFound},
		{replyError{status: 408}, hubferry.Transient},
		{replyError{status: 410}, hubferry.Lost},
		{replyError{status: 429}, hubferry.Throttled},
		{replyError{status: 500}, hubferry.Transient},
		{replyError{status: 501}, hubferry.Fatal},
		{replyError{status: 503}, hubferry.Throttled},
	} {
		c.reply.node = cbsNode
		err := classify("sign in", nil, &c.reply, phaseConnect)
		if err.Kind != c.kind || !strings.Contains(err.Error(), "$cbs answered") {
			t.Errorf("%+v: kind %v, want %v: %v", c.reply, err.Kind, c.kind, err)
		}
	}
}

func TestJudgeDial(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind hubferry.ErrorKind
		hint string
	}{
		{&net.DNSError{IsNotFound: true}, hubferry.Transient, "name of the namespace"},
		{x509.UnknownAuthorityError{}, hubferry.Unauthorized, "tls.caFile"},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "h"}, hubferry.Unauthorized, "tls.serverName"},
		{&tunnelError{status: 407}, hubferry.Unauthorized, "user and password"},
		{&tunnelError{status: 502}, hubferry.Transient, ""},
		{context.DeadlineExceeded, hubferry.Transient, "transport: websocket"},
		{io.EOF, hubferry.Transient, ""},
		{&handshakeError{io.EOF}, hubferry.Transient, "UseDevelopmentEmulator"},
		{&handshakeError{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}}, hubferry.Transient, "UseDevelopmentEmulator"},
		{&handshakeError{x509.UnknownAuthorityError{}}, hubferry.Unauthorized, "tls.caFile"},
	} {
		e := classify("connect", nil, fmt.Errorf("dial: %w", c.err), phaseConnect)
		if e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || !errors.Is(e, c.err) && c.hint != "tls.serverName" {
			t.Errorf("%v: kind %v, hint %q", c.err, e.Kind, e.Hint)
		}
	}
}

func TestClassifyKeepsWhatIsClassified(t *testing.T) {
	place := hubferry.NewPlace("ns", "hub", "1", "", 1)
	inner := &hubferry.Error{Kind: hubferry.Gap, Op: "open"}
	got := classify("read", place, inner, phaseRead)
	if got != inner {
		t.Errorf("%+v, the original %+v", got, inner)
	}
}
