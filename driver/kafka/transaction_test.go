package kafka_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

var sourceID = hubferry.ID{Namespace: "west", Hub: "orders", ConsumerGroup: "group", Partition: "3"}

func at(n int64) *hubferry.Checkpoint {
	return &hubferry.Checkpoint{Position: hubferry.Position{Sequence: n, Epoch: 2}, Incarnation: "first", Time: time.UnixMilli(1_700_000_000_000).UTC()}
}

func committer(t *testing.T, w hubferry.Writer) hubferry.Committer {
	t.Helper()
	c, ok := w.(hubferry.Committer)
	if !ok {
		t.Fatal("the writer is no Committer")
	}
	return c
}

// committed returns the bodies in a partition that a reader of committed records sees.
func (c *cluster) committed(t testing.TB, partition int32) string {
	t.Helper()
	cl := c.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: {partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topicName)
	if err != nil {
		t.Fatal(err)
	}
	end, _ := ends.Lookup(topicName, partition)
	var all []string
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			next = r.Offset + 1
			if !r.Attrs.IsControl() {
				all = append(all, string(r.Value))
			}
		})
	}
	return strings.Join(all, " ")
}

func (c *cluster) wants(t *testing.T, partition int32, want string) {
	t.Helper()
	if got := c.committed(t, partition); got != want {
		t.Errorf("partition %d has %q, want %q", partition, got, want)
	}
}

// step commits one run to each of two partitions.
func step(t *testing.T, c hubferry.Committer, from int, prev, next *hubferry.Checkpoint) error {
	t.Helper()
	return c.Commit(t.Context(), sourceID, []hubferry.Run{{Events: named(from, 2)}, {Partition: 1, Events: named(from, 1)}}, prev, next)
}

// Position and events move together, and who has been fenced moves nothing (G-12).
func TestCommit(t *testing.T) {
	c := newCluster(t)
	first := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	second := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if err := step(t, first, 0, nil, at(1)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("a commit before Adopt: %v", err)
	}
	if cp, err := first.Adopt(t.Context(), sourceID); cp != nil || err != nil {
		t.Fatalf("%+v, %v", cp, err)
	}
	next := at(1)
	next.Marks = map[string]hubferry.Position{"place": {Sequence: 7, Offset: "o", Epoch: 1}}
	next.States = map[string][]byte{"editor": {1, 2}}
	next.Clean = true
	if err := step(t, first, 0, nil, next); err != nil {
		t.Fatal(err)
	}
	if err := step(t, first, 2, next, at(3)); err != nil {
		t.Fatal(err)
	}
	if err := step(t, first, 4, next, at(5)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("a commit on a position that has moved: %v", err)
	}
	other := sourceID
	other.Partition = "4"
	if cp, err := second.Adopt(t.Context(), other); cp != nil || err != nil {
		t.Errorf("another partition: %+v, %v", cp, err)
	}
	cp, err := second.Adopt(t.Context(), sourceID)
	if err != nil || cp == nil || fmt.Sprint(*cp) != fmt.Sprint(*at(3)) {
		t.Fatalf("%+v, %v", cp, err)
	}
	if err := step(t, first, 4, at(3), at(5)); hubferry.KindOf(err) != hubferry.Lost {
		t.Errorf("a commit of a zombie: %v", err)
	}
	if err := step(t, second, 4, at(3), at(5)); err != nil {
		t.Fatal(err)
	}
	if cp, err := first.Adopt(t.Context(), sourceID); err != nil || cp.Position.Sequence != 5 {
		t.Errorf("the first again: %+v, %v", cp, err)
	}
	c.wants(t, 0, "0 1 2 3 4 5")
	c.wants(t, 1, "0 2 4")
}

