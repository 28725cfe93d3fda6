// Package loglevel gives each component of a program a log level of its own. Loggers of
// Hubferry carry the attribute "component": "engine", "checkpoint" for the balancing of
// partitions, "checkpoint/blob" and the like for stores, "eventhubs" and the like for
// drivers, "hub" for the embedded hub.
//
//	levels := loglevel.Levels{Level: slog.LevelInfo, Components: map[string]slog.Level{"checkpoint": slog.LevelDebug}}
//	handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: levels.Least()})
//	log := slog.New(loglevel.NewHandler(handler, levels))
package loglevel

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
)

// Key is the name of the attribute that says which component a line is from.
const Key = "component"

// Levels are the levels of components. The zero value is info for all.
type Levels struct {
	Level      slog.Level            // of components that are not named
	Components map[string]slog.Level // by name; that of "a" is also for "a/b", unless that has one
}

// Of returns the level of a component.
func (l Levels) Of(component string) slog.Level {
	for name := component; name != ""; {
		if level, ok := l.Components[name]; ok {
			return level
		}
		i := strings.LastIndexByte(name, '/')
		name = name[:max(i, 0)]
	}
	return l.Level
}

// Least returns the lowest level of any component, which the handler behind must let pass.
func (l Levels) Least() slog.Level {
	least := l.Level
	for _, level := range l.Components {
		least = min(least, level)
	}
	return least
}

// String returns what Parse reads.
func (l Levels) String() string {
	parts := []string{strings.ToLower(l.Level.String())}
	for _, name := range slices.Sorted(maps.Keys(l.Components)) {
		parts = append(parts, name+"="+strings.ToLower(l.Components[name].String()))
	}
	return strings.Join(parts, ",")
}

// Parse reads a level, levels of components, or both: "info,checkpoint=debug". A level that
// is left out is as in the first argument.
func Parse(l Levels, text string) (Levels, error) {
	l.Components = maps.Clone(l.Components)
	whole := false
	for part := range strings.SplitSeq(text, ",") {
		name, value, named := strings.Cut(strings.TrimSpace(part), "=")
		if !named {
			value = name
		}
		level, err := ParseLevel(value)
		switch {
		case err != nil:
			return Levels{}, err
		case !named && whole:
			return Levels{}, fmt.Errorf("expected one level and COMPONENT=LEVEL for others, found %q", text)
		case !named:
			l.Level, whole = level, true
			continue
		case name == "":
			return Levels{}, fmt.Errorf("expected COMPONENT=LEVEL, found %q", part)
		}
		if l.Components == nil {
			l.Components = map[string]slog.Level{}
		}
		l.Components[name] = level
	}
	return l, nil
}

// ParseLevel reads one level, in the words of slog.
func ParseLevel(text string) (slog.Level, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, fmt.Errorf("expected debug, info, warn or error, found %q", text)
	}
	return level, nil
}

var _ slog.Handler = (*Handler)(nil)

// Handler lets pass what its component's level does. A logger without a component has the
// level of those that are not named.
type Handler struct {
	next    slog.Handler
	levels  Levels
	level   slog.Level
	grouped bool // attributes are in a group, so none of them names the component
}

// NewHandler returns a handler in front of another, which should let pass all from
// levels.Least on.
func NewHandler(next slog.Handler, levels Levels) *Handler {
	return &Handler{next: next, levels: levels, level: levels.Level}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	c.next = h.next.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == Key && !h.grouped {
			c.level = h.levels.Of(a.Value.String())
		}
	}
	return &c
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	c := *h
	c.next, c.grouped = h.next.WithGroup(name), h.grouped || name != ""
	return &c
}
