package config

import (
	"maps"
	"slices"
)

// maxInstances bounds how many tasks all forEach together make.
const maxInstances = 10_000

// forEach returns the values of a task's variables, one map for each task to be made:
// all combinations, the last variable changing fastest. Without forEach it returns one
// nil map, after a mistake nothing.
func (l *loader) forEach(e *entry) []map[string]string {
	n := e.value.get("forEach")
	if n == nil {
		return []map[string]string{nil}
	}
	n = l.expander(nil).expand(n)
	if n.kind != mapNode || len(n.entries) == 0 {
		l.report.missingAt(n, "expected a map of variables with their values, as in {hub: [payments, clicks]}; found %s", n.describe())
		return nil
	}
	combinations := []map[string]string{{}}
	for i := range n.entries {
		values, ok := l.variable(&n.entries[i])
		if !ok {
			combinations = nil // the other variables are looked at all the same
		}
		if l.instances+len(combinations)*len(values) > maxInstances {
			l.report.errorAt(n, "forEach makes more than %d tasks", maxInstances)
			return nil
		}
		var next []map[string]string
		for _, c := range combinations {
			for _, v := range values {
				c = maps.Clone(c)
				c[n.entries[i].key] = v
				next = append(next, c)
			}
		}
		combinations = next
	}
	l.instances += len(combinations)
	return combinations
}

// variable returns the values of one variable.
func (l *loader) variable(e *entry) ([]string, bool) {
	before := len(l.report.problems)
	if !isPlaceholder(e.key) {
		l.report.errorAtKey(e, `variable %q: a name has letters, digits, "_" and "-", beginning with a letter`, e.key)
	}
	if e.value.kind != listNode || len(e.value.items) == 0 {
		l.report.errorAt(e.value, "expected a list of at least one value, found %s", e.value.describe())
		return nil, false
	}
	var values []string
	for _, item := range e.value.items {
		switch {
		case item.broken:
			return nil, false
		case item.kind != scalarNode || item.text == "":
			l.report.errorAt(item, "expected a word or number, found %s", item.describe())
		case slices.Contains(values, item.text):
			l.report.errorAt(item, "%s is in the list already", item.describe())
		default:
			values = append(values, item.text)
		}
	}
	return values, len(l.report.problems) == before
}

// unused reports variables that change nothing, and whether there are any.
func (l *loader) unused(e *entry, x *expander) bool {
	list, found := e.value.get("forEach"), false
	for name := range x.placeholders {
		if !x.used[name] {
			found = true
			l.report.errorAtKey(list.entry(name), "{%s} is not used in the task", name)
		}
	}
	return found
}

// name returns a task's name with its placeholders replaced.
func (x *expander) name(e *entry) string {
	if x.placeholders == nil {
		return e.key
	}
	return x.key(e.key)
}
