//go:build !linux

package sqlite

// networkFS knows no network file systems on this platform.
func networkFS(string) string { return "" }
