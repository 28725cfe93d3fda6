package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// Start is where reading begins when there is no checkpoint. Its zero value is
// "earliest".
type Start struct {
	hubferry.Start
	// Partitions overrides Start for some partitions, by the service's partition id.
	Partitions map[string]hubferry.Start

	at *node
}

// isSet reports whether the file says where to begin.
func (s *Start) isSet() bool { return s.at != nil }

const startForms = `expected earliest, latest, a time such as 2026-11-01T00:00:00Z, or {sequence: {"0": 17}}`

// decodeNode implements nodeDecoder.
func (s *Start) decodeNode(d *decoder, n *node) {
	s.at = n
	switch {
	case n.broken:
	case n.kind == mapNode:
		s.decodeMap(d, n)
	case n.kind != scalarNode:
		d.report.errorAt(n, "%s; found %s", startForms, n.describe())
	case n.text == "earliest":
	case n.text == "latest":
		s.Kind = hubferry.StartLatest
	default:
		t, err := time.Parse(time.RFC3339, n.text)
		if err != nil {
			hint := ""
			if n.literal() {
				hint = suggest(n.text, []string{"earliest", "latest"})
			}
			d.report.errorAt(n, "%s; found %s%s", startForms, n.describe(), hint)
			return
		}
		s.Kind, s.Time = hubferry.StartTime, t
	}
}

// decodeMap reads sequence numbers by partition: of the first event to be read.
func (s *Start) decodeMap(d *decoder, n *node) {
	for i := range n.entries {
		if e := &n.entries[i]; e.key != "sequence" {
			d.report.errorAtKey(e, "unknown key %q%s", e.key, suggest(e.key, []string{"sequence"}))
		}
	}
	list := n.get("sequence")
	if list == nil || list.kind != mapNode || len(list.entries) == 0 {
		d.report.errorAt(n, `a start map holds sequence numbers by partition, as in {sequence: {"0": 17}}`)
		return
	}
	s.Partitions = map[string]hubferry.Start{}
	for i := range list.entries {
		e := &list.entries[i]
		if e.value.broken {
			continue
		}
		first, err := strconv.ParseInt(e.value.text, 10, 64)
		if e.value.kind != scalarNode || err != nil || first < 0 {
			d.report.errorAt(e.value, "expected the sequence number of the first event to be read, found %s", e.value.describe())
			continue
		}
		// Reading resumes strictly after a position.
		s.Partitions[e.key] = hubferry.Start{Kind: hubferry.StartAfter, Position: hubferry.Position{Sequence: first - 1}}
	}
}

// String returns the start as the file has it.
func (s *Start) String() string {
	if len(s.Partitions) > 0 {
		var list []string
		for _, id := range slices.Sorted(maps.Keys(s.Partitions)) {
			list = append(list, fmt.Sprintf("%q: %d", id, s.Partitions[id].Position.Sequence+1))
		}
		return "{sequence: {" + strings.Join(list, ", ") + "}}"
	}
	switch s.Kind {
	case hubferry.StartLatest:
		return "latest"
	case hubferry.StartTime:
		return s.Time.Format(time.RFC3339Nano)
	default:
		return "earliest"
	}
}
