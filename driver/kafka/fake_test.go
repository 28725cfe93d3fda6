package kafka_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
	"github.com/hubferry/hubferry/drivertest"
)

const (
	topicName  = "topic"
	userName   = "hubferry"
	password   = "kJ8-very-secret-password"
	partitions = 4
)

// cluster is a fake cluster and a way to cut its connections.
type cluster struct {
	*kfake.Cluster
	mu    sync.Mutex
	conns map[net.Conn]bool
}

// listener remembers the connections that it accepted.
type listener struct {
	net.Listener
	c *cluster
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.c.mu.Lock()
		l.c.conns[conn] = true
		l.c.mu.Unlock()
	}
	return conn, err
}

func (c *cluster) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		_ = conn.Close()
		delete(c.conns, conn)
	}
}

func newCluster(t testing.TB, opts ...kfake.Opt) *cluster {
	t.Helper()
	c := &cluster{conns: map[net.Conn]bool{}}
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(2), kfake.SeedTopics(partitions, topicName),
		kfake.EnableSASL(), kfake.Superuser("PLAIN", userName, password), kfake.Superuser("SCRAM-SHA-256", userName, password),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			return &listener{l, c}, err
		}),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	c.Cluster = fake
	t.Cleanup(fake.Close)
	c.answerBadPasswords()
	return c
}

// answerBadPasswords makes the cluster say why it closes a connection, as brokers do
// (KIP-152); kfake just closes it.
func (c *cluster) answerBadPasswords() {
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		auth, ok := req.(*kmsg.SASLAuthenticateRequest)
		if !ok || !bytes.Contains(auth.SASLAuthBytes, []byte("wrong-")) {
			return nil, nil, false
		}
		resp, ok := auth.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if ok {
			resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
			resp.ErrorMessage = new("Authentication failed: Invalid username or password")
		}
		return resp, nil, true
	})
}

func (c *cluster) options() *kafka.ConnectionOptions {
	return &kafka.ConnectionOptions{
		Brokers:         c.ListenAddrs(),
		SASL:            &kafka.SASLOptions{Mechanism: kafka.MechanismPlain, Username: userName, Password: hubferry.NewSecret(password)},
		DeliveryTimeout: 15 * time.Second,
	}
}

// client makes a plain client, which does not know the driver.
func (c *cluster) client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...), kgo.SASL(plain.Auth{User: userName, Pass: password}.AsMechanism()))...)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func (c *cluster) produce(t testing.TB, cl *kgo.Client, partition int32, events []hubferry.Event) {
	t.Helper()
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	var records []*kgo.Record
	for i := range events {
		records = append(records, record(t, &events[i], partition))
	}
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatalf("inject: %v", err)
	}
}

func (c *cluster) inject(t testing.TB, partition int, events []hubferry.Event) {
	t.Helper()
	c.produce(t, c.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner())), int32(partition), events)
}

// send produces as the Java client does: by murmur2 of the key.
func (c *cluster) send(t testing.TB, events []hubferry.Event) {
	t.Helper()
	c.produce(t, c.client(t, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil))), 0, events)
}

func (c *cluster) dump(t testing.TB, partition int) []hubferry.Event {
	t.Helper()
	info := c.PartitionInfo(topicName, int32(partition))
	if info == nil {
		t.Fatalf("there is no partition %d", partition)
	}
	cl := c.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: {int32(partition): kgo.NewOffset().AtStart()}}),
		kgo.KeepControlRecords(), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	var events []hubferry.Event
	for next := info.LogStartOffset; next < info.HighWatermark; {
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

// hole ends a partition with a transaction that was aborted: a record that nobody may
// read, and a control record.
func (c *cluster) hole(t testing.TB, partition int) {
	t.Helper()
	cl := c.client(t, kgo.TransactionalID("hole"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topicName, Partition: int32(partition), Value: []byte("aborted")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := cl.EndTransaction(ctx, kgo.TryAbort); err != nil {
		t.Fatal(err)
	}
}

// stall holds produce requests until it is released.
func (c *cluster) stall() (release func()) {
	block := make(chan struct{})
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-block:
		default:
			c.KeepControl()
			c.SleepControl(func() { <-block })
		}
		return nil, nil, false
	})
	return func() { close(block) }
}

func fakeHarness(t testing.TB) *drivertest.Harness {
	t.Helper()
	c := newCluster(t)
	bad := c.options()
	bad.SASL = &kafka.SASLOptions{Mechanism: kafka.MechanismPlain, Username: userName, Password: hubferry.NewSecret("wrong-" + password)}
	return &drivertest.Harness{
		Driver: kafka.Driver(), Fields: messageFields, Connection: c.options(), BadConnection: bad,
		Source: &kafka.SourceOptions{}, Target: &kafka.TargetOptions{},
		Secrets: []string{password}, Hub: topicName, Unknown: "nowhere",
		Inject: c.inject, Dump: c.dump, Send: c.send,
		Cut:   func(testing.TB) { c.cut() },
		Stall: func(testing.TB) func() { return c.stall() },
		Trim: func(t testing.TB, partition int, upTo int64) {
			t.Helper()
			if err := c.DeleteRecords(topicName, int32(partition), upTo+1); err != nil {
				t.Fatal(err)
			}
		},
		Hole: c.hole,
		Recreate: func(t testing.TB) {
			t.Helper()
			if err := c.DeleteTopic(topicName); err != nil {
				t.Fatal(err)
			}
			if err := c.CreateTopic(topicName, partitions, nil); err != nil {
				t.Fatal(err)
			}
		},
		Patience:   time.Minute,
		Goroutines: []string{"franz-go/pkg/kfake."}, // a fetch that waits outlives its connection
	}
}
