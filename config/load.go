package config

import (
	"cmp"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/hubferry/hubferry"
)

// Load reads and checks a configuration file. The error, if there is one, is of type
// Problems and holds all that is wrong, the warnings too; without an error the warnings
// are in the Application. No service is asked anything.
func Load(in Input, reg *Registry) (*Application, error) {
	l := loader{in: &in, reg: reg, report: report{file: in.File}}
	app := l.load()
	problems := l.report.finish()
	if problems.Fatal() {
		return nil, problems
	}
	app.Warnings = problems
	return app, nil
}

// LoadInto reads one top-level section of a file into options, a pointer to a struct,
// and leaves the others alone. A section that is not there leaves the options as they
// are. The error is of type Problems.
func LoadInto(in Input, name string, options any) error {
	l := loader{in: &in, reg: &Registry{}, report: report{file: in.File}}
	if root := in.root(&l.report); root != nil {
		if n := root.get(name); n != nil {
			l.section(l.expander(nil).expand(n), options)
		}
	}
	if problems := l.report.finish(); problems.Fatal() {
		return problems
	}
	return nil
}

// loader is one call of Load.
type loader struct {
	in     *Input
	reg    *Registry
	report report
	app    *Application
	// broken are connections that are there but were not understood.
	broken map[string]bool
	// canon leads to the first of several connections that say the same.
	canon    map[*Connection]*Connection
	hasTasks bool
	// instances counts the tasks that forEach makes.
	instances int
}

func (l *loader) decoder() *decoder { return &decoder{report: &l.report} }

func (l *loader) expander(placeholders map[string]string) *expander {
	return &expander{report: &l.report, input: l.in, placeholders: placeholders, used: map[string]bool{}}
}

// load reads the whole file. Its result is only of use when nothing is wrong.
func (l *loader) load() *Application {
	l.app = &Application{File: l.in.File, registry: l.reg}
	l.broken = map[string]bool{}
	root := l.in.root(&l.report)
	if root == nil {
		return l.app
	}
	tasks := root.get("tasks")
	l.hasTasks = tasks != nil
	// Tasks are expanded one by one: each may have variables of its own.
	root = l.expander(nil).expand(root.without("tasks"))
	var top topKeys
	l.topLevel(root, &top)
	l.app.Memory, l.app.Drain = top.Memory, top.Drain
	l.connections(top.Connections.at)
	l.store(top.Checkpoints.at)
	l.defaults(top.Defaults.at)
	l.tasks(tasks, top.Defaults.at)
	l.check(root)
	return l.app
}

// topLevel decodes the keys at the top. Those that begin with "x-" are for anchors.
func (l *loader) topLevel(root *node, top *topKeys) {
	var known, skip []string
	for _, f := range fieldsOf(reflect.TypeFor[topKeys]()) {
		known = append(known, f.name)
	}
	for _, s := range l.reg.Sections {
		known = append(known, s.Name)
		skip = append(skip, s.Name)
		if n := root.get(s.Name); n != nil {
			l.section(n, s.Options())
		}
	}
	for i := range root.entries {
		e := &root.entries[i]
		switch {
		case strings.HasPrefix(e.key, "x-"):
			skip = append(skip, e.key)
		case indexOf(known, e.key) < 0:
			l.report.errorAtKey(e, "unknown key %q%s", e.key, suggest(e.key, known))
			skip = append(skip, e.key)
		}
	}
	l.decoder().structs(root.without(skip...), []reflect.Value{reflect.ValueOf(top).Elem()})
}

// section decodes a section that belongs to somebody else.
func (l *loader) section(n *node, options any) {
	d := l.decoder()
	if o, ok := options.(hubferry.Options); ok {
		d.options(n, o)
		return
	}
	before := len(l.report.problems)
	d.structs(n, []reflect.Value{reflect.ValueOf(options).Elem()})
	v, ok := options.(interface{ Validate() error })
	if !ok || slices.ContainsFunc(l.report.problems[before:], func(p Problem) bool { return p.Severity == Error }) {
		return
	}
	if err := v.Validate(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			l.sectionError(n, line)
		}
	}
}

// sectionError reports a line of an error that may begin with the path of a field, such
// as "namespaces[0].name: it is empty".
func (l *loader) sectionError(n *node, line string) {
	at := n
	if path, _, ok := strings.Cut(line, ": "); ok && !strings.Contains(path, " ") {
		at = n.find(path)
	}
	text := hide(line, n.expansions(), 3)
	if at == n {
		l.report.missingAt(n, "%s", text)
	} else {
		l.report.errorAt(at, "%s", text)
	}
}

// connections decodes the connections.
func (l *loader) connections(n *node) {
	if !l.isMap(n, "a map of connections by name") {
		return
	}
	for i := range n.entries {
		e := &n.entries[i]
		if !nameRule.MatchString(e.key) {
			l.report.errorAtKey(e, "connection %q: a name has %s", e.key, nameRuleText)
		}
		c, ok := l.connection(e)
		if !ok {
			l.broken[e.key] = true
			continue
		}
		l.app.Connections = append(l.app.Connections, c)
	}
	slices.SortFunc(l.app.Connections, func(a, b *Connection) int { return cmp.Compare(a.Name, b.Name) })
}

