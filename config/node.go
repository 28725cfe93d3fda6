package config

import (
	"slices"
	"strconv"
	"strings"
)

// kind is what a node is.
type kind uint8

const (
	nullNode kind = iota
	scalarNode
	mapNode
	listNode
)

// node is a piece of the file, with aliases and merge keys resolved. Nodes may be
// shared by aliases and are never changed after parsing, except by expand, which copies.
type node struct {
	kind   kind
	pos    position
	keyPos position // of the key that leads here; zero in a list and at the top
	path   string   // from the top, such as "tasks.telemetry.source"

	text   string      // of a scalar
	source string      // of a scalar whose text was expanded: as it stands in the file
	quoted bool        // the scalar is a text, whatever it looks like
	refs   []expansion // what text holds that does not stand in the file
	loose  bool        // something was put into the text, so that quotes say nothing of its type
	broken bool        // a reference could not be resolved, which is reported already

	entries []entry // of a map, in the order of the file
	items   []*node // of a list
	size    int     // nodes below, this one included, aliases counted as copies
}

// entry is a key of a map and its value.
type entry struct {
	key    string
	pos    position
	value  *node
	merged bool // by a merge key: an explicit key goes before it
}

// get returns the value of a key, or nil.
func (n *node) get(key string) *node {
	if e := n.entry(key); e != nil {
		return e.value
	}
	return nil
}

func (n *node) entry(key string) *entry {
	if n == nil {
		return nil
	}
	for i := range n.entries {
		if n.entries[i].key == key {
			return &n.entries[i]
		}
	}
	return nil
}

// without returns a map without some of its keys.
func (n *node) without(keys ...string) *node {
	c := *n
	c.entries = nil
next:
	for _, e := range n.entries {
		for _, k := range keys {
			if e.key == k {
				continue next
			}
		}
		c.entries = append(c.entries, e)
	}
	return &c
}

// find returns the node at a path below n, such as "retry.min" or "brokers[1]", or the
// nearest one above it that there is.
func (n *node) find(path string) *node {
	path = strings.NewReplacer("[", ".", "]", "").Replace(path)
	for step := range strings.SplitSeq(path, ".") {
		var next *node
		switch n.kind {
		case nullNode, scalarNode:
		case mapNode:
			next = n.get(step)
		case listNode:
			if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.items) {
				next = n.items[i]
			}
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

// written returns a scalar as it stands in the file.
func (n *node) written() string {
	if n.source != "" {
		return n.source
	}
	return n.text
}

// literal reports whether a scalar stands in the file as it is used.
func (n *node) literal() bool { return len(n.refs) == 0 }

// expansions returns all expansions at and below n.
func (n *node) expansions() []expansion {
	if n == nil {
		return nil
	}
	list := n.refs
	for i := range n.entries {
		list = append(slices.Clip(list), n.entries[i].value.expansions()...)
	}
	for _, item := range n.items {
		list = append(slices.Clip(list), item.expansions()...)
	}
	return list
}

// anyBroken reports whether a reference at or below n could not be resolved.
func (n *node) anyBroken() bool {
	return n.broken ||
		slices.ContainsFunc(n.entries, func(e entry) bool { return e.value.anyBroken() }) ||
		slices.ContainsFunc(n.items, (*node).anyBroken)
}

// describe says what a node is, for "expected a map, found a list".
func (n *node) describe() string {
	switch n.kind {
	case mapNode:
		return "a map"
	case listNode:
		return "a list"
	case nullNode:
		return "nothing"
	case scalarNode:
	}
	// A short word helps the reader and is no secret; anything else may be one.
	switch {
	case !n.literal():
		return "the value of " + n.refs[0].reference
	case printable(n.text) && n.quoted && !n.loose && n.text != "":
		return "the text " + strconv.Quote(n.text)
	case printable(n.text):
		return strconv.Quote(n.text)
	}
	return "text"
}

// printable reports whether a text that the file holds may appear in a message: a
// short word or number. Keys and passwords of services are longer.
func printable(s string) bool {
	if len(s) > 24 {
		return false
	}
	for _, c := range s {
		ok := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' ||
			strings.ContainsRune("-_.:+ ", c)
		if !ok {
			return false
		}
	}
	return true
}

// childPath appends a key to a path.
func childPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// plain returns the node as Go values, for options that take anything and for
// validators.
func (n *node) plain() any {
	switch n.kind {
	case mapNode:
		m := make(map[string]any, len(n.entries))
		for i := range n.entries {
			m[n.entries[i].key] = n.entries[i].value.plain()
		}
		return m
	case listNode:
		list := make([]any, len(n.items))
		for i := range n.items {
			list[i] = n.items[i].plain()
		}
		return list
	case scalarNode:
		return n.plainScalar()
	case nullNode:
	}
	return nil
}

// plainScalar types a scalar as YAML 1.2's core schema does.
func (n *node) plainScalar() any {
	if n.quoted && !n.loose {
		return n.text
	}
	switch n.text {
	case "true":
		return true
	case "false":
		return false
	}
	if i, err := strconv.ParseInt(n.text, 10, 64); err == nil {
		return i
	}
	if looksNumeric(n.text) {
		if f, err := strconv.ParseFloat(n.text, 64); err == nil {
			return f
		}
	}
	return n.text
}

// looksNumeric keeps ParseFloat from taking words such as "inf", "nan" and "0x1p4".
func looksNumeric(s string) bool {
	return s != "" && strings.Trim(s, "0123456789+-.eE") == "" && strings.ContainsAny(s, "0123456789")
}
