package eventhubs

// credit decides how many events the service may send ahead: as many as the prefetch
// says, or fewer so that they fit a share of the memory budget (INV-6). How large the
// next events are is not known; it takes them to be like the largest of late, and
// begins carefully.
type credit struct {
	prefetch    int64
	outstanding int64 // issued and not received yet
	size        int64 // expected size of an event
}

const (
	// firstSize is what an event is taken to be before one was seen.
	firstSize = 128 << 10
	// eventCost is what an event costs in memory beside its bytes, while it waits.
	eventCost = 1 << 10
	// forget is how fast a large event is forgotten: by a 16th with each that follows.
	forget = 16
)

func (c *credit) init(prefetch int) { c.prefetch, c.size = int64(prefetch), firstSize }

// received accounts for an event.
func (c *credit) received(bytes int) {
	c.outstanding = max(c.outstanding-1, 0)
	c.size = max(int64(bytes)+eventCost, c.size-c.size/forget)
}

// more returns how much credit to add now, given the share of memory. It waits until
// half of the window is used, so that flow frames stay rare.
func (c *credit) more(share int64) uint32 {
	window := min(max(share/c.size, 1), c.prefetch)
	if c.outstanding > window/2 {
		return 0
	}
	n := window - c.outstanding
	c.outstanding = window
	return uint32(n)
}
