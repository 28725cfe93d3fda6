package config

import (
	"cmp"
	"reflect"
	"slices"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// tasks decodes all tasks, one with forEach once for each value.
func (l *loader) tasks(n, defaults *node) {
	if !l.isMap(n, "a map of tasks by name") {
		return
	}
	for i := range n.entries {
		e := &n.entries[i]
		if e.value.kind != mapNode {
			l.report.errorAt(e.value, "expected a task: a map with source and target; found %s", e.value.describe())
			continue
		}
		for _, values := range l.forEach(e) {
			l.task(e, values, defaults)
		}
	}
}

// task decodes one task. The values are those of its forEach, nil without one.
func (l *loader) task(e *entry, values map[string]string, defaults *node) {
	x := l.expander(values)
	own := x.expand(e.value.without("forEach"))
	t := &Task{Name: x.name(e), at: withDefaults(own, defaults)}
	if l.unused(e, x) || !l.taskName(e, t.Name, values) {
		return
	}
	var keys taskKeys
	l.refuseHoldKey(t.at)
	l.decoder().structs(t.at, []reflect.Value{reflect.ValueOf(&keys).Elem()})
	t.Settings = keys.Settings
	l.settings(&t.Settings, t.at)
	l.source(t, keys.Source.at)
	if start := own.get("start"); start != nil && t.Source.Start.at != start && t.Source.Start.isSet() {
		l.report.errorAt(start, `"start" is given for the task and for its source; one is enough`)
	}
	l.targets(t, &keys)
	t.Edit = l.edit(keys.Edit.at)
	if keys.DeadLetters.at != nil {
		t.DeadLetters = l.target(keys.DeadLetters.at)
	}
	l.app.Tasks = append(l.app.Tasks, t)
}

// taskName checks a task's name and reports whether to go on.
func (l *loader) taskName(e *entry, name string, values map[string]string) bool {
	if m := placeholderRule.FindStringSubmatch(name); m != nil {
		if values == nil {
			l.report.errorAtKey(e, "task %q: {%s} needs a forEach in this task that gives it values", name, m[1])
		} else {
			l.report.errorAtKey(e, "task %q: {%s} is no variable of its forEach%s", e.key, m[1], suggestKey(m[1], values))
		}
		return false
	}
	if !nameRule.MatchString(name) {
		l.report.errorAtKey(e, "task %q: a name has %s", name, nameRuleText)
		return true
	}
	if l.app.Task(name) != nil {
		l.report.errorAtKey(e, "two tasks come out as %q: names must differ, and each variable of forEach belongs into the name", name)
		return false
	}
	return true
}

// withDefaults adds the entries of the defaults that a task does not have.
func withDefaults(task, defaults *node) *node {
	if defaults == nil || defaults.kind != mapNode {
		return task
	}
	c := *task
	c.entries = slices.Clone(task.entries)
	known := fieldNames(fieldsOf(reflect.TypeFor[defaultKeys]()))
	for _, e := range defaults.entries {
		if task.get(e.key) == nil && indexOf(known, e.key) >= 0 {
			c.entries = append(c.entries, e)
		}
	}
	return &c
}

// refuseHoldKey says clearly that a policy of the design is not there yet.
func (l *loader) refuseHoldKey(n *node) {
	if p := n.get("onError"); p != nil && p.text == "hold-key" {
		p.broken = true
		l.report.errorAt(p, "onError hold-key is not built yet; use stop, drop or dead-letter")
	}
}

// settings checks what the decoder cannot know.
func (l *loader) settings(s *Settings, n *node) {
	if r := s.Retry; r.Max != 0 && r.Min > r.Max {
		l.report.errorAt(n.find("retry.max"), `"max" (%s) is less than "min" (%s)`, r.Max, r.Min)
	}
	l.notInFuture(&s.Start)
	every, window := s.CheckpointEvery, s.Window
	if every.Events != 0 && window.Events != 0 && every.Events > window.Events {
		l.report.errorAt(n.find("checkpointEvery.events"),
			"a checkpoint after %d events can never be due in a window of %d", every.Events, window.Events)
	}
	if b := s.Balance; b.Expiry != 0 && b.Expiry < 3*cmp.Or(b.Interval, checkpoint.DefaultInterval) {
		l.report.errorAt(n.find("balance.expiry"),
			`the expiry %s must be at least three intervals of %s, or one late renewal gives partitions away`,
			b.Expiry, cmp.Or(b.Interval, checkpoint.DefaultInterval))
	}
}

// notInFuture refuses a start that nothing has reached.
func (l *loader) notInFuture(s *Start) {
	if s.Time.After(l.in.now()) {
		l.report.errorAt(s.at, "start %s is in the future", s.String())
	}
}

// source decodes where a task reads.
func (l *loader) source(t *Task, n *node) {
	if n == nil {
		return
	}
	var keys sourceKeys
	end, ok := l.end(n, &keys, &keys.entityKeys, sourceRole)
	if !ok {
		return
	}
	t.Source = Source{Connection: end.connection, Hub: end.hub, Options: end.options, Start: t.Start, Shared: keys.Shared, at: end.at}
	l.selection(t, &keys)
	if keys.Start.isSet() {
		l.notInFuture(&keys.Start)
		t.Source.Start = keys.Start
	}
	// Where the driver does not require a group, it is named after the task.
	if group, f := fieldByKey(end.options, "consumerGroup", reflect.String); f != nil {
		if group.String() == "" && !f.required {
			group.SetString(t.Name)
		}
		t.Source.Group = end.connection.GroupName(group.String())
	}
}

// targets decodes where a task writes.
func (l *loader) targets(t *Task, keys *taskKeys) {
	list := []*node{keys.Target.at}
	switch one, many := keys.Target.at, keys.Targets.at; {
	case one == nil && many == nil:
		l.report.missingAt(t.at, `"target" is missing: where events go ("targets" takes a list)`)
		return
	case one != nil && many != nil:
		l.report.errorAt(one, `a task has "target" or "targets", not both`)
		return
	case one != nil && one.kind == listNode:
		l.report.errorAt(one, `"target" is one target; a list is "targets"`)
		return
	case many != nil && (many.kind != listNode || len(many.items) == 0):
		l.report.missingAt(many, `"targets" is a list of at least one target; found %s`, many.describe())
		return
	case many != nil:
		list = many.items
	}
	for _, n := range list {
		target := l.target(n)
		if target == nil {
			continue
		}
		for _, other := range t.Targets {
			if other.Name == target.Name {
				l.report.errorAt(n, "two targets of the task are named %q; give each a \"name\"", target.Name)
			}
		}
		t.Targets = append(t.Targets, *target)
	}
}

// target decodes a target of any kind, or returns nil.
func (l *loader) target(n *node) *Target {
	var keys targetKeys
	end, ok := l.end(n, &keys, &keys.entityKeys, targetRole)
	if !ok {
		return nil
	}
	t := &Target{Name: keys.Name, Connection: end.connection, Hub: end.hub, Options: end.options, When: keys.When, at: end.at}
	if t.Name == "" {
		t.Name = t.Address()
	} else if !nameRule.MatchString(t.Name) {
		l.report.errorAt(end.at.get("name"), "target %q: a name has %s", t.Name, nameRuleText)
	}
	t.Edit = l.edit(keys.Edit.at)
	if when := end.at.get("when"); when != nil && !when.broken {
		t.Condition = l.condition(when)
	}
	return t
}

// condition compiles an expression.
func (l *loader) condition(n *node) hubferry.Condition {
	if l.reg.Condition == nil {
		l.report.errorAt(n, `this build has no expression support, so "when" cannot be used`)
		return nil
	}
	if n.kind != scalarNode {
		return nil
	}
	c, err := l.reg.Condition(n.text)
	if err != nil {
		l.report.errorAt(n, "%s", hide(err.Error(), n.refs, 1))
	}
	return c
}
