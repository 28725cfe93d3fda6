package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
)

const peekHelp = `Read events of a hub and print them, without any effect on a consumer group: no
checkpoint, no ownership, no epoch.

The address is CONNECTION/HUB[/PARTITION[@SEQUENCE]], with a connection of the
configuration, or HUB[/PARTITION[@SEQUENCE]] with --connection or --brokers. Events of several
partitions are printed by their enqueued time; with --follow as they arrive.

A partition that somebody reads with an epoch refuses other readers of the same consumer
group: take another --group then.`

const peekExample = `  hubferry peek west/telemetry
  hubferry peek west/telemetry/3@1841 --count 1 --json
  hubferry peek west/telemetry --key ORD --where dataset=flights --count 0
  hubferry peek east/telemetry --follow
  hubferry peek --brokers kafka-1:9092 orders --from 2026-11-01T00:00:00Z`

// peekFlags are the flags of peek.
type peekFlags struct {
	endpointFlags
	group, from, key, grep string
	where                  []string
	count                  int
	follow, json           bool
}

func (e *environment) peekCommand() *cobra.Command {
	var f peekFlags
	c := &cobra.Command{
		Use: "peek ADDRESS", Short: "Read and print events", Long: peekHelp, Example: peekExample,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.follow && !c.Flags().Changed("count") {
				f.count = 0
			}
			return e.peek(c.Context(), &f, args[0])
		},
	}
	f.add(c)
	c.Flags().StringVar(&f.group, "group", "$Default", "consumer `GROUP` to read with")
	c.Flags().StringVar(&f.from, "from", "", "`WHERE` to begin: earliest, latest or a time such as 2026-11-01T00:00:00Z (default earliest, with --follow latest)")
	c.Flags().StringVar(&f.key, "key", "", "print only events of this partition `KEY`")
	c.Flags().StringArrayVar(&f.where, "where", nil, "print only events with this property, as `NAME=VALUE`; may repeat")
	c.Flags().StringVar(&f.grep, "grep", "", "print only events whose body contains this `TEXT`")
	c.Flags().IntVar(&f.count, "count", 20, "print at most so many events; 0 means all (with --follow that is the default)")
	c.Flags().BoolVar(&f.follow, "follow", false, "wait for new events until an interrupt")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object per event")
	return c
}

func (e *environment) peek(ctx context.Context, f *peekFlags, address string) error {
	if f.count < 0 {
		return &exitError{ExitUsage, errors.New("--count cannot be negative")}
	}
	start, err := f.start()
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	match, err := f.filter()
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	p, err := e.endpoint(ctx, &f.endpointFlags, address)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close(context.WithoutCancel(ctx)) }() // what was asked for is printed
	if p.address.HasSequence {
		start = hubferry.Start{Kind: hubferry.StartAfter, Position: hubferry.Position{Sequence: p.address.Sequence - 1}}
	}
	source, err := p.source(ctx, f.group)
	if err != nil {
		return failed(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams, err := peekPartitions(ctx, source, p.address.Partition, start, f.follow)
	if err != nil {
		return err
	}
	printed, seen := 0, 0
	for event := range arrange(ctx, streams, f.follow) {
		if event.err != nil {
			return failed(event.err)
		}
		seen++
		if !match(&event.event) {
			continue
		}
		if err := e.printEvent(&event.event, f.json); err != nil {
			return failed(err)
		}
		if printed++; printed == f.count {
			return nil
		}
	}
	switch {
	case f.follow:
	case seen == 0:
		fmt.Fprintln(e.stderr, "there are no events to print; --follow waits for new ones")
	case printed == 0:
		fmt.Fprintf(e.stderr, "none of %d events is as asked for\n", seen)
	}
	return nil
}

// noSuchPartition is the error for an address with a partition that the hub does not have.
func noSuchPartition(name string, n int) error {
	return &exitError{ExitUsage, fmt.Errorf("there is no partition %q; the hub has %d, from 0 to %d", name, n, n-1)}
}

// start returns where to begin.
func (f *peekFlags) start() (hubferry.Start, error) {
	if f.from != "" {
		return parseStart("--from", f.from)
	}
	if f.follow {
		return hubferry.Start{Kind: hubferry.StartLatest}, nil
	}
	return hubferry.Start{Kind: hubferry.StartEarliest}, nil
}

// filter returns what decides whether an event is printed.
func (f *peekFlags) filter() (func(*hubferry.Event) bool, error) {
	wanted := map[string]string{}
	for _, w := range f.where {
		name, value, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fmt.Errorf("--where %s: expected NAME=VALUE", w)
		}
		wanted[name] = value
	}
	return func(e *hubferry.Event) bool {
		if f.key != "" && e.Key.String() != f.key {
			return false
		}
		for name, value := range wanted {
			if v, ok := e.Property(name); !ok || plain(v) != value {
				return false
			}
		}
		if f.grep == "" {
			return true
		}
		c, err := e.Content()
		return err == nil && bytes.Contains(c.Body, []byte(f.grep))
	}, nil
}

