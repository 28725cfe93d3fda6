package config_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
)

// The drivers, stores and editors of these tests. Their options look like those of the
// real ones; they connect to nothing.

type eventHubsConnection struct {
	ConnectionString hubferry.Secret `yaml:"connectionString" jsonschema_description:"The connection string of the namespace."`
	Namespace        string          `yaml:"namespace" jsonschema_description:"The fully qualified namespace, with a credential."`
	Credential       string          `yaml:"credential" jsonschema:"enum=default,enum=managed-identity,enum=cli,default=default" jsonschema_description:"How to authenticate."`
	Transport        string          `yaml:"transport" jsonschema:"enum=tcp,enum=websocket,default=tcp"`
	Prefetch         int             `yaml:"prefetch" jsonschema:"default=300,minimum=1,maximum=5000"`
	KeepAlive        time.Duration   `yaml:"keepAlive" jsonschema:"default=30s"`
}

func (o *eventHubsConnection) Validate() []hubferry.Problem {
	switch {
	case o.ConnectionString.IsZero() && o.Namespace == "":
		return []hubferry.Problem{{Message: `one of "connectionString" and "namespace" is required`}}
	case !o.ConnectionString.IsZero() && o.Namespace != "":
		return []hubferry.Problem{{Field: "namespace", Message: `"connectionString" names the namespace already`}}
	case !o.ConnectionString.IsZero() && !strings.Contains(o.ConnectionString.Reveal(), "Endpoint=sb://"):
		// A driver that is careless about INV-8.
		return []hubferry.Problem{{Field: "connectionString", Message: "not a connection string: " + o.ConnectionString.Reveal()}}
	}
	return nil
}

type eventHubsSource struct {
	ConsumerGroup string `yaml:"consumerGroup" jsonschema:"required" jsonschema_description:"The consumer group, which belongs to this task alone. There is no default."`
	OwnerLevel    int64  `yaml:"ownerLevel" jsonschema:"minimum=0"`
}

func (o *eventHubsSource) Validate() []hubferry.Problem { return nil }

type eventHubsTarget struct {
	TailConsumerGroup string `yaml:"tailConsumerGroup" jsonschema:"default=$Default"`
}

func (o *eventHubsTarget) Validate() []hubferry.Problem { return nil }

type kafkaConnection struct {
	Brokers []string   `yaml:"brokers" jsonschema:"required" jsonschema_description:"Host and port of some brokers."`
	TLS     *kafkaTLS  `yaml:"tls" jsonschema_description:"Use TLS. An empty map takes the system's certificates."`
	SASL    *kafkaSASL `yaml:"sasl" jsonschema_description:"How to authenticate."`
}

type kafkaTLS struct {
	CA   string `yaml:"ca" jsonschema_description:"A file with certificates."`
	Skip bool   `yaml:"insecureSkipVerify"`
}

type kafkaSASL struct {
	Mechanism string          `yaml:"mechanism" jsonschema:"required,enum=plain,enum=scram-sha-256,enum=scram-sha-512"`
	Username  string          `yaml:"username" jsonschema:"required"`
	Password  hubferry.Secret `yaml:"password" jsonschema:"required"`
}

func (o *kafkaConnection) Validate() []hubferry.Problem {
	var list []hubferry.Problem
	for i, b := range o.Brokers {
		if !strings.Contains(b, ":") {
			list = append(list, hubferry.Problem{
				Field: "brokers[" + string(rune('0'+i)) + "]", Message: "expected host:port",
			})
		}
	}
	if o.SASL != nil && o.SASL.Mechanism == "plain" && o.TLS == nil {
		list = append(list, hubferry.Problem{Field: "sasl.mechanism", Message: "plain sends the password; it needs tls"})
	}
	return list
}

type kafkaSource struct {
	ConsumerGroup string `yaml:"consumerGroup" jsonschema:"default=the task's name"`
	Checkpoints   string `yaml:"checkpoints" jsonschema:"enum=group,enum=store"`
}

func (o *kafkaSource) Validate() []hubferry.Problem { return nil }

type none struct{}

func (o *none) Validate() []hubferry.Problem { return nil }

type postgresConnection struct {
	DSN string `yaml:"dsn" jsonschema:"required"`
}

func (o *postgresConnection) Validate() []hubferry.Problem { return nil }

type postgresTarget struct {
	Mode    string            `yaml:"mode" jsonschema:"enum=append,enum=upsert,default=append"`
	Columns map[string]string `yaml:"columns" jsonschema_description:"Columns and the expressions that fill them."`
}

