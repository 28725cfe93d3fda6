// Command eventhubs measures how fast and at what cost events go from one event hub to
// another: with hubferry run, with the algorithm of the sample helper that Microsoft's
// federation guidance refers to, and with a bare loop on azeventhubs that receives and
// sends and promises nothing. Both namespaces are embedded hubs, each a process of its own.
//
//	go run ./bench/eventhubs                        everything, about half an hour
//	go run ./bench/eventhubs -length 10s -sizes 1024 -rounds 1
//
// Throughput: the source holds a backlog, the target is new, and programs take turns. A run
// begins two seconds after the first event has arrived and ends after -length, or when the
// backlog has arrived; afterwards azeventhubs reads the target, and checks for each key that
// its events are there once, in order. CPU is user and system time of the program alone;
// that of the two hubs stands beside it. Latency: events come at a tenth of the rate of the
// program, and afterwards the enqueued times that both hubs gave them are compared; they
// have a resolution of a millisecond.
//
// Standard output gets Markdown, -json a file with every run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "bench/eventhubs:", err)
		os.Exit(1) //nolint:gocritic // the signal handler ends with the process
	}
}

// settings are the flags.
type settings struct {
	length     time.Duration
	rounds     int
	partitions int
	maxBytes   int64
	latency    time.Duration
	rate       float64
	sizes      []int
	programs   []string
	json       string
	profile    string
	hubferry   string
	task       string
	client     string
	top        string
}

func parse(args []string) (*settings, error) {
	var s settings
	var sizes, programs string
	f := flag.NewFlagSet("bench/eventhubs", flag.ContinueOnError)
	f.DurationVar(&s.length, "length", time.Minute, "how long a run is measured, or less if the backlog does not last")
	f.IntVar(&s.rounds, "rounds", 2, "how often each program runs")
	f.IntVar(&s.partitions, "partitions", 8, "of both hubs")
	f.Int64Var(&s.maxBytes, "max-bytes", 6<<30, "the largest backlog; it cuts -length")
	f.DurationVar(&s.latency, "latency", 20*time.Second, "how long latencies are measured; 0 leaves them out")
	f.Float64Var(&s.rate, "rate", 0, "events per second for latencies; 0 means a tenth of the rate of the program")
	f.StringVar(&sizes, "sizes", "1024,100", "bytes of a body, several runs")
	f.StringVar(&programs, "programs", "hubferry,loop,sample", "what is compared, hubferry first")
	f.StringVar(&s.json, "json", "", "write every run to this file")
	f.StringVar(&s.profile, "profile", "", "write a CPU profile of hubferry run to this file; its figures mean less then")
	f.StringVar(&s.hubferry, "hubferry", "", "a hubferry to measure; without, it is built")
	f.StringVar(&s.task, "task", "", "more keys of hubferry's task, such as 'window: { events: 100000 }, onGap: continue'")
	f.StringVar(&s.client, "client", "native", "the AMQP client of hubferry: native or go-amqp")
	f.StringVar(&s.top, "config", "", "more lines at the top level of hubferry's configuration, such as 'memory: 64MiB'")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.sizes, err = measure.Sizes(sizes, 8); err != nil {
		return nil, err
	}
	s.programs = strings.Split(programs, ",")
	for _, p := range s.programs {
		if starters[p] == nil {
			return nil, fmt.Errorf("-programs %s: there are hubferry, loop and sample", p)
		}
	}
	if s.rounds < 1 || s.partitions < 1 || s.length < time.Second {
		return nil, errors.New("-rounds and -partitions must be at least 1, -length 1s")
	}
	return &s, nil
}

func run(ctx context.Context, args []string) (err error) {
	if len(args) > 0 && copiers[args[0]] != nil {
		return copyHub(ctx, args[0], args[1:])
	}
	s, err := parse(args)
	if err != nil {
		return err
	}
	dir, hubferry, err := measure.Workplace(ctx, s.hubferry)
	if err != nil {
		return err
	}
	s.hubferry = hubferry
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := &bench{settings: s, dir: dir, summary: measure.Summary{Figures: figures, Subject: s.programs[0], Machine: measure.Machine()}}
	for _, size := range s.sizes {
		if err := b.size(ctx, size); err != nil {
			return errors.Join(err, b.summary.Write(os.Stdout, s.json))
		}
	}
	return b.summary.Write(os.Stdout, s.json)
}

var figures = []measure.Figure{
	{Name: "rate", Title: "events/s", Format: "%.0f"},
	{Name: "cpu", Title: "CPU s per million", Format: "%.2f"},
	{Name: "hubs", Title: "CPU s per million of both hubs", Format: "%.2f"},
	{Name: "peak", Title: "peak resident MiB", Format: "%.0f"},
	{Name: "startup", Title: "CPU s of the start", Format: "%.1f"},
	{Name: "seconds", Title: "s measured", Format: "%.0f"},
	{Name: "p50", Title: "p50 ms", Format: "%.0f"},
	{Name: "p99", Title: "p99 ms", Format: "%.0f"},
	{Name: "p999", Title: "p99.9 ms", Format: "%.0f"},
}
