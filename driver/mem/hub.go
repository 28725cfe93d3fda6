package mem

import (
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// AllPartitions stands for every partition of a hub.
const AllPartitions = -1

// Hub is one hub, queue or table of a Broker. The methods here act behind the driver's
// back. They may be called by several goroutines at once.
type Hub struct {
	namespace, name, incarnation string
	options                      HubOptions
	gone                         chan struct{} // closed when the hub is deleted

	mu          sync.Mutex
	partitions  []*partition
	cut         chan struct{} // closed and renewed by Cut
	faults      []*Fault
	held        []heldRun
	refuse      func(*hubferry.Event) *hubferry.Error
	checkpoints map[hubferry.ID]adopted
	dead        []hubferry.Settlement
	ops         [opCount]int
}

// partition is one log. Its fields are guarded by the hub's lock.
type partition struct {
	index   int
	records []record
	begin   int64 // sequence number before the first retained one
	end     hubferry.Position
	endTime time.Time
	bytes   int64         // ever written: makes the offsets
	changed chan struct{} // closed and renewed when there is something new to read
	readers map[*reader]bool
}

// record is a stored event. It is immutable.
type record struct {
	pos     hubferry.Position
	time    time.Time
	key     hubferry.Key
	content *hubferry.Content
	broken  error // why it cannot be decoded, or nil
	lock    *lock // of a Queue
}

// size is what counts against HubOptions.MaxEvent.
func (r *record) size() int { return len(r.key.Bytes) + r.content.Size() }

func (h *Hub) grow(n int) {
	for i := len(h.partitions); i < n; i++ {
		h.partitions = append(h.partitions, &partition{
			index: i, begin: -1, end: hubferry.Position{Sequence: -1},
			changed: make(chan struct{}), readers: map[*reader]bool{},
		})
	}
}

// Grow adds partitions until there are n.
func (h *Hub) Grow(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.grow(n)
}

// Inject stores events in a partition without a Writer, in their order. Their own time
// is kept if they have one. Events that cannot be decoded are refused by a panic: they
// are a bug of the test.
func (h *Hub) Inject(partition int, events ...hubferry.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inject(partition, events)
}

func (h *Hub) inject(partition int, events []hubferry.Event) {
	for i := range events {
		r, err := newRecord(&events[i])
		if err != nil {
			panic("mem: inject: " + err.Error())
		}
		r.time = events[i].Time
		h.append(h.partitions[partition], r)
	}
}

// Send stores events without a Writer, as a producer that leaves the partition to the
// service: by the hash of the key, and without a key in turn.
func (h *Hub) Send(events ...hubferry.Event) {
	for i := range events {
		h.Inject(h.route(i, events[i].Key), events[i])
	}
}

func (h *Hub) route(i int, k hubferry.Key) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if k.Kind == hubferry.NoKey {
		return i % len(h.partitions)
	}
	return partitionOf(k, len(h.partitions))
}

func partitionOf(k hubferry.Key, n int) int { return keyhash.EventHubs(string(k.Bytes), n) }

// append stores a record at the end of a partition and wakes its readers.
func (h *Hub) append(p *partition, r record) {
	r.pos = hubferry.Position{Sequence: p.end.Sequence + 1, Offset: "o" + strconv.FormatInt(p.bytes, 10)}
	p.bytes += int64(r.size())
	if r.time.IsZero() {
		r.time = time.Now()
	}
	if r.time.Before(p.endTime) {
		r.time = p.endTime
	}
	if h.options.Kind == Queue {
		r.lock = new(lock)
	}
	p.records = append(p.records, r)
	p.end, p.endTime = r.pos, r.time
	p.wake()
}

func (p *partition) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Dump returns what a partition retains, without a Reader.
func (h *Hub) Dump(partition int) []hubferry.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.partitions[partition]
	place := h.place(partition)
	events := make([]hubferry.Event, 0, len(p.records))
	for i := range p.records {
		events = append(events, p.records[i].event(place, false))
	}
	return events
}

// Partitions returns how many partitions there are.
func (h *Hub) Partitions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.partitions)
}

