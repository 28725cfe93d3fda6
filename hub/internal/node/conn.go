package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/internal/amqp"
)

// channelMax is what the real service announces.
const channelMax = 4999

// conn is one connection. Fields below "reader" belong to the reading
// goroutine, those below "writer" to the writing one, those below "mu" to
// whoever holds it.
type conn struct {
	node   *Node
	ns     *entity.Namespace
	lim    *Limits
	nc     net.Conn
	log    *slog.Logger
	id     uint64
	remote string
	claims entity.Claims
	trace  *tracer

	// reader
	patience  *patientReader
	frames    *amqp.FrameReader
	sessions  map[uint16]*session
	names     map[linkName]*link
	cbs       [2]*link // the one sender and the one receiver on $cbs
	ingest    ingest
	partBytes int

	// writer
	out    []byte
	tag    [4]byte // of the delivery under way
	batch  entity.Batch
	splice []byte

	// set before the writer starts
	maxFrame  int           // of the frames that the client takes
	heartbeat time.Duration // between frames at most

	mu       sync.Mutex
	space    sync.Cond // the outbox or the pending batches got smaller
	outbox   []byte
	dirty    []*session // with flows or dispositions to write
	links    map[*link]struct{}
	pending  int  // bytes that wait to become durable
	holding  bool // the reader has more to do before the writer is woken
	held     bool // and the writer has been left asleep
	greeted  bool // the handshake is over
	final    bool // write what waits, then close, then hang up
	closeErr *amqp.Error
	finalErr error // why the connection ended, for the log

	readyMu sync.Mutex
	ready   []*link

	wake    chan struct{}
	written chan struct{} // closed when close was written
	ended   chan struct{} // closed when the connection is over
	endOne  sync.Once
	isDown  atomic.Bool // close was queued, or the connection is over
}

type linkName struct {
	name     string
	receiver bool
}

func newConn(n *Node, nc net.Conn) *conn {
	c := &conn{
		node: n, ns: n.ns, lim: &n.cfg.Limits, nc: nc,
		id: n.serial.Add(1), remote: nc.RemoteAddr().String(),
		sessions: map[uint16]*session{}, names: map[linkName]*link{}, links: map[*link]struct{}{},
		wake: make(chan struct{}, 1), written: make(chan struct{}), ended: make(chan struct{}),
	}
	c.space.L = &c.mu
	c.log = n.cfg.Log.With("conn", c.id, "remote", c.remote)
	c.patience = &patientReader{nc: nc, idle: c.lim.Idle + c.lim.Idle/4}
	c.frames = amqp.NewFrameReader(c.patience, c.lim.FrameBytes)
	if n.cfg.Trace != nil {
		c.trace = newTracer(n.cfg.Namespace.Name(), c.id, n.cfg.Trace)
	}
	return c
}

// patientReader gives each read of the socket its own time once the handshake
// is over.
type patientReader struct {
	nc   net.Conn
	idle time.Duration
	on   atomic.Bool
}

func (r *patientReader) Read(b []byte) (int, error) {
	if r.on.Load() {
		if err := r.nc.SetReadDeadline(time.Now().Add(r.idle)); err != nil {
			return 0, err
		}
	}
	return r.nc.Read(b)
}

// serve runs the connection to its end.
func (c *conn) serve(ctx context.Context) {
	defer c.cut()
	c.log.Debug("connected")
	if err := c.handshake(); err != nil {
		level := slog.LevelInfo
		if errors.Is(err, io.EOF) || c.isDown.Load() { // a probe of the port, a shutdown
			level = slog.LevelDebug
		}
		c.log.Log(ctx, level, "connection ended in the handshake", "error", err)
		return
	}
	c.mu.Lock()
	c.greeted = true
	late := c.final
	c.mu.Unlock()
	if late {
		return // shut during the handshake
	}
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.finish(c.read())
	writer.Wait()
	c.release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Debug("disconnected", "error", c.finalErr)
}

// read handles frames until the connection ends.
func (c *conn) read() error {
	for {
		f, err := c.frames.Next()
		if err != nil {
			return err
		}
		if c.trace != nil {
			c.trace.frame(amqp.Received, f)
		}
		if f.Type != amqp.TypeAMQP {
			return protocolError("frame of type %d where AMQP is spoken", f.Type)
		}
		if len(f.Body) > 0 {
			if err := c.handle(f); err != nil {
				return err
			}
		}
		if err := c.backpressure(c.frames.Ready()); err != nil {
			return err
		}
	}
}

// errClosed ends reading after a proper close from either side.
var errClosed = errors.New("closed")

