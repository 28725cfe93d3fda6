// Package audit proves what a replication did: it compares the events of a source hub
// with those of a target hub, both as an independent client read them, and counts what
// was lost, altered, doubled or reordered.
//
// It knows nothing of the engine or of drivers. What it compares are Records, texts made
// by somebody else's code: package audit/azure makes them with Microsoft's own SDK.
package audit

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
)

// Record is one event as an independent client saw it.
type Record struct {
	Partition string
	Sequence  int64
	Offset    string    // as the service gives it
	Enqueued  time.Time // as the service gives it
	Key       *string   // nil: no partition key
	// Parts are the event's contents as texts that are equal only if type and value are:
	// "body", "property/NAME", "message/FIELD", "annotation/NAME", "footer/NAME".
	Parts map[string]string
	// Provenance holds the repl-* properties.
	Provenance map[string]string
}

// Report is what Compare found. Only Duplicates may be more than zero under at-least-once
// delivery.
type Report struct {
	Events     int `json:"events"`     // on the source
	Lost       int `json:"lost"`       // not on the target
	Altered    int `json:"altered"`    // body, key, a property or its type differ
	Duplicates int `json:"duplicates"` // further copies
	// DeepestRepeat is how many events of its source partition the furthest repeat went
	// back, from the newest that had arrived: a crash repeats at most one window.
	DeepestRepeat int `json:"deepestRepeat"`
	Reordered     int `json:"reordered"` // first deliveries out of the order of their key
	Misplaced     int `json:"misplaced"` // another partition number although the counts are equal
	Strays        int `json:"strays"`    // on the target, from this source, but not on it
	// Foreign counts events on the target that did not come from this source.
	Foreign int `json:"foreign"`
	// Examples tell of the first few faults, for people.
	Examples []string `json:"examples,omitempty"`
}

// Faultless reports whether every promise was kept; duplicates are judged by the caller.
func (r *Report) Faultless() bool {
	return r.Lost+r.Altered+r.Reordered+r.Misplaced+r.Strays == 0
}

// Options say what to compare.
type Options struct {
	// Source is the canonical "namespace/hub" of the source, as repl-source has it.
	Source string
	// SourcePartitions and TargetPartitions are the numbers of partitions.
	SourcePartitions, TargetPartitions int
	// Ignore, if not nil, leaves source events out: a filter was to drop them.
	Ignore func(*Record) bool
}

// maxExamples bounds Report.Examples.
const maxExamples = 10

// Compare compares all events of a source hub with all events of a target hub. Within each
// partition the records must stand in the order of the hub.
func Compare(source, target []Record, o Options) Report {
	c := comparison{options: o, first: map[id]*Record{}, next: map[stream][]int64{}}
	c.index(target)
	for i := range source {
		if s := &source[i]; o.Ignore == nil || !o.Ignore(s) {
			c.compare(s)
		}
	}
	c.report.Strays += len(c.first)
	return c.report
}

// id is where an event came from.
type id struct {
	partition string
	sequence  int64
}

// stream is what has an order: the events of one key from one source partition, in one
// target partition. Without a key it is the whole source partition.
type stream struct {
	partition string
	key       string
	keyed     bool
}

type comparison struct {
	options Options
	report  Report
	first   map[id]*Record     // first deliveries that were not met on the source yet
	next    map[stream][]int64 // source sequence numbers in the order of first delivery
}

// index notes the first delivery of each event.
func (c *comparison) index(target []Record) {
	seen := map[id]bool{}
	newest := map[[2]string]int64{} // by source and target partition
	for i := range target {
		t := &target[i]
		from, ok := c.origin(t)
		if !ok {
			c.report.Foreign++
			continue
		}
		way := [2]string{from.partition, t.Partition}
		if seen[from] {
			c.report.Duplicates++
			c.report.DeepestRepeat = max(c.report.DeepestRepeat, int(newest[way]-from.sequence)+1)
			continue
		}
		newest[way] = max(newest[way], from.sequence)
		seen[from] = true
		c.first[from] = t
		s := streamOf(t, from.partition)
		if s.keyed || c.options.SourcePartitions == c.options.TargetPartitions {
			c.next[s] = append(c.next[s], from.sequence)
		}
	}
}

// origin reads the last hop of an event's provenance.
func (c *comparison) origin(t *Record) (id, bool) {
	place := lastHop(t.Provenance[hubferry.ReplSource])
	partition, ok := strings.CutPrefix(place, c.options.Source+"/")
	if !ok {
		return id{}, false
	}
	sequence, err := strconv.ParseInt(lastHop(t.Provenance[hubferry.ReplSequence]), 10, 64)
	return id{partition, sequence}, err == nil
}

