package kafka

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Coordinator = (*coordinator)(nil)

// coordinator deals out the partitions that a consumer group gives to this instance. Its
// client is a member of the group and nothing else: it fetches no records, so no reader
// that is slow can hold a rebalance up, and readers come from the source's pumps.
//
// The protocol is the cooperative one: a rebalance takes away only what moves. Such
// partitions end first, here, and the client joins the group again, which lets others
// have them, when they are released.
type coordinator struct {
	source  *source
	log     *slog.Logger
	client  *kgo.Client
	admin   *kadm.Client
	lease   *lease
	commits *committer
	life    context.Context //nolint:containedctx // ends with Close; the client's hooks have none
	cancel  context.CancelFunc
	running sync.WaitGroup
	closed  chan struct{}
	wake    chan struct{} // for Next: the queue or the fault has changed
	hurry   chan struct{} // for the dealer: a partition is ours that nobody has a claim on

	// mu guards what follows. It is never held across anything that waits.
	mu       sync.Mutex
	assigned map[partitionName]bool
	held     map[partitionName]*claim    // until they are released
	resting  map[partitionName]time.Time // until when a released partition is not dealt out again
	queue    []*claim                    // for Next
	fault    error                       // why there is nothing, for Next
}

// Coordinate implements hubferry.Coordinated.
func (s *groupSource) Coordinate(ctx context.Context, m hubferry.Member) (hubferry.Coordinator, error) {
	if isDone(s.done) {
		return nil, hubferry.ErrClosed
	}
	c := &coordinator{
		source: s.source, log: s.conn.env.Log, closed: make(chan struct{}),
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		assigned: map[partitionName]bool{}, held: map[partitionName]*claim{}, resting: map[partitionName]time.Time{},
	}
	o := s.options
	var err error
	c.client, err = s.conn.newClient(
		kgo.ConsumerGroup(o.ConsumerGroup),
		kgo.Balancers(balancerFor(m)),
		kgo.SessionTimeout(o.sessionTimeout()),
		kgo.RebalanceTimeout(o.rebalanceTimeout()),
		kgo.HeartbeatInterval(o.sessionTimeout()/15),
		kgo.RetryTimeout(o.sessionTimeout()),                                   // a broker that restarts must not cost the membership
		kgo.MetadataMaxAge(discoverEvery), kgo.MetadataMinAge(discoverEvery/4), // partitions that are added
		kgo.Rack(s.conn.options.Rack),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(c.onAssigned), kgo.OnPartitionsRevoked(c.onRevoked), kgo.OnPartitionsLost(c.onLost),
		kgo.AdjustFetchOffsetsFn(func(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			return nil, nil // this client fetches nothing
		}),
		kgo.WithHooks(c),
		optional(o.InstanceID != "", kgo.InstanceID(o.InstanceID)),
	)
	if err != nil {
		return nil, err
	}
	c.admin = kadm.NewClient(c.client)
	c.lease = newLease(c)
	c.commits = &committer{c: c}
	ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.life = ctx
	c.running.Go(func() { c.discover(ctx) })
	c.running.Go(func() { c.deal(ctx) })
	c.running.Go(func() { c.lease.run(ctx) })
	return c, nil
}

// optional returns an option, or one that does nothing.
func optional(yes bool, o kgo.Opt) kgo.Opt {
	if yes {
		return o
	}
	return kgo.WithHooks()
}

// discoverEvery is the time between two looks for new topics and partitions.
const discoverEvery = 4 * time.Second

// discover joins the group for every topic of the source, also for new ones.
func (c *coordinator) discover(ctx context.Context) {
	known := map[string]bool{}
	for {
		topics, err := c.source.topics.find(ctx, c.source.conn)
		var fresh []string
		for i := range topics {
			if !known[topics[i].name] {
				known[topics[i].name] = true
				fresh = append(fresh, topics[i].name)
			}
		}
		if len(fresh) > 0 {
			c.log.Info("topics found", "group", c.source.options.ConsumerGroup, "topics", fresh)
			c.client.AddConsumeTopics(fresh...)
		}
		if err != nil {
			c.fail(err)
		}
		if !wait(ctx, discoverEvery) {
			return
		}
	}
}

