package kafka

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry"
)

func TestNote(t *testing.T) {
	marks := map[string]hubferry.Position{}
	for i := range 64 {
		marks[fmt.Sprintf("lkc-7gk2n/telemetry/%d", i)] = hubferry.Position{Sequence: int64(i) * 1e6, Epoch: 3}
	}
	for name, c := range map[string]hubferry.Checkpoint{
		"empty": {Position: hubferry.Position{Sequence: -1}},
		"full": {
			Position: hubferry.Position{Sequence: 41, Epoch: 7}, Incarnation: "AAAB", Time: time.UnixMilli(1234567890123).UTC(), Clean: true,
			Marks:  map[string]hubferry.Position{"a/b/0": {Sequence: 5, Offset: "x", Epoch: 1}},
			States: map[string][]byte{"engine.map.x": []byte(`{"v":1}`)},
		},
		"many marks": {Position: hubferry.Position{Sequence: 1}, Marks: marks},
	} {
		text, err := formatNote(&c)
		if err != nil || len(text) > 2048 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
		if diff := cmp.Diff(&c, parseNote(c.Position.Sequence+1, c.Position.Epoch-1, text)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestForeignNotes(t *testing.T) {
	for _, text := range []string{"", "consumer-1-host", `{"v":1}`} {
		if c := parseNote(10, -1, text); c.Err != nil || c.Position != (hubferry.Position{Sequence: 9}) {
			t.Errorf("%q: %+v", text, c)
		}
	}
	for _, text := range []string{"hubferry:", "hubferry:{", "hubferry+z:!", "hubferry+z:AAAA"} {
		if c := parseNote(10, 4, text); c.Err == nil || !strings.Contains(c.Err.Error(), "offset 10") {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

// Whatever stands beside an offset is understood, or is an error of that one partition.
func FuzzNote(f *testing.F) {
	f.Add("hubferry:{}")
	f.Add(`hubferry:{"i":"x","t":5,"c":true,"m":{"a/b/0":{"s":3,"o":"y","e":2}},"s":{"k":"AAE="}}`)
	f.Add("hubferry+z:q1YqVrJSMlSqBQA")
	f.Add("somebody else")
	f.Add(`hubferry:{"m":{},"s":{}}`)
	f.Fuzz(func(t *testing.T, text string) {
		c := parseNote(7, 2, text)
		if c.Err != nil {
			return
		}
		again, err := formatNote(c)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, parseNote(7, 2, again)); diff != "" {
			t.Error(diff)
		}
	})
}