func lastHop(list string) string { return list[strings.LastIndexByte(list, ';')+1:] }

func streamOf(r *Record, partition string) stream {
	if r.Key == nil {
		return stream{partition: partition}
	}
	return stream{partition: partition, key: *r.Key, keyed: true}
}

// compare looks one source event up on the target.
func (c *comparison) compare(s *Record) {
	c.report.Events++
	from := id{s.Partition, s.Sequence}
	t := c.first[from]
	if t == nil {
		c.report.Lost++
		c.example(s, "is lost")
		return
	}
	delete(c.first, from)
	if difference := differ(s, t); difference != "" {
		c.report.Altered++
		c.example(s, "was altered: "+difference)
	}
	if c.options.SourcePartitions == c.options.TargetPartitions && s.Partition != t.Partition {
		c.report.Misplaced++
		c.example(s, "went to partition "+t.Partition)
	}
	at := streamOf(s, s.Partition)
	order, ordered := c.next[at]
	if !ordered {
		return
	}
	if len(order) == 0 || order[0] != s.Sequence {
		c.report.Reordered++
		c.example(s, "is out of order")
		if i := slices.Index(order, s.Sequence); i >= 0 {
			c.next[at] = slices.Delete(slices.Clone(order), i, i+1)
		}
		return
	}
	c.next[at] = order[1:]
}

func (c *comparison) example(s *Record, what string) {
	if len(c.report.Examples) < maxExamples {
		c.report.Examples = append(c.report.Examples, fmt.Sprintf("%s/%s@%d %s", c.options.Source, s.Partition, s.Sequence, what))
	}
}

// differ returns the first difference between an event and its copy, or "".
func differ(s, t *Record) string {
	switch {
	case (s.Key == nil) != (t.Key == nil):
		return "it gained or lost its partition key"
	case s.Key != nil && *s.Key != *t.Key:
		return fmt.Sprintf("partition key %q became %q", *s.Key, *t.Key)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Parts)) {
		was := s.Parts[name]
		if is, ok := t.Parts[name]; !ok {
			return name + " is missing"
		} else if is != was {
			return fmt.Sprintf("%s was %s and is %s", name, short(was), short(is))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Parts)) {
		if _, ok := s.Parts[name]; !ok {
			return name + " was invented"
		}
	}
	return differInProvenance(s, t)
}

// lists are the properties with one value per hop.
var lists = [...]string{hubferry.ReplSource, hubferry.ReplSequence, hubferry.ReplOffset, hubferry.ReplEnqueueTime}

// differInProvenance compares what a copy tells of its way with the way of the source
// event and where that stands. The last hop's place and sequence number have led from one
// to the other already.
func differInProvenance(s, t *Record) string {
	hops := strings.Count(t.Provenance[hubferry.ReplSource], ";")
	for _, name := range lists {
		was, is := s.Provenance[name], t.Provenance[name]
		if was == "" && name == hubferry.ReplEnqueueTime {
			was = s.Provenance[hubferry.ReplEnqueuedTime]
		}
		earlier := ""
		if i := strings.LastIndexByte(is, ';'); i >= 0 {
			earlier = is[:i]
		}
		if strings.TrimRight(earlier, ";") != strings.TrimRight(was, ";") {
			return fmt.Sprintf("%s was %q and is %q", name, was, is)
		}
		if n := strings.Count(is, ";"); n != hops {
			return fmt.Sprintf("%s has %d values and %s has %d", name, n+1, hubferry.ReplSource, hops+1)
		}
	}
	if offset := lastHop(t.Provenance[hubferry.ReplOffset]); offset != s.Offset {
		return fmt.Sprintf("%s says %q, the event's offset was %q", hubferry.ReplOffset, offset, s.Offset)
	}
	text := lastHop(t.Provenance[hubferry.ReplEnqueueTime])
	if at, err := time.Parse(time.RFC3339Nano, text); err != nil || !at.Equal(s.Enqueued) || !strings.HasSuffix(text, "Z") {
		return fmt.Sprintf("%s says %q, the event was enqueued at %s", hubferry.ReplEnqueueTime, text, s.Enqueued.UTC().Format(time.RFC3339Nano))
	}
	if id := t.Provenance[hubferry.ReplID]; strings.Count(id, "/") != 2 || strings.Contains(id, ";") {
		return fmt.Sprintf("%s is %q, no task/route/part", hubferry.ReplID, id)
	}
	return ""
}

func short(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}
