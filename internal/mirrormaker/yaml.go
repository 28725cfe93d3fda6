package mirrormaker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// plainText is what needs no quotes in YAML, wherever it stands: it begins with a letter
// and holds nothing that means something.
var plainText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/-]*$`)

// text renders a value.
func text(s string) string {
	if plainText.MatchString(s) {
		switch strings.ToLower(s) {
		case "true", "false", "yes", "no", "on", "off", "null", "y", "n":
		default:
			return s
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string is always encodable, and JSON is YAML
	return strings.TrimRight(b.String(), "\n")
}

// list renders a list of values.
func list(items []string) string {
	quoted := make([]string, len(items))
	for i, s := range items {
		quoted[i] = text(s)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// pair is a key with a value.
type pair struct{ key, value string }

// rendered marks a value that is YAML already: a number, a list.
const rendered = "\x00"

// pairs renders a map in one line, without the pairs that have no value.
func pairs(list ...pair) string {
	var parts []string
	for _, p := range list {
		if p.value != "" {
			value, ok := strings.CutPrefix(p.value, rendered)
			if !ok {
				value = text(value)
			}
			parts = append(parts, p.key+": "+value)
		}
	}
	if len(parts) == 0 {
		return "{}"
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

const head = `# yaml-language-server: $schema=./hubferry.schema.json
#
# From %s, by "hubferry import mirrormaker", which said what it could not carry.
#
# What is not as with MirrorMaker:
# - Records get headers that tell where they came from (repl-*). "provenance: none" on a task leaves them out, and with
#   them what stops records from going in circles.
# - A gap in the source (retention was faster) stops the partition and says what is missing. "onGap: continue" goes on.
version: 1

connections:
`

// render writes the configuration.
func render(name string, connections []*connection, tasks []*task) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, head, strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, name))
	for _, c := range connections {
		fmt.Fprintf(&b, "  %s:\n    kafka:\n      brokers: %s\n", text(c.name), list(c.brokers))
		if c.tls {
			fmt.Fprintf(&b, "      tls: %s\n", pairs(pair{"caFile", c.caFile}, pair{"certFile", c.certFile}, pair{"keyFile", c.keyFile}))
		}
		if len(c.sasl) > 0 {
			fmt.Fprintf(&b, "      sasl: %s\n", pairs(c.sasl...))
		}
		if c.rack != "" {
			fmt.Fprintf(&b, "      rack: %s\n", text(c.rack))
		}
	}
	b.WriteString("\ntasks:\n")
	for i, t := range tasks {
		if i > 0 {
			b.WriteString("\n")
		}
		t.render(&b)
	}
	return b.Bytes()
}

func (t *task) render(b *bytes.Buffer) {
	fmt.Fprintf(b, "  # %s\n  %s:\n", t.comment, text(t.name))
	fmt.Fprintf(b, "    source: %s\n", pairs(t.source...))
	fmt.Fprintf(b, "    target: %s\n", pairs(t.target...))
	for _, p := range []pair{{"delivery", t.delivery}, {"onError", t.onError}} {
		if p.value != "" {
			fmt.Fprintf(b, "    %s: %s\n", p.key, p.value)
		}
	}
}
