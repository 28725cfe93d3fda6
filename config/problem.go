package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity says whether a problem stops the configuration from being used.
type Severity uint8

// The severities.
const (
	Error   Severity = iota // the configuration is refused
	Warning                 // it works, and somebody should look
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText returns "error" or "warning", for JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is wrong with a configuration file, and where. Its texts
// never hold a secret or the value of a variable (INV-8).
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1, columns in characters. Line is 0 when the file
	// could not be read at all.
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	// Path leads to the place from the top of the file, such as
	// "tasks.telemetry.source"; "" is the file itself.
	Path    string `json:"path"`
	Message string `json:"message"`

	cause error // of a file that cannot be read
}

// String returns "file:line:column: message", as compilers and editors have it.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Problems is all that is wrong with a file, in the order of its lines. As an error it
// holds at least one problem of severity Error, and the warnings too.
type Problems []Problem //nolint:errname // it is a list first, to be ranged over

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the errors of a file that could not be read, such as fs.ErrNotExist.
func (p Problems) Unwrap() []error {
	var list []error
	for i := range p {
		if p[i].cause != nil {
			list = append(list, p[i].cause)
		}
	}
	return list
}

// Fatal reports whether one of the problems is an error.
func (p Problems) Fatal() bool {
	return slices.ContainsFunc(p, func(q Problem) bool { return q.Severity == Error })
}

// position is a point in the file, counted from 1.
type position struct{ line, column int }

// report collects the problems of one file.
type report struct {
	file     string
	problems Problems
	// expanded are the values that came from variables and files, which no message may
	// show.
	expanded []expansion
}

// errorAt reports an error about a node.
func (r *report) errorAt(n *node, format string, args ...any) {
	r.add(Error, n.pos, n.path, fmt.Sprintf(format, args...))
}

// missingAt reports an error about something that a map or a short form lacks. It is
// shown at the key that the map belongs to, because the map itself may be empty.
func (r *report) missingAt(n *node, format string, args ...any) {
	at := n.pos
	if n.keyPos.line > 0 {
		at = n.keyPos
	}
	r.add(Error, at, n.path, fmt.Sprintf(format, args...))
}

// errorAtKey reports an error about the key of a map's entry.
func (r *report) errorAtKey(e *entry, format string, args ...any) {
	r.add(Error, e.pos, e.value.path, fmt.Sprintf(format, args...))
}

// warnAt reports a warning about a node.
func (r *report) warnAt(n *node, format string, args ...any) {
	r.add(Warning, n.pos, n.path, fmt.Sprintf(format, args...))
}

func (r *report) add(s Severity, at position, path, message string) {
	r.problems = append(r.problems, Problem{
		File: r.file, Line: at.line, Column: at.column, Severity: s, Path: path, Message: message,
	})
}

// minHidden is the length from which an expanded value is hidden wherever it appears.
// A shorter one would blank out ordinary words; it is hidden in what a driver says
// about its own options, see hide.
const minHidden = 8

// finish returns the problems, sorted, each once, with expanded values hidden.
func (r *report) finish() Problems {
	for i := range r.problems {
		r.problems[i].Message = hide(r.problems[i].Message, r.expanded, minHidden)
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Message, b.Message))
	})
	// A template or an alias brings the same mistake several times. The path may differ.
	r.problems = slices.CompactFunc(r.problems, func(a, b Problem) bool {
		return a.Line == b.Line && a.Column == b.Column && a.Message == b.Message
	})
	if n := len(r.problems); n > maxProblems {
		rest := r.problems[maxProblems-1]
		rest.Severity = Warning
		if r.problems.Fatal() { // perhaps only among those that are left out
			rest.Severity = Error
		}
		rest.Path, rest.Message = "", fmt.Sprintf("and %d more problems from here on", n-maxProblems+1)
		r.problems = append(r.problems[:maxProblems-1], rest)
	}
	return r.problems
}

// maxProblems is how many problems are reported: nobody reads more.
const maxProblems = 200

// expansion is a value that took the place of a reference.
type expansion struct {
	reference string // "${NAME}"
	value     string
}

// hide puts the references back in the place of their values, the longest first, so
// that no part of a value stays when one value holds another.
func hide(text string, list []expansion, atLeast int) string {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b expansion) int { return cmp.Compare(len(b.value), len(a.value)) })
	for _, x := range list {
		if len(x.value) >= atLeast {
			text = strings.ReplaceAll(text, x.value, x.reference)
		}
	}
	return text
}
