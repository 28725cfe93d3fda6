package amqp

import (
	"fmt"
	"regexp"
	"strings"
)

// traceWriter puts a line together.
type traceWriter struct {
	strings.Builder
}

func (w *traceWriter) malformed(err error) { fmt.Fprintf(w, "malformed: %v", err) }

// field writes " name=value" unless the value is empty.
func (w *traceWriter) field(name string, value any) {
	if text := fmt.Sprint(value); text != "" {
		fmt.Fprintf(w, " %s=%s", name, redact(text))
	}
}

// opt writes a field that may be absent.
func opt[T any](w *traceWriter, name string, v Opt[T]) {
	if v.OK {
		w.field(name, v.V)
	}
}

// flag writes a name if it is set.
func (w *traceWriter) flag(name string, set bool) {
	if set {
		fmt.Fprintf(w, " %s", name)
	}
}

func (w *traceWriter) error(e *Error) {
	if e != nil {
		fmt.Fprintf(w, " error=%s %q", e.Condition, redact(e.Description))
	}
}

func (w *traceWriter) symbols(name string, s []Symbol) {
	if len(s) > 0 {
		w.field(name, fmt.Sprint(s))
	}
}

// secret finds what looks like a token, a signature or a key in a text.
var secret = regexp.MustCompile(`(?i)(sharedaccesssignature\s+\S+|\bsig=[^&\s"']*|sharedaccesskey=[^;\s"']*|\bbearer\s+\S+|\beyJ[\w-]*\.[\w-]*\.?[\w-]*)`)

func redact(text string) string {
	if !strings.ContainsAny(text, "=.") && !strings.Contains(text, " ") {
		return text
	}
	return secret.ReplaceAllString(text, "[redacted]")
}

func (w *traceWriter) sasl(body []byte) {
	code, err := BodyCode(body)
	if err != nil {
		w.malformed(err)
		return
	}
	switch code {
	case CodeSASLMechanisms:
		var m SASLMechanisms
		_, err = m.Decode(body)
		w.WriteString("sasl-mechanisms")
		w.symbols("offered", m.Mechanisms)
	case CodeSASLInit:
		var i SASLInit
		_, err = i.Decode(body)
		w.WriteString("sasl-init")
		w.field("mechanism", i.Mechanism)
		w.field("hostname", i.Hostname)
		fmt.Fprintf(w, " response=[%d bytes]", len(i.Response))
	case CodeSASLOutcome:
		var o SASLOutcome
		_, err = o.Decode(body)
		fmt.Fprintf(w, "sasl-outcome code=%d", o.Code)
	default:
		fmt.Fprintf(w, "sasl 0x%02x [%d bytes]", code, len(body))
	}
	if err != nil {
		w.malformed(err)
	}
}

func (w *traceWriter) open(body []byte) {
	var o Open
	_, err := o.Decode(body)
	w.WriteString("open")
	w.field("container", o.ContainerID)
	w.field("hostname", o.Hostname)
	opt(w, "max-frame", o.MaxFrameSize)
	opt(w, "channel-max", o.ChannelMax)
	opt(w, "idle-ms", o.IdleTimeout)
	w.properties(o.Properties)
	w.end(err)
}

func (w *traceWriter) begin(body []byte) {
	var b Begin
	_, err := b.Decode(body)
	w.WriteString("begin")
	opt(w, "remote-channel", b.RemoteChannel)
	w.field("next-out", b.NextOutgoingID)
	w.field("in-window", b.IncomingWindow)
	w.field("out-window", b.OutgoingWindow)
	opt(w, "handle-max", b.HandleMax)
	w.end(err)
}

