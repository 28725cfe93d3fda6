package mirrormaker

import (
	"regexp"
	"slices"
	"strings"
)

// defaultExclude are the topics that MirrorMaker leaves out unless told otherwise
// (DefaultTopicFilter).
const defaultExclude = `.*[\-\.]internal, .*\.replica, __.*`

// literalTopic is what a topic may be called: the characters that a pattern is made of
// are missing, but for the dot.
var literalTopic = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// topics are what a flow replicates.
type topics struct {
	includes []string // names and patterns of whole names
	pattern  bool     // there is a pattern among them
	exclude  []string // patterns of whole names
}

// keys are the keys of a source that say so. A source has names or one pattern; in a
// pattern everything stands as MirrorMaker reads it, names too.
func (p *topics) keys(connection string) []pair {
	switch {
	case p.pattern:
		pattern := p.includes[0]
		if len(p.includes) > 1 {
			pattern = "(?:" + strings.Join(p.includes, ")|(?:") + ")"
		}
		return []pair{{"topics", connection + "/" + pattern}, {"exclude", rendered + list(p.exclude)}}
	case len(p.includes) == 1:
		return []pair{{"topic", connection + "/" + p.includes[0]}}
	}
	addresses := make([]string, len(p.includes))
	for i, name := range p.includes {
		addresses[i] = connection + "/" + name
	}
	return []pair{{"topics", rendered + list(addresses)}}
}

// pattern makes a regular expression of ours from one of Java, or says why it cannot.
func (t *translator) pattern(s *setting, text string) (string, bool) {
	if _, err := regexp.Compile("^(?:" + text + ")$"); err != nil {
		t.sayOr(s, "topics", NotCarried, "the pattern %s is not carried, because Hubferry's patterns (RE2) have no look-around, back references or possessive counts: "+
			"name the topics, or say it with an exclusion", text)
		return "", false
	}
	return text, true
}

// topics translates which topics a flow replicates.
func (t *translator) topics(w *flow) *topics {
	all := &topics{}
	excludes := t.file.flow(w, "topics.exclude")
	if old := t.file.flow(w, "topics.blacklist"); excludes == nil {
		excludes = old
	}
	for _, text := range splitList(excludes.value(defaultExclude)) {
		if p, ok := t.pattern(excludes, text); ok {
			all.exclude = append(all.exclude, p)
		}
	}
	includes := t.file.flow(w, "topics")
	for _, text := range splitList(includes.value(".*")) {
		if literalTopic.MatchString(text) {
			if by := all.excludedBy(text); by != "" {
				t.say(includes, Needless, "%s is left out, as by MirrorMaker: %s excludes it", text, by)
			} else if !slices.Contains(all.includes, text) {
				all.includes = append(all.includes, text)
			}
			continue
		}
		if p, ok := t.pattern(includes, text); ok {
			all.pattern = true
			all.includes = append(all.includes, p)
		}
	}
	if len(all.includes) == 0 {
		all.includes = []string{"TOPIC"}
		t.sayOr(includes, w.scope()+".topics", Todo, "nothing is left to replicate: put the name of a topic in the place of TOPIC")
	}
	// What came from the target does not go back there (ReplicationPolicy.isCycle).
	if prefix := t.prefixOf(w.target, w); prefix != "" {
		all.exclude = append(all.exclude, regexp.QuoteMeta(prefix)+".*")
	}
	return all
}

// excludedBy returns the pattern that excludes a topic, or "".
func (p *topics) excludedBy(topic string) string {
	for _, text := range p.exclude {
		if regexp.MustCompile("^(?:" + text + ")$").MatchString(topic) {
			return text
		}
	}
	return ""
}

// prefix returns what MirrorMaker puts before a topic's name on the target.
func (t *translator) prefix(w *flow) string { return t.prefixOf(w.source, w) }

// prefixOf returns what the replication policy of a flow puts before the names of topics
// that come from a cluster.
func (t *translator) prefixOf(cluster string, w *flow) string {
	policy, separator := t.file.flow(w, "replication.policy.class"), t.file.flow(w, "replication.policy.separator")
	class := policy.value("DefaultReplicationPolicy")
	switch class[strings.LastIndexByte(class, '.')+1:] {
	case "DefaultReplicationPolicy":
		return cluster + separator.value(".")
	case "IdentityReplicationPolicy":
		return ""
	}
	t.say(policy, Todo, "%s is Java code: topics get the name %s.TOPIC; change the targets of the tasks if yours gives others", class, w.source)
	return cluster + "."
}
