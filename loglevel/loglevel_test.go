package loglevel_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/loglevel"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"debug":                                 "debug",
		"INFO":                                  "info",
		"checkpoint=debug":                      "warn,checkpoint=debug",
		"error, checkpoint/blob=info,b=warn":    "error,b=warn,checkpoint/blob=info",
		"info,checkpoint=debug,checkpoint=warn": "info,checkpoint=warn",
	} {
		l, err := loglevel.Parse(loglevel.Levels{Level: slog.LevelWarn}, text)
		if err != nil || l.String() != want {
			t.Errorf("%q is %q, %v; want %q", text, l, err, want)
		}
		again, err := loglevel.Parse(loglevel.Levels{}, l.String())
		if diff := cmp.Diff(l, again); err != nil || diff != "" {
			t.Errorf("%q, read again: %v\n%s", l, err, diff)
		}
	}
	for text, want := range map[string]string{
		"loud": `found "loud"`, "": `found ""`, "info,debug": "expected one level", "=debug": "COMPONENT=LEVEL", "engine=": `found ""`, "info,": `found ""`,
	} {
		if l, err := loglevel.Parse(loglevel.Levels{}, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is %q, %v; want an error with %q", text, l, err, want)
		}
	}
}

func TestHandler(t *testing.T) {
	levels, err := loglevel.Parse(loglevel.Levels{}, "warn,checkpoint=debug,checkpoint/sqlite=error,quiet=error")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		with func(l *slog.Logger) *slog.Logger
		want string
	}{
		"no component": {func(l *slog.Logger) *slog.Logger { return l }, "warn error"},
		"not named":    {func(l *slog.Logger) *slog.Logger { return l.With("component", "engine") }, "warn error"},
		"lower":        {func(l *slog.Logger) *slog.Logger { return l.With("component", "checkpoint", "task", "t") }, "debug info warn error"},
		"inherited":    {func(l *slog.Logger) *slog.Logger { return l.With("component", "checkpoint/blob") }, "debug info warn error"},
		"its own":      {func(l *slog.Logger) *slog.Logger { return l.With("component", "checkpoint/sqlite") }, "error"},
		"kept by others": {func(l *slog.Logger) *slog.Logger {
			return l.With("component", "quiet").With("task", "t").WithGroup("g")
		}, "error"},
		"the last counts":    {func(l *slog.Logger) *slog.Logger { return l.With("component", "quiet").With("component", "checkpoint") }, "debug info warn error"},
		"another in a group": {func(l *slog.Logger) *slog.Logger { return l.WithGroup("g").With("component", "quiet") }, "warn error"},
	} {
		var out bytes.Buffer
		log := c.with(slog.New(loglevel.NewHandler(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: levels.Least()}), levels)))
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(context.Background(), level, strings.ToLower(level.String()))
		}
		var got []string
		for line := range strings.Lines(out.String()) {
			_, rest, _ := strings.Cut(line, "msg=")
			got = append(got, strings.Fields(rest)[0])
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q was logged, want %q", name, text, c.want)
		}
	}
}
