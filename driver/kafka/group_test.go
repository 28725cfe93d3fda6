package kafka_test

import (
	"context"
	"crypto/rand"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
)

// member is an instance in a consumer group.
type member struct {
	hubferry.Coordinator
	source hubferry.Source
}

// longWait is for a broker on a machine that is busy; it passes only where something fails.
const longWait = 3 * time.Minute

// join makes an instance of the group of a service.
func (s *service) join(t *testing.T, o kafka.SourceOptions, selection hubferry.Selection) *member {
	t.Helper()
	return s.joinAs(t, hubferry.Member{Task: "the-task"}, o, selection)
}

func (s *service) joinAs(t *testing.T, as hubferry.Member, o kafka.SourceOptions, selection hubferry.Selection) *member {
	t.Helper()
	if o.ConsumerGroup == "" {
		o.ConsumerGroup = "group-of-" + s.topic
	}
	if o.SessionTimeout == 0 {
		o.SessionTimeout = 10 * time.Second
	}
	selecting := s.connect(t).(hubferry.Selecting)
	source, err := selecting.SourceOf(t.Context(), selection, &o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := source.(hubferry.Coordinated).Coordinate(t.Context(), as)
	if err != nil {
		t.Fatal(err)
	}
	m := &member{c, source}
	t.Cleanup(func() { m.leave(t) })
	return m
}

func (s *service) joinOne(t *testing.T) *member {
	t.Helper()
	return s.join(t, kafka.SourceOptions{}, hubferry.Selection{Hubs: []string{s.topic}})
}

func (m *member) leave(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), longWait)
	defer cancel()
	if err := m.Close(ctx); err != nil {
		t.Errorf("leave: %v", err)
	}
	if err := m.source.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
}

// next returns a claim.
func (m *member) next(t *testing.T) *hubferry.Claim {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), longWait)
	defer cancel()
	for {
		c, err := m.Next(ctx)
		if err == nil {
			return c
		}
		if ctx.Err() != nil {
			t.Fatalf("no claim: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// take returns n claims by the path of their place.
func (m *member) take(t *testing.T, n int) map[string]*hubferry.Claim {
	t.Helper()
	claims := map[string]*hubferry.Claim{}
	for range n {
		c := m.next(t)
		if claims[c.Place.Path()] != nil {
			t.Fatalf("%s was dealt out twice", c.Place)
		}
		claims[c.Place.Path()] = c
	}
	return claims
}

func save(t *testing.T, c *hubferry.Claim, sequence int64) {
	t.Helper()
	err := c.Save(t.Context(), &hubferry.Checkpoint{
		Position: hubferry.Position{Sequence: sequence, Epoch: 1}, Incarnation: c.Place.Incarnation, Time: time.Unix(1, 5e6).UTC(), Clean: true,
		Marks:  map[string]hubferry.Position{"ns/hub/0": {Sequence: 3, Offset: "x", Epoch: 2}},
		States: map[string][]byte{"engine.task": []byte("t")},
	})
	if err != nil {
		t.Fatalf("save: %v", err)
	}
}

func waitFor(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(longWait):
		t.Fatalf("%s did not happen", what)
	}
}

func is(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// A second instance gets half of the partitions. The first has time to finish and to
// save, and the second begins where it did.
func TestGroupHandsOver(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		first := s.joinOne(t)
		mine := first.take(t, partitions)
		for _, c := range mine {
			if c.Checkpoint != nil {
				t.Errorf("%s has a checkpoint in a new group: %+v", c.Place, c.Checkpoint)
			}
			save(t, c, 6)
		}
		second := s.joinOne(t)
		got := make(chan *hubferry.Claim, partitions)
		go func() {
			for {
				c, err := second.Next(t.Context())
				if t.Context().Err() != nil {
					return
				}
				if err == nil {
					got <- c
				}
			}
		}()
		moved := 0
		for moved < partitions/2 {
			for path, c := range mine {
				if !is(c.Ending) {
					continue
				}
				moved++
				delete(mine, path)
				if len(got) > moved-1 {
					t.Errorf("the other instance has %d claims before we released", len(got))
				}
				save(t, c, int64(10+c.Place.Index)) // it is still ours
				if err := c.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
				if err := c.Save(t.Context(), &hubferry.Checkpoint{}); hubferry.KindOf(err) != hubferry.Lost {
					t.Errorf("save after the release: %v", err)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for range moved {
			select {
			case c := <-got:
				want := &hubferry.Checkpoint{
					Position: hubferry.Position{Sequence: int64(10 + c.Place.Index), Epoch: 1}, Incarnation: c.Place.Incarnation, Time: time.Unix(1, 5e6).UTC(), Clean: true,
					Marks:  map[string]hubferry.Position{"ns/hub/0": {Sequence: 3, Offset: "x", Epoch: 2}},
					States: map[string][]byte{"engine.task": []byte("t")},
				}
				if diff := cmp.Diff(want, c.Checkpoint); diff != "" {
					t.Errorf("%s: %s", c.Place, diff)
				}
				if c.Place.Incarnation == "" {
					t.Error("the place has no incarnation")
				}
			case <-time.After(longWait):
				t.Fatal("the second instance got nothing")
			}
		}
		for _, c := range mine {
			if is(c.Ending) || is(c.Lost) {
				t.Errorf("%s was taken away, too", c.Place)
			}
			save(t, c, 20) // in the new generation
		}
	})
}

// Offsets that another consumer has committed are where we begin; ours are read by others
// as the offset of the next record.
func TestGroupSharesOffsets(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		group := "group-of-" + s.topic
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: s.topic, Partition: 1, At: 42, LeaderEpoch: -1, Metadata: "of another program"})
		if err := s.admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
		m := s.joinOne(t)
		for _, c := range m.take(t, partitions) {
			switch {
			case c.Place.Index != 1 && c.Checkpoint != nil:
				t.Errorf("%s: %+v", c.Place, c.Checkpoint)
			case c.Place.Index == 1:
				if diff := cmp.Diff(&hubferry.Checkpoint{Position: hubferry.Position{Sequence: 41}}, c.Checkpoint); diff != "" {
					t.Error(diff)
				}
				save(t, c, 49)
				err := c.Save(t.Context(), &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 48, Epoch: 1}, Incarnation: c.Place.Incarnation})
				if hubferry.KindOf(err) != hubferry.Fatal {
					t.Errorf("a checkpoint went backwards: %v", err)
				}
			}
		}
		committed, err := s.admin.FetchOffsets(t.Context(), group)
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := committed.Lookup(s.topic, 1); o.At != 50 || o.LeaderEpoch != 0 {
			t.Errorf("committed: %+v", o)
		}
	})
}

