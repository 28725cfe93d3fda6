// Command checkpoint measures what sharing the partitions of a hub and keeping progress costs: requests to the Blob
// store, at rest and under load, of hubferry run and of the event processor of the Azure SDK for Go; and reads on
// $management of a hub with very many partitions, of which the service allows 50 a second and namespace.
//
//	go run ./bench/checkpoint                     everything, about a quarter of an hour
//	go run ./bench/checkpoint -length 1m -wide 100
//
// Hubs and store are embedded ones. All cases of the store run at the same time, each with hubs and a container of its
// own behind a proxy that counts, at the default interval of both, 10 s. The processor does what its published example
// does: it receives up to 100 events or what comes in a minute, and saves a checkpoint. When to save is the program's
// own decision there, so that another one saves as hubferry does, after 1,000 events or 5 s. Under load every partition
// gets so many events a second.
//
// The wide hub is reached as one in the cloud is: by a name that is not this machine's, with TLS. hubferry then keeps
// its reads below 40 a second in each process.
//
// Standard output gets Markdown, -json a file with all figures.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hubferry/hubferry/bench/internal/measure"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "bench/checkpoint:", err)
		os.Exit(1) //nolint:gocritic // the signal handler ends with the process
	}
}

// settings are the flags.
type settings struct {
	length   time.Duration
	warmUp   time.Duration
	wide     int
	wideOnly bool
	json     string
	hubferry string
}

func parse(args []string) (*settings, error) {
	var s settings
	f := flag.NewFlagSet("bench/checkpoint", flag.ContinueOnError)
	f.DurationVar(&s.length, "length", 5*time.Minute, "how long requests are counted")
	f.DurationVar(&s.warmUp, "warm-up", 45*time.Second, "how long the programs may take to start before that")
	f.IntVar(&s.wide, "wide", 1000, "partitions of the hub whose management reads are counted; 0 leaves that out")
	f.BoolVar(&s.wideOnly, "wide-only", false, "leave the store out")
	f.StringVar(&s.json, "json", "", "write all figures to this file")
	f.StringVar(&s.hubferry, "hubferry", "", "a hubferry to measure; without, it is built")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if s.length < time.Second || s.warmUp < time.Second || s.wide < 0 {
		return nil, errors.New("-length and -warm-up must be at least 1s, -wide not negative")
	}
	return &s, nil
}

// bench is a run of everything.
type bench struct {
	*settings
	dir string
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
	b := &bench{settings: s, dir: dir}
	store := &measure.Summary{Figures: storeFigures, Subject: "hubferry", Machine: measure.Machine()}
	if !s.wideOnly {
		if store.Results, err = b.store(ctx); err != nil {
			return fmt.Errorf("requests to the store: %w", err)
		}
		fmt.Println("Requests to the store:") //nolint:forbidigo // the result of a command
		if err := store.Markdown(os.Stdout); err != nil {
			return err
		}
	}
	wide := &measure.Summary{Figures: wideFigures, Subject: "hubferry", Machine: store.Machine}
	if s.wide > 0 {
		if wide.Results, err = b.management(ctx); err != nil {
			return fmt.Errorf("management reads: %w", err)
		}
		fmt.Printf("\nReads on $management, %d partitions:\n", s.wide) //nolint:forbidigo // the result of a command
		if err := wide.Markdown(os.Stdout); err != nil {
			return err
		}
	}
	return b.write(store, wide)
}

// write writes the figures to the file, if one was named.
func (b *bench) write(summaries ...*measure.Summary) error {
	if b.json == "" {
		return nil
	}
	text, err := json.MarshalIndent(summaries, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(b.json, append(text, '\n'), 0o644) //nolint:gosec // figures are for everybody
}
