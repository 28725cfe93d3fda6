package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/Azure/go-amqp"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

// lane writes to one partition, one batch at a time (G-5), over a link of its own.
type lane struct {
	w       *writer
	place   *hubferry.Place
	encoder *amqpevent.Encoder

	buf  []byte // encoded messages of a batch, one after the other
	ends []int  // where each of them ends
	data [][]byte

	// shrunk bounds batches after the service found one too large that its link allows.
	shrunk int

	mu      sync.Mutex
	session *amqp.Session
	sender  *amqp.Sender
	closed  bool
}

const (
	// assumedLimit is the largest message if the service names none.
	assumedLimit = 1 << 20
	// leastBatch is what a batch may always have, however small the memory budget is.
	leastBatch = 64 << 10
	// keptBuffer is how large a buffer a lane keeps between batches when the budget asks
	// for small ones.
	keptBuffer = 256 << 10
)

var (
	errSendTimeout = errors.New("no answer within sendTimeout")
	errReleased    = errors.New("the service did not take the batch")
	errNoOutcome   = errors.New("the service settled the batch without saying how")
)

func newLane(w *writer, place *hubferry.Place) *lane {
	return &lane{w: w, place: place, encoder: amqpevent.NewEncoder(w.trail, w.losses.report)}
}

// write sends events in batches, each of which is stored as a whole or not at all, and
// returns how many events are stored for certain.
func (l *lane) write(ctx context.Context, events []*hubferry.Event) (done int, err error) {
	single := 0 // so many of the next events go one by one
	for done < len(events) {
		sender, err := l.link(ctx)
		if err != nil {
			return done, err
		}
		limit := l.limit(sender)
		most := len(events) - done
		if single > 0 {
			most = 1
		}
		n, err := l.fill(events[done:done+most], limit)
		if n == 0 {
			return done, err
		}
		switch err := l.send(ctx, sender); {
		case err == nil:
			done += n
			single = max(single-n, 0)
		case n > 1 && err.Kind == hubferry.TooLarge:
			// The service allows less than its link says. Nothing of the batch is stored.
			l.shrunk = limit.batch / 2
		case n > 1 && err.Kind == hubferry.Refused:
			// One of them is at fault. Nothing of the batch is stored, so it is found by
			// sending them one by one.
			single = n
		default:
			return done, err
		}
	}
	return done, nil
}

// limits are sizes of whole messages, in bytes.
type limits struct {
	message int // no message may be larger
	batch   int // of several events
}

func (l *lane) limit(sender *amqp.Sender) limits {
	most := assumedLimit
	if n := sender.MaxMessageSize(); n > 0 {
		most = int(min(n, 1<<30))
	}
	if n := l.w.opts.MaxMessageSize; n > 0 {
		most = min(most, n)
	}
	batch := min(most, max(int(l.w.c.budget.writer()), leastBatch))
	if l.shrunk > 0 {
		batch = min(batch, l.shrunk)
	}
	return limits{message: most, batch: batch}
}

// fill encodes as many events as fit one batch and returns their number. The error is
// about the event after them; it is nil if that only did not fit any more.
func (l *lane) fill(events []*hubferry.Event, limit limits) (n int, err error) {
	if cap(l.buf) > max(limit.batch, keptBuffer) {
		l.buf = nil
	}
	l.buf, l.ends = l.buf[:0], l.ends[:0]
	size := 0 // of the batch: a data section for each message, and nothing else
	for _, e := range events {
		start := len(l.buf)
		if l.buf, err = l.encoder.Append(l.buf, e); err != nil {
			err = l.refused(hubferry.Refused, err, "it is not sent; see onError")
			break
		}
		length := len(l.buf) - start
		size += length + ours.DataOverhead(length)
		switch {
		case n == 0 && size > limit.message:
			err = l.refused(hubferry.TooLarge, fmt.Errorf("the event takes %d bytes with its provenance, and %d are allowed", size, limit.message),
				"provenance: standard or none makes events smaller")
		case n > 0 && size > limit.batch:
			l.buf = l.buf[:start]
		default:
			l.ends = append(l.ends, len(l.buf))
			n++
			continue
		}
		break
	}
	return n, err
}

func (l *lane) refused(kind hubferry.ErrorKind, err error, hint string) error {
	return &hubferry.Error{Kind: kind, Op: "send", Place: l.place, Err: err, Hint: hint}
}

