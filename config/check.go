package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// check looks at what only shows when all tasks are known.
func (l *loader) check(root *node) {
	for _, t := range l.app.Tasks {
		l.checkDelivery(t)
		l.checkRoutes(t)
		l.checkDeadLetters(t)
		l.checkSelf(t)
	}
	l.checkGroups()
	l.checkMemory(root)
	l.checkCircles()
	if len(l.app.Tasks) > 0 && l.app.Store.Kind.Name == "" && root.get("checkpoints") == nil {
		l.report.add(Error, position{1, 1}, "checkpoints", `"checkpoints" is missing: this program has no default store; it has `+strings.Join(l.reg.storeNames(), ", "))
	}
}

// checkDelivery refuses effectively once without the provenance that it reads (G-8).
func (l *loader) checkDelivery(t *Task) {
	mode := t.Provenance.Mode
	if t.Delivery == EffectivelyOnce && mode != "" && mode != "full" {
		l.report.errorAt(t.at.get("provenance"),
			"effectively-once finds what is already at the target by repl-source and repl-id, which provenance %q leaves out; use full", mode)
	}
}

// checkRoutes finds targets that no event can reach.
func (l *loader) checkRoutes(t *Task) {
	if t.Match != "first" {
		return
	}
	for i := range t.Targets {
		if t.Targets[i].When == "" && i < len(t.Targets)-1 {
			l.report.errorAt(t.Targets[i+1].at, `no event gets here: with "match: first", the target before takes every event, because it has no "when"`)
			return
		}
	}
}

// checkDeadLetters finds a policy without the hub that it needs, and keys that mean
// nothing for it.
func (l *loader) checkDeadLetters(t *Task) {
	n := t.at.get("deadLetters")
	if t.OnError == OnErrorDeadLetter && n == nil {
		l.report.errorAt(t.at.get("onError"), `dead-letter needs "deadLetters": the address where such events go`)
	}
	if t.DeadLetters != nil && placeholderRule.MatchString(t.DeadLetters.Hub) {
		l.report.errorAt(n, "dead letters of all topics go to one hub: name it without a placeholder")
	}
	if t.DeadLetters == nil || n.kind != mapNode {
		return
	}
	for _, key := range []string{"name", "when", "edit"} {
		if e := n.entry(key); e != nil {
			l.report.errorAtKey(e, "%q has no meaning for dead letters: they go there as they were read", key)
		}
	}
}

// checkSelf refuses a task that writes to the hub that it reads.
func (l *loader) checkSelf(t *Task) {
	if t.Source.Connection == nil {
		return
	}
	for i := range t.Targets {
		if l.readsHub(t, &t.Targets[i]) {
			l.report.errorAt(t.Targets[i].at, "the task writes to %s, the hub that it reads: its events would go round for ever", t.Source.Address())
		}
	}
	if d := t.DeadLetters; d != nil && t.OnError == OnErrorDeadLetter && l.readsHub(t, d) {
		l.report.errorAt(d.at, "dead letters would go to %s, the hub that the task reads, and fail again for ever", t.Source.Address())
	}
}

// readsHub reports whether a target is a hub that the task reads, as far as the file tells.
func (l *loader) readsHub(t *Task, target *Target) bool {
	if l.canonical(t.Source.Connection) != l.canonical(target.Connection) {
		return false
	}
	if t.Source.several() && placeholderRule.MatchString(target.Hub) {
		own := func(name string) string { return placeholderRule.ReplaceAllString(target.Hub, name) }
		return slices.ContainsFunc(t.Source.Hubs, func(name string) bool { return t.Source.reads(own(name)) }) || own("x") == "x"
	}
	return t.Source.reads(placeholderRule.ReplaceAllString(target.Hub, t.Source.Hub))
}

// hubKey identifies a hub as far as the file tells.
type hubKey struct {
	connection *Connection
	hub        string
}

func (l *loader) sourceHub(t *Task) hubKey {
	if t.Source.several() {
		return hubKey{l.canonical(t.Source.Connection), t.Source.Address()}
	}
	return hubKey{l.canonical(t.Source.Connection), t.Source.Hub}
}

func (l *loader) targetHub(t *Target) hubKey { return hubKey{l.canonical(t.Connection), t.Hub} }

// canonical returns the first connection that says the same as c: two names for one
// namespace are one (G-1).
func (l *loader) canonical(c *Connection) *Connection {
	if l.canon == nil {
		l.canon = map[*Connection]*Connection{}
		for i, a := range l.app.Connections {
			l.canon[a] = a
			for _, b := range l.app.Connections[:i] {
				// Two connections without any option say nothing.
				if a.Driver.Name == b.Driver.Name && !reflect.ValueOf(a.Options).Elem().IsZero() && reflect.DeepEqual(a.Options, b.Options) {
					l.canon[a] = b
					break
				}
			}
		}
	}
	return l.canon[c]
}