// All that a checkpoint holds comes back.
func TestStoredPositionIsWhole(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	want := at(9)
	want.Position.Offset = "text"
	want.Marks = map[string]hubferry.Position{"place": {Sequence: 7, Offset: "o", Epoch: 1}}
	want.States = map[string][]byte{"editor": {0, 0xff}}
	want.Clean = true
	if err := w.Commit(t.Context(), sourceID, nil, nil, want); err != nil {
		t.Fatal(err)
	}
	again := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	got, err := again.Adopt(t.Context(), sourceID)
	if err != nil || fmt.Sprint(*got) != fmt.Sprint(*want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// An event that is refused takes the whole transaction along, and the next one goes.
func TestPoisonInATransaction(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	run := named(0, 3)
	run[1] = sized(2 << 20)
	if err := w.Commit(t.Context(), sourceID, []hubferry.Run{{Events: run}}, nil, at(3)); hubferry.KindOf(err) != hubferry.TooLarge {
		t.Errorf("%v", err)
	}
	if err := step(t, w, 0, nil, at(1)); err != nil {
		t.Fatal(err)
	}
	c.wants(t, 0, "0 1")
}

// A broker that refuses a batch ends the transaction: nothing of it is seen, and the same
// producer goes on.
func TestTransactionIsGivenUp(t *testing.T) {
	for _, code := range []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.InvalidRecord, kerr.OutOfOrderSequenceNumber, kerr.NotLeaderForPartition} {
		t.Run(code.Message, func(t *testing.T) {
			c := newCluster(t)
			w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
			if _, err := w.Adopt(t.Context(), sourceID); err != nil {
				t.Fatal(err)
			}
			if err := step(t, w, 0, nil, at(1)); err != nil {
				t.Fatal(err)
			}
			c.refuse(func(n int) *kerr.Error {
				if n == 1 {
					return code
				}
				return nil
			})
			err := w.Commit(t.Context(), sourceID, []hubferry.Run{{Events: named(2, 1)}, {Partition: 1, Events: named(2, 1)}}, at(1), at(2))
			switch e, ok := errors.AsType[*hubferry.Error](err); {
			case code.Retriable && err == nil:
				c.wants(t, 0, "0 1 2")
				return
			case !ok || e.Unsure || e.Kind == hubferry.Lost:
				t.Fatalf("%v", err)
			}
			c.wants(t, 0, "0 1")
			c.wants(t, 1, "0")
			if err := step(t, w, 2, at(1), at(3)); err != nil {
				t.Fatal(err)
			}
			c.wants(t, 0, "0 1 2 3")
			c.wants(t, 1, "0 2")
		})
	}
}

// An event that only the broker refuses takes its transaction along, and the next one goes: to
// begin it again must not look like another instance.
func TestBrokerRefusesAnEvent(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		w := committer(t, writerOf(t, connect(t, s.options(), hubferry.Env{}), s.topic))
		if _, err := w.Adopt(t.Context(), sourceID); err != nil {
			t.Fatal(err)
		}
		if err := step(t, w, 0, nil, at(1)); err != nil {
			t.Fatal(err)
		}
		limit := "2000" // which the writer does not know
		if _, err := s.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, s.topic); err != nil {
			t.Fatal(err)
		}
		poison := hubferry.Run{Events: []*hubferry.Event{named(2, 1)[0], sized(3000)}}
		for range 2 {
			e, ok := errors.AsType[*hubferry.Error](w.Commit(t.Context(), sourceID, []hubferry.Run{poison, {Partition: 1, Events: named(2, 1)}}, at(1), at(3)))
			if !ok || e.Kind != hubferry.TooLarge || e.Event != poison.Events[1] || e.Unsure {
				t.Fatalf("%v", e)
			}
		}
		if err := step(t, w, 2, at(1), at(3)); err != nil {
			t.Fatal(err)
		}
		s.holds(t, "0 1 2 3", "0 2")
	})
}

