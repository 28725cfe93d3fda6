package mem

import (
	"context"

	"github.com/hubferry/hubferry"
)

// Options is the configuration of the store: there is nothing to configure.
type Options struct{}

// Validate implements hubferry.Options.
func (*Options) Validate() []hubferry.Problem { return nil }

// Kind returns the entry of this store for a list of stores. All stores that are opened
// through one returned value share their data.
func Kind() hubferry.StoreKind {
	first := New()
	return hubferry.StoreKind{
		Name:    "mem",
		Options: func() hubferry.Options { return new(Options) },
		Open: func(context.Context, hubferry.Options, hubferry.Env) (hubferry.CheckpointStore, error) {
			return first.Handle(), nil
		},
	}
}
