package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
)

// endpointFlags say how send and peek reach a hub: through a connection of a
// configuration, or with a connection string alone.
type endpointFlags struct {
	config     string
	connection string
	log        logFlags
}

func (f *endpointFlags) add(c *cobra.Command) {
	addConfigFlag(c, &f.config)
	c.Flags().StringVar(&f.connection, "connection", "", "Event Hubs connection `STRING` in the place of a configuration; the address is then without CONNECTION/")
	f.log.add(c, slog.LevelWarn) // healthy means quiet
}

// endpoint is an opened connection and what an address names on it.
type endpoint struct {
	hubferry.Connection
	driver  hubferry.Driver
	address config.Address
}

// endpoint opens what an address names.
func (e *environment) endpoint(ctx context.Context, f *endpointFlags, address string) (*endpoint, error) {
	log := f.log.logger(e.stderr)
	env := hubferry.Env{Log: log, Instance: instance(), Trace: f.log.trace(e.stderr), Budget: 64 << 20}
	if f.connection != "" {
		return e.direct(ctx, f.connection, address, env)
	}
	a, err := config.ParseAddress(address)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	app, err := e.load(f.config)
	if err != nil {
		return nil, err
	}
	c, err := app.Connect(ctx, a.Connection, env)
	if err != nil {
		return nil, failed(err)
	}
	return &endpoint{Connection: c, driver: app.Connection(a.Connection).Driver, address: a}, nil
}

// direct connects with a connection string.
func (e *environment) direct(ctx context.Context, connection, address string, env hubferry.Env) (*endpoint, error) {
	a, err := config.ParseAddress("connection/" + address)
	if err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("expected an address without a connection, such as telemetry, telemetry/3 or telemetry/3@1841, found %q", address)}
	}
	for _, d := range e.Registry.Drivers {
		if d.Name != "eventhubs" {
			continue
		}
		o := d.Connection()
		if err := decodeOptions(map[string]string{"connectionString": connection}, o); err != nil {
			return nil, &exitError{ExitUsage, errors.New("--connection: this is not a connection string")}
		}
		if problems := o.Validate(); len(problems) > 0 {
			return nil, &exitError{ExitUsage, fmt.Errorf("--connection: %s", problems[0].Message)}
		}
		c, err := d.Connect(ctx, o, env)
		if err != nil {
			return nil, failed(err)
		}
		return &endpoint{Connection: c, driver: d, address: a}, nil
	}
	return nil, &exitError{ExitUsage, errors.New("--connection: this program has no driver for Event Hubs")}
}

// source opens a source without a consumer group's effect: the group is only read with.
func (p *endpoint) source(ctx context.Context, group string) (hubferry.Source, error) {
	if p.driver.Source == nil {
		return nil, hubferry.ErrNoRole
	}
	o := p.driver.Source()
	if err := decodeOptions(map[string]string{"consumerGroup": group}, o); err != nil {
		return nil, err
	}
	return p.Source(ctx, p.address.Entity, o)
}

// writer opens a writer that adds no provenance: what is sent begins here.
func (p *endpoint) writer(ctx context.Context) (hubferry.Writer, error) {
	if p.driver.Target == nil {
		return nil, hubferry.ErrNoRole
	}
	t, err := p.Target(ctx, p.driver.Target())
	if err != nil {
		return nil, err
	}
	return t.Open(ctx, p.address.Entity, hubferry.Trail{Mode: hubferry.TrailNone})
}

// decodeOptions sets options by their keys. Keys that a driver does not have are left
// alone: a Kafka source has no consumer group of Event Hubs.
func decodeOptions(keys map[string]string, o hubferry.Options) error {
	var b strings.Builder
	for k, v := range keys {
		if v != "" {
			fmt.Fprintf(&b, "%s: %q\n", k, v)
		}
	}
	return yaml.Unmarshal([]byte(b.String()), o)
}
