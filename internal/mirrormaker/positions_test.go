package mirrormaker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/mirrormaker"
)

// Records as MirrorMaker 3.9.1 wrote them, and ones that are not for us.
func TestPositions(t *testing.T) {
	got := mirrormaker.Positions{}
	for _, r := range []struct{ key, value string }{
		{`["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"bench"}]`, `{"offset":3915}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":3,"topic":"bench"}]`, `{"offset":4061}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"bench"}]`, `{"offset":4115}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":1,"topic":"gone"}]`, `{"offset":7}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":1,"topic":"gone"}]`, ``},
		{`["MirrorSourceConnector",{"cluster":"B","partition":0,"topic":"bench"}]`, `{"offset":1}`},
		{`["MirrorHeartbeatConnector",{"sourceClusterAlias":"A","targetClusterAlias":"B"}]`, `{"offset":0}`},
		{`["MirrorCheckpointConnector",{"group":"g","topic":"bench","partition":0}]`, `{"offset":0}`},
		{`{"something":"else"}`, `{}`},
	} {
		if err := got.Add("MirrorSourceConnector", "A", []byte(r.key), []byte(r.value)); err != nil {
			t.Errorf("%s: %v", r.key, err)
		}
	}
	want := mirrormaker.Positions{{"bench", 0}: 4115, {"bench", 3}: 4061}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]mirrormaker.Partition{{"bench", 0}, {"bench", 3}}, got.Sorted()); d != "" {
		t.Error(d)
	}
	for _, r := range []struct{ key, value string }{
		{`["MirrorSourceConnector",{"cluster":"A","topic":"bench"}]`, `{"offset":1}`},
		{`["MirrorSourceConnector",7]`, `{"offset":1}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]`, `{"offset":-1}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]`, `{}`},
		{`["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]`, `x`},
	} {
		if err := got.Add("MirrorSourceConnector", "A", []byte(r.key), []byte(r.value)); err == nil {
			t.Errorf("%s = %s: no error", r.key, r.value)
		}
	}
}
