// Package cli is the hubferry command: one file per subcommand, its help beside its
// flags. Data goes to standard output, everything else to standard error.
//
// A program with drivers or editors of its own is a copy of cmd/hubferry/main.go with
// another list.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/hub"
)

// Exit codes of the program, for scripts.
const (
	ExitOK      = 0 // it worked
	ExitFailure = 1 // it ran and failed, or a promise was found broken
	ExitUsage   = 2 // wrong arguments or a wrong configuration: nothing was started
)

// Options are what a binary is made of.
type Options struct {
	Registry config.Registry
	Version  string // "" means a development build
}

// FullRegistry returns the registry with what the command line itself adds to it: the
// sections of the log and of the embedded hub. A program's JSON Schema is made of it.
func (o Options) FullRegistry() config.Registry {
	r := o.Registry
	r.Sections = append(slices.Clip(r.Sections), config.Section{
		Name: "log", Description: "What \"hubferry run\" logs. The flag --log-level takes the place of all of it.",
		Options: func() any { return &logSection{program: o} },
	}, config.Section{
		Name: "hub", Description: "What \"hubferry hub --config\" serves on this machine. Tasks do not look at it.",
		Options: func() any { return new(hub.Options) },
	})
	return r
}

// Main runs the program with the process's arguments and streams, and returns its exit
// code.
func Main(o Options) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go heed(signals, cancel, os.Exit)
	o.Registry = o.FullRegistry()
	e := &environment{
		Options: o, args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.LookupEnv,
	}
	return e.main(ctx)
}

// sameSignal is how long after a signal another is taken for the same: timeout(1), for one,
// sends it to the process and then to its group.
const sameSignal = 500 * time.Millisecond

// heed stops the program at the first signal, and ends it at once at a second, also where a
// shell made it ignore interrupts.
func heed(signals <-chan os.Signal, stop func(), exit func(code int)) {
	<-signals
	stop()
	for first := time.Now(); ; {
		<-signals
		if time.Since(first) > sameSignal {
			exit(ExitFailure)
			return
		}
	}
}

// environment is what a subcommand sees of the outside.
type environment struct {
	Options
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) (string, bool)
}

// main runs one command line.
func (e *environment) main(ctx context.Context) int {
	root := e.root() //nolint:contextcheck // cobra hands the context to the command
	root.SetArgs(e.args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	code := ExitUsage // cobra's own errors are about arguments
	if x, ok := errors.AsType[*exitError](err); ok {
		code = x.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(e.stderr, "hubferry:", text)
	}
	return code
}

// exitError is an error that knows its exit code. An empty text was printed already.
type exitError struct {
	code int
	err  error
}

func (x *exitError) Error() string {
	if x.err == nil {
		return ""
	}
	return x.err.Error()
}

func (x *exitError) Unwrap() error { return x.err }

// failed marks an error as a failure at run time rather than of usage, unless it knows its
// exit code already.
func failed(err error) error {
	if _, ok := errors.AsType[*exitError](err); ok || err == nil {
		return err
	}
	return &exitError{ExitFailure, err}
}

const rootHelp = `Hubferry carries event streams between hubs, faithfully and fast.

It replicates event hubs and Kafka topics as a configuration file says, and brings an
embedded hub that speaks the Event Hubs protocol, so that everything can be tried on one
machine:

  hubferry demo          watch real events travel, through a kill and a reconnect
  hubferry init          write a configuration to start from
  hubferry validate      check it
  hubferry run           run its tasks

Exit codes: 0 it worked, 1 it ran and failed, 2 wrong arguments or configuration.`

// root builds the command tree.
func (e *environment) root() *cobra.Command {
	c := &cobra.Command{
		Use: "hubferry", Short: "Replicate event streams between Event Hubs and Kafka", Long: rootHelp,
		SilenceUsage: true, SilenceErrors: true, Args: noSuchCommand, SuggestionsMinimumDistance: 2,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.Version = e.about().Version
	c.SetVersionTemplate("hubferry {{.Version}}\n")
	c.Flags().Bool("version", false, "print the version") // without -v, which people take for verbose
	c.SetIn(e.stdin)
	c.SetOut(e.stdout)
	c.SetErr(e.stderr)
	c.AddCommand(e.commands()...)
	return c
}

// noSuchCommand refuses a subcommand that is not there and names those that are near.
func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q", args[0])
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf("; did you mean %q?", near[0])
	}
	return errors.New(text + ` ("hubferry --help" lists them)`)
}
