package amqp

import "math"

// A ByteWindow bounds by bytes what the peer may send ahead on a session. The protocol's
// own window counts frames, so that the bound is exact only as far as frames are small: an
// announced frame is taken to come as large as one may be. It is not for concurrent use.
//
// What has come and is not done with, and what has been announced, stay within the limit
// together. There is one exception, without which nothing would ever come: while no whole
// message is there, leastWindow is always announced. So the bound is the limit, or the
// largest message and leastWindow if that is more.
type ByteWindow struct {
	frame int64 // how large a frame may be
	limit int64
	ahead int64 // announced frames that have not come
	whole int64 // bytes of messages that have come and are not done with
	part  int64 // bytes of a message that has not come as a whole
}

// leastWindow is how many bytes the peer may always send while no whole message is there.
const leastWindow = 64 << 10

// NewByteWindow returns the window of a session whose peer sends frames of at most so many
// bytes.
func NewByteWindow(frame uint32) *ByteWindow { return &ByteWindow{frame: int64(frame)} }

// Limit sets the limit. What has been announced already stays so.
func (w *ByteWindow) Limit(bytes int64) { w.limit = bytes }

// Came accounts for frames that have come: with messages that are complete now, of so many
// bytes, and so many bytes of one that is not.
func (w *ByteWindow) Came(frames int, whole, part int64) {
	w.ahead = max(0, w.ahead-int64(frames))
	w.whole += whole
	w.part = part
}

// Done accounts for messages that nobody holds any more, of so many bytes.
func (w *ByteWindow) Done(bytes int64) { w.whole -= bytes }

// Due reports whether it is time to announce the window: when half of it can be opened
// again, or the peer may be about to wait although nothing is here for the user to take.
func (w *ByteWindow) Due() bool {
	frames := w.frames()
	if w.whole <= 0 && w.ahead*w.frame <= leastWindow/2 {
		return frames > w.ahead
	}
	return frames-w.ahead >= max(w.limit, leastWindow)/w.frame/2
}

// Open returns the window to announce, in frames. Whoever asks announces it.
func (w *ByteWindow) Open() uint32 {
	w.ahead = w.frames()
	return uint32(w.ahead)
}

// frames is how many frames may be on their way.
func (w *ByteWindow) frames() int64 {
	room := w.limit - w.whole - w.part
	if w.whole <= 0 {
		room = max(room, leastWindow)
	}
	return min(max(room/w.frame, w.ahead), math.MaxInt32)
}
