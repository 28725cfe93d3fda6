package interop

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"
	"github.com/coder/websocket"
	"github.com/google/uuid"
)

// goClient answers the protocol in process with azeventhubs.
type goClient struct {
	mu      sync.Mutex
	readers map[string]*goReader
	next    int
}

func newGoClient() *goClient { return &goClient{readers: make(map[string]*goReader)} }

func (g *goClient) name() string { return "go" }

func (g *goClient) close() error { return nil }

func (g *goClient) call(ctx context.Context, r request) (response, error) {
	var out response
	var err error
	switch r.Op {
	case "hello":
		out = goHello()
	case "send":
		out, err = goSend(ctx, r)
	case "open":
		out, err = g.open(r)
	case "read":
		out, err = g.reader(r.Reader).read(ctx, r.Count, time.Duration(r.WaitMs)*time.Millisecond)
	case "close":
		err = g.closeReader(ctx, r.Reader)
	case "process":
		out, err = goProcess(ctx, r)
	case "properties":
		out, err = goProperties(ctx, r)
	case "partition":
		out, err = goPartition(ctx, r)
	case "load":
		out, err = goLoad(ctx, r)
	case "store":
		out, err = goStore(ctx, r)
	default:
		err = notOffered("azeventhubs has no buffered producer")
	}
	if err != nil {
		return out, goFail(err)
	}
	return out, nil
}

func goHello() response {
	r := response{SDK: "azeventhubs/v2"}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if strings.HasSuffix(m.Path, "/azeventhubs/v2") {
				r.Version = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return r
}

func notOffered(why string) error { return &sdkError{Class: "NotOffered", Text: why} }

// goFail shows an error of azeventhubs: its own code as the class, the AMQP condition that stands behind it.
func goFail(err error) *sdkError {
	if own, ok := errors.AsType[*sdkError](err); ok {
		return own
	}
	out := &sdkError{Class: fmt.Sprintf("%T", err), Text: err.Error()}
	if e, ok := errors.AsType[*azeventhubs.Error](err); ok {
		out.Class = string(e.Code)
	}
	if e, ok := errors.AsType[*amqp.Error](err); ok {
		out.Condition = string(e.Condition)
	}
	if e, ok := errors.AsType[*amqp.LinkError](err); ok && e.RemoteErr != nil {
		out.Condition = string(e.RemoteErr.Condition)
	}
	if errors.Is(err, azeventhubs.ErrEventDataTooLarge) {
		out.Class = "TooLargeForBatch"
	}
	return out
}

func goRetry(c *conn) azeventhubs.RetryOptions {
	retries := int32(c.Retries)
	if retries == 0 {
		retries = -1 // zero means the default there
	}
	return azeventhubs.RetryOptions{MaxRetries: retries, RetryDelay: 300 * time.Millisecond, MaxRetryDelay: time.Second}
}

func goTLS(c *conn) (*tls.Config, error) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	// azeventhubs takes the namespace with its port for the server's name unless it is told.
	name := "localhost"
	if c.Endpoint != "" {
		name = elsewhere
	}
	return &tls.Config{RootCAs: pool, ServerName: name, MinVersion: tls.VersionTLS12}, nil
}

// goDial is the WebSocket dialer that users of azeventhubs write themselves.
func goDial(config *tls.Config) func(ctx context.Context, p azeventhubs.WebSocketConnParams) (net.Conn, error) {
	return func(ctx context.Context, p azeventhubs.WebSocketConnParams) (net.Conn, error) {
		ws, response, err := websocket.Dial(ctx, p.Host, &websocket.DialOptions{
			Subprotocols: []string{"amqp"},
			HTTPClient:   &http.Client{Transport: &http.Transport{TLSClientConfig: config}},
		})
		if response != nil && response.Body != nil {
			defer func() { _ = response.Body.Close() }()
		}
		if err != nil {
			return nil, err
		}
		ws.SetReadLimit(-1)
		return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
	}
}

