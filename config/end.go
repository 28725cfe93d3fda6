package config

import (
	"reflect"
	"strings"

	"github.com/hubferry/hubferry"
)

// end is one end of a task: what its source and its targets have in common.
type end struct {
	connection *Connection
	hub        string
	options    hubferry.Options
	at         *node
}

// role is what an end is to be.
type role struct {
	name    string // "source"
	options func(hubferry.Driver) func() hubferry.Options
}

var (
	sourceRole = role{"source", func(d hubferry.Driver) func() hubferry.Options { return d.Source }}
	targetRole = role{"target", func(d hubferry.Driver) func() hubferry.Options { return d.Target }}
)

// end decodes one end of a task: our own keys into own, which holds the entity, the
// others into the options of the driver whose connection the address names.
func (l *loader) end(n *node, own any, entity *entityKeys, r role) (end, bool) {
	at := asMap(n)
	if at.broken {
		return end{}, false
	}
	if at.kind != mapNode {
		l.report.missingAt(n, "expected a %s: an address such as west/telemetry, or a map; found %s", r.name, n.describe())
		return end{}, false
	}
	c := l.connectionAt(at)
	if c == nil || r.options(c.Driver) == nil {
		// The driver's keys are not known: look at ours only.
		l.decoder().structs(onlyKeysOf(at, own), []reflect.Value{reflect.ValueOf(own).Elem()})
		key := l.address(at, own, entity, r)
		if c != nil && key != nil {
			l.report.errorAt(key.at, "%s connections such as %s cannot be a %s", c.Driver.Name, c.Name, r.name)
		}
		return end{}, false
	}
	o := r.options(c.Driver)()
	l.decoder().options(at, o, own)
	key := l.address(at, own, entity, r)
	if key == nil {
		return end{}, false
	}
	return end{connection: c, hub: key.Entity, options: o, at: at}, true
}

// asMap turns the short form of an end, its address, into a map.
func asMap(n *node) *node {
	if n.kind != scalarNode {
		return n
	}
	return &node{
		kind: mapNode, pos: n.pos, keyPos: n.keyPos, path: n.path, broken: n.broken,
		entries: []entry{{key: "hub", pos: n.pos, value: n}},
	}
}

// onlyKeysOf returns a map with the entries that a struct knows.
func onlyKeysOf(n *node, own any) *node {
	known := fieldNames(fieldsOf(reflect.TypeOf(own).Elem()))
	c := *n
	c.entries = nil
	for _, e := range n.entries {
		if indexOf(known, e.key) >= 0 {
			c.entries = append(c.entries, e)
		}
	}
	return &c
}

// connectionAt returns the connection of a map's address, or nil. It reports nothing.
func (l *loader) connectionAt(n *node) *Connection {
	for _, word := range append(fieldNames(fieldsOf(reflect.TypeFor[entityKeys]())), "topics") {
		v := n.get(word)
		if v != nil && v.kind == listNode && len(v.items) > 0 && word == "topics" {
			v = v.items[0]
		}
		if v == nil || v.kind != scalarNode || v.broken {
			continue
		}
		if a, err := ParseAddress(v.text); err == nil {
			return l.app.Connection(a.Connection)
		}
		if name, _, ok := strings.Cut(v.text, "/"); ok && word == "topics" {
			return l.app.Connection(name)
		}
	}
	return nil
}

// address returns the address of an end, of which a source may have several.
func (l *loader) address(n *node, own any, entity *entityKeys, r role) *addressKey {
	if s, ok := own.(*sourceKeys); ok && s.Topics.at != nil {
		if other := entity.first(); other != nil {
			l.report.errorAt(other.at, `a source has one address, or "topics" for several`)
		}
		if s.Topics.connection == "" {
			return nil // reported
		}
		return l.known(s.Topics.address())
	}
	key := l.entity(n, entity, r)
	if key != nil && r.name == sourceRole.name && key.isTemplate() {
		l.report.errorAt(key.at, "{%s} needs a forEach in this task that gives it values", key.placeholder())
		return nil
	}
	return key
}

// first returns an address that is there, or nil.
func (k *entityKeys) first() *addressKey {
	for _, a := range []*addressKey{&k.Hub, &k.Topic, &k.Queue, &k.Table} {
		if a.at != nil {
			return a
		}
	}
	return nil
}

// entity returns the one address of a decoded map, or nil if there is none that can be
// used.
func (l *loader) entity(n *node, keys *entityKeys, r role) *addressKey {
	var found *addressKey
	for _, k := range []*addressKey{&keys.Hub, &keys.Topic, &keys.Queue, &keys.Table} {
		switch {
		case k.at == nil:
		case found != nil:
			l.report.errorAt(k.at, "a %s has one address; hub, topic, queue and table are words for the same", r.name)
		default:
			found = k
		}
	}
	switch {
	case found == nil:
		l.report.missingAt(n, `"hub" is missing: the address of the %s, such as west/telemetry`, r.name)
		return nil
	case !found.isSet():
		return nil // reported
	}
	return l.known(found)
}

// known returns an address if there is such a connection, else nil.
func (l *loader) known(found *addressKey) *addressKey {
	switch {
	case l.broken[found.Connection]:
		return nil // reported where the connection is defined
	case l.app.Connection(found.Connection) == nil:
		names := map[string]bool{}
		for _, c := range l.app.Connections {
			names[c.Name] = true
		}
		l.report.errorAt(found.at, "there is no connection %q%s", found.Connection, suggestKey(found.Connection, names))
		return nil
	}
	return found
}
