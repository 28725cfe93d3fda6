package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/keyhash"
)

var (
	_ hubferry.Writer    = (*writer)(nil)
	_ hubferry.Submitter = (*writer)(nil)
	_ hubferry.Copier    = (*writer)(nil)
)

// writer writes to one topic.
type writer struct {
	target *target
	topic  string
	trail  hubferry.Trail
	life   context.Context //nolint:containedctx // ends with Close, or that of the target
	end    context.CancelFunc
	spare  sync.Pool // of *encoder

	mu           sync.Mutex
	places       []*hubferry.Place
	lanes        map[int]*lane
	transactions map[hubferry.ID]*transaction
	limit        int       // bytes of a batch that the topic takes
	learned      time.Time // when limit was asked for
}

func newWriter(t *target, topic string, trail hubferry.Trail) *writer {
	w := &writer{target: t, topic: topic, trail: trail, lanes: map[int]*lane{}, transactions: map[hubferry.ID]*transaction{}}
	w.life, w.end = context.WithCancel(t.producer.life)
	w.spare.New = func() any {
		return &encoder{trail: trail, headers: t.options.Headers, times: t.options.Timestamp}
	}
	return w
}

// learn notes the partitions of the topic.
func (w *writer) learn(l *leaders) []*hubferry.Place {
	places := make([]*hubferry.Place, l.count)
	for i := range places {
		places[i] = l.place(i)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places = places
	return places
}

// learnLimit asks how large a batch the topic takes. A user who may not ask has the
// default of brokers; what is larger is found when it is refused.
func (w *writer) learnLimit(ctx context.Context) error {
	limit := w.target.conn.options.maxMessage()
	configs, err := w.target.conn.admin.DescribeTopicConfigs(ctx, w.topic)
	if err == nil && len(configs) == 1 && configs[0].Err == nil {
		for _, c := range configs[0].Configs {
			if n, err := strconv.Atoi(c.MaybeValue()); err == nil && c.Key == configMaxMessage && n > 0 {
				if o := w.target.conn.options; o.MaxMessageBytes > 0 || o.limited() {
					n = min(n, o.maxMessage())
				}
				limit = n
			}
		}
	}
	if ctx.Err() != nil {
		return classify("describe topic "+w.topic, ctx.Err())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit, w.learned = limit, time.Now()
	return nil
}

const (
	configMaxMessage = "max.message.bytes"
	// limitAge is how old the limit may be when an event is refused because of it.
	limitAge = 30 * time.Second
)

// largest returns the limit of a batch.
func (w *writer) largest() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.limit
}

// grown asks again for the limit before an event is refused, if it was not asked for of
// late, and returns it.
func (w *writer) grown(ctx context.Context) int {
	w.mu.Lock()
	old := time.Since(w.learned) > limitAge
	w.mu.Unlock()
	if old {
		_ = w.learnLimit(ctx) // then the old limit holds
	}
	return w.largest()
}

// lane returns what writes to one partition.
func (w *writer) lane(partition int) (*lane, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.life.Err() != nil {
		return nil, hubferry.ErrClosed
	}
	if partition < 0 || partition >= len(w.places) {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "write to topic " + w.topic, Hint: fmt.Sprintf("the topic has %d partitions", len(w.places))}
	}
	l := w.lanes[partition]
	if l == nil {
		l = newLane(w, w.places[partition], partition)
		w.lanes[partition] = l
	}
	return l, nil
}

// Layout implements hubferry.Writer.
func (w *writer) Layout(ctx context.Context) (hubferry.Layout, error) {
	if w.life.Err() != nil {
		return hubferry.Layout{}, hubferry.ErrClosed
	}
	found, err := w.target.producer.ask(ctx, w.topic)
	if err != nil {
		return hubferry.Layout{}, err
	}
	return hubferry.Layout{
		Places:    w.learn(found),
		Partition: func(k hubferry.Key, n int) int { return keyhash.Kafka(k.Bytes, n) },
		Late:      w.target.conn.options.deliveryTimeout() + requestTimeout,
	}, nil
}

// Write implements hubferry.Writer.
func (w *writer) Write(ctx context.Context, run hubferry.Run) (hubferry.Receipt, error) {
	type outcome struct {
		receipt hubferry.Receipt
		err     error
	}
	result := make(chan outcome, 1)
	w.hand(ctx, run, true, func(r hubferry.Receipt, err error) { result <- outcome{r, err} })
	o := <-result
	return o.receipt, o.err
}

