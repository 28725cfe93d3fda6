// Package kafka is the driver for Apache Kafka and what speaks its protocol, on
// franz-go.
//
// # Configuration
//
// ConnectionOptions names the brokers, TLS and SASL (plain, scram-sha-256,
// scram-sha-512). The namespace of places is the cluster id, whatever brokers led to
// it; ConnectionOptions.ID replaces it for services that have none.
//
// # Mapping
//
// The whole table, with what becomes of it on event hubs, is in docs/kafka.md.
//
//	Event                     Kafka
//	Key, no key               key, null; an empty key is not null
//	Body                      value
//	Body of kind null         null value (tombstone)
//	Body of kind AMQP         value, the encoded sections, with the header amqp-body
//	Properties                headers, in order, names may repeat
//	  null, binary            header with those bytes or a null value
//	  other kinds             header with text, and an entry in the header amqp-types
//	Message, Annotations,     headers amqp-NAME, amqp-annotation-NAME and
//	Footer                    amqp-footer-NAME
//	Time                      record timestamp; see TargetOptions.Timestamp
//	Position                  offset; Epoch is the leader epoch + 1
//	Place                     cluster id, topic, partition; the incarnation is the topic id
//	provenance                headers
//
// When reading, a header is a property of kind binary or null: Kafka does not say what the
// bytes mean. Records with the header amqp-types were events with types, and become that
// again. A record that nobody looks into is passed on as it is.
//
// # Reading
//
// The consumer group deals partitions out (Coordinated), by cooperative rebalancing: see
// coordinator. Progress is committed in the group, as the offset of the next record, with
// the rest of the checkpoint in the metadata beside it; an offset that another consumer
// has committed is taken for a checkpoint. With SourceOptions.Checkpoints "store", or
// without a group, the source assigns partitions itself and a balancer over a checkpoint
// store shares them.
//
// All readers of a source fetch through one client (pump); a reader that is slow is paused
// and holds nobody up. A topic that was deleted and created again, a log that was cut
// back below what was read (by the leader epoch), and a position that retention has
// overtaken are errors of kind Gap.
//
// # Delivery
//
// The producer is idempotent and waits for all in-sync replicas. A batch whose answer was
// lost is repeated under its sequence number, by which the broker knows it again, until
// ConnectionOptions.DeliveryTimeout; then the error is Unsure. What is certainly not stored
// fails after five seconds, and the engine goes on trying. Records of transactions are read
// when they are committed.
//
// A writer is a Committer: events and the position of their source partition go in one
// transaction, with one transactional id for each source partition (G-12). It is a Tailer
// as well, for services without transactions (G-8).
//
// # Ordering
//
// A partition keeps the order in which it was written, also with several runs in flight
// (Submitter): a broker takes batches by their sequence numbers only. When one fails for
// good, all behind it fail. The engine chooses the partition; Layout.Partition is the hash
// of the Java client's default partitioner.
//
// # Limits
//
// A batch is at most what the topic takes (max.message.bytes), or
// ConnectionOptions.MaxMessageBytes when that is less; batches of several records are at
// most 1 MiB. An event that is too large by itself is refused before anything behind it is
// sent. What all of it may take of the memory budget is in memory.go.
//
// Batches for partitions that one broker leads go in one request, over one of two
// connections; while two requests are on their way over one, what comes gathers.
//
// # Not supported
//
// Kerberos.
package kafka
