// Package eventhubs is the driver for Azure Event Hubs, and for whatever speaks its
// protocol: Microsoft's emulator, the embedded hub.
//
// It stands on an AMQP client and on azidentity, but not on the azeventhubs SDK. That SDK
// gives every event without a message id a random one, which would change events (INV-5),
// and repeats sends whose outcome is unknown, which would hide duplicates. The client is
// Azure's library, go-amqp, or our own (package internal/amqpclient); see
// ConnectionOptions.Client. Messages are in their encoding with both, and package
// internal/amqpevent reads and writes them. go-amqp itself would decode them, and can
// neither keep every type nor keep a link attached on those that it does not know: so the
// type wire, below it, hands messages through it as they are, several at a time.
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
//	                            name the last, the others in hubferry-repeated
//	Content.Annotations         message annotations, but not those of the service
//	Content.Footer              footer
//	BodyData                    one data section
//	BodyNull                    an empty data section and the property hubferry-null-body;
//	                            read from a message without body sections as well
//	BodyAMQP                    the sections as they are
//
// A text that is not UTF-8 is carried as binary, and a property name that is not loses
// the bytes that are wrong; both are reported. Reported means a line in the log: at the
// first time, and then once a minute with the number of times. Event Hubs drops the
// header section of what it stores.
//
// An event is refused (poison) when its content cannot be decoded, when a text key is
// not UTF-8, or when a message property has a type that AMQP does not allow for it.
//
// The two properties that begin with hubferry- are taken away again when they are read
// (hubferry.MarkNullBody, hubferry.MarkRepeated): a Kafka record comes out of an event hub
// as it went in.
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
// For effectively-once delivery (G-8) the writer reads its own hub: with the target's
// tailConsumerGroup, without an epoch, to the end that the service names. Layout.Late is
// sendTimeout: a batch that has missed it is not sent any more, and one that was sent is
// taken to be stored within it or never. That the service stores at once what it has
// received is an assumption; there is no way to call a batch back.
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
// size of the largest of late, and its session's window has no more frames than fit the
// share if each is full. So what has come and waits stays within the share even when events
// of a kilobyte are suddenly followed by events of a megabyte; one event always has room.
// Frames of at most 4 KiB are asked for, which is what makes such a window useful.
//
// go-amqp itself keeps queues of about 120 KB for each open receiver and 80 KB for each
// sender, beside the budget, most of which is never touched. The native client keeps
// buffers of less than 1 MiB for each connection. Messages that come together share memory
// of up to 32 KiB in it, so that an event that is kept can keep others of its partition.
//
// At most 40 management reads per second are made per namespace, and never more than 50 in a
// second, which the service allows. Each process counts for itself.
//
// # Not supported
//
// Publisher policies, idempotent producers, sending to the hub without choosing a
// partition.
package eventhubs
