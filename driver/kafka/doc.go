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
//	Event                     Kafka
//	Key, no key               key, null; an empty key is not null
//	Body                      value
//	Body of kind null         null value (tombstone)
//	Body of kind AMQP         value, the encoded sections, with the header amqp-body
//	Properties                headers, in order, names may repeat
//	  null                    header with a null value
//	  binary                  header
//	  other kinds             header with the text of the value (Value.String)
//	Message, Annotations,     headers amqp-NAME, amqp-annotation-NAME and
//	Footer                    amqp-footer-NAME, with the text of the value
//	Time                      record timestamp when reading; the writer's clock when writing
//	Position                  offset; Epoch is the leader epoch + 1
//	Place                     cluster id, topic, partition; the incarnation is the topic id
//	provenance                headers
//
// When reading, every header is a property of kind binary or null: Kafka does not say
// what the bytes mean. The amqp- headers are not turned back.
//
// # Delivery
//
// The producer is idempotent and waits for all in-sync replicas. A Write whose answer
// did not come is Unsure. Records of transactions are read when they are committed.
//
// # Ordering
//
// A partition keeps the order in which it was written. The engine chooses the partition;
// Layout.Partition is the hash of the Java client's default partitioner.
//
// # Limits
//
// ConnectionOptions.MaxMessageBytes bounds a record before it is sent. The topic's own
// max.message.bytes may be lower: then the broker refuses it.
//
// # Not supported
//
// Consumer groups (partitions are assigned by the balancer over a checkpoint store),
// transactions, Tail, timestamps of the source, Kerberos and OAuth. Each reader has a
// client of its own.
package kafka
