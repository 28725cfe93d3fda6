package amqp

import (
	"fmt"
	"strings"
	"sync"
)

// Direction tells which way a frame went, as seen by who traces.
type Direction bool

// The directions.
const (
	Received Direction = false
	Sent     Direction = true
)

// String returns an arrow: "->" for what was sent, "<-" for what was received.
func (d Direction) String() string {
	if d == Sent {
		return "->"
	}
	return "<-"
}

// A Tracer makes one line of text of each frame of one connection, for people
// to read. A server and a client can use it alike. It shows the main fields of
// performatives, and of requests and replies on $cbs and $management the
// properties that say what was asked and how it ended. It never shows a secret:
// no SASL response, no message body, no application property beside those
// few, and no text that looks like a token or a key. It may be used
// concurrently. The zero Tracer is ready to use.
type Tracer struct {
	mu    sync.Mutex
	nodes map[traceLink]bool // links on $cbs and $management
}

type traceLink struct {
	channel, handle uint32
}

// Header returns the line for a protocol header.
func (t *Tracer) Header(d Direction, h ProtocolHeader) string {
	name := "unknown"
	switch h {
	case HeaderAMQP:
		name = "AMQP"
	case HeaderSASL:
		name = "SASL"
	case HeaderTLS:
		name = "TLS"
	}
	return fmt.Sprintf("%v header %s %d.%d.%d", d, name, h[5], h[6], h[7])
}

// Frame returns the line for a frame.
func (t *Tracer) Frame(d Direction, f Frame) string {
	if len(f.Body) == 0 {
		return d.String() + " heartbeat"
	}
	w := &traceWriter{}
	fmt.Fprintf(w, "%v ch=%d ", d, f.Channel)
	if f.Type == TypeSASL {
		w.sasl(f.Body)
	} else {
		t.performative(w, f)
	}
	return w.String()
}

// Frames calls line for each of the frames that raw holds, whole and one after
// the other, as a writer gathers them.
func (t *Tracer) Frames(d Direction, raw []byte, line func(string)) {
	r := NewFrameReader(strings.NewReader(string(raw)), uint32(max(len(raw), FrameHeaderSize)))
	for {
		f, err := r.Next()
		if err != nil {
			return
		}
		line(t.Frame(d, f))
	}
}

// performative writes the body of an AMQP frame.
func (t *Tracer) performative(w *traceWriter, f Frame) {
	code, err := BodyCode(f.Body)
	if err != nil {
		w.malformed(err)
		return
	}
	switch code {
	case CodeOpen:
		w.open(f.Body)
	case CodeBegin:
		w.begin(f.Body)
	case CodeAttach:
		if a := w.attach(f.Body); a != nil {
			t.learn(f.Channel, a)
		}
	case CodeFlow:
		w.flow(f.Body)
	case CodeTransfer:
		w.transfer(f.Body, func(handle uint32) bool { return t.isNode(f.Channel, handle) })
	case CodeDisposition:
		w.disposition(f.Body)
	case CodeDetach, CodeEnd, CodeClose:
		w.last(code, f.Body)
	default:
		fmt.Fprintf(w, "performative 0x%02x (%d bytes)", code, len(f.Body))
	}
}

// learn notes whether a link leads to a node whose messages may be looked at.
func (t *Tracer) learn(channel uint16, a *Attach) {
	control := false
	if a.Source != nil && isControl(a.Source.Address) || a.Target != nil && isControl(a.Target.Address) {
		control = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := traceLink{uint32(channel), a.Handle}
	if !control {
		delete(t.nodes, key)
		return
	}
	if t.nodes == nil {
		t.nodes = map[traceLink]bool{}
	}
	t.nodes[key] = true
}

func isControl(address string) bool {
	return strings.HasSuffix(address, "$cbs") || strings.HasSuffix(address, "$management")
}

func (t *Tracer) isNode(channel uint16, handle uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.nodes[traceLink{uint32(channel), handle}]
}
