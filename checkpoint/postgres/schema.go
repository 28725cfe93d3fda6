package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrations make each version of the tables of the one before; the first makes version 1
// of nothing. %s is the schema.
var migrations = [...]string{`CREATE SCHEMA IF NOT EXISTS %[1]s;
CREATE TABLE %[1]s.ownership (
	namespace      text NOT NULL,
	hub            text NOT NULL,
	consumer_group text NOT NULL,
	partition      text NOT NULL,
	owner          text NOT NULL,        -- empty: relinquished
	etag           bigint NOT NULL,      -- a value of the sequence, of the last write
	modified       timestamptz NOT NULL, -- by the server's clock
	PRIMARY KEY (namespace, hub, consumer_group, partition)
);
CREATE TABLE %[1]s.checkpoint (
	namespace      text NOT NULL,
	hub            text NOT NULL,
	consumer_group text NOT NULL,
	partition      text NOT NULL,
	sequence       bigint NOT NULL,
	"offset"       text NOT NULL,        -- empty: the sequence number says it all
	epoch          integer NOT NULL,     -- Kafka's leader epoch
	incarnation    text NOT NULL,
	time           timestamptz,          -- by the clock of who made it
	clean          boolean NOT NULL,
	marks          jsonb,                -- {"path": {"sequence": 1, "offset": "", "epoch": 0}}
	states         jsonb,                -- {"name": "base64"}
	PRIMARY KEY (namespace, hub, consumer_group, partition)
);
CREATE SEQUENCE %[1]s.etag;
-- ETags of tables that were here before and were dropped must not fit these.
SELECT setval('%[1]s.etag', (extract(epoch FROM clock_timestamp()) * 1000000)::bigint);
CREATE TABLE %[1]s.version (version integer NOT NULL);
INSERT INTO %[1]s.version (version) VALUES (1);
`, `ALTER TABLE %[1]s.checkpoint ADD COLUMN beginning bigint NOT NULL DEFAULT 0; -- how often the task began anew
UPDATE %[1]s.version SET version = 2;
`}

// version is the version of the tables that this code needs.
const version = len(migrations)

// SQL returns the statements that bring the tables of a schema from one version (0 if
// there are none) to the present one, for an administrator.
func SQL(schema string, from int) string {
	var b strings.Builder
	for _, m := range migrations[from:] {
		fmt.Fprintf(&b, m, schema)
	}
	return b.String()
}

var (
	// errNewer is a schema of a later release.
	errNewer = errors.New("the tables were made by a newer release")
	// errManual is a schema that somebody else must make.
	errManual = errors.New("the tables are missing or of an older release")
)

// The errors of PostgreSQL that are told apart here.
const (
	undefinedTable  = "42P01"
	invalidSchema   = "3F000"
	duplicateTable  = "42P07"
	uniqueViolation = "23505"
)

// querier is a pool or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// stored returns the version of the tables, 0 if there are none.
func (s *Store) stored(ctx context.Context, q querier) (int, error) {
	// Without an error for a table that is not there, which would end a transaction, and
	// from the catalogue itself: what a connection remembers of it is out of date when it
	// has waited for another process.
	var there bool
	err := q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = 'version')", s.schema).Scan(&there)
	if err != nil || !there {
		return 0, err
	}
	var v int
	if err := q.QueryRow(ctx, fmt.Sprintf("SELECT version FROM %s.version", s.schema)).Scan(&v); err != nil {
		return 0, err
	}
	if v > version {
		return 0, fmt.Errorf("%w: they have version %d and this program knows %d", errNewer, v, version)
	}
	return v, nil
}

// migrationLock keeps two processes from making the same tables: "hubferry".
const migrationLock = 0x6875626665727279

// prepare makes sure that the tables are there, in the version of this code.
func (s *Store) prepare(ctx context.Context, migrate string) error {
	have, err := s.stored(ctx, s.pool)
	if err != nil || have == version {
		return err
	}
	if migrate == MigrateManual {
		return fmt.Errorf("%w; have this done once:\n\n%s", errManual, SQL(s.schema, have))
	}
	return s.transact(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", int64(migrationLock)); err != nil {
			return err
		}
		have, err := s.stored(ctx, tx) // another process may have been faster
		if err != nil || have == version {
			return err
		}
		// The simple protocol takes several statements at once.
		_, err = tx.Exec(ctx, SQL(s.schema, have), pgx.QueryExecModeSimpleProtocol)
		if isCode(err, duplicateTable) {
			return fmt.Errorf("the schema %q has tables of another program: %w", s.schema, err)
		}
		return err
	})
}

func isCode(err error, codes ...string) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(codes, e.Code)
}