// Who wakes up after another instance has gone on is told so when it gets its new epoch, and
// stores nothing.
func TestRenewedTooLate(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		var network lateCommit // after a commit that is repeated, a new epoch is due
		first := committer(t, writerOf(t, connect(t, s.options(), hubferry.Env{Dial: network.dial}), s.topic))
		if _, err := first.Adopt(t.Context(), sourceID); err != nil {
			t.Fatal(err)
		}
		if err := step(t, first, 0, nil, at(1)); err != nil {
			t.Fatal(err)
		}
		second := committer(t, writerOf(t, connect(t, s.options(), hubferry.Env{}), s.topic))
		if _, err := second.Adopt(t.Context(), sourceID); err != nil {
			t.Fatal(err)
		}
		if err := step(t, second, 2, at(1), at(3)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := step(t, first, 2, at(1), at(3)); hubferry.KindOf(err) != hubferry.Lost {
				t.Errorf("%v", err)
			}
		}
		if err := step(t, second, 4, at(3), at(5)); hubferry.KindOf(err) != hubferry.Lost { // the first has fenced it
			t.Errorf("%v", err)
		}
		if cp, err := second.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 3 {
			t.Fatalf("%+v, %v", cp, err)
		}
		if err := step(t, second, 4, at(3), at(5)); err != nil {
			t.Fatal(err)
		}
		s.holds(t, "0 1 2 3 4 5", "0 2 4")
	})
}

// holds compares the bodies in the first partitions.
func (s *service) holds(t *testing.T, want ...string) {
	t.Helper()
	for partition, want := range want {
		var got []string
		for _, e := range s.dump(t, partition) {
			content, err := e.Content()
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, string(content.Body))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("partition %d has %q, want %q", partition, got, want)
		}
	}
}

// When the answer to the commit is lost for good, the outcome is unsure until the partition
// is adopted again (G-9).
func TestUnsureCommit(t *testing.T) {
	c := newCluster(t)
	o := c.options()
	o.DeliveryTimeout = time.Second
	w := committer(t, writer(t, connect(t, o, hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	away := true
	c.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		if away {
			return nil, errors.New("the connection breaks"), true
		}
		return nil, nil, false
	})
	for range 2 {
		e, ok := errors.AsType[*hubferry.Error](step(t, w, 0, nil, at(1)))
		if !ok || !e.Unsure || e.Kind != hubferry.Transient || !strings.Contains(e.Error(), "adopting the partition again") {
			t.Fatalf("%v", e)
		}
	}
	mu.Lock()
	away = false
	mu.Unlock()
	if cp, err := w.Adopt(t.Context(), sourceID); cp != nil || err != nil {
		t.Fatalf("it was not committed, the position is %+v, %v", cp, err)
	}
	if err := step(t, w, 0, nil, at(1)); err != nil {
		t.Fatal(err)
	}
	c.wants(t, 0, "0 1")
}

// A commit that was done, whose answer was lost, and about which the next coordinator cannot
// tell yet, is unsure as well: to begin it again would store everything twice.
func TestUnsureCommitAtACoordinatorThatStarts(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	var starting atomic.Bool
	starting.Store(true)
	c.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if requests.Add(1) == 1 {
			c.cut() // it is done, but nobody hears of it
			return nil, nil, false
		}
		resp, ok := req.ResponseKind().(*kmsg.EndTxnResponse)
		if !ok || !starting.Load() {
			return nil, nil, false
		}
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
		return resp, nil, true
	})
	e, ok := errors.AsType[*hubferry.Error](step(t, w, 0, nil, at(1)))
	if !ok || !e.Unsure || e.Kind != hubferry.Transient {
		t.Fatalf("after %d requests: %v", requests.Load(), e)
	}
	starting.Store(false)
	if cp, err := w.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 1 {
		t.Fatalf("it was committed, and the position is %+v, %v", cp, err)
	}
	if err := step(t, w, 2, at(1), at(3)); err != nil {
		t.Fatal(err)
	}
	c.wants(t, 0, "0 1 2 3")
}

