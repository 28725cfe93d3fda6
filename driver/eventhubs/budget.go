package eventhubs

import "sync"

// budget divides the memory that a connection may hold in its own buffers (INV-6) among
// its readers and writers.
type budget struct {
	total int64

	mu      sync.Mutex
	readers int64
	writers int64
}

// defaultBudget is for those who set none.
const defaultBudget = 128 << 20

func newBudget(total int64) *budget {
	if total <= 0 {
		total = defaultBudget
	}
	return &budget{total: total}
}

func (b *budget) add(readers, writers int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers += readers
	b.writers += writers
}

// reader returns how many bytes one reader may have on their way. Half of the budget is
// for the readers, even while there are no writers, so that a share does not shrink
// below what is in flight when one comes.
func (b *budget) reader() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total / 2 / max(b.readers, 1)
}

// writer returns how large a batch of one writer may be: it stands in memory three
// times, encoded by us, by go-amqp, and in frames on the way to the network.
func (b *budget) writer() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total / 2 / 3 / max(b.writers, 1)
}
