package postgres

import (
	"context"
	"fmt"
	"regexp"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubferry/hubferry"
)

// DefaultSchema is the schema of the tables.
const DefaultSchema = "hubferry"

// The values of Options.Migrate.
const (
	MigrateAuto   = "auto"
	MigrateManual = "manual"
)

// Options is the configuration of the store. DSN is required.
type Options struct {
	DSN     hubferry.Secret `yaml:"dsn" jsonschema:"required" jsonschema_description:"How to reach the database: a URL such as postgres://user:password@host:5432/database, or keywords such as 'host=... dbname=...'. What it leaves out comes from the PG... variables and the password file."`
	Schema  string          `yaml:"schema" jsonschema:"default=hubferry" jsonschema_description:"The schema of the tables. Instances with the same database and schema share their work."`
	Migrate string          `yaml:"migrate" jsonschema:"enum=auto,enum=manual,default=auto" jsonschema_description:"'auto' makes the tables and brings them up to date; 'manual' leaves that to an administrator and prints the SQL for him."`
	Trace   bool            `yaml:"trace" jsonschema_description:"Log one line for each statement, without its values."`
}

var _ hubferry.Options = (*Options)(nil)

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// Validate implements hubferry.Options.
func (o *Options) Validate() []hubferry.Problem {
	var p []hubferry.Problem
	add := func(field, format string, args ...any) {
		p = append(p, hubferry.Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if o.DSN.IsZero() {
		add("dsn", "it is required; it looks like postgres://user:password@host:5432/database")
	} else if _, err := pgxpool.ParseConfig(o.DSN.Reveal()); err != nil {
		// Without pgx's text, which shows most of it.
		add("dsn", "it is neither a postgres:// URL nor a list of keywords such as host=... dbname=...")
	}
	if o.Schema != "" && !schemaName.MatchString(o.Schema) {
		add("schema", "%q is no name of a schema: lower-case letters, digits and underscores", o.Schema)
	}
	switch o.Migrate {
	case "", MigrateAuto, MigrateManual:
	default:
		add("migrate", "%q is not known; use %s or %s", o.Migrate, MigrateAuto, MigrateManual)
	}
	return p
}

// Kind returns the entry of this store for a list of stores.
func Kind() hubferry.StoreKind {
	return hubferry.StoreKind{
		Name:    "postgres",
		Options: func() hubferry.Options { return new(Options) },
		Open: func(ctx context.Context, o hubferry.Options, env hubferry.Env) (hubferry.CheckpointStore, error) {
			return Open(ctx, *o.(*Options), env)
		},
	}
}
