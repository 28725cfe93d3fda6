package demo_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/hubferry/hubferry/demo"
)

// A replicating process that ends by itself is told, with its log; nobody waits for it.
func TestRunTellsThatTheProcessEnded(t *testing.T) {
	program, err := exec.LookPath("false")
	if err != nil {
		t.Skip("there is no program \"false\" here")
	}
	_, err = demo.Run(t.Context(), demo.Options{Program: program, Dir: t.TempDir(), Say: func(string) {}})
	if err == nil {
		t.Fatal("the demo went well without a replicating process")
	}
	for _, want := range []string{"ended by itself: exit status 1", "run.log"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
