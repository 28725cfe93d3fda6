package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	// applicationID marks our files: "HfCp".
	applicationID = 0x48664370
	// version is the version of the tables that this code writes.
	version = len(migrations)
)

// migrations make each version of the tables of the one before; the first makes version 1
// of an empty file.
var migrations = [...]string{`
CREATE TABLE ownership (
	namespace      TEXT NOT NULL,
	hub            TEXT NOT NULL,
	consumer_group TEXT NOT NULL,
	partition      TEXT NOT NULL,
	owner          TEXT NOT NULL,    -- empty: relinquished
	etag           INTEGER NOT NULL, -- the value of counter at the last write
	modified       INTEGER NOT NULL, -- microseconds since the Unix epoch
	PRIMARY KEY (namespace, hub, consumer_group, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE checkpoint (
	namespace      TEXT NOT NULL,
	hub            TEXT NOT NULL,
	consumer_group TEXT NOT NULL,
	partition      TEXT NOT NULL,
	sequence       INTEGER NOT NULL,
	offset         TEXT NOT NULL,    -- empty: the sequence number says it all
	epoch          INTEGER NOT NULL, -- Kafka's leader epoch
	incarnation    TEXT NOT NULL,
	time           TEXT,             -- RFC 3339
	clean          INTEGER NOT NULL,
	marks          TEXT,             -- JSON: {"path": {"sequence": 1, "offset": "", "epoch": 0}}
	states         TEXT,             -- JSON: {"name": "base64"}
	PRIMARY KEY (namespace, hub, consumer_group, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE counter (n INTEGER NOT NULL) STRICT;
`, `
ALTER TABLE checkpoint ADD COLUMN beginning INTEGER NOT NULL DEFAULT 0; -- how often the task began anew
`}

// errForeign is a SQLite file that is not ours.
var errForeign = errors.New("it is a SQLite database of another program")

// prepareFile makes sure that the file has our tables, in the version of this code.
func prepareFile(ctx context.Context, db *sql.DB) error {
	if ok, err := upToDate(ctx, db); err != nil || ok {
		return err
	}
	// journal_mode cannot be changed inside a transaction.
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system does not allow a write-ahead log (journal mode %q)", mode)
	}
	return migrate(ctx, db)
}

// migrate brings the tables to our version in one transaction.
func migrate(ctx context.Context, db *sql.DB) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to undo after Commit
	have, err := stored(ctx, tx)
	if err != nil {
		return err
	}
	for i := have; i < version; i++ {
		if _, err := tx.ExecContext(ctx, migrations[i]); err != nil {
			return fmt.Errorf("migrate to version %d: %w", i+1, err)
		}
	}
	if have == 0 {
		// ETags of a file that was here before and was deleted must not fit this one.
		if _, err := tx.ExecContext(ctx, "INSERT INTO counter (n) VALUES (?)", time.Now().UnixMicro()); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, version)); err != nil {
		return err
	}
	return tx.Commit()
}

// upToDate reports whether the file is ours, in our version, in WAL mode and writable.
func upToDate(ctx context.Context, db *sql.DB) (bool, error) {
	have, err := stored(ctx, db)
	if err != nil || have != version {
		return false, err
	}
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode); err != nil || mode != "wal" {
		return false, err
	}
	// A file that cannot be written must be found now, not with the first checkpoint.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return false, err
	}
	defer tx.Rollback() //nolint:errcheck // there is nothing to undo
	_, err = tx.ExecContext(ctx, "UPDATE counter SET n = n")
	return err == nil, err
}

// querier is a database or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// stored returns the version of the tables in the file, 0 for an empty file.
func stored(ctx context.Context, q querier) (int, error) {
	var id, have, tables int
	err := q.QueryRowContext(ctx,
		"SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)",
	).Scan(&id, &have, &tables)
	switch {
	case err != nil:
		return 0, err
	case id == 0 && have == 0 && tables == 0:
		return 0, nil
	case id != applicationID:
		return 0, errForeign
	case have > version:
		return 0, fmt.Errorf("%w: it has version %d and this program knows %d", errNewer, have, version)
	}
	return have, nil
}

// errNewer is a file of a later release.
var errNewer = errors.New("it was written by a newer release")
