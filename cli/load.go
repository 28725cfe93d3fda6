package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
)

// defaultConfig is the configuration that commands read unless told otherwise.
const defaultConfig = "hubferry.yaml"

func addConfigFlag(c *cobra.Command, file *string) {
	c.Flags().StringVarP(file, "config", "c", defaultConfig, "configuration `FILE`")
	_ = c.MarkFlagFilename("config", "yaml", "yml") // it fails only for an unknown flag
}

// input returns a configuration file with the environment that it may refer to.
func (e *environment) input(file string) config.Input {
	return config.Input{File: file, Lookup: e.getenv}
}

// load reads and checks a configuration. Warnings go to standard error.
func (e *environment) load(file string) (*config.Application, error) {
	app, err := config.Load(e.input(file), &e.Registry)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w\nhubferry init writes a configuration to start from", err)
		}
		return nil, &exitError{ExitUsage, err}
	}
	if len(app.Warnings) > 0 {
		fmt.Fprintln(e.stderr, app.Warnings)
	}
	return app, nil
}

// build opens what the tasks of a configuration need.
func (e *environment) build(ctx context.Context, app *config.Application, f *runFlags, log *slog.Logger, trace func(string)) (*config.Built, error) {
	if err := knownTasks(app, f.tasks); err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	built, err := app.Build(ctx, config.BuildOptions{
		Tasks: f.tasks,
		Env:   hubferry.Env{Log: log, Instance: instance(), Trace: trace},
	})
	return built, failed(err)
}

// knownTasks refuses names of tasks that the configuration does not have.
func knownTasks(app *config.Application, wanted []string) error {
	var names []string
	for _, t := range app.Tasks {
		names = append(names, t.Name)
	}
	for _, name := range wanted {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--task %s: there is no such task; there are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// instance returns a name for this run of the program: where it runs, for people, and
// something that no other run has, for ownership.
func instance() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}
