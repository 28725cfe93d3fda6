package kafka

import (
	"fmt"
	"math/bits"

	"github.com/twmb/franz-go/pkg/kgo"
)

// batchOverhead is the header of a record batch of version 2: base offset, length,
// leader epoch, magic, checksum, attributes, last offset delta, two timestamps, producer
// id and epoch, base sequence, and the number of records (Kafka protocol, "Record
// Batch").
const batchOverhead = 8 + 4 + 4 + 1 + 4 + 2 + 4 + 8 + 8 + 8 + 2 + 4 + 4

// batchSize returns how many bytes a batch of that record alone takes, uncompressed.
// Records are checked before any of a run is sent: one that the producer refuses in the
// middle would let those behind it overtake.
func batchSize(r *kgo.Record) int {
	n := 1 + 1 + 1 // attributes, timestamp delta, offset delta
	n += bytesSize(r.Key) + bytesSize(r.Value) + varintSize(len(r.Headers))
	for i := range r.Headers {
		n += varintSize(len(r.Headers[i].Key)) + len(r.Headers[i].Key) + bytesSize(r.Headers[i].Value)
	}
	return batchOverhead + varintSize(n) + n
}

func bytesSize(b []byte) int {
	if b == nil {
		return 1 // -1
	}
	return varintSize(len(b)) + len(b)
}

// varintSize returns the length of a zigzag varint of a number that is not negative.
func varintSize(n int) int { return (bits.Len64(uint64(n)<<1|1) + 6) / 7 }

// sizeError is a record over the limit.
type sizeError struct{ size, limit int }

func (t sizeError) Error() string {
	return fmt.Sprintf("the record takes %d bytes, at most %d are sent", t.size, t.limit)
}