// A copy of a commit whose connection broke, which arrives after all when the next
// transaction is half written, must not commit that half: the position without its events
// would be a loss (INV-3).
func TestCommitThatArrivesLate(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		var late lateCommit
		c := committer(t, writerOf(t, connect(t, s.options(), hubferry.Env{Dial: late.dial}), s.topic))
		if _, err := c.Adopt(t.Context(), sourceID); err != nil {
			t.Fatal(err)
		}
		for i, next := range []*hubferry.Checkpoint{at(1), at(3), at(5)} {
			prev := at(int64(2*i - 1))
			if i == 0 {
				prev = nil
			}
			if err := step(t, c, 2*i, prev, next); err != nil {
				t.Fatal(err)
			}
		}
		late.mu.Lock()
		code, err := late.code, late.err
		late.mu.Unlock()
		if err != nil || code == 0 {
			t.Errorf("the late commit was answered with code %d, %v: it has ended another transaction", code, err)
		}
		s.holds(t, "0 1 2 3 4 5", "0 2 4")
		if cp, err := c.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 5 {
			t.Errorf("the position is %+v, %v", cp, err)
		}
	})
}

// lateCommit is a network that breaks the connection of the first commit (EndTxn), and
// delivers the commit when the first events of the next transaction are on their way.
type lateCommit struct {
	mu      sync.Mutex
	conn    *lateConn // of the commit, once it is held back
	request []byte
	done    bool
	code    int16
	err     error
}

func (l *lateCommit) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return &lateConn{Conn: conn, late: l}, err
}

type lateConn struct {
	net.Conn
	late *lateCommit
	held atomic.Bool
}

// Write takes whole requests, as the client writes them: size, key, version, correlation.
func (c *lateConn) Write(b []byte) (int, error) {
	l := c.late
	l.mu.Lock()
	defer l.mu.Unlock()
	switch key := kmsg.Key(binary.BigEndian.Uint16(b[4:])); {
	case l.conn == nil && key == kmsg.EndTxn:
		l.conn, l.request = c, bytes.Clone(b)
		c.held.Store(true)
		return len(b), nil
	case l.conn != nil && !l.done && key == kmsg.Produce:
		l.done = true
		l.deliver()
	}
	return c.Conn.Write(b)
}

// deliver sends the request, and reads the error code from its answer.
func (l *lateCommit) deliver() {
	conn := l.conn.Conn
	answer := make([]byte, 4)
	l.err = errors.Join(conn.SetDeadline(time.Now().Add(longWait)), func() error { _, err := conn.Write(l.request); return err }())
	if l.err != nil {
		return
	}
	if _, l.err = io.ReadFull(conn, answer); l.err != nil {
		return
	}
	answer = make([]byte, binary.BigEndian.Uint32(answer))
	if _, l.err = io.ReadFull(conn, answer); l.err == nil {
		at := 8 // correlation, throttle
		if version := binary.BigEndian.Uint16(l.request[6:]); version >= 3 {
			at++ // tags
		}
		l.code = int16(binary.BigEndian.Uint16(answer[at:]))
	}
	_ = conn.Close()
}

func (c *lateConn) Read(b []byte) (int, error) {
	if c.held.Load() { // for the client it is broken
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b)
}

func (c *lateConn) Close() error {
	if c.held.Load() {
		return nil
	}
	return c.Conn.Close()
}

// A position that is committed while others are read is found later on.
func TestPositionBehindWhatIsRead(t *testing.T) {
	c := newCluster(t)
	ours := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	theirs := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := theirs.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	if err := step(t, theirs, 0, nil, at(1)); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	c.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		once.Do(func() { // the end is known by now
			c.SleepControl(func() {
				if err := step(t, theirs, 2, at(1), at(3)); err != nil {
					t.Error(err)
				}
			})
		})
		return nil, nil, false
	})
	other := sourceID
	other.Partition = "4"
	if cp, err := ours.Adopt(t.Context(), other); cp != nil || err != nil {
		t.Fatalf("%+v, %v", cp, err)
	}
	if cp, err := ours.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 3 {
		t.Errorf("the position is %+v, %v", cp, err)
	}
}

