package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// isTerminal reports whether a person looks at w, in a window that can be redrawn.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}