// Place returns the place of a partition.
func (h *Hub) Place(partition int) *hubferry.Place { return h.place(partition) }

func (h *Hub) place(index int) *hubferry.Place {
	id := partitionID(index)
	if h.options.Kind != Log {
		id = ""
	}
	return hubferry.NewPlace(h.namespace, h.name, id, h.incarnation, index)
}

// Trim drops the events of a partition up to and including a sequence number, as
// retention does. It may drop all, never more.
func (h *Hub) Trim(partition int, upTo int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.partitions[partition]
	upTo = min(upTo, p.end.Sequence)
	if upTo <= p.begin {
		return
	}
	p.begin = upTo
	p.records = slices.Clone(p.records[p.after(upTo):])
}

// SetBack drops the events of a partition behind a sequence number, as a hub does that is
// restored from a backup: its incarnation stays. Connections break.
func (h *Hub) SetBack(partition int, to int64) {
	h.Cut(partition)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.partitions[partition]
	if to >= p.end.Sequence {
		return
	}
	p.records = slices.Clone(p.records[:p.after(to)])
	p.end, p.begin = hubferry.Position{Sequence: to}, min(p.begin, to)
	p.bytes = 0
	for i := range p.records {
		r := &p.records[i]
		at, _ := strconv.ParseInt(strings.TrimPrefix(r.pos.Offset, "o"), 10, 64)
		p.end, p.endTime, p.bytes = r.pos, r.time, at+int64(r.size())
	}
}

// Compact keeps only the newest event of each key, as a compacted hub does. The hub
// should be Sparse, or readers report gaps, rightly.
func (h *Hub) Compact(partition int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.partitions[partition]
	newest := map[string]int64{}
	for i := range p.records {
		if r := &p.records[i]; r.key.Kind != hubferry.NoKey {
			newest[r.key.String()] = r.pos.Sequence
		}
	}
	p.records = slices.DeleteFunc(slices.Clone(p.records), func(r record) bool {
		return r.key.Kind != hubferry.NoKey && newest[r.key.String()] != r.pos.Sequence
	})
}

// Skip uses up n sequence numbers of a partition for things that are no events, such as
// the control records of Kafka's transactions, and stores events behind them. A reader sees
// a hole only if it has not passed the numbers before there is an event behind them: what
// is injected later may be too late.
func (h *Hub) Skip(partition, n int, events ...hubferry.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.partitions[partition]
	p.end = hubferry.Position{Sequence: p.end.Sequence + int64(n)}
	h.inject(partition, events)
	p.wake()
}

// after returns the index of the first record beyond a sequence number.
func (p *partition) after(sequence int64) int {
	i, found := slices.BinarySearchFunc(p.records, sequence, func(r record, s int64) int {
		return int(r.pos.Sequence - s)
	})
	if found {
		i++
	}
	return i
}

// Cut breaks the connections to one partition or all: readers end, and writes that wait
// end with an error that is Unsure.
func (h *Hub) Cut(partition int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if partition == AllPartitions {
		close(h.cut)
		h.cut = make(chan struct{})
	}
	for _, p := range h.partitions {
		if partition == AllPartitions || partition == p.index {
			p.endReaders(func(*reader) bool { return true }, &hubferry.Error{Kind: hubferry.Transient, Op: "read", Place: h.place(p.index), Err: errCut})
		}
	}
}

// end tells everybody that the hub is deleted.
func (h *Hub) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.gone)
	for _, p := range h.partitions {
		p.endReaders(func(*reader) bool { return true }, h.deleted("read"))
	}
}

func (h *Hub) deleted(op string) error {
	return &hubferry.Error{Kind: hubferry.NotFound, Op: op + " " + h.namespace + "/" + h.name, Hint: "the hub was deleted"}
}

// endReaders ends the readers of a partition that match, with an error.
func (p *partition) endReaders(match func(*reader) bool, err error) {
	for r := range p.readers {
		if match(r) {
			r.end(err)
			delete(p.readers, r)
		}
	}
}
