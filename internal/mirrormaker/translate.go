package mirrormaker

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Finding is what became of one setting.
type Finding struct {
	Line    int    // of the file; 0 for a default that stands nowhere
	Key     string // as it stands in the file
	Verdict Verdict
	Text    string // where it went, or why it did not and what to do; never a secret
}

// Translation is a configuration of ours, and what is to be said about it.
type Translation struct {
	YAML     []byte
	Findings []Finding // in the order of the lines
	Flows    []Flow    // those that are enabled
}

// Flow is one direction in which MirrorMaker replicated.
type Flow struct {
	Source, Target                     string // the clusters' aliases
	SourceConnection, TargetConnection string // their names in our configuration
	// OffsetsTopic is the topic of the target cluster that holds MirrorMaker's
	// positions, and Connector the name under which they stand there.
	OffsetsTopic, Connector string
	// Group is the group on the target cluster that MirrorMaker's processes are members
	// of; "" if it is that of a Connect worker, whose configuration is another file.
	Group string
}

// Translate turns a configuration of MirrorMaker 2, read by Parse, into one of ours. name
// is the file's, for comments.
func Translate(name string, list []Property) (*Translation, error) {
	f, err := newFile(list)
	if err != nil {
		return nil, err
	}
	t := &translator{file: f, names: map[string]string{}}
	flows := f.flows()
	if len(flows) == 0 {
		return nil, fmt.Errorf(`no flow is enabled: there is no "A->B.enabled = true" for two of the clusters %s`, strings.Join(f.clusters, ", "))
	}
	connections := map[string]*connection{}
	result := &Translation{}
	var tasks []*task
	for _, w := range flows {
		for _, cluster := range []string{w.source, w.target} {
			if connections[cluster] == nil {
				connections[cluster] = t.connection(cluster)
			}
		}
		t.rack(connections[w.source], w)
		tasks = append(tasks, t.task(w))
		result.Flows = append(result.Flows, t.offsets(w))
	}
	t.rest(connections)
	var ordered []*connection
	for _, cluster := range f.clusters {
		if c := connections[cluster]; c != nil {
			ordered = append(ordered, c)
		}
	}
	result.YAML = render(name, ordered, tasks)
	slices.SortStableFunc(t.findings, func(a, b Finding) int { return cmp.Compare(a.order(), b.order()) })
	result.Findings = t.findings
	return result, nil
}

// order puts what stands in no line last.
func (f Finding) order() int {
	if f.Line == 0 {
		return 1 << 30
	}
	return f.Line
}

