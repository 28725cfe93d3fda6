package audit_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// source returns n events over two partitions and three keys.
func source(n int) []audit.Record {
	records := make([]audit.Record, n)
	for i := range records {
		key := fmt.Sprint("k", i%3)
		records[i] = audit.Record{
			Partition: fmt.Sprint(i % 2), Sequence: int64(i / 2), Offset: fmt.Sprint(i * 48), Enqueued: noon.Add(time.Duration(i) * time.Millisecond), Key: &key,
			Parts:      map[string]string{"body": fmt.Sprint("body ", i), "property/n": fmt.Sprint("int ", i)},
			Provenance: map[string]string{},
		}
	}
	return records
}

// replicate returns faithful copies.
func replicate(records []audit.Record) []audit.Record {
	copies := make([]audit.Record, len(records))
	for i, r := range records {
		c := r
		c.Parts, c.Provenance = maps.Clone(r.Parts), map[string]string{}
		for name, hop := range map[string]string{
			hubferry.ReplSource: "west/in/" + r.Partition, hubferry.ReplSequence: fmt.Sprint(r.Sequence), hubferry.ReplOffset: r.Offset,
			hubferry.ReplEnqueueTime: r.Enqueued.Format("2006-01-02T15:04:05.000Z"),
		} {
			if was, ok := r.Provenance[name]; ok {
				hop = was + ";" + hop
			}
			c.Provenance[name] = hop
		}
		c.Provenance[hubferry.ReplID] = "task/route/0"
		copies[i] = c
	}
	return copies
}

func TestCompare(t *testing.T) {
	options := audit.Options{Source: "west/in", SourcePartitions: 2, TargetPartitions: 2}
	for name, c := range map[string]struct {
		harm func(target []audit.Record) []audit.Record
		want audit.Report
	}{
		"faithful": {func(r []audit.Record) []audit.Record { return r }, audit.Report{}},
		"lost": {
			func(r []audit.Record) []audit.Record { return slices.Delete(r, 4, 5) },
			audit.Report{Lost: 1, Examples: []string{"west/in/0@2 is lost"}},
		},
		"a later copy": {func(r []audit.Record) []audit.Record { return append(r, r[4]) }, audit.Report{Duplicates: 1, DeepestRepeat: 4}},
		"a repeat": {
			func(r []audit.Record) []audit.Record { return slices.Insert(r, 9, r[6], r[8]) },
			audit.Report{Duplicates: 2, DeepestRepeat: 2},
		},
		"body altered": {
			func(r []audit.Record) []audit.Record { r[4].Parts["body"] = "x"; return r },
			audit.Report{Altered: 1, Examples: []string{"west/in/0@2 was altered: body was body 4 and is x"}},
		},
		"type altered": {
			func(r []audit.Record) []audit.Record { r[4].Parts["property/n"] = "long 4"; return r },
			audit.Report{Altered: 1, Examples: []string{"west/in/0@2 was altered: property/n was int 4 and is long 4"}},
		},
		"invented": {
			func(r []audit.Record) []audit.Record { r[4].Parts["message/message-id"] = "x"; return r },
			audit.Report{Altered: 1, Examples: []string{"west/in/0@2 was altered: message/message-id was invented"}},
		},
		"property gone": {
			func(r []audit.Record) []audit.Record { delete(r[4].Parts, "property/n"); return r },
			audit.Report{Altered: 1, Examples: []string{"west/in/0@2 was altered: property/n is missing"}},
		},
		"key gone": {
			func(r []audit.Record) []audit.Record { r[0].Key = nil; return r },
			audit.Report{Altered: 1, Reordered: 1, Examples: []string{
				"west/in/0@0 was altered: it gained or lost its partition key", "west/in/0@0 is out of order",
			}},
		},
		"two of one key swapped": {
			func(r []audit.Record) []audit.Record { r[0], r[6] = r[6], r[0]; return r },
			audit.Report{Reordered: 1, Examples: []string{"west/in/0@0 is out of order"}},
		},
		"two of different keys swapped": {func(r []audit.Record) []audit.Record { r[0], r[1] = r[1], r[0]; return r }, audit.Report{}},
		"another partition": {
			func(r []audit.Record) []audit.Record { r[0].Partition = "1"; return r },
			audit.Report{Misplaced: 1, Examples: []string{"west/in/0@0 went to partition 1"}},
		},
		"foreign": {func(r []audit.Record) []audit.Record { return append(r, audit.Record{Partition: "0"}) }, audit.Report{Foreign: 1}},
		"stray": {func(r []audit.Record) []audit.Record {
			s := replicate(r[:1])[0]
			s.Provenance = map[string]string{hubferry.ReplSource: "west/in/0", hubferry.ReplSequence: "99"}
			return append(r, s)
		}, audit.Report{Strays: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			in := source(12)
			c.want.Events = 12
			got := audit.Compare(in, c.harm(replicate(in)), options)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("report (-want +got):\n%s", d)
			}
		})
	}
}

