package kafka

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// partitionName names a partition within a cluster.
type partitionName struct {
	topic     string
	partition int32
}

// pump is one client through which several readers fetch: brokers answer for many
// partitions at once, so a few clients ask far less than one per partition would. One
// goroutine polls it, and is the only one that tells it what to fetch: whatever a poll
// brings belongs to the readers that were there when it began.
type pump struct {
	source *source
	client *kgo.Client
	stop   context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended
	health health

	// Only the goroutine uses these.
	readers map[partitionName]*reader
	topics  map[string]int // readers by topic
	scale   float64        // that the present fetch sizes were made for
	beside  int            // pumps that they were made for

	drained chan struct{} // signals that a reader runs dry; capacity 1
	slots   int           // fetches at one time

	mu        sync.Mutex
	changes   []change
	interrupt context.CancelFunc // ends the poll that is under way
	taken     map[partitionName]bool
}

// change is a reader that comes or goes, or is paused and wants more.
type change struct {
	reader *reader
	kind   changeKind
}

type changeKind uint8

const (
	comes changeKind = iota
	goes
	resumes
)

func newPump(ctx context.Context, s *source) (*pump, error) {
	p := &pump{
		source: s, done: make(chan struct{}), drained: make(chan struct{}, 1),
		readers: map[partitionName]*reader{}, topics: map[string]int{}, taken: map[partitionName]bool{},
	}
	p.slots = fetchSlots(len(s.conn.client.DiscoveredBrokers()))
	isolation := kgo.ReadCommitted()
	if s.options.Isolation == IsolationUncommitted {
		isolation = kgo.ReadUncommitted()
	}
	var err error
	p.client, err = s.conn.newClient(
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(isolation),
		kgo.KeepControlRecords(),       // they move Next
		kgo.KeepRetryableFetchErrors(), // a deleted topic is one of them
		kgo.MaxConcurrentFetches(p.slots),
		kgo.Rack(s.conn.options.Rack),
		kgo.WithHooks(&p.health),
		kgo.WithPools(new(recordPool)),
	)
	if err != nil {
		return nil, err
	}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	go p.run(ctx)
	return p, nil
}

// load returns how many readers there are, and whether none of them reads that partition.
func (p *pump) load(name partitionName) (readers int, free bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken), !p.taken[name]
}

// attach makes the pump fetch for a reader.
func (p *pump) attach(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[r.name] = true
	p.tell(change{r, comes})
}

// detach ends what attach began. It does not wait.
func (p *pump) detach(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, r.name)
	p.tell(change{r, goes})
}

// wants tells that a reader runs dry.
func (p *pump) wants(r *reader) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.paused.Load() {
		p.tell(change{r, resumes})
		return
	}
	p.wake()
}

func (p *pump) wake() {
	select {
	case p.drained <- struct{}{}:
	default:
	}
}

// tell queues a change. The caller holds p.mu.
func (p *pump) tell(c change) {
	p.changes = append(p.changes, c)
	if p.interrupt != nil {
		p.interrupt()
	}
	p.wake()
}

// idle reports whether nobody reads.
func (p *pump) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.taken) == 0
}

// close ends the client and its goroutine.
func (p *pump) close() {
	p.stop()
	<-p.done
	p.client.Close()
}

// lookEvery is how often the pump looks whether the cluster is still there.
const lookEvery = 2 * time.Second

func (p *pump) run(ctx context.Context) {
	defer close(p.done)
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, lookEvery)
		p.mu.Lock()
		changes := p.changes
		p.changes, p.interrupt = nil, cancel
		p.mu.Unlock()
		p.apply(changes)
		if p.makeRoom(poll) {
			p.deliver(ctx, p.client.PollFetches(poll))
		}
		cancel()
		if err := p.health.trouble(time.Now()); err != nil {
			for _, r := range p.readers {
				r.fail(err)
			}
		}
	}
}

// apply tells the client what to fetch from now on.
func (p *pump) apply(changes []change) {
	more := map[string][]int32{}
	for _, c := range changes {
		r := c.reader
		switch {
		case c.kind == comes:
			p.readers[r.name] = r
			p.topics[r.name.topic]++
			p.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{r.name.topic: {r.name.partition: r.offset()}})
		case p.readers[r.name] != r: // it is gone already
		case c.kind == goes:
			p.remove(r)
		case r.paused.Load():
			r.paused.Store(false)
			more[r.name.topic] = append(more[r.name.topic], r.name.partition)
		}
	}
	if len(changes) > 0 || p.health.scale() != p.scale || p.source.conn.pumpCount() != p.beside {
		p.resize()
	}
	if len(more) > 0 {
		p.client.ResumeFetchPartitions(more)
	}
}

func (p *pump) remove(r *reader) {
	one := map[string][]int32{r.name.topic: {r.name.partition}}
	p.client.RemoveConsumePartitions(one)
	if r.paused.Load() {
		p.client.ResumeFetchPartitions(one)
	}
	delete(p.readers, r.name)
	if p.topics[r.name.topic]--; p.topics[r.name.topic] == 0 {
		// The client remembers the id of a topic for as long as it knows the topic, and
		// would not see that it was created again.
		delete(p.topics, r.name.topic)
		p.client.PurgeTopicsFromClient(r.name.topic)
	}
}

// idleWait is how long the readers that have all there is wait for those that are full.
const idleWait = 20 * time.Millisecond

