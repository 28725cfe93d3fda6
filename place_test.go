package hubferry_test

import (
	"testing"

	"github.com/hubferry/hubferry"
)

func TestPaths(t *testing.T) {
	tests := []struct{ namespace, hub, partition, path string }{
		{"west.example.net", "telemetry", "3", "west.example.net/telemetry/3"},
		{"localhost:5672", "hub", "0", "localhost:5672/hub/0"},
		{"ns", "queue", "", "ns/queue"},
		{"ns", "topic/subscriptions/s", "", "ns/topic%2Fsubscriptions%2Fs"},
		{"a;b", "100%", "%2F", "a%3Bb/100%25/%252F"},
	}
	paths := map[string]bool{}
	for _, tt := range tests {
		p := hubferry.NewPlace(tt.namespace, tt.hub, tt.partition, "i", 3)
		if p.Path() != tt.path || p.String() != tt.path {
			t.Errorf("path %q, want %q", p.Path(), tt.path)
		}
		if paths[p.Path()] {
			t.Errorf("two places are called %q", p.Path())
		}
		paths[p.Path()] = true
	}
	if (*hubferry.Place)(nil).String() != "?" {
		t.Error("an unknown place prints badly")
	}
}

func TestPositionText(t *testing.T) {
	if got := (hubferry.Position{Sequence: 41}).OffsetText(); got != "41" {
		t.Error(got)
	}
	if got := (hubferry.Position{Sequence: 41, Offset: "o"}).OffsetText(); got != "o" {
		t.Error(got)
	}
}

func TestIDs(t *testing.T) {
	id := hubferry.ID{Namespace: "ns", Hub: "a/b", ConsumerGroup: "$default", Partition: "3"}
	if id.String() != "ns/a%2Fb/$default/3" || id.Group().String() != "ns/a%2Fb/$default" || id.Partition != "3" {
		t.Errorf("%v of group %v", id, id.Group())
	}
}