// What does not fit into the metadata says what to do.
func TestGroupMetadataTooLarge(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		c := s.joinOne(t).next(t)
		noise := make([]byte, 8000)
		_, _ = rand.Read(noise)
		err := c.Save(t.Context(), &hubferry.Checkpoint{States: map[string][]byte{"x": noise}})
		if e, ok := err.(*hubferry.Error); s.topic == topicName && err == nil { //nolint:errorlint // it is bare
			t.Skip("kfake takes metadata of any size")
		} else if !ok || e.Kind != hubferry.Fatal || e.Hint == "" {
			t.Errorf("%v", err)
		}
	})
}

// A claim that is not released in time is lost, and only then does the other instance get
// the partition.
func TestGroupDropsWhatIsLate(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		o := kafka.SourceOptions{RebalanceTimeout: 4 * time.Second}
		selection := hubferry.Selection{Hubs: []string{s.topic}}
		first := s.join(t, o, selection)
		claims := first.take(t, partitions)
		second := s.join(t, o, selection)
		lost := make(chan *hubferry.Claim)
		for _, c := range claims {
			go func() {
				select {
				case <-c.Lost:
					_ = c.Release(context.WithoutCancel(t.Context()))
					lost <- c
				case <-t.Context().Done():
				}
			}()
		}
		select {
		case c := <-lost:
			if !is(c.Ending) {
				t.Error("it was lost without being asked for")
			}
		case <-time.After(longWait):
			t.Fatal("nothing was lost")
		}
		second.next(t)
	})
}