// checkGroups refuses two tasks with one consumer group (G-10): each would get a part of
// the partitions.
func (l *loader) checkGroups() {
	type groupKey struct {
		connection *Connection
		group      string
	}
	owners := map[groupKey][]*Task{}
	for _, t := range l.app.Tasks {
		if t.Source.Group == "" {
			continue
		}
		key := groupKey{l.canonical(t.Source.Connection), t.Source.Group}
		i := slices.IndexFunc(owners[key], func(o *Task) bool { return o.Source.meets(&t.Source) })
		if i < 0 {
			owners[key] = append(owners[key], t)
			continue
		}
		owner := owners[key][i]
		at := t.Source.at
		if n := at.get("consumerGroup"); n != nil {
			at = n
		}
		l.report.errorAt(at, "consumer group %q of %s belongs to task %q already: two tasks would each get a part of the partitions",
			t.Source.Group, t.Source.Address(), owner.Name)
	}
}

// The memory budget is for the process as a whole (INV-6). A quarter of it is shared by the
// windows of the tasks and a quarter by the buffers of the connections. The other half is
// the program itself, what events take while they are on their way from one to the other,
// and what the garbage collector has not found yet.
const (
	defaultMemory = 256 << 20
	leastWindow   = 256 << 10 // a larger event passes alone
)

// windows is the part of the memory for the windows of all tasks.
func (a *Application) windows() Size { return a.Memory / 4 }

// buffers is the part of the memory for the buffers of all connections.
func (a *Application) buffers() Size { return a.Memory / 4 }

// checkMemory gives every task its share of the budget.
func (l *loader) checkMemory(root *node) {
	at, path := position{1, 1}, "memory"
	if n := root.get("memory"); n != nil {
		at = n.pos
	} else {
		l.app.Memory = defaultMemory
	}
	rest, sharers := l.app.windows(), Size(0)
	for _, t := range l.app.Tasks {
		if t.Window.Bytes == 0 {
			sharers++
			continue
		}
		if rest -= t.Window.Bytes; rest < 0 {
			l.report.errorAt(t.at.find("window.bytes"),
				`the windows up to this one take %s more than a quarter of "memory" (%s)`, -rest, l.app.Memory)
			return
		}
	}
	if sharers > 0 && rest/sharers < leastWindow {
		l.report.add(Error, at, path, fmt.Sprintf(
			`%s of memory is too little: each of %d tasks needs a window of %s, and windows get a quarter of it; set "memory" to %s at least`,
			l.app.Memory, len(l.app.Tasks), Size(leastWindow), 4*(sharers*leastWindow+l.app.windows()-rest)))
		return
	}
	for _, t := range l.app.Tasks {
		if t.Window.Bytes == 0 {
			t.Window.Bytes = rest / sharers
		}
	}
}

// checkCircles warns of tasks through which events come back to where they began.
// Filters may keep them from it, so it is no error.
func (l *loader) checkCircles() {
	readers := map[hubKey][]*Task{}
	for _, t := range l.app.Tasks {
		if t.Source.Connection != nil {
			readers[l.sourceHub(t)] = append(readers[l.sourceHub(t)], t)
		}
	}
	const onPath, done = 1, 2
	state := map[*Task]int{}
	var path []*Task
	var visit func(t *Task)
	visit = func(t *Task) {
		state[t] = onPath
		path = append(path, t)
		for i := range t.Targets {
			for _, u := range readers[l.targetHub(&t.Targets[i])] {
				switch {
				case u == t: // an error of its own
				case state[u] == onPath:
					l.warnCircle(path[slices.Index(path, u):])
				case state[u] != done:
					visit(u)
				}
			}
		}
		path = path[:len(path)-1]
		state[t] = done
	}
	for _, t := range l.app.Tasks {
		if state[t] == 0 && t.Source.Connection != nil {
			visit(t)
		}
	}
}

func (l *loader) warnCircle(tasks []*Task) {
	names := make([]string, len(tasks))
	for i, t := range tasks {
		names[i] = t.Name
	}
	last := tasks[len(tasks)-1]
	l.report.add(Warning, last.at.keyPos, last.at.path,
		fmt.Sprintf("events come back to where they began through %s; unless something stops them they go round for ever", strings.Join(names, ", ")))
}