func (o *postgresTarget) Validate() []hubferry.Problem { return nil }

type sqliteOptions struct {
	Path   string        `yaml:"path" jsonschema:"default=hubferry.checkpoints.db beside the file"`
	Expiry time.Duration `yaml:"expiry" jsonschema:"default=30s"`
}

func (o *sqliteOptions) Validate() []hubferry.Problem { return nil }

type blobOptions struct {
	Account   string `yaml:"account" jsonschema:"required"`
	Container string `yaml:"container" jsonschema:"required"`
	Version   string `yaml:"apiVersion"`
}

func (o *blobOptions) Validate() []hubferry.Problem { return nil }

type filterOptions struct {
	Keep string `yaml:"keep,short" jsonschema:"required" jsonschema_description:"Events for which the expression is true are kept."`
}

func (o *filterOptions) Validate() []hubferry.Problem { return nil }

type decodeOptions struct {
	Format     string  `yaml:"format,short" jsonschema:"required,enum=avro,enum=json"`
	SchemaFile string  `yaml:"schemaFile"`
	Strictness float64 `yaml:"strictness" jsonschema:"minimum=0,maximum=1"`
	Extra      any     `yaml:"extra"`
}

func (o *decodeOptions) Validate() []hubferry.Problem {
	if o.Format == "avro" && o.SchemaFile == "" {
		return []hubferry.Problem{{Field: "schemaFile", Message: "avro needs a schema"}}
	}
	return nil
}

type dropOptions struct {
	Names []string `yaml:"names,short" jsonschema:"required"`
}

func (o *dropOptions) Validate() []hubferry.Problem { return nil }

type hubSection struct {
	Listen     string                  `yaml:"listen" jsonschema:"default=127.0.0.1"`
	Data       string                  `yaml:"data"`
	Namespaces map[string]hubNamespace `yaml:"namespaces"`
}

type hubNamespace struct {
	Port uint16            `yaml:"port"`
	Hubs map[string]hubHub `yaml:"hubs"`
}

type hubHub struct {
	Partitions     int           `yaml:"partitions" jsonschema:"default=4,minimum=1"`
	ConsumerGroups []string      `yaml:"consumerGroups"`
	Retention      time.Duration `yaml:"retention"`
}

func (o *hubSection) Validate() error {
	var errs []error
	if len(o.Namespaces) == 0 {
		errs = append(errs, errors.New("a hub needs at least one namespace"))
	}
	for _, name := range slices.Sorted(maps.Keys(o.Namespaces)) {
		if len(o.Namespaces[name].Hubs) == 0 {
			errs = append(errs, fmt.Errorf("namespaces.%s.hubs: there is none on %s", name, o.Listen))
		}
	}
	return errors.Join(errs...)
}

func options[T any, P interface {
	*T
	hubferry.Options
}]() hubferry.Options {
	return P(new(T))
}

func registry() *config.Registry {
	return &config.Registry{
		Drivers: []hubferry.Driver{
			{Name: "eventhubs", Connection: options[eventHubsConnection], Source: options[eventHubsSource], Target: options[eventHubsTarget], GroupName: strings.ToLower},
			{Name: "kafka", Connection: options[kafkaConnection], Source: options[kafkaSource], Target: options[none], Caps: hubferry.Caps{Selects: true}},
			{Name: "postgres", Connection: options[postgresConnection], Target: options[postgresTarget]},
			{Name: "mem", Connection: options[none], Source: options[none], Target: options[none]},
		},
		Stores: []hubferry.StoreKind{
			{Name: "sqlite", Options: options[sqliteOptions]},
			{Name: "blob", Options: options[blobOptions]},
		},
		Editors: []hubferry.EditorKind{
			{Name: "filter", Options: options[filterOptions]},
			{Name: "decode", Options: options[decodeOptions]},
			{Name: "dropProperties", Options: options[dropOptions]},
			{Name: "decompress", Options: options[none]},
		},
		Condition: func(expression string) (hubferry.Condition, error) {
			if strings.Count(expression, "(") != strings.Count(expression, ")") {
				return nil, errors.New("expression: a parenthesis is not closed")
			}
			return func(*hubferry.Event) (bool, error) { return true, nil }, nil
		},
		Sections: []config.Section{{Name: "hub", Description: "The embedded hub.", Options: func() any { return new(hubSection) }}},
	}
}
