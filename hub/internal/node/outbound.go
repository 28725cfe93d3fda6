package node

import (
	"encoding/binary"
	"strconv"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// This file sends deliveries to clients: events, and replies of $cbs and
// $management.

// outbound is the half of a link on which the client receives.
type outbound struct {
	feed *feed // nil: replies come from queue

	// writer: what is left of a delivery that the window has cut
	rest []byte

	// mu
	queue []reply
	sent  uint32 // delivery-count
	limit uint32 // delivery-count plus credit, as the client says
	drain bool
}

// reply is one message for a reply link.
type reply []byte

// credit is how many deliveries the client takes. Called with mu held.
func (o *outbound) credit() int { return max(0, int(int32(o.limit-o.sent))) }

// run is what one link sends in one turn of the writer.
type run struct {
	credit, window int
	id             uint32 // of the next delivery
	frames         int    // sent in this run
	deliveries     uint32
	atEnd          bool // there was nothing left to send
}

// pump sends what the link can send now, and reports whether it shall be
// called again soon. Only the writer calls it.
func (l *link) pump() (more bool) {
	r, message, ok := l.beginRun()
	if !ok {
		return false
	}
	start := len(l.c.out)
	switch {
	case len(l.out.rest) > 0:
		l.continueDelivery(&r)
		more = len(l.out.rest) == 0
	case message != nil:
		l.c.sendMessage(l, &r, message)
		more = true
	case l.out.feed != nil:
		more = l.pumpFeed(&r)
	default:
		r.atEnd = true
	}
	if l.c.trace != nil {
		l.c.trace.sent(l.c.out[start:])
	}
	return l.endRun(&r, more)
}

// beginRun looks at credit and window, and takes a reply from the queue.
func (l *link) beginRun() (r run, message reply, ok bool) {
	c, s, o := l.c, l.s, l.out
	c.mu.Lock()
	defer c.mu.Unlock()
	if l.detached || s.ended {
		l.abandon()
		return r, nil, false
	}
	r = run{credit: o.credit(), window: s.windows.Room(), id: s.nextDeliveryID}
	switch {
	case s.partial != nil && s.partial != l, r.window == 0:
		// In the middle of another link's delivery, or no window.
		s.wait(l)
		return r, nil, false
	case s.partial == l:
		return r, nil, true
	case r.credit == 0:
		return r, nil, false
	}
	if len(o.queue) > 0 {
		message = o.queue[0]
		o.queue = o.queue[1:]
	}
	return r, message, true
}

// endRun takes over what was sent.
func (l *link) endRun(r *run, more bool) bool {
	c, s, o := l.c, l.s, l.out
	c.mu.Lock()
	defer c.mu.Unlock()
	s.windows.Sent(r.frames)
	s.nextDeliveryID += r.deliveries
	o.sent += r.deliveries
	s.partial = nil
	switch {
	case l.detached:
		l.abandon()
		s.resume()
		return false
	case len(o.rest) > 0:
		s.partial = l
		if s.windows.Room() > 0 { // a flow has come meanwhile, and found nobody who waited
			return true
		}
		s.wait(l)
		return false
	case s.windows.Room() == 0:
		s.wait(l)
		return false
	case r.atEnd && o.drain && o.credit() > 0:
		o.sent = o.limit
		l.markFlow()
	}
	s.resume()
	return more && o.credit() > 0
}

// abandon gives up a delivery in the middle of which the link was detached, so
// that the other links of the session can go on. Called by the writer with mu
// held.
func (l *link) abandon() {
	l.out.rest = nil
	if l.s.partial == l {
		l.s.partial = nil
		l.s.resume()
	}
}

// header writes what stands before the stored bytes of an event.
type header struct {
	link   *link
	metric entity.Info
	now    time.Time // zero: no runtime metric
}

// send appends one event to the output.
func (h *header) send(r *run, rec *entity.Record) {
	c := h.link.c
	const overhead = 512 // frame header, transfer, annotations without the texts below
	if len(rec.Message)+len(rec.Key)+len(rec.Publisher)+overhead > c.maxFrame {
		c.splice = h.appendMessage(c.splice[:0], rec)
		c.sendMessage(h.link, r, c.splice)
		if cap(c.splice) > keepBuffer && r.credit <= int(r.deliveries) {
			c.splice = nil
		}
		return
	}
	out, mark := amqp.BeginFrame(c.out, amqp.TypeAMQP, h.link.s.channel)
	t := h.link.transfer(r.id)
	c.out = amqp.EndFrame(h.appendMessage(t.Append(out), rec), mark)
	r.frames++
	r.deliveries++
	r.id++
}

// transfer is the first transfer of a delivery. Its tag is good until the next call.
func (l *link) transfer(id uint32) amqp.Transfer {
	tag := &l.c.tag
	binary.BigEndian.PutUint32(tag[:], id)
	return amqp.Transfer{
		Handle: l.handle, DeliveryID: amqp.Some(id), DeliveryTag: tag[:],
		// Explicit: JavaScript decodes the body only if this is 0, not null.
		MessageFormat: amqp.Some(amqp.FormatMessage),
		Settled:       true,
	}
}

// appendMessage appends the event as clients get it: annotations, then the
// stored bytes, of which the producer's annotations go in with ours.
func (h *header) appendMessage(dst []byte, rec *entity.Record) []byte {
	if !h.now.IsZero() {
		dst = h.appendMetric(dst)
	}
	own, pairs, bare := splitAnnotations(rec.Message)
	n := 3 + pairs
	if rec.HasKey() {
		n++
	}
	if len(rec.Publisher) > 0 {
		n++
	}
	dst, mark := amqp.BeginMap(amqp.AppendSection(dst, amqp.CodeMessageAnnotations), n)
	dst = amqp.AppendLong(amqp.AppendSymbol(dst, annSequence), rec.Sequence)
	dst = appendDecimal(amqp.AppendSymbol(dst, annOffset), rec.Offset)
	dst = amqp.AppendTimestamp(amqp.AppendSymbol(dst, annEnqueued), amqp.Timestamp(rec.Enqueued))
	if len(rec.Publisher) > 0 {
		dst = amqp.AppendText(amqp.AppendSymbol(dst, annPublisher), rec.Publisher)
	}
	if rec.HasKey() {
		dst = amqp.AppendText(amqp.AppendSymbol(dst, annKey), rec.Key)
	}
	dst = append(dst, own...)
	return append(amqp.EndMap(dst, mark), bare...)
}

// splitAnnotations separates the producer's annotations, if the stored message
// has any, from the rest.
func splitAnnotations(msg []byte) (own []byte, pairs int, bare []byte) {
	if len(msg) < 3 || msg[2] != amqp.CodeMessageAnnotations {
		return nil, 0, msg
	}
	d := amqp.NewDecoder(msg)
	d.Descriptor()
	items, pairs := d.Map()
	return items.Rest(), pairs, d.Rest()
}

// appendDecimal appends a number as a string of decimal digits.
func appendDecimal(dst []byte, v int64) []byte {
	dst = append(dst, byte(amqp.CodeString8), 0)
	start := len(dst)
	dst = strconv.AppendInt(dst, v, 10)
	dst[start-1] = byte(len(dst) - start)
	return dst
}

// appendMetric appends the delivery annotations that tell where the partition
// ends, for clients that asked for them.
func (h *header) appendMetric(dst []byte) []byte {
	dst, mark := amqp.BeginMap(amqp.AppendSection(dst, amqp.CodeDeliveryAnnotations), 4)
	dst = amqp.AppendLong(amqp.AppendSymbol(dst, "last_enqueued_sequence_number"), h.metric.Last)
	dst = appendDecimal(amqp.AppendSymbol(dst, "last_enqueued_offset"), h.metric.LastOffset)
	dst = amqp.AppendTimestamp(amqp.AppendSymbol(dst, "last_enqueued_time_utc"), amqp.Timestamp(h.metric.LastEnqueued))
	dst = amqp.AppendTimestamp(amqp.AppendSymbol(dst, "runtime_info_retrieval_time_utc"), amqp.TimestampOf(h.now))
	return amqp.EndMap(dst, mark)
}

// sendMessage appends one delivery in as many frames as it takes. What the
// window does not allow is kept for continueDelivery.
func (c *conn) sendMessage(l *link, r *run, message []byte) {
	// A delivery that is begun has one frame at least: the window is not empty here.
	l.appendFrames(r, l.transfer(r.id), message, max(1, r.window-r.frames))
	r.deliveries++
	r.id++
	if len(l.out.rest) > 0 { // the memory is not ours to keep
		l.out.rest = append([]byte(nil), l.out.rest...)
	}
}

// continueDelivery sends further frames of a delivery while the window lasts.
func (l *link) continueDelivery(r *run) {
	l.appendFrames(r, amqp.Transfer{Handle: l.handle, Settled: true}, l.out.rest, r.window-r.frames)
}

func (l *link) appendFrames(r *run, t amqp.Transfer, message []byte, most int) {
	c := l.c
	var n int
	c.out, l.out.rest, n = amqp.AppendDelivery(c.out, l.s.channel, t, message, c.maxFrame, most)
	r.frames += n
}
