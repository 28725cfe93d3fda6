package faults

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/driver/kafka"
	"github.com/hubferry/hubferry/engine"
)

// brokers are how many a cluster has: enough for leaders to move.
const brokers = 2

// cluster is a Kafka cluster in this process, which can be ended and comes back with the same
// data, at other ports.
type cluster struct {
	name string // west or east
	dir  string

	mu    sync.Mutex
	fake  *kfake.Cluster
	hosts map[string]string // by address, also those of before
	addrs []string          // of now, by broker
}

func (c *cluster) start(topics ...string) error {
	opts := []kfake.Opt{
		kfake.NumBrokers(brokers), kfake.ClusterID(c.name), kfake.DataDir(c.dir), kfake.GroupMinSessionTimeout(time.Second),
	}
	fake, err := kfake.NewCluster(opts...)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fake, c.addrs = fake, fake.ListenAddrs()
	for i, addr := range c.addrs {
		c.hosts[addr] = c.host(i)
	}
	return nil
}

func (c *cluster) host(i int) string { return fmt.Sprintf("%s-%d.test", c.name, i) }

func (c *cluster) end() {
	if fake := c.running(); fake != nil {
		fake.Close()
	}
}

func (c *cluster) running() *kfake.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fake
}

func (c *cluster) address(i int) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs[i]
}

func (c *cluster) seeds() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.addrs
}

// hostOf returns the name of the broker that has, or had, an address.
func (c *cluster) hostOf(addr string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	host, ok := c.hosts[addr]
	return host, ok
}

// client makes a client that knows nothing of drivers, for as long as the cluster is where it is.
func (c *cluster) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(c.seeds()...), kgo.RetryTimeout(3*time.Second))...)
}

// kafkaClusters are two clusters, west and east.
type kafkaClusters struct {
	w        *world
	clusters [2]*cluster

	client *kgo.Client // of the load
	at     string
}

func newKafkaClusters(w *world) (*kafkaClusters, error) {
	s := &kafkaClusters{w: w}
	for side, name := range []string{"west", "east"} {
		c := &cluster{name: name, dir: filepath.Join(w.dir, name), hosts: map[string]string{}}
		s.clusters[side] = c
		if err := c.start(); err != nil {
			return nil, err
		}
		if err := c.fake.CreateTopic(hubName, int32(w.plan.partitions[side]), nil); err != nil {
			return nil, err
		}
		for i := range brokers {
			w.hosts[c.host(i)] = func() string { return c.address(i) }
		}
	}
	return s, nil
}

func (s *kafkaClusters) place() string { return s.clusters[source].name + "/" + hubName }

func (s *kafkaClusters) task(ctx context.Context, x *instance, env hubferry.Env) (engine.Task, error) {
	var t engine.Task
	var connections [2]hubferry.Connection
	for side := range connections {
		c, err := kafka.Driver().Connect(ctx, &kafka.ConnectionOptions{
			Brokers: s.clusters[side].seeds(), DeliveryTimeout: sendTimeout,
		}, env)
		if err != nil {
			return t, err
		}
		x.later(c.Close)
		connections[side] = c
	}
	o := &kafka.SourceOptions{ConsumerGroup: taskName, SessionTimeout: s.w.plan.expiry, RebalanceTimeout: s.w.plan.expiry}
	if s.w.plan.store != group {
		o.Checkpoints = kafka.CheckpointsStore
	}
	from, err := connections[source].Source(ctx, hubName, o)
	if err != nil {
		return t, err
	}
	to, err := connections[target].Target(ctx, &kafka.TargetOptions{TransactionTimeout: 5 * time.Second})
	if err != nil {
		return t, errors.Join(err, from.Close(ctx))
	}
	x.later(from.Close)
	x.later(to.Close)
	t.Source = from
	t.Routes = []engine.Route{{Name: "out", Target: to, Hub: hubName, Address: "east/" + hubName}}
	if dealt, ok := from.(hubferry.Coordinated); ok {
		t.Coordinate = func(ctx context.Context) (hubferry.Coordinator, error) {
			return dealt.Coordinate(ctx, hubferry.Member{Task: taskName})
		}
	}
	return t, nil
}

func (s *kafkaClusters) send(ctx context.Context, key string, texts []string) error {
	made := func() (records []*kgo.Record) { // the client keeps the time of its first try in them
		for i, text := range texts {
			r := &kgo.Record{Topic: hubName, Value: []byte(text), Headers: []kgo.RecordHeader{{Key: "index", Value: []byte(strconv.Itoa(i))}}}
			if key != "" {
				r.Key = []byte(key)
			}
			records = append(records, r)
		}
		return records
	}
	var err error
	for range 60 {
		if s.client == nil || s.at != s.clusters[source].address(0) {
			s.drop()
			// A cluster that comes back elsewhere never answers what is on its way: the client gives up then, too.
			s.client, err = s.clusters[source].client(kgo.RecordDeliveryTimeout(10*time.Second), kgo.AllowIdempotentProduceCancellation(), kgo.ProducerLinger(0))
			if err != nil {
				return err
			}
			s.at = s.clusters[source].address(0)
		}
		if err = s.client.ProduceSync(ctx, made()...).FirstErr(); err == nil {
			return nil
		}
		s.drop()
		pause(ctx, 200*time.Millisecond)
	}
	return fmt.Errorf("the load cannot be sent: %w", err)
}

