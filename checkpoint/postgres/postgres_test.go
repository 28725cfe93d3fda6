package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
	"github.com/hubferry/hubferry/internal/postgrestest"
)

var (
	_ checkpoint.Clock  = (*Store)(nil)
	_ checkpoint.Fenced = (*Store)(nil)
	_ checkpoint.Lister = (*Store)(nil)
)

var id = hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}

// server starts PostgreSQL, or skips the test.
func server(t *testing.T) *postgrestest.Server {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a PostgreSQL server, which takes seconds")
	}
	s, err := postgrestest.Start(t.Context())
	if errors.Is(err, postgrestest.ErrNotInstalled) && os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Remove)
	return s
}

// fresh returns options for a schema of its own.
func fresh(address string) Options {
	return Options{DSN: hubferry.NewSecret(postgrestest.DSN(address)), Schema: fmt.Sprintf("s%x", rand.Uint64())}
}

func open(t testing.TB, o Options, env hubferry.Env) *Store {
	t.Helper()
	s, err := Open(t.Context(), o, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

func exec(t testing.TB, address, sql string, args ...any) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), postgrestest.DSN(address))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	if _, err := c.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func sequence(n int64) hubferry.Checkpoint {
	return hubferry.Checkpoint{Position: hubferry.Position{Sequence: n}}
}

// TestPostgreSQL holds everything that needs a server: it is started once.
func TestPostgreSQL(t *testing.T) {
	s := server(t)
	t.Run("Conformance", func(t *testing.T) { checkpointtest.Run(t, harness(s)) })
	t.Run("Leases", func(t *testing.T) { checkpointtest.RunLeases(t, harness(s)) })
	t.Run("Migrate", func(t *testing.T) { migrate(t, s) })
	t.Run("MigrateAtOnce", func(t *testing.T) { migrateAtOnce(t, s) })
	t.Run("Refusals", func(t *testing.T) { refusals(t, s) })
	t.Run("Unsure", func(t *testing.T) { unsure(t, s) })
	t.Run("Fence", func(t *testing.T) { fence(t, s) })
	t.Run("Clock", func(t *testing.T) { clock(t, s) })
	t.Run("Restart", func(t *testing.T) { restart(t, s) }) // last: it ends what others use
}

// newProxy starts a proxy in front of a server.
func newProxy(t testing.TB, address string) *postgrestest.Proxy {
	t.Helper()
	p, err := postgrestest.NewProxy(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// harness makes stores in a schema of their own, each handle behind a proxy of its own.
func harness(s *postgrestest.Server) func(t testing.TB) checkpointtest.Harness {
	return func(t testing.TB) checkpointtest.Harness {
		o := fresh(s.Address)
		var proxies sync.Map // by store
		proxyOf := func(s hubferry.CheckpointStore) *postgrestest.Proxy {
			p, _ := proxies.Load(s)
			return p.(*postgrestest.Proxy)
		}
		return checkpointtest.Harness{
			Open: func(tb testing.TB) hubferry.CheckpointStore {
				p := newProxy(t, s.Address)
				mine := o
				mine.DSN = hubferry.NewSecret(postgrestest.DSN(p.Address()))
				store, err := Open(tb.Context(), mine, hubferry.Env{})
				if err != nil {
					tb.Fatal(err)
				}
				proxies.Store(store, p)
				return store
			},
			Break: func(t testing.TB, id hubferry.ID) {
				exec(t, s.Address, "UPDATE "+o.Schema+`.checkpoint SET states = '{"dedupe": "no base64"}' WHERE partition = $1`, id.Partition)
			},
			Lose: func(_ testing.TB, s hubferry.CheckpointStore) { proxyOf(s).Lose(1) },
			Away: func(_ testing.TB, s hubferry.CheckpointStore, away bool) { proxyOf(s).SetAway(away) },
		}
	}
}

// An administrator can make the tables, and what was made by somebody else is refused.
func migrate(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	o := fresh(s.Address)
	o.Migrate = MigrateManual
	_, err := Open(t.Context(), o, hubferry.Env{})
	if hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), SQL(o.Schema, 0)) {
		t.Fatalf("without tables: %v", err)
	}
	exec(t, s.Address, SQL(o.Schema, 0), pgx.QueryExecModeSimpleProtocol)
	open(t, o, hubferry.Env{})
	exec(t, s.Address, "UPDATE "+o.Schema+".version SET version = 99")
	if _, err := Open(t.Context(), o, hubferry.Env{}); hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), "newer release") {
		t.Errorf("tables of a newer release: %v", err)
	}
	earlier(t, s)
	o = fresh(s.Address)
	exec(t, s.Address, "CREATE SCHEMA "+o.Schema)
	exec(t, s.Address, "CREATE TABLE "+o.Schema+".ownership (x int)")
	if _, err := Open(t.Context(), o, hubferry.Env{}); hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), "another program") {
		t.Errorf("tables of another program: %v", err)
	}
}

