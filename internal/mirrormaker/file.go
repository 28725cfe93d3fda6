package mirrormaker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// setting is a property with the place it is about.
type setting struct {
	Property
	scope string // "" the whole file, "A" a cluster, "A->B" a flow
	name  string // the key without its scope
	said  bool   // Translate has reported it
}

// file is a configuration whose settings can be asked for by scope and name.
type file struct {
	settings  []*setting
	byName    map[string]*setting
	clusters  []string
	connector string // the connector's name when it is run by a Connect worker, else ""
}

func newFile(list []Property) (*file, error) {
	f := &file{byName: map[string]*setting{}}
	values := map[string]string{}
	for _, p := range list {
		values[p.Key] = strings.TrimSpace(p.Value)
	}
	class := values["connector.class"]
	switch {
	case values["clusters"] != "":
		f.clusters = splitList(values["clusters"])
	case strings.HasSuffix(class, "MirrorSourceConnector"):
		source, target := values["source.cluster.alias"], values["target.cluster.alias"]
		if target == "" {
			target = "target" // its default
		}
		if source == "" || source == target {
			return nil, errors.New("source.cluster.alias must be set, and differ from target.cluster.alias")
		}
		f.clusters, f.connector = []string{source, target}, values["name"]
		if f.connector == "" {
			f.connector = "MirrorSourceConnector"
		}
	case strings.Contains(class, "Mirror"):
		return nil, fmt.Errorf("connector.class is %s: import the configuration of the MirrorSourceConnector, which moves the records", class)
	default:
		return nil, errors.New(`this is no configuration of MirrorMaker 2: it has neither "clusters" nor a "connector.class" of MirrorSourceConnector`)
	}
	for _, p := range list {
		p.Value = strings.TrimSpace(p.Value)
		s := &setting{Property: p}
		s.scope, s.name = f.place(p.Key)
		f.settings = append(f.settings, s)
		f.byName[s.scope+"\x00"+s.name] = s
	}
	return f, nil
}

// place returns what a key is about, and its name there. Settings of a connector are
// about the one flow that it has.
func (f *file) place(key string) (scope, name string) {
	if f.connector != "" {
		source, target := f.clusters[0], f.clusters[1]
		for _, p := range []struct{ prefix, scope, name string }{
			{"source.cluster.alias", "", "source.cluster.alias"},
			{"target.cluster.alias", "", "target.cluster.alias"},
			{"source.cluster.", source, ""},
			{"target.cluster.", target, ""},
			{"source.consumer.", source, "consumer."},
			{"consumer.poll.", source + "->" + target, "consumer.poll."},
			{"consumer.", source, "consumer."},
			{"producer.override.", target, "producer."},
			{"target.producer.", target, "producer."},
		} {
			if rest, ok := strings.CutPrefix(key, p.prefix); ok {
				return p.scope, p.name + rest
			}
		}
		return source + "->" + target, key
	}
	// The longest alias first: one may begin with another and a dot.
	clusters := slices.Clone(f.clusters)
	slices.SortFunc(clusters, func(a, b string) int { return len(b) - len(a) })
	for _, a := range clusters {
		if rest, ok := strings.CutPrefix(key, a+"->"); ok {
			for _, b := range clusters {
				if name, ok := strings.CutPrefix(rest, b+"."); ok {
					return a + "->" + b, name
				}
			}
		}
		if name, ok := strings.CutPrefix(key, a+"."); ok {
			return a, name
		}
	}
	return "", key
}

// find returns the first of several settings that is there.
func (f *file) find(places ...[2]string) *setting {
	for _, p := range places {
		if s := f.byName[p[0]+"\x00"+p[1]]; s != nil {
			return s
		}
	}
	return nil
}

// flow finds a setting of a flow: its own, or the file's.
func (f *file) flow(w *flow, name string) *setting {
	return f.find([2]string{w.scope(), name}, [2]string{"", name})
}

// client finds a setting by which a cluster is reached.
func (f *file) client(cluster, name string) *setting {
	return f.find([2]string{cluster, name}, [2]string{"", name})
}

// consumer finds a setting of the consumer that reads a flow's source.
func (f *file) consumer(w *flow, name string) *setting {
	return f.find(
		[2]string{w.scope(), "source.consumer." + name}, [2]string{w.scope(), "consumer." + name},
		[2]string{w.source, "consumer." + name}, [2]string{w.source, name}, [2]string{"", "consumer." + name}, [2]string{"", name},
	)
}

// producer finds a setting of the producer that writes a flow's target: that of the
// Connect worker.
func (f *file) producer(w *flow, name string) *setting {
	return f.find(
		[2]string{w.scope(), "producer.override." + name},
		[2]string{w.target, "producer.override." + name}, [2]string{w.target, "producer." + name},
		[2]string{w.target, name}, [2]string{"", "producer." + name}, [2]string{"", name},
	)
}

// value is the value of a setting, or the default if it is not there.
func (s *setting) value(otherwise string) string {
	if s == nil {
		return otherwise
	}
	return s.Value
}

// isTrue follows java.lang.Boolean.parseBoolean.
func (s *setting) isTrue(otherwise bool) bool {
	if s == nil {
		return otherwise
	}
	return strings.EqualFold(s.Value, "true")
}

// splitList splits a list as Kafka's ConfigDef does.
func splitList(value string) []string {
	var list []string
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

// flow is one direction of replication, A->B.
type flow struct{ source, target string }

func (w *flow) scope() string { return w.source + "->" + w.target }

// flows returns the directions that are enabled.
func (f *file) flows() []*flow {
	var list []*flow
	for _, a := range f.clusters {
		for _, b := range f.clusters {
			w := &flow{a, b}
			if a != b && (f.connector == "" || a == f.clusters[0]) && f.flow(w, "enabled").isTrue(f.connector != "") {
				list = append(list, w)
			}
		}
	}
	return list
}
