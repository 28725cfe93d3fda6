package cli

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"
)

// logFlags are the flags of commands that log.
type logFlags struct {
	format logFormat
	level  slog.Level
	frames bool
}

// add adds the flags, with the level that is logged unless told otherwise.
func (f *logFlags) add(c *cobra.Command, level slog.Level) {
	c.Flags().TextVar(&f.format, "log", logText, "`format` of log lines: text or json")
	c.Flags().TextVar(&f.level, "log-level", level, "least `level` that is logged: debug, info, warn or error")
	c.Flags().BoolVar(&f.frames, "trace-frames", false, "log the protocol's frames, without secrets")
}

// logger returns a logger to w.
func (f *logFlags) logger(w io.Writer) *slog.Logger { return f.format.logger(w, f.level) }

// trace returns what logs frames to w, whatever the level of the log, or nil if nobody
// asked for frames.
func (f *logFlags) trace(w io.Writer) func(string) {
	if !f.frames {
		return nil
	}
	log := f.format.logger(w, slog.LevelInfo)
	return func(line string) { log.Info("frame", "amqp", line) }
}

// logFormat is the format of log lines.
type logFormat string

const (
	logText logFormat = "text"
	logJSON logFormat = "json"
)

func (f logFormat) logger(w io.Writer, level slog.Level) *slog.Logger {
	o := &slog.HandlerOptions{Level: level}
	if f == logJSON {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
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
