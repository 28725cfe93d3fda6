// Package edittest is the conformance suite of editors: what the contract of package
// hubferry asks of everything between source and target (G-11), as cases that every
// editor passes.
//
//	func TestConformance(t *testing.T) {
//		edittest.Run(t, edittest.Subject{New: func() (hubferry.Editor, error) { return newFilter(...) }})
//	}
//
// The suite does what the engine does: it passes drafts of any size through the editor,
// carries out what was marked, flushes, and accounts for every input. It finds out by
// itself whether the editor is a Flusher or a Resumer. What the editor is for is not its
// business; Subject.Check is.
//
// Time is real. An editor that flushes by time is best tested in a testing/synctest
// bubble, where the waits cost nothing.
package edittest
