package kafka

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// The values of SourceOptions.Checkpoints.
const (
	CheckpointsGroup = "group"
	CheckpointsStore = "store"
)

// The values of SourceOptions.Isolation.
const (
	IsolationCommitted   = "read-committed"
	IsolationUncommitted = "read-uncommitted"
)

// HeadersBytes is the default of SourceOptions.Headers; the other value is HeadersAMQP.
const HeadersBytes = "bytes"

// Defaults of SourceOptions.
const (
	defaultSessionTimeout   = 45 * time.Second // as of the Java client since Kafka 3.0
	defaultRebalanceTimeout = time.Minute
)

// SourceOptions say how to read topics.
type SourceOptions struct {
	ConsumerGroup string `yaml:"consumerGroup" jsonschema_description:"The consumer group, which belongs to this task alone. By default it has the name of the task."`
	Checkpoints   string `yaml:"checkpoints" jsonschema:"enum=group,enum=store,default=group" jsonschema_description:"Where progress is kept. 'group': as committed offsets of the consumer group, which also shares the partitions among instances. 'store': in the checkpoint store, over which the instances then share the partitions by themselves; needed when what a checkpoint holds is too large for the brokers' offset.metadata.max.bytes."`
	Isolation     string `yaml:"isolation" jsonschema:"enum=read-committed,enum=read-uncommitted,default=read-committed" jsonschema_description:"Whether records of transactions are read when they are committed, or at once, also those of transactions that are aborted later."`

	Headers string `yaml:"headers" jsonschema:"enum=bytes,enum=amqp,default=bytes" jsonschema_description:"What headers hold. 'amqp' is for Event Hubs' own Kafka endpoint: properties of events that came over AMQP are AMQP-encoded there, and the partition key is a header."`

	InstanceID       string        `yaml:"instanceId" jsonschema_description:"A name of this instance that stays the same when it restarts, and that no other has (static membership): a restart within sessionTimeout then moves no partitions."`
	SessionTimeout   time.Duration `yaml:"sessionTimeout" jsonschema:"default=45s" jsonschema_description:"When an instance that died counts as gone. The brokers bound it (group.min.session.timeout.ms, group.max.session.timeout.ms)."`
	RebalanceTimeout time.Duration `yaml:"rebalanceTimeout" jsonschema:"default=1m" jsonschema_description:"How long a rebalance waits for an instance. What is in flight for a partition that moves is finished within three quarters of it, or dropped and repeated by the next owner."`
}

var _ hubferry.Options = (*SourceOptions)(nil)

// Validate implements hubferry.Options.
func (o *SourceOptions) Validate() []hubferry.Problem {
	var problems []hubferry.Problem
	bad := func(field, format string, args ...any) {
		problems = append(problems, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	oneOf := func(field, value string, known ...string) {
		if value != "" && !slices.Contains(known, value) {
			bad(field, "%q is not known; use %s", value, strings.Join(known, " or "))
		}
	}
	oneOf("checkpoints", o.Checkpoints, CheckpointsGroup, CheckpointsStore)
	oneOf("isolation", o.Isolation, IsolationCommitted, IsolationUncommitted)
	oneOf("headers", o.Headers, HeadersBytes, HeadersAMQP)
	if o.SessionTimeout < 0 || (o.SessionTimeout > 0 && o.SessionTimeout < time.Second) {
		bad("sessionTimeout", "%v is too short; at least 1s", o.SessionTimeout)
	}
	if o.RebalanceTimeout < 0 || (o.RebalanceTimeout > 0 && o.RebalanceTimeout < time.Second) {
		bad("rebalanceTimeout", "%v is too short; at least 1s", o.RebalanceTimeout)
	}
	if o.Checkpoints == CheckpointsStore && o.InstanceID != "" {
		bad("instanceId", "it is for checkpoints: group; instances that share a store need none")
	}
	return problems
}

func (o *SourceOptions) sessionTimeout() time.Duration {
	if o.SessionTimeout == 0 {
		return defaultSessionTimeout
	}
	return o.SessionTimeout
}

func (o *SourceOptions) rebalanceTimeout() time.Duration {
	if o.RebalanceTimeout == 0 {
		return defaultRebalanceTimeout
	}
	return o.RebalanceTimeout
}
