package eventhubs

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

// lane writes to one partition, one batch at a time (G-5), over a link of its own.
type lane struct {
	w       *writer
	place   *hubferry.Place
	encoder *amqpevent.Encoder

	buf []byte // the data sections of a batch, each with an encoded message

	// shrunk bounds batches after the service found one too large that its link allows.
	shrunk int

	mu      sync.Mutex
	session session
	sender  sender
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

func (l *lane) limit(sender sender) limits {
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
	// What append has made of a full batch is kept, or every batch would grow it anew.
	if cap(l.buf) > 2*max(limit.batch, keptBuffer) {
		l.buf = nil
	}
	l.buf = l.buf[:0]
	for _, e := range events {
		start := len(l.buf)
		out, mark := ours.BeginData(l.buf)
		if out, err = l.encoder.Append(out, e); err != nil {
			err = l.refused(hubferry.Refused, err, "it is not sent; see onError")
			break
		}
		l.buf = ours.EndData(out, mark)
		if size := len(l.buf); n == 0 && size > limit.message {
			err = l.tooLarge(size, limit.message)
			break
		} else if n > 0 && size > limit.batch {
			l.buf = l.buf[:start]
			break
		}
		n++
	}
	return n, err
}

// tooLarge is the error for an event that no batch can hold.
func (l *lane) tooLarge(size, allowed int) error {
	with, hint := " with its provenance", "provenance: standard or none makes events smaller"
	if l.w.trail.Mode == hubferry.TrailNone {
		with, hint = "", ""
	}
	return l.refused(hubferry.TooLarge, fmt.Errorf("the event takes %d bytes%s, and %d are allowed", size, with, allowed), hint)
}

func (l *lane) refused(kind hubferry.ErrorKind, err error, hint string) error {
	return &hubferry.Error{Kind: kind, Op: "send", Place: l.place, Err: err, Hint: hint}
}

// send sends what fill has encoded and waits for the outcome. An error that leaves the
// link in doubt closes it.
func (l *lane) send(ctx context.Context, sender sender) *hubferry.Error {
	if at, ok := ctx.Deadline(); ok && !time.Now().Before(at) {
		// The process was frozen meanwhile: whoever took over does not expect this any more (G-9).
		return l.failed(ctx, errSendTimeout, false)
	}
	outcome, sent, err := sender.SendBatch(ctx, l.buf)
	if err != nil {
		l.buf = nil // the client may not have done with it
		l.drop()
		return l.failed(ctx, err, sent)
	}
	switch outcome.Code {
	case ours.CodeAccepted:
		return nil
	case ours.CodeRejected:
		if outcome.Error == nil {
			return l.failed(ctx, errReleased, false)
		}
		return classify("send", l.place, outcome.Error, phaseSend)
	case ours.CodeReleased, ours.CodeModified:
		// Neither accepted nor rejected: the service did not act on it. go-amqp's own Send
		// takes this for success.
		return l.failed(ctx, errReleased, false)
	default:
		l.drop()
		return l.failed(ctx, errNoOutcome, true)
	}
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
func (l *lane) link(ctx context.Context) (sender, error) {
	l.mu.Lock()
	sender, closed := l.sender, l.closed
	l.mu.Unlock()
	switch {
	case closed:
		return nil, hubferry.ErrClosed
	case sender != nil && sender.Alive(ctx):
		return sender, nil
	case sender != nil: // lost while nothing was under way: no outcome is in doubt
		l.drop()
	}
	const op = "open sender"
	session, err := l.w.c.session(ctx, l.w.hub)
	if err != nil {
		return nil, classify(op, l.place, err, phaseConnect)
	}
	sender, err = session.Sender(ctx, linkOptions{
		address:      l.w.hub + "/Partitions/" + l.place.Partition,
		settle:       settleMixed,
		capabilities: []ours.Symbol{capGeo},
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
