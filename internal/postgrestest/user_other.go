//go:build !unix

package postgrestest

import "os/exec"

func give(string) error { return nil }

func demote(*exec.Cmd) {}

func interrupt(c *exec.Cmd) { _ = c.Process.Kill() }
