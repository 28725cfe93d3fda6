package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/engine"
)

const runHelp = `Run the tasks of a configuration until it is told to stop.

On a terminal one table shows the tasks and is redrawn once a second; state changes
scroll by above it. In a pipe standard output gets one JSON line per task every ten
seconds and at the end, and standard error the log.

Several instances with the same checkpoint store share the partitions. An interrupt or
SIGTERM finishes what is under way, saves the last checkpoints and gives the partitions
up; a second one ends the program at once, and what was under way is repeated at the
next start.`

const runExample = `  hubferry run
  hubferry run --config /etc/hubferry.yaml --task telemetry
  hubferry run --log json 2>run.log | jq .lag`

// runFlags are the flags of run.
type runFlags struct {
	config string
	tasks  []string
	every  time.Duration
	log    logFlags
}

func (e *environment) runCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "run", Short: "Run the tasks of a configuration", Long: runHelp, Example: runExample,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.run(c.Context(), &f) },
	}
	addConfigFlag(c, &f.config)
	c.Flags().StringSliceVar(&f.tasks, "task", nil, "run only this task, by its `NAME`; may repeat")
	c.Flags().DurationVar(&f.every, "every", 10*time.Second, "time between two JSON lines of a task, in a pipe")
	f.log.add(c, slog.LevelInfo)
	return c
}

// run loads, builds and runs.
func (e *environment) run(ctx context.Context, f *runFlags) error {
	if f.every <= 0 {
		return &exitError{ExitUsage, fmt.Errorf("--every %s: give a positive time", f.every)}
	}
	signal.Ignore(syscall.SIGPIPE) // events go on when nobody reads the status any more
	screen := newScreen(e.stderr, isTerminal(e.stdout) && isTerminal(e.stderr))
	log := f.log.logger(screen)
	app, built, err := e.build(ctx, f, log, f.log.trace(screen))
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := built.Close(closing); err != nil {
			log.Warn("not closed cleanly", "error", err)
		}
	}()
	eng, err := engine.New(built.Tasks, engine.Options{Log: log, Drain: app.Drain})
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- eng.Run(ctx) }()
	hopeless := e.watch(eng, screen, f.every, done, stop)
	return failed(errors.Join(hopeless, <-done))
}

// watch shows the tasks until done has something, and puts it back. When no task can go on
// without a person it stops the engine and returns why.
func (e *environment) watch(eng *engine.Engine, s *screen, every time.Duration, done chan error, stop func()) error {
	if s.terminal {
		every = time.Second
	}
	ticker := time.NewTicker(min(every, time.Second))
	defer ticker.Stop()
	p := progress{at: time.Now()}
	var hopeless error
	lines := json.NewEncoder(e.stdout)
	report := func(now time.Time, status []hubferry.TaskStatus) {
		rows := p.rows(now, status)
		if s.terminal {
			s.show(table(rows))
			return
		}
		for i := range rows {
			_ = lines.Encode(&rows[i]) // a closed pipe does not stop the tasks
		}
	}
	next := time.Now()
	for {
		select {
		case err := <-done:
			report(time.Now(), eng.Status()) // what was moved in the end
			s.keep()
			done <- err
			return hopeless
		case now := <-ticker.C:
			status := eng.Status()
			if hopeless == nil {
				if hopeless = allFailed(status); hopeless != nil {
					stop()
				}
			}
			if now.Before(next) {
				continue
			}
			next = next.Add(every)
			report(now, status)
		}
	}
}

// allFailed returns the tasks' errors if none of them could begin: there is nothing to
// wait for. A task with partitions is not among them, because each of those is resumed,
// or taken over, on its own.
func allFailed(status []hubferry.TaskStatus) error {
	var errs []error
	for i := range status {
		t := &status[i]
		if t.State != hubferry.Failed || len(t.Owned) > 0 {
			return nil
		}
		errs = append(errs, fmt.Errorf("task %s: %s", t.Task, t.Error))
	}
	return errors.Join(errs...)
}
