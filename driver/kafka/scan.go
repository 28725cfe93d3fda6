package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

// scan reads one partition of the target cluster from an offset to one that is fixed
// before, by fetches of its own: a consumer would not tell that nothing is left where the
// last offsets hold no record. It reads as far as stable what is committed; from there on
// everything, because transactions of others must not hide what is not in one.
type scan struct {
	p         *producer
	topic     string
	partition int
	next      int64 // offset to be read
	stable    int64 // from here on records of transactions are not known to be committed
	until     int64
	unpack    kgo.Decompressor
	tries     int
}

const (
	scanBytes = 1 << 20
	scanWait  = 500 * time.Millisecond
	scanTries = 8
)

// newScan returns a scan of what a partition holds now. If raw, it shows everything, also
// transactions that were aborted, and control records.
func (p *producer) newScan(ctx context.Context, topic string, partition int, from int64, raw bool) (*scan, error) {
	s := &scan{p: p, topic: topic, partition: partition, next: from, unpack: kgo.DefaultDecompressor()}
	var err error
	if s.until, err = p.listed(ctx, p.conn.admin.ListEndOffsets, topic, partition); err != nil {
		return nil, err
	}
	if s.stable = 0; !raw {
		if s.stable, err = p.listed(ctx, p.conn.admin.ListCommittedOffsets, topic, partition); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// listed asks for an offset of one partition.
func (p *producer) listed(ctx context.Context, ask func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error), topic string, partition int) (int64, error) {
	op := fmt.Sprintf("list offsets of %s/%d", topic, partition)
	offsets, err := ask(ctx, topic)
	if err != nil {
		return 0, classify(op, err)
	}
	o, ok := offsets.Lookup(topic, int32(partition))
	switch {
	case !ok:
		return 0, &hubferry.Error{Kind: hubferry.NotFound, Op: op, Hint: "the topic has fewer partitions"}
	case o.Err != nil:
		return 0, classify(op, o.Err)
	}
	return o.Offset, nil
}

// more returns the next records, or none at the end.
func (s *scan) more(ctx context.Context) ([]*kgo.Record, error) {
	for s.next < s.until {
		part, err := s.fetch(ctx)
		if err != nil {
			if err = s.again(ctx, err); err != nil {
				return nil, err
			}
			continue
		}
		s.tries = 0
		before := s.next
		committed := before < s.stable
		o := kgo.ProcessFetchPartitionOpts{Offset: s.next, Topic: s.topic, Partition: int32(s.partition), KeepControlRecords: true}
		if committed {
			o.IsolationLevel = kgo.ReadCommitted()
		}
		got, next := kgo.ProcessFetchPartition(o, part, s.unpack, nil)
		if got.Err != nil {
			return nil, classify(fmt.Sprintf("read %s/%d", s.topic, s.partition), got.Err)
		}
		if s.next = next; next == before {
			if part.HighWatermark < s.until { // a leader that is not up to date yet
				if err := s.again(ctx, kerr.OffsetNotAvailable); err != nil {
					return nil, err
				}
				continue
			}
			// All that is left was removed: an end of this kind is not beyond what is there.
			s.next = s.until
			if committed {
				s.next = min(s.until, s.stable)
			}
		}
		if kept := s.keep(got.Records, committed); len(kept) > 0 {
			return kept, nil
		}
	}
	return nil, nil
}

// keep leaves out what comes behind the end. It is there for who scans on from next.
func (s *scan) keep(records []*kgo.Record, committed bool) []*kgo.Record {
	kept := records[:0]
	for _, r := range records {
		if r.Offset < s.until && (!committed || r.Offset < s.stable) {
			kept = append(kept, r)
		}
	}
	s.next = min(s.next, s.until)
	if committed {
		s.next = min(s.next, s.stable)
	}
	return kept
}

// fetch asks the leader for records.
func (s *scan) fetch(ctx context.Context) (*kmsg.FetchResponseTopicPartition, error) {
	to, err := s.p.leader(ctx, s.topic, s.partition)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(scanWait/time.Millisecond), 1, scanBytes
	if s.next < s.stable {
		req.IsolationLevel = 1
	}
	t := kmsg.NewFetchRequestTopic()
	t.Topic = s.topic
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = int32(s.partition), s.next, scanBytes
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	got, err := s.p.client.Broker(int(to)).Request(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, ok := got.(*kmsg.FetchResponse)
	if !ok || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		return nil, errors.New("the broker's answer is about something else")
	}
	part := &resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return nil, err
	}
	return part, kerr.ErrorForCode(part.ErrorCode)
}

// again decides whether an error is worth another try, and waits for it.
func (s *scan) again(ctx context.Context, err error) error {
	op := fmt.Sprintf("read %s/%d", s.topic, s.partition)
	if errors.Is(err, kerr.OffsetOutOfRange) { // begin with the first that is there
		begin, err := s.p.listed(ctx, s.p.conn.admin.ListStartOffsets, s.topic, s.partition)
		if err != nil {
			return err
		}
		if begin > s.next {
			s.next = begin
			return nil
		}
	}
	kind, _ := kindOf(err)
	if e, ok := errors.AsType[*kerr.Error](err); ok && e.Retriable {
		kind = hubferry.Transient
	}
	if s.tries++; kind != hubferry.Transient || s.tries > scanTries || ctx.Err() != nil {
		return classify(op, err)
	}
	s.p.forget(s.topic)
	return pause(ctx, op, backoff(s.tries))
}

// pause waits for a while.
func pause(ctx context.Context, op string, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return classify(op, context.Cause(ctx))
	}
}
