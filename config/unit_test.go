package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNearest(t *testing.T) {
	known := []string{"consumerGroup", "namespace", "connectionString", "tls", "target", "targets", "username"}
	for _, c := range []struct{ name, want string }{
		{"consumergroup", "consumerGroup"},
		{"consumer-group", "consumerGroup"},
		{"cosnumerGroup", "consumerGroup"},
		{"namespaces", "namespace"},
		{"tsl", "tls"},
		{"tlss", "tls"},
		{"targt", "target"},
		{"TARGETS", "targets"},
		{"user", "username"},
		{"us", ""},
		{"x", ""},
		{"", ""},
		{"completely-different", ""},
		{strings.Repeat("x", 5000), ""},
	} {
		got, ok := nearest(c.name, known)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("nearest(%.30q) = %q, %t; want %q", c.name, got, ok, c.want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"a", "", 1},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"kitten", "sitting", 3},
		{"ab", "ba", 1},
		{"abcd", "badc", 2},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestSize(t *testing.T) {
	for _, c := range []struct {
		text string
		want Size
	}{
		{"0", 0},
		{"1", 1},
		{"64MiB", 64 << 20},
		{"64 MiB", 64 << 20},
		{"1024KiB", 1 << 20},
		{"1kB", 1000},
		{"7B", 7},
		{"2TiB", 2 << 40},
	} {
		var s Size
		if err := s.UnmarshalText([]byte(c.text)); err != nil || s != c.want {
			t.Errorf("%q is %d (%v), want %d", c.text, s, err, c.want)
		}
		var again Size
		if err := again.UnmarshalText([]byte(s.String())); err != nil || again != s {
			t.Errorf("%q comes back from %q as %d (%v)", c.text, s, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "1.5GiB", "1PiB", "9999999999TiB", "1e3", "0x10", "many"} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken for %d bytes", text, s)
		}
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"west/telemetry":        {Connection: "west", Entity: "telemetry"},
		"west/telemetry/3":      {Connection: "west", Entity: "telemetry", Partition: "3"},
		"west/telemetry/3@1841": {Connection: "west", Entity: "telemetry", Partition: "3", Sequence: 1841, HasSequence: true},
		"w/a%2Fb%25%40/x":       {Connection: "w", Entity: "a/b%@", Partition: "x"},
		"w/a b":                 {Connection: "w", Entity: "a b"},
	} {
		got, err := ParseAddress(text)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", text, err, diff)
		}
		if got.String() != text {
			t.Errorf("%s comes back as %s", text, got)
		}
	}
	for _, text := range []string{"", "west", "/", "west/", "/x", "a/b/c/d", "a/b@1", "a/b/c@", "a/b/c@-1", "a/b/c@1@2", "a/%zz", "a/%"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q was taken for %+v", text, a)
		}
	}
}

// TestLimits feeds files that are no configurations, which must be refused before they
// cost anything. Without the limits the parser works for minutes on some of them.
func TestLimits(t *testing.T) {
	numbered := func(format string, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for _, c := range []struct{ name, text, want string }{
		{"bytes", "version: 1\n" + strings.Repeat("# comment\n", 120_000), "the file has more than 1048576 bytes"},
		{"map", "version: 1\n" + numbered("k%d: 1\n", 5000), "more than 4000 keys in one map"},
		{"map of nothing", strings.Repeat("a:\n", 5000), "more than 4000 keys in one map"},
		{"complex keys", strings.Repeat("? a\n", 5000), "more than 4000 keys in one map"},
		{"inner maps", "version: 1\ntasks:\n" + numbered("  t%d:\n    source: west/a\n    target: east/b\n", 5000), "more than 4000 keys in one map"},
		{"all keys", "version: 1\nx-a:\n" + numbered("- { a: %d, b: 2, c: 3, d: 4 }\n", 10_100), "the file has more than 40000 keys"},
		{"values", "version: 1\nx-a: [" + strings.Repeat("1, ", 201_000) + "1]\n", "the file has more than 200000 values"},
		{"lists", strings.Repeat("[", 5000), "more than 64 lists and maps"},
		{"maps", strings.Repeat("{a: ", 5000), "more than 64 lists and maps"},
		{"dashes", strings.Repeat("- ", 5000), "more than 64 lists and maps"},
		{"questions", strings.Repeat("? ", 5000), "more than 64 lists and maps"},
		{"anchors", strings.Repeat("&a ", 5000), "more than 64 lists and maps"},
		{"indentation", deep(100), "more than 64 lists and maps"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := report{file: "f"}
			if n := parse([]byte(c.text), &r); n != nil && len(r.problems) == 0 {
				t.Fatal("the file was read")
			}
			if len(r.problems) == 0 || !strings.Contains(r.problems[0].Message, c.want) {
				t.Errorf("got %.300s, want %q", r.problems.Error(), c.want)
			}
		})
	}
	// A file that a machine wrote, and that is large for a good reason.
	large := "version: 1\ntasks:\n" + numbered("  t%d:\n    source: { hub: west/a, consumerGroup: g }\n    target: east/b\n", 1000)
	r := report{file: "f"}
	if n := parse([]byte(large), &r); n == nil || len(n.get("tasks").entries) != 1000 {
		t.Errorf("a large file was not read: %.300s", r.problems.Error())
	}
}

func deep(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}
