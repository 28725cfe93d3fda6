package mirrormaker_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/mirrormaker"
)

// What java.util.Properties.load makes of the same text.
func TestParse(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       []mirrormaker.Property
	}{
		{"separators", "a=1\nb : 2\nc 3\nd\n = 4\ne\t=\t5", []mirrormaker.Property{{1, "a", "1"}, {2, "b", "2"}, {3, "c", "3"}, {4, "d", ""}, {5, "", "4"}, {6, "e", "5"}}},
		{"comments", "# x=1\n  ! y=2\nz=#3", []mirrormaker.Property{{3, "z", "#3"}}},
		{"continued", "a = 1,\\\n   2,\\\n\t3\nb=4", []mirrormaker.Property{{1, "a", "1,2,3"}, {4, "b", "4"}}},
		{"not continued", "a = x\\\\\nb=1", []mirrormaker.Property{{1, "a", `x\`}, {2, "b", "1"}}},
		{"comment after continuation", "a = 1\\\n# 2\nb=3", []mirrormaker.Property{{1, "a", "1# 2"}, {3, "b", "3"}}},
		{"continued at the end", "a = 1\\", []mirrormaker.Property{{1, "a", "1"}}},
		{"escapes", `a\=b\ c = \t\u0041\z`, []mirrormaker.Property{{1, "a=b c", "\tAz"}}},
		{"arrow", "A->B.topics = .*", []mirrormaker.Property{{1, "A->B.topics", ".*"}}},
		{"windows", "a=1\r\nb=2\r\n", []mirrormaker.Property{{1, "a", "1"}, {2, "b", "2"}}},
		{"twice", "a=1\nb=2\na=3", []mirrormaker.Property{{2, "b", "2"}, {3, "a", "3"}}},
		{"latin 1", "a = \xe9", []mirrormaker.Property{{1, "a", "é"}}},
		{"value keeps separators", "a = b=c:d e", []mirrormaker.Property{{1, "a", "b=c:d e"}}},
		{"json", "{\n \"name\": \"m\",\n \"config\": {\n  \"tasks.max\": 2,\n  \"x\": null,\n  \"enabled\": true\n }\n}", []mirrormaker.Property{{2, "name", "m"}, {4, "tasks.max", "2"}, {6, "enabled", "true"}}},
		{"json map alone", "{\"a\": \"1\"}", []mirrormaker.Property{{1, "a", "1"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := mirrormaker.Parse(strings.NewReader(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	for _, text := range []string{`a = \u12`, `a = \uzzzz`, `{"a": {}}`, `{"a": 1`, `{"config": 1}`, `{"name": 1, "config": {}}`, strings.Repeat("x", 5<<20)} {
		if got, err := mirrormaker.Parse(strings.NewReader(text)); err == nil {
			t.Errorf("%.20s: no error, but %v", text, got)
		}
	}
}