// wait returns false if ctx ends first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// fail notes why there is nothing to deal out, for Next.
func (c *coordinator) fail(err error) {
	c.mu.Lock()
	c.fault = err
	c.mu.Unlock()
	poke(c.wake)
}

// OnGroupManageError implements kgo.HookGroupManageError: the client goes on trying.
func (c *coordinator) OnGroupManageError(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if errors.Is(err, kerr.InconsistentGroupProtocol) {
		err = c.others(err)
	}
	c.fail(classify("join group "+c.source.options.ConsumerGroup, err))
}

func names(m map[string][]int32) []partitionName {
	var list []partitionName
	for topic, partitions := range m {
		for _, p := range partitions {
			list = append(list, partitionName{topic, p})
		}
	}
	return list
}

// onAssigned notes partitions that are ours from now on.
func (c *coordinator) onAssigned(_ context.Context, _ *kgo.Client, added map[string][]int32) {
	c.mu.Lock()
	for _, name := range names(added) {
		c.assigned[name] = true
	}
	c.mu.Unlock()
	poke(c.hurry)
}

// onRevoked gives partitions back that are wanted elsewhere. The client keeps the
// membership alive meanwhile and waits for it to return.
func (c *coordinator) onRevoked(ctx context.Context, _ *kgo.Client, revoked map[string][]int32) {
	claims := c.unassign(revoked, func(k *claim) { k.end() })
	// In the end in-flight work is dropped rather than finished: a group does not wait
	// longer than the rebalance timeout for a member.
	late := time.NewTimer(c.source.options.rebalanceTimeout() * 3 / 4)
	defer late.Stop()
	for _, k := range claims {
		select {
		case <-k.freed:
			continue
		case <-late.C:
		case <-c.closed:
		case <-ctx.Done():
		}
		c.mu.Lock()
		for _, k := range claims {
			k.lose("it was not finished in time for a rebalance")
		}
		c.mu.Unlock()
		break
	}
	for _, k := range claims { // who holds a lost claim releases it at once
		select {
		case <-k.freed:
		case <-c.closed:
		case <-ctx.Done():
		case <-time.After(lostPatience):
		}
	}
}

// lostPatience is how long a rebalance waits for the release of claims that are lost.
const lostPatience = 10 * time.Second

// onLost ends claims: the group may have given the partitions to others already.
func (c *coordinator) onLost(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	c.unassign(lost, func(k *claim) { k.lose("the group has dropped this member") })
}

// unassign notes partitions that are no longer ours and returns the claims on them, after
// f was called for each.
func (c *coordinator) unassign(m map[string][]int32, f func(k *claim)) []*claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var claims []*claim
	for _, name := range names(m) {
		delete(c.assigned, name)
		delete(c.resting, name)
		k := c.held[name]
		if k == nil {
			continue
		}
		f(k)
		if !k.given {
			c.drop(k)
			continue
		}
		claims = append(claims, k)
	}
	return claims
}

// drop ends a claim that Next has not returned. The caller holds c.mu.
func (c *coordinator) drop(k *claim) {
	k.lose("nobody had it yet")
	k.free()
}

// deal makes claims of partitions that are ours.
func (c *coordinator) deal(ctx context.Context) {
	const again = time.Second
	for {
		select {
		case <-c.hurry:
		case <-time.After(again):
		case <-ctx.Done():
			return
		}
		open := c.open(time.Now())
		if len(open) == 0 {
			continue
		}
		if err := c.claim(ctx, open); err != nil && ctx.Err() == nil {
			c.log.Warn("partitions not taken up yet", "group", c.source.options.ConsumerGroup, "error", err)
			c.fail(err)
			if !wait(ctx, again) {
				return
			}
			poke(c.hurry)
		}
	}
}