// Tables of an earlier release are brought up to date, with what they hold.
func earlier(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	o := fresh(s.Address)
	exec(t, s.Address, fmt.Sprintf(migrations[0], o.Schema), pgx.QueryExecModeSimpleProtocol)
	exec(t, s.Address, "INSERT INTO "+o.Schema+`.checkpoint (namespace, hub, consumer_group, partition, sequence, "offset", epoch, incarnation, clean)
		VALUES ('n', 'h', 'g', '0', 7, '', 0, 'one', true)`)
	st := open(t, o, hubferry.Env{})
	id := hubferry.ID{Namespace: "n", Hub: "h", ConsumerGroup: "g", Partition: "0"}
	got, err := st.ListCheckpoints(t.Context(), id.Group())
	if err != nil || got[id].Position.Sequence != 7 || got[id].Beginning != 0 || got[id].Incarnation != "one" {
		t.Errorf("a checkpoint of an earlier release is %+v (%v)", got[id], err)
	}
}

// Several processes may start at once on an empty database.
func migrateAtOnce(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	o := fresh(s.Address)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			store, err := Open(t.Context(), o, hubferry.Env{})
			if err != nil {
				t.Error(err)
				return
			}
			if err := store.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What the server refuses has its kind, and no secret is shown (INV-8).
func refusals(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	exec(t, s.Address, "CREATE ROLE guest LOGIN PASSWORD 'c2VjcmV0'")
	dsn := func(change ...string) hubferry.Secret {
		return hubferry.NewSecret(strings.NewReplacer(change...).Replace(postgrestest.DSN(s.Address)))
	}
	for name, c := range map[string]struct {
		dsn  hubferry.Secret
		kind hubferry.ErrorKind
		hint string
	}{
		"no database": {dsn("/postgres?", "/nowhere?"), hubferry.NotFound, "create the database"},
		"no right":    {dsn("postgres@", "guest:c2VjcmV0@"), hubferry.Unauthorized, "CREATE on the database"},
		"no user":     {dsn("postgres@", "stranger:c2VjcmV0@"), hubferry.Unauthorized, "check user and password"},
		"away":        {dsn("postgres@", "postgres:c2VjcmV0@", s.Address, "127.0.0.1:1"), hubferry.Transient, "reachable"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := Open(ctx, Options{DSN: c.dsn, Schema: "refused"}, hubferry.Env{})
		cancel()
		var e *hubferry.Error
		if !errors.As(err, &e) || e.Kind != c.kind || !strings.Contains(e.Hint, c.hint) || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := fresh(s.Address)
	store := open(t, o, hubferry.Env{})
	exec(t, s.Address, "DROP SCHEMA "+o.Schema+" CASCADE")
	if _, err := store.ListOwnership(t.Context(), id); hubferry.KindOf(err) != hubferry.Fatal {
		t.Errorf("tables that have gone: %v", err)
	}
	bad := id
	bad.Partition = "a\x00b"
	if err := store.SaveCheckpoint(t.Context(), bad, sequence(1)); hubferry.KindOf(err) != hubferry.Fatal {
		t.Errorf("a name that cannot be stored: %v", err)
	}
	if err := store.SaveCheckpoint(t.Context(), id, hubferry.Checkpoint{Incarnation: "a\x00b"}); hubferry.KindOf(err) != hubferry.Fatal {
		t.Errorf("a text that cannot be stored: %v", err)
	}
}

// A write whose answer was lost may have been done, and says so (G-9).
func unsure(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	p := newProxy(t, s.Address)
	store := open(t, fresh(p.Address()), hubferry.Env{})
	p.Lose(1)
	var e *hubferry.Error
	if _, err := store.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}}); !errors.As(err, &e) || !e.Unsure {
		t.Errorf("a claim without an answer: %v", err)
	}
	p.Lose(1)
	if err := store.SaveCheckpoint(t.Context(), id, sequence(3)); !errors.As(err, &e) || !e.Unsure {
		t.Errorf("a save without an answer: %v", err)
	}
	p.Lose(1)
	if err := store.SaveOwned(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, sequence(4)); err != nil {
		t.Errorf("a save by the owner without an answer, which can be repeated: %v", err)
	}
	found, err := store.ListCheckpoints(t.Context(), id)
	if err != nil || found[id].Position.Sequence != 4 {
		t.Errorf("after lost answers: %+v, %v", found, err)
	}
	// One that does not come in time names the server.
	p.SetStill(true)
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := store.ListOwnership(short, id); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), p.Address()) {
		t.Errorf("no answer in time: %v", err)
	}
	if _, err := store.ListOwnership(short, id); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), p.Address()) {
		t.Errorf("no time left: %v", err)
	}
	p.SetStill(false)
	// Connections that died while nobody used them cost nothing.
	p.SetAway(true)
	p.SetAway(false)
	for range 3 {
		if err := store.SaveOwned(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, sequence(5)); err != nil {
			t.Errorf("after idle connections died: %v", err)
		}
	}
}