// handle dispatches one frame.
func (c *conn) handle(f amqp.Frame) error {
	code, err := amqp.BodyCode(f.Body)
	if err != nil {
		return err
	}
	if c.isDown.Load() && code != amqp.CodeClose {
		return nil // close was sent; what comes now is late
	}
	switch code {
	case amqp.CodeTransfer:
		return c.onTransfer(f)
	case amqp.CodeFlow:
		return c.onFlow(f)
	case amqp.CodeDisposition:
		return nil // everything is sent settled
	case amqp.CodeBegin:
		return c.onBegin(f)
	case amqp.CodeAttach:
		return c.onAttach(f)
	case amqp.CodeDetach:
		return c.onDetach(f)
	case amqp.CodeEnd:
		return c.onEnd(f)
	case amqp.CodeClose:
		return errClosed
	case amqp.CodeOpen:
		return protocolError("second open")
	}
	return protocolError("unknown performative 0x%02x", code)
}

// A violation is an error of the peer that closes the connection with a
// condition of its own.
type violation struct {
	condition amqp.Symbol
	text      string
}

func (v *violation) Error() string { return string(v.condition) + ": " + v.text }

func protocolError(format string, args ...any) error {
	return &violation{amqp.ErrFramingError, fmt.Sprintf(format, args...)}
}

// finish tells the peer why reading ended, as far as it can still be told, and
// lets the writer go.
func (c *conn) finish(err error) {
	c.mu.Lock()
	if c.finalErr == nil && !errors.Is(err, errClosed) {
		c.finalErr = err
	}
	c.mu.Unlock()
	var size *amqp.FrameSizeError
	var syntax amqp.SyntaxError
	var v *violation
	switch {
	case errors.Is(err, errClosed): // nothing follows from there: no need to linger
		c.shut(nil)
		select {
		case <-c.written:
		case <-c.ended:
		}
		c.cut()
		return
	case errors.As(err, &v):
		c.shut(&amqp.Error{Condition: v.condition, Description: v.text})
	case errors.As(err, &size), errors.As(err, &syntax):
		c.shut(&amqp.Error{Condition: amqp.ErrFramingError, Description: err.Error()})
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.shut(&amqp.Error{Condition: amqp.ErrResourceLimitExceeded, Description: "The connection was silent for longer than the idle time-out."})
	default: // the socket is gone
		c.cut()
		return
	}
	c.linger()
}

// linger reads and throws away until the peer hangs up, for a moment: closing
// a socket with unread input would reset it, and the peer might never see the
// close frame.
func (c *conn) linger() {
	_ = c.nc.SetReadDeadline(time.Now().Add(2 * lingerTime)) // the old one may be over
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 16<<20))
	c.cut()
}

// lingerTime is how long a connection stays after close was written.
const lingerTime = time.Second

// shut sends close, once, and lets the writer end. Frames that wait are written
// before it.
func (c *conn) shut(e *amqp.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final {
		return
	}
	c.final = true
	c.isDown.Store(true)
	if !c.greeted {
		_ = c.nc.Close() // nobody writes yet, and nothing can be said before open
		return
	}
	if e != nil && c.finalErr == nil {
		c.finalErr = e
	}
	c.closeErr = e
	c.signal()
}

// cut ends the connection at once.
func (c *conn) cut() {
	c.endOne.Do(func() { close(c.ended) })
	c.isDown.Store(true)
	_ = c.nc.Close()
	c.mu.Lock()
	c.space.Broadcast()
	c.mu.Unlock()
}

// release frees what the connection held in entity.
func (c *conn) release() {
	for _, s := range c.sessions {
		s.release()
	}
	clear(c.sessions)
}

// backpressure holds the reader while the client makes the server hold too
// much. While more frames are there to be handled at once, the writer is not
// woken for each disposition.
func (c *conn) backpressure(more bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	full := c.full()
	if c.held && (full || !more) {
		c.held = false
		c.signal()
	}
	c.holding = more && !full
	for ; full; full = c.full() {
		if c.isDown.Load() {
			return net.ErrClosed
		}
		c.space.Wait()
	}
	return nil
}

// full is called with mu held.
func (c *conn) full() bool {
	return c.pending > c.lim.PendingBytes || len(c.outbox) > c.lim.OutboxBytes || c.ranges() > maxRanges
}

// maxRanges bounds the dispositions that wait to be written.
const maxRanges = 16384

// ranges is called with mu held. Sessions with many are rare; all are short
// when the writer keeps up.
func (c *conn) ranges() (n int) {
	for _, s := range c.dirty {
		n += len(s.accepted)
	}
	return n
}

// frame appends an AMQP frame and traces it.
func (c *conn) frame(dst []byte, channel uint16, p amqp.Performative) []byte {
	start := len(dst)
	dst = amqp.AppendFrame(dst, channel, p)
	if c.trace != nil {
		c.trace.sent(dst[start:])
	}
	return dst
}

// post puts a control frame into the outbox.
func (c *conn) post(channel uint16, p amqp.Performative) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.postLocked(channel, p)
}

func (c *conn) postLocked(channel uint16, p amqp.Performative) {
	if c.final {
		return // nothing follows close
	}
	c.outbox = c.frame(c.outbox, channel, p)
	c.signal()
}

// signal wakes the writer.
func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
