package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// What effectively-once delivery waits for, and what it could not prevent, stands below the
// table.
func TestTableOfOnce(t *testing.T) {
	until := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	for name, c := range map[string]struct {
		counts hubferry.Counts
		search *hubferry.SearchStatus
		want   string
	}{
		"nothing":    {want: ""},
		"waiting":    {search: &hubferry.SearchStatus{Target: "east/out/3", Until: until}, want: "copy: waits until 07:08:09 for what may still arrive at east/out/3"},
		"reading":    {search: &hubferry.SearchStatus{Target: "east/out/3", At: 5, End: 9}, want: "copy: looks what is at east/out/3 already: event 5 of 9"},
		"duplicates": {counts: hubferry.Counts{DuplicatesSeen: 2, Unproven: 3}, want: "copy: 2 duplicates seen at the target, 3 events that may be there twice"},
	} {
		p := progress{at: until}
		rows := p.rows(until.Add(time.Second), []hubferry.TaskStatus{{
			Task: "copy", Counts: c.counts, Owned: []hubferry.PartitionStatus{{}, {Search: c.search}},
		}})
		lines := strings.Join(table(rows)[2:], "\n")
		if got := strings.TrimSpace(lines); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// A task that reads several hubs has a line for each of those that are furthest behind.
func TestTableOfSeveralHubs(t *testing.T) {
	now := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	one := hubferry.TaskStatus{Task: "one", State: hubferry.Running, Owned: []hubferry.PartitionStatus{{Hub: "x", Lag: 3}, {Hub: "x"}}}
	many := hubferry.TaskStatus{Task: "many", State: hubferry.Failed, Owned: []hubferry.PartitionStatus{
		{Hub: "clicks", State: hubferry.Running, Lag: 5},
		{Hub: "clicks", State: hubferry.Running, Lag: 2, LagSeconds: 9},
		{Hub: "orders", State: hubferry.Failed, Lag: 1},
	}}
	for i := range 8 {
		many.Owned = append(many.Owned, hubferry.PartitionStatus{Hub: fmt.Sprint("z", i), State: hubferry.Running})
	}
	p := progress{at: now}
	got := strings.Join(table(p.rows(now.Add(time.Second), []hubferry.TaskStatus{one, many})), "\n")
	want := `TASK  HUB         STATE    PARTS  MOVED  RATE/S  LAG  BEHIND  CATCH-UP  RETRIES
one               running      2      0       0    3    0.0s         -        0
many  10 hubs     failed      11      0       0    8    9.0s         -        0
      orders      failed       1                   1    0.0s
      clicks      running      2                   7    9.0s
      z0          running      1                   0    0.0s
      z1          running      1                   0    0.0s
      z2          running      1                   0    0.0s
      z3          running      1                   0    0.0s
      z4          running      1                   0    0.0s
      z5          running      1                   0    0.0s
      and 2 more`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := table((&progress{at: now}).rows(now, []hubferry.TaskStatus{one})); strings.Contains(got[0], "HUB") {
		t.Errorf("a table of tasks with one hub each has a column for it: %s", got[0])
	}
}
