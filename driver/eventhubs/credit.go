package eventhubs

// credit decides how many events the service may send ahead: as many as the prefetch
// says, or fewer so that they fit a share of the memory budget (INV-6). How large the
// next events are is not known; it takes them to be like the largest of late, and
// begins carefully.
type credit struct {
	prefetch    int64
	outstanding int64 // issued and not received yet
	size        int64 // expected size of an event
	room        int64 // bytes that may be on their way
	used        int64 // bytes received since limit was asked
	frames      int64 // in so many frames
}

const (
	// firstSize is what an event is taken to be before one was seen: as large as the service
	// allows, or what is sent ahead at the beginning would not fit. It is forgotten soon.
	firstSize = 1 << 20
	// eventCost is what an event costs in memory beside its bytes, while it waits.
	eventCost = 1 << 10
	// forget is how fast a large event is forgotten: by a 16th with each that follows.
	forget = 16
	// firstRoom is how many bytes a reader begins with, lest one that nothing comes for, or
	// that was there before others, holds more than its share.
	firstRoom = 256 << 10
)

func (c *credit) init(prefetch int) {
	c.prefetch, c.size, c.room = int64(prefetch), firstSize, firstRoom
}

// limit returns how many bytes may be on their way or wait, given the share of memory, and
// how many were received since it was asked last. It grows with what comes, as far as the share.
func (c *credit) limit(share int64) (limit, used int64) {
	// A window that was used up is twice as large the next time, however small the events are.
	c.room = min(c.room+c.frames*maxFrame, share)
	used, c.used, c.frames = c.used, 0, 0
	return c.room, used
}

// received accounts for an event, of so many bytes in memory and in its message.
func (c *credit) received(bytes, message int) {
	c.outstanding = max(c.outstanding-1, 0)
	c.used += int64(message)
	c.frames += 1 + int64(message)/maxFrame
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