func TestCompareChecksEarlierHops(t *testing.T) {
	in := source(2)
	in[0].Provenance = map[string]string{
		hubferry.ReplSource: "north/x/1", hubferry.ReplSequence: "5", hubferry.ReplOffset: "9", hubferry.ReplEnqueueTime: "2026-10-01T00:00:00.000Z",
	}
	options := audit.Options{Source: "west/in", SourcePartitions: 2, TargetPartitions: 2}
	if r := audit.Compare(in, replicate(in), options); !r.Faultless() {
		t.Errorf("two hops: %+v", r)
	}
	broken := replicate(in)
	broken[0].Provenance[hubferry.ReplSource] = "west/in/0"
	if r := audit.Compare(in, broken, options); r.Altered != 1 {
		t.Errorf("a lost hop was not noticed: %+v", r)
	}
}

func TestCompareChecksTheLastHop(t *testing.T) {
	options := audit.Options{Source: "west/in", SourcePartitions: 2, TargetPartitions: 2}
	for name, value := range map[string]string{
		hubferry.ReplOffset:      "17",
		hubferry.ReplEnqueueTime: "2026-11-01T12:00:00.017Z",
		hubferry.ReplID:          "task/0",
	} {
		for _, value := range []string{value, "", "2026-11-01T13:00:00+01:00", "x;y"} {
			in := source(2)
			out := replicate(in)
			out[0].Provenance[name] = value
			if r := audit.Compare(in, out, options); r.Altered != 1 || !strings.Contains(strings.Join(r.Examples, ""), name) {
				t.Errorf("%s of %q was not noticed: %+v", name, value, r)
			}
		}
	}
	// The name and the form that Microsoft's helper writes, on what came from elsewhere.
	in := source(1)
	in[0].Provenance = map[string]string{hubferry.ReplEnqueuedTime: "Sun, 01 Nov 2026 12:00:00 GMT", hubferry.ReplSequence: "5"}
	out := replicate(in)
	out[0].Provenance = map[string]string{
		hubferry.ReplSource: ";west/in/0", hubferry.ReplSequence: "5;0", hubferry.ReplOffset: ";0",
		hubferry.ReplEnqueueTime: "Sun, 01 Nov 2026 12:00:00 GMT;2026-11-01T12:00:00.000Z", hubferry.ReplID: "task/route/0",
	}
	if r := audit.Compare(in, out, options); !r.Faultless() {
		t.Errorf("the helper's form: %+v", r)
	}
}

func TestCompareIgnores(t *testing.T) {
	in := source(10)
	out := replicate(in)[:5]
	r := audit.Compare(in, out, audit.Options{
		Source: "west/in", SourcePartitions: 2, TargetPartitions: 2,
		Ignore: func(r *audit.Record) bool { return r.Sequence*2 >= 5 || (r.Sequence == 2 && r.Partition == "1") },
	})
	if r.Lost != 0 || r.Events != 5 {
		t.Errorf("got %+v", r)
	}
}
