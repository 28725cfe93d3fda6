package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hubferry/hubferry"
)

// traceLine returns where statements are to be told of, or nil.
func traceLine(o Options, env hubferry.Env) func(line string) {
	switch {
	case env.Trace != nil:
		return env.Trace
	case o.Trace:
		return func(line string) { env.Log.Info("statement", slog.String("statement", line)) }
	default:
		return nil
	}
}

// tracer tells of each statement, without its values. It implements pgx.QueryTracer and
// pgx.BatchTracer.
type tracer struct{ line func(string) }

type startKey struct{}

// start is when a statement began, and which.
type start struct {
	at  time.Time
	sql string
}

// TraceQueryStart implements pgx.QueryTracer.
func (t tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, startKey{}, start{time.Now(), d.SQL})
}

// TraceQueryEnd implements pgx.QueryTracer.
func (t tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	began, _ := ctx.Value(startKey{}).(start)
	t.tell(began.sql, d.CommandTag.String(), d.Err, time.Since(began.at))
}

// TraceBatchStart implements pgx.BatchTracer.
func (t tracer) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return context.WithValue(ctx, startKey{}, start{at: time.Now()})
}

// TraceBatchQuery implements pgx.BatchTracer.
func (t tracer) TraceBatchQuery(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	began, _ := ctx.Value(startKey{}).(start)
	t.tell(d.SQL, d.CommandTag.String(), d.Err, time.Since(began.at))
}

// TraceBatchEnd implements pgx.BatchTracer.
func (t tracer) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchEndData) {
	if d.Err != nil {
		began, _ := ctx.Value(startKey{}).(start)
		t.tell("batch", "", d.Err, time.Since(began.at))
	}
}

func (t tracer) tell(sql, tag string, err error, took time.Duration) {
	result := tag
	if err != nil {
		result = err.Error()
	}
	t.line(fmt.Sprintf("%s -> %s in %s", strings.Join(strings.Fields(sql), " "), result, took.Round(time.Microsecond)))
}
