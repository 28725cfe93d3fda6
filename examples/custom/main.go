// Command custom is hubferry with an editor of its own: cmd/hubferry/main.go with another
// list.
package main

import (
	"context"
	"os"

	"github.com/hubferry/hubferry"
	checkpoints "github.com/hubferry/hubferry/checkpoint/all"
	"github.com/hubferry/hubferry/cli"
	"github.com/hubferry/hubferry/config"
	drivers "github.com/hubferry/hubferry/driver/all"
)

func main() {
	os.Exit(cli.Main(cli.Options{Registry: config.Registry{
		Drivers: drivers.Drivers(),
		Stores:  checkpoints.Stores(),
		Editors: []hubferry.EditorKind{redact()},
	}}))
}

// redactOptions are the keys of the editor in the configuration.
type redactOptions struct {
	Properties []string `yaml:"properties" jsonschema:"required" jsonschema_description:"Application properties that are removed."`
}

// Validate implements hubferry.Options.
func (o *redactOptions) Validate() []hubferry.Problem {
	if len(o.Properties) == 0 {
		return []hubferry.Problem{{Field: "properties", Message: "name at least one property to remove"}}
	}
	return nil
}

// redact returns an editor that removes properties.
func redact() hubferry.EditorKind {
	return hubferry.EditorKind{
		Name:    "redact",
		Options: func() hubferry.Options { return new(redactOptions) },
		New: func(o hubferry.Options, _ hubferry.Env) (hubferry.Editor, error) {
			names := o.(*redactOptions).Properties //nolint:forcetypeassert // what Options made
			return hubferry.EditorFunc(func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
				for _, name := range names {
					if _, ok := e.Property(name); !ok {
						continue // the event stays in the encoding that it came in
					}
					c, err := e.Edit()
					if err != nil {
						return nil, err
					}
					c.Properties.Delete(name)
				}
				return nil, nil // nil: the event passes on
			}), nil
		},
	}
}
