package hubferry

import (
	"strconv"
	"strings"
	"time"
)

// Position is a point in one partition: an event that is there, or was, or the
// state before the first one (Sequence -1 or less). To resume at a position always
// means: strictly after it.
type Position struct {
	// Sequence orders the events of a partition: Event Hubs' sequence number,
	// Kafka's offset.
	Sequence int64
	// Offset is the service's own opaque text, compared for equality only. It is
	// "" where it would only repeat Sequence in decimal, so that Kafka makes no
	// string per event.
	Offset string
	// Epoch is Kafka's leader epoch plus one, which shows a truncated log; 0 if unknown.
	Epoch int32
}

// OffsetText returns the offset as the service writes it.
func (p Position) OffsetText() string {
	if p.Offset != "" {
		return p.Offset
	}
	return strconv.FormatInt(p.Sequence, 10)
}

// Place is one partition of one hub, named canonically (G-1): the same place has the
// same name whatever connection or alias led to it. A source makes one Place per
// partition and shares it among all events, so a Place is immutable and compared by
// its Path.
type Place struct {
	Namespace   string // lower-case fully qualified namespace, Kafka cluster id
	Hub         string // event hub, topic, queue; lower-case where the service ignores case
	Partition   string // the service's own id, usually decimal; "" for a queue
	Incarnation string // changes when a hub is deleted and created again; "" if unknown
	Index       int    // 0-based number of the partition
	path        string
}

// NewPlace returns the place of a partition.
func NewPlace(namespace, hub, partition, incarnation string, index int) *Place {
	p := &Place{Namespace: namespace, Hub: hub, Partition: partition, Incarnation: incarnation, Index: index}
	p.path = escapeName(namespace) + "/" + escapeName(hub)
	if partition != "" {
		p.path += "/" + escapeName(partition)
	}
	return p
}

// Path returns the canonical name, "namespace/hub/partition", with "%", "/" and ";"
// inside a name percent-encoded. It is the value that repl-source carries.
func (p *Place) Path() string { return p.path }

// String returns Path, so that a Place prints well in errors and logs.
func (p *Place) String() string {
	if p == nil {
		return "?"
	}
	return p.path
}

var nameEscaper = strings.NewReplacer("%", "%25", "/", "%2F", ";", "%3B")

// escapeName encodes the three characters that the provenance lists and paths use.
func escapeName(s string) string { return nameEscaper.Replace(s) }

var nameUnescaper = strings.NewReplacer("%25", "%", "%2F", "/", "%3B", ";")

func unescapeName(s string) string { return nameUnescaper.Replace(s) }

// PartitionInfo is what a source says of one partition, as of one moment.
type PartitionInfo struct {
	Place *Place
	// Begin is the position just before the first retained event, End that of the
	// last event ever written. They are equal when the partition is empty.
	Begin, End Position
	EndTime    time.Time // enqueued time of the last event; zero if unknown or none
	// Sparse says that sequence numbers may have holes (compaction, transactions), so
	// that a hole is a gap only when Begin has passed it (G-2).
	Sparse bool
}

// StartKind says where reading begins when there is no checkpoint.
type StartKind uint8

// The kinds of a Start.
const (
	StartEarliest StartKind = iota // the first retained event
	StartLatest                    // the next event to be written
	StartTime                      // the first event enqueued at Time or later
	StartAfter                     // the first event after Position
)

// Start is where reading begins when there is no checkpoint. The engine has it
// resolved to a Position, and stores that, before it reads the first event: a crash
// before the first checkpoint would otherwise skip what came meanwhile.
type Start struct {
	Kind     StartKind
	Time     time.Time
	Position Position
}
