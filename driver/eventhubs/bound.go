package eventhubs

import (
	"time"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// This file has wire bound what a partition may send ahead (INV-6). go-amqp opens the window
// of a session by a fixed number of frames, whatever is in them and whether anybody takes it,
// and keeps all that comes. So its flows are rewritten, and others are written between them.

// bound is the window of a session that has one link, on which the peer sends.
type bound struct {
	window  *ours.ByteWindow
	channel uint16   // ours
	session *inbound // nil until the link is being attached
	opening bool     // announce is under way
}

// came accounts for a frame.
func (b *bound) came(whole, part int64) {
	if b != nil {
		b.window.Came(1, whole, part)
	}
}

// bound prepares the bound of a link that is about to be attached.
func (m *merges) bound(link string, limit int64) *bound {
	b := &bound{window: ours.NewByteWindow(maxFrame)}
	b.window.Limit(limit)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bounds == nil {
		m.bounds = map[string]*bound{}
	}
	m.bounds[link] = b
	return b
}

// forget ends what bound has prepared.
func (m *merges) forget(link string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.bounds, link)
}

// attach finds the bound of a link that go-amqp attaches. Called with mu held.
func (m *merges) attach(s *inbound, body []byte) {
	var a ours.Attach
	if _, err := a.Decode(body); err != nil {
		return
	}
	if b := m.bounds[a.Name]; b != nil {
		s.bound, b.session, b.channel = b, s, s.ours
	}
}

// flow makes the flow that opens a window, if it is time to.
func (m *merges) flow(b *bound) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b.opening = false
	s := b.session
	if m.byOurs[b.channel] != s || !b.window.Due() {
		return nil
	}
	return ours.AppendFrame(nil, b.channel, &ours.Flow{
		NextIncomingID: ours.Some(s.next), IncomingWindow: b.window.Open(),
		// Nothing is ever sent on such a session; these are what go-amqp's begin says.
		NextOutgoingID: 0, OutgoingWindow: goAMQPWindow,
	})
}

// goAMQPWindow is go-amqp's outgoing window.
const goAMQPWindow = 5000

// limit sets a bound anew, and accounts for bytes that nobody holds any more.
func (w *wire) limit(b *bound, limit, done int64) {
	w.merges.mu.Lock()
	b.window.Limit(limit)
	b.window.Done(done)
	due := b.due()
	w.merges.mu.Unlock()
	if due {
		go w.announce(b)
	}
}

// due reports whether somebody is to announce the window. Called with merges.mu held.
func (b *bound) due() bool {
	if b.session == nil || b.opening || !b.window.Due() {
		return false
	}
	b.opening = true
	return true
}

// announceTimeout is how long the peer may leave an announcement in the network.
const announceTimeout = 30 * time.Second

// announce opens a window, if it is still time to. It is called in a goroutine of its own,
// because whoever reads must not wait until something is written. When it cannot be written
// the connection is over, as it is for go-amqp.
func (w *wire) announce(b *bound) {
	w.writing.Lock()
	defer w.writing.Unlock()
	frame := w.merges.flow(b)
	if frame == nil {
		return
	}
	err := w.Conn.SetWriteDeadline(time.Now().Add(announceTimeout))
	if err == nil {
		err = w.write(frame)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.Conn.SetWriteDeadline(w.deadline)
	}
	if err != nil {
		_ = w.Conn.Close()
	}
}

// SetWriteDeadline implements net.Conn. go-amqp sets one before each write, which must hold
// for that write alone (G-9) although others may come in between.
func (w *wire) SetWriteDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = t
	return w.Conn.SetWriteDeadline(t)
}
