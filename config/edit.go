package config

import "strconv"

// edit decodes a list of editors.
func (l *loader) edit(n *node) []Edit {
	if n == nil || n.broken {
		return nil
	}
	if n.kind != listNode {
		l.report.errorAt(n, `"edit" is a list of editors, each a line that begins with "-"; found %s`, n.describe())
		return nil
	}
	var list []Edit
	count := map[string]int{}
	for _, item := range n.items {
		e, ok := l.editor(item)
		if !ok {
			continue
		}
		count[e.Name]++
		if i := count[e.Name]; i > 1 {
			e.Name += "-" + strconv.Itoa(i)
		}
		list = append(list, e)
	}
	return list
}

// editor decodes one editor: a map with its name as the only key, or just the name.
func (l *loader) editor(n *node) (Edit, bool) {
	var key *entry
	switch {
	case n.broken:
		return Edit{}, false
	case n.kind == scalarNode:
		// A name alone: all options have their defaults.
		key = &entry{key: n.text, pos: n.pos, value: &node{pos: n.pos, path: n.path}}
	case n.kind == mapNode && len(n.entries) == 1:
		key = &n.entries[0]
	default:
		l.report.errorAt(n, "expected an editor: its name, then its options; found %s", describeKeys(n))
		return Edit{}, false
	}
	kind, ok := l.reg.editor(key.key)
	if !ok {
		l.report.errorAtKey(key, "unknown editor %q%s", key.key, SuggestOrList(key.key, l.reg.editorNames()))
		return Edit{}, false
	}
	o := kind.Options()
	l.decoder().options(key.value, o)
	return Edit{Name: kind.Name, Kind: kind, Options: o}, true
}

func describeKeys(n *node) string {
	if n.kind == mapNode && len(n.entries) > 1 {
		return "a map with " + strconv.Itoa(len(n.entries)) + " keys (is the indentation of the options right?)"
	}
	return n.describe()
}
