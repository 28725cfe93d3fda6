// Command kafka measures how fast and at what cost records go from one Kafka cluster to
// another: with hubferry run, with MirrorMaker 2, and with a bare loop on franz-go that
// consumes and produces and promises nothing. It starts two real brokers, made ready by
// scripts/setup-kafka.sh.
//
//	go run ./bench/kafka                        everything, about an hour
//	go run ./bench/kafka -length 20s -sizes 1024 -rounds 1
//
// Throughput: the source topic holds a backlog, the target topic is made beforehand, and
// programs take turns, after each has moved a sample: the brokers compile what they run. A
// run begins when a tenth of the backlog has arrived and ends when all has; afterwards a
// plain consumer reads the target and checks that every record is there once, in order.
// Latency: records come at a tenth of the rate of the slowest program, and each tells when
// it was made; a consumer of the target looks at the clock. Generator and consumer then
// share the machine with the program that is measured.
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
	"time"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == loopCommand {
		if err := loop(ctx, os.Args[2:]); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "loop:", err)
			os.Exit(1) //nolint:gocritic // the signal handler ends with the process
		}
		return
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench/kafka:", err)
		os.Exit(1)
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
	heap       string
	profile    string
	hubferry   string
	task       string
	top        string
}

func parse(args []string) (*settings, error) {
	var s settings
	var sizes, programs string
	f := flag.NewFlagSet("bench/kafka", flag.ContinueOnError)
	f.DurationVar(&s.length, "length", time.Minute, "how long a run of the bare loop is to take; others take longer")
	f.IntVar(&s.rounds, "rounds", 2, "how often each program moves the backlog; with 0 only latencies are measured, at -rate")
	f.IntVar(&s.partitions, "partitions", 8, "of both topics")
	f.Int64Var(&s.maxBytes, "max-bytes", 8<<30, "the largest backlog; it cuts -length")
	f.DurationVar(&s.latency, "latency", 30*time.Second, "how long latencies are measured; 0 leaves them out")
	f.Float64Var(&s.rate, "rate", 0, "events per second for latencies; 0 means a tenth of the rate of the slowest program")
	f.StringVar(&sizes, "sizes", "1024,100", "bytes of a value, several runs")
	f.StringVar(&programs, "programs", "hubferry,mirrormaker,loop,loop-headers", "what is compared, hubferry first")
	f.StringVar(&s.json, "json", "", "write every run to this file")
	f.StringVar(&s.heap, "heap", "1g", "heap of each broker")
	f.StringVar(&s.profile, "profile", "", "write a CPU profile of hubferry run to this file; its figures mean less then")
	f.StringVar(&s.hubferry, "hubferry", "", "a hubferry to measure; without, it is built")
	f.StringVar(&s.task, "task", "", "more keys of hubferry's task, such as 'window: { events: 100000 }, onGap: continue'")
	f.StringVar(&s.top, "config", "", "more lines at the top level of hubferry's configuration, such as 'memory: 64MiB'")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	var err error
	if s.sizes, err = measure.Sizes(sizes, 16); err != nil {
		return nil, err
	}
	s.programs = strings.Split(programs, ",")
	for _, p := range s.programs {
		if starters[p] == nil {
			return nil, fmt.Errorf("-programs %s: there are hubferry, mirrormaker, mirrormaker-defaults, loop and loop-headers", p)
		}
	}
	if s.rounds < 0 || s.partitions < 1 {
		return nil, errors.New("-rounds must be at least 0, -partitions at least 1")
	}
	if s.rounds == 0 && (s.rate <= 0 || s.latency <= 0) {
		return nil, errors.New("-rounds 0 needs -rate, because nothing else tells how fast the programs are, and -latency")
	}
	return &s, nil
}

func run(ctx context.Context, args []string) (err error) {
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
	b, err := newBench(ctx, s, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
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
	{Name: "brokers", Title: "both brokers' CPU s per million", Format: "%.2f"},
	{Name: "peak", Title: "peak resident MiB", Format: "%.0f"},
	{Name: "startup", Title: "CPU s of the start", Format: "%.1f"},
	{Name: "seconds", Title: "s measured", Format: "%.0f"},
	{Name: "p50", Title: "p50 ms", Format: "%.1f"},
	{Name: "p99", Title: "p99 ms", Format: "%.1f"},
	{Name: "stroll", Title: "% of a processor meanwhile", Format: "%.0f"},
	{Name: "strollBrokers", Title: "the same, both brokers", Format: "%.0f"},
}
