package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
)

const replayHelp = `Send a range of a hub's events again, to the same or another hub, at their original pace
or faster. No checkpoint is touched, neither read nor written, and no task needs to stop.

SOURCE is CONNECTION/HUB[/PARTITION], TARGET is CONNECTION/HUB. Both connections are of the
configuration. Without --to the range ends with the last event that is there when the
command begins. Events keep their partition where both hubs have the same number, else
they go where their key belongs; those of one key stay in their order. They carry the
provenance of a task "replay", so that they can be told from first deliveries, and tasks
that would send them home again leave them out.

An interrupt ends it in good order. The report says up to which event each partition was
sent; --from continues there.`

const replayExample = `  hubferry replay west/telemetry west/telemetry-again --from 2026-11-01T08:00:00Z --to 2026-11-01T09:00:00Z
  hubferry replay west/telemetry east/test --key a7 --speed max
  hubferry replay west/telemetry/3 east/test --from 1841 --to 1900 --speed 10x`

// replayFlags are the flags of replay.
type replayFlags struct {
	endpointFlags
	group, from, to, key, speed string
	json                        bool

	pace  float64 // times the original pace; 0: as fast as it goes
	start hubferry.Start
	until bound
}

// bound is the end of the range; the zero bound is the end as of now.
type bound struct {
	before   time.Time // exclusive
	sequence int64     // inclusive, if set
	set      bool
}

func (e *environment) replayCommand() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use: "replay SOURCE TARGET", Short: "Send a range of events again", Long: replayHelp, Example: replayExample,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error { return e.replay(c.Context(), &f, args[0], args[1]) },
	}
	addConfigFlag(c, &f.config)
	c.Flags().StringVar(&f.group, "group", "$Default", "consumer `GROUP` to read with")
	c.Flags().StringVar(&f.from, "from", "earliest", "`WHERE` to begin: earliest, a time, or with a partition the number of the first event")
	c.Flags().StringVar(&f.to, "to", "", "`WHERE` to end: a time, which is not included, or with a partition the number of the last event")
	c.Flags().StringVar(&f.key, "key", "", "send only events of this partition `KEY`")
	c.Flags().StringVar(&f.speed, "speed", "1x", "`PACE`: 1x as they came, 10x ten times as fast, max as fast as it goes")
	c.Flags().BoolVar(&f.json, "json", false, "print the report as one JSON object")
	f.log.add(c, slog.LevelWarn)
	return c
}

// parse reads the flags.
func (f *replayFlags) parse(onePartition bool) error {
	var err error
	if f.pace, err = parsePace(f.speed); err != nil {
		return err
	}
	number := func(text string) (int64, bool) {
		n, err := strconv.ParseInt(text, 10, 64)
		return n, err == nil && n >= 0
	}
	first, isNumber := number(f.from)
	switch {
	case isNumber && !onePartition:
		return fmt.Errorf("--from %s: the number of an event needs a partition, as in west/telemetry/3", f.from)
	case isNumber:
		f.start = hubferry.Start{Kind: hubferry.StartAfter, Position: hubferry.Position{Sequence: first - 1}}
	default:
		if f.start, err = parseStart("--from", f.from); err != nil {
			return err
		}
	}
	if f.to == "" {
		return nil
	}
	last, isNumber := number(f.to)
	switch {
	case isNumber && !onePartition:
		return fmt.Errorf("--to %s: the number of an event needs a partition, as in west/telemetry/3", f.to)
	case isNumber:
		f.until = bound{sequence: last, set: true}
	default:
		if f.until.before, err = time.Parse(time.RFC3339Nano, f.to); err != nil {
			return fmt.Errorf("--to %s: expected a time such as 2026-11-01T09:00:00Z, or the number of an event", f.to)
		}
	}
	if f.start.Kind == hubferry.StartTime && !f.until.before.IsZero() && !f.start.Time.Before(f.until.before) {
		return fmt.Errorf("--to %s is not later than --from %s", f.to, f.from)
	}
	return nil
}

// parsePace reads a pace such as "10x"; "max" is 0.
func parsePace(text string) (float64, error) {
	if text == "max" {
		return 0, nil
	}
	pace, err := strconv.ParseFloat(strings.TrimSuffix(text, "x"), 64)
	if err != nil || !(pace > 0) || pace > 1e6 {
		return 0, fmt.Errorf("--speed %s: expected 1x, 10x, 0.5x or the like, or max", text)
	}
	return pace, nil
}

// replayed is the report of replay, a promise to scripts.
type replayed struct {
	sent
	Left int              `json:"left"` // events of the range that have another key
	Upto map[string]int64 `json:"upto"` // by source partition: all of the range up to that event is there
}

