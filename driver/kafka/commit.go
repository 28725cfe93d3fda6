package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

// committer commits the offsets of all claims of a coordinator. One request is under way
// at a time, and the next takes all that has gathered meanwhile.
type committer struct {
	c *coordinator

	mu      sync.Mutex
	pending []*commit
	running bool
}

// commit is what one Save wants.
type commit struct {
	claim    *claim
	position hubferry.Position
	note     string
	ctx      context.Context //nolint:containedctx // of who waits for it
	done     chan error      // capacity 1
}

// commit stores a position and waits until the broker has confirmed it.
func (m *committer) commit(ctx context.Context, k *claim, p hubferry.Position, note string) error {
	one := &commit{claim: k, position: p, note: note, ctx: ctx, done: make(chan error, 1)}
	m.mu.Lock()
	m.pending = append(m.pending, one)
	if !m.running {
		m.running = true
		go m.run(context.WithoutCancel(ctx))
	}
	m.mu.Unlock()
	select {
	case err := <-one.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run sends requests until nothing is pending.
func (m *committer) run(ctx context.Context) {
	for {
		m.mu.Lock()
		batch := m.pending
		m.pending = nil
		m.running = len(batch) > 0
		m.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		if again := m.send(ctx, batch); len(again) > 0 {
			m.mu.Lock()
			m.pending = append(again, m.pending...)
			m.mu.Unlock()
			select {
			case <-time.After(commitPause):
			case <-m.c.closed:
			}
		}
	}
}

const (
	commitPause   = 200 * time.Millisecond // while a rebalance is under way
	commitTimeout = 10 * time.Second
)

// send commits a batch and answers who waits. It returns those that are to be tried again.
func (m *committer) send(ctx context.Context, batch []*commit) (again []*commit) {
	// Generation and member are read before the claims are looked at: when the group drops
	// us it does not take this generation any more, and claims are lost before there is
	// another one.
	member, generation := m.c.client.GroupMetadata()
	batch = m.alive(batch)
	if len(batch) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	resp, err := m.request(batch, member, generation).RequestWith(ctx, m.c.client)
	if err != nil {
		err = throttled(classify("commit offsets of group "+m.c.source.options.ConsumerGroup, err))
		for _, one := range batch {
			one.done <- err
		}
		return nil
	}
	codes := answers(batch, resp)
	for _, one := range batch {
		code, ok := codes[one.claim.name]
		if !ok {
			one.done <- &hubferry.Error{Kind: hubferry.Transient, Op: "commit", Place: one.claim.place, Err: errNoAnswer}
			continue
		}
		if code == kerr.RebalanceInProgress.Code || code == kerr.IllegalGeneration.Code {
			again = append(again, one) // the claim is ours still, or it is told so by the group
			continue
		}
		one.done <- m.judge(one, code)
	}
	return again
}

// answers returns the error codes by partition. From version 10 on the protocol names
// topics by their id.
func answers(batch []*commit, resp *kmsg.OffsetCommitResponse) map[partitionName]int16 {
	topics := map[[16]byte]string{}
	for _, one := range batch {
		topics[one.claim.topicID] = one.claim.name.topic
	}
	codes := map[partitionName]int16{}
	for _, t := range resp.Topics {
		topic := t.Topic
		if topic == "" {
			topic = topics[t.TopicID]
		}
		for _, p := range t.Partitions {
			codes[partitionName{topic, p.Partition}] = p.ErrorCode
		}
	}
	return codes
}

var errNoAnswer = fmt.Errorf("the broker left the partition out of its answer")

// alive answers commits that make no sense any more and returns the others.
func (m *committer) alive(batch []*commit) []*commit {
	kept := batch[:0]
	for _, one := range batch {
		err := one.ctx.Err()
		if err == nil {
			err = one.claim.good("save checkpoint")
		}
		if err != nil {
			one.done <- err
			continue
		}
		kept = append(kept, one)
	}
	return kept
}

func (m *committer) request(batch []*commit, member string, generation int32) *kmsg.OffsetCommitRequest {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = m.c.source.options.ConsumerGroup
	req.MemberID, req.Generation = member, generation
	if id := m.c.source.options.InstanceID; id != "" {
		req.InstanceID = &id
	}
	index := map[string]int{}
	for _, one := range batch {
		i, ok := index[one.claim.name.topic]
		if !ok {
			i = len(req.Topics)
			index[one.claim.name.topic] = i
			t := kmsg.NewOffsetCommitRequestTopic()
			t.Topic, t.TopicID = one.claim.name.topic, one.claim.topicID
			req.Topics = append(req.Topics, t)
		}
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition = one.claim.name.partition
		p.Offset = max(one.position.Sequence+1, 0)
		p.LeaderEpoch = one.position.Epoch - 1
		p.Metadata = &one.note
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, p)
	}
	return req
}

// judge returns what the answer for one partition means.
func (m *committer) judge(one *commit, code int16) error {
	err := kerr.ErrorForCode(code)
	switch code {
	case 0:
		return nil
	case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code, kerr.FencedMemberEpoch.Code:
		m.c.mu.Lock()
		one.claim.lose(err.Error())
		m.c.mu.Unlock()
		return one.claim.lostError("save checkpoint", err)
	case kerr.OffsetMetadataTooLarge.Code:
		return &hubferry.Error{
			Kind: hubferry.Fatal, Op: "save checkpoint", Place: one.claim.place, Err: fmt.Errorf("its notes take %d bytes: %w", len(one.note), err),
			Hint: "set checkpoints: store on the source, or raise the broker's offset.metadata.max.bytes",
		}
	}
	return at(one.claim.place, throttled(classify("save checkpoint", err)))
}

// throttled says in an error about a commit what makes them fewer. Event Hubs takes four a
// second for each partition, and lets others wait or refuses them.
func throttled(err error) error {
	if hubferry.KindOf(err) == hubferry.Throttled || errors.Is(err, context.DeadlineExceeded) {
		return hinted(err, "does the service throttle commits? set the task's checkpointEvery to more events and time")
	}
	return err
}
