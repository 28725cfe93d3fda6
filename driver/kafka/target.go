package kafka

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/internal/keyhash"
)

var (
	_ hubferry.Target = (*target)(nil)
	_ hubferry.Writer = (*writer)(nil)
)

// target produces to the topics of a cluster, with one producer.
type target struct {
	conn   *connection
	client *kgo.Client
	once   sync.Once
	done   chan struct{}
}

func newTarget(c *connection) (*target, error) {
	limit := int64(32 << 20)
	if c.env.Budget > 0 {
		limit = max(c.env.Budget/4, int64(c.options.maxMessage())+1)
	}
	cl, err := c.newClient(
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(int32(c.options.maxMessage())),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0), // the engine has gathered already
		kgo.MaxBufferedBytes(int(limit)),
		kgo.RecordDeliveryTimeout(c.options.deliveryTimeout()),
		// A Write must end with its context, also when a request is under way. What may
		// be stored then is Unsure, and the engine knows what to do (G-9).
		kgo.AllowIdempotentProduceCancellation(),
	)
	if err != nil {
		return nil, err
	}
	return &target{conn: c, client: cl, done: make(chan struct{})}, nil
}

// Open implements hubferry.Target. The topic must exist.
func (t *target) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	if isDone(t.done) {
		return nil, hubferry.ErrClosed
	}
	found, err := t.conn.describe(ctx, hub)
	if err != nil {
		return nil, err
	}
	w := &writer{target: t, topic: hub, trail: trail, done: make(chan struct{})}
	w.learn(&found)
	return w, nil
}

// Close implements hubferry.Target.
func (t *target) Close(context.Context) error {
	t.once.Do(func() {
		close(t.done)
		t.client.Close()
	})
	return nil
}

// writer writes to one topic.
type writer struct {
	target *target
	topic  string
	trail  hubferry.Trail
	once   sync.Once
	done   chan struct{}

	mu     sync.Mutex
	places []*hubferry.Place
}

// learn notes the partitions of the topic.
func (w *writer) learn(t *topic) []*hubferry.Place {
	places := make([]*hubferry.Place, t.count)
	for i := range places {
		places[i] = t.place(w.topic, i)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places = places
	return places
}

func (w *writer) place(partition int) (*hubferry.Place, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if partition < 0 || partition >= len(w.places) {
		return nil, &hubferry.Error{Kind: hubferry.NotFound, Op: "write to topic " + w.topic, Hint: "the topic has fewer partitions"}
	}
	return w.places[partition], nil
}

func (w *writer) closed() bool { return isDone(w.done) || isDone(w.target.done) }

// Layout implements hubferry.Writer.
func (w *writer) Layout(ctx context.Context) (hubferry.Layout, error) {
	if w.closed() {
		return hubferry.Layout{}, hubferry.ErrClosed
	}
	t, err := w.target.conn.describe(ctx, w.topic)
	if err != nil {
		return hubferry.Layout{}, err
	}
	return hubferry.Layout{
		Places:    w.learn(&t),
		Partition: func(k hubferry.Key, n int) int { return keyhash.Kafka(k.Bytes, n) },
	}, nil
}

// Write implements hubferry.Writer. All records are made and measured before the first
// is sent.
func (w *writer) Write(ctx context.Context, run hubferry.Run) (hubferry.Receipt, error) {
	receipt := hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}
	if w.closed() {
		return receipt, hubferry.ErrClosed
	}
	place, err := w.place(run.Partition)
	if err != nil {
		return receipt, err
	}
	enc := encoder{topic: w.topic, trail: w.trail, limit: w.target.conn.options.maxMessage()}
	records := make([]*kgo.Record, 0, len(run.Events))
	var poison error
	for _, e := range run.Events {
		r, err := enc.record(e, run.Partition)
		if err != nil {
			poison = at(place, err)
			break
		}
		records = append(records, r)
	}
	n, err := w.produce(ctx, records)
	if n < len(records) && len(records) > 1 && errors.Is(err, kerr.MessageTooLarge) {
		n, err = w.oneByOne(ctx, records, n)
	}
	receipt.N = n
	if n > 0 {
		receipt.Last = position(records[n-1])
	}
	switch {
	case w.closed() && err != nil:
		return receipt, hubferry.ErrClosed
	case err != nil:
		return receipt, writeError(place, err)
	}
	return receipt, poison
}

// produce sends records and waits for all of their fates. It returns how many are
// durable and the error of the one after them.
func (w *writer) produce(ctx context.Context, records []*kgo.Record) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(records))
	var group sync.WaitGroup
	group.Add(len(records))
	for i, r := range records {
		w.target.client.Produce(ctx, r, func(_ *kgo.Record, err error) {
			if errs[i] = err; err != nil {
				cancel() // what is behind it must not be stored
			}
			group.Done()
		})
	}
	group.Wait()
	for i, err := range errs {
		if err != nil {
			return i, err
		}
	}
	return len(records), nil
}

// oneByOne goes on after a broker found a batch too large, which says nothing about its
// records: nothing of such a batch is stored, so sending them singly repeats nothing,
// and the one that is refused alone is the culprit.
func (w *writer) oneByOne(ctx context.Context, records []*kgo.Record, n int) (int, error) {
	for ; n < len(records); n++ {
		r := &kgo.Record{Topic: records[n].Topic, Partition: records[n].Partition, Key: records[n].Key, Value: records[n].Value, Headers: records[n].Headers}
		records[n] = r
		if _, err := w.produce(ctx, records[n:n+1]); err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close implements hubferry.Writer.
func (w *writer) Close(context.Context) error {
	w.once.Do(func() { close(w.done) })
	return nil
}
