package amqp

import "iter"

// Message formats of transfers.
const (
	// FormatMessage is a message of AMQP 1.0.
	FormatMessage uint32 = 0
	// FormatBatch is the batch envelope of Event Hubs and Service Bus: a message
	// each of whose data sections holds one encoded message.
	FormatBatch uint32 = 0x80013700
)

// BatchMessages iterates over the encoded messages in body, the body sections
// of a batch envelope that Scan has passed. They point into body.
func BatchMessages(body []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		d := NewDecoder(body)
		for d.Len() > 0 {
			d.Descriptor()
			msg := d.Binary()
			if d.Err() != nil || !yield(msg) {
				return
			}
		}
	}
}
