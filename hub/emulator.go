package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hubferry/hubferry/hub/internal/entity"
)

// Limits of the official emulator.
const (
	emulatorHubs       = 10
	emulatorPartitions = 32
	emulatorGroups     = 20
)

// LoadEmulatorConfig reads a Config.json of Microsoft's Event Hubs emulator.
// What that emulator refuses is refused here too, except that a namespace may
// have any name and there may be several. The error tells all problems, each
// with the path of its field. LoggingConfig is checked and otherwise ignored.
func LoadEmulatorConfig(path string) (Options, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Options{}, fmt.Errorf("read emulator configuration: %w", err)
	}
	o, err := ParseEmulatorConfig(b)
	if err != nil {
		return Options{}, fmt.Errorf("emulator configuration %s: %w", path, err)
	}
	return o, nil
}

// ParseEmulatorConfig is LoadEmulatorConfig for what was read already.
func ParseEmulatorConfig(b []byte) (Options, error) {
	var e emulatorReader
	root := e.object("", bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")), "UserConfig")
	user := e.object("UserConfig", root["UserConfig"], "NamespaceConfig", "LoggingConfig")
	o := Options{Limits: Limits{ConsumerGroups: emulatorGroups + 1}}
	if len(e.problems) == 0 {
		e.logging(user["LoggingConfig"])
		list := e.list("UserConfig.NamespaceConfig", user["NamespaceConfig"])
		if len(list) == 0 && len(e.problems) == 0 {
			e.add("UserConfig.NamespaceConfig", "there is no namespace")
		}
		for i, raw := range list {
			o.Namespaces = append(o.Namespaces, e.namespace(fmt.Sprintf("UserConfig.NamespaceConfig[%d]", i), raw))
		}
		e.unique(o.Namespaces)
	}
	if err := errors.Join(e.problems...); err != nil {
		return Options{}, err
	}
	return o, nil
}

// emulatorReader collects problems while it reads.
type emulatorReader struct{ problems problems }

func (e *emulatorReader) add(at, format string, args ...any) {
	e.problems.add(at, fmt.Errorf(format, args...))
}

// object reads an object and refuses keys that it should not have. Keys are
// matched without case, as .NET does.
func (e *emulatorReader) object(at string, raw json.RawMessage, keys ...string) map[string]json.RawMessage {
	name := at
	if name == "" {
		name = "the file"
	}
	if len(raw) == 0 {
		e.add(name, "it is missing")
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(raw, &m); err != nil || m == nil {
		e.add(name, "expected an object%s", reason(err))
		return nil
	}
	out := map[string]json.RawMessage{}
	for _, key := range slices.Sorted(maps.Keys(m)) {
		i := slices.IndexFunc(keys, func(k string) bool { return strings.EqualFold(k, key) })
		if i < 0 {
			e.add(join(at, key), "it is not known; known are %s", strings.Join(keys, ", "))
			continue
		}
		out[keys[i]] = m[key]
	}
	return out
}

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

// reason is what to add to a message about malformed JSON.
func reason(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf(": %v at byte %d", err, syntax.Offset)
	}
	return ""
}

func (e *emulatorReader) list(at string, raw json.RawMessage) []json.RawMessage {
	var list []json.RawMessage
	if len(raw) > 0 && json.Unmarshal(raw, &list) != nil {
		e.add(at, "expected a list")
	}
	return list
}

func (e *emulatorReader) text(at string, raw json.RawMessage) string {
	var s string
	switch {
	case len(raw) == 0:
		e.add(at, "it is missing")
	case json.Unmarshal(raw, &s) != nil:
		e.add(at, "expected a text")
	}
	return s
}

func (e *emulatorReader) namespace(at string, raw json.RawMessage) NamespaceOptions {
	m := e.object(at, raw, "Type", "Name", "Entities")
	if m == nil {
		return NamespaceOptions{}
	}
	if kind := e.text(at+".Type", m["Type"]); !strings.EqualFold(kind, "EventHub") && kind != "" {
		e.add(at+".Type", "%q is not supported, expected EventHub", kind)
	}
	n := NamespaceOptions{Name: e.text(at+".Name", m["Name"])}
	if n.Name != "" && entity.CheckGroupName(n.Name) != nil {
		e.add(at+".Name", "%q is not allowed: use letters, digits, '.', '-' and '_'", n.Name)
	}
	entities := e.list(at+".Entities", m["Entities"])
	if len(entities) < 1 || len(entities) > emulatorHubs {
		e.add(at+".Entities", "there are %d event hubs, expected 1 to %d", len(entities), emulatorHubs)
	}
	seen := map[string]bool{}
	for i, raw := range entities {
		hubAt := fmt.Sprintf("%s.Entities[%d]", at, i)
		h := e.hub(hubAt, raw)
		if low := strings.ToLower(h.Name); h.Name != "" && seen[low] {
			e.add(hubAt+".Name", "%q is given twice", h.Name)
		} else {
			seen[low] = true
		}
		n.Hubs = append(n.Hubs, h)
	}
	return n
}

func (e *emulatorReader) hub(at string, raw json.RawMessage) HubOptions {
	m := e.object(at, raw, "Name", "PartitionCount", "ConsumerGroups")
	if m == nil {
		return HubOptions{}
	}
	h := HubOptions{Name: e.text(at+".Name", m["Name"]), Partitions: e.partitions(at+".PartitionCount", m["PartitionCount"])}
	if h.Name != "" {
		e.problems.add(at+".Name", entity.CheckHubName(h.Name))
	}
	groups := e.list(at+".ConsumerGroups", m["ConsumerGroups"])
	if len(groups) > emulatorGroups {
		e.add(at+".ConsumerGroups", "there are %d, at most %d are allowed", len(groups), emulatorGroups)
	}
	seen := map[string]bool{}
	for i, raw := range groups {
		groupAt := fmt.Sprintf("%s.ConsumerGroups[%d]", at, i)
		name := e.text(groupAt+".Name", e.object(groupAt, raw, "Name")["Name"])
		switch low := strings.ToLower(name); {
		case name == "":
		case strings.EqualFold(name, entity.DefaultGroup):
			e.add(groupAt+".Name", "$Default is always there and must not be declared")
		case seen[low]:
			e.add(groupAt+".Name", "%q is given twice", name)
		default:
			seen[low] = true
			e.problems.add(groupAt+".Name", entity.CheckGroupName(name))
			h.ConsumerGroups = append(h.ConsumerGroups, name)
		}
	}
	return h
}

// partitions reads a count, which Microsoft's documentation shows both as a
// text and as a number.
func (e *emulatorReader) partitions(at string, raw json.RawMessage) int {
	if len(raw) == 0 {
		e.add(at, "it is missing")
		return 0
	}
	digits := string(raw)
	var s string
	if json.Unmarshal(raw, &s) == nil {
		digits = strings.TrimSpace(s)
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > emulatorPartitions {
		e.add(at, "%s is not a number between 1 and %d", raw, emulatorPartitions)
		return 0
	}
	return n
}

func (e *emulatorReader) logging(raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	const at = "UserConfig.LoggingConfig"
	m := e.object(at, raw, "Type")
	if m == nil {
		return
	}
	switch kind := e.text(at+".Type", m["Type"]); kind {
	case "", "File", "Console", "File,Console", "Console,File":
	default:
		e.add(at+".Type", "%q is not known, expected File, Console, or both with a comma", kind)
	}
}

func (e *emulatorReader) unique(all []NamespaceOptions) {
	seen := map[string]bool{}
	for i, n := range all {
		low := strings.ToLower(n.Name)
		if n.Name != "" && seen[low] {
			e.add(fmt.Sprintf("UserConfig.NamespaceConfig[%d].Name", i), "%q is given twice", n.Name)
		}
		seen[low] = true
	}
}