func (l *loader) connection(e *entry) (*Connection, bool) {
	key := l.oneKey(e, "driver", "a connection", l.reg.driverNames())
	if key == nil {
		return nil, false
	}
	driver, _ := l.reg.driver(key.key)
	o := driver.Connection()
	l.decoder().options(key.value, o)
	return &Connection{Name: e.key, Driver: driver, Options: o}, true
}

// oneKey returns the single entry of a map that names a kind of something.
func (l *loader) oneKey(e *entry, kindOf, what string, known []string) *entry {
	n := e.value
	switch {
	case n.kind != mapNode:
		l.report.errorAt(n, "%s is a map with one key, its %s (%s); found %s", what, kindOf, strings.Join(known, ", "), n.describe())
		return nil
	case len(n.entries) == 0:
		l.report.errorAtKey(e, "%s needs one key, its %s: %s", what, kindOf, strings.Join(known, ", "))
		return nil
	case len(n.entries) > 1:
		l.report.errorAtKey(&n.entries[1], "%s has exactly one %s; %q is the second key", what, kindOf, n.entries[1].key)
	}
	key := &n.entries[0]
	if indexOf(known, key.key) < 0 {
		l.report.errorAtKey(key, "unknown %s %q%s", kindOf, key.key, SuggestOrList(key.key, known))
		return nil
	}
	return key
}

// SuggestOrList returns `; did you mean "x"?` with the known name that is nearest to an unknown
// one, or a list of those there are when none is near.
func SuggestOrList(name string, known []string) string {
	if hint := suggest(name, known); hint != "" {
		return hint
	}
	if len(known) == 0 {
		return "; this program has none"
	}
	return "; this program has " + strings.Join(known, ", ")
}

// isMap reports whether a section is there as a map, and complains if it is anything
// else.
func (l *loader) isMap(n *node, what string) bool {
	if n == nil {
		return false
	}
	if n.kind != mapNode && n.kind != nullNode {
		l.report.errorAt(n, "expected %s, found %s", what, n.describe())
	}
	return n.kind == mapNode
}

// defaultStore is the kind of store that is used when the file names none, and the name
// of its database beside the file.
const (
	defaultStore     = "sqlite"
	defaultStoreFile = "hubferry.checkpoints.db"
)

// store decodes the checkpoint store, or sets the default one.
func (l *loader) store(n *node) {
	at := n
	if n == nil {
		kind, ok := l.reg.store(defaultStore)
		if !ok {
			return
		}
		l.app.Store = Store{Kind: kind, Options: kind.Options()}
	} else {
		key := l.oneKey(&entry{key: "checkpoints", pos: n.keyPos, value: n}, "kind of store", "checkpoints", l.reg.storeNames())
		if key == nil {
			return
		}
		kind, _ := l.reg.store(key.key)
		o := kind.Options()
		l.decoder().options(key.value, o)
		l.app.Store = Store{Kind: kind, Options: o}
		at = key.value
	}
	l.storePath(at)
}

// storePath places the default store's database beside the file. In a Kubernetes pod
// that folder is likely to vanish with the pod, and all progress with it: there a path
// must be named.
func (l *loader) storePath(at *node) {
	if l.app.Store.Kind.Name != defaultStore {
		return
	}
	path, _ := fieldByKey(l.app.Store.Options, "path", reflect.String)
	if !path.IsValid() {
		return
	}
	_, pod := l.in.lookup("KUBERNETES_SERVICE_HOST")
	switch given := path.String(); {
	case given == "" && pod && !l.hasTasks && at == nil:
		// Nothing will be stored.
	case given == "" && pod:
		const text = `in a Kubernetes pod the default SQLite store is lost with the pod, and all events would be repeated; name a path on a volume, or another store, under "checkpoints"`
		if at == nil {
			l.report.add(Error, position{1, 1}, "checkpoints", text)
		} else {
			l.report.missingAt(at, text)
		}
	case given == "":
		path.SetString(filepath.Join(filepath.Dir(l.in.File), defaultStoreFile))
	case !filepath.IsAbs(given) && !strings.HasPrefix(given, ":"):
		path.SetString(filepath.Join(filepath.Dir(l.in.File), given))
	}
}

// defaults decodes the settings for all tasks by themselves, so that a mistake shows
// even if every task overrides it.
func (l *loader) defaults(n *node) {
	if !l.isMap(n, "a map of settings") {
		return
	}
	var keys defaultKeys
	l.refuseHoldKey(n)
	l.decoder().structs(n, []reflect.Value{reflect.ValueOf(&keys).Elem()})
	l.settings(&keys.Settings, n)
	if at := keys.DeadLetters.at; at != nil {
		l.target(at)
	}
}
