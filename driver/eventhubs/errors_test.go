package eventhubs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/go-amqp"

	"github.com/hubferry/hubferry"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func TestJudge(t *testing.T) {
	const some = "some text"
	for _, c := range []struct {
		cond     amqp.ErrCond
		text     string
		at       phase
		kind     hubferry.ErrorKind
		after    time.Duration
		contains string
	}{
		{condServerBusy, some, phaseSend, hubferry.Throttled, busyPause, "throughput"},
		{condTimeout, some, phaseSend, hubferry.Transient, 0, ""},
		{condCancelled, some, phaseSend, hubferry.Transient, 0, ""},
		{condContainerClose, some, phaseRead, hubferry.Transient, 0, ""},
		{condDisabled, some, phaseAttach, hubferry.NotFound, 0, "disabled"},
		{condArgument, some, phaseAttach, hubferry.Fatal, 0, ""},
		{condArgument, some, phaseSend, hubferry.Refused, 0, ""},
		{condArgument, "The supplied offset '9' is invalid. The last offset in the system is '3'", phaseAttach, hubferry.Gap, 0, "onGap"},
		{condArgument, "The supplied sequence number '9' is invalid. The last sequence number in the system is '3'", phaseRead, hubferry.Gap, 0, "onGap"},
		{condOutOfRange, some, phaseAttach, hubferry.NotFound, 0, "partitions"},
		{condGeoOffset, some, phaseAttach, hubferry.Gap, 0, "geo-replicated"},
		{condOutOfOrder, some, phaseSend, hubferry.Refused, 0, ""},
		{condProducerStolen, some, phaseSend, hubferry.Lost, 0, ""},
		{condAuthFailed, some, phaseConnect, hubferry.Unauthorized, 0, "clock"},
		{amqp.ErrCondNotFound, some, phaseAttach, hubferry.NotFound, 0, "consumer group"},
		{condAddressNotFound, some, phaseConnect, hubferry.NotFound, 0, ""},
		{amqp.ErrCondResourceDeleted, some, phaseRead, hubferry.NotFound, 0, ""},
		{amqp.ErrCondUnauthorizedAccess, "Unauthorized access. 'Send' claim(s) are required", phaseAttach, hubferry.Unauthorized, 0, "right to send"},
		{amqp.ErrCondUnauthorizedAccess, "Unauthorized access. 'Listen' claim(s) are required", phaseAttach, hubferry.Unauthorized, 0, "right to listen"},
		{amqp.ErrCondResourceLimitExceeded, "Exceeded the maximum number of allowed receivers per partition", phaseAttach, hubferry.Throttled, quotaPause, "consumerGroup"},
		{amqp.ErrCondResourceLimitExceeded, some, phaseSend, hubferry.Throttled, quotaPause, "quota"},
		{amqp.ErrCondMessageSizeExceeded, some, phaseSend, hubferry.TooLarge, 0, "tier"},
		{amqp.ErrCondMessageSizeExceeded, some, phaseRead, hubferry.Fatal, 0, ""},
		{amqp.ErrCondStolen, "New receiver 'x' with higher epoch of '3' is created", phaseRead, hubferry.Lost, 0, ""},
		{amqp.ErrCondStolen, "and so non-epoch receiver is not allowed.", phaseAttach, hubferry.Lost, 0, "tailConsumerGroup"},
		{amqp.ErrCondStolen, "Receiver 'x' with epoch 1 cannot be created.", phaseAttach, hubferry.Lost, 0, "ownerLevel"},
		{amqp.ErrCondNotAllowed, some, phaseSend, hubferry.Refused, 0, ""},
		{amqp.ErrCondNotAllowed, some, phaseAttach, hubferry.Fatal, 0, ""},
		{amqp.ErrCondNotImplemented, some, phaseAttach, hubferry.Fatal, 0, ""},
		{amqp.ErrCondDecodeError, some, phaseSend, hubferry.Refused, 0, ""},
		{amqp.ErrCondInvalidField, some, phaseAttach, hubferry.Fatal, 0, ""},
		{amqp.ErrCondPreconditionFailed, some, phaseRead, hubferry.Fatal, 0, ""},
		{amqp.ErrCondFrameSizeTooSmall, some, phaseRead, hubferry.Fatal, 0, ""},
		{amqp.ErrCondInternalError, some, phaseRead, hubferry.Transient, 0, ""},
		{amqp.ErrCondIllegalState, some, phaseRead, hubferry.Transient, 0, ""},
		{amqp.ErrCondConnectionForced, some, phaseRead, hubferry.Transient, 0, ""},
		{amqp.ErrCondFramingError, some, phaseRead, hubferry.Transient, 0, ""},
		{amqp.ErrCondDetachForced, some, phaseRead, hubferry.Transient, 0, ""},
		{amqp.ErrCondTransferLimitExceeded, some, phaseSend, hubferry.Transient, 0, ""},
		{amqp.ErrCondWindowViolation, some, phaseRead, hubferry.Transient, 0, ""},
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
	if got.Kind != hubferry.Gap || got.Op != "open" || got.Place != place || inner.Place != nil {
		t.Errorf("%+v, the original %+v", got, inner)
	}
}

func TestEntraErrors(t *testing.T) {
	unavailable := azidentity.NewCredentialUnavailableError("no managed identity here")
	if e := asError(t, entraError(unavailable)); e.Kind != hubferry.Unauthorized || e.Hint == "" {
		t.Errorf("kind %v: %v", e.Kind, e)
	}
	if e := asError(t, entraError(io.ErrUnexpectedEOF)); e.Kind != hubferry.Transient {
		t.Errorf("kind %v: %v", e.Kind, e)
	}
}
