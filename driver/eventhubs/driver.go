package eventhubs

import (
	"strings"

	"github.com/hubferry/hubferry"
)

// Driver returns the driver for Event Hubs and whatever speaks its protocol.
func Driver() hubferry.Driver {
	return hubferry.Driver{
		Name:       "eventhubs",
		Connection: func() hubferry.Options { return new(ConnectionOptions) },
		Source:     func() hubferry.Options { return new(SourceOptions) },
		Target:     func() hubferry.Options { return new(TargetOptions) },
		Connect:    Connect,
		GroupName:  strings.ToLower,
		Caps: hubferry.Caps{
			Source: true, Target: true, Partitions: true, Keys: true, NullBody: true,
			Types: allKinds(), AMQPBodies: true, Annotations: true,
			Epochs: true, Retention: true, MaxEvent: 1 << 20,
		},
	}
}

// allKinds returns every kind of value: the kinds are those of AMQP.
func allKinds() []hubferry.Kind {
	var kinds []hubferry.Kind
	for k := hubferry.KindNull; k <= hubferry.KindDescribed; k++ {
		kinds = append(kinds, k)
	}
	return kinds
}
