package interop

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// table collects what each case has shown for each client.
type table struct {
	mu      sync.Mutex
	clients []column
	rows    []string
	cells   map[[2]string]cell // by case and client
}

type column struct{ name, sdk, version string }

type outcome int

const (
	passed outcome = iota
	notOfferedBySDK
	failed
)

type cell struct {
	outcome outcome
	note    string // why not offered, or what the SDK cannot do of it
}

func (b *table) set(row, client string, c cell) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cells[[2]string{row, client}] = c
}

// record fills the cell of a subtest when it ends.
func (b *table) record(t *testing.T, row, client string, note *string) {
	t.Helper()
	t.Cleanup(func() {
		c := cell{note: *note}
		switch {
		case t.Failed():
			c.outcome = failed
		case t.Skipped():
			c.outcome = notOfferedBySDK
		}
		b.set(row, client, c)
	})
}

// markdown is the table with its notes numbered in order of appearance.
func (b *table) markdown() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out, notes strings.Builder
	out.WriteString("| case |")
	rule := "\n| --- |" + strings.Repeat(" --- |", len(b.clients)) + "\n"
	for _, c := range b.clients {
		fmt.Fprintf(&out, " %s |", c.name)
	}
	out.WriteString(rule)
	var seen []string
	for _, row := range b.rows {
		fmt.Fprintf(&out, "| %s |", row)
		for _, c := range b.clients {
			shown, ok := b.cells[[2]string{row, c.name}]
			fmt.Fprintf(&out, " %s", mark(shown, ok))
			if shown.note != "" {
				n := slices.Index(seen, shown.note)
				if n < 0 {
					n = len(seen)
					seen = append(seen, shown.note)
					fmt.Fprintf(&notes, "%d. %s\n", n+1, shown.note)
				}
				fmt.Fprintf(&out, " (%d)", n+1)
			}
			out.WriteString(" |")
		}
		out.WriteString("\n")
	}
	if notes.Len() > 0 {
		fmt.Fprintf(&out, "\n%s", notes.String())
	}
	return out.String()
}

func mark(c cell, ok bool) string {
	switch {
	case !ok:
		return "not run"
	case c.outcome == failed:
		return "FAILED"
	case c.outcome == notOfferedBySDK:
		return "not offered"
	}
	return "ok"
}

// document is RESULTS.md.
func (b *table) document() string {
	var out strings.Builder
	out.WriteString("# Official clients against the embedded hub\n\n")
	out.WriteString("Written by `go test ./interop -update`; do not edit. Every case runs with the unmodified client of the row's column;\n")
	out.WriteString("\"not offered\" means that this SDK has no way to do it, with the reason below the table.\n\n")
	for _, c := range b.clients {
		fmt.Fprintf(&out, "- %s: %s %s\n", c.name, c.sdk, c.version)
	}
	out.WriteString("\n" + b.markdown())
	return out.String()
}
