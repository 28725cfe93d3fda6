package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"golang.org/x/sync/singleflight"

	"github.com/hubferry/hubferry"
)

// producer sends batches over the connections of a franz-go client. It does not use that
// client's own producer, whose buffers fail a moment before it tells: a run that is handed
// over in that moment would be stored behind one that was not (G-5). Nor could that
// producer have a transactional id for each source partition. What franz-go does here is
// the rest: connections, TLS, SASL, versions, coordinators, compression.
type producer struct {
	conn    *connection
	client  *kgo.Client
	second  *kgo.Client // its connections carry every other partition; see sink
	options TargetOptions
	life    context.Context //nolint:containedctx // ends with Close: requests outlive the calls that began them
	end     context.CancelFunc

	compressors compressors
	spare       sync.Pool // of *[]byte: buffers of batches
	asked       singleflight.Group

	mu     sync.Mutex
	topics map[string]*leaders
	sinks  map[sinkKey]*sink
}

// leaders is who leads the partitions of a topic, as last heard.
type leaders struct {
	topic
	brokers []int32 // by partition; -1 is nobody
}

// gather is how large a batch of several records becomes, in bytes: beyond it nothing is
// gained, and what one partition has in flight is bounded.
const gather = 1 << 20

// requestTimeout is how long a broker may wait for its replicas.
const requestTimeout = 10 * time.Second

// versions are the requests as this driver knows them. Transactions follow the protocol
// that all brokers have, not that of KIP-890: partitions are added by a request of their
// own, and the epoch stays when a transaction ends. Topics go by their names.
func versions() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	v.SetMaxKeyVersion(int16(kmsg.Fetch), 12)
	v.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3)
	v.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	return v
}

func newProducer(ctx context.Context, c *connection, o TargetOptions) (*producer, error) {
	cl, err := c.newClient(kgo.MaxVersions(versions()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		return nil, err
	}
	second, err := c.newClient(kgo.MaxVersions(versions()), kgo.RequiredAcks(kgo.AllISRAcks()))
	if err != nil {
		cl.Close()
		return nil, err
	}
	p := &producer{conn: c, client: cl, second: second, options: o, topics: map[string]*leaders{}, sinks: map[sinkKey]*sink{}}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	return p, nil
}

func (p *producer) close() {
	p.end()
	p.client.Close()
	p.second.Close()
}

func (p *producer) idempotent() bool { return p.options.Idempotence != IdempotenceOff }

// producerID is what a broker knows a producer by.
type producerID struct {
	id    int64
	epoch int16
}

var noProducer = producerID{-1, -1}

// newID asks for a producer id that nobody else has.
func (p *producer) newID(ctx context.Context) (producerID, error) {
	if !p.idempotent() {
		return noProducer, nil
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionTimeoutMillis = int32(time.Minute / time.Millisecond)
	resp, err := req.RequestWith(ctx, p.client)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	} else {
		err = p.unknown(ctx, kmsg.InitProducerID, err)
	}
	if err != nil {
		return producerID{}, idempotenceError(err)
	}
	return producerID{resp.ProducerID, resp.ProducerEpoch}, nil
}

// unknown tells a request that no broker knows, which the client does not even send, from
// trouble that passes.
func (p *producer) unknown(ctx context.Context, request kmsg.Key, err error) error {
	_, network := errors.AsType[net.Error](err)
	if _, told := errors.AsType[*kerr.Error](err); told || network || errors.Is(err, io.EOF) || ctx.Err() != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lanePatience)
	defer cancel()
	brokers, failed := p.conn.admin.ApiVersions(ctx)
	if failed != nil || len(brokers) == 0 {
		return err
	}
	for _, b := range brokers {
		if _, _, known := b.KeyVersions(int16(request)); known || b.Err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: the service does not know the request %s", kerr.UnsupportedVersion, request.Name())
}

// idempotenceError says what to do about a service that has no idempotent producers.
func idempotenceError(err error) error {
	err = classify("ask for a producer id", err)
	e, ok := errors.AsType[*hubferry.Error](err)
	if !ok || e.Kind == hubferry.Transient {
		return err
	}
	own := *e
	if own.Kind == hubferry.Unauthorized {
		own.Hint = "give the user IdempotentWrite on the cluster, or set the target's idempotence: off"
	} else {
		own.Hint = "the service refuses idempotent producers: set the target's idempotence: off"
	}
	return &own
}

// leader returns the broker that leads a partition, by what is known or by asking.
func (p *producer) leader(ctx context.Context, name string, partition int) (int32, error) {
	p.mu.Lock()
	known := p.topics[name]
	p.mu.Unlock()
	if known == nil || partition >= len(known.brokers) || known.brokers[partition] < 0 {
		var err error
		if known, err = p.ask(ctx, name); err != nil {
			return -1, err
		}
	}
	if partition >= len(known.brokers) {
		return -1, &hubferry.Error{Kind: hubferry.NotFound, Op: "write to topic " + name, Hint: fmt.Sprintf("the topic has %d partitions", len(known.brokers))}
	}
	if known.brokers[partition] < 0 {
		return -1, &hubferry.Error{Kind: hubferry.Transient, Op: fmt.Sprintf("write to %s/%d", name, partition), Err: kerr.LeaderNotAvailable}
	}
	return known.brokers[partition], nil
}

// forget makes the next question for a leader go to the cluster.
func (p *producer) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.topics, name)
}

// ask asks the cluster for a topic. Who asks for one at the same time shares the answer.
func (p *producer) ask(ctx context.Context, name string) (*leaders, error) {
	answer := p.asked.DoChan(name, func() (any, error) { return p.describe(p.life, name) })
	select {
	case <-ctx.Done():
		return nil, classify("describe topic "+name, ctx.Err())
	case a := <-answer:
		if a.Err != nil {
			return nil, a.Err
		}
		l, _ := a.Val.(*leaders)
		p.mu.Lock()
		p.topics[name] = l
		p.mu.Unlock()
		p.second.ForceMetadataRefresh() // a client learns where brokers are by its own questions only
		return l, nil
	}
}

func (p *producer) describe(ctx context.Context, name string) (*leaders, error) {
	op := "describe topic " + name
	if p.life.Err() != nil {
		return nil, hubferry.ErrClosed
	}
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = new(name)
	req.Topics = append(req.Topics, t)
	resp, err := req.RequestWith(ctx, p.client)
	if err != nil {
		return nil, classify(op, err)
	}
	if len(resp.Topics) != 1 {
		return nil, &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: fmt.Errorf("the broker answered for %d topics", len(resp.Topics))}
	}
	if err := kerr.ErrorForCode(resp.Topics[0].ErrorCode); err != nil {
		return nil, classify(op, err)
	}
	l := &leaders{brokers: make([]int32, len(resp.Topics[0].Partitions))}
	for i := range l.brokers {
		l.brokers[i] = -1
	}
	for _, part := range resp.Topics[0].Partitions {
		if int(part.Partition) < len(l.brokers) && part.ErrorCode != kerr.LeaderNotAvailable.Code {
			l.brokers[part.Partition] = part.Leader
		}
	}
	l.name, l.id, l.count = name, resp.Topics[0].TopicID, len(l.brokers)
	if l.cluster, err = p.conn.namespace(resp.ClusterID); err != nil {
		return nil, err
	}
	return l, nil
}
