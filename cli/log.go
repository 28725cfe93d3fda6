package cli

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/loglevel"
)

// logFlags are the flags of commands that log.
type logFlags struct {
	format logFormat
	levels logLevels
	frames bool
}

// add adds the flags, with the level that is logged unless told otherwise.
func (f *logFlags) add(c *cobra.Command, level slog.Level) {
	c.Flags().TextVar(&f.format, "log", logText, "`FORMAT` of log lines: text or json")
	c.Flags().TextVar(&f.levels, "log-level", logLevels{Levels: loglevel.Levels{Level: level}},
		"least `LEVEL` that is logged: debug, info, warn or error, and COMPONENT=LEVEL for others, as in info,checkpoint=debug")
	c.Flags().BoolVar(&f.frames, "trace-frames", false, "log the frames of protocols, the requests to blobs and the statements to databases, without secrets")
}

// logger returns a logger to w. Levels of components that the program does not have are
// refused.
func (e *environment) logger(f *logFlags, w io.Writer) (*slog.Logger, error) {
	if p := e.unknownComponents(f.levels.Levels); len(p) > 0 {
		return nil, &exitError{ExitUsage, fmt.Errorf("--log-level: %s", p[0].Message)}
	}
	return slog.New(loglevel.NewHandler(f.format.handler(w, f.levels.Least()), f.levels.Levels)), nil
}

// environ returns what drivers and stores are given.
func (e *environment) environ(f *logFlags, budget int64) (hubferry.Env, error) {
	log, err := e.logger(f, e.stderr)
	return hubferry.Env{Log: log, Instance: instance(), Trace: f.trace(e.stderr), Budget: budget}, err
}

// trace returns what logs frames, requests and statements to w, whatever the level of the
// log, or nil if nobody asked for them.
func (f *logFlags) trace(w io.Writer) func(string) {
	if !f.frames {
		return nil
	}
	log := slog.New(f.format.handler(w, slog.LevelInfo))
	return func(line string) { log.Info("trace", "line", line) }
}

// The components that log besides drivers and stores.
const (
	componentCLI        = "cli"
	componentEngine     = "engine"
	componentCheckpoint = "checkpoint"
	componentHub        = "hub"
)

// components returns the names of all components that log.
func (o Options) components() []string {
	names := []string{componentCLI, componentEngine, componentCheckpoint, componentHub}
	for i := range o.Registry.Drivers {
		names = append(names, o.Registry.Drivers[i].Name)
	}
	for i := range o.Registry.Stores {
		names = append(names, componentCheckpoint+"/"+o.Registry.Stores[i].Name)
	}
	slices.Sort(names)
	return names
}

// unknownComponents returns what is wrong with components that the program does not have.
func (o Options) unknownComponents(l loglevel.Levels) []hubferry.Problem {
	known := o.components()
	var problems []hubferry.Problem
	for _, name := range slices.Sorted(maps.Keys(l.Components)) {
		if !slices.Contains(known, name) {
			problems = append(problems, hubferry.Problem{
				Field: "components." + name, Message: fmt.Sprintf("unknown component %q%s", name, config.SuggestOrList(name, known)),
			})
		}
	}
	return problems
}

// logSection is the section "log" of a configuration.
type logSection struct {
	Level      string               `yaml:"level" jsonschema:"default=info,enum=debug,enum=info,enum=warn,enum=error" jsonschema_description:"The least level that is logged."`
	Components map[string]levelName `yaml:"components" jsonschema_description:"Levels of components: engine, checkpoint, checkpoint/ and the kind of a store, the name of a driver."`

	program Options
}

// levelName is a level of a component.
type levelName string

// UnmarshalText implements encoding.TextUnmarshaler.
func (n *levelName) UnmarshalText(text []byte) error {
	_, err := loglevel.ParseLevel(string(text))
	*n = levelName(text)
	return err
}

// levels returns what the section says.
func (s *logSection) levels() loglevel.Levels {
	l := loglevel.Levels{}
	if s.Level != "" {
		l.Level, _ = loglevel.ParseLevel(s.Level) // it was one of the four
	}
	for name, level := range s.Components {
		if l.Components == nil {
			l.Components = map[string]slog.Level{}
		}
		l.Components[name], _ = loglevel.ParseLevel(string(level)) // it was read by UnmarshalText
	}
	return l
}

// Validate checks the names of the components.
func (s *logSection) Validate() []hubferry.Problem {
	return s.program.unknownComponents(s.levels())
}

// logLevels are levels on a command line.
type logLevels struct {
	loglevel.Levels
	given bool
}

// MarshalText implements encoding.TextMarshaler.
func (l logLevels) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *logLevels) UnmarshalText(text []byte) error {
	levels, err := loglevel.Parse(l.Levels, string(text))
	if err != nil {
		return err
	}
	l.Levels, l.given = levels, true
	return nil
}

// logFormat is the format of log lines.
type logFormat string

const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

func (f logFormat) handler(w io.Writer, level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if f == logJSON {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// MarshalText implements encoding.TextMarshaler.
func (f logFormat) MarshalText() ([]byte, error) { return []byte(f), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (f *logFormat) UnmarshalText(text []byte) error {
	switch g := logFormat(text); g {
	case logText, logJSON:
		*f = g
		return nil
	default:
		return fmt.Errorf("expected text or json, found %q", text)
	}
}