// Copies implements hubferry.Copier: what is sent is encoded in memory of its own.
func (w *writer) Copies() {}

// Submit implements hubferry.Submitter. It waits while memory or the partition's share of
// it is used up. The calls for one partition come one after the other.
func (w *writer) Submit(ctx context.Context, run hubferry.Run, done func(hubferry.Receipt, error)) {
	w.hand(ctx, run, false, done)
}

// hand encodes a run and gives it to its lane.
func (w *writer) hand(ctx context.Context, run hubferry.Run, write bool, done func(hubferry.Receipt, error)) {
	l, err := w.lane(run.Partition)
	if err != nil {
		done(hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}, err)
		return
	}
	p := &pending{ctx: ctx, write: write, done: done, stop: context.AfterFunc(ctx, l.poke)}
	p.receipt.Last.Sequence = -1
	l.put(message{run: p, begin: true})
	x := &batcher{w: w, place: l.place, take: func(b *batch) { b.run = p; l.put(message{run: p, batch: b}) }}
	x.reserve = func(bytes int64) (*batch, error) { return l.reserve(p, bytes) }
	err = x.encode(ctx, run.Events)
	if x.open != nil { // it could not be compressed
		l.release(x.open)
	}
	l.put(message{run: p, poison: err})
}

// errOver ends the encoding of a run that has failed.
var errOver = errors.New("the run has failed")

// reserve waits for a slot of the lane and for memory.
func (l *lane) reserve(p *pending, bytes int64) (*batch, error) {
	select {
	case l.slots <- struct{}{}:
	case <-p.ctx.Done():
		return nil, context.Cause(p.ctx)
	case <-l.w.life.Done():
		return nil, hubferry.ErrClosed
	}
	b := &batch{slot: true}
	err := l.w.target.producer.acquire(p.ctx, b, bytes)
	if err == nil && p.over.Load() {
		l.w.target.producer.conn.batchMemory().Release(b.cost)
		err = errOver
	}
	if err != nil {
		<-l.slots
		return nil, err
	}
	return b, nil
}

// acquire gives a batch its share of memory and a buffer.
func (p *producer) acquire(ctx context.Context, b *batch, bytes int64) error {
	cost := min(bytes, p.conn.batchMemory().most)
	if err := p.conn.batchMemory().Acquire(ctx, cost); err != nil {
		return &hubferry.Error{Kind: hubferry.Transient, Op: "write", Err: context.Cause(ctx)}
	}
	b.cost, b.data = cost, p.buffer(int(bytes))
	return nil
}

// buffers of at least this size are used again.
const keptBuffer = 128 << 10

// buffer returns an empty batch with room for some bytes of records.
func (p *producer) buffer(n int) []byte {
	if n >= keptBuffer {
		if kept, ok := p.spare.Get().(*[]byte); ok && cap(*kept) >= n {
			return (*kept)[:batchOverhead]
		}
	}
	return make([]byte, batchOverhead, max(n, batchOverhead))
}

// recycle takes the buffer of a batch that nobody reads any more.
func (p *producer) recycle(data []byte) {
	if cap(data) >= keptBuffer && cap(data) <= 2*gather {
		p.spare.Put(&data)
	}
}

// Close implements hubferry.Writer. It ends a Write that waits.
func (w *writer) Close(context.Context) error {
	w.end()
	w.target.mu.Lock()
	defer w.target.mu.Unlock()
	delete(w.target.writers, w)
	return nil
}

// eventError says of which event an error is.
func eventError(e *hubferry.Event, err error) error {
	if e.Origin == nil {
		return err
	}
	return fmt.Errorf("event %d of %s: %w", e.Pos.Sequence, e.Origin.Path(), err)
}

// compressors are made when they are first needed.
type compressors struct {
	mu   sync.Mutex
	made map[uint8]kgo.Compressor
}

// of returns the compressor of a codec, or nil for none.
func (c *compressors) of(codec uint8) (kgo.Compressor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if with, ok := c.made[codec]; ok {
		return with, nil
	}
	makers := []func() kgo.CompressionCodec{kgo.NoCompression, kgo.GzipCompression, kgo.SnappyCompression, kgo.Lz4Compression, kgo.ZstdCompression}
	if int(codec) >= len(makers) {
		return nil, fmt.Errorf("compression %d is not known", codec)
	}
	with, err := kgo.DefaultCompressor(makers[codec]())
	if err != nil {
		return nil, err
	}
	if c.made == nil {
		c.made = map[uint8]kgo.Compressor{}
	}
	c.made[codec] = with
	return with, nil
}
