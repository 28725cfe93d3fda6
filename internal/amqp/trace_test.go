package amqp_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

func TestTrace(t *testing.T) {
	var tracer amqp.Tracer
	frame := func(p amqp.Performative, payload ...byte) amqp.Frame {
		return amqp.Frame{Channel: 2, Body: append(p.Append(nil), payload...)}
	}
	request := amqp.AppendSection(nil, amqp.CodeApplicationProperties)
	request, mark := amqp.BeginMap(request, 3)
	request = amqp.AppendString(amqp.AppendString(request, "operation"), "put-token")
	request = amqp.AppendString(amqp.AppendString(request, "name"), "sb://ns/hub")
	request = amqp.AppendString(amqp.AppendString(request, "security_token"), "TOPSECRET")
	request = amqp.EndMap(request, mark)
	request = amqp.AppendString(amqp.AppendSection(request, amqp.CodeValue), "SharedAccessSignature sr=x&sig=TOPSECRET&se=1&skn=k")
	got := []string{
		tracer.Header(amqp.Received, amqp.HeaderSASL),
		tracer.Frame(amqp.Received, amqp.Frame{Type: amqp.TypeSASL, Body: (&amqp.SASLInit{Mechanism: "PLAIN", Response: []byte("\x00k\x00TOPSECRET")}).Append(nil)}),
		tracer.Frame(amqp.Sent, amqp.Frame{Type: amqp.TypeSASL, Body: (&amqp.SASLOutcome{}).Append(nil)}),
		tracer.Frame(amqp.Received, frame(&amqp.Attach{Name: "l", Handle: 1, Source: &amqp.Source{}, Target: &amqp.Target{Address: "$cbs"}})),
		tracer.Frame(amqp.Received, frame(&amqp.Transfer{Handle: 1, DeliveryID: amqp.Some[uint32](4), MessageFormat: amqp.Some[uint32](0)}, request...)),
		tracer.Frame(amqp.Received, frame(&amqp.Attach{Name: "l", Handle: 1, Source: &amqp.Source{Address: "h"}, Receiver: true})),
		tracer.Frame(amqp.Received, frame(&amqp.Transfer{Handle: 1}, request...)),
		tracer.Frame(amqp.Sent, frame(&amqp.Flow{Handle: amqp.Some[uint32](1), LinkCredit: amqp.Some[uint32](300), IncomingWindow: 5, Drain: true})),
		tracer.Frame(amqp.Sent, frame(&amqp.Disposition{Receiver: true, First: 1, Last: amqp.Some[uint32](3), Settled: true, State: amqp.Accepted()})),
		tracer.Frame(amqp.Sent, frame(&amqp.Detach{Handle: 1, Closed: true, Error: &amqp.Error{Condition: amqp.ErrNotFound, Description: "SharedAccessKey=TOPSECRET;x"}})),
		tracer.Frame(amqp.Sent, amqp.Frame{}),
		tracer.Frame(amqp.Received, amqp.Frame{Body: []byte{0, 0x53, 0x12, 0xc0, 2, 1, 0x41}}),
	}
	want := []string{
		"<- header SASL 1.0.0",
		"<- ch=0 sasl-init mechanism=PLAIN response=[12 bytes]",
		"-> ch=0 sasl-outcome code=0",
		"<- ch=2 attach handle=1 name=l role=sender target=$cbs",
		`<- ch=2 transfer handle=1 id=4 format=0x0 payload=[136 bytes] operation="put-token" name="sb://ns/hub"`,
		"<- ch=2 attach handle=1 name=l role=receiver source=h target=null",
		"<- ch=2 transfer handle=1 payload=[136 bytes]",
		"-> ch=2 flow handle=1 credit=300 in-window=5 next-out=0 out-window=0 drain",
		"-> ch=2 disposition first=1 last=3 settled state=accepted",
		`-> ch=2 detach handle=1 closed error=amqp:not-found "[redacted];x"`,
		"-> heartbeat",
		"<- ch=0 attach handle=0 role=sender source=null target=null malformed: amqp: amqp:attach:list, field 1: amqp: value is not a string or symbol",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(strings.Join(got, "\n"), "TOPSECRET") {
		t.Error("a secret is shown")
	}
}

func TestTraceFrames(t *testing.T) {
	b := amqp.AppendEmptyFrame(nil)
	b = amqp.AppendFrame(b, 1, &amqp.End{})
	b = amqp.AppendFrame(b, 0, &amqp.Close{})
	var tracer amqp.Tracer
	var got []string
	tracer.Frames(amqp.Sent, b, func(line string) { got = append(got, line) })
	if diff := cmp.Diff([]string{"-> heartbeat", "-> ch=1 end", "-> ch=0 close"}, got); diff != "" {
		t.Error(diff)
	}
}
