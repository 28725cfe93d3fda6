package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file. They are far above any use and bound what a mistake, such as a log
// file under the wrong name, can cost.
const (
	maxFile    = 1 << 20 // bytes
	maxDepth   = 64      // of lists and maps within each other
	maxNodes   = 200_000 // counting each use of an alias
	maxKeys    = 40_000  // in the whole file
	maxMapKeys = 4_000   // in one map: the parser takes time that is quadratic in it
)

var tooManyValues = fmt.Sprintf("the file has more than %d values, those of aliases included", maxNodes)

// parse reads a file's text into nodes. It returns nil if there is nothing to go on
// with; what is wrong is in r.
func parse(data []byte, r *report) *node {
	top := position{1, 1}
	if len(data) > maxFile {
		r.add(Error, top, "", fmt.Sprintf("the file has more than %d bytes: is it a configuration?", maxFile))
		return nil
	}
	if bytes.HasPrefix(data, []byte{0xFF, 0xFE}) || bytes.HasPrefix(data, []byte{0xFE, 0xFF}) {
		r.add(Error, top, "", "the file is UTF-16; save it as UTF-8")
		return nil
	}
	data = bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	if at, bad := unreadable(data); bad {
		r.add(Error, at, "", "this is not UTF-8 text; save the file as UTF-8")
		return nil
	}
	file, at, err := parseYAML(string(data))
	if err != "" {
		r.add(Error, at, "", err)
		return nil
	}
	body := document(file, r)
	if body == nil {
		if len(r.problems) == 0 {
			r.add(Error, top, "", `the file is empty; it begins with "version: 1"`)
		}
		return nil
	}
	c := converter{report: r, anchors: map[string]*node{}}
	root := c.convert(body, "", 0)
	if c.full {
		return nil
	}
	return root
}

// unreadable finds the first byte that is not UTF-8 text.
func unreadable(data []byte) (position, bool) {
	at := position{1, 1}
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		switch {
		case c == utf8.RuneError && n <= 1, c == 0:
			return at, true
		case c == '\n':
			at = position{at.line + 1, 1}
		default:
			at.column++
		}
		i += n
	}
	return at, false
}

// parseYAML parses, and returns a message and its position instead of an error. The
// parser's own error text shows lines of the file, and with them perhaps secrets.
func parseYAML(text string) (file *ast.File, at position, message string) {
	// Whatever the file holds, it must not end the program: the parser is not ours.
	defer func() {
		if recover() != nil {
			file, at, message = nil, position{1, 1}, "this is not YAML"
		}
	}()
	tokens := lexer.Tokenize(text)
	if at, message := tooMuch(tokens); message != "" {
		return nil, at, message
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file, position{}, ""
	}
	at, message = position{1, 1}, "this is not YAML"
	if e, ok := err.(yaml.Error); ok { //nolint:errorlint // the parser returns it unwrapped, and the interface is not for errors.As
		if tk := e.GetToken(); tk != nil {
			at = positionOf(tk)
		}
		message = explain(e.GetMessage())
	}
	return nil, at, message
}

// explain turns a message of the parser into one that says what to do, for the mistakes
// that are made often. Text of the file that it quotes is cut off.
func explain(message string) string {
	advice := []struct{ part, better string }{
		{"cannot start any token", "a tab cannot indent YAML; use spaces"},
		{"a tab character where an indentation", "a tab cannot indent YAML; use spaces"},
		{"tab character cannot be used", "a tab cannot indent YAML; use spaces"},
		{"mapping value is not allowed in this context", `a value that holds ": " needs quotes, or the indentation is wrong`},
		{"invalid header option", `a value that begins with ">" or "|" needs quotes`},
		{"is a reserved character", `a value that begins with "@" or "` + "`" + `" needs quotes`},
		{"unexpected directive value", `a value that begins with "%" needs quotes`},
		{"',' or '}' must be specified", `"," or "}" expected; inside { }, a value with ${...} needs quotes`},
		{"',' or ']' must be specified", `"," or "]" expected; inside [ ], a value with ${...} needs quotes`},
		{"flow mapping end token", `this "{" is never closed`},
		{"sequence end token", `this "[" is never closed`},
		{"end character of double-quoted", `this double quote is never closed`},
		{"end character of single-quoted", `this single quote is never closed`},
		{"value is not allowed in this context", "the indentation is wrong here, or a colon is missing above"},
		{"non-map value is specified", "the indentation is wrong here, or a colon is missing"},
		{"unexpected key name", "a key is missing before the colon"},
	}
	for _, a := range advice {
		if strings.Contains(message, a.part) {
			return a.better
		}
	}
	message, _, _ = strings.Cut(message, `"`)
	return "this is not YAML: " + strings.TrimRight(message, " :")
}

// tooMuch looks for what would take the parser too long or too deep.
func tooMuch(tokens token.Tokens) (position, string) {
	if len(tokens) > 2*maxNodes {
		return positionOf(tokens[2*maxNodes]), tooManyValues
	}
	flow, line, run, keys := 0, 0, 0, 0
	var maps keyCounter
	for _, tk := range tokens {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType:
			if tk.Position.Line != line {
				line, run = tk.Position.Line, 0
			}
			run++
		}
		if tk.Type == token.MappingValueType || tk.Type == token.MappingKeyType {
			keys++
			if flow <= 0 && maps.add(tk) > maxMapKeys {
				return positionOf(tk), fmt.Sprintf("more than %d keys in one map; forEach makes many tasks of one", maxMapKeys)
			}
		}
		switch {
		case flow > maxDepth || run > maxDepth:
			return positionOf(tk), fmt.Sprintf("more than %d lists and maps within each other", maxDepth)
		case keys > maxKeys:
			return positionOf(tk), fmt.Sprintf("the file has more than %d keys: is it a configuration?", maxKeys)
		}
	}
	return position{}, ""
}

// keyCounter counts the keys of the block maps that are open, by the column of their
// keys. A key further left ends the maps to its right.
type keyCounter struct{ open []columnKeys }

type columnKeys struct{ column, keys int }

func (c *keyCounter) add(tk *token.Token) int {
	if tk.Type == token.MappingValueType && tk.Prev != nil {
		tk = tk.Prev
	}
	column := tk.Position.Column
	for len(c.open) > 0 && c.open[len(c.open)-1].column > column {
		c.open = c.open[:len(c.open)-1]
	}
	if len(c.open) == 0 || c.open[len(c.open)-1].column < column {
		c.open = append(c.open, columnKeys{column: column})
	}
	last := &c.open[len(c.open)-1]
	last.keys++
	return last.keys
}

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{1, 1}
	}
	return position{max(tk.Position.Line, 1), max(tk.Position.Column, 1)}
}

// document returns the one document of a file, or nil.
func document(file *ast.File, r *report) ast.Node {
	var body ast.Node
	for _, d := range file.Docs {
		if _, directive := d.Body.(*ast.DirectiveNode); directive || d.Body == nil {
			continue
		}
		if body != nil {
			at := positionOf(d.Body.GetToken())
			if d.Start != nil {
				at = positionOf(d.Start)
			}
			r.add(Error, at, "", "a second document begins here; a configuration is one document")
			return nil
		}
		body = d.Body
	}
	return body
}