func goProducer(c *conn) (*azeventhubs.ProducerClient, error) {
	config, err := goTLS(c)
	if err != nil {
		return nil, err
	}
	o := &azeventhubs.ProducerClientOptions{RetryOptions: goRetry(c), TLSConfig: config, CustomEndpoint: c.Endpoint}
	if c.Transport == "websocket" {
		o.NewWebSocketConn = goDial(config)
	}
	return azeventhubs.NewProducerClientFromConnectionString(c.String, c.Hub, o)
}

func goConsumer(c *conn, group string) (*azeventhubs.ConsumerClient, error) {
	config, err := goTLS(c)
	if err != nil {
		return nil, err
	}
	if group == "" {
		group = azeventhubs.DefaultConsumerGroup
	}
	o := &azeventhubs.ConsumerClientOptions{RetryOptions: goRetry(c), TLSConfig: config, CustomEndpoint: c.Endpoint}
	if c.Transport == "websocket" {
		o.NewWebSocketConn = goDial(config)
	}
	return azeventhubs.NewConsumerClientFromConnectionString(c.String, c.Hub, group, o)
}

func goSend(ctx context.Context, r request) (response, error) {
	producer, err := goProducer(r.Conn)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = producer.Close(context.WithoutCancel(ctx)) }()
	batches := r.Batches
	if batches == nil {
		batches = []batch{{Partition: r.Partition, Key: r.Key, Events: r.Events, Direct: r.Direct}}
	}
	var out response
	for _, b := range batches {
		if err := goSendBatch(ctx, producer, b); err != nil {
			return out, err
		}
		out.Sent += len(b.Events)
	}
	return out, nil
}

func goSendBatch(ctx context.Context, producer *azeventhubs.ProducerClient, b batch) error {
	if b.Direct {
		return notOffered("azeventhubs sends batches only")
	}
	options := &azeventhubs.EventDataBatchOptions{PartitionID: b.Partition, PartitionKey: b.Key}
	data, err := producer.NewEventDataBatch(ctx, options)
	if err != nil {
		return err
	}
	for _, e := range b.Events {
		err := goAdd(data, e)
		if errors.Is(err, azeventhubs.ErrEventDataTooLarge) && data.NumEvents() > 0 {
			if err := producer.SendEventDataBatch(ctx, data, nil); err != nil {
				return err
			}
			if data, err = producer.NewEventDataBatch(ctx, options); err != nil {
				return err
			}
			err = goAdd(data, e)
		}
		if err != nil {
			return err
		}
	}
	return producer.SendEventDataBatch(ctx, data, nil)
}

func goProperties(ctx context.Context, r request) (response, error) {
	consumer, err := goConsumer(r.Conn, "")
	if err != nil {
		return response{}, err
	}
	defer func() { _ = consumer.Close(context.WithoutCancel(ctx)) }()
	p, err := consumer.GetEventHubProperties(ctx, nil)
	return response{HubInfo: &hubInfo{Name: p.Name, CreatedMs: p.CreatedOn.UnixMilli(), Partitions: p.PartitionIDs}}, err
}

func goPartition(ctx context.Context, r request) (response, error) {
	consumer, err := goConsumer(r.Conn, "")
	if err != nil {
		return response{}, err
	}
	defer func() { _ = consumer.Close(context.WithoutCancel(ctx)) }()
	p, err := consumer.GetPartitionProperties(ctx, *r.Partition, nil)
	return response{Partition: &partitionInfo{
		Hub: p.EventHubName, ID: p.PartitionID, Begin: p.BeginningSequenceNumber, Last: p.LastEnqueuedSequenceNumber,
		LastOffset: p.LastEnqueuedOffset, LastTimeMs: p.LastEnqueuedOn.UnixMilli(), Empty: p.IsEmpty,
	}}, err
}