// send sends what fill has encoded and waits for the outcome. An error that leaves the
// link in doubt closes it.
func (l *lane) send(ctx context.Context, sender *amqp.Sender) *hubferry.Error {
	l.data = l.data[:0]
	start := 0
	for _, end := range l.ends {
		l.data = append(l.data, l.buf[start:end])
		start = end
	}
	receipt, err := sender.SendWithReceipt(ctx, &amqp.Message{Format: ours.FormatBatch, Data: l.data}, nil)
	if err != nil {
		l.drop()
		return l.failed(ctx, err, !unsent(err))
	}
	state, err := outcome(ctx, receipt)
	if err != nil {
		l.drop()
		return l.failed(ctx, err, true)
	}
	switch s := state.(type) {
	case *amqp.StateAccepted:
		return nil
	case *amqp.StateRejected:
		if s.Error == nil {
			return l.failed(ctx, errReleased, false)
		}
		return classify("send", l.place, s.Error, phaseSend)
	case *amqp.StateReleased, *amqp.StateModified:
		// Neither accepted nor rejected: the service did not act on it. go-amqp's own Send
		// takes this for success.
		return l.failed(ctx, errReleased, false)
	default:
		l.drop()
		return l.failed(ctx, errNoOutcome, true)
	}
}

// outcome waits for the state of a delivery. When the answer and the end of the link
// have both come, go-amqp returns either by chance; asking again finds the answer, and
// an outcome that is known is worth it (G-9).
func outcome(ctx context.Context, receipt amqp.SendReceipt) (state amqp.DeliveryState, err error) {
	const tries = 10
	for range tries {
		if state, err = receipt.Wait(ctx); err == nil {
			return state, nil
		}
	}
	return nil, err
}

// unsent reports whether an error of SendWithReceipt says that the last frame of the
// message was not written: no credit came, the context ended before, or go-amqp itself
// refused it. Without its last frame a message is never stored.
func unsent(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	_, local := err.(*amqp.Error) //nolint:errorlint // wrapped, it would be the peer's
	return local
}

// failed classifies an error of sending. Unsure means that the batch may be stored all
// the same (G-9).
func (l *lane) failed(ctx context.Context, err error, unsure bool) *hubferry.Error {
	err = cause(ctx, err)
	l.mu.Lock()
	if l.closed {
		err = hubferry.ErrClosed
	}
	l.mu.Unlock()
	e := classify("send", l.place, err, phaseSend)
	if e.Kind == hubferry.Unauthorized {
		_ = l.w.c.linkFailed(l.w.hub, e)
	}
	if e.Kind == hubferry.TooLarge { // the link went because of it, so it was not stored
		return e
	}
	e.Unsure = unsure
	if unsure && e.Kind.Poison() { // of the link, not of an event
		e.Kind = hubferry.Transient
	}
	return e
}

// link returns the sender, opening the link if there is none that is alive.
func (l *lane) link(ctx context.Context) (*amqp.Sender, error) {
	l.mu.Lock()
	sender, closed := l.sender, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, hubferry.ErrClosed
	case sender != nil && alive(ctx, sender):
		return sender, nil
	case sender != nil: // lost while nothing was under way: no outcome is in doubt
		l.drop()
	}
	const op = "open sender"
	session, err := l.w.c.session(ctx, l.w.hub)
	if err != nil {
		return nil, classify(op, l.place, err, phaseConnect)
	}
	sender, err = session.NewSender(ctx, l.w.hub+"/Partitions/"+l.place.Partition, &amqp.SenderOptions{
		SettlementMode:              amqp.SenderSettleModeMixed.Ptr(),
		RequestedReceiverSettleMode: amqp.ReceiverSettleModeFirst.Ptr(),
		DesiredCapabilities:         []string{capGeo},
	})
	if err != nil {
		l.w.c.closeSession(ctx, session)
		return nil, l.w.c.linkFailed(l.w.hub, classify(op, l.place, cause(ctx, err), phaseAttach))
	}
	l.mu.Lock()
	closed = l.closed
	if !closed {
		l.session, l.sender = session, sender
		l.w.c.budget.add(0, 1)
	}
	l.mu.Unlock()
	if closed {
		l.w.c.closeSession(ctx, session)
		return nil, hubferry.ErrClosed
	}
	return sender, nil
}

// alive reports whether a link is attached. go-amqp offers no question for it, but it
// looks at the link before it looks at the message: of a message that can never be sent
// (its tag is too long) it complains only if the link is alive.
func alive(ctx context.Context, s *amqp.Sender) bool {
	_, err := s.SendWithReceipt(ctx, &amqp.Message{DeliveryTag: make([]byte, 33)}, nil)
	local, ok := err.(*amqp.Error) //nolint:errorlint // wrapped, it would be the peer's
	return ok && local.Condition == amqp.ErrCondMessageSizeExceeded
}

// drop closes the link, in the background: nothing depends on the peer's answer.
func (l *lane) drop() {
	l.mu.Lock()
	session := l.session
	l.session, l.sender = nil, nil
	l.mu.Unlock()
	if session == nil {
		return
	}
	l.w.c.budget.add(0, -1)
	l.w.c.spawn(func(life context.Context) { l.w.c.closeSession(life, session) })
}

// Close ends the lane, and a write that waits.
func (l *lane) Close(ctx context.Context) error {
	l.mu.Lock()
	session := l.session
	l.session, l.sender, l.closed = nil, nil, true
	l.mu.Unlock()
	if session != nil {
		l.w.c.budget.add(0, -1)
		l.w.c.closeSession(ctx, session)
	}
	return nil
}