// peeked is an event, or why there are no more.
type peeked struct {
	event hubferry.Event
	err   error
}

// peekPartitions begins to read one partition, or all. A channel is closed at the end of
// its partition as of now; with follow there is none.
func peekPartitions(ctx context.Context, s hubferry.Source, only string, start hubferry.Start, follow bool) ([]chan peeked, error) {
	infos, err := s.Partitions(ctx)
	if err != nil {
		return nil, failed(err)
	}
	var streams []chan peeked
	for i := range infos {
		if only != "" && infos[i].Place.Partition != only {
			continue
		}
		c := make(chan peeked, 100)
		streams = append(streams, c)
		go func() {
			defer close(c)
			if err := peekPartition(ctx, s, &infos[i], start, follow, c); err != nil && ctx.Err() == nil {
				select {
				case c <- peeked{err: err}:
				case <-ctx.Done():
				}
			}
		}()
	}
	if len(streams) == 0 {
		return nil, noSuchPartition(only, len(infos))
	}
	return streams, nil
}

func peekPartition(ctx context.Context, s hubferry.Source, info *hubferry.PartitionInfo, start hubferry.Start, follow bool, out chan<- peeked) error {
	at, err := s.Resolve(ctx, info.Place, start)
	if err != nil || (!follow && at.Sequence >= info.End.Sequence) {
		return err
	}
	r, err := s.Open(ctx, info.Place, at, hubferry.NoEpoch)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close(context.WithoutCancel(ctx)) }() // nothing depends on it
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 100, Bytes: 4 << 20}, Next: at}
	for follow || b.Next.Sequence < info.End.Sequence {
		if err := r.Read(ctx, &b); err != nil {
			if errors.Is(err, hubferry.ErrEnd) {
				return nil
			}
			return err
		}
		for i := range b.Events {
			if !follow && b.Events[i].Pos.Sequence > info.End.Sequence {
				return nil
			}
			select {
			case out <- peeked{event: b.Events[i].Share()}:
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

// arrange brings the events of several partitions into one order: that of their time, or,
// when they are followed, that of their arrival.
func arrange(ctx context.Context, streams []chan peeked, follow bool) <-chan peeked {
	out := make(chan peeked)
	send := func(p peeked) bool {
		select {
		case out <- p:
			return p.err == nil
		case <-ctx.Done():
			return false
		}
	}
	go func() {
		defer close(out)
		if follow {
			var all sync.WaitGroup
			for _, c := range streams {
				all.Go(func() {
					for p := range c {
						if !send(p) {
							return
						}
					}
				})
			}
			all.Wait()
			return
		}
		heads := make([]*peeked, len(streams))
		for {
			first := -1
			for i, c := range streams {
				if heads[i] == nil {
					p, ok := <-c
					if !ok {
						continue
					}
					heads[i] = &p
				}
				if first < 0 || heads[i].err != nil || heads[i].event.Time.Before(heads[first].event.Time) {
					first = i
				}
			}
			if first < 0 || !send(*heads[first]) {
				return
			}
			heads[first] = nil
		}
	}()
	return out
}

// shownEvent is the JSON form of an event, a promise to scripts.
type shownEvent struct {
	Place        string         `json:"place"` // namespace/hub/partition
	Partition    string         `json:"partition"`
	Sequence     int64          `json:"sequence"`
	Offset       string         `json:"offset"`
	EnqueuedTime time.Time      `json:"enqueuedTime"`
	Key          *string        `json:"key"` // null: none, or not text
	KeyBase64    string         `json:"keyBase64,omitempty"`
	Properties   map[string]any `json:"properties,omitempty"`
	Message      map[string]any `json:"message,omitempty"`
	Annotations  map[string]any `json:"annotations,omitempty"`
	Body         *string        `json:"body,omitempty"`       // when it is text
	BodyBase64   string         `json:"bodyBase64,omitempty"` // when it is not
	BodyKind     string         `json:"bodyKind,omitempty"`   // "null" or "amqp", if not plain bytes
	Error        string         `json:"error,omitempty"`      // why it cannot be decoded
}

// printEvent writes one event.
func (e *environment) printEvent(event *hubferry.Event, asJSON bool) error {
	s := show(event)
	if asJSON {
		enc := json.NewEncoder(e.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(s)
	}
	key := "no key"
	switch {
	case s.Key != nil:
		key = "key " + *s.Key
	case s.KeyBase64 != "":
		key = "key (base64) " + s.KeyBase64
	}
	fmt.Fprintf(e.stdout, "%s@%d  %s  %s\n", s.Place, s.Sequence, s.EnqueuedTime.Format("2006-01-02T15:04:05.000Z07:00"), key)
	c, err := event.Content()
	if err != nil {
		_, err = fmt.Fprintf(e.stdout, "  cannot be decoded: %v\n", err)
		return err
	}
	for _, list := range []hubferry.Properties{c.Message, c.Properties, c.Annotations} {
		for _, p := range list {
			fmt.Fprintf(e.stdout, "  %s: %s (%s)\n", p.Name, plain(p.Value), p.Value.Kind())
		}
	}
	body := s.BodyBase64
	switch {
	case s.Body != nil:
		body = *s.Body
	case c.BodyKind == hubferry.BodyNull:
		body = "(null)"
	}
	_, err = fmt.Fprintf(e.stdout, "  %s\n", strings.ReplaceAll(body, "\n", "\n  "))
	return err
}

func show(event *hubferry.Event) shownEvent {
	s := shownEvent{
		Place: event.Origin.Path(), Partition: event.Origin.Partition, Sequence: event.Pos.Sequence,
		Offset: event.Pos.OffsetText(), EnqueuedTime: event.Time.UTC(),
	}
	if event.Key.Kind != hubferry.NoKey {
		if key := event.Key.String(); utf8.ValidString(key) {
			s.Key = &key
		} else {
			s.KeyBase64 = base64.StdEncoding.EncodeToString(event.Key.Bytes)
		}
	}
	c, err := event.Content()
	if err != nil {
		s.Error = err.Error()
		return s
	}
	s.Properties, s.Message, s.Annotations = shown(c.Properties), shown(c.Message), shown(c.Annotations)
	switch c.BodyKind {
	case hubferry.BodyNull:
		s.BodyKind = "null"
		return s
	case hubferry.BodyAMQP:
		s.BodyKind = "amqp"
	default:
	}
	if c.BodyKind == hubferry.BodyData && utf8.Valid(c.Body) {
		text := string(c.Body)
		s.Body = &text
	} else {
		s.BodyBase64 = base64.StdEncoding.EncodeToString(c.Body)
	}
	return s
}

// shown makes JSON values of properties. A name that repeats has a list of its values.
func shown(list hubferry.Properties) map[string]any {
	if len(list) == 0 {
		return nil
	}
	values := make(map[string][]any, len(list))
	for _, p := range list {
		values[p.Name] = append(values[p.Name], shownValue(p.Value))
	}
	m := make(map[string]any, len(values))
	for name, all := range values {
		if m[name] = all; len(all) == 1 {
			m[name] = all[0]
		}
	}
	return m
}

// shownValue makes a JSON value: numbers and booleans as such, the rest as text.
func shownValue(v hubferry.Value) any {
	if n, ok := v.AsInt(); ok {
		return n
	}
	if f, ok := v.AsFloat(); ok && f == f && f-f == 0 {
		return f
	}
	if b, ok := v.AsBool(); ok {
		return b
	}
	if v.IsNull() {
		return nil
	}
	return plain(v)
}

// plain is a value as text. Headers of Kafka are bytes, and nearly always text.
func plain(v hubferry.Value) string {
	if text, ok := v.AsText(); ok && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) {
		return text
	}
	return v.String()
}
