package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/demo"
)

const demoHelp = `Watch real events travel from one Event Hubs namespace to another, on this machine.

The demo starts two embedded namespaces, sends 21,000 flights and earthquakes to one with
Microsoft's SDK, and replicates them to the other in a process of its own. In the middle
it kills that process with kill -9 and starts it again, and cuts all connections. Then it
reads both sides back with Microsoft's SDK and compares every event: body, every property
and type, key, order, provenance.

The exit status is 1 if a promise was broken.`

const demoExample = `  hubferry demo
  hubferry demo --json | jq .lost
  hubferry demo --keep`

// demoFlags are the flags of demo.
type demoFlags struct {
	json, keep bool
	dir        string
	rate       int
}

func (e *environment) demoCommand() *cobra.Command {
	var f demoFlags
	c := &cobra.Command{
		Use: "demo", Short: "Watch real events travel, through a kill and a reconnect", Long: demoHelp, Example: demoExample,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.demo(c.Context(), &f) },
	}
	c.Flags().BoolVar(&f.json, "json", false, "print the report as one JSON object")
	c.Flags().BoolVar(&f.keep, "keep", false, "leave both namespaces and the replication running until an interrupt")
	c.Flags().StringVar(&f.dir, "dir", "", "`FOLDER` for configuration, checkpoints and log (default a temporary one, which stays after a failure)")
	c.Flags().IntVar(&f.rate, "rate", 4000, "events sent per second")
	return c
}

func (e *environment) demo(ctx context.Context, f *demoFlags) error {
	if f.rate < 1 {
		return &exitError{ExitUsage, fmt.Errorf("a rate of %d events per second would never end; give a positive --rate", f.rate)}
	}
	program, err := os.Executable()
	if err != nil {
		return failed(fmt.Errorf("find this program: %w", err))
	}
	dir := f.dir
	if dir == "" {
		dir, err = os.MkdirTemp("", "hubferry-demo-")
	} else {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return failed(err)
	}
	report, err := e.watchDemo(ctx, f, program, dir)
	if f.dir == "" && (err == nil && report.Kept || err != nil && ctx.Err() != nil) {
		_ = os.RemoveAll(dir) // a leftover in a temporary folder does no harm
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return failed(errors.New("interrupted before the end: nothing was proved"))
	case err != nil:
		return failed(err)
	case !report.Kept:
		return failed(fmt.Errorf("a promise was broken, see the report; configuration and log are in %s", dir))
	}
	return nil
}

// watchDemo runs the demo, shows how far it is, and prints its report.
func (e *environment) watchDemo(ctx context.Context, f *demoFlags, program, dir string) (*demo.Report, error) {
	s := newScreen(e.stderr, isTerminal(e.stderr))
	var printed error
	write := func(r *demo.Report) {
		s.show(nil)
		if f.json {
			printed = json.NewEncoder(e.stdout).Encode(r)
		} else {
			e.printReport(r)
		}
	}
	o := demo.Options{
		Program: program, Dir: dir, Rate: f.rate,
		Say:  func(line string) { fmt.Fprintln(s, line) },
		Show: func(sent, arrived, total int) { s.show([]string{bar(sent, arrived, total)}) },
	}
	if f.keep {
		o.Wait = func(ctx context.Context, r *demo.Report, west, east, config string) {
			write(r)
			write = func(*demo.Report) {}
			fmt.Fprintf(s, "\nStill running, with its configuration in %s. Try:\n  hubferry peek --connection '%s' flights\n  hubferry peek --connection '%s' flights\nInterrupt (Ctrl-C) to end.\n", config, west, east)
			<-ctx.Done()
		}
	}
	report, err := demo.Run(ctx, o)
	s.show(nil)
	if err != nil {
		return report, err
	}
	write(report)
	return report, printed
}

// printReport writes the report for a person.
func (e *environment) printReport(r *demo.Report) {
	verdict := func(n int) string {
		if n == 0 {
			return "0"
		}
		return fmt.Sprintf("%d  <- broken", n)
	}
	fmt.Fprintf(e.stdout, "\nBoth sides read back with %s:\n\n", r.Verified)
	fmt.Fprintf(e.stdout, "  events      %d in %.1f s, through %d kill and %d cut\n", r.Events, r.Seconds, r.Kills, r.Cuts)
	fmt.Fprintf(e.stdout, "  lost        %s\n", verdict(r.Lost))
	fmt.Fprintf(e.stdout, "  altered     %s\n", verdict(r.Altered+r.Strays))
	fmt.Fprintf(e.stdout, "  reordered   %s\n", verdict(r.Reordered+r.Misplaced))
	switch {
	case r.Duplicates > r.Allowed:
		fmt.Fprintf(e.stdout, "  duplicates  %d  <- broken: at most %d are allowed for these faults\n", r.Duplicates, r.Allowed)
	case r.DeepestRepeat > r.Window:
		fmt.Fprintf(e.stdout, "  duplicates  %d  <- broken: a repeat went back %d events of a partition, and the window is %d\n", r.Duplicates, r.DeepestRepeat, r.Window)
	default:
		fmt.Fprintf(e.stdout, "  duplicates  %d  (at least once: a kill repeats what was sent after the last checkpoint)\n", r.Duplicates)
	}
	if r.Foreign > 0 {
		fmt.Fprintf(e.stdout, "  foreign     %d  <- broken: they did not come from west\n", r.Foreign)
	}
	for _, example := range r.Examples {
		fmt.Fprintf(e.stdout, "    %s\n", example)
	}
	fmt.Fprintf(e.stdout, "\nNext: hubferry init, hubferry validate, hubferry run; hubferry hub is the local Event Hubs by itself.\n")
}

// bar draws how far sending and arriving are.
func bar(sent, arrived, total int) string {
	const width = 40
	part := func(n int) int { return min(width, width*n/max(total, 1)) }
	s, a := part(sent), min(part(arrived), part(sent))
	return fmt.Sprintf("[%s%s%s] %d of %d sent, %d arrived, copies included",
		strings.Repeat("#", a), strings.Repeat("-", s-a), strings.Repeat(" ", width-s), sent, total, arrived)
}
