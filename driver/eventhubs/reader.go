package eventhubs

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	ours "github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/amqpevent"
)

var _ hubferry.Reader = (*reader)(nil)

// readerOptions say what a reader reads.
type readerOptions struct {
	hub, group string
	place      *hubferry.Place
	selector   string            // the filter of the link
	after      hubferry.Position // what the filter stands for
	epoch      int64             // or NoEpoch
	prefetch   int
	onClose    func(*reader)
}

// reader delivers the events of one partition.
type reader struct {
	c        *connection
	o        readerOptions
	session  session
	receiver receiver
	credit   credit
	parser   amqpevent.Parser

	last hubferry.Position // of the last event delivered, or where reading began
	end  hubferry.Position // of the partition, as far as the service has told
	list [][]byte          // messages that were received
	seen int               // how many of them were looked at
	next hubferry.Event    // was received, and did not fit the last batch
	held bool              // whether next is one

	closing sync.Once
	closed  chan struct{}
}

// The capabilities that a receiver asks for.
const (
	capMetrics = "com.microsoft:enable-receiver-runtime-metric" // fills Batch.End
	capGeo     = "com.microsoft:georeplication"                 // offsets need not be numbers
)

// openReader opens a receiver link.
func openReader(ctx context.Context, c *connection, o readerOptions) (*reader, error) {
	const op = "open receiver"
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	session, err := c.session(ctx, o.hub)
	if err != nil {
		return nil, classify(op, o.place, err, phaseConnect)
	}
	props := ours.Map{{Key: ours.Symbol("com.microsoft:receiver-name"), Value: c.instance()}}
	if o.epoch != hubferry.NoEpoch {
		props = append(props, ours.Pair{Key: ours.Symbol("com.microsoft:epoch"), Value: o.epoch})
	}
	c.budget.add(1, 0)
	r := &reader{c: c, o: o, session: session, closed: make(chan struct{}), last: o.after, end: hubferry.Position{Sequence: -1}}
	r.credit.init(cmp.Or(o.prefetch, defaultPrefetch))
	room, _ := r.credit.limit(c.budget.reader())
	r.receiver, err = session.Receiver(ctx, linkOptions{
		limit:        room,
		address:      o.hub + "/ConsumerGroups/" + o.group + "/Partitions/" + o.place.Partition,
		target:       c.instance(),
		selector:     o.selector,
		properties:   props,
		capabilities: []ours.Symbol{capMetrics, capGeo},
	})
	if err != nil {
		c.budget.add(-1, 0)
		_ = session.Close(ctx)
		return nil, refused(o, c.linkFailed(o.hub, classify(op, o.place, cause(ctx, err), phaseAttach)))
	}
	if err := r.issue(); err != nil {
		return nil, errors.Join(classify(op, o.place, err, phaseAttach), r.Close(ctx))
	}
	return r, nil
}

// refused adds to an error what is known of the position.
func refused(o readerOptions, err error) error {
	if e, ok := errors.AsType[*hubferry.Error](err); ok && e.Kind == hubferry.Gap {
		e.From, e.To = o.after.Sequence+1, o.after.Sequence // a range that is not known
	}
	return err
}

// oldOffset reports whether a position was refused because its offset is from before the hub
// was geo-replicated. Sequence numbers stay, and the engine compares them.
func oldOffset(err error, after hubferry.Position) bool {
	if hubferry.KindOf(err) != hubferry.Gap || after.Offset == "" {
		return false
	}
	remote, ok := errors.AsType[*ours.Error](err)
	return ok && remote.Condition == condGeoOffset
}

// issue accounts for the events that have been taken, and gives the service credit for more,
// if it is time to.
func (r *reader) issue() error {
	share := r.c.budget.reader()
	r.receiver.Limit(r.credit.limit(share))
	if n := r.credit.more(share); n > 0 {
		return r.receiver.Credit(n)
	}
	return nil
}

// Read implements hubferry.Reader.
func (r *reader) Read(ctx context.Context, b *hubferry.Batch) error {
	b.Events = b.Events[:0]
	if r.isClosed() {
		return hubferry.ErrClosed
	}
	first, err := r.first(ctx)
	if err != nil {
		return r.failed(ctx, err)
	}
	b.Events = append(b.Events, first)
	size := first.Size()
	for len(b.Events) < b.Limit.Events {
		msg, ok := r.prefetched()
		if !ok {
			break
		}
		e := r.convert(msg)
		if size += e.Size(); b.Limit.Bytes > 0 && size > b.Limit.Bytes {
			r.next, r.held = e, true
			break
		}
		b.Events = append(b.Events, e)
	}
	if err := r.issue(); err != nil {
		return r.failed(ctx, err)
	}
	newest := &b.Events[len(b.Events)-1]
	b.Next = newest.Pos
	if f, ok := newest.Form().(*amqpevent.Form); ok {
		if end, ok := f.End(); ok && end.Sequence > r.end.Sequence {
			r.end = end
		}
	}
	b.End = r.end
	return nil
}

// first returns the event that did not fit the last batch, or waits for one.
func (r *reader) first(ctx context.Context) (hubferry.Event, error) {
	if r.held {
		e := r.next
		r.next, r.held = hubferry.Event{}, false
		return e, nil
	}
	for {
		if msg, ok := r.prefetched(); ok {
			return r.convert(msg), nil
		}
		list, err := r.receiver.Receive(ctx, r.list)
		if err != nil {
			return hubferry.Event{}, err
		}
		r.list, r.seen = list, 0
	}
}

// prefetched returns the next message that is at hand.
func (r *reader) prefetched() (msg []byte, ok bool) {
	if r.seen == len(r.list) {
		r.list, r.seen = r.receiver.Take(r.list), 0
		if len(r.list) == 0 {
			return nil, false
		}
	}
	msg, r.list[r.seen] = r.list[r.seen], nil
	r.seen++
	return msg, true
}

// convert makes an event of a message. One whose sections cannot be read is still an
// event at its place: the next after the last. Asking for its content gives the reason.
func (r *reader) convert(msg []byte) hubferry.Event {
	form, facts := r.parser.Parse(msg, 1+len(r.list)-r.seen)
	r.credit.received(form.Size(), len(msg))
	e := hubferry.NewEncodedEvent(form)
	e.Key, e.Time, e.Origin = facts.Key, facts.Time, r.o.place
	e.Pos = hubferry.Position{Sequence: facts.Sequence, Offset: facts.Offset}
	if !facts.Known {
		e.Pos.Sequence = r.last.Sequence + 1
	}
	r.last = e.Pos
	return e
}

// failed says why reading ended.
func (r *reader) failed(ctx context.Context, err error) error {
	switch {
	case r.isClosed():
		return hubferry.ErrClosed
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return context.Cause(ctx)
	}
	return r.c.linkFailed(r.o.hub, classify("read", r.o.place, err, phaseRead))
}

func (r *reader) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// closeTimeout bounds the goodbye of one link, of which nothing depends on.
const closeTimeout = 5 * time.Second

// Close implements hubferry.Reader.
func (r *reader) Close(ctx context.Context) error {
	r.closing.Do(func() {
		close(r.closed)
		r.c.budget.add(-1, 0)
		r.c.closeSession(ctx, r.session)
		if r.o.onClose != nil {
			r.o.onClose(r)
		}
	})
	return nil
}

// closeSession ends a session and with it its link. A session that ended already, or a
// peer that does not answer, is no error to anybody: the link is not ours any more.
func (c *connection) closeSession(ctx context.Context, s session) {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		c.env.Log.Debug("closing a session", "error", err)
	}
}
