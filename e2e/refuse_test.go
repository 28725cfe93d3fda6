package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRefusals gives bad input and looks at what a person sees: the exit code and the
// text.
func TestRefusals(t *testing.T) {
	h := startHubs(t, "load:2:hubferry")
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	config := func(name, connection, source, group, target string) []string {
		return []string{"run", "--config", write(name, fmt.Sprintf(`version: 1
connections:
  west: { eventhubs: { connectionString: "%s" } }
  east: { eventhubs: { connectionString: "%s" } }
tasks:
  load: { source: { hub: west/%s, consumerGroup: %s }, target: east/%s }
`, connection, h.east, source, group, target))}
	}
	wrongKey := strings.Replace(h.west, "SAS_KEY_VALUE", "some-other-key-0123456789", 1)
	for name, c := range map[string]struct {
		args []string
		code int
		want []string
	}{
		"mistakes": {
			[]string{"run", "--config", write("mistakes.yaml", "version: 1\nconections: {}\ntasks:\n  a: { sorce: west/x, target: 7 }\n")},
			2,
			[]string{`mistakes.yaml:2:1`, `"connections"`, `mistakes.yaml:4:`, `"source"`},
		},
		"no file":        {[]string{"run", "--config", filepath.Join(dir, "none.yaml")}, 2, []string{"none.yaml"}},
		"wrong key":      {config("key.yaml", wrongKey, "load", "hubferry", "load"), 1, []string{"load", "signature"}},
		"no such hub":    {config("hub.yaml", h.west, "nohub", "hubferry", "load"), 1, []string{"nohub", "could not be found"}},
		"no such target": {config("target.yaml", h.west, "load", "hubferry", "nohub"), 1, []string{"east/nohub", "could not be found"}},
		"unknown flag":   {[]string{"run", "--sped"}, 2, []string{"--sped"}},
		"held folder":    {append(append([]string{}, h.args[:3]...), "--namespace", "west="+freePort(t)), 1, []string{h.args[2], "in use by process"}},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), program, c.args...)
			done := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
			defer done.Stop()
			out, err := cmd.CombinedOutput()
			code := 0
			if x, ok := errors.AsType[*exec.ExitError](err); ok {
				code = x.ExitCode()
			}
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the text does not say %q", want)
				}
			}
			for _, secret := range []string{"SAS_KEY_VALUE", "some-other-key"} {
				if strings.Contains(string(out), secret) {
					t.Errorf("INV-8: the text shows a key")
				}
			}
			if t.Failed() {
				t.Logf("%s", out)
			}
		})
	}
}
