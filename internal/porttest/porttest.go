// Package porttest chooses ports for servers of tests that are started later, by another process, or again at the same
// address.
package porttest

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// Ports from first on are handed out, block of them to a process.
//
// A kernel that is asked for any port gives one of 32768 and above (Linux) or 49152 and above (macOS), to a listener or
// to a connection. What it gave and was closed again may be somebody else's by the time that the server starts; what is
// below it never gives away.
const (
	first  = 10_000
	block  = 200
	blocks = 100
)

// next counts what this process has asked for. Tests in parallel must not get the same port, though nobody listens on
// it yet.
var next atomic.Uint32

// Free returns a port of 127.0.0.1 that nobody listens on. It stays free for who asked: this process gets another port
// the next time, and processes with numbers close to its own get others.
func Free() (int, error) {
	start := first + os.Getpid()%blocks*block
	for range block {
		port := start + int(next.Add(1)%block)
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port)) //nolint:noctx // it does not wait
		if err != nil {
			continue // somebody has it
		}
		if err := l.Close(); err != nil {
			return 0, err
		}
		return port, nil
	}
	return 0, errors.New("no port for a server of a test is free")
}
