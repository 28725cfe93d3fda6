package mirrormaker

import (
	"fmt"
	"slices"
	"strings"
)

// say reports what became of a setting, once for each text.
func (t *translator) say(s *setting, v Verdict, format string, args ...any) {
	s.said = true
	t.add(Finding{s.Line, s.Key, v, fmt.Sprintf(format, args...)})
}

// sayOr is say, for a setting that may not be there: key names it then.
func (t *translator) sayOr(s *setting, key string, v Verdict, format string, args ...any) {
	if s == nil {
		s = &setting{Property: Property{Key: key}}
	}
	t.say(s, v, format, args...)
}

func (t *translator) add(f Finding) {
	if !slices.Contains(t.findings, f) {
		t.findings = append(t.findings, f)
	}
}

// rest reports on the settings that nothing has reported on yet, by the table of keys,
// and on defaults that MirrorMaker acts on without being told.
func (t *translator) rest(used map[string]*connection) {
	for _, s := range t.file.settings {
		if s.said {
			continue
		}
		r, known := ruleOf(s.name)
		switch {
		case !known:
			t.say(s, Unknown, "this is no setting of MirrorMaker 2 that Hubferry knows: look up what it did")
		case t.idle(s, used):
			t.say(s, Needless, "it is about nothing that is enabled")
		case r.verdict == NotCarried && harmless(s):
			t.say(s, Needless, "off, or the default")
		case r.text == "":
			t.say(s, r.verdict, "")
		default:
			t.say(s, r.verdict, "%s", r.text)
		}
	}
	t.defaults()
}

// harmless reports whether a setting that cannot be carried changes nothing: what it is
// about is off, or it names Kafka's own class.
func harmless(s *setting) bool {
	switch {
	case strings.EqualFold(s.Value, "false"), s.Value == "":
		return true
	case s.name == "config.property.filter.class", s.name == "topic.filter.class", s.name == "forwarding.admin.class":
		return strings.HasPrefix(s.Value, "org.apache.kafka.")
	}
	return false
}

// idle reports whether a setting is about a cluster or a flow that is not used.
func (t *translator) idle(s *setting, used map[string]*connection) bool {
	switch {
	case s.scope == "":
		return false
	case strings.Contains(s.scope, "->"):
		return !slices.ContainsFunc(t.file.flows(), func(w *flow) bool { return w.scope() == s.scope })
	}
	return used[s.scope] == nil
}

// defaults reports on what MirrorMaker does unless it is told not to, and Hubferry does
// not.
func (t *translator) defaults() {
	for _, name := range []string{"sync.topic.acls.enabled", "emit.heartbeats.enabled", "emit.checkpoints.enabled"} {
		var flows []string
		for _, w := range t.file.flows() {
			if t.file.flow(w, name) == nil {
				flows = append(flows, w.scope())
			}
		}
		if len(flows) > 0 {
			t.sayOr(nil, name, NotCarried, "on by default for %s: %s", strings.Join(flows, ", "), keys[name].text)
		}
	}
}
