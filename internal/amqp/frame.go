package amqp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Frame types.
const (
	TypeAMQP uint8 = 0
	TypeSASL uint8 = 1
)

// MinMaxFrameSize is the smallest max-frame-size that a peer may announce.
const MinMaxFrameSize = 512

// FrameHeaderSize is the length of the header of the frames written here.
const FrameHeaderSize = 8

// A ProtocolHeader opens each of the protocol layers of a connection.
type ProtocolHeader [8]byte

// The protocol headers of AMQP 1.0.
var (
	HeaderAMQP = ProtocolHeader{'A', 'M', 'Q', 'P', 0, 1, 0, 0}
	HeaderTLS  = ProtocolHeader{'A', 'M', 'Q', 'P', 2, 1, 0, 0}
	HeaderSASL = ProtocolHeader{'A', 'M', 'Q', 'P', 3, 1, 0, 0}
)

// Valid reports whether h begins like an AMQP header, of whatever version.
func (h ProtocolHeader) Valid() bool { return [4]byte(h[:4]) == [4]byte{'A', 'M', 'Q', 'P'} }

// A Frame is one frame without its header.
type Frame struct {
	Type    uint8
	Channel uint16
	Body    []byte // empty for a heartbeat
}

// AppendEmptyFrame appends a heartbeat.
func AppendEmptyFrame(dst []byte) []byte { return append(dst, 0, 0, 0, 8, 2, 0, 0, 0) }

// BeginFrame appends a frame header with room for the size. Append the body,
// then call EndFrame with the mark.
func BeginFrame(dst []byte, typ uint8, channel uint16) (out []byte, mark int) {
	mark = len(dst)
	return append(dst, 0, 0, 0, 0, 2, typ, byte(channel>>8), byte(channel)), mark
}

// EndFrame completes the frame that BeginFrame began.
func EndFrame(dst []byte, mark int) []byte {
	binary.BigEndian.PutUint32(dst[mark:], uint32(len(dst)-mark))
	return dst
}

// AppendFrame appends an AMQP frame.
func AppendFrame(dst []byte, channel uint16, p Performative) []byte {
	dst, mark := BeginFrame(dst, TypeAMQP, channel)
	return EndFrame(p.Append(dst), mark)
}

// AppendSASLFrame appends a SASL frame.
func AppendSASLFrame(dst []byte, p Performative) []byte {
	dst, mark := BeginFrame(dst, TypeSASL, 0)
	return EndFrame(p.Append(dst), mark)
}

// A FrameSizeError says that a peer sent a frame that is larger than it may be
// or smaller than its own header.
type FrameSizeError struct {
	Size, Max uint32
}

// Error names both sizes.
func (e *FrameSizeError) Error() string {
	return fmt.Sprintf("amqp: frame of %d bytes, want 8 to %d", e.Size, e.Max)
}

// A FrameReader takes protocol headers and frames from a stream. It reads ahead
// as much as the stream gives and its buffer grows from 4 KiB to 128 KiB, or to twice
// the maximum frame size if that is more, only as data really arrives. It is
// not for concurrent use.
type FrameReader struct {
	r          io.Reader
	max        uint32
	buf        []byte
	start, end int
}

const (
	firstBuffer = 4 << 10
	largeBuffer = 128 << 10
)

// NewFrameReader returns a reader that refuses frames of more than limit bytes.
func NewFrameReader(r io.Reader, limit uint32) *FrameReader {
	return &FrameReader{r: r, max: limit}
}

// Ready reports whether the next frame has been read ahead as a whole, so that
// Next will not wait.
func (f *FrameReader) Ready() bool {
	n := f.end - f.start
	return n >= FrameHeaderSize && uint64(n) >= uint64(binary.BigEndian.Uint32(f.buf[f.start:]))
}

// Buffered is how many bytes have been read ahead.
func (f *FrameReader) Buffered() int { return f.end - f.start }

// Header reads a protocol header. Anything else that the peer sent, even in
// the same segment, is left for the next call.
func (f *FrameReader) Header() (h ProtocolHeader, err error) {
	if err := f.fill(len(h)); err != nil {
		return h, err
	}
	copy(h[:], f.buf[f.start:])
	f.start += len(h)
	return h, nil
}

// PeekHeader reads ahead and returns the first bytes of the next layer without
// taking them.
func (f *FrameReader) PeekHeader() (h ProtocolHeader, err error) {
	if err := f.fill(len(h)); err != nil {
		return h, err
	}
	copy(h[:], f.buf[f.start:])
	return h, nil
}

// Next returns the next frame. Its body is valid until the following call. The
// error is io.EOF at a clean end between two frames, io.ErrUnexpectedEOF within
// one, a *FrameSizeError, a SyntaxError, or that of the stream.
func (f *FrameReader) Next() (Frame, error) {
	if err := f.fill(FrameHeaderSize); err != nil {
		return Frame{}, err
	}
	head := f.buf[f.start:f.end]
	size := binary.BigEndian.Uint32(head)
	if size < FrameHeaderSize || size > f.max {
		return Frame{}, &FrameSizeError{Size: size, Max: f.max}
	}
	// The extended header is ignored, as the specification asks.
	skip := 4 * uint32(head[4])
	if skip < FrameHeaderSize || skip > size {
		return Frame{}, SyntaxError("frame has a wrong data offset")
	}
	if err := f.fill(int(size)); err != nil {
		return Frame{}, err
	}
	b := f.buf[f.start : f.start+int(size) : f.start+int(size)]
	f.start += int(size)
	frame := Frame{Type: b[5], Body: b[skip:]}
	if frame.Type == TypeAMQP {
		frame.Channel = binary.BigEndian.Uint16(b[6:])
	}
	return frame, nil
}

// fill makes sure that n bytes are buffered.
func (f *FrameReader) fill(n int) error {
	for f.end-f.start < n {
		f.makeRoom(n)
		got, err := f.r.Read(f.buf[f.end:])
		f.end += got
		if f.end-f.start >= n {
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF) && f.end > f.start:
			return io.ErrUnexpectedEOF
		default:
			return err
		}
	}
	return nil
}

// makeRoom moves what is buffered to the front when the rest of the buffer is
// short, and doubles a buffer that a read has filled. A frame's claim of its
// size alone never makes the buffer grow.
func (f *FrameReader) makeRoom(n int) {
	limit := max(largeBuffer, 2*int(f.max))
	switch {
	case f.buf == nil:
		f.buf = make([]byte, min(firstBuffer, limit))
	case f.start == f.end:
		if f.end == len(f.buf) && len(f.buf) < limit { // the last read filled it: more is coming
			f.buf = make([]byte, min(2*len(f.buf), limit))
		}
		f.start, f.end = 0, 0
	case f.end == len(f.buf) && f.start == 0:
		grown := make([]byte, min(2*len(f.buf), limit))
		f.end = copy(grown, f.buf)
		f.buf = grown
	case f.start+n > len(f.buf):
		to := f.buf
		if f.end == len(f.buf) && len(f.buf) < limit { // as above
			to = make([]byte, min(2*len(f.buf), limit))
		}
		f.end = copy(to, f.buf[f.start:f.end])
		f.buf, f.start = to, 0
	}
}
