package faults

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
)

// A store that makes more of checkpoints than there is does not escape the judge.
func TestJudgeNoticesCheckpoints(t *testing.T) {
	p := gate()[0]
	p.store, p.lie, p.steps = "mem", 40, nil
	r := run(t.Context(), t.TempDir(), p)
	for _, err := range r.errs {
		if strings.HasPrefix(err.Error(), "INV-2: the checkpoint of partition") {
			return
		}
	}
	t.Errorf("checkpoints pass the end of the source by 40 events, and the judge found only %v", r.errs)
}

func TestBeyond(t *testing.T) {
	record := func(place, sequence string) audit.Record {
		return audit.Record{Provenance: map[string]string{hubferry.ReplSource: place, hubferry.ReplSequence: sequence}}
	}
	target := []audit.Record{
		record("west/events/0", "0"), record("a/b/7;west/events/0", "5;1"), record("west/events/0", "3"),
		record("west/events/1", "0"), record("north/events/1", "1"),
		{},
	}
	for _, c := range []struct {
		stored map[string]int64
		want   string
	}{
		{map[string]int64{"0": 1, "1": 0}, ""},
		{map[string]int64{"0": -1, "1": -1, "2": -1}, ""},
		{map[string]int64{"0": 3}, "INV-2: the checkpoint of partition 0 is at 3, and 2 is not on the target"},
		{map[string]int64{"1": 1}, "INV-2: the checkpoint of partition 1 is at 1, and 1 is not on the target"},
		{map[string]int64{"2": 0}, "INV-2: the checkpoint of partition 2 is at 0, and 0 is not on the target"},
	} {
		got := ""
		if errs := beyond(target, "west/events", c.stored); len(errs) > 0 {
			got = fmt.Sprint(errs[0])
		}
		if got != c.want {
			t.Errorf("%v: %q, want %q", c.stored, got, c.want)
		}
	}
}
