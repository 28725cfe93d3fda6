package porttest_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/hubferry/hubferry/internal/porttest"
)

// What was handed out is not handed out again, whether somebody listens on it or not yet; and the kernel does not give
// it to anybody.
func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for i := range 50 {
		port, err := porttest.Free()
		if err != nil {
			t.Fatal(err)
		}
		if seen[port] {
			t.Fatalf("port %d twice", port)
		}
		seen[port] = true
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			t.Fatalf("port %d, number %d, is not free: %v", port, i, err)
		}
		t.Cleanup(func() { _ = l.Close() })
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = other.Close() })
		seen[other.Addr().(*net.TCPAddr).Port] = true
	}
}
