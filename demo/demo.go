package demo

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/audit/azure"
)

// Options are the settings of a Run.
type Options struct {
	// Program is the path of the hubferry executable, which is started as
	// "Program run --config FILE".
	Program string
	// Dir keeps the configuration, the checkpoints and the log. It must exist.
	Dir string
	// Rate is how many events are sent per second; 0 means 4,000.
	Rate int
	// Say prints one line of progress; it must not be nil.
	Say func(line string)
	// Show shows how far the events are; it may be nil.
	Show func(sent, arrived, total int)
	// Wait, if not nil, is called before everything is taken down, with the report and the
	// connection strings of both namespaces. It returns when ctx ends, at the latest; that
	// is no error then.
	Wait func(ctx context.Context, report *Report, west, east, config string)
}

// Report is what the demo proves. Its JSON form is a promise to scripts.
type Report struct {
	audit.Report

	Kills    int     `json:"kills"`    // of the replicating process, with kill -9
	Cuts     int     `json:"cuts"`     // of all connections to both namespaces
	Allowed  int     `json:"allowed"`  // duplicates that at-least-once delivery allows for these kills
	Window   int     `json:"window"`   // how far one repeat may go back in a partition, see DeepestRepeat
	Seconds  float64 `json:"seconds"`  // from the first event sent to the last one arrived
	Verified string  `json:"verified"` // what read both sides back
	Kept     bool    `json:"kept"`     // whether every promise was kept
}

// window is the configured window of the tasks: what one kill may repeat of a partition.
const window = 2000

// partitions is the number of partitions of each hub.
const partitions = 8

// Run sends, replicates, kills, cuts, and compares.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Rate == 0 {
		o.Rate = 4000
	}
	sets, err := datasets()
	if err != nil {
		return nil, err
	}
	world, err := newWorld(ctx, sets)
	if err != nil {
		return nil, err
	}
	defer world.close(ctx)
	config := filepath.Join(o.Dir, "hubferry.yaml")
	if err := os.WriteFile(config, []byte(world.config()), 0o600); err != nil {
		return nil, err
	}
	o.Say("Two Event Hubs namespaces listen on this machine:")
	o.Say("  west  " + world.west)
	o.Say("  east  " + world.east)
	ferry := &process{program: o.Program, config: config, log: filepath.Join(o.Dir, "run.log")}
	if err := ferry.start(); err != nil {
		return nil, err
	}
	defer ferry.kill()
	o.Say(fmt.Sprintf("hubferry run --config %s   (process %d) replicates west to east", config, ferry.pid()))

	began := time.Now()
	report := &Report{Window: window, Verified: "azeventhubs, Microsoft's SDK for Go"}
	if err := travel(ctx, o, world, ferry, report); err != nil {
		return nil, fmt.Errorf("%w (the log of the replicating process is %s)", err, ferry.log)
	}
	report.Seconds = time.Since(began).Seconds()

	o.Say("Reading both sides back with azeventhubs, Microsoft's SDK ...")
	if err := settle(ctx, world, report); err != nil {
		return nil, err
	}
	if o.Wait != nil {
		o.Wait(ctx, report, world.west, world.east, config)
	}
	return report, ferry.stop(ctx)
}

// travel sends everything while the replicating process runs, is killed and starts again,
// and returns when all of it has arrived.
func travel(ctx context.Context, o Options, w *world, ferry *process, report *Report) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	sent := make(chan error, 1)
	go func() { sent <- w.send(ctx, o.Rate) }()
	total := w.total()
	still := time.Now() // when something last arrived
	for last := -1; ; {
		select {
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("send: %w", err)
			}
			sent = nil
		case err := <-ferry.ended():
			if ctx.Err() != nil {
				return ctx.Err() // a terminal's interrupt goes to both processes
			}
			return fmt.Errorf("the replicating process ended by itself: %w", err)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
		arrived, err := w.count(ctx, "east")
		if err != nil {
			if time.Since(still) > 2*time.Minute {
				return err
			}
			continue // the connection of the SDK was among those that were cut
		}
		if o.Show != nil {
			o.Show(w.sent(), arrived, total)
		}
		if arrived != last {
			last, still = arrived, time.Now()
		}
		switch {
		case report.Kills == 0 && arrived > total/3:
			pid := ferry.pid()
			ferry.kill()
			report.Kills++
			if err := ferry.start(); err != nil {
				return err
			}
			o.Say(fmt.Sprintf("kill -9 %d when %d of %d events had arrived; started again as process %d", pid, arrived, total, ferry.pid()))
		case report.Kills > 0 && report.Cuts == 0 && arrived > total*2/3:
			n := w.cut()
			report.Cuts++
			o.Say(fmt.Sprintf("cut %d connections when %d events had arrived", n, arrived))
		case sent == nil && time.Since(still) > time.Second:
			// An SDK whose connection was cut may have sent a batch twice: west decides.
			if there, err := w.count(ctx, "west"); err == nil && arrived >= there {
				return nil
			}
		}
		if time.Since(still) > 2*time.Minute {
			return fmt.Errorf("nothing arrived for two minutes, after %d of %d events", arrived, total)
		}
	}
}

// settle verifies until nothing is missing, or nothing new has come for 20 s: with copies
// on east, counting cannot tell whether everything has arrived.
func settle(ctx context.Context, w *world, report *Report) error {
	arrived, still := -1, time.Now()
	for {
		report.Report = audit.Report{}
		if err := verify(ctx, w, report); err != nil {
			return err
		}
		n, err := w.count(ctx, "east")
		if err == nil && n != arrived {
			arrived, still = n, time.Now()
		}
		if report.Lost == 0 || time.Since(still) > 20*time.Second {
			return nil
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// verify compares both sides of every hub.
func verify(ctx context.Context, w *world, report *Report) error {
	for _, set := range w.sets {
		source, sources, err := azure.ReadHub(ctx, w.west, set.hub)
		if err != nil {
			return fmt.Errorf("read west back: %w", err)
		}
		target, targets, err := azure.ReadHub(ctx, w.east, set.hub)
		if err != nil {
			return fmt.Errorf("read east back: %w", err)
		}
		one := audit.Compare(source, target, audit.Options{
			Source: w.place(set.hub), SourcePartitions: sources, TargetPartitions: targets,
		})
		report.Events += one.Events
		report.Lost += one.Lost
		report.Altered += one.Altered
		report.Duplicates += one.Duplicates
		report.DeepestRepeat = max(report.DeepestRepeat, one.DeepestRepeat)
		report.Reordered += one.Reordered
		report.Misplaced += one.Misplaced
		report.Strays += one.Strays
		report.Foreign += one.Foreign
		report.Examples = append(report.Examples, one.Examples...)
	}
	// What the SDK says it sent must be what it reads back, or nothing was proved.
	if total := w.total(); report.Events < total {
		return fmt.Errorf("%d events were sent to west, but only %d are there", total, report.Events)
	}
	// One window for each kill and partition, and one run in flight for each cut.
	report.Allowed = (report.Kills + report.Cuts) * partitions * len(w.sets) * window
	report.Kept = report.Faultless() && report.Foreign == 0 && report.Duplicates <= report.Allowed && report.DeepestRepeat <= window
	return nil
}
