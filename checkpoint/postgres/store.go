package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubferry/hubferry"
)

// Store is a checkpoint store in PostgreSQL. Its methods may be called by several
// goroutines at once.
type Store struct {
	pool   *pgxpool.Pool
	schema string
	where  string // host and database, for errors
	log    *slog.Logger

	once    sync.Once
	closing chan struct{} // closed by Close

	mu   sync.Mutex
	time time.Time // the server's clock, as it said last
	at   time.Time // monotonic, not before it said so
}

var _ hubferry.CheckpointStore = (*Store)(nil)

const (
	connections = 8
	// patience bounds one operation: a lease is short (G-9).
	patience = 15 * time.Second
	// tries is how often something is done that certainly was not done before: more often
	// than there are connections that may have died while nobody used them.
	tries = connections + 2
	// waitAtStart bounds how long Open waits for a database that is away.
	waitAtStart = 20 * time.Second
)

// Open opens the store and makes sure that its tables are there. Of the environment it
// uses Log, Dial and Trace, all of which may be nil. The context bounds opening only.
func Open(ctx context.Context, o Options, env hubferry.Env) (*Store, error) {
	const op = "open checkpoints"
	if p := o.Validate(); len(p) > 0 {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: fmt.Errorf("%s: %s", p[0].Field, p[0].Message)}
	}
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	env.Log = env.Log.With("component", "checkpoint/postgres")
	c, err := pgxpool.ParseConfig(o.DSN.Reveal())
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: errors.New("the dsn is not valid")}
	}
	if c.MaxConns < connections {
		c.MaxConns = connections
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = patience / 2
	}
	c.PingTimeout = patience / 2
	if env.Dial != nil {
		c.ConnConfig.DialFunc = env.Dial
	}
	if line := traceLine(o, env); line != nil {
		c.ConnConfig.Tracer = tracer{line}
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: op, Err: errors.New("the dsn is not valid")}
	}
	s := &Store{
		pool: pool, schema: cmp.Or(o.Schema, DefaultSchema), log: env.Log, closing: make(chan struct{}),
		where: fmt.Sprintf("%s:%d/%s", c.ConnConfig.Host, c.ConnConfig.Port, c.ConnConfig.Database),
	}
	limited, cancel := context.WithTimeout(ctx, waitAtStart)
	defer cancel()
	if err := s.retry(limited, true, func(ctx context.Context) error { return s.prepare(ctx, o.Migrate) }); err != nil {
		pool.Close()
		return nil, s.explain(op, err, false)
	}
	return s, nil
}

// check returns why no operation can begin.
func (s *Store) check(ctx context.Context) error {
	select {
	case <-s.closing:
		return hubferry.ErrClosed
	default:
	}
	if err := ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
		return s.explain("ask", fmt.Errorf("what came before took all of the time: %w", err), false)
	}
	return ctx.Err()
}

// retry does something again as long as it certainly was not done, or may be done twice.
func (s *Store) retry(ctx context.Context, repeatable bool, do func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for try := 1; ; try++ {
		err := do(ctx)
		_, final := errors.AsType[*hubferry.Error](err)
		if err == nil || final || try == tries || ctx.Err() != nil || !notDone(err) && (!repeatable || isPgError(err)) {
			return err
		}
		t := time.NewTimer(min(time.Duration(try*try)*5*time.Millisecond, 250*time.Millisecond))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// transact does something in a transaction. It tells apart what pgx does not: of a commit
// that got no answer pgx 5.12 says "conn closed", and that it is safe to try again.
func (s *Store) transact(ctx context.Context, do func(tx pgx.Tx) error) error {
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		return &abortedError{err}
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback(ctx) // without a commit nothing was done
		return &abortedError{err}
	}
	if err := tx.Commit(ctx); err != nil {
		return &commitError{err}
	}
	return nil
}

// run is retry for an operation of the store.
func (s *Store) run(ctx context.Context, op string, repeatable bool, do func(ctx context.Context) error) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	err := s.retry(ctx, repeatable, do)
	if over := s.check(ctx); err != nil && over != nil && !errors.Is(over, context.DeadlineExceeded) {
		return over // that is why
	}
	return s.explain(op, err, !repeatable)
}

// note remembers the server's clock. It was read before now.
func (s *Store) note(server time.Time) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.time, s.at = server.UTC(), now
}

