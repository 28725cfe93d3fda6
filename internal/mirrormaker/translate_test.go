package mirrormaker_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hubferry/hubferry/internal/mirrormaker"
)

var update = flag.Bool("update", false, "rewrite the wanted results in testdata/translate")

// TestTranslate runs the cases of testdata/translate: a configuration, and what becomes of
// it. A case without "hubferry.yaml" is refused.
func TestTranslate(t *testing.T) {
	files, err := filepath.Glob("testdata/translate/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := &txtar.Archive{Comment: archive.Comment, Files: archive.Files[:1]}
			add := func(name, text string) {
				got.Files = append(got.Files, txtar.File{Name: name, Data: []byte(text)})
			}
			if result, err := run(archive.Files[0].Name, string(archive.Files[0].Data)); err != nil {
				add("error", err.Error()+"\n")
			} else {
				add("hubferry.yaml", string(result.YAML))
				add("findings", findings(result))
				add("flows", flows(result))
			}
			text := txtar.Format(got)
			if strings.Count(string(text), "hunter2") != strings.Count(string(archive.Files[0].Data), "hunter2") {
				t.Error("a secret of the input stands in the output") // INV-8
			}
			if *update {
				if err := os.WriteFile(name, text, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(string(txtar.Format(archive)), string(text)); d != "" {
				t.Errorf("wanted (-) and got (+):\n%s", d)
			}
		})
	}
}

func run(name, text string) (*mirrormaker.Translation, error) {
	list, err := mirrormaker.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	return mirrormaker.Translate(name, list)
}

func findings(result *mirrormaker.Translation) string {
	var b strings.Builder
	for _, f := range result.Findings {
		fmt.Fprintf(&b, "%d %s: %s: %s\n", f.Line, f.Key, f.Verdict, f.Text)
	}
	return b.String()
}

func flows(result *mirrormaker.Translation) string {
	var b strings.Builder
	for _, f := range result.Flows {
		fmt.Fprintf(&b, "%s (%s) -> %s (%s): %s, %s, %q\n", f.Source, f.SourceConnection, f.Target, f.TargetConnection, f.OffsetsTopic, f.Connector, f.Group)
	}
	return b.String()
}

// TestKnownKeys holds the table against all keys that Kafka's own code defines, with the
// prefixes that they can have.
func TestKnownKeys(t *testing.T) {
	data, err := os.ReadFile("testdata/keys-3.9.1.tsv")
	if err != nil {
		t.Fatal(err)
	}
	prefixes := map[string][]string{
		"top":      {""},
		"flow":     {"", "A->B."},
		"cluster":  {"", "A.", "B."},
		"worker":   {"", "B.", "A->B."},
		"consumer": {"consumer.", "A.consumer.", "A->B.consumer.", "A->B.source.consumer."},
		"producer": {"producer.", "B.producer.", "A->B.producer.override.", "A->B.producer."},
		"admin":    {"admin.", "A.admin.", "A->B.admin.", "A->B.target.admin."},
	}
	n := 0
	for line := range strings.Lines(string(data)) {
		key, roles, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for role := range strings.SplitSeq(roles, ",") {
			for _, p := range prefixes[role] {
				n++
				text := "clusters = A, B\nA->B.enabled = true\nA->B.topics = t\n" + p + key + " = A, B\nA->B.enabled = true\n"
				result, err := run("mm2.properties", text)
				if err != nil {
					t.Errorf("%s%s: %v", p, key, err)
					continue
				}
				for _, f := range result.Findings {
					if f.Key == p+key && (f.Verdict == mirrormaker.Unknown && strings.HasPrefix(f.Text, "this is no setting") || f.Verdict > mirrormaker.Needless && f.Text == "") {
						t.Errorf("%s%s: %s: %q", p, key, f.Verdict, f.Text)
					}
				}
			}
		}
	}
	if n < 1000 {
		t.Errorf("%d keys looked up: the list is not whole", n)
	}
}

func FuzzTranslate(f *testing.F) {
	for _, name := range []string{"dedicated", "connector"} {
		archive, err := txtar.ParseFile("testdata/translate/" + name + ".txtar")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(archive.Files[0].Data))
	}
	f.Add("a\\\n b = \\u0041\\\\\n!x\n#y\nz:1\nw 2")
	f.Add(`{"name":"x","config":{"connector.class":"MirrorSourceConnector","source.cluster.alias":"a"}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if result, err := run("x", text); err == nil && len(result.Flows) == 0 {
			t.Error("neither a flow nor an error")
		}
	})
}