func (s *kafkaClusters) drop() {
	if s.client != nil {
		s.client.Close()
		s.client = nil
	}
}

// read reads everything that is committed, with a client that knows no driver.
func (s *kafkaClusters) read(ctx context.Context, side int) (records []audit.Record, partitions int, err error) {
	var d dumped
	c := s.clusters[side]
	err = c.insist(ctx, func(ctx context.Context) (err error) {
		d, err = c.dump(ctx)
		return err
	})
	return d.records, d.partitions, err
}

// over waits until no transaction is open at the target, and checks that readers of committed
// records see all that is committed.
func (s *kafkaClusters) over(ctx context.Context) error {
	c := s.clusters[target]
	return c.insist(ctx, func(ctx context.Context) error {
		ends, err := c.ends(ctx, false)
		if err != nil {
			return err
		}
		stable, err := c.ends(ctx, true)
		if err != nil {
			return err
		}
		if !maps.Equal(ends, stable) {
			return fmt.Errorf("transactions are open: the ends are %v, and stable is what is before %v", ends, stable)
		}
		d, err := c.dump(ctx)
		if err != nil || d.unmarked > 0 {
			return err
		}
		seen := 0
		err = c.scan(ctx, stable, func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				seen++
			}
		}, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		if err == nil && seen != len(d.records) {
			err = fmt.Errorf("%d records are committed, and a reader of committed records sees %d", len(d.records), seen)
		}
		return err
	})
}

// insist tries until it succeeds: a cluster may be away just now.
func (c *cluster) insist(ctx context.Context, ask func(context.Context) error) (err error) {
	for range 60 {
		asking, cancel := context.WithTimeout(ctx, 10*time.Second)
		err = ask(asking)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		pause(ctx, 250*time.Millisecond)
	}
	return fmt.Errorf("the judge cannot read %s: %w", c.name, err)
}

// ends returns the ends of the topic's partitions, or of what is stable of them.
func (c *cluster) ends(ctx context.Context, stable bool) (map[int32]int64, error) {
	client, err := c.client()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	list := kadm.NewClient(client).ListEndOffsets
	if stable {
		list = kadm.NewClient(client).ListCommittedOffsets
	}
	found, err := list(ctx, hubName)
	if err == nil {
		err = found.Error()
	}
	ends := map[int32]int64{}
	found.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
	return ends, err
}