// goProcess runs the Processor with one goroutine a partition.
func goProcess(ctx context.Context, r request) (response, error) {
	consumer, err := goConsumer(r.Conn, r.Group)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = consumer.Close(context.WithoutCancel(ctx)) }()
	store := &memoryStore{owned: make(map[string]azeventhubs.Ownership), checkpoints: make(map[string]azeventhubs.Checkpoint)}
	earliest := true
	processor, err := azeventhubs.NewProcessor(consumer, store, &azeventhubs.ProcessorOptions{
		LoadBalancingStrategy: azeventhubs.ProcessorStrategyGreedy,
		UpdateInterval:        300 * time.Millisecond,
		StartPositions:        azeventhubs.StartPositions{Default: azeventhubs.StartPosition{Earliest: &earliest}},
	})
	if err != nil {
		return response{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.WaitMs)*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	var out response
	var workers sync.WaitGroup
	workers.Go(func() {
		for partition := processor.NextPartitionClient(ctx); partition != nil; partition = processor.NextPartitionClient(ctx) {
			workers.Go(func() {
				defer func() { _ = partition.Close(context.WithoutCancel(ctx)) }()
				for ctx.Err() == nil {
					events, err := partition.ReceiveEvents(ctx, 1, nil)
					if err != nil || len(events) == 0 {
						return
					}
					_ = partition.UpdateCheckpoint(ctx, events[len(events)-1], nil)
					mu.Lock()
					for _, e := range events {
						out.Events = append(out.Events, goDecodeEvent(e, partition.PartitionID()))
					}
					if len(out.Events) >= r.Count {
						cancel()
					}
					mu.Unlock()
				}
			})
		}
	})
	err = processor.Run(ctx)
	workers.Wait()
	out.Checkpoints = store.count()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	return out, err
}

// memoryStore is a checkpoint store for one processor run.
type memoryStore struct {
	mu          sync.Mutex
	owned       map[string]azeventhubs.Ownership
	checkpoints map[string]azeventhubs.Checkpoint
}

func (s *memoryStore) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.checkpoints)
}

func (s *memoryStore) ClaimOwnership(_ context.Context, want []azeventhubs.Ownership, _ *azeventhubs.ClaimOwnershipOptions) ([]azeventhubs.Ownership, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var got []azeventhubs.Ownership
	for _, w := range want {
		if current, ok := s.owned[w.PartitionID]; ok && w.ETag != nil && *current.ETag != *w.ETag {
			continue
		}
		tag := azcore.ETag(uuid.NewString())
		w.ETag, w.LastModifiedTime = &tag, time.Now()
		s.owned[w.PartitionID] = w
		got = append(got, w)
	}
	return got, nil
}

func (s *memoryStore) ListCheckpoints(context.Context, string, string, string, *azeventhubs.ListCheckpointsOptions) ([]azeventhubs.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []azeventhubs.Checkpoint
	for _, c := range s.checkpoints {
		out = append(out, c)
	}
	return out, nil
}

func (s *memoryStore) ListOwnership(context.Context, string, string, string, *azeventhubs.ListOwnershipOptions) ([]azeventhubs.Ownership, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []azeventhubs.Ownership
	for _, o := range s.owned {
		out = append(out, o)
	}
	return out, nil
}

func (s *memoryStore) SetCheckpoint(_ context.Context, c azeventhubs.Checkpoint, _ *azeventhubs.SetCheckpointOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkpoints[c.PartitionID] = c
	return nil
}

