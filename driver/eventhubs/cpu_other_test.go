//go:build !unix

package eventhubs

import (
	"testing"
	"time"
)

// cpuTime is not known here; benchmarks show none.
func cpuTime(*testing.B) time.Duration { return 0 }
