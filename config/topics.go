package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/hubferry/hubferry"
)

// topicsKey selects several hubs of one connection: a list of addresses, or one text
// whose entity is a regular expression of whole names.
type topicsKey struct {
	connection string
	names      []string
	pattern    string
	at         *node
}

const topicsForms = `expected a list of addresses, as in [legacy/payments, legacy/clicks], or a regular expression behind a connection, as in legacy/orders\..*`

// decodeNode implements nodeDecoder.
func (k *topicsKey) decodeNode(d *decoder, n *node) {
	k.at = n
	switch {
	case n.broken:
	case n.kind == scalarNode:
		k.decodePattern(d, n)
	case n.kind == listNode && len(n.items) > 0:
		for _, item := range n.items {
			k.add(d, item)
		}
	default:
		d.report.errorAt(n, "%s; found %s", topicsForms, n.describe())
	}
}

func (k *topicsKey) decodePattern(d *decoder, n *node) {
	connection, pattern, ok := strings.Cut(n.text, "/")
	if !ok || connection == "" || pattern == "" {
		d.report.errorAt(n, "%s; found %s", topicsForms, n.describe())
		return
	}
	if _, err := regexp.Compile(pattern); err != nil {
		d.report.errorAt(n, "%s is no regular expression: %v", n.describe(), err)
		return
	}
	k.connection, k.pattern = connection, pattern
}

func (k *topicsKey) add(d *decoder, n *node) {
	var one addressKey
	one.decodeNode(d, n)
	switch {
	case !one.isSet():
	case k.connection != "" && one.Connection != k.connection:
		d.report.errorAt(n, "the topics of a task are on one connection; the others are on %s", k.connection)
	case slices.Contains(k.names, one.Entity):
		d.report.errorAt(n, "%s is in the list twice", one.Address)
	default:
		k.connection, k.names = one.Connection, append(k.names, one.Entity)
	}
}

// address returns what takes the place of the one address of a source.
func (k *topicsKey) address() *addressKey {
	return &addressKey{Address: Address{Connection: k.connection}, at: k.at}
}

// selection completes the source of a task that reads several hubs.
func (l *loader) selection(t *Task, keys *sourceKeys) {
	exclude := t.Source.at.get("exclude")
	if keys.Topics.at == nil || keys.Topics.pattern == "" {
		if exclude != nil {
			l.report.errorAt(exclude, `"exclude" takes topics out of those that a regular expression in "topics" matches; there is none`)
		}
	}
	for i, text := range keys.Exclude {
		if _, err := regexp.Compile(text); err != nil {
			l.report.errorAt(exclude.items[i], "%s is no regular expression: %v", exclude.items[i].describe(), err)
			return
		}
	}
	if keys.Topics.at == nil {
		return
	}
	s := &t.Source
	s.Hubs, s.Pattern, s.Exclude = keys.Topics.names, keys.Topics.pattern, keys.Exclude
	if !s.Connection.Driver.Caps.Selects {
		l.report.errorAt(keys.Topics.at, "%s sources such as %s read one hub; make a task for each, with forEach", s.Connection.Driver.Name, s.Connection.Name)
	}
	if s.storesCheckpoints() {
		l.report.errorAt(s.at.get("checkpoints"), "tasks with several topics keep their progress in the consumer group; make a task for each topic, with forEach, or leave this out")
	}
}

// several reports whether the source has more than one hub, or may have.
func (s *Source) several() bool { return s.Pattern != "" || len(s.Hubs) > 0 }

// selection returns what the source reads.
func (s *Source) selection() hubferry.Selection {
	return hubferry.Selection{Hubs: s.Hubs, Pattern: s.Pattern, Exclude: s.Exclude}
}

// reads reports whether the source reads a hub of that name.
func (s *Source) reads(hub string) bool {
	whole := func(pattern string) bool {
		x, err := regexp.Compile("^(?:" + pattern + ")$")
		return err == nil && x.MatchString(hub)
	}
	if s.Pattern != "" {
		return whole(s.Pattern) && !slices.ContainsFunc(s.Exclude, whole)
	}
	return hub == s.Hub || slices.Contains(s.Hubs, hub)
}

// meets reports whether two sources of one connection and one consumer group get in each
// other's way: they may read the same hub (of two regular expressions nobody can tell), or
// the group spans all hubs and has one task's members.
func (s *Source) meets(o *Source) bool {
	if s.Pattern != "" && o.Pattern != "" || s.spans() && o.spans() {
		return true
	}
	return slices.ContainsFunc(s.names(), o.reads) || slices.ContainsFunc(o.names(), s.reads)
}

// spans reports whether the consumer group is one for all hubs of the namespace: where a
// source can read several, the service's own groups are. Shared ones let other tasks in.
func (s *Source) spans() bool {
	return s.Connection.Driver.Caps.Selects && !s.Shared && !s.storesCheckpoints()
}

// storesCheckpoints reports whether progress is in the checkpoint store although the
// service could keep it.
func (s *Source) storesCheckpoints() bool {
	v, f := fieldByKey(s.Options, "checkpoints", reflect.String)
	return f != nil && v.String() == "store"
}

// names returns the hubs that the source names.
func (s *Source) names() []string {
	if s.several() {
		return s.Hubs
	}
	return []string{s.Hub}
}

// severalAddress returns the address of a source of several hubs, for people.
func (s *Source) severalAddress() string {
	const most = 3
	if s.Pattern != "" {
		return s.Connection.Name + "/" + s.Pattern
	}
	text := s.Connection.Name + "/" + strings.Join(s.Hubs[:min(len(s.Hubs), most)], ",")
	if n := len(s.Hubs) - most; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
