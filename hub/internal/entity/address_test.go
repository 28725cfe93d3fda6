package entity

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]Address{
		"$cbs":                        {Kind: KindCBS, path: "$cbs"},
		"/$CBS":                       {Kind: KindCBS, path: "$cbs"},
		"$management":                 {Kind: KindManagement, path: "$management"},
		"Hub/$management":             {Kind: KindManagement, Hub: "Hub", path: "hub/$management"},
		"amqps://h:1/hub/$management": {Kind: KindManagement, Hub: "hub", path: "hub/$management"},
		"Hub":                         {Kind: KindHub, Hub: "Hub", path: "hub"},
		"/Hub/":                       {Kind: KindHub, Hub: "Hub", path: "hub"},
		"amqps://host:5671/Hub":       {Kind: KindHub, Hub: "Hub", path: "hub"},
		"sb://[::1]:5672/Hub/":        {Kind: KindHub, Hub: "Hub", path: "hub"},
		"a/b":                         {Kind: KindHub, Hub: "a/b", path: "a/b"},
		"a%2Fb":                       {Kind: KindHub, Hub: "a/b", path: "a/b"},
		"hub/Partitions/3":            {Kind: KindPartition, Hub: "hub", Partition: "3", path: "hub/partitions/3"},
		"a/b/partitions/3":            {Kind: KindPartition, Hub: "a/b", Partition: "3", path: "a/b/partitions/3"},
		"hub/Publishers/My%20Dev":     {Kind: KindPublisher, Hub: "hub", Publisher: "My Dev", path: "hub/publishers/my dev"},
		"hub/ConsumerGroups/G":        {Kind: KindGroup, Hub: "hub", Group: "G", path: "hub/consumergroups/g"},
		"/hub/consumergroups/%24Default/partitions/0":         {Kind: KindGroupPartition, Hub: "hub", Group: "$Default", Partition: "0", path: "hub/consumergroups/$default/partitions/0"},
		"amqps://h/a/b/ConsumerGroups/$default/Partitions/12": {Kind: KindGroupPartition, Hub: "a/b", Group: "$default", Partition: "12", path: "a/b/consumergroups/$default/partitions/12"},
		"":             {},
		"/":            {},
		"sb://host":    {},
		"sb://host/":   {},
		"hub%zz":       {Kind: KindHub, Hub: "hub%zz", path: "hub%zz"},
		"Partitions/3": {Kind: KindHub, Hub: "Partitions/3", path: "partitions/3"},
	} {
		if diff := cmp.Diff(want, ParseAddress(in), cmp.AllowUnexported(Address{})); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("amqps://host:5671/hub/ConsumerGroups/$Default/Partitions/0")
	f.Add("hub/Publishers/%41%")
	f.Fuzz(func(t *testing.T, s string) {
		a := ParseAddress(s)
		if strings.HasPrefix(a.Path(), "/") || a.path != strings.ToLower(a.path) {
			t.Fatalf("path %q of %q", a.Path(), s)
		}
		if (a.Kind == KindNone) != (a.path == "") && a.Kind != KindNone {
			t.Fatalf("%q is %+v", s, a)
		}
		if (a.Kind == KindPartition || a.Kind == KindGroupPartition) && (a.Hub == "" || a.Partition == "") || a.Kind == KindHub && a.Hub == "" {
			t.Fatalf("%q is %+v", s, a)
		}
	})
}