// Releasing without being asked, as after a failure of the partition, deals it out again.
func TestGroupDealsOutAgain(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		m := s.joinOne(t)
		for _, c := range m.take(t, partitions) {
			if c.Place.Index == 2 {
				save(t, c, 5)
				if err := c.Release(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if c := m.next(t); c.Place.Index != 2 || c.Checkpoint.Position.Sequence != 5 {
			t.Errorf("%s, %+v", c.Place, c.Checkpoint)
		}
	})
}

// A claim is lost when the coordinator was silent for as long as a session (INV-9), and
// dealt out again when it is back.
func TestGroupLostInSilence(t *testing.T) {
	s := realService(t)
	o := kafka.SourceOptions{SessionTimeout: 6 * time.Second}
	m := s.join(t, o, hubferry.Selection{Hubs: []string{s.topic}})
	claims := m.take(t, partitions)
	b := broker.Broker(t)
	if err := b.Pause(); err != nil {
		t.Fatal(err)
	}
	for _, c := range claims { // when that is, TestLeaseEndsInTime says
		waitFor(t, "the loss of "+c.Place.Path(), c.Lost)
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if err := c.Release(t.Context()); err != nil {
			t.Error(err)
		}
	}
	m.take(t, partitions)
}

// Topics of a pattern come and grow while the group lives; others, internal ones and
// excluded ones do not come.
func TestGroupFindsTopics(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		m := s.join(t, kafka.SourceOptions{}, hubferry.Selection{Pattern: s.topic + `-.*`, Exclude: []string{`.*-not`}})
		for _, name := range []string{"-a", "-not", "-b.internal", "x"} {
			s.create(t, s.topic+name, 1)
		}
		if c := m.next(t); c.Place.Hub != s.topic+"-a" {
			t.Errorf("got %s", c.Place)
		}
		s.create(t, s.topic+"-c", 2)
		for range 2 {
			if c := m.next(t); c.Place.Hub != s.topic+"-c" {
				t.Errorf("got %s", c.Place)
			}
		}
		if _, err := s.admin.UpdatePartitions(t.Context(), 2, s.topic+"-a"); err != nil {
			t.Fatal(err)
		}
		if c := m.next(t); c.Place.Hub != s.topic+"-a" || c.Place.Index != 1 {
			t.Errorf("got %s", c.Place)
		}
		infos, err := m.source.Partitions(t.Context())
		if err != nil || len(infos) != 4 {
			t.Errorf("%v, %v", infos, err)
		}
	})
}

// Claims of a topic that does not exist say so, until it does.
func TestGroupWaitsForTopic(t *testing.T) {
	services(t, func(t *testing.T, s *service) {
		late := s.topic + "-late"
		m := s.join(t, kafka.SourceOptions{}, hubferry.Selection{Hubs: []string{late}})
		if _, err := m.Next(t.Context()); hubferry.KindOf(err) != hubferry.NotFound {
			t.Errorf("%v", err)
		}
		s.create(t, late, 1)
		m.next(t)
	})
}

// A group belongs to one task. Members of another one, and of other programs, are named as
// the reason, unless the group is shared and they rebalance as we do (G-10).
func TestGroupBelongsToATask(t *testing.T) {
	ours, shared := hubferry.Member{Task: "the-task"}, hubferry.Member{Task: "the-task", Shared: true}
	for _, tt := range []struct {
		name  string
		other kgo.GroupBalancer // of another program; nil: another task
		as    hubferry.Member
		want  string // of the error; "": we join
	}{
		{"another task", nil, ours, `"hubferry/another-task" (`},
		{"another program", kgo.CooperativeStickyBalancer(), ours, `"cooperative-sticky" (another-program at `},
		{"another protocol", kgo.RangeBalancer(), shared, `"range" (another-program at `},
		{"shared", kgo.CooperativeStickyBalancer(), shared, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			services(t, func(t *testing.T, s *service) {
				one := hubferry.Selection{Hubs: []string{s.topic}}
				if tt.other == nil {
					s.joinAs(t, hubferry.Member{Task: "another-task"}, kafka.SourceOptions{}, one).next(t)
				} else {
					other := s.client(t, kgo.ConsumerGroup("group-of-"+s.topic), kgo.ConsumeTopics(s.topic), kgo.Balancers(tt.other), kgo.ClientID("another-program"))
					s.fill(t, 0, 0, 1)
					if f := other.PollFetches(t.Context()); f.Err() != nil {
						t.Fatal(f.Err())
					}
				}
				m := s.joinAs(t, tt.as, kafka.SourceOptions{}, one)
				if tt.want == "" {
					m.next(t)
					return
				}
				_, err := m.Next(t.Context())
				if e, ok := err.(*hubferry.Error); !ok || e.Kind != hubferry.Fatal || !strings.Contains(e.Error(), tt.want) || !strings.Contains(e.Hint, "consumerGroup") { //nolint:errorlint // it is bare
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// Commits that a service throttles are told as such, with what makes them fewer, and the
// claim goes on.
func TestThrottledCommits(t *testing.T) {
	c := newCluster(t)
	s := &service{topic: topicName, brokers: c.ListenAddrs(), options: c.options, conns: &conns{open: map[net.Conn]bool{}}}
	claim := s.joinOne(t).next(t)
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetCommit}, Err: kerr.ThrottlingQuotaExceeded})
	err := claim.Save(t.Context(), &hubferry.Checkpoint{Position: hubferry.Position{Sequence: 1}, Incarnation: claim.Place.Incarnation})
	if hubferry.KindOf(err) != hubferry.Throttled || !strings.Contains(err.Error(), "set the task's checkpointEvery") || h.Hits() != 1 {
		t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
	}
	save(t, claim, 2)
}
