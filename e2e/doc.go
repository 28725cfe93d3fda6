// Package e2e holds the tests that treat hubferry as its users do: the real program, in
// processes that are killed, against embedded hubs in processes of their own, with
// Microsoft's SDK on both sides. It has no code but tests.
package e2e
