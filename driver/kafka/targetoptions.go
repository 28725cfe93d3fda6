package kafka

import (
	"cmp"
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/hubferry/hubferry"
)

// The values of TargetOptions.Compression.
const (
	CompressionSource = "source"
	CompressionNone   = "none"
	CompressionGzip   = "gzip"
	CompressionSnappy = "snappy"
	CompressionLZ4    = "lz4"
	CompressionZstd   = "zstd"
)

// codecs are the names of compressions by their numbers in a batch.
var codecs = []string{CompressionNone, CompressionGzip, CompressionSnappy, CompressionLZ4, CompressionZstd}

// The values of TargetOptions.Headers.
const (
	HeadersTyped = "typed"
	HeadersText  = "text"
	HeadersAMQP  = "amqp"
)

// The values of TargetOptions.Timestamp.
const (
	TimestampOriginal = "original"
	TimestampSource   = "source"
	TimestampWrite    = "write"
)

// The values of TargetOptions.Idempotence.
const (
	IdempotenceOn  = "on"
	IdempotenceOff = "off"
)

const (
	defaultPositions     = "hubferry-positions"
	defaultTransactional = "hubferry"
	defaultTxnTimeout    = time.Minute
)

// TargetOptions say how to write to topics.
type TargetOptions struct {
	Compression string `yaml:"compression" jsonschema:"default=source,enum=source,enum=none,enum=gzip,enum=snappy,enum=lz4,enum=zstd" jsonschema_description:"How batches are compressed. 'source' is as the records arrived; events of other services, and events that an editor changed, are not compressed then."`
	Headers     string `yaml:"headers" jsonschema:"default=typed,enum=typed,enum=text,enum=amqp" jsonschema_description:"What headers hold for properties with types. 'typed' is text and one more header, amqp-types, by which Hubferry finds the types again; 'text' is text alone; 'amqp' is what Event Hubs' own Kafka endpoint shows: AMQP-encoded values."`
	Timestamp   string `yaml:"timestamp" jsonschema:"default=original,enum=original,enum=source,enum=write" jsonschema_description:"The timestamp of records: 'original' is when the event was enqueued at the first hub of its way, 'source' at the source of this task, 'write' is now."`
	Idempotence string `yaml:"idempotence" jsonschema:"default=on,enum=on,enum=off" jsonschema_description:"Whether the producer is idempotent. 'off' is for services that refuse it; a repeated write may then be there twice."`

	Ensure            string            `yaml:"ensure" jsonschema:"default=off,enum=off,enum=check,enum=create" jsonschema_description:"Whether the topic is created like the source when it is missing (create), or only compared with it (check): partitions, and settings when the source is a Kafka topic."`
	SyncConfig        bool              `yaml:"syncConfig" jsonschema_description:"Keep the topic's settings equal to those of the source's topic."`
	SyncInterval      time.Duration     `yaml:"syncInterval" jsonschema:"default=10m" jsonschema_description:"How often syncConfig compares."`
	TopicConfig       map[string]string `yaml:"topicConfig" jsonschema_description:"Settings of the topic, such as retention.ms, that ensure and syncConfig use instead of the source's."`
	ReplicationFactor int               `yaml:"replicationFactor" jsonschema_description:"Replicas of a topic that is created. The default is the cluster's."`

	PositionsTopic        string        `yaml:"positionsTopic" jsonschema:"default=hubferry-positions" jsonschema_description:"The compacted topic on the target cluster that keeps positions in the same transactions as the events. It is created when it is missing."`
	TransactionalIDPrefix string        `yaml:"transactionalIdPrefix" jsonschema:"default=hubferry" jsonschema_description:"What transactional ids begin with, for the cluster's access control."`
	TransactionTimeout    time.Duration `yaml:"transactionTimeout" jsonschema:"default=1m" jsonschema_description:"After how long the broker aborts a transaction that was not ended. It must not be above the broker's transaction.max.timeout.ms."`
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate implements hubferry.Options.
func (o *TargetOptions) Validate() []hubferry.Problem {
	var problems []hubferry.Problem
	bad := func(field, format string, args ...any) {
		problems = append(problems, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	for _, e := range []struct {
		field, value string
		known        []string
	}{
		{"compression", o.Compression, append([]string{CompressionSource}, codecs...)},
		{"headers", o.Headers, []string{HeadersTyped, HeadersText, HeadersAMQP}},
		{"timestamp", o.Timestamp, []string{TimestampOriginal, TimestampSource, TimestampWrite}},
		{"idempotence", o.Idempotence, []string{IdempotenceOn, IdempotenceOff}},
		{"ensure", o.Ensure, []string{EnsureOff, EnsureCheck, EnsureCreate}},
	} {
		if e.value != "" && !slices.Contains(e.known, e.value) {
			bad(e.field, "%q is not one of %v", e.value, e.known)
		}
	}
	if o.PositionsTopic != "" && !topicName.MatchString(o.PositionsTopic) {
		bad("positionsTopic", "%q is not a topic name: 1 to 249 letters, digits, dots, underscores and hyphens", o.PositionsTopic)
	}
	if o.ReplicationFactor < 0 || o.ReplicationFactor > math.MaxInt16 {
		bad("replicationFactor", "must be between 1 and %d", math.MaxInt16)
	}
	if o.SyncInterval != 0 && o.SyncInterval < time.Second {
		bad("syncInterval", "must be at least 1s")
	}
	if o.TransactionTimeout != 0 && o.TransactionTimeout < time.Second {
		bad("transactionTimeout", "must be at least 1s")
	}
	return problems
}

// withDefaults returns a copy without empty fields.
func (o TargetOptions) withDefaults() TargetOptions {
	o.Compression = cmp.Or(o.Compression, CompressionSource)
	o.Headers = cmp.Or(o.Headers, HeadersTyped)
	o.Timestamp = cmp.Or(o.Timestamp, TimestampOriginal)
	o.Idempotence = cmp.Or(o.Idempotence, IdempotenceOn)
	o.Ensure = cmp.Or(o.Ensure, EnsureOff)
	o.SyncInterval = cmp.Or(o.SyncInterval, defaultSyncInterval)
	o.PositionsTopic = cmp.Or(o.PositionsTopic, defaultPositions)
	o.TransactionalIDPrefix = cmp.Or(o.TransactionalIDPrefix, defaultTransactional)
	o.TransactionTimeout = cmp.Or(o.TransactionTimeout, defaultTxnTimeout)
	return o
}
