package rules

import (
	"regexp"
	"strings"
	"testing"
)

// written are the kinds of files that people write.
var written = []string{
	".go", ".md", ".sh", ".py", ".js", ".java", ".xml", ".json", ".yml", ".yaml", ".toml", ".txt", ".txtar", ".mod",
	"Makefile", ".ci/run", ".gitignore",
}

// The patterns are cut in two, so that this file does not hold what it looks for.
var unwanted = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{
		regexp.MustCompile(`(?i)` + strings.Join([]string{
			`registry\.` + `npmjs\.org`, `(proxy|sum)\.` + `golang\.org`, `\bpypi\.` + `org`, `files\.` + `pythonhosted\.org`,
			`repo1?\.maven\.` + `(apache\.)?org`, `deb\.` + `debian\.org`, `index\.` + `crates\.io`,
		}, "|")),
		"a registry's address is a setting of the machine: committed, it breaks every machine behind a mirror",
	},
	{
		regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])/` + `(root|home/[a-z]+|Users/[A-Za-z]+|work)/`),
		"a path of one machine does not exist on the next",
	},
	{
		regexp.MustCompile(`-----BEGIN [A-Z ]*PRIVATE ` + `KEY-----`),
		"a key in the repository is everybody's: tests make their own",
	},
}

func TestNothingOfOneMachine(t *testing.T) {
	for name, text := range texts(t, written...) {
		for n, line := range strings.Split(text, "\n") {
			for _, u := range unwanted {
				if found := u.pattern.FindString(line); found != "" {
					t.Errorf("%s:%d has %q: %s", name, n+1, found, u.why)
				}
			}
		}
	}
}

func TestNothingLeftToDo(t *testing.T) {
	mark := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b`)
	for name, text := range texts(t, ".go", ".md", ".sh", ".py", ".js", ".java", "Makefile") {
		for n, line := range strings.Split(text, "\n") {
			if found := mark.FindString(line); found != "" && !strings.Contains(line, "context."+found) {
				t.Errorf("%s:%d has %s: do it, or leave it out and say so where a user looks", name, n+1, found)
			}
		}
	}
}

func TestOrdinaryText(t *testing.T) {
	for name, text := range texts(t, written...) {
		if strings.Contains(name, "testdata/") {
			continue
		}
		if strings.Contains(text, "\r") {
			t.Errorf("%s has carriage returns: lines end with a line feed here, or every diff shows the whole file", name)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			t.Errorf("%s does not end with a line feed: the next line that is added changes two", name)
		}
	}
}
