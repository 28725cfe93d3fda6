package mirrormaker

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

var updateDoc = flag.Bool("update-doc", false, "rewrite the table in docs/mirrormaker.md")

// TestDocumentedKeys holds docs/mirrormaker.md against the table of keys.
func TestDocumentedKeys(t *testing.T) {
	const file, mark = "../../docs/mirrormaker.md", "<!-- The rest is generated from the code: go test ./internal/mirrormaker -run TestDocumentedKeys -update-doc -->\n"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), mark)
	if !found {
		t.Fatalf("%s has lost its mark", file)
	}
	var b strings.Builder
	b.WriteString(before + mark + "\n| setting | | what becomes of it |\n|---|---|---|\n")
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		r := keys[key]
		what := r.text
		if what == "" {
			what = "as its value says; the report tells where it went"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, r.verdict, what)
	}
	if *updateDoc {
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if b.String() != string(text) {
		t.Errorf("%s is behind the table of keys: run this test with -update-doc", file)
	}
}
