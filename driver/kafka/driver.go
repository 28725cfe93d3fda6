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
			Types:         []hubferry.Kind{hubferry.KindNull, hubferry.KindBinary},
			RepeatedNames: true, Retention: true, MaxEvent: defaultMaxMessage,
		},
	}
}