// attach returns what it has decoded, nil if it could not.
func (w *traceWriter) attach(body []byte) *Attach {
	a := &Attach{}
	_, err := a.Decode(body)
	w.WriteString("attach")
	w.field("handle", a.Handle)
	w.field("name", a.Name)
	role := "sender"
	if a.Receiver {
		role = "receiver"
	}
	w.field("role", role)
	opt(w, "snd-settle", a.SndSettleMode)
	opt(w, "rcv-settle", a.RcvSettleMode)
	if a.Source == nil {
		w.WriteString(" source=null")
	} else {
		w.field("source", a.Source.Address)
		for _, p := range a.Source.Filter {
			v := p.Value
			if d, ok := v.(Described); ok {
				v = d.Value
			}
			w.field("filter", v)
		}
	}
	if a.Target == nil {
		w.WriteString(" target=null")
	} else {
		w.field("target", a.Target.Address)
	}
	opt(w, "initial-count", a.InitialDeliveryCount)
	opt(w, "max-message", a.MaxMessageSize)
	w.symbols("offered", a.OfferedCapabilities)
	w.symbols("desired", a.DesiredCapabilities)
	w.properties(a.Properties)
	w.end(err)
	if err != nil {
		return nil
	}
	return a
}

func (w *traceWriter) properties(m Map) {
	for _, p := range m {
		switch v := p.Value.(type) {
		case string, Symbol, bool, int8, int16, int32, int64, uint8, uint16, uint32, uint64:
			fmt.Fprintf(w, " %v=%q", p.Key, redact(fmt.Sprint(v)))
		}
	}
}

func (w *traceWriter) flow(body []byte) {
	var f Flow
	_, err := f.Decode(body)
	w.WriteString("flow")
	opt(w, "handle", f.Handle)
	opt(w, "count", f.DeliveryCount)
	opt(w, "credit", f.LinkCredit)
	opt(w, "next-in", f.NextIncomingID)
	w.field("in-window", f.IncomingWindow)
	w.field("next-out", f.NextOutgoingID)
	w.field("out-window", f.OutgoingWindow)
	w.flag("drain", f.Drain)
	w.flag("echo", f.Echo)
	w.end(err)
}

// transfer writes the performative and the length of the payload. Of the
// messages of nodes it writes the properties that are known to hold no secret.
func (w *traceWriter) transfer(body []byte, isNode func(handle uint32) bool) {
	var t Transfer
	payload, err := t.Decode(body)
	w.WriteString("transfer")
	w.field("handle", t.Handle)
	opt(w, "id", t.DeliveryID)
	if t.MessageFormat.OK {
		fmt.Fprintf(w, " format=0x%x", t.MessageFormat.V)
	}
	w.flag("settled", t.Settled)
	w.flag("more", t.More)
	w.flag("aborted", t.Aborted)
	fmt.Fprintf(w, " payload=[%d bytes]", len(payload))
	w.end(err)
	if err == nil && !t.More && isNode(t.Handle) {
		w.request(payload)
	}
}

// request writes what a request or reply is about.
func (w *traceWriter) request(payload []byte) {
	s, err := Scan(payload)
	if err != nil {
		return // the rest of a message in several frames
	}
	items, n, err := MapSection(s.ApplicationProperties.Of(payload))
	if err != nil {
		return
	}
	for range n {
		name, _ := items.Value().(string)
		value := items.Value()
		switch name {
		case "operation", "type", "name", "partition", "status-code", "status-description", "error-condition":
			fmt.Fprintf(w, " %s=%q", name, redact(fmt.Sprint(value)))
		}
	}
}

func (w *traceWriter) disposition(body []byte) {
	var p Disposition
	_, err := p.Decode(body)
	w.WriteString("disposition")
	w.field("first", p.First)
	opt(w, "last", p.Last)
	w.flag("settled", p.Settled)
	if name := descriptorName(uint64(p.State.Code)); name != "" {
		w.field("state", strings.TrimSuffix(strings.TrimPrefix(name, "amqp:"), ":list"))
	}
	w.error(p.State.Error)
	w.end(err)
}

// last writes detach, end and close.
func (w *traceWriter) last(code uint64, body []byte) {
	var e *Error
	var err error
	switch code {
	case CodeDetach:
		var d Detach
		_, err = d.Decode(body)
		w.WriteString("detach")
		w.field("handle", d.Handle)
		w.flag("closed", d.Closed)
		e = d.Error
	case CodeEnd:
		var d End
		_, err = d.Decode(body)
		w.WriteString("end")
		e = d.Error
	default:
		var d Close
		_, err = d.Decode(body)
		w.WriteString("close")
		e = d.Error
	}
	w.error(e)
	w.end(err)
}

func (w *traceWriter) end(err error) {
	if err != nil {
		w.WriteByte(' ')
		w.malformed(err)
	}
}