// ListOwnership implements hubferry.CheckpointStore.
func (s *Store) ListOwnership(ctx context.Context, group hubferry.ID) ([]hubferry.Ownership, error) {
	var found []hubferry.Ownership
	err := s.run(ctx, "list ownership", true, func(ctx context.Context) error {
		found = nil
		var now time.Time
		b := &pgx.Batch{}
		b.Queue(fmt.Sprintf("SELECT partition, owner, etag, modified FROM %s.ownership WHERE namespace = $1 AND hub = $2 AND consumer_group = $3", s.schema),
			group.Namespace, group.Hub, group.ConsumerGroup).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				o := hubferry.Ownership{ID: group.Group()}
				var etag int64
				if err := rows.Scan(&o.ID.Partition, &o.Owner, &etag, &o.Modified); err != nil {
					return err
				}
				o.ETag, o.Modified = strconv.FormatInt(etag, 10), o.Modified.UTC()
				found = append(found, o)
			}
			return rows.Err()
		})
		b.Queue("SELECT clock_timestamp()").QueryRow(func(row pgx.Row) error { return row.Scan(&now) })
		if err := s.pool.SendBatch(ctx, b).Close(); err != nil {
			return err
		}
		s.note(now)
		return nil
	})
	return found, err
}

// ClaimOwnership implements hubferry.CheckpointStore. It writes all records or, with an
// error, none, unless the answer was lost.
func (s *Store) ClaimOwnership(ctx context.Context, want []hubferry.Ownership) ([]hubferry.Ownership, error) {
	const op = "claim"
	for _, o := range want {
		if err := incomplete(op, o.ID); err != nil {
			return nil, err
		}
	}
	// In one order, so that two of these never wait for each other.
	want = slices.SortedFunc(slices.Values(want), func(a, b hubferry.Ownership) int { return compareID(a.ID, b.ID) })
	var got []hubferry.Ownership
	err := s.run(ctx, op, false, func(ctx context.Context) error {
		got = nil
		return s.transact(ctx, func(tx pgx.Tx) error {
			b := &pgx.Batch{}
			for _, o := range want {
				s.queueClaim(b, o, &got)
			}
			return tx.SendBatch(ctx, b).Close()
		})
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// queueClaim adds the statement that writes one record, and what notes its result.
func (s *Store) queueClaim(b *pgx.Batch, o hubferry.Ownership, got *[]hubferry.Ownership) {
	var q *pgx.QueuedQuery
	if o.ETag == "" {
		q = b.Queue(fmt.Sprintf(`INSERT INTO %[1]s.ownership (namespace, hub, consumer_group, partition, owner, etag, modified)
			VALUES ($1, $2, $3, $4, $5, nextval('%[1]s.etag'), clock_timestamp()) ON CONFLICT DO NOTHING RETURNING etag, modified`, s.schema),
			o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition, o.Owner)
	} else {
		before, err := strconv.ParseInt(o.ETag, 10, 64)
		if err != nil {
			return // not an ETag of ours: it fits no record
		}
		q = b.Queue(fmt.Sprintf(`UPDATE %[1]s.ownership SET owner = $5, etag = nextval('%[1]s.etag'), modified = clock_timestamp()
			WHERE namespace = $1 AND hub = $2 AND consumer_group = $3 AND partition = $4 AND etag = $6 RETURNING etag, modified`, s.schema),
			o.ID.Namespace, o.ID.Hub, o.ID.ConsumerGroup, o.ID.Partition, o.Owner, before)
	}
	q.QueryRow(func(row pgx.Row) error {
		var etag int64
		err := row.Scan(&etag, &o.Modified)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err == nil {
			o.ETag, o.Modified = strconv.FormatInt(etag, 10), o.Modified.UTC()
			*got = append(*got, o)
		}
		return err
	})
}

// ServerTime returns the clock that Ownership.Modified is measured by: the server's, as
// the last listing told it. It asks only if there was none yet.
func (s *Store) ServerTime(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	last, at := s.time, s.at
	s.mu.Unlock()
	if !at.IsZero() && time.Since(at) < time.Minute && s.check(ctx) == nil {
		return last.Add(time.Since(at)), nil
	}
	var now time.Time
	err := s.run(ctx, "ask for the time", true, func(ctx context.Context) error {
		return s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	})
	if err != nil {
		return time.Time{}, err
	}
	s.note(now)
	return now.UTC(), nil
}

// Groups returns every group that has a checkpoint or an ownership record, in order.
func (s *Store) Groups(ctx context.Context) ([]hubferry.ID, error) {
	var found []hubferry.ID
	err := s.run(ctx, "list groups", true, func(ctx context.Context) error {
		rows, err := s.pool.Query(ctx, fmt.Sprintf(
			"SELECT namespace, hub, consumer_group FROM %[1]s.ownership UNION SELECT namespace, hub, consumer_group FROM %[1]s.checkpoint", s.schema))
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (hubferry.ID, error) {
			var id hubferry.ID
			err := row.Scan(&id.Namespace, &id.Hub, &id.ConsumerGroup)
			return id, err
		})
		return err
	})
	slices.SortFunc(found, compareID)
	return found, err
}

// Close waits for the calls that are under way and closes all connections.
func (s *Store) Close(ctx context.Context) error {
	s.once.Do(func() { close(s.closing) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.pool.Close()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func compareID(a, b hubferry.ID) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Hub, b.Hub),
		cmp.Compare(a.ConsumerGroup, b.ConsumerGroup), cmp.Compare(a.Partition, b.Partition))
}
