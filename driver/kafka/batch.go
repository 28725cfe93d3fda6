package kafka

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// batchOverhead is the header of a record batch of version 2: base offset, length,
// leader epoch, magic, checksum, attributes, last offset delta, two timestamps, producer
// id and epoch, base sequence, and the number of records (Kafka protocol, "Record
// Batch").
const batchOverhead = 8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4

// Where the fields of a batch are, and its attributes.
const (
	atLength     = 8
	atEpoch      = 12
	atMagic      = 16
	atChecksum   = 17
	atAttributes = 21
	atLast       = 23
	atFirstTime  = 27
	atLastTime   = 35
	atProducer   = 43
	atSequence   = 53
	atCount      = 57

	magic             = 2
	attrTransactional = 1 << 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is some records in their encoding, and what has become of them.
type batch struct {
	run    *pending
	events []*hubferry.Event // what it holds, one record each; the engine's slice
	n      int               // records
	data   []byte
	codec  uint8

	first, last int64 // timestamps: of the first record, and the latest
	sequence    int32
	cost        int64 // of memory
	slot        bool  // it takes a slot of its lane
	sealed      bool
	flying      bool
	unsure      bool // it may be stored although nobody has said so
	acked       bool
	offset      int64 // of the first record; -1 if the broker did not tell
}

// room returns how long the batch would be with another record, uncompressed.
func (b *batch) room(r *record) int {
	n := b.body(r)
	return len(b.data) + varintSize(int64(n)) + n
}

// body returns the length of a record behind its own length.
func (b *batch) body(r *record) int {
	delta := int64(0)
	if b.n > 0 {
		delta = r.time - b.first
	}
	return 1 + varintSize(delta) + varintSize(int64(b.n)) + r.length
}

// add appends a record.
func (b *batch) add(r *record) {
	if b.n == 0 {
		b.first, b.last = r.time, r.time
	}
	b.last = max(b.last, r.time)
	d := binary.AppendVarint(b.data, int64(b.body(r)))
	d = append(d, 0) // attributes: none are defined
	d = binary.AppendVarint(d, r.time-b.first)
	d = binary.AppendVarint(d, int64(b.n))
	d = appendBytes(appendBytes(d, r.key), r.value)
	d = binary.AppendVarint(d, int64(r.count()))
	for i := range r.count() {
		name, value := r.header(i)
		d = binary.AppendVarint(d, int64(len(name)))
		d = appendBytes(append(d, name...), value)
	}
	b.data = d
	b.n++
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

// compress compresses the records with the codec, unless that makes them larger.
func (b *batch) compress(c *compressors) error {
	with, err := c.of(b.codec)
	if err != nil || with == nil {
		return err
	}
	var buf bytes.Buffer
	out, codec := with.Compress(&buf, b.data[batchOverhead:])
	switch {
	case codec == kgo.CodecError:
		return fmt.Errorf("compress a batch with codec %d", b.codec)
	case len(out) >= len(b.data)-batchOverhead:
		b.codec = uint8(kgo.CodecNone)
	default:
		b.data = append(b.data[:batchOverhead], out...)
	}
	return nil
}

// seal writes the header of a batch, for a producer.
func (b *batch) seal(p producerID, transactional bool) {
	be := binary.BigEndian
	attributes := uint16(b.codec)
	if transactional {
		attributes |= attrTransactional
	}
	d := b.data
	be.PutUint64(d, 0) // the broker sets the offset
	be.PutUint32(d[atLength:], uint32(len(d)-atEpoch))
	be.PutUint32(d[atEpoch:], ^uint32(0))
	d[atMagic] = magic
	be.PutUint16(d[atAttributes:], attributes)
	be.PutUint32(d[atLast:], uint32(b.n-1))
	be.PutUint64(d[atFirstTime:], uint64(b.first))
	be.PutUint64(d[atLastTime:], uint64(b.last))
	be.PutUint64(d[atProducer:], uint64(p.id))
	be.PutUint16(d[atProducer+8:], uint16(p.epoch))
	be.PutUint32(d[atSequence:], uint32(b.sequence))
	be.PutUint32(d[atCount:], uint32(b.n))
	be.PutUint32(d[atChecksum:], crc32.Checksum(d[atAttributes:], castagnoli))
}

// nextSequence returns the sequence number that follows n records: it wraps to 0.
func nextSequence(s int32, n int) int32 { return int32((uint32(s) + uint32(n)) & 0x7fffffff) }

func bytesSize(b []byte) int {
	if b == nil {
		return 1 // -1
	}
	return varintSize(int64(len(b))) + len(b)
}

// varintSize returns the length of a zigzag varint.
func varintSize(n int64) int { return (bits.Len64(uint64(n)<<1^uint64(n>>63)|1) + 6) / 7 }

// sizeError is a record over the limit.
type sizeError struct{ size, limit int }

func (t sizeError) Error() string {
	return fmt.Sprintf("the record takes %d bytes, the topic takes at most %d", t.size, t.limit)
}
