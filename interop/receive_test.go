package interop

import (
	"fmt"
	"slices"
	"strconv"
	"time"
)

var receiveCases = []testCase{
	{"receive from the start", receiveStart},
	{"receive from the end", receiveEnd},
	{"receive from a sequence number, inclusive and not", receiveSequence},
	{"receive from an offset, inclusive and not", receiveOffset},
	{"receive from a time", receiveTime},
	{"receive in two groups at once", receiveGroups},
	{"hub and partition properties", properties},
	{"runtime metric with events", runtimeMetric},
}

func receiveStart(t *trial) {
	hub := t.newHub(t.T, 1)
	reader := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest})
	t.send(hub, "0", numbered("a", 3)...)
	got, err := reader.read(3, receiveWait)
	if err != nil {
		t.Fatal(err)
	}
	wantBodies(t, got, "a-0", "a-1", "a-2")
	t.send(hub, "0", numbered("b", 2)...)
	if got, err = reader.read(2, receiveWait); err != nil {
		t.Fatal(err)
	}
	wantBodies(t, got, "b-0", "b-1")
}

// receiveEnd proves that nothing from before the attach comes. No SDK tells when its link is attached, so events are
// sent until the first arrives; every later one must follow it without a hole.
func receiveEnd(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("before", 50)...)
	reader := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &position{Kind: "latest"}})
	var got []event
	sent := 0
	for end := time.Now().Add(receiveWait); len(got) == 0 && time.Now().Before(end); sent++ {
		t.send(hub, "0", withBody(fmt.Appendf(nil, "after-%d", sent)))
		var err *sdkError
		if got, err = reader.read(1, 50*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) == 0 {
		t.Fatalf("none of %d events arrived", sent)
	}
	first := got[0].Seq
	if first < 50 {
		t.Fatalf("event %d was sent before the receiver was opened", first)
	}
	rest := int(50 + int64(sent) - 1 - first)
	if rest == 0 {
		return
	}
	more, err := reader.read(rest, receiveWait)
	if err != nil || len(more) != rest {
		t.Fatalf("%d of %d further events arrived: %v", len(more), rest, err)
	}
	for i, e := range more {
		if e.Seq != first+1+int64(i) {
			t.Fatalf("event %d came after event %d", e.Seq, first+int64(i))
		}
	}
}

func wantSeqs(t *trial, what string, got []event, want ...int64) {
	t.Helper()
	var have []int64
	for _, e := range got {
		have = append(have, e.Seq)
	}
	if !slices.Equal(have, want) {
		t.Errorf("%s: received events %v, want %v", what, have, want)
	}
}

func receiveSequence(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("s", 5)...)
	wantSeqs(t, "after 2", t.receive(hub, "0", position{Kind: "sequence", Value: "2"}, 2), 3, 4)
	wantSeqs(t, "at and after 2", t.receive(hub, "0", position{Kind: "sequence", Value: "2", Inclusive: true}, 3), 2, 3, 4)
	wantSeqs(t, "after -1", t.receive(hub, "0", position{Kind: "sequence", Value: "-1"}, 5), 0, 1, 2, 3, 4)
	last := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &position{Kind: "sequence", Value: "4"}})
	if got, err := last.read(1, 300*time.Millisecond); len(got) != 0 || err != nil {
		t.Errorf("after the last event came %v, %v", bodies(got), err)
	}
	t.send(hub, "0", numbered("later", 1)...)
	got, err := last.read(1, receiveWait)
	if err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, "after the last", got, 5)
}

func receiveOffset(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("o", 5)...)
	all := t.receive(hub, "0", earliest, 5)
	at := all[2].Offset
	wantSeqs(t, "after the offset of 2", t.receive(hub, "0", position{Kind: "offset", Value: at}, 2), 3, 4)
	if t.is("java") {
		t.only("EventPosition has no inclusive offset")
		return
	}
	wantSeqs(t, "at and after the offset of 2", t.receive(hub, "0", position{Kind: "offset", Value: at, Inclusive: true}, 3), 2, 3, 4)
}

