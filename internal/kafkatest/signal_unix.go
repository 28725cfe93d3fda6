//go:build unix

package kafkatest

import "syscall"

// What Pause and Resume send.
const (
	pause  = syscall.SIGSTOP
	resume = syscall.SIGCONT
)

// alone puts a process into a group of its own.
func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
