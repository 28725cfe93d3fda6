package e2e

import (
	"os"
	"strings"
	"testing"
	"time"
)

// TestSetBack restores the source from a copy that is older than the checkpoint. The hub is
// the one that it was and ends before what was read: to stop says so with the range, to
// continue begins anew, and the next run goes on from there although the hub has grown past
// the old checkpoint meanwhile.
func TestSetBack(t *testing.T) {
	for _, policy := range []string{"stop", "continue"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			h := startHubs(t, "in:1:one", "out:1")
			config := h.writeConfig(t, strings.Replace(gapTask, "POLICY", policy, 1))
			data := h.args[2] + "/west"
			load := func(n int) {
				t.Helper()
				if err := (&sender{connection: h.west, hub: "in", keys: 10, perSecond: 100_000}).run(t, n); err != nil {
					t.Fatal(err)
				}
			}
			arrived := func(want int) {
				t.Helper()
				eventually(t, 3*time.Minute, "what is there arrives", func() bool {
					n, err := total(t, h.east, "out")
					return err == nil && n >= want
				})
				if n, err := total(t, h.east, "out"); err != nil || n != want {
					t.Errorf("%d events arrived, want %d (%v)", n, want, err)
				}
			}
			load(300)
			h.stop()
			backup := t.TempDir()
			if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
				t.Fatal(err)
			}
			h.start(t)
			load(200)
			x := startRun(t, config)
			arrived(500)
			x.stop()
			h.stop()
			if err := os.RemoveAll(data); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(data, os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
			h.start(t)
			x = startRun(t, config)
			if policy == "stop" {
				eventually(t, 3*time.Minute, "the task fails", func() bool { return x.status("t").State == "failed" })
				if s := x.status("t"); !strings.Contains(s.Error, "events 300 to 499 are missing") || !strings.Contains(s.Error, "not the one it was") {
					t.Errorf("the verdict is %q", s.Error)
				}
				arrived(500)
				x.stop()
				return
			}
			arrived(800)
			eventually(t, 3*time.Minute, "the new beginning is saved", func() bool { s := x.status("t"); return s.State == "running" && s.Moved >= 300 })
			x.stop()
			load(400) // past the old checkpoint
			x = startRun(t, config)
			arrived(1200)
			x.stop()
		})
	}
}
