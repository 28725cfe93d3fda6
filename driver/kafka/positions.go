package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// book is what the topic of positions says, as far as it was read. The topic has one
// partition, so that one transaction more than that of the events is all it costs.
type book struct {
	p     *producer
	topic string
	turn  chan struct{} // holds a token while somebody reads

	// The rest belongs to who has the turn.
	made   bool
	next   int64
	stored map[string]*hubferry.Checkpoint
	open   map[int64]map[string]*hubferry.Checkpoint // of transactions, by producer id
}

func newBook(p *producer, topic string) *book {
	return &book{p: p, topic: topic, turn: make(chan struct{}, 1), stored: map[string]*hubferry.Checkpoint{}, open: map[int64]map[string]*hubferry.Checkpoint{}}
}

// positionConfigs keep the topic short: it is read from its beginning.
var positionConfigs = map[string]*string{
	"cleanup.policy": new("compact"), "min.cleanable.dirty.ratio": new("0.1"),
	"segment.bytes": new("16777216"), "segment.ms": new("3600000"),
}

// find returns the position that is stored under a key, or nil. Whoever could still change
// it has been fenced before, so the transactions that wrote it are over, and the end of the
// topic as of now says how each of them ended. Transactions of others do not hide it.
func (b *book) find(ctx context.Context, key string) (*hubferry.Checkpoint, error) {
	op := "read positions in " + b.topic
	select {
	case b.turn <- struct{}{}:
		defer func() { <-b.turn }()
	case <-ctx.Done():
		return nil, classify(op, context.Cause(ctx))
	}
	if !b.made {
		if err := b.make(ctx); err != nil {
			return nil, err
		}
		b.made = true
	}
	s, err := b.p.newScan(ctx, b.topic, 0, b.next, true)
	if err != nil {
		return nil, err
	}
	if s.until < b.next { // made anew, or cut back: what was read is worth nothing
		clear(b.stored)
		clear(b.open)
		s.next = 0
	}
	for {
		records, err := s.more(ctx)
		if err != nil {
			return nil, err
		}
		if len(records) == 0 {
			b.next = s.next
			return b.stored[key], nil
		}
		for _, r := range records {
			if err := b.take(r); err != nil {
				return nil, err
			}
		}
		b.next = s.next
	}
}

// take reads one record of the topic.
func (b *book) take(r *kgo.Record) error {
	if r.Attrs.IsControl() {
		// The key of a control record is a version and a type: 0 aborts, 1 commits (Kafka
		// protocol, "Control Batch").
		if len(r.Key) >= 4 && binary.BigEndian.Uint16(r.Key[2:]) == 1 {
			maps.Copy(b.stored, b.open[r.ProducerID])
		}
		delete(b.open, r.ProducerID)
		return nil
	}
	var c *hubferry.Checkpoint
	if r.Value != nil {
		var p storedPosition
		if err := json.Unmarshal(r.Value, &p); err != nil {
			return &hubferry.Error{
				Kind: hubferry.Fatal, Op: fmt.Sprintf("read position %s at offset %d of %s", r.Key, r.Offset, b.topic), Err: err,
				Hint: "is it a topic of another program? set the target's positionsTopic",
			}
		}
		c = p.checkpoint()
	}
	if !r.Attrs.IsTransactional() {
		b.stored[string(r.Key)] = c
		return nil
	}
	if b.open[r.ProducerID] == nil {
		b.open[r.ProducerID] = map[string]*hubferry.Checkpoint{}
	}
	b.open[r.ProducerID][string(r.Key)] = c
	return nil
}

// make sees to it that the topic is there and keeps the last record of each key.
func (b *book) make(ctx context.Context) error {
	op := "create topic " + b.topic + " for positions"
	admin := b.p.conn.admin
	resp, err := admin.CreateTopic(ctx, 1, -1, positionConfigs, b.topic)
	switch err := cmp.Or(err, resp.Err); {
	case err == nil:
		return b.p.ready(ctx, b.topic, 1)
	case !errors.Is(err, kerr.TopicAlreadyExists):
		if _, there := b.p.ask(ctx, b.topic); there != nil {
			return hinted(classify(op, err), "let the user create it, or create it with cleanup.policy=compact and one partition")
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, b.topic)
	if err != nil || len(configs) != 1 || configs[0].Err != nil {
		return b.p.ready(ctx, b.topic, 1) // who may not look trusts who made it
	}
	for _, c := range configs[0].Configs {
		if c.Key == "cleanup.policy" && !strings.Contains(c.MaybeValue(), "compact") {
			return &hubferry.Error{
				Kind: hubferry.Fatal, Op: "use topic " + b.topic + " for positions",
				Err:  fmt.Errorf("its cleanup.policy is %q: positions would be removed with time", c.MaybeValue()),
				Hint: "set it to compact, or name another topic as the target's positionsTopic",
			}
		}
	}
	return b.p.ready(ctx, b.topic, 1)
}

// hinted replaces the hint of an error.
func hinted(err error, hint string) error {
	if e, ok := errors.AsType[*hubferry.Error](err); ok {
		own := *e
		own.Hint = hint
		return &own
	}
	return err
}

// storedPosition is the value of a record in the topic of positions.
type storedPosition struct {
	Sequence    int64                 `json:"sequence"`
	Offset      string                `json:"offset,omitempty"`
	Epoch       int32                 `json:"epoch,omitempty"`
	Incarnation string                `json:"incarnation,omitempty"`
	Beginning   int64                 `json:"beginning,omitempty"`
	Time        time.Time             `json:"time"`
	Clean       bool                  `json:"clean,omitempty"`
	Marks       map[string]storedMark `json:"marks,omitempty"`
	States      map[string][]byte     `json:"states,omitempty"`
}

type storedMark struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset,omitempty"`
	Epoch    int32  `json:"epoch,omitempty"`
}

func encodePosition(c *hubferry.Checkpoint) ([]byte, error) {
	p := storedPosition{
		Sequence: c.Position.Sequence, Offset: c.Position.Offset, Epoch: c.Position.Epoch,
		Incarnation: c.Incarnation, Beginning: c.Beginning, Time: c.Time, Clean: c.Clean, States: c.States,
	}
	for place, m := range c.Marks {
		if p.Marks == nil {
			p.Marks = make(map[string]storedMark, len(c.Marks))
		}
		p.Marks[place] = storedMark(m)
	}
	return json.Marshal(p)
}

func (p *storedPosition) checkpoint() *hubferry.Checkpoint {
	c := &hubferry.Checkpoint{
		Position:    hubferry.Position{Sequence: p.Sequence, Offset: p.Offset, Epoch: p.Epoch},
		Incarnation: p.Incarnation, Beginning: p.Beginning, Time: p.Time, Clean: p.Clean, States: p.States,
	}
	for place, m := range p.Marks {
		if c.Marks == nil {
			c.Marks = make(map[string]hubferry.Position, len(p.Marks))
		}
		c.Marks[place] = hubferry.Position(m)
	}
	return c
}
