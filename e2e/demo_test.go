package e2e

import (
	"encoding/json"
	"os/exec"
	"testing"
)

// TestDemo runs the demo and checks the JSON form of its report, which is a promise.
func TestDemo(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), program, "demo", "--json", "--dir", t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("demo: %v\n%s", err, out)
	}
	var r map[string]any
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("the report is not one JSON object: %v\n%s", err, out)
	}
	for name, want := range map[string]any{
		"events": 21707.0, "lost": 0.0, "altered": 0.0, "reordered": 0.0, "kills": 1.0, "cuts": 1.0, "kept": true,
	} {
		got := r[name]
		if name == "events" { // an SDK whose connection is cut may send a batch twice
			if n, ok := got.(float64); !ok || n < 21707 {
				t.Errorf("events is %v", got)
			}
			continue
		}
		if got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"duplicates", "seconds"} {
		if _, ok := r[name].(float64); !ok {
			t.Errorf("%s is missing: %s", name, out)
		}
	}
}