// makeRoom waits until a poll will not bring much more to a reader than it may hold. Mostly
// that is while all of them are supplied: what was fetched meanwhile waits in the client.
// A reader that holds others up is paused, and then what was fetched of it is thrown away
// and will be fetched again; so that is done only for a reader that runs dry, or for those
// that wait for new records. It reports false when there was news before there was room.
func (p *pump) makeRoom(ctx context.Context) bool {
	var full []*reader
	dry, idle := false, false
	for _, r := range p.readers {
		switch r.state() {
		case readerFull:
			full = append(full, r)
		case readerDry:
			dry = true
		case readerIdle:
			idle = true
		case readerSupplied:
		}
	}
	if len(full) == 0 {
		return true
	}
	if !dry {
		wait := lookEvery
		if idle {
			wait = idleWait
		}
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-p.drained:
			return false
		case <-ctx.Done():
			return false
		case <-timer.C:
			if !idle {
				return false
			}
		}
	}
	pause := map[string][]int32{}
	for _, r := range full {
		r.paused.Store(true)
		pause[r.name.topic] = append(pause[r.name.topic], r.name.partition)
	}
	p.client.PauseFetchPartitions(pause)
	for _, r := range full {
		if r.isDry() { // it became so before it was seen to be paused
			p.wants(r)
		}
	}
	return true
}

// deliver hands out what a poll has brought.
func (p *pump) deliver(ctx context.Context, fetches kgo.Fetches) {
	shared := 0
	fetches.EachPartition(func(kgo.FetchTopicPartition) { shared++ })
	var plain int64
	fetches.EachPartition(func(f kgo.FetchTopicPartition) {
		r := p.readers[partitionName{f.Topic, f.Partition}]
		if r == nil || r.isFailed() {
			return
		}
		if f.Err != nil && !passing(ctx, f.Err) {
			r.fail(f.Err)
			p.remove(r)
			return
		}
		var own *parcel
		if shared > 1 {
			own = p.copyOut(f.Records)
		}
		plain += r.put(f, own)
	})
	p.health.plain.Add(plain)
}

// copyOut copies the bytes of records out of the answer that brought them. Uncompressed
// records point into it, and it is as large as a fetch: a partition that falls behind the
// others would keep what they have long finished with (INV-6). It returns where they are now.
func (p *pump) copyOut(records []*kgo.Record) *parcel {
	size := 0
	each := func(do func(b *[]byte)) {
		for _, r := range records {
			if r.Attrs.CompressionType() != 0 {
				continue
			}
			do(&r.Key)
			do(&r.Value)
			for i := range r.Headers {
				do(&r.Headers[i].Value)
			}
		}
	}
	each(func(b *[]byte) { size += len(*b) })
	own := p.source.spare.parcel(size)
	each(func(b *[]byte) {
		if *b == nil { // null stays null
			return
		}
		from := len(own.bytes)
		own.bytes = append(own.bytes, *b...)
		*b = own.bytes[from:len(own.bytes):len(own.bytes)]
	})
	return own
}

// resize fits the sizes to the number of readers.
func (p *pump) resize() {
	p.scale, p.beside = p.health.scale(), p.source.conn.pumpCount()
	fetch, partition, queue := sizes(p.source.conn.share(), p.beside, len(p.readers), p.slots, p.scale)
	p.client.UpdateFetchMaxBytes(fetch, partition)
	for _, r := range p.readers {
		r.limit.Store(queue)
	}
}

// health watches the network below a client: franz-go repeats for ever in silence, and
// nobody would see that a cluster is away.
type health struct {
	mu    sync.Mutex
	good  time.Time // of the last answer
	bad   time.Time // of the last failure
	cause error

	compressed, plain atomic.Int64 // bytes of batches, and of their records in memory
}

var (
	_ kgo.HookBrokerConnect  = (*health)(nil)
	_ kgo.HookBrokerE2E      = (*health)(nil)
	_ kgo.HookFetchBatchRead = (*health)(nil)
)

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (h *health) OnBrokerConnect(_ kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err != nil {
		h.failed(err)
	}
}

// OnBrokerE2E implements kgo.HookBrokerE2E.
func (h *health) OnBrokerE2E(_ kgo.BrokerMetadata, _ int16, e kgo.BrokerE2E) {
	if err := e.Err(); err != nil {
		h.failed(err)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.good, h.cause = time.Now(), nil
}

func (h *health) failed(err error) {
	if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.bad, h.cause = time.Now(), err
	if h.good.IsZero() {
		h.good = h.bad
	}
}

// patience is how long a cluster may be away before readers say so. The engine opens
// them again with pauses that grow.
const patience = 10 * time.Second

// trouble returns why nothing has been heard of the cluster for a while, or nil.
func (h *health) trouble(now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.cause == nil || now.Sub(h.good) < patience {
		return nil
	}
	err := h.cause
	h.good, h.cause = now, nil
	return err
}

// OnFetchBatchRead implements kgo.HookFetchBatchRead.
func (h *health) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, m kgo.FetchBatchMetrics) {
	h.compressed.Add(int64(m.CompressedBytes))
}

// scale returns how many times larger the records read so far are in memory than what
// carried them, as a power of two.
func (h *health) scale() float64 {
	compressed, plain := h.compressed.Load(), h.plain.Load()
	scale := 1.0
	for compressed > 0 && plain > int64(1.5*scale*float64(compressed)) {
		scale *= 2
	}
	return scale
}
