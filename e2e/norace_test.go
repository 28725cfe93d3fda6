//go:build !race

package e2e

// raceEnabled makes the program under test look for races when the tests do.
const raceEnabled = false
