package amqpclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/hubferry/hubferry/internal/amqp"
)

const (
	// MaxFrame is the largest frame that is taken from a peer. It is small because the peer is
	// told in frames how much it may send ahead, however full they are: see amqp.ByteWindow.
	MaxFrame = 4096
	// maxSent is the largest frame that is sent.
	maxSent = 65536
	// channelMax is how many channels there are at most, less one.
	channelMax = 65535
	// writeTimeout is how long the peer may leave what is written to it in the network.
	writeTimeout = 30 * time.Second
	// farewell is how long the peer's close is waited for after ours.
	farewell = 2 * time.Second
)

// Options say how to open a connection.
type Options struct {
	ContainerID string
	Hostname    string
	// IdleTimeout is how long the peer may be silent, 0 for ever. Half of it is announced.
	IdleTimeout time.Duration
	Properties  amqp.Map
	// Trace gets a line of text for each frame, without secrets; nil is off. It is called
	// by two goroutines.
	Trace func(line string)
}

// Conn is an open connection. It may be used by several goroutines.
type Conn struct {
	nc     net.Conn
	frames *amqp.FrameReader
	trace  func(line string)
	tracer amqp.Tracer

	// set before the goroutines start
	maxFrame   int           // of frames that the peer takes
	channelMax uint16        // of the peer
	heartbeat  time.Duration // how often the peer wants to hear something, 0: never

	// reader
	byPeer  map[uint16]*Session // by the channel on which the peer sends
	touched []*Receiver         // have got messages from what was read last
	active  []*Session          // have got transfers from what was read last

	// writer
	out    []byte
	latest time.Time // when out must have left; zero: see writeTimeout

	mu       sync.Mutex
	sessions map[uint16]*Session // by the channel on which we send
	outbox   []byte              // control frames in their encoding
	flows    []*Session          // with flows to write
	ready    []*Sender           // may have something to send
	settled  []*Session          // with deliveries to settle
	err      error               // why the connection is over
	final    *amqp.Close         // is to be written last

	wake  chan struct{}
	done  chan struct{} // closed when nothing can be done with the connection any more
	heard chan struct{} // closed when the peer has nothing more to say
	tasks sync.WaitGroup
}

// Open opens a connection over nc, with SASL ANONYMOUS, as long as ctx allows. It takes nc
// over: it is closed with the connection, and on an error.
func Open(ctx context.Context, nc net.Conn, o Options) (*Conn, error) {
	c := &Conn{
		nc: nc, trace: o.Trace,
		byPeer: map[uint16]*Session{}, sessions: map[uint16]*Session{},
		wake: make(chan struct{}, 1), done: make(chan struct{}), heard: make(chan struct{}),
	}
	idle := &patience{nc: nc}
	c.frames = amqp.NewFrameReader(idle, MaxFrame)
	stop := context.AfterFunc(ctx, func() { _ = nc.Close() })
	err := c.handshake(&o)
	if !stop() && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	idle.most = o.IdleTimeout
	c.tasks.Go(c.read)
	c.tasks.Go(c.write)
	return c, nil
}

// patience bounds how long a read waits.
type patience struct {
	nc   net.Conn
	most time.Duration
}

func (p *patience) Read(b []byte) (int, error) {
	if p.most > 0 {
		if err := p.nc.SetReadDeadline(time.Now().Add(p.most)); err != nil {
			return 0, err
		}
	}
	return p.nc.Read(b)
}

// Done is closed when the connection is over.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection is over, an *EndError, or nil while it is not.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and everything on it. It says goodbye and waits for the peer to
// do the same, not longer than a moment or than ctx allows, and always closes the network
// connection. It may be called several times.
func (c *Conn) Close(ctx context.Context) error {
	c.end(&EndError{What: "connection", Err: ErrClosed}, &amqp.Close{})
	stop := context.AfterFunc(ctx, func() { _ = c.nc.Close() })
	defer stop()
	c.tasks.Wait()
	return context.Cause(ctx)
}

// end makes the connection over, once, with everything on it. A last frame, if there is one,
// is left to the writer; without one the network connection is cut.
func (c *Conn) end(why *EndError, last *amqp.Close) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err, c.final = why, last
	for _, s := range c.sessions {
		s.endLocked(why)
	}
	close(c.done)
	if last == nil {
		_ = c.nc.Close()
	}
	c.signal()
}

