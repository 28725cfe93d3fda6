package kafka_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
	"github.com/hubferry/hubferry/drivertest"
	"github.com/hubferry/hubferry/internal/kafkatest"
)

// broker is the real one that the tests of this package share.
var broker kafkatest.Shared

func TestMain(m *testing.M) {
	code := m.Run()
	broker.Close()
	os.Exit(code)
}

// service is a cluster as the tests need it, fake or real, with one topic for the test.
type service struct {
	topic   string
	brokers []string
	admin   *kadm.Client
	conns   *conns
	// options reach the cluster as a user who may do everything.
	options func() *kafka.ConnectionOptions
	auth    []kgo.Opt // the same for a plain client
}

// conns remembers the connections that were dialled, to cut them.
type conns struct {
	mu   sync.Mutex
	open map[net.Conn]bool
}

func (c *conns) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err == nil {
		c.mu.Lock()
		c.open[conn] = true
		c.mu.Unlock()
	}
	return conn, err
}

func (c *conns) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.open {
		_ = conn.Close()
		delete(c.open, conn)
	}
}

var topicNumber atomic.Int64

// services runs a test against a fake cluster, and against the real broker where there is
// one.
func services(t *testing.T, run func(t *testing.T, s *service)) {
	t.Helper()
	t.Run("fake", func(t *testing.T) { run(t, fakeService(t)) })
	t.Run("real", func(t *testing.T) { run(t, realService(t)) })
}

func fakeService(t testing.TB) *service {
	t.Helper()
	c := newCluster(t)
	s := &service{
		topic: topicName, brokers: c.ListenAddrs(), options: c.options, conns: &conns{open: map[net.Conn]bool{}},
		auth: []kgo.Opt{kgo.SASL(plain.Auth{User: userName, Pass: password}.AsMechanism())},
	}
	s.admin = kadm.NewClient(s.client(t))
	return s
}

func realService(t testing.TB) *service {
	t.Helper()
	b := broker.Broker(t)
	s := &service{
		topic: fmt.Sprintf("topic-%d", topicNumber.Add(1)), brokers: []string{b.SASL()}, conns: &conns{open: map[net.Conn]bool{}},
		options: func() *kafka.ConnectionOptions {
			return &kafka.ConnectionOptions{
				Brokers: []string{b.SASL()}, DeliveryTimeout: 15 * time.Second,
				SASL: &kafka.SASLOptions{Mechanism: kafka.MechanismPlain, Username: kafkatest.User, Password: hubferry.NewSecret(kafkatest.Password)},
			}
		},
		auth: []kgo.Opt{kgo.SASL(plain.Auth{User: kafkatest.User, Pass: kafkatest.Password}.AsMechanism())},
	}
	s.admin = kadm.NewClient(s.client(t))
	s.create(t, s.topic, partitions)
	return s
}

