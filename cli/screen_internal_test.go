package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestScreenFitsTheWindow(t *testing.T) {
	for name, c := range map[string]struct {
		width, height int
		want          []string
	}{
		"unknown": {0, 0, []string{"one", "twotwo", "three"}},
		"roomy":   {80, 24, []string{"one", "twotwo", "three"}},
		"narrow":  {4, 24, []string{"one", "twot", "thre"}},
		"low":     {80, 3, []string{"one", "... 2 more lines"}},
	} {
		s := &screen{size: func() (int, int) { return c.width, c.height }}
		if got := s.fit([]string{"one", "twotwo", "three"}); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestScreenKeepsLogLinesAboveTheBlock(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, true)
	s.show([]string{"block"})
	if _, err := s.Write([]byte("log\n")); err != nil {
		t.Fatal(err)
	}
	if want := "block\n\x1b[1A\r\x1b[Jlog\nblock\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	s.keep()
	out.Reset()
	if _, err := s.Write([]byte("the end\n")); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Errorf("a block that is kept was erased: %q", out.String())
	}
}