func receiveTime(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("early", 2)...)
	time.Sleep(20 * time.Millisecond) // the enqueued times must differ
	t.send(hub, "0", numbered("late", 2)...)
	all := t.receive(hub, "0", earliest, 4)
	early, late := all[1].EnqueuedMs, all[2].EnqueuedMs
	if early >= late {
		t.Fatalf("enqueued times %d and %d are not in order", early, late)
	}
	ms := func(n int64) string { return strconv.FormatInt(n, 10) }
	wantSeqs(t, "after the early time", t.receive(hub, "0", position{Kind: "time", Value: ms(early)}, 2), 2, 3)
	wantSeqs(t, "after a time before all", t.receive(hub, "0", position{Kind: "time", Value: ms(early - 3_600_000)}, 4), 0, 1, 2, 3)
	wantSeqs(t, "after a time before 1970", t.receive(hub, "0", position{Kind: "time", Value: "-1000"}, 4), 0, 1, 2, 3)
	if t.is("go", "python") {
		wantSeqs(t, "at and after the late time", t.receive(hub, "0", position{Kind: "time", Value: ms(late), Inclusive: true}, 2), 2, 3)
	} else {
		t.only("the SDK has no inclusive time")
	}
}

func receiveGroups(t *trial) {
	hub := t.newHub(t.T, 1, "second")
	t.send(hub, "0", numbered("g", 2)...)
	for _, group := range []string{"", "$default", "second", "SECOND"} {
		reader := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest, Group: group})
		got, err := reader.read(2, receiveWait)
		if err != nil {
			t.Fatalf("group %q: %v", group, err)
		}
		wantBodies(t, got, "g-0", "g-1")
	}
}

func properties(t *trial) {
	started := time.Now().Add(-time.Minute).UnixMilli()
	hub := t.newHub(t.T, 3)
	info := t.do(request{Op: "properties", Conn: t.conn(hub)}).HubInfo
	if info.Name != hub || !slices.Equal(info.Partitions, []string{"0", "1", "2"}) {
		t.Errorf("hub properties %+v, want the name %s and the partitions 0, 1, 2", info, hub)
	}
	if info.CreatedMs < started || info.CreatedMs > time.Now().UnixMilli() {
		t.Errorf("the hub says that it was created at %v", time.UnixMilli(info.CreatedMs))
	}
	empty := t.do(request{Op: "partition", Conn: t.conn(hub), Partition: new("1")}).Partition
	if empty.Hub != hub || empty.ID != "1" || !empty.Empty || empty.Last != -1 || empty.LastOffset != "-1" {
		t.Errorf("properties of an empty partition: %+v", empty)
	}
	t.send(hub, "1", numbered("p", 3)...)
	full := t.do(request{Op: "partition", Conn: t.conn(hub), Partition: new("1")}).Partition
	last := t.receive(hub, "1", earliest, 3)[2]
	want := partitionInfo{Hub: hub, ID: "1", Begin: 0, Last: 2, LastOffset: last.Offset, LastTimeMs: last.EnqueuedMs}
	if *full != want {
		t.Errorf("properties of a partition with three events: %+v, want %+v", *full, want)
	}
}

func runtimeMetric(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("m", 3)...)
	reader := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest, Metrics: true})
	got, err := reader.read(3, receiveWait)
	if err != nil || len(got) != 3 {
		t.Fatalf("%d events: %v", len(got), err)
	}
	for _, e := range got {
		if e.Metrics == nil || e.Metrics.Last != 2 || e.Metrics.LastOffset != got[2].Offset {
			t.Errorf("event %d came with the metric %+v, want last 2 at offset %s", e.Seq, e.Metrics, got[2].Offset)
		}
	}
	for _, e := range t.receive(hub, "0", earliest, 3) {
		if e.Metrics != nil {
			t.Errorf("event %d came with a metric that nobody asked for", e.Seq)
		}
	}
}