// translator is one call of Translate.
type translator struct {
	file     *file
	findings []Finding
	names    map[string]string // of connections, by alias
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// connectionName returns what an alias is called in the new configuration.
func (t *translator) connectionName(cluster string) string {
	if name, ok := t.names[cluster]; ok {
		return name
	}
	name := strings.TrimLeft(notInNames.ReplaceAllString(cluster, "-"), "._-")
	for i := 2; name == "" || t.taken(name); i++ {
		name = fmt.Sprintf("cluster-%d", i)
	}
	t.names[cluster] = name
	return name
}

func (t *translator) taken(name string) bool {
	for _, n := range t.names {
		if n == name {
			return true
		}
	}
	return false
}

// task is a replication task of the new configuration.
type task struct {
	name, comment string
	source        []pair
	target        []pair
	delivery      string
	onError       string
}

// task translates one flow: one task, whose targets are named after its topics.
func (t *translator) task(w *flow) *task {
	source, target := t.connectionName(w.source), t.connectionName(w.target)
	to := &task{name: source + "-to-" + target, comment: w.scope()}
	all := t.topics(w)
	to.source = append(to.source, all.keys(source)...)
	name := "{topic}"
	if !all.pattern && len(all.includes) == 1 {
		name = all.includes[0]
	}
	to.target = append(to.target, pair{"topic", target + "/" + t.prefix(w) + name})
	if includes := t.file.flow(w, "topics"); includes != nil && !includes.said {
		t.say(includes, Carried, "tasks.%s.source", to.name)
	}
	t.reading(w, to)
	t.making(w, to)
	t.policies(w, to)
	return to
}

// reading translates how the source is read.
func (t *translator) reading(w *flow, to *task) {
	start := "earliest" // MirrorSourceTask's default, not the consumer's
	if s := t.file.consumer(w, "auto.offset.reset"); s != nil {
		switch strings.ToLower(s.Value) {
		case "latest":
			start = "latest"
			t.say(s, Carried, "start: latest")
		case "earliest":
			t.say(s, Carried, "start: earliest")
		default:
			t.say(s, Differs, "start: earliest; there is no such start")
		}
	}
	to.source = append(to.source, pair{"start", start})
	if s := t.file.consumer(w, "isolation.level"); s != nil {
		if strings.EqualFold(s.Value, "read_uncommitted") {
			to.source = append(to.source, pair{"isolation", "read-uncommitted"})
			t.say(s, Carried, "isolation: read-uncommitted")
		} else {
			t.say(s, Carried, "isolation: read-committed, the default")
		}
	}
}

// making translates how topics on the target are made and kept.
func (t *translator) making(w *flow, to *task) {
	to.target = append(to.target, pair{"ensure", "create"})
	factor := t.file.flow(w, "replication.factor")
	if n, err := strconv.Atoi(factor.value("2")); err == nil && n > 0 {
		to.target = append(to.target, pair{"replicationFactor", rendered + strconv.Itoa(n)})
		if factor != nil {
			t.say(factor, Carried, "replicationFactor")
		}
	} else {
		t.say(factor, Differs, "new topics get the number of replicas that is the cluster's default")
	}
	if t.file.flow(w, "sync.topic.configs.enabled").isTrue(true) {
		to.target = append(to.target, pair{"syncConfig", rendered + "true"})
		if s := t.file.flow(w, "sync.topic.configs.interval.seconds"); s != nil {
			if n, err := strconv.Atoi(s.Value); err == nil && n > 0 {
				to.target = append(to.target, pair{"syncInterval", rendered + s.Value + "s"})
				t.say(s, Carried, "syncInterval")
			}
		}
	}
	if s := t.file.producer(w, "compression.type"); s != nil {
		switch s.Value {
		case "none", "gzip", "snappy", "lz4", "zstd":
			to.target = append(to.target, pair{"compression", s.Value})
			t.say(s, Carried, "compression: %s", s.Value)
		default:
			t.say(s, Differs, "batches are compressed as in the source; there is no such compression")
		}
	}
}

// policies translates what a flow promises and how it treats bad records.
func (t *translator) policies(w *flow, to *task) {
	once := t.file.find([2]string{w.target, "exactly.once.source.support"}, [2]string{w.scope(), "exactly.once.source.support"}, [2]string{"", "exactly.once.source.support"})
	if once != nil && strings.EqualFold(once.Value, "enabled") {
		to.delivery = "effectively-once"
		t.say(once, Carried, "delivery: effectively-once")
	} else if once != nil {
		t.say(once, Carried, "delivery: at-least-once, the default")
	}
	if s := t.file.flow(w, "errors.tolerance"); s != nil {
		if strings.EqualFold(s.Value, "all") {
			to.onError = "drop"
			t.say(s, Carried, "onError: drop")
		} else {
			t.say(s, Carried, "onError: stop, the default")
		}
	}
	if s := t.file.flow(w, "transforms"); s != nil {
		if s.Value != "" {
			t.say(s, NotCarried, "%s: %s", s.Value, whyConnSMT)
		} else {
			t.say(s, Needless, "there are none")
		}
	}
}

// offsets says where MirrorMaker kept the positions of a flow (MirrorMakerConfig.workerConfig,
// and DistributedConfig for a Connect worker).
func (t *translator) offsets(w *flow) Flow {
	f := Flow{
		Source: w.source, Target: w.target,
		SourceConnection: t.connectionName(w.source), TargetConnection: t.connectionName(w.target),
		OffsetsTopic: "mm2-offsets." + w.source + ".internal", Connector: "MirrorSourceConnector",
		Group: t.file.find([2]string{w.scope(), "group.id"}, [2]string{w.target, "group.id"}).value(w.source + "-mm2"),
	}
	if t.file.connector != "" {
		f.Group = ""
		f.OffsetsTopic, f.Connector = "connect-offsets", t.file.connector
	}
	own := t.file.find(
		[2]string{w.scope(), "offsets.storage.topic"}, [2]string{w.target, "offset.storage.topic"}, [2]string{"", "offset.storage.topic"},
	)
	f.OffsetsTopic = own.value(f.OffsetsTopic)
	f.Connector = t.file.find([2]string{w.scope(), "name"}).value(f.Connector)
	return f
}
