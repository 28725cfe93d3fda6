package seglog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

const (
	frameMarker = 0x31424648 // "HFB1"
	frameEnd    = 0x45424648 // "HFBE"
	frameHead   = 44
	frameTail   = 4

	// flagPublisher is set in stored records that have a publisher.
	flagPublisher Flags = 1 << 7

	// recordCost is what each record adds to the offset besides its bytes.
	recordCost = 24
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one batch as it stands in a segment.
type frame struct {
	seq, offset, time int64
	count             int
	// size is the whole length, header and end marker included.
	size int
}

// weight is how much an entry adds to the offset.
func weight(e *Entry) int64 {
	return int64(len(e.Key)+len(e.Publisher)+len(e.Message)) + recordCost
}

// frameSize is the length of the frame that encodeFrame makes of entries.
func frameSize(entries []Entry) int {
	n := frameHead + frameTail
	var delta int64
	for i := range entries {
		e := &entries[i]
		n += uvarintLen(uint64(i)) + uvarintLen(uint64(delta)) + 1 + uvarintLen(uint64(len(e.Message))) + len(e.Message)
		if e.HasKey() {
			n += uvarintLen(uint64(len(e.Key))) + len(e.Key)
		}
		if len(e.Publisher) > 0 {
			n += uvarintLen(uint64(len(e.Publisher))) + len(e.Publisher)
		}
		delta += weight(e)
	}
	return n
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}

// encodeFrame appends the frame of a batch to buf. Sequence, offset and time
// are filled in by sealFrame, so that most of the work is done without a lock.
// It returns the offsets of the last record and of what follows, relative to
// the batch.
func encodeFrame(buf []byte, entries []Entry) (b []byte, last, next int64) {
	buf = append(buf, make([]byte, frameHead)...)
	var delta int64
	for i := range entries {
		e := &entries[i]
		buf = appendRecord(buf, int64(i), delta, e)
		last = delta
		delta += weight(e)
	}
	return appendEnd(buf), last, delta
}

func appendEnd(buf []byte) []byte { return binary.LittleEndian.AppendUint32(buf, frameEnd) }

func appendRecord(buf []byte, seqDelta, offsetDelta int64, e *Entry) []byte {
	flags := e.Flags &^ flagPublisher
	if len(e.Publisher) > 0 {
		flags |= flagPublisher
	}
	buf = binary.AppendUvarint(buf, uint64(seqDelta))
	buf = binary.AppendUvarint(buf, uint64(offsetDelta))
	buf = append(buf, byte(flags))
	if e.HasKey() {
		buf = appendBytes(buf, e.Key)
	}
	if len(e.Publisher) > 0 {
		buf = appendBytes(buf, e.Publisher)
	}
	return appendBytes(buf, e.Message)
}

func appendBytes(buf, v []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(v)))
	return append(buf, v...)
}

// bodySum is the checksum of a frame's records.
func bodySum(b []byte) uint32 {
	return crc32.Checksum(b[frameHead:len(b)-frameTail], castagnoli)
}

// sealFrame writes the header of an encoded frame.
func sealFrame(b []byte, f frame, sum uint32) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], frameMarker)
	le.PutUint32(b[4:], uint32(len(b)))
	le.PutUint64(b[8:], uint64(f.seq))
	le.PutUint64(b[16:], uint64(f.offset))
	le.PutUint64(b[24:], uint64(f.time))
	le.PutUint32(b[32:], uint32(f.count))
	le.PutUint32(b[36:], sum)
	le.PutUint32(b[40:], crc32.Checksum(b[:40], castagnoli))
}

// parseFrame reads the header at the start of b, which holds at least
// frameHead bytes. It reports false if the header is not intact.
func parseFrame(b []byte) (frame, bool) {
	le := binary.LittleEndian
	if le.Uint32(b) != frameMarker || le.Uint32(b[40:]) != crc32.Checksum(b[:40], castagnoli) {
		return frame{}, false
	}
	f := frame{
		size: int(le.Uint32(b[4:])), seq: int64(le.Uint64(b[8:])), offset: int64(le.Uint64(b[16:])),
		time: int64(le.Uint64(b[24:])), count: int(le.Uint32(b[32:])),
	}
	return f, f.size >= frameHead+frameTail && f.count > 0 && f.seq >= 0 && f.offset >= 0
}

// frameIntact reports whether the records of a whole frame match their
// checksum and the frame is complete.
func frameIntact(b []byte) bool {
	return bodyIntact(b) && binary.LittleEndian.Uint32(b[len(b)-frameTail:]) == frameEnd
}

func bodyIntact(b []byte) bool { return binary.LittleEndian.Uint32(b[36:]) == bodySum(b) }

// nextRecord decodes the record at the start of b, a part of the body of f,
// and returns what follows it.
func (f frame) nextRecord(b []byte) (r Record, rest []byte, err error) {
	seq, b, ok := cutUvarint(b)
	offset, b, ok2 := cutUvarint(b)
	if !ok || !ok2 || len(b) == 0 || seq > 1<<32 || offset > 1<<48 {
		return r, nil, errRecord(f)
	}
	flags := Flags(b[0])
	b = b[1:]
	r = Record{Sequence: f.seq + int64(seq), Offset: f.offset + int64(offset), Enqueued: f.time}
	r.Flags = flags &^ flagPublisher
	if flags&FlagKey != 0 {
		if r.Key, b, ok = cutBytes(b); !ok {
			return r, nil, errRecord(f)
		}
	}
	if flags&flagPublisher != 0 {
		if r.Publisher, b, ok = cutBytes(b); !ok || len(r.Publisher) == 0 {
			return r, nil, errRecord(f)
		}
	}
	if r.Message, b, ok = cutBytes(b); !ok {
		return r, nil, errRecord(f)
	}
	return r, b, nil
}

func errRecord(f frame) error {
	return fmt.Errorf("malformed record in the batch at sequence number %d", f.seq)
}

func cutUvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

func cutBytes(b []byte) (v, rest []byte, ok bool) {
	n, b, ok := cutUvarint(b)
	if !ok || n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
