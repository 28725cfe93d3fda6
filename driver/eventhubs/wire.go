package eventhubs

import (
	"encoding/binary"
	"errors"
	"math"
	"net"
	"sync"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/amqpclient"
)

// wire is the net.Conn below a go-amqp connection. It hands frames on as they are, but
// for three changes to what comes in:
//
// The payload of each transfer is wrapped as a data section. go-amqp decodes every
// message before it delivers it, and that decoding loses what INV-5 promises to keep
// (symbols become strings, a null body becomes none, the order of properties is gone)
// and detaches the link when it meets what it does not know: char, decimals, lists in
// arrays. On a link to a partition the same event would come again and again. Wrapped,
// a message reaches us as it stands, and internal/amqp decodes it: see messages.
//
// Deliveries that come one behind the other are merged into one of several sections,
// because go-amqp passes each through three goroutines: see merge.go.
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
	merges merges

	pending amqp.Frame // was taken from the stream, and did not fit what came before
	held    bool       // whether pending is one
	due     []byte     // what is to be delivered before the next frame is taken
	out     []byte     // what due is part of

	writing  sync.Mutex // what is announced must leave in its order
	mu       sync.Mutex
	deadline time.Time // of go-amqp's writes
}

// maxFrame is the max-frame-size that is announced. It is small because the peer is told in
// frames how much it may send ahead, however full they are: see bound.
const maxFrame = amqpclient.MaxFrame

// mergeLimit is about how large a merged delivery gets. go-amqp keeps a buffer of the
// largest delivery for each link.
const mergeLimit = 16 << 10

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
	n := copy(p, w.due)
	w.due = w.due[n:]
	return n
}

// next prepares the next protocol header or frame.
func (w *wire) next() error {
	f, held := w.pending, w.held
	if w.held = false; !held {
		h, err := w.frames.PeekHeader()
		if err != nil {
			return err
		}
		if h.Valid() { // as the size of a frame this would be beyond any limit
			return w.header()
		}
		if f, err = w.take(); err != nil {
			return err
		}
	}
	out, mark := amqp.BeginFrame(w.out[:0], f.Type, f.Channel)
	w.out = amqp.EndFrame(w.translate(out, &f), mark)
	w.due = w.out
	return nil
}

func (w *wire) header() error {
	h, err := w.frames.Header()
	if err != nil {
		return err
	}
	if w.trace != nil {
		w.trace(w.tracer.Header(amqp.Received, h))
	}
	w.out = append(w.out[:0], h[:]...)
	w.due = w.out
	return nil
}

// take takes a frame from the stream. Its body is good until the next one is taken.
func (w *wire) take() (amqp.Frame, error) {
	f, err := w.frames.Next()
	if err == nil && w.trace != nil {
		w.trace(w.tracer.Frame(amqp.Received, f))
	}
	return f, err
}

// translate appends the body of a frame as go-amqp is to see it.
func (w *wire) translate(dst []byte, f *amqp.Frame) []byte {
	code, err := amqp.BodyCode(f.Body)
	if f.Type != amqp.TypeAMQP || len(f.Body) == 0 || err != nil {
		return append(dst, f.Body...)
	}
	switch code {
	case amqp.CodeTransfer:
		return w.transfer(dst, f)
	case amqp.CodeBegin, amqp.CodeEnd, amqp.CodeFlow:
		return w.merges.received(dst, code, f)
	case amqp.CodeAttach:
		w.merges.attached(f.Channel, raiseLimit(f.Body))
	}
	return append(dst, f.Body...)
}

// transfer wraps the payload of a transfer, and those of the ones behind it that can be
// merged with it.
func (w *wire) transfer(dst []byte, f *amqp.Frame) []byte {
	var t amqp.Transfer
	payload, err := t.Decode(f.Body)
	if err != nil { // go-amqp reports it
		return append(dst, f.Body...)
	}
	dst = append(dst, f.Body[:len(f.Body)-len(payload)]...)
	merge, due := w.merges.part(f.Channel, &t, payload)
	if due != nil {
		go w.announce(due)
	}
	if t.Aborted {
		return dst
	}
	dst = appendPart(dst, payload, t.More)
	if merge && t.Settled {
		dst = w.gather(dst, f.Channel, t.Handle)
	}
	return dst
}

// gather appends the payloads of the transfers that are at hand, as long as each is a
// whole delivery on the same link.
func (w *wire) gather(dst []byte, channel uint16, handle uint32) []byte {
	for len(dst) < mergeLimit {
		f, ok := w.atHand()
		if !ok {
			break
		}
		var t amqp.Transfer
		payload, err := t.Decode(f.Body)
		if err != nil || f.Type != amqp.TypeAMQP || f.Channel != channel ||
			t.Handle != handle || !t.Settled || t.More || t.Aborted {
			w.pending, w.held = f, true
			break
		}
		dst = appendPart(dst, payload, false)
		w.merges.merged(channel, &t, payload)
	}
	return dst
}

// atHand takes the next frame if it has arrived. An error is for later: it comes again.
func (w *wire) atHand() (f amqp.Frame, ok bool) {
	w.block = false
	if h, err := w.frames.PeekHeader(); err != nil || h.Valid() {
		return f, false
	}
	f, err := w.take()
	return f, err == nil
}

// raiseLimit doubles the max-message-size of an attach from a peer that sends, in place,
// and reports whether it is one. It is field 11 of 14; the role is field 3, and false is
// a sender.
func raiseLimit(body []byte) (sends bool) {
	const roleField, sizeField = 2, 10
	d := amqp.NewDecoder(body)
	d.Descriptor()
	items, n := d.List()
	if n <= sizeField || items.Err() != nil {
		return false
	}
	for i := range sizeField {
		if i == roleField {
			if receiver := items.Bool(); receiver {
				return false
			}
			continue
		}
		items.Skip()
	}
	at := items.Rest()
	size := items.Raw()
	if items.Err() != nil {
		return false
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
	return true
}

// Write implements net.Conn. go-amqp writes each header and each frame with one call.
func (w *wire) Write(p []byte) (int, error) {
	w.writing.Lock()
	defer w.writing.Unlock()
	if err := w.write(w.merges.sent(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// write writes a frame. Called with writing held.
func (w *wire) write(sent []byte) error {
	if w.trace != nil {
		w.traceSent(sent)
	}
	_, err := w.Conn.Write(sent)
	return err
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
