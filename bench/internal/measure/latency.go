package measure

import (
	"slices"
	"time"
)

// Latencies are how long single events took.
type Latencies []time.Duration

// Quantile returns the latency that a share q of the events did not exceed; 0 without
// events. It sorts the latencies.
func (l Latencies) Quantile(q float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(int(q*float64(len(l))), len(l)-1)]
}
