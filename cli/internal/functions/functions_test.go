package functions_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hubferry/hubferry/cli/internal/functions"
)

var update = flag.Bool("update", false, "rewrite the wanted results in testdata")

// TestTranslate translates the apps of testdata. Each archive holds the files of an app, and
// the wanted configuration and report.
func TestTranslate(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no apps: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := translate(t, archive)
			kept := archive.Files[:0:0]
			for _, f := range archive.Files {
				if want, isWanted := got[f.Name]; !isWanted {
					kept = append(kept, f)
				} else if diff := cmp.Diff(string(f.Data), want); diff != "" && !*update {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
			}
			if *update {
				for _, name := range []string{"want.yaml", "want.txt"} {
					kept = append(kept, txtar.File{Name: name, Data: []byte(got[name])})
				}
				archive.Files = kept
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func translate(t *testing.T, archive *txtar.Archive) map[string]string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "app")
	for _, f := range archive.Files {
		if strings.HasPrefix(f.Name, "want.") {
			continue
		}
		path := filepath.Join(root, f.Name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app, err := functions.Read(root)
	if err != nil {
		return map[string]string{"want.yaml": "", "want.txt": strings.ReplaceAll(err.Error(), root, "APP") + "\n"}
	}
	result, err := functions.Translate(app)
	if err != nil {
		t.Fatal(err)
	}
	if secret := "SECRET"; strings.Contains(string(result.YAML), secret) {
		t.Errorf("a secret is in the configuration:\n%s", result.YAML)
	}
	var report strings.Builder
	for _, x := range result.Findings {
		if strings.Contains(x.Text, "SECRET") {
			t.Errorf("a secret is in the report: %s", x.Text)
		}
		mark := "  "
		if x.Lost {
			mark = "! "
		}
		report.WriteString(mark + x.Function + ": " + x.Key + ": " + x.Text + "\n")
	}
	return map[string]string{"want.yaml": string(result.YAML), "want.txt": report.String()}
}
