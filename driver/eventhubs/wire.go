package eventhubs

import (
	"encoding/binary"
	"errors"
	"math"
	"net"

	"github.com/hubferry/hubferry/internal/amqp"
)

// wire is the net.Conn below a go-amqp connection. It hands frames on as they are, but
// for two changes to what comes in:
//
// The payload of each transfer is wrapped as a data section. go-amqp decodes every
// message before it delivers it, and that decoding loses what INV-5 promises to keep
// (symbols become strings, a null body becomes none, the order of properties is gone)
// and detaches the link when it meets what it does not know: char, decimals, lists in
// arrays. On a link to a partition the same event would come again and again. Wrapped,
// a message reaches us as it stands, and internal/amqp decodes it.
//
// The max-message-size that a peer announces for a link on which it sends is doubled.
// go-amqp detaches a link on a message of more than that, and Event Hubs' annotations,
// with the wrapping, can push a large event over it.
//
// It also reads far ahead of go-amqp, whose own reads are of a frame or two.
type wire struct {
	net.Conn
	frames *amqp.FrameReader
	block  bool // whether the frame reader may wait for the network
	tracer amqp.Tracer
	trace  func(line string) // nil: no tracing

	// What is to be delivered before the next frame is taken. The payload points into
	// the frame reader's buffer.
	head, payload []byte
	scratch       []byte
}

// maxFrame is the max-frame-size that go-amqp announces by default.
const maxFrame = 65536

func newWire(c net.Conn, trace func(line string)) *wire {
	w := &wire{Conn: c, trace: trace}
	w.frames = amqp.NewFrameReader(inner{w}, maxFrame)
	return w
}

// inner is the network as the frame reader sees it.
type inner struct{ w *wire }

// errNotNow stops the frame reader, which keeps what it has, before it waits.
var errNotNow = errors.New("nothing more at hand")

func (in inner) Read(p []byte) (int, error) {
	if !in.w.block {
		return 0, errNotNow
	}
	return in.w.Conn.Read(p)
}

// Read implements net.Conn. It is called by one goroutine. It waits for the first
// bytes only, and then takes the frames that are complete.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := w.deliver(p)
	for n < len(p) {
		w.block = n == 0
		if err := w.next(); err != nil && n == 0 {
			return 0, err
		} else if err != nil {
			return n, nil //nolint:nilerr // nothing more at hand; anything worse comes again
		}
		n += w.deliver(p[n:])
	}
	return n, nil
}

// deliver copies what is due to p.
func (w *wire) deliver(p []byte) int {
	n := copy(p, w.head)
	w.head = w.head[n:]
	if len(w.head) == 0 {
		m := copy(p[n:], w.payload)
		w.payload = w.payload[m:]
		n += m
	}
	return n
}

// next takes a protocol header or a frame from the stream.
func (w *wire) next() error {
	h, err := w.frames.PeekHeader()
	if err != nil {
		return err
	}
	if h.Valid() { // as the size of a frame this would be beyond any limit
		if h, err = w.frames.Header(); err != nil {
			return err
		}
		if w.trace != nil {
			w.trace(w.tracer.Header(amqp.Received, h))
		}
		w.scratch = append(w.scratch[:0], h[:]...)
		w.head = w.scratch
		return nil
	}
	f, err := w.frames.Next()
	if err != nil {
		return err
	}
	if w.trace != nil {
		w.trace(w.tracer.Frame(amqp.Received, f))
	}
	body := f.Body
	if code, err := amqp.BodyCode(body); f.Type == amqp.TypeAMQP && len(body) > 0 && err == nil {
		switch code {
		case amqp.CodeTransfer:
			w.wrap(f)
			return nil
		case amqp.CodeAttach:
			raiseLimit(body)
		}
	}
	w.frame(f, body, nil)
	return nil
}

// wrap makes the payload of a transfer a data section. A delivery of several frames
// becomes several sections, which the reader of the message puts together again.
func (w *wire) wrap(f amqp.Frame) {
	var t amqp.Transfer
	payload, err := t.Decode(f.Body)
	if err != nil || t.Aborted { // go-amqp reports it, or drops the delivery
		w.frame(f, f.Body, nil)
		return
	}
	performative := f.Body[:len(f.Body)-len(payload)]
	w.frame(f, performative, payload)
}

// frame prepares a frame with a body of two parts; the second, if not nil, is wrapped.
func (w *wire) frame(f amqp.Frame, body, payload []byte) {
	out, mark := amqp.BeginFrame(w.scratch[:0], f.Type, f.Channel)
	out = append(out, body...)
	if payload != nil {
		out = append(amqp.AppendSection(out, amqp.CodeData), byte(amqp.CodeBinary32))
		out = binary.BigEndian.AppendUint32(out, uint32(len(payload)))
	}
	out = amqp.EndFrame(out, mark)
	size := binary.BigEndian.Uint32(out[mark:]) + uint32(len(payload))
	binary.BigEndian.PutUint32(out[mark:], size)
	w.head, w.payload, w.scratch = out, payload, out
}

// raiseLimit doubles the max-message-size of an attach from the sending peer, in place.
// It is field 11 of 14; the role is field 3, and false is a sender.
func raiseLimit(body []byte) {
	const roleField, sizeField = 2, 10
	d := amqp.NewDecoder(body)
	d.Descriptor()
	items, n := d.List()
	if n <= sizeField || items.Err() != nil {
		return
	}
	for i := range sizeField {
		if i == roleField {
			if receiver := items.Bool(); receiver {
				return
			}
			continue
		}
		items.Skip()
	}
	at := items.Rest()
	size := items.Raw()
	if items.Err() != nil {
		return
	}
	switch amqp.Code(size[0]) {
	case amqp.CodeUlong:
		limit := binary.BigEndian.Uint64(at[1:])
		if limit > math.MaxUint64/2 {
			limit = 0 // none
		}
		binary.BigEndian.PutUint64(at[1:], 2*limit)
	case amqp.CodeSmallUlong: // less than any message; it cannot be meant
		at[1] = 0
	}
}

// Write implements net.Conn. go-amqp writes each header and each frame with one call.
func (w *wire) Write(p []byte) (int, error) {
	if w.trace != nil {
		w.traceSent(p)
	}
	return w.Conn.Write(p)
}

func (w *wire) traceSent(p []byte) {
	if len(p) == len(amqp.ProtocolHeader{}) {
		if h := amqp.ProtocolHeader(p); h.Valid() {
			w.trace(w.tracer.Header(amqp.Sent, h))
			return
		}
	}
	w.tracer.Frames(amqp.Sent, p, w.trace)
}
