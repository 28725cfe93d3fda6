package mem

import (
	"context"
	"fmt"

	"github.com/hubferry/hubferry"
)

// Driver returns the driver for a broker.
func Driver(b *Broker) hubferry.Driver {
	return hubferry.Driver{
		Name:       "mem",
		Connection: func() hubferry.Options { return &ConnectionOptions{} },
		Source:     func() hubferry.Options { return &SourceOptions{} },
		Target:     func() hubferry.Options { return &TargetOptions{} },
		Connect: func(_ context.Context, o hubferry.Options, _ hubferry.Env) (hubferry.Connection, error) {
			c, ok := o.(*ConnectionOptions)
			if !ok {
				return nil, fmt.Errorf("connect to mem: options are %T, not *mem.ConnectionOptions", o)
			}
			return &connection{access{broker: b, namespace: canonical(c.Namespace), key: c.Key.Reveal()}}, nil
		},
		Caps: Caps(),
	}
}

// Caps says what a Log of a Broker can do.
func Caps() hubferry.Caps {
	c := hubferry.Caps{
		Source: true, Target: true, Partitions: true, Keys: true, NullBody: true, AMQPBodies: true,
		Annotations: true, RepeatedNames: true, Epochs: true, Retention: true, MaxEvent: 1 << 20,
	}
	for k := hubferry.KindNull; k <= hubferry.KindDescribed; k++ {
		c.Types = append(c.Types, k)
	}
	return c
}

var _ hubferry.Connection = (*connection)(nil)

type connection struct{ access access }

// Namespace implements hubferry.Connection.
func (c *connection) Namespace(context.Context) (string, error) { return c.access.namespace, nil }

// Source implements hubferry.Connection.
func (c *connection) Source(_ context.Context, hub string, o hubferry.Options) (hubferry.Source, error) {
	s, ok := o.(*SourceOptions)
	if !ok {
		return nil, fmt.Errorf("open source %s: options are %T, not *mem.SourceOptions", hub, o)
	}
	return newSource(c.access, hub, s), nil
}

// Target implements hubferry.Connection.
func (c *connection) Target(context.Context, hubferry.Options) (hubferry.Target, error) {
	return newTarget(c.access), nil
}

// Close implements hubferry.Connection.
func (c *connection) Close(context.Context) error { return nil }
