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

func (t *table) set(row, client string, c cell) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cells[[2]string{row, client}] = c
}

// record fills the cell of a subtest when it ends.
func (t *table) record(tt *testing.T, row, client string, note *string) {
	tt.Cleanup(func() {
		c := cell{note: *note}
		switch {
		case tt.Failed():
			c.outcome = failed
		case tt.Skipped():
			c.outcome = notOfferedBySDK
		}
		t.set(row, client, c)
	})
}

// markdown is the table with its notes numbered in order of appearance.
func (t *table) markdown() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out, notes strings.Builder
	out.WriteString("| case |")
	rule := "| --- |"
	for _, c := range t.clients {
		fmt.Fprintf(&out, " %s |", c.name)
		rule += " --- |"
	}
	out.WriteString("\n" + rule + "\n")
	var seen []string
	for _, row := range t.rows {
		fmt.Fprintf(&out, "| %s |", row)
		for _, c := range t.clients {
			shown, ok := t.cells[[2]string{row, c.name}]
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
func (t *table) document() string {
	var out strings.Builder
	out.WriteString("# Official clients against the embedded hub\n\n")
	out.WriteString("Written by `go test ./interop -update`; do not edit. Every case runs with the unmodified client of the row's column;\n")
	out.WriteString("\"not offered\" means that this SDK has no way to do it, with the reason below the table.\n\n")
	for _, c := range t.clients {
		fmt.Fprintf(&out, "- %s: %s %s\n", c.name, c.sdk, c.version)
	}
	out.WriteString("\n" + t.markdown())
	return out.String()
}