// Between the check of the owner and the write no claim gets in.
func fence(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	o := fresh(s.Address)
	store, other := open(t, o, hubferry.Env{}), open(t, o, hubferry.Env{})
	record := hubferry.Ownership{ID: id, Owner: "a"}
	for round := range int64(30) {
		got, err := store.ClaimOwnership(t.Context(), []hubferry.Ownership{record})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		record = got[0]
		var wg sync.WaitGroup
		var saved error
		wg.Go(func() {
			saved = store.SaveOwned(t.Context(), hubferry.Ownership{ID: id, Owner: "a"}, sequence(2*round+1))
		})
		stolen := record
		stolen.Owner = "b"
		got, err = other.ClaimOwnership(t.Context(), []hubferry.Ownership{stolen})
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		// What the new owner reads now is what the old one left for good.
		before, err := other.ListCheckpoints(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		after, err := other.ListCheckpoints(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if before[id].Position != after[id].Position {
			t.Fatalf("round %d: the old owner saved %d after the new one had read %d", round, after[id].Position.Sequence, before[id].Position.Sequence)
		}
		if (saved == nil) != (after[id].Position.Sequence == 2*round+1) || saved != nil && hubferry.KindOf(saved) != hubferry.Lost {
			t.Fatalf("round %d: the save ended with %v and %d is stored", round, saved, after[id].Position.Sequence)
		}
		record = got[0]
		record.Owner = "a"
	}
}

// The records' clock is the server's.
func clock(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	var lines []string
	var mu sync.Mutex
	store := open(t, fresh(s.Address), hubferry.Env{Log: slog.New(slog.DiscardHandler), Trace: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}})
	before, err := store.ServerTime(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := store.ClaimOwnership(t.Context(), []hubferry.Ownership{{ID: id, Owner: "a"}})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if _, err := store.ListOwnership(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	after, err := store.ServerTime(t.Context())
	if err != nil || got[0].Modified.Before(before) || after.Before(got[0].Modified) {
		t.Errorf("the record is of %s, the clock showed %s before and %s after: %v", got[0].Modified, before, after, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if said := strings.Join(lines, "\n"); !strings.Contains(said, ".ownership") || !strings.Contains(said, " -> INSERT 0 1 in ") {
		t.Errorf("the trace says %s", said)
	}
}

// A server that crashes and comes back costs errors, and nothing that was confirmed.
func restart(t *testing.T, s *postgrestest.Server) {
	t.Helper()
	store := open(t, fresh(s.Address), hubferry.Env{})
	if err := store.SaveCheckpoint(t.Context(), id, sequence(7)); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := store.ListCheckpoints(t.Context(), id); hubferry.KindOf(err) != hubferry.Transient || err == nil {
		t.Errorf("without a server: %v", err)
	}
	if err := store.SaveCheckpoint(t.Context(), id, sequence(8)); hubferry.KindOf(err) != hubferry.Transient || err == nil {
		t.Errorf("without a server: %v", err)
	}
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := store.ListCheckpoints(t.Context(), id)
	if err != nil || found[id].Position.Sequence != 7 {
		t.Errorf("after a crash: %+v, %v", found, err)
	}
}

func TestValidate(t *testing.T) {
	secret := hubferry.NewSecret
	for name, c := range map[string]struct {
		options Options
		field   string
	}{
		"nothing":     {Options{}, "dsn"},
		"URL":         {Options{DSN: secret("postgres://u:p@h:5432/d")}, ""},
		"keywords":    {Options{DSN: secret("host=h dbname=d user=u password=p"), Schema: "a_b", Migrate: MigrateManual}, ""},
		"no DSN":      {Options{DSN: secret("mysql://u:c2VjcmV0@h/d")}, "dsn"},
		"half a DSN":  {Options{DSN: secret("postgres://u:c2VjcmV0@h:port/d")}, "dsn"},
		"schema":      {Options{DSN: secret("host=h"), Schema: `x"; DROP`}, "schema"},
		"upper case":  {Options{DSN: secret("host=h"), Schema: "Hubferry"}, "schema"},
		"migrate":     {Options{DSN: secret("host=h"), Migrate: "never"}, "migrate"},
		"environment": {Options{DSN: secret("dbname=d")}, ""},
	} {
		p := c.options.Validate()
		if (c.field == "") != (len(p) == 0) || len(p) > 0 && (p[0].Field != c.field || strings.Contains(p[0].Message, "c2VjcmV0")) {
			t.Errorf("%s: %v, want a problem with %q", name, p, c.field)
		}
	}
}
