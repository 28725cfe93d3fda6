// Package eventhubs is the driver for Azure Event Hubs, and for whatever speaks its
// protocol: Microsoft's emulator, the embedded hub.
//
// It stands on Azure's AMQP library, go-amqp, and on azidentity, but not on the
// azeventhubs SDK. That SDK gives every event without a message id a random one, which
// would change events (INV-5), and repeats sends whose outcome is unknown, which would
// hide duplicates. Nor are messages decoded by go-amqp, which cannot keep every type and
// detaches a link on those that it does not know. The type wire, below go-amqp, hands
// messages through it as they are, several at a time; package internal/amqpevent reads
// and writes them.
//
// # Configuration
//
// ConnectionOptions name a namespace, by a connection string or with a credential of
// Microsoft Entra ID. All sources and targets of a connection share one AMQP
// connection, which is opened when it is needed and again when it was lost. Tokens are
// renewed in the background. The identity of a namespace is its lower-case name; the
// port belongs to it for emulators and loopback addresses only (G-1).
//
// SourceOptions need a consumer group that belongs to the task alone (G-10).
// TargetOptions are all optional.
//
// # Mapping
//
//	Event.Key, text             annotation x-opt-partition-key
//	Event.Key, bytes            annotation x-opt-kafka-key; beside it x-opt-partition-key
//	                            if the bytes are text, for consumers that know only that
//	Event.Time, Event.Pos       x-opt-enqueued-time, x-opt-sequence-number, x-opt-offset
//	Place.Incarnation           the hub's created time
//	Content.Message             properties and header, with the types that AMQP demands
//	Content.Properties          application properties: all types; of properties with one
//	                            name only the last (reported)
//	Content.Annotations         message annotations, but not those of the service
//	Content.Footer              footer
//	BodyData                    one data section
//	BodyNull                    no body section
//	BodyAMQP                    the sections as they are
//
// A text that is not UTF-8 is carried as binary, and a property name that is not loses
// the bytes that are wrong; both are reported. Reported means a line in the log: at the
// first time, and then once a minute with the number of times. Event Hubs drops the
// header section of what it stores.
//
// An event is refused (poison) when its content cannot be decoded, when a text key is
// not UTF-8, or when a message property has a type that AMQP does not allow for it.
// Whether the cloud service stores a message with no body section is not verified;
// emulators and the embedded hub do.
//
// Annotations that are about one service or link stay behind: the three above,
// x-opt-publisher-name, and com.microsoft:producer-* of idempotent producers.
//
// # Delivery
//
// Write returns without error when the service has accepted every batch (INV-1). A
// batch is stored as a whole or not at all, so the number of durable events is exact. A
// batch that the service released or modified, outcomes that go-amqp reports as
// success, is an error. When a time-out or a lost connection hides the outcome, the
// error is Unsure (G-9). Nothing is repeated, with one exception: a batch that the
// service has rejected, and so not stored, is divided to find the event at fault.
//
// Event Hubs does not tell a sender where its events came to lie; Receipt.Last says so.
//
// # Ordering
//
// One link per target partition, one batch in flight on it (G-5). Events are always
// sent to a partition, with their key as annotation, as Microsoft's own buffered
// producers do; Layout tells which partition the service itself would choose.
//
// # Limits
//
// Batches are filled to what the link allows, to the byte, or to a share of the memory
// budget when that is less; an event alone may always have all that the link allows. A
// receiver asks for so many events ahead as fit its share of the budget, going by the
// size of the largest of late: when events of a kilobyte are followed by events of a
// megabyte, the share is exceeded once, by at most the prefetch.
//
// go-amqp itself keeps queues of about 120 KB for each open receiver and 80 KB for each
// sender, beside the budget, most of which is never touched.
//
// At most 40 management reads per second are made per namespace; the service allows 50.
//
// # Not supported
//
// Publisher policies, idempotent producers, sending to the hub without choosing a
// partition.
package eventhubs
