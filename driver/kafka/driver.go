package kafka

import (
	"context"
	"fmt"

	"github.com/hubferry/hubferry"
)

// Driver returns the driver value.
func Driver() hubferry.Driver {
	return hubferry.Driver{
		Name:       "kafka",
		Connection: func() hubferry.Options { return &ConnectionOptions{} },
		Source:     func() hubferry.Options { return &SourceOptions{} },
		Target:     func() hubferry.Options { return &TargetOptions{} },
		Connect: func(_ context.Context, o hubferry.Options, env hubferry.Env) (hubferry.Connection, error) {
			c, ok := o.(*ConnectionOptions)
			if !ok {
				return nil, fmt.Errorf("connect to kafka: options are %T, not *kafka.ConnectionOptions", o)
			}
			return newConnection(c, env)
		},
		Caps: hubferry.Caps{
			Source: true, Target: true, Partitions: true, Keys: true, NullBody: true,
			Types: valueKinds(), AMQPBodies: true, Annotations: true,
			RepeatedNames: true, Selects: true, Retention: true, MaxEvent: defaultMaxMessage,
		},
	}
}

// valueKinds are all that there are: a header amqp-types says what headers hold.
func valueKinds() []hubferry.Kind {
	all := make([]hubferry.Kind, 0, hubferry.KindDescribed+1)
	for k := hubferry.KindNull; k <= hubferry.KindDescribed; k++ {
		all = append(all, k)
	}
	return all
}
