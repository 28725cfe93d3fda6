package cli

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
)

// endpointFlags say how send and peek reach a hub: through a connection of a
// configuration, or with a connection string or brokers alone.
type endpointFlags struct {
	config     string
	connection string
	brokers    []string
	log        logFlags
}

func (f *endpointFlags) add(c *cobra.Command) {
	addConfigFlag(c, &f.config)
	c.Flags().StringVar(&f.connection, "connection", "", "Event Hubs connection `STRING` in the place of a configuration; the address is then without CONNECTION/")
	c.Flags().StringSliceVar(&f.brokers, "brokers", nil, "Kafka brokers, `HOST:PORT`, in the place of a configuration; the address is then without CONNECTION/")
	c.MarkFlagsMutuallyExclusive("connection", "brokers")
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
	env, err := e.environ(&f.log, 64<<20)
	if err != nil {
		return nil, err
	}
	switch {
	case f.connection != "":
		return e.direct(ctx, "eventhubs", "--connection", map[string]any{"connectionString": f.connection}, address, env)
	case len(f.brokers) > 0:
		return e.direct(ctx, "kafka", "--brokers", map[string]any{"brokers": f.brokers}, address, env)
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

// direct connects without a configuration, by what a flag says.
func (e *environment) direct(ctx context.Context, driver, flag string, options map[string]any, address string, env hubferry.Env) (*endpoint, error) {
	a, err := config.ParseAddress("connection/" + address)
	if err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("expected an address without a connection, such as telemetry, telemetry/3 or telemetry/3@1841, found %q", address)}
	}
	i := slices.IndexFunc(e.Registry.Drivers, func(d hubferry.Driver) bool { return d.Name == driver })
	if i < 0 {
		return nil, &exitError{ExitUsage, fmt.Errorf("%s: this program has no driver %s", flag, driver)}
	}
	d := e.Registry.Drivers[i]
	o := d.Connection()
	if err := decodeOptions(options, o); err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("%s: this does not name a namespace", flag)} // the cause may hold a secret
	}
	if problems := o.Validate(); len(problems) > 0 {
		return nil, &exitError{ExitUsage, fmt.Errorf("%s: %s", flag, problems[0].Message)}
	}
	c, err := d.Connect(ctx, o, env)
	if err != nil {
		return nil, failed(err)
	}
	return &endpoint{Connection: c, driver: d, address: a}, nil
}

// source opens a source without a consumer group's effect: the group is only read with.
func (p *endpoint) source(ctx context.Context, group string) (hubferry.Source, error) {
	if p.driver.Source == nil {
		return nil, hubferry.ErrNoRole
	}
	o := p.driver.Source()
	if err := decodeOptions(map[string]any{"consumerGroup": group}, o); err != nil {
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
// alone.
func decodeOptions(keys map[string]any, o hubferry.Options) error {
	text, err := yaml.Marshal(keys)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, o)
}
