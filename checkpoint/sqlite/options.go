package sqlite

import (
	"context"
	"strings"

	"github.com/hubferry/hubferry"
)

// DefaultFile is the name of the file when the configuration names none: it lies beside
// the configuration.
const DefaultFile = "hubferry.checkpoints.db"

// Options is the configuration of the store.
type Options struct {
	// Path is the file. It is made if it does not exist; its folder must exist.
	Path string `yaml:"path" jsonschema:"default=hubferry.checkpoints.db" jsonschema_description:"The SQLite file. A relative path is relative to the configuration file. It must be on a local disk."`
}

// Validate implements hubferry.Options.
func (o *Options) Validate() []hubferry.Problem {
	if strings.HasPrefix(o.Path, ":") || strings.HasPrefix(o.Path, "file:") {
		return []hubferry.Problem{{Field: "path", Message: "must be the path of a file, without a scheme; for a store in memory use mem"}}
	}
	return nil
}

// Kind returns the entry of this store for a list of stores.
func Kind() hubferry.StoreKind {
	return hubferry.StoreKind{
		Name:    "sqlite",
		Options: func() hubferry.Options { return new(Options) },
		Open: func(ctx context.Context, o hubferry.Options, env hubferry.Env) (hubferry.CheckpointStore, error) {
			return Open(ctx, *o.(*Options), env.Log)
		},
	}
}
