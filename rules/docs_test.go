package rules

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	guarantees   = "docs/guarantees.md"
	dependencies = "docs/dependencies.md"
)

var (
	cited   = regexp.MustCompile(`\b(INV|G)-\d+\b`)
	defined = regexp.MustCompile(`(?m)^#+ ((?:INV|G)-\d+)\b`)
)

func TestCitedRulesExist(t *testing.T) {
	rules := map[string]bool{}
	for _, m := range defined.FindAllStringSubmatch(read(t, guarantees), -1) {
		if rules[m[1]] {
			t.Errorf("%s defines %s twice", guarantees, m[1])
		}
		rules[m[1]] = true
	}
	byCode, byTest := map[string]bool{}, map[string]bool{}
	for name, text := range texts(t, ".go", ".md") {
		for n, line := range strings.Split(text, "\n") {
			for _, rule := range cited.FindAllString(line, -1) {
				switch {
				case !rules[rule]:
					t.Errorf("%s:%d cites %s, which %s does not define: the reader who looks it up finds nothing", name, n+1, rule, guarantees)
				case strings.HasSuffix(name, "_test.go"):
					byTest[rule] = true
				case path.Ext(name) == ".go" && strings.Contains(name, "/"): // the contract tells, others do
					byCode[rule] = true
				}
			}
		}
	}
	for rule := range rules {
		if strings.HasPrefix(rule, "INV-") && !byCode[rule] {
			t.Errorf("no code cites %s: a promise that no code upholds is a wish", rule)
		}
		if strings.HasPrefix(rule, "INV-") && !byTest[rule] {
			t.Errorf("no test cites %s: a promise that no test proves is a hope", rule)
		}
	}
}

func TestDependenciesAreExplained(t *testing.T) {
	explained := read(t, dependencies)
	required := regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)$`) // a line without "// indirect"
	for _, m := range required.FindAllStringSubmatch(read(t, "go.mod"), -1) {
		row := regexp.MustCompile(`(?m)^\| ` + "`?" + regexp.QuoteMeta(m[1]) + "`?" + ` \|.*$`).FindString(explained)
		switch {
		case row == "":
			t.Errorf("%s does not name %s: say what it is for and why this one, or do without it", dependencies, m[1])
		case !strings.Contains(row, m[2]+" "):
			t.Errorf("%s names another version of %s than go.mod, which has %s", dependencies, m[1], m[2])
		}
	}
	modFile := read(t, "go.mod")
	for _, m := range regexp.MustCompile("(?m)^\\| `?([a-z0-9.-]+\\.[a-z]+/[^` ]+)`? \\|").FindAllStringSubmatch(explained, -1) {
		if !strings.Contains(modFile, m[1]+" v") {
			t.Errorf("%s explains %s, which go.mod does not need: remove the line", dependencies, m[1])
		}
	}
}

// code returns what a document shows as code: fenced blocks and `spans`.
func code(text string) []string {
	var list []string
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "```"):
			fenced = !fenced
		case fenced:
			list = append(list, line)
		default:
			for i, span := range strings.Split(line, "`") {
				if i%2 == 1 {
					list = append(list, span)
				}
			}
		}
	}
	return list
}

func TestDocumentedTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		targets[m[1]] = true
	}
	call := regexp.MustCompile(`^\$? *make ([a-z-]+)`)
	for name, text := range texts(t, ".md") {
		for _, c := range code(text) {
			if m := call.FindStringSubmatch(c); m != nil && !targets[m[1]] {
				t.Errorf("%s says `make %s`, and the Makefile has no such target", name, m[1])
			}
		}
	}
}

// What the command line offers is read from its source: the names in cobra's Use and the flags that are declared.
func TestDocumentedCommandsExist(t *testing.T) {
	commands, flags := map[string]bool{"help": true, "completion": true}, map[string]bool{"help": true}
	use := regexp.MustCompile(`\bUse:\s+"([a-z]+)`)
	flag := regexp.MustCompile(`(?i:flags)(?:\(\))?\.\w+\((?:&?[\w.]+, )?"([a-z-]+)"`)
	for name, text := range texts(t, ".go") {
		if path.Dir(name) != "cli" {
			continue
		}
		for _, m := range use.FindAllStringSubmatch(text, -1) {
			commands[m[1]] = true
		}
		for _, m := range flag.FindAllStringSubmatch(text, -1) {
			flags[m[1]] = true
		}
	}
	call := regexp.MustCompile(`(?:^|[/$] ?)hubferry ([a-z]+)(.*)`)
	option := regexp.MustCompile(`\s--([a-z-]+)`)
	for name, text := range texts(t, ".md") {
		for _, c := range code(text) {
			m := call.FindStringSubmatch(c)
			if m == nil {
				continue
			}
			if !commands[m[1]] {
				t.Errorf("%s shows `hubferry %s`, and the program has no such command", name, m[1])
			}
			command, _, _ := strings.Cut(m[2], "#")
			for _, o := range option.FindAllStringSubmatch(command, -1) {
				if !flags[o[1]] {
					t.Errorf("%s shows `hubferry %s --%s`, and no command has such a flag", name, m[1], o[1])
				}
			}
		}
	}
}

// A path in a document is a promise that the reader finds something there.
func TestDocumentedPathsExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(?:#[^)]*)?\)`)
	file := regexp.MustCompile(`^[a-z][\w./-]*/[\w.-]*\.(go|md|sh|py|js|java|json|yaml|yml|mod|txtar)$|^[a-z][\w./-]*/$`)
	for name, text := range texts(t, ".md") {
		if strings.Contains(name, "testdata/") {
			continue
		}
		var paths []string
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			paths = append(paths, path.Join(path.Dir(name), m[1]))
		}
		if strings.HasPrefix(name, "docs/") || !strings.Contains(name, "/") {
			for _, c := range code(text) {
				if file.MatchString(c) {
					paths = append(paths, c)
				}
			}
		}
		for _, p := range paths {
			if _, err := os.Stat(filepath.Join(root, p)); err != nil {
				t.Errorf("%s names %s, and there is no such file", name, p)
			}
		}
	}
}

func TestDriversHaveTheSameHeadings(t *testing.T) {
	want := []string{"Configuration", "Mapping", "Delivery", "Ordering", "Limits", "Not supported"}
	heading := regexp.MustCompile(`(?m)^// # (.+)$`)
	for name, text := range texts(t, "doc.go", ".go") {
		if dir := path.Dir(name); path.Dir(dir) != "driver" || path.Base(dir) == "all" || path.Base(name) != "doc.go" {
			continue
		}
		var got []string
		for _, m := range heading.FindAllStringSubmatch(text, -1) {
			if slices.Contains(want, m[1]) {
				got = append(got, m[1])
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the headings %q, want %q: who knows one driver's page knows them all", name, got, want)
		}
	}
}
