// Package leaktest looks for goroutines that a package's tests have left behind, and gives them the time to end that a
// busy machine takes.
package leaktest

import (
	"fmt"
	"os"
	"time"
)

// patience is how long goroutines may take to end after the last test. It passes only where one never does.
const patience = time.Minute

// Main runs the tests of a package and returns the exit code. When they have passed it calls find, such as goleak.Find,
// until that finds nothing any more, or nothing has changed for the better within a minute:
//
//	func TestMain(m *testing.M) {
//		os.Exit(leaktest.Main(m, func() error { return goleak.Find() }))
//	}
func Main(m interface{ Run() int }, find func() error) int {
	if code := m.Run(); code != 0 {
		return code
	}
	for end := time.Now().Add(patience); ; {
		err := find() // it takes its time when there is something
		switch {
		case err == nil:
			return 0
		case time.Now().After(end):
			fmt.Fprintln(os.Stderr, "leaktest:", err)
			return 1
		}
	}
}