// scan reads the topic from its beginning to some ends.
func (c *cluster) scan(ctx context.Context, ends map[int32]int64, each func(*kgo.Record), opts ...kgo.Opt) error {
	left := maps.Clone(ends)
	maps.DeleteFunc(left, func(_ int32, end int64) bool { return end == 0 })
	client, err := c.client(append(opts, kgo.ConsumeTopics(hubName), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.KeepControlRecords(), kgo.FetchMaxWait(50*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if end, ok := ends[r.Partition]; !ok || r.Offset >= end {
				return
			}
			each(r)
			if r.Offset == ends[r.Partition]-1 {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// dumped is what is committed in a topic.
type dumped struct {
	records    []audit.Record
	partitions int
	// unmarked counts records of transactions that ended without a marker. Brokers always write
	// one. kfake does not when it starts again and has to read a partition from its beginning,
	// and a reader of committed records then takes what the same producer commits next for
	// aborted as well.
	unmarked int
}

// dump returns what is committed, by the markers in the log: a reader of committed records
// would not see yet what is behind the beginning of another transaction that is open.
func (c *cluster) dump(ctx context.Context) (d dumped, err error) {
	ends, err := c.ends(ctx, false)
	if err != nil {
		return d, err
	}
	type producer struct {
		partition int32
		id        int64
	}
	open := map[producer][]*kgo.Record{}
	byPartition := make([][]*kgo.Record, len(ends))
	err = c.scan(ctx, ends, func(r *kgo.Record) {
		from := producer{r.Partition, r.ProducerID}
		switch {
		case r.Attrs.IsControl():
			commit := binary.BigEndian.Uint16(r.Key[2:]) == 1 // the key is a version and a type
			for _, o := range open[from] {
				switch {
				case commit && o.ProducerEpoch == r.ProducerEpoch:
					byPartition[r.Partition] = append(byPartition[r.Partition], o)
				case commit, o.ProducerEpoch+1 < r.ProducerEpoch: // it ended before; who fences aborts with the next epoch
					d.unmarked++
				}
			}
			delete(open, from)
		case r.Attrs.IsTransactional():
			open[from] = append(open[from], r)
		default:
			byPartition[r.Partition] = append(byPartition[r.Partition], r)
		}
	})
	for _, list := range open {
		d.unmarked += len(list)
	}
	for _, list := range byPartition {
		slices.SortFunc(list, func(a, b *kgo.Record) int { return cmp.Compare(a.Offset, b.Offset) })
		for _, r := range list {
			d.records = append(d.records, recordOf(r))
		}
	}
	d.partitions = len(ends)
	return d, err
}

// recordOf makes a record for the judge.
func recordOf(r *kgo.Record) audit.Record {
	a := audit.Record{
		Partition: strconv.Itoa(int(r.Partition)), Sequence: r.Offset, Offset: strconv.FormatInt(r.Offset, 10), Enqueued: r.Timestamp,
		Parts: map[string]string{"body": string(r.Value)}, Provenance: map[string]string{},
	}
	if r.Key != nil {
		key := string(r.Key)
		a.Key = &key
	}
	for _, h := range r.Headers {
		if strings.HasPrefix(h.Key, "repl-") {
			a.Provenance[h.Key] = string(h.Value)
		} else {
			a.Parts["property/"+h.Key] = string(h.Value)
		}
	}
	return a
}

func (s *kafkaClusters) close(context.Context) {
	s.drop()
	for _, c := range s.clusters {
		c.end()
	}
}

// group is the store of worlds whose consumer group keeps the checkpoints.
const group = "group"

type groupStore struct{ cluster *cluster }

func (s *groupStore) open(context.Context, *instance, hubferry.Env) (hubferry.CheckpointStore, error) {
	return nil, errors.New("the group keeps the checkpoints")
}

func (s *groupStore) checkpoints(ctx context.Context, id hubferry.ID) (map[hubferry.ID]hubferry.Checkpoint, error) {
	found := map[hubferry.ID]hubferry.Checkpoint{}
	err := s.cluster.insist(ctx, func(ctx context.Context) error {
		client, err := s.cluster.client()
		if err != nil {
			return err
		}
		defer client.Close()
		offsets, err := kadm.NewClient(client).FetchOffsets(ctx, id.ConsumerGroup)
		if err == nil {
			err = offsets.Error()
		}
		if err != nil {
			return err
		}
		offsets.Each(func(o kadm.OffsetResponse) {
			own := id
			own.Partition = strconv.Itoa(int(o.Partition))
			found[own] = hubferry.Checkpoint{Position: hubferry.Position{Sequence: o.At - 1}}
		})
		return nil
	})
	return found, err
}

func (s *groupStore) close(context.Context) {}

// onRequests is a fault of some requests to a cluster.
func onRequests(side int, keys []kmsg.Key, topic string, causes ...*kerr.Error) func(*world, *instance, step) (func(), func() bool) {
	return func(w *world, _ *instance, s step) (func(), func() bool) {
		fake := w.service.(*kafkaClusters).clusters[side].running()
		h := fake.Fault(kfake.Fault{Keys: keys, Topic: topic, Err: causes[s.pick%uint64(len(causes))], Count: 1 + int(s.pick/8%4)})
		return h.Remove, func() bool { return h.Hits() > 0 }
	}
}

// slowRequests has the brokers of the target take their time to answer.
func slowRequests(w *world, _ *instance, s step) (func(), func() bool) {
	fake := w.service.(*kafkaClusters).clusters[target].running()
	var hit, over atomic.Bool
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		if !over.Load() && hit.CompareAndSwap(false, true) {
			fake.SleepControl(func() { time.Sleep(s.lasts) }) // others are answered meanwhile
		}
		return nil, nil, false
	})
	return func() { over.Store(true) }, hit.Load
}

// moveLeader makes another broker the leader of a partition, and of groups.
func moveLeader(w *world, _ *instance, s step) (func(), func() bool) {
	fake := w.service.(*kafkaClusters).clusters[s.side].running()
	partition := int32(int(s.pick/4) % w.partitions(s.side))
	go func() { // not in the moment, which may be one of the cluster's own; a cluster that ends never answers
		if err := fake.MoveTopicPartition(hubName, partition, 1-fake.LeaderFor(hubName, partition)); err != nil {
			w.fail(fmt.Errorf("move a leader: %w", err))
		}
		if s.pick/64%2 == 0 {
			fake.RehashCoordinators()
		}
	}()
	return nothing, always
}

// restartCluster ends a cluster, and starts it again.
func restartCluster(w *world, _ *instance, s step) (func(), func() bool) {
	c := w.service.(*kafkaClusters).clusters[s.side]
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.end()
	}()
	return func() {
		<-over
		if err := c.start(); err != nil {
			w.fail(fmt.Errorf("start a cluster again: %w", err))
		}
	}, always
}

// growTopic adds a partition to the topic, up to six.
func growTopic(w *world, _ *instance, s step) (func(), func() bool) {
	c := w.service.(*kafkaClusters).clusters[s.side]
	n := w.partitions(s.side)
	if n == mostPartitions {
		return nothing, func() bool { return false }
	}
	var hit atomic.Bool
	done := make(chan struct{})
	go func() { // not in the moment, which may be one of the cluster's own
		defer close(done)
		client, err := c.client()
		if err != nil {
			w.fail(err)
			return
		}
		defer client.Close()
		ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
		defer cancel()
		if _, err := kadm.NewClient(client).UpdatePartitions(ctx, n+1, hubName); err == nil { // else the cluster is away just now
			w.grown(s.side)
			hit.Store(true)
		}
	}()
	return func() { <-done }, hit.Load
}
