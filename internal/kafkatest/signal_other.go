//go:build !unix

package kafkatest

import "syscall"

// There is nothing like it: sending them is an error.
const (
	pause  = syscall.Signal(0)
	resume = syscall.Signal(0)
)

func alone() *syscall.SysProcAttr { return nil }