func (e *environment) replay(ctx context.Context, f *replayFlags, from, to string) error {
	source, err := e.endpoint(ctx, &f.endpointFlags, from)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close(context.WithoutCancel(ctx)) }() // it was only read
	if source.address.HasSequence {
		return &exitError{ExitUsage, fmt.Errorf("%s: give the range with --from and --to", from)}
	}
	if err := f.parse(source.address.Partition != ""); err != nil {
		return &exitError{ExitUsage, err}
	}
	target, err := e.endpoint(ctx, &f.endpointFlags, to)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close(context.WithoutCancel(ctx)) }() // everything is confirmed
	if target.address.Partition != "" || target.address.HasSequence {
		return &exitError{ExitUsage, fmt.Errorf("%s: the target is a hub; keys decide about partitions", to)}
	}
	r, err := newReplay(ctx, f, source, target)
	if err != nil {
		return failed(err)
	}
	report, err := r.run(ctx)
	if f.json {
		err = errors.Join(err, json.NewEncoder(e.stdout).Encode(report))
	} else {
		fmt.Fprintf(e.stderr, "sent %d events, %d bytes, in %.1f s\n", report.Events, report.Bytes, report.Seconds)
		if report.Left > 0 {
			fmt.Fprintf(e.stderr, "left out %d events with another key\n", report.Left)
		}
	}
	if err == nil && ctx.Err() != nil {
		err = errors.New("interrupted before everything was sent; --json tells how far it came")
	}
	return failed(err)
}

// replay is one run of the command.
type replay struct {
	*replayFlags
	streams []chan peeked
	writer  hubferry.Writer
	layout  hubferry.Layout
	sources int // partitions of the source

	left int
	upto map[string]int64 // by partition, the last event that is confirmed
}

// newReplay opens both sides.
func newReplay(ctx context.Context, f *replayFlags, from, to *endpoint) (*replay, error) {
	r := &replay{replayFlags: f, upto: map[string]int64{}}
	source, err := from.source(ctx, f.group)
	if err != nil {
		return nil, err
	}
	infos, err := source.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	r.sources = len(infos)
	t, err := to.Target(ctx, to.driver.Target())
	if err != nil {
		return nil, err
	}
	if r.writer, err = t.Open(ctx, to.address.Entity, hubferry.Trail{Task: "replay", Route: to.address.String()}); err != nil {
		return nil, err
	}
	if r.layout, err = r.writer.Layout(ctx); err != nil {
		return nil, err
	}
	r.streams, err = peekPartitions(ctx, source, from.address.Partition, f.start, false)
	return r, err
}

// run sends the range.
func (r *replay) run(ctx context.Context) (replayed, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	events, produced := make(chan *hubferry.Event, 1000), make(chan error, 1)
	go func() {
		produced <- r.produce(reading, events)
		close(events)
	}()
	d := &delivery{writer: r.writer, route: r.route, written: r.confirm}
	counts, err := d.deliver(ctx, len(r.layout.Places), events)
	stop()
	if problem := <-produced; ctx.Err() == nil && !errors.Is(problem, context.Canceled) {
		err = errors.Join(err, problem)
	}
	return replayed{sent: counts, Left: r.left, Upto: r.upto}, err
}

// confirm notes an event of a round that is at the target.
func (r *replay) confirm(e *hubferry.Event) {
	r.upto[e.Origin.Partition] = max(r.upto[e.Origin.Partition], e.Pos.Sequence)
}

// disorder is how much earlier than the event before it an event may be dated: Kafka's
// producers date their events themselves.
const disorder = time.Hour

// produce hands on the events of the range at their pace.
func (r *replay) produce(ctx context.Context, out chan<- *hubferry.Event) error {
	var first, began time.Time
	for p := range arrange(ctx, r.streams, false) {
		if p.err != nil {
			return p.err
		}
		e := p.event
		if r.until.set && e.Pos.Sequence > r.until.sequence {
			return nil // there is only one partition
		}
		if !r.until.before.IsZero() && !e.Time.Before(r.until.before.Add(disorder)) {
			return nil
		}
		if e.Time.Before(r.start.Time) || !r.until.before.IsZero() && !e.Time.Before(r.until.before) {
			continue
		}
		if r.key != "" && e.Key.String() != r.key {
			r.left++
			continue
		}
		if first.IsZero() {
			first, began = e.Time, time.Now()
		}
		if r.pace > 0 {
			due := began.Add(time.Duration(float64(e.Time.Sub(first)) / r.pace))
			if err := wait(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		select {
		case out <- &e:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// route keeps the partition where both hubs have the same number, else it goes by key.
func (r *replay) route(e *hubferry.Event, turn int) int {
	if len(r.layout.Places) == r.sources {
		return e.Origin.Index
	}
	return spread(&r.layout, -1)(e, turn)
}
