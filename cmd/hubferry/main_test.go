package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/config"
)

var update = flag.Bool("update", false, "rewrite the JSON Schema and the reference")

const behind = "is behind the options in the code; run: go test ./cmd/hubferry -update"

// TestSchema keeps the JSON Schema that editors load in step with the options of the
// drivers, stores and editors that the program is linked with.
func TestSchema(t *testing.T) {
	const name = "../../schema/hubferry.schema.json"
	reg := options().FullRegistry()
	compare(t, name, func(string) string { return string(config.Schema(&reg)) })
}

// The reference stands in docs/configuration.md between these lines.
const (
	begin = "<!-- The rest is generated from the code: go test ./cmd/hubferry -update -->\n"
	name  = "../../docs/configuration.md"
)

// TestReference keeps the tables of every key in step with the code.
func TestReference(t *testing.T) {
	reg := options().FullRegistry()
	compare(t, name, func(old string) string {
		intro, _, ok := strings.Cut(old, begin)
		if !ok {
			t.Fatalf("%s has lost the line %q", name, begin)
		}
		return intro + begin + "\n" + config.Reference(&reg)
	})
}

// TestDescriptions checks that every key says what it means.
func TestDescriptions(t *testing.T) {
	reg := options().FullRegistry()
	for _, key := range config.Undocumented(&reg) {
		t.Errorf("%s has no jsonschema_description", key)
	}
}

// TestExample loads the example of the documentation.
func TestExample(t *testing.T) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	reg := options().FullRegistry()
	app, err := config.Load(config.Input{
		File:     "hubferry.yaml",
		ReadFile: func(string) ([]byte, error) { return []byte(example), nil },
		Lookup: func(variable string) (string, bool) {
			return "Endpoint=sb://west.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=a2V5", variable == "WEST_CONNECTION"
		},
	}, &reg)
	if err != nil {
		t.Fatal(err)
	}
	if len(app.Tasks) != 3 || len(app.Warnings) > 0 {
		t.Errorf("%d tasks, %v", len(app.Tasks), app.Warnings)
	}
}

// compare compares a file with what it should be, or rewrites it.
func compare(t *testing.T, name string, want func(old string) string) {
	t.Helper()
	old, err := os.ReadFile(name)
	if err != nil && !*update {
		t.Fatal(err)
	}
	text := want(string(old))
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(old), text); diff != "" {
		t.Errorf("%s %s (-there +wanted)\n%s", name, behind, diff)
	}
}
