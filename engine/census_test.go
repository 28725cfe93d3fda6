package engine_test

import (
	"testing"
	"time"

	"github.com/hubferry/hubferry/driver/mem"
)

// Many partitions that start, and that lose their connection, do not each ask the source
// about all of them.
func TestManyPartitionsAskTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const partitions = 300
		r := newRig(t, partitions, 4)
		r.source.Fail(mem.Fault{Op: mem.OpPartitions, Partition: mem.AllPartitions, Times: -1, Delay: 50 * time.Millisecond})
		r.produce(1000, 500)
		x := r.start()
		x.settled(1000)
		started := r.source.Count(mem.OpPartitions)
		r.source.Cut(mem.AllPartitions)
		time.Sleep(time.Minute)
		cut := r.source.Count(mem.OpPartitions) - started
		x.finish()
		r.exact(1000)
		if started > 20 || cut > 20 {
			t.Errorf("%d questions at the start and %d after a cut, for %d partitions", started, cut, partitions)
		}
	})
}