func TestParseFilter(t *testing.T) {
	for expr, want := range map[string]Start{
		"":                                                         {Kind: StartEarliest},
		"amqp.annotation.x-opt-offset > '-1'":                      {Kind: StartEarliest},
		"amqp.annotation.x-opt-offset >= '-1'":                     {Kind: StartEarliest},
		"amqp.annotation.x-opt-offset > -1":                        {Kind: StartEarliest},
		"amqp.annotation.x-opt-offset > '@latest'":                 {Kind: StartLatest},
		"amqp.annotation.x-opt-offset > @latest":                   {Kind: StartLatest},
		"amqp.annotation.x-opt-offset >= '@latest'":                {Kind: StartLatest, Inclusive: true},
		"amqp.annotation.x-opt-offset > '17'":                      {Kind: StartOffset, Value: 17},
		"amqp.annotation.x-opt-offset >='17'":                      {Kind: StartOffset, Value: 17, Inclusive: true},
		"amqp.annotation.x-opt-offset > = '17'":                    {Kind: StartOffset, Value: 17, Inclusive: true},
		"  amqp.annotation.x-opt-offset  >  17  ":                  {Kind: StartOffset, Value: 17},
		"amqp.annotation.x-opt-sequence-number > '-1'":             {Kind: StartEarliest},
		"amqp.annotation.x-opt-sequence-number > '5'":              {Kind: StartSequence, Value: 5},
		"amqp.annotation.x-opt-sequence-number >= 5":               {Kind: StartSequence, Value: 5, Inclusive: true},
		"amqp.annotation.x-opt-enqueued-time > '1700'":             {Kind: StartTime, Value: 1700},
		"amqp.annotation.x-opt-enqueued-time >= '-62135596800000'": {Kind: StartTime, Value: -62135596800000, Inclusive: true},
		"amqp.annotation.x-opt-enqueued-time > -1":                 {Kind: StartTime, Value: -1},
		"amqp.annotation.x-opt-enqueuedtimeutc > 1700":             {Kind: StartTime, Value: 1700},
	} {
		got, err := ParseFilter(expr)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", expr, got, err)
		}
	}
	for _, expr := range []string{
		"x", ">", "> 1", "amqp.annotation.x-opt-offset", "amqp.annotation.x-opt-offset < '1'", "amqp.annotation.x-opt-offset = '1'",
		"amqp.annotation.x-opt-offset > ''", "amqp.annotation.x-opt-offset > '1", "amqp.annotation.x-opt-offset > 1'",
		"amqp.annotation.x-opt-offset > 'one'", "amqp.annotation.x-opt-offset > '2:1:5'", "amqp.annotation.x-opt-sequence-number > '@latest'",
		"amqp.annotation.x-opt-enqueued-time > '2024-01-01'", "amqp.annotation.other > '1'", "amqp.annotation.x-opt-offset > '99999999999999999999'",
		"amqp.annotation.x-opt-offset > '1' AND 1=1",
	} {
		_, err := ParseFilter(expr)
		wantError(t, err, InvalidField, 400, "")
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("amqp.annotation.x-opt-offset > '@latest'")
	f.Add("amqp.annotation.x-opt-enqueued-time >= 17")
	f.Fuzz(func(t *testing.T, expr string) {
		if s, err := ParseFilter(expr); err != nil && s != (Start{}) {
			t.Fatalf("%+v with %v", s, err)
		}
	})
}