// goLoad is the load operation: paced sends by key, one reader a partition.
func goLoad(ctx context.Context, r request) (response, error) {
	producer, err := goProducer(r.Conn)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = producer.Close(context.WithoutCancel(ctx)) }()
	consumer, err := goConsumer(r.Conn, r.Group)
	if err != nil {
		return response{}, err
	}
	defer func() { _ = consumer.Close(context.WithoutCancel(ctx)) }()
	hub, err := consumer.GetEventHubProperties(ctx, nil)
	if err != nil {
		return response{}, err
	}
	t := newTally()
	reading, stop := context.WithCancel(ctx)
	var readers sync.WaitGroup
	for _, partition := range hub.PartitionIDs {
		readers.Go(func() { goDrain(reading, consumer, partition, t) })
	}
	body := make([]byte, r.Size)
	t.pace(ctx, r.Rate, r.Seconds, func(key string, numbers []int32) error {
		batch, err := producer.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionKey: &key})
		if err != nil {
			return err
		}
		for _, n := range numbers {
			if err := batch.AddEventData(&azeventhubs.EventData{Body: body, Properties: map[string]any{"n": n}}, nil); err != nil {
				return err
			}
		}
		return producer.SendEventDataBatch(ctx, batch, nil)
	})
	t.settle(ctx, time.Duration(r.WaitMs)*time.Millisecond)
	stop()
	readers.Wait()
	return t.result(), nil
}

// goDrain reads one partition until ctx ends, and opens it again after an error that the SDK gave up on.
func goDrain(ctx context.Context, consumer *azeventhubs.ConsumerClient, partition string, t *tally) {
	earliest := true
	start := azeventhubs.StartPosition{Earliest: &earliest}
	for ctx.Err() == nil {
		client, err := consumer.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{StartPosition: start})
		for err == nil {
			var events []*azeventhubs.ReceivedEventData
			if events, err = client.ReceiveEvents(ctx, 1, nil); err == nil {
				for _, e := range events {
					n, _ := e.Properties["n"].(int32)
					t.take(*e.PartitionKey, n)
					start = azeventhubs.StartPosition{SequenceNumber: &e.SequenceNumber}
				}
			}
		}
		if client != nil {
			_ = client.Close(context.WithoutCancel(ctx))
		}
		if ctx.Err() == nil {
			t.note(err)
			time.Sleep(300 * time.Millisecond)
		}
	}
}

// tally counts a load run; every event carries its number in property n.
type tally struct {
	mu        sync.Mutex
	seen      map[int32]bool
	lastOfKey map[string]int32
	acked     []int32
	out       response
}

func newTally() *tally { return &tally{seen: make(map[int32]bool), lastOfKey: make(map[string]int32)} }

func (t *tally) take(key string, n int32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen[n] {
		t.out.Doubled++
		return
	}
	t.seen[n] = true
	if last, ok := t.lastOfKey[key]; ok && last > n {
		t.out.Disordered++
	}
	t.lastOfKey[key] = n
}

func (t *tally) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.out.Errors) < 20 {
		t.out.Errors = append(t.out.Errors, err.Error())
	}
}

// pace calls send with runs of consecutive numbers at the rate; what fails is noted and not expected to arrive.
func (t *tally) pace(ctx context.Context, rate, seconds int, send func(key string, numbers []int32) error) {
	total, started, lane := rate*seconds, time.Now(), 0
	for n := 0; n < total && ctx.Err() == nil; {
		due := min(total, n+200, int(time.Since(started).Seconds()*float64(rate)))
		if due <= n {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		var numbers []int32
		for ; n < due; n++ {
			numbers = append(numbers, int32(n))
		}
		err := send(fmt.Sprintf("key-%d", lane%16), numbers)
		lane++
		if err != nil {
			t.note(err)
			continue
		}
		t.mu.Lock()
		t.acked = append(t.acked, numbers...)
		t.out.SentMs = int(time.Since(started).Milliseconds())
		t.mu.Unlock()
	}
}

// settle waits until all that was acknowledged has been read.
func (t *tally) settle(ctx context.Context, wait time.Duration) {
	for end := time.Now().Add(wait); time.Now().Before(end) && ctx.Err() == nil && t.result().Lost > 0; {
		time.Sleep(50 * time.Millisecond)
	}
}

func (t *tally) result() response {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.out
	out.Errors = slices.Clone(out.Errors)
	out.Sent, out.Received = len(t.acked), len(t.seen)
	for _, n := range t.acked {
		if !t.seen[n] {
			out.Lost++
		}
	}
	return out
}