// client makes a plain client, which does not know the driver.
func (s *service) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(append([]kgo.Opt{kgo.SeedBrokers(s.brokers...)}, s.auth...), opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// forever keeps what is written with the times of old events.
var forever = map[string]*string{"retention.ms": new("-1")}

func (s *service) create(t testing.TB, topic string, partitions int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	repeat := func(what string, f func() error) {
		for {
			err := f()
			if err == nil {
				return
			}
			if ctx.Err() != nil {
				t.Fatalf("%s %s: %v", what, topic, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	repeat("create", func() error { // a deletion that is under way is waited for
		_, err := s.admin.CreateTopic(ctx, int32(partitions), 1, forever, topic)
		return err
	})
	repeat("see", func() error { // brokers hear of it a moment later
		offsets, err := s.admin.ListEndOffsets(ctx, topic)
		if err == nil {
			err = offsets.Error()
		}
		if err == nil && len(offsets[topic]) != partitions {
			err = fmt.Errorf("%d partitions", len(offsets[topic]))
		}
		return err
	})
}

func (s *service) remove(t testing.TB, topic string) {
	t.Helper()
	if _, err := s.admin.DeleteTopic(context.WithoutCancel(t.Context()), topic); err != nil {
		t.Fatalf("delete %s: %v", topic, err)
	}
}

// produce stores records in their partitions.
func (s *service) produce(t testing.TB, opts []kgo.Opt, records ...*kgo.Record) {
	t.Helper()
	cl := s.client(t, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("produce: %v", err)
	}
}

// fill stores n records with their number as value in a partition.
func (s *service) fill(t testing.TB, partition int32, from, n int) {
	t.Helper()
	var records []*kgo.Record
	for i := range n {
		records = append(records, &kgo.Record{Topic: s.topic, Partition: partition, Value: fmt.Append(nil, from+i)})
	}
	s.produce(t, nil, records...)
}

func (s *service) connect(t testing.TB) hubferry.Connection {
	t.Helper()
	return connect(t, s.options(), hubferry.Env{Dial: s.conns.dial, Instance: fmt.Sprint("i", topicNumber.Add(1))})
}

func (s *service) inject(t testing.TB, partition int, events []hubferry.Event) {
	t.Helper()
	records := make([]*kgo.Record, len(events))
	for i := range events {
		records[i] = record(t, &events[i], int32(partition))
		records[i].Topic = s.topic
	}
	s.produce(t, nil, records...)
}

func (s *service) send(t testing.TB, events []hubferry.Event) {
	t.Helper()
	cl := s.client(t, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	defer cl.Close()
	for i := range events {
		r := record(t, &events[i], 0)
		r.Topic = s.topic
		if err := cl.ProduceSync(context.WithoutCancel(t.Context()), r).FirstErr(); err != nil {
			t.Fatalf("send: %v", err)
		}
	}
}

func (s *service) dump(t testing.TB, partition int) []hubferry.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	ends, err := s.admin.ListEndOffsets(ctx, s.topic)
	if err != nil {
		t.Fatal(err)
	}
	starts, err := s.admin.ListStartOffsets(ctx, s.topic)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(s.topic, int32(partition))
	start, _ := starts.Lookup(s.topic, int32(partition))
	cl := s.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: {int32(partition): kgo.NewOffset().AtStart()}}),
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer cl.Close()
	var events []hubferry.Event
	for next := start.Offset; next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("dump: %v", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				events = append(events, eventOf(t, r))
			}
			next = r.Offset + 1
		})
	}
	return events
}

func (s *service) trim(t testing.TB, partition int, upTo int64) {
	t.Helper()
	offsets := kadm.Offsets{}
	offsets.Add(kadm.Offset{Topic: s.topic, Partition: int32(partition), At: upTo + 1})
	resp, err := s.admin.DeleteRecords(context.WithoutCancel(t.Context()), offsets)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		t.Fatalf("trim: %v", err)
	}
}

// hole ends a partition with a transaction that was aborted.
func (s *service) hole(t testing.TB, partition int) {
	t.Helper()
	cl := s.client(t, kgo.TransactionalID(s.topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: s.topic, Partition: int32(partition), Value: []byte("aborted")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

func realHarness(t testing.TB) *drivertest.Harness {
	t.Helper()
	s := realService(t)
	b := broker.Broker(t)
	bad := s.options()
	bad.SASL.Password = hubferry.NewSecret("wrong-" + kafkatest.Password)
	return &drivertest.Harness{
		Driver: kafka.Driver(), Fields: messageFields, Connection: s.options(), BadConnection: bad,
		Source: &kafka.SourceOptions{}, Target: &kafka.TargetOptions{},
		Env:     hubferry.Env{Dial: s.conns.dial},
		Secrets: []string{kafkatest.Password}, Hub: s.topic, Unknown: "nowhere",
		Inject: s.inject, Dump: s.dump, Send: s.send, Trim: s.trim, Hole: s.hole,
		Cut: func(testing.TB) { s.conns.cut() },
		Stall: func(t testing.TB) func() {
			t.Helper()
			if err := b.Pause(); err != nil {
				t.Fatal(err)
			}
			return func() {
				if err := b.Resume(); err != nil {
					t.Error(err)
				}
			}
		},
		Recreate: func(t testing.TB) {
			t.Helper()
			s.remove(t, s.topic)
			s.create(t, s.topic, partitions)
		},
		Patience: 2 * time.Minute,
	}
}
