package eventhubs

import (
	"encoding/binary"
	"iter"
	"slices"
	"sync"

	"github.com/Azure/go-amqp"

	ours "github.com/hubferry/hubferry/internal/amqp"
)

// merges keeps the numbers right that merging deliveries would upset. Peers count
// transfers, in the session's next-incoming-id, and deliveries, in the link's
// delivery-count. When n deliveries become one, go-amqp counts n-1 too few; so that
// difference, which only grows, is added to what it sends and taken from what it
// receives. All of it is arithmetic modulo 2^32, as in the protocol (AMQP 1.0, part 2,
// 2.5.6 and 2.6.7).
//
// Deliveries are merged on sessions that have a single link, on which the peer sends:
// then the difference of the session is that of the link, and the handle need not be
// known, which each side numbers for itself.
//
// What was merged may not have reached go-amqp yet when a flow leaves, but it has
// reached us, so the numbers never say more than is true.
type merges struct {
	mu     sync.Mutex
	byPeer map[uint16]*inbound // by the channel on which the peer sends
	byOurs map[uint16]*inbound // by the channel on which we do
	bounds map[string]*bound   // of links that are being attached, by their names
}

// inbound is what merges knows of a session.
type inbound struct {
	ours    uint16
	links   int
	merge   bool
	partial bool   // a delivery of several frames is under way
	extra   uint32 // deliveries that go-amqp has not counted
	next    uint32 // the id that the peer's next transfer has
	bound   *bound // nil: none
	whole   int64  // bytes of a delivery that is under way
}

// received appends the body of a begin, end or flow, as go-amqp is to see it.
func (m *merges) received(dst []byte, code uint64, f *ours.Frame) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch code {
	case ours.CodeBegin:
		var b ours.Begin
		if _, err := b.Decode(f.Body); err == nil && b.RemoteChannel.OK {
			m.begin(f.Channel, b.RemoteChannel.V, b.NextOutgoingID)
		}
	case ours.CodeEnd:
		if s := m.byPeer[f.Channel]; s != nil {
			delete(m.byPeer, f.Channel)
			delete(m.byOurs, s.ours)
		}
	case ours.CodeFlow:
		var w ours.Flow
		if s := m.byPeer[f.Channel]; s != nil && s.extra > 0 {
			if _, err := w.Decode(f.Body); err == nil {
				w.NextOutgoingID -= s.extra
				w.DeliveryCount.V -= s.extra
				return w.Append(dst)
			}
		}
	}
	return append(dst, f.Body...)
}

func (m *merges) begin(peer, local uint16, next uint32) {
	if m.byPeer == nil {
		m.byPeer, m.byOurs = map[uint16]*inbound{}, map[uint16]*inbound{}
	}
	s := &inbound{ours: local, next: next}
	m.byPeer[peer], m.byOurs[local] = s, s
}

// attached notes that the peer has attached a link, and whether it sends on it.
func (m *merges) attached(channel uint16, sends bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byPeer[channel]; s != nil {
		s.links++
		s.merge = s.links == 1 && sends
	}
}

// part notes a frame of a delivery, and reports whether it is a whole one that others
// may be merged with. It returns a bound that is to be looked at because of it.
func (m *merges) part(channel uint16, t *ours.Transfer, payload []byte) (merge bool, due *bound) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.byPeer[channel]
	if s == nil {
		return false, nil
	}
	more := t.More && !t.Aborted
	whole := !s.partial && !more
	s.partial = more
	s.came(t, int64(len(payload)))
	if b := s.bound; b != nil && more && b.due() {
		due = b // in the middle of a delivery nobody else would ask
	}
	return whole && s.merge && !t.Aborted, due
}

// came counts a frame.
func (s *inbound) came(t *ours.Transfer, bytes int64) {
	s.next++
	if s.whole += bytes; t.Aborted {
		s.whole = 0
	}
	if t.More && !t.Aborted {
		s.bound.came(0, s.whole)
		return
	}
	s.bound.came(s.whole, 0)
	s.whole = 0
}

// merged notes that a delivery was merged into another.
func (m *merges) merged(channel uint16, t *ours.Transfer, payload []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.byPeer[channel]; s != nil {
		s.extra++
		s.came(t, int64(len(payload)))
	}
}

// sent returns a frame that go-amqp writes, as the peer is to see it.
func (m *merges) sent(frame []byte) []byte {
	const head = ours.FrameHeaderSize
	if len(frame) <= head || frame[5] != ours.TypeAMQP {
		return frame
	}
	code, err := ours.BodyCode(frame[head:])
	if err != nil || code != ours.CodeFlow && code != ours.CodeAttach {
		return frame
	}
	channel := binary.BigEndian.Uint16(frame[6:])
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.byOurs[channel]
	if s == nil {
		return frame
	}
	if code == ours.CodeAttach {
		m.attach(s, frame[head:])
		return frame
	}
	if s.extra == 0 && s.bound == nil {
		return frame
	}
	var w ours.Flow
	if _, err := w.Decode(frame[head:]); err != nil {
		return frame
	}
	w.NextIncomingID.V += s.extra
	w.DeliveryCount.V += s.extra
	w.LinkCredit.V -= s.extra
	if s.bound != nil {
		w.NextIncomingID, w.IncomingWindow = ours.Some(s.next), s.bound.window.Open()
	}
	return ours.AppendFrame(nil, channel, &w)
}

// What a part of a delivery begins with.
const (
	lastPart byte = iota // of a message
	morePart
)

// appendPart wraps what one frame carries of a message.
func appendPart(dst, payload []byte, more bool) []byte {
	kind := lastPart
	if more {
		kind = morePart
	}
	dst = append(ours.AppendSection(dst, ours.CodeData), byte(ours.CodeBinary32))
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(payload)))
	return append(append(dst, kind), payload...)
}

// messages iterates over the messages that a received one stands for, as they were
// before wire wrapped and merged them. Each has its bytes for itself.
func messages(m *amqp.Message) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for first := 0; first < len(m.Data); {
			last := first
			for last < len(m.Data)-1 && isMore(m.Data[last]) {
				last++
			}
			if !yield(join(m.Data[first : last+1])) {
				return
			}
			first = last + 1
		}
	}
}

func isMore(part []byte) bool { return len(part) > 0 && part[0] == morePart }

// join puts the parts of one message together.
func join(parts [][]byte) []byte {
	for i := range parts {
		parts[i] = parts[i][min(1, len(parts[i])):]
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return slices.Concat(parts...)
}
