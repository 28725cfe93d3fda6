package amqp

import (
	"math/rand/v2"
	"testing"
)

// TestByteWindow plays a peer that sends messages of any size in frames, as far as the window
// allows, a user that takes some of what is there from time to time, and limits that change.
// What has come never exceeds the limits, and everything comes.
func TestByteWindow(t *testing.T) {
	const frame = 1000
	random := rand.New(rand.NewPCG(1, 2))
	for _, limit := range []int64{1, leastWindow, 300_000, 5_000_000} {
		w := NewByteWindow(frame)
		w.Limit(limit)
		var open, left, part, whole, largest int64 // what the peer may send, and what is here
		var waiting []int64
		for messages := 0; messages < 3000; {
			if left == 0 {
				left = 1 + random.Int64N(2*frame)
				if messages > 1000 && random.IntN(3) == 0 {
					left = 1 + random.Int64N(400_000)
				}
				largest = max(largest, left)
			}
			if open > 0 {
				n := min(left, frame)
				open, left, part = open-1, left-n, part+n
				if left == 0 {
					waiting = append(waiting, part)
					whole += part
					w.Came(1, part, 0)
					part = 0
					messages++
				} else {
					w.Came(1, 0, part)
				}
			}
			for len(waiting) > 0 && (open == 0 || random.IntN(20) == 0) {
				w.Done(waiting[0])
				whole -= waiting[0]
				waiting = waiting[1:]
				if random.IntN(4) == 0 {
					break
				}
			}
			due := w.Due()
			if open == 0 && len(waiting) == 0 && !due {
				t.Fatalf("limit %d: nothing can come, and nobody is told: %+v", limit, w)
			}
			if due || random.IntN(50) == 0 {
				open = int64(w.Open())
			}
			if held, most := whole+part+open*frame, max(limit, largest+leastWindow+frame); held > most {
				t.Fatalf("limit %d: %d bytes are here or may come, more than %d: %+v", limit, held, most, w)
			}
		}
	}
}