// A topic of positions that was made anew holds nothing of what was read before.
func TestPositionsAnew(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	for n := range int64(3) {
		var prev *hubferry.Checkpoint
		if n > 0 {
			prev = at(n)
		}
		if err := w.Commit(t.Context(), sourceID, nil, prev, at(n+1)); err != nil {
			t.Fatal(err)
		}
	}
	if cp, err := w.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 3 {
		t.Fatalf("%+v, %v", cp, err)
	}
	if err := c.DeleteTopic("hubferry-positions"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("hubferry-positions", 1, nil); err != nil {
		t.Fatal(err)
	}
	if cp, err := w.Adopt(t.Context(), sourceID); cp != nil || err != nil {
		t.Fatalf("%+v, %v", cp, err)
	}
	if err := w.Commit(t.Context(), sourceID, nil, nil, at(9)); err != nil {
		t.Fatal(err)
	}
	if cp, err := w.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 9 {
		t.Errorf("%+v, %v", cp, err)
	}
}

// A transaction of somebody else that stays open hides nothing that is committed.
func TestOpenTransactionHidesNoPosition(t *testing.T) {
	c := newCluster(t)
	w := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if _, err := w.Adopt(t.Context(), sourceID); err != nil {
		t.Fatal(err)
	}
	cl := c.client(t, kgo.TransactionalID("another"), kgo.DefaultProduceTopic("hubferry-positions"))
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Key: []byte("west/orders/group/3|topic"), Value: []byte(`{"sequence":99}`)}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := step(t, w, 0, nil, at(1)); err != nil {
		t.Fatal(err)
	}
	again := committer(t, writer(t, connect(t, c.options(), hubferry.Env{})))
	if cp, err := again.Adopt(t.Context(), sourceID); err != nil || cp == nil || cp.Position.Sequence != 1 {
		t.Errorf("%+v, %v", cp, err)
	}
}

func TestPositionsTopicMustBeCompacted(t *testing.T) {
	c := newCluster(t)
	if err := c.CreateTopic("plain", 1, nil); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c.options(), hubferry.Env{})
	target, err := conn.Target(t.Context(), &kafka.TargetOptions{PositionsTopic: "plain"})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close(context.WithoutCancel(t.Context()))
	w, err := target.Open(t.Context(), topicName, hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := committer(t, w).Adopt(t.Context(), sourceID); hubferry.KindOf(err) != hubferry.Fatal || !strings.Contains(err.Error(), "positionsTopic") {
		t.Errorf("%v", err)
	}
}

// The tail shows what was stored outside of transactions at once, and what was in one when
// it is committed.
func TestTailBehindAnOpenTransaction(t *testing.T) {
	c := newCluster(t)
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	write := func(from int) {
		t.Helper()
		if _, err := w.Write(t.Context(), hubferry.Run{Events: named(from, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	write(0)
	c.hole(t, 0) // an aborted one
	write(1)
	cl := c.client(t, kgo.TransactionalID("open"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer cl.Close()
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topicName, Value: []byte("open")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	write(2)
	read := func() string {
		t.Helper()
		tailer, ok := w.(hubferry.Tailer)
		if !ok {
			t.Fatal("the writer is no Tailer")
		}
		r, err := tailer.Tail(t.Context(), 0, hubferry.Position{Sequence: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close(context.WithoutCancel(t.Context()))
		var all []string
		b := hubferry.Batch{Limit: hubferry.Limit{Events: 2, Bytes: 1 << 20}}
		for {
			err := r.Read(t.Context(), &b)
			if errors.Is(err, hubferry.ErrEnd) {
				return strings.Join(all, " ")
			}
			if err != nil {
				t.Fatal(err)
			}
			for i := range b.Events {
				content, err := b.Events[i].Content()
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, string(content.Body))
			}
		}
	}
	if got := read(); got != "0 1 2" {
		t.Errorf("before the commit: %s", got)
	}
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != "0 1 open 2" {
		t.Errorf("after the commit: %s", got)
	}
}
