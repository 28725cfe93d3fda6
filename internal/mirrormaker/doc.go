// Package mirrormaker understands Apache Kafka's MirrorMaker 2: its configuration, which
// Translate turns into one of ours, and the positions that it leaves behind. It opens
// nothing and reaches no cluster.
//
// The formats are those of Kafka 3.9: connect/mirror (MirrorMakerConfig,
// MirrorSourceConfig, DefaultTopicFilter, DefaultReplicationPolicy) and Connect's
// OffsetBackingStore. testdata/keys-3.9.1.tsv is the list of all keys that its
// ConfigDefs define; the tables in this package are held against it.
package mirrormaker