// read handles frames until the connection is over and the peer has nothing more to say.
func (c *Conn) read() {
	defer close(c.heard)
	err := c.readFrames()
	var broken violation
	var syntax amqp.SyntaxError
	var size *amqp.FrameSizeError
	why := &EndError{What: "connection", Err: err}
	switch {
	case errors.Is(err, errPeerClosed): // said there
	case errors.As(err, &broken), errors.As(err, &syntax), errors.As(err, &size):
		c.end(why, &amqp.Close{Error: &amqp.Error{Condition: amqp.ErrFramingError, Description: err.Error()}})
		c.linger()
	case errors.Is(err, os.ErrDeadlineExceeded):
		why.Err = errSilent
		fallthrough
	default:
		c.end(why, nil)
		_ = c.nc.Close() // also when it ended before, and waits for the peer
	}
}

// linger throws away what comes, for a moment: closing a socket with unread input would
// reset it, and the peer might never see the reason.
func (c *Conn) linger() {
	_ = c.nc.SetReadDeadline(time.Now().Add(farewell))
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, 16<<20))
}

// errPeerClosed ends reading after the peer's close.
var errPeerClosed = errors.New("the peer closed the connection")

func (c *Conn) readFrames() error {
	for {
		f, err := c.frames.Next()
		if err != nil {
			return err
		}
		if c.trace != nil {
			c.trace(c.tracer.Frame(amqp.Received, f))
		}
		if f.Type != amqp.TypeAMQP {
			return violation("a frame that is not AMQP's")
		}
		if len(f.Body) > 0 {
			if err := c.handle(f); err != nil {
				return err
			}
		}
		if !c.frames.Ready() {
			c.hand()
		}
	}
}

// handle dispatches one frame.
func (c *Conn) handle(f amqp.Frame) error {
	code, err := amqp.BodyCode(f.Body)
	if err != nil {
		return err
	}
	switch code {
	case amqp.CodeTransfer:
		return c.onTransfer(f)
	case amqp.CodeClose:
		return c.onClose(f)
	case amqp.CodeBegin:
		return c.onBegin(f)
	}
	s := c.byPeer[f.Channel]
	if s == nil {
		return violation("a frame on a channel without a session")
	}
	switch code {
	case amqp.CodeFlow:
		return s.onFlow(f)
	case amqp.CodeDisposition:
		return s.onDisposition(f)
	case amqp.CodeAttach:
		return s.onAttach(f)
	case amqp.CodeDetach:
		return s.onDetach(f)
	case amqp.CodeEnd:
		return s.onEnd(f)
	}
	return violation("an unknown performative")
}

// onClose answers the peer's close, unless that is itself the answer to ours.
func (c *Conn) onClose(f amqp.Frame) error {
	var last amqp.Close
	if _, err := last.Decode(f.Body); err != nil {
		return err
	}
	c.hand()
	c.end(ended("connection", last.Error), &amqp.Close{})
	return errPeerClosed
}

// hand passes on what was received, at the end of what was at hand.
func (c *Conn) hand() {
	if len(c.active) > 0 {
		c.count()
	}
	for i, r := range c.touched {
		r.hand()
		c.touched[i] = nil
	}
	c.touched = c.touched[:0]
}

// count accounts for the transfers that have come, before anybody can have done with them.
func (c *Conn) count() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, s := range c.active {
		due := s.windows.Received(s.fresh)
		if r := s.bounded; r != nil {
			s.bytes.Came(s.fresh, r.bytes, int64(len(r.part)))
			due, r.bytes = s.bytes.Due(), 0
		}
		if due {
			s.markFlow()
		}
		s.fresh = 0
		c.active[i] = nil
	}
	c.active = c.active[:0]
}

// post leaves a control frame to the writer. Called with mu held.
func (c *Conn) post(channel uint16, p amqp.Performative) {
	if c.err != nil {
		return
	}
	c.outbox = amqp.AppendFrame(c.outbox, channel, p)
	c.signal()
}

// signal wakes the writer.
func (c *Conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}
