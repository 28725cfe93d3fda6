package config

import (
	"fmt"
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// converter makes nodes of the parser's tree: it resolves aliases and merge keys and
// finds keys that are given twice.
type converter struct {
	report  *report
	anchors map[string]*node
	nodes   int  // counting each use of an alias
	full    bool // the limit was reached and reported
}

func (c *converter) fail(at position, path, format string, args ...any) {
	c.report.add(Error, at, path, fmt.Sprintf(format, args...))
}

// convert never returns nil: what cannot be used becomes an empty node, so that the
// rest of the file is still looked at.
func (c *converter) convert(n ast.Node, path string, depth int) *node {
	out := &node{path: path, size: 1}
	if n == nil {
		return out
	}
	out.pos = positionOf(n.GetToken())
	if c.count(1, out.pos, path); c.full {
		return out
	}
	if depth > maxDepth {
		c.fail(out.pos, path, "more than %d lists and maps within each other", maxDepth)
		return out
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		c.mapping(out, n.Values, depth)
		if n.IsFlowStyle && n.Start != nil {
			out.pos = positionOf(n.Start)
		}
	case *ast.MappingValueNode: // a map of one entry
		c.mapping(out, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		out.kind = listNode
		for i, v := range n.Values {
			item := c.item(n, v, path+"["+strconv.Itoa(i)+"]", depth+1)
			out.items = append(out.items, item)
			out.size += item.size
		}
	case *ast.AnchorNode:
		out = c.convert(n.Value, path, depth+1)
		c.anchors[scalarText(n.Name)] = out
	case *ast.AliasNode:
		return c.alias(n, out)
	case *ast.TagNode:
		return c.tag(n, path, depth)
	case *ast.LiteralNode:
		out.kind, out.text, out.quoted = scalarNode, n.Value.Value, true
	case ast.ScalarNode:
		out.kind, out.text = scalarNode, scalarText(n)
		out.quoted = quoted(n.GetToken())
	default:
		c.fail(out.pos, path, "this YAML is not understood here")
	}
	return out
}

// item converts an item of a list. Within { }, the parser takes [kafka-1:9093] for a list
// of a map; in YAML it is a text, because no space follows the colon.
func (c *converter) item(list *ast.SequenceNode, n ast.Node, path string, depth int) *node {
	m, ok := n.(*ast.MappingNode)
	if !ok || !list.IsFlowStyle || m.IsFlowStyle || len(m.Values) != 1 {
		return c.convert(n, path, depth)
	}
	key, keyOK := m.Values[0].Key.(ast.ScalarNode)
	value, valueOK := m.Values[0].Value.(ast.ScalarNode)
	if !keyOK || !valueOK || quoted(key.GetToken()) || quoted(value.GetToken()) {
		return c.convert(n, path, depth)
	}
	colon, after := positionOf(m.Values[0].Start), positionOf(value.GetToken())
	if colon.line != after.line || colon.column+1 != after.column {
		return c.convert(n, path, depth)
	}
	at := positionOf(key.GetToken())
	c.count(1, at, path)
	return &node{kind: scalarNode, pos: at, path: path, size: 1, text: scalarText(key) + ":" + scalarText(value)}
}

// count adds nodes and reports when there are too many.
func (c *converter) count(n int, at position, path string) {
	c.nodes += n
	if c.nodes > maxNodes && !c.full {
		c.full = true
		c.report.add(Error, at, path, tooManyValues)
	}
}

func (c *converter) alias(n *ast.AliasNode, out *node) *node {
	name := scalarText(n.Value)
	target := c.anchors[name]
	if target == nil {
		c.fail(out.pos, out.path, "there is no anchor &%s above%s", name, suggestKey(name, c.anchors))
		return out
	}
	c.count(target.size, out.pos, out.path)
	return target
}

// tag accepts the tags of the core schema, of which only !!str means anything here.
func (c *converter) tag(n *ast.TagNode, path string, depth int) *node {
	out := c.convert(n.Value, path, depth+1)
	switch name := n.Start.Value; name {
	case "!!str", "!":
		if out.kind == nullNode {
			out = &node{kind: scalarNode, pos: out.pos, path: path, size: 1}
		}
		out.quoted = true
	case "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq":
	default:
		c.fail(positionOf(n.Start), path, "YAML tags such as %s have no meaning here", name)
	}
	return out
}

// mapping fills a map. Explicit keys go before merged ones, and among merge keys the
// earlier one (the YAML merge key draft).
func (c *converter) mapping(out *node, values []*ast.MappingValueNode, depth int) {
	out.kind = mapNode
	for i, v := range values {
		keyNode := ast.Node(v.Key)
		if complexKey, ok := keyNode.(*ast.MappingKeyNode); ok {
			keyNode = complexKey.Value
		}
		if anchor, ok := keyNode.(*ast.AnchorNode); ok {
			keyNode = anchor.Value
		}
		at := positionOf(keyNode.GetToken())
		if i == 0 {
			out.pos = at
		}
		if _, ok := keyNode.(*ast.MergeKeyNode); ok {
			from := c.convert(v.Value, out.path, depth+1)
			c.merge(out, from)
			continue
		}
		key, ok := keyText(keyNode)
		if !ok {
			c.fail(at, out.path, "a key must be a word")
			continue
		}
		value := c.convert(v.Value, childPath(out.path, key), depth+1)
		if value.keyPos.line == 0 {
			value.keyPos = at
		}
		c.put(out, entry{key: key, pos: at, value: value})
	}
	for i := range out.entries {
		out.size += out.entries[i].value.size
	}
}

// put adds an entry, unless the key is there already.
func (c *converter) put(out *node, e entry) {
	old := out.entry(e.key)
	switch {
	case old == nil:
		out.entries = append(out.entries, e)
	case old.merged && !e.merged:
		*old = e
	case !old.merged && !e.merged:
		c.fail(e.pos, childPath(out.path, e.key), "key %q is given twice; the first is in line %d", e.key, old.pos.line)
	}
}

func (c *converter) merge(out, from *node) {
	switch from.kind {
	case mapNode:
		for _, e := range from.entries {
			e.merged = true
			c.put(out, e)
		}
	case listNode:
		for _, item := range from.items {
			if item.kind != mapNode {
				c.fail(item.pos, out.path, "a merge key (<<) takes maps, found %s", item.describe())
				continue
			}
			c.merge(out, item)
		}
	default:
		c.fail(from.pos, out.path, "a merge key (<<) takes a map, found %s", from.describe())
	}
}

// keyText returns the text of a key as the file has it.
func keyText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return scalarText(n), true
	}
	return "", false
}

// scalarText returns a scalar's value as text. Numbers keep the form of the file.
func scalarText(n ast.Node) string {
	switch n := n.(type) {
	case nil:
		return ""
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	if tk := n.GetToken(); tk != nil {
		return tk.Value
	}
	return n.String()
}

func quoted(tk *token.Token) bool {
	return tk != nil && (tk.Type == token.SingleQuoteType || tk.Type == token.DoubleQuoteType)
}
