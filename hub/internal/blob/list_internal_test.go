package blob

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A list by pages is the same as one that is made the simple way.
func FuzzList(f *testing.F) {
	f.Add("a b/1 b/2 b/c/3 b0 bb c/ d", "b", "/", uint8(2))
	f.Add("//a /// / a//b", "/", "//", uint8(1))
	f.Add("ä äö ö", "ä", "", uint8(0))
	f.Fuzz(func(t *testing.T, text, prefix, delimiter string, most uint8) {
		s := newStore(time.Now, 1<<30)
		if _, err := s.createContainer(t.Context(), "things", nil); err != nil {
			t.Fatal(err)
		}
		names := strings.Fields(text)
		for _, name := range names {
			if _, err := s.putBlob(t.Context(), "things", blob{name: name}, conditions{}, true); err != nil {
				t.Fatal(err)
			}
		}
		l := listing{prefix: prefix, delimiter: delimiter, most: int(most) + 1}
		var got []string
		for {
			page, next, err := s.list("things", l)
			if err != nil || len(page) > l.most || next != "" && len(page) < l.most {
				t.Fatalf("a page of %d with %d more: %v", len(page), len(next), err)
			}
			for _, e := range page {
				got = append(got, e.name)
			}
			if next == "" {
				break
			}
			l.from = next
		}
		var want []string
		for _, name := range names {
			if rest, ok := strings.CutPrefix(name, prefix); ok {
				if before, _, shared := strings.Cut(rest, delimiter); shared && delimiter != "" {
					name = prefix + before + delimiter
				}
				want = append(want, name)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		if !slices.Equal(got, want) {
			t.Errorf("listed %q, want %q", got, want)
		}
	})
}
