package amqpevent

import (
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// TestAllocations guards what an event costs in allocations between two hubs: reading makes
// the form and the text of the offset, writing nothing.
func TestAllocations(t *testing.T) {
	msg := typical(t, 1024)
	if n := testing.AllocsPerRun(100, func() { Parse(msg) }); n > 2 {
		t.Errorf("Parse makes %v allocations", n)
	}
	form, facts := Parse(msg)
	e := hubferry.NewEncodedEvent(form)
	e.Key, e.Time, e.Pos = facts.Key, time.UnixMilli(1700000000000), hubferry.Position{Sequence: facts.Sequence, Offset: facts.Offset}
	e.Origin = hubferry.NewPlace("contoso.servicebus.windows.net", "telemetry", "3", "", 3)
	edited := e.Share()
	if _, err := edited.Edit(); err != nil {
		t.Fatal(err)
	}
	x := NewEncoder(hubferry.Trail{Task: "telemetry", Route: "east/telemetry"}, nil)
	for name, e := range map[string]*hubferry.Event{"as it came": &e, "edited": &edited} {
		var dst []byte
		var err error
		if n := testing.AllocsPerRun(100, func() { dst, err = x.Append(dst[:0], e) }); n > 0 || err != nil {
			t.Errorf("%s: Append makes %v allocations, %v", name, n, err)
		}
	}
}
