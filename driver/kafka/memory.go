package kafka

import "golang.org/x/sync/semaphore"

// The budget of a connection (INV-6), Env.Budget, belongs to its sources or to its targets;
// when it has both, each gets a half. Half of the sources' share is for what is being
// fetched, half for the queues of the readers. Half of the targets' share is for batches, half
// for the requests that carry them.
const (
	defaultBudget     = 64 << 20
	minFetch          = 16 << 10
	maxFetch          = 16 << 20
	maxPartitionFetch = 1 << 20
	maxQueue          = maxPartitionFetch // what a client brings at once is enough to wait for the next
)

// share returns the part of the budget for the sources, or for the targets.
func (c *connection) share() int64 {
	budget := c.env.Budget
	if budget <= 0 {
		budget = defaultBudget
	}
	if c.reads.Load() && c.writes.Load() {
		budget /= 2
	}
	return budget
}

// memory bounds the bytes in batches that are not settled.
type memory struct {
	*semaphore.Weighted
	most int64
}

// batchMemory returns what the targets of the connection share. It is not asked for before
// something is written: by then it is known whether there are sources as well.
func (c *connection) batchMemory() *memory {
	c.batchesOnce.Do(func() {
		most := max(c.share()/2, gather)
		c.batches = &memory{semaphore.NewWeighted(most), most}
	})
	return c.batches
}

// fetchSlots returns how many fetches may be under way, or wait to be polled, at one time:
// one for each broker, which may keep it open for seconds when it has nothing, and one more.
func fetchSlots(brokers int) int { return min(max(brokers, 1), 31) + 1 }

// sizes returns how large a fetch may be, how much of one partition it may bring, and
// when the queue of a reader counts as full. Brokers count compressed bytes, so scale is
// how much larger records are in memory than what carried them. A broker sends a larger
// record all the same.
func sizes(share int64, pumps, readers, slots int, scale float64) (fetch, partition int32, queue int64) {
	half := share / 2 / int64(max(pumps, 1))
	each := max(half/int64(max(readers, 1)), 2*minFetch)
	fetch = int32(max(min(float64(half/int64(slots))/scale, maxFetch), minFetch))
	// Half of what a reader may have, so that the next half is fetched while this one is read.
	partition = int32(max(min(float64(each/2)/scale, float64(fetch), maxPartitionFetch), minFetch))
	return fetch, partition, min(each, maxQueue)
}