// open returns the partitions that are ours and that nobody has a claim on.
func (c *coordinator) open(now time.Time) []partitionName {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []partitionName
	for name := range c.assigned {
		if c.held[name] == nil && !now.Before(c.resting[name]) {
			list = append(list, name)
		}
	}
	return list
}

// claim reads the checkpoints of partitions and puts claims into the queue.
func (c *coordinator) claim(ctx context.Context, open []partitionName) error {
	ctx, cancel := context.WithTimeout(ctx, c.source.options.sessionTimeout())
	defer cancel()
	if err := c.lease.renew(ctx); err != nil {
		return err
	}
	wanted := map[string]bool{}
	for _, name := range open {
		wanted[name.topic] = true
	}
	list, err := c.source.conn.metadata(ctx, slices.Sorted(maps.Keys(wanted)))
	if err != nil {
		return err
	}
	topics := map[string]*described{}
	for i := range list {
		topics[list[i].name] = &list[i]
	}
	group := c.source.options.ConsumerGroup
	committed, err := c.admin.FetchOffsets(kadm.RequireStable(ctx), group)
	if err != nil {
		return classify("fetch the offsets of group "+group, err)
	}
	var failed error
	for _, name := range open {
		t := topics[name.topic]
		if t == nil || t.err != nil {
			failed = t.missing(name.topic)
			continue
		}
		o, ok := committed.Lookup(name.topic, name.partition)
		if ok && o.Err != nil {
			failed = classify("fetch the offset of "+name.topic, o.Err)
			continue
		}
		var checkpoint *hubferry.Checkpoint
		if ok && o.At >= 0 {
			checkpoint = parseNote(o.At, o.LeaderEpoch, o.Metadata)
		}
		c.put(newClaim(c, &t.topic, name.partition, checkpoint))
	}
	return failed
}

func (t *described) missing(name string) error {
	if t == nil {
		return &hubferry.Error{Kind: hubferry.Transient, Op: "describe topic " + name, Err: errors.New("the cluster left it out")}
	}
	return t.err
}

// put queues a claim, unless its partition was taken away meanwhile.
func (c *coordinator) put(k *claim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.assigned[k.name] || c.held[k.name] != nil {
		return
	}
	c.held[k.name] = k
	c.queue = append(c.queue, k)
	c.fault = nil
	poke(c.wake)
}

// Next implements hubferry.Coordinator. Every claim that it returns must be released in
// the end, a lost one too. It returns an error when there is nothing because the cluster
// is away or refuses us; calling it again is right, the membership goes on by itself.
func (c *coordinator) Next(ctx context.Context) (*hubferry.Claim, error) {
	for {
		k, err := c.take()
		if err != nil {
			return nil, err
		}
		if k != nil {
			return &hubferry.Claim{Place: k.place, Checkpoint: k.checkpoint, Ending: k.ending, Lost: k.lost, Holder: k}, nil
		}
		select {
		case <-c.wake:
		case <-c.closed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *coordinator) take() (*claim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if isDone(c.closed) {
		return nil, hubferry.ErrClosed
	}
	for len(c.queue) > 0 {
		k := c.queue[0]
		c.queue = c.queue[1:]
		if k.gone {
			k.free()
			continue
		}
		k.given = true
		return k, nil
	}
	err := c.fault
	c.fault = nil
	if len(c.held) > 0 {
		return nil, nil //nolint:nilnil // nothing yet, and nothing wrong with what is there
	}
	return nil, err
}

// Close implements hubferry.Coordinator. It leaves the group, so that others get the
// partitions at once. Claims that are not released are lost.
func (c *coordinator) Close(ctx context.Context) error {
	c.mu.Lock()
	if isDone(c.closed) {
		c.mu.Unlock()
		return nil
	}
	close(c.closed)
	for _, k := range c.held {
		k.lose("the coordinator was closed")
	}
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
	err := c.client.LeaveGroupContext(ctx)
	c.client.Close()
	if err != nil && !errors.Is(err, kgo.ErrClientClosed) {
		return classify("leave group "+c.source.options.ConsumerGroup, err)
	}
	return nil
}