// Start positions against events with gaps in time and after retention.
func TestResolve(t *testing.T) {
	c := newClock()
	o := testOptions()
	o.Now = c.now
	n := openNS(t, o)
	h := create(t, n, HubSpec{Name: "hub", Partitions: 2})
	p := partition(t, h, "0")
	base := c.ms.Load()
	var spans []Span
	for range 10 {
		spans = append(spans, send(t, p, "a", "b"))
		c.ms.Add(1000)
	}
	last := spans[9]
	seq := func(v int64, inclusive bool) Start { return Start{StartSequence, v, inclusive} }
	off := func(v int64, inclusive bool) Start { return Start{StartOffset, v, inclusive} }
	at := func(v int64, inclusive bool) Start { return Start{StartTime, v, inclusive} }
	for _, test := range []struct {
		s    Start
		want int64
	}{
		{Start{}, 0},
		{Start{Kind: StartLatest}, 20},
		{Start{Kind: StartLatest, Inclusive: true}, 19},
		{seq(0, true), 0},
		{seq(0, false), 1},
		{seq(19, true), 19},
		{seq(19, false), 20},
		{seq(-5, true), 0},
		{off(0, true), 0},
		{off(0, false), 1},
		{off(spans[3].FirstOffset, true), 6},
		{off(spans[3].FirstOffset, false), 7},
		{off(spans[3].FirstOffset-1, false), 6},
		{off(last.LastOffset, true), 19},
		{off(last.LastOffset, false), 20},
		{off(-2, false), 0},
		{at(base, true), 0},
		{at(base, false), 2},
		{at(base+1500, true), 4},
		{at(base+1500, false), 4},
		{at(base+2000, true), 4},
		{at(base+2000, false), 6},
		{at(base+9000, true), 18},
		{at(base+9000, false), 20},
		{at(base+1e9, true), 20},
		{at(-62135596800000, false), 0},
		{at(1<<63-1, false), 20},
	} {
		if got, err := p.Resolve(test.s); got != test.want || err != nil {
			t.Errorf("%+v = %d, %v; want %d", test.s, got, err, test.want)
		}
	}
	lastOffset := last.LastOffset
	_, err := p.Resolve(off(lastOffset+1, true))
	wantError(t, err, ArgumentError, 400, "The supplied offset '")
	wantError(t, err, ArgumentError, 400, "is invalid. The last offset in the system is '")
	_, err = p.Resolve(seq(20, true))
	wantError(t, err, ArgumentError, 400, "The supplied sequence number '20' is invalid. The last sequence number in the system is '19'")
	empty := partition(t, h, "1")
	_, err = empty.Resolve(off(0, true))
	wantError(t, err, ArgumentError, 400, "The supplied offset '0' is invalid. The last offset in the system is '-1'")
	_, err = empty.Resolve(seq(0, false))
	wantError(t, err, ArgumentError, 400, "The supplied sequence number '0' is invalid. The last sequence number in the system is '-1'")
	for _, s := range []Start{{}, {Kind: StartLatest}, {Kind: StartLatest, Inclusive: true}, at(0, true), at(base*2, true)} {
		if got, err := empty.Resolve(s); got != 0 || err != nil {
			t.Errorf("empty, %+v = %d, %v", s, got, err)
		}
	}

	if _, err := n.UpdateHub(t.Context(), HubSpec{Name: "hub", Retention: Retention{For: 5500 * 1e6}}); err != nil {
		t.Fatal(err)
	}
	if err := n.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s    Start
		want int64
	}{
		{Start{}, 10}, {seq(0, true), 10}, {seq(9, false), 10}, {seq(12, true), 12}, {off(0, false), 10}, {at(base, true), 10}, {Start{Kind: StartLatest}, 20},
	} {
		if got, err := p.Resolve(test.s); got != test.want || err != nil {
			t.Errorf("after retention, %+v = %d, %v; want %d", test.s, got, err, test.want)
		}
	}
}

func TestSkips(t *testing.T) {
	r := &Record{Enqueued: 100}
	for s, want := range map[Start]bool{
		{StartTime, 100, true}: false, {StartTime, 100, false}: true, {StartTime, 101, true}: true, {StartTime, 99, false}: false,
		{StartSequence, 1000, false}: false, {}: false,
	} {
		if got := s.Skips(r); got != want {
			t.Errorf("%+v: %v", s, got)
		}
	}
}

func TestChoosePartition(t *testing.T) {
	n := openNS(t, testOptions())
	h := create(t, n, HubSpec{Name: "hub", Partitions: 32})
	for key, want := range map[string]string{"": "0", "a": "28", "b": "8", "$Default": "3", "naïve café": "11", "😀": "6"} {
		if got := h.ForKey(key).ID(); got != want {
			t.Errorf("key %q goes to %s, the service sends it to %s", key, got, want)
		}
	}
	seen := map[string]int{}
	for range 96 {
		seen[h.Next().ID()]++
	}
	want := map[string]int{}
	for _, id := range h.PartitionIDs() {
		want[id] = 3
	}
	if diff := cmp.Diff(want, seen, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
}
