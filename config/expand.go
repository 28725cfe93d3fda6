package config

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
)

// maxSecretFile bounds what ${file:PATH} reads.
const maxSecretFile = 1 << 20

// expander replaces references in scalar values. It works on nodes, after parsing, so
// that a value can never change the structure of the file, and it looks at each text
// once, so that a value that looks like a reference stays as it is.
type expander struct {
	report *report
	input  *Input
	// placeholders are the values for {name} in a task with forEach, or nil.
	placeholders map[string]string
	used         map[string]bool
}

// expand returns a copy of the tree with all references replaced.
func (x *expander) expand(n *node) *node { return x.walk(n, true) }

// walk copies a tree. In programs (strict is false) a {word} that is no variable of the
// task is left alone: it has a meaning in their own languages.
func (x *expander) walk(n *node, strict bool) *node {
	if n == nil {
		return nil
	}
	out := *n
	switch n.kind {
	case nullNode:
	case scalarNode:
		x.scalar(&out, strict)
	case mapNode:
		out.entries = slices.Clone(n.entries)
		for i := range out.entries {
			e := &out.entries[i]
			if x.placeholders != nil {
				e.key = x.key(e.key)
			}
			e.value = x.walk(e.value, strict && e.key != "edit" && e.key != "when")
		}
	case listNode:
		out.items = slices.Clone(n.items)
		for i := range out.items {
			out.items[i] = x.walk(out.items[i], strict)
		}
	}
	return &out
}

// key replaces the placeholders of the task in a map's key.
func (x *expander) key(key string) string {
	scratch := node{kind: scalarNode, text: key}
	x.put(&scratch, false, false)
	return scratch.text
}

// scalar replaces what a text refers to.
func (x *expander) scalar(n *node, strict bool) { x.put(n, true, strict) }

// put does the work: references only if asked for, unknown placeholders are an error
// only if strict.
func (x *expander) put(n *node, references, strict bool) {
	if !strings.Contains(n.text, "{") {
		return
	}
	var b strings.Builder
	rest := n.text
	for rest != "" {
		i := strings.IndexAny(rest, "${")
		if i < 0 {
			break
		}
		b.WriteString(rest[:i])
		rest = rest[i:]
		switch {
		case references && strings.HasPrefix(rest, "$${"):
			b.WriteString("${")
			rest = rest[len("$${"):]
		case references && strings.HasPrefix(rest, "${"):
			inside, after, closed := strings.Cut(rest[len("${"):], "}")
			if !closed {
				x.report.errorAt(n, `a "${" is never closed; write "$${" for the characters themselves`)
				n.broken = true
				return
			}
			x.reference(n, &b, inside)
			rest = after
		case strings.HasPrefix(rest, "${"):
			b.WriteString("${")
			rest = rest[len("${"):]
		case rest[0] == '{' && x.placeholders != nil:
			rest = x.placeholder(n, &b, rest, strict)
		default:
			b.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	if text := b.String() + rest; text != n.text {
		n.source, n.text = n.text, text
	}
}

// reference writes the value of NAME, NAME:-default or file:PATH.
func (x *expander) reference(n *node, b *strings.Builder, inside string) {
	var value string
	var ok bool
	name, fallback, hasDefault := strings.Cut(inside, ":-")
	path, isFile := strings.CutPrefix(inside, "file:")
	switch {
	case isFile:
		name = inside
		value, ok = x.file(n, path)
	case !isVariable(name):
		x.report.errorAt(n, `"${...}" holds no variable name; it is ${NAME}, ${NAME:-default} or ${file:PATH}, and "$${" for the characters themselves`)
	case strings.Contains(fallback, "${"):
		x.report.errorAt(n, "the default of ${%s} holds another reference; only plain text can be a default", name)
	default:
		value, ok = x.input.lookup(name)
		if hasDefault && value == "" {
			// The default stands in the file: it is as literal as the text around it.
			b.WriteString(fallback)
			n.loose = true
			return
		}
		if !ok {
			x.report.errorAt(n, "the environment variable %s is not set; set it or write ${%s:-default}", name, name)
		}
	}
	if !ok {
		n.broken = true
		return
	}
	b.WriteString(value)
	ref := expansion{reference: "${" + name + "}", value: value}
	n.refs, n.loose = append(slices.Clip(n.refs), ref), true
	if value != "" && !slices.Contains(x.report.expanded, ref) {
		x.report.expanded = append(x.report.expanded, ref)
	}
}

// file reads a file beside the configuration, without its last line break.
func (x *expander) file(n *node, path string) (string, bool) {
	if path == "" {
		x.report.errorAt(n, "${file:} names no file")
		return "", false
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(filepath.Dir(x.input.File), full)
	}
	data, err := x.input.readFile(full)
	switch {
	case err != nil:
		x.report.errorAt(n, "${file:%s} cannot be read: %v", path, cause(err))
		return "", false
	case len(data) > maxSecretFile:
		x.report.errorAt(n, "${file:%s} has more than %d bytes", path, maxSecretFile)
		return "", false
	}
	return string(bytes.TrimRight(data, "\r\n")), true
}

// placeholder writes the value of the {name} at the beginning of rest and returns what
// follows it.
func (x *expander) placeholder(n *node, b *strings.Builder, rest string, strict bool) string {
	name, after, closed := strings.Cut(rest[1:], "}")
	if !closed || !isPlaceholder(name) {
		b.WriteByte('{')
		return rest[1:]
	}
	value, ok := x.placeholders[name]
	switch {
	case ok:
		b.WriteString(value)
		x.used[name] = true
		n.loose = true
	case strict:
		x.report.errorAt(n, "{%s} is no variable of this task's forEach%s", name, suggestKey(name, x.placeholders))
		n.broken = true
	default:
		b.WriteString("{" + name + "}")
	}
	return after
}

// isVariable reports whether a text is a name of an environment variable.
func isVariable(s string) bool {
	for i, c := range s {
		letter := c == '_' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// isPlaceholder reports whether a text is a name that forEach can give a value.
func isPlaceholder(s string) bool { return isVariable(strings.ReplaceAll(s, "-", "_")) }
