package faults

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/driver/eventhubs"
	"github.com/hubferry/hubferry/engine"
	"github.com/hubferry/hubferry/hub"
)

// service is where the events of a world come from and go to.
type service interface {
	// task returns source and target as an instance sees them.
	task(ctx context.Context, x *instance, env hubferry.Env) (engine.Task, error)
	// place is the canonical name of the source, as repl-source has it.
	place() string
	// send sends texts of one key directly to the source.
	send(ctx context.Context, key string, texts []string) error
	// read reads the source or the target directly, everything that it retains.
	read(ctx context.Context, side int) ([]audit.Record, int, error)
	// over checks the target when everybody has left.
	over(ctx context.Context) error
	close(ctx context.Context)
}

const (
	source = 0
	target = 1
)

// amqpHubs are two namespaces of embedded hubs, west.test and east.test.
type amqpHubs struct {
	w       *world
	servers [2]*server
	load    sender
}

const hubName = "events"

var hosts = [2]string{"west.test", "east.test"}

func newAMQPHubs(w *world) (*amqpHubs, error) {
	s := &amqpHubs{w: w}
	for side, name := range []string{"west", "east"} {
		o := hub.HubOptions{Name: hubName, Partitions: w.plan.partitions[side], ConsumerGroups: []string{taskName}, Rules: []hub.Rule{rule("first")}}
		s.servers[side] = newServer(filepath.Join(w.dir, name), name, w.log.With("server", name), o)
		if err := s.servers[side].start(w.ctx); err != nil {
			return nil, err
		}
		w.hosts[hosts[side]] = s.servers[side].address
	}
	s.load = sender{server: s.servers[source], hub: hubName}
	return s, nil
}

func (s *amqpHubs) place() string { return hosts[source] + "/" + hubName }

func (s *amqpHubs) task(ctx context.Context, x *instance, env hubferry.Env) (engine.Task, error) {
	var t engine.Task
	var connections [2]hubferry.Connection
	for side := range connections {
		c, err := eventhubs.Connect(ctx, &eventhubs.ConnectionOptions{
			ConnectionString: hubferry.NewSecret(hub.ConnectionString(hosts[side], rule(s.servers[side].key()), hubName)),
			Client:           s.w.plan.driver, IdleTimeout: s.w.plan.idle,
		}, env)
		if err != nil {
			return t, err
		}
		x.later(c.Close)
		connections[side] = c
	}
	from, err := connections[source].Source(ctx, hubName, &eventhubs.SourceOptions{ConsumerGroup: taskName})
	if err != nil {
		return t, err
	}
	to, err := connections[target].Target(ctx, &eventhubs.TargetOptions{SendTimeout: sendTimeout})
	if err != nil {
		return t, errors.Join(err, from.Close(ctx))
	}
	x.later(from.Close)
	x.later(to.Close)
	t.Source = from
	t.Routes = []engine.Route{{Name: "out", Target: to, Hub: hubName, Address: "east/" + hubName}}
	return t, nil
}

func (s *amqpHubs) send(ctx context.Context, key string, texts []string) error {
	return s.load.send(ctx, key, texts)
}

func (s *amqpHubs) read(ctx context.Context, side int) ([]audit.Record, int, error) {
	return s.servers[side].read(ctx, hubName)
}

func (s *amqpHubs) over(context.Context) error { return nil }

func (s *amqpHubs) close(ctx context.Context) {
	s.load.close()
	for _, each := range s.servers {
		_ = each.end(ctx)
	}
}
