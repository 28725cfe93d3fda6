package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"runtime/pprof"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/engine"
	"github.com/hubferry/hubferry/loglevel"
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
	config     string
	tasks      []string
	every      time.Duration
	cpuProfile string
	log        logFlags
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
	c.Flags().StringVar(&f.cpuProfile, "cpu-profile", "", "write to `FILE` where the CPU time goes, until the end, for go tool pprof")
	f.log.add(c, slog.LevelInfo)
	return c
}

// run loads, builds and runs.
func (e *environment) run(ctx context.Context, f *runFlags) error {
	if f.every <= 0 {
		return &exitError{ExitUsage, fmt.Errorf("--every %s: give a positive time", f.every)}
	}
	end, err := profile(f.cpuProfile)
	if err != nil {
		return failed(err)
	}
	defer end()
	signal.Ignore(syscall.SIGPIPE) // events go on when nobody reads the status any more
	screen := newScreen(e.stderr, isTerminal(e.stdout) && isTerminal(e.stderr))
	app, err := e.load(f.config)
	if err != nil {
		return err
	}
	log, err := e.runLogger(f, screen)
	if err != nil {
		return err
	}
	built, err := e.build(ctx, app, f, log, f.log.trace(screen))
	if err != nil {
		return err
	}
	limitMemory(int64(app.Memory))
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := built.Close(closing); err != nil {
			log.With(loglevel.Key, componentCLI).Warn("not closed cleanly", "error", err)
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

// runLogger returns the logger of run: its flag decides, or the configuration.
func (e *environment) runLogger(f *runFlags, w io.Writer) (*slog.Logger, error) {
	if !f.log.levels.given {
		s := logSection{program: e.Options}
		if err := config.LoadInto(e.input(f.config), "log", &s); err != nil {
			return nil, &exitError{ExitUsage, err}
		}
		f.log.levels.Levels = s.levels()
	}
	return e.logger(&f.log, w)
}

// programMemory is what the process takes beside what the Go runtime counts: the pages of
// the executable that are in use.
const programMemory = 40 << 20

// leastMemory is what the collector is given at least: with less it would do nothing else.
const leastMemory = 32 << 20

// limitMemory makes the garbage collector keep the process within the memory that the
// configuration allows (INV-6), as far as that is possible at all. Whoever tunes it with the
// variables of the Go runtime is left alone. The collector may be late, above all when
// events are large: that is what an eighth is for.
func limitMemory(memory int64) {
	if os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	debug.SetMemoryLimit(max((memory-programMemory)*7/8, memory/2, leastMemory))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // there is a limit, so rather less work than less memory
	}
}

// profile begins to write a CPU profile, if a file is named, and returns what ends it.
func profile(file string) (end func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a profile that is cut off says so itself
	}, nil
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
