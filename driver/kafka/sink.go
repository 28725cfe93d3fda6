package kafka

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sink sends what the lanes have for one broker. While as many requests are on their way
// as may be, what comes gathers and goes in one request: a broker deals with the requests
// of a connection one after the other, so under load a few large ones cost it and us far
// less than one for each partition, and when there is little to do nothing waits.
//
// Batches of one partition leave in the order in which they came.
type sink struct {
	p     *producer
	by    *kgo.Client
	to    int32
	slots chan struct{} // one for each request that is on its way

	mu      sync.Mutex
	queue   []shipment
	most    int // bytes of the next request with several batches
	running bool
}

// shipment is a sealed batch that is to be sent, and who is to hear of it.
type shipment struct {
	topic     string
	partition int
	batch     *batch
	answers   chan<- answer // never blocks
}

// size is about what a shipment takes in a request.
func (s *shipment) size() int { return len(s.batch.data) + len(s.topic) + shipmentOverhead }

// answer is what became of sending a batch.
type answer struct {
	batch  *batch
	offset int64
	code   *kerr.Error // what the broker said
	err    error       // why it could not say anything
	unsent bool        // the request never left
}

// maxRequests is how many requests may be on their way to one broker: one that it works
// on, one that is being carried there.
const maxRequests = 2

// sinkKey names a sink: a broker, and one of the two connections to it.
type sinkKey struct {
	broker int32
	second bool
}

// sink returns what sends a partition's batches to a broker. Partitions share two
// connections: while a broker works on a request it reads nothing more from where that
// came, and the time that carrying takes would be lost.
func (p *producer) sink(to int32, partition int) *sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	key, by := sinkKey{to, partition%2 == 1}, p.client
	if key.second {
		by = p.second
	}
	s := p.sinks[key]
	if s == nil {
		s = &sink{p: p, by: by, to: to, slots: make(chan struct{}, maxRequests), most: leastRequest}
		p.sinks[key] = s
	}
	return s
}

// put sends a batch as soon as there is room. It does not wait.
func (s *sink) put(one shipment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, one)
	if !s.running {
		s.running = true
		go s.run()
	}
}

// run sends until there is nothing. A request is handed over when the one before it has
// been written.
func (s *sink) run() {
	for {
		s.slots <- struct{}{}
		load := s.take()
		if len(load) == 0 {
			<-s.slots
			return
		}
		started := make(chan struct{})
		go func() {
			began := time.Now()
			err := s.p.send(s.by, s.to, nil, load, func() { close(started) })
			s.fit(err == nil, time.Since(began))
			<-s.slots
		}()
		<-started
	}
}

// take removes what the next request carries: at most one batch of a partition, as brokers
// demand, and together no more than a request may.
func (s *sink) take() []shipment {
	s.mu.Lock()
	defer s.mu.Unlock()
	var load, rest []shipment
	room := min(s.most, s.p.conn.options.maxRequest()) - requestOverhead
	for _, one := range s.queue {
		again := func(o shipment) bool { return o.partition == one.partition && o.topic == one.topic }
		size := one.size()
		switch {
		case slices.ContainsFunc(load, again), slices.ContainsFunc(rest, again), len(load) > 0 && size > room:
			rest = append(rest, one)
		default:
			load = append(load, one)
			room -= size
		}
	}
	s.queue = rest
	s.running = len(load) > 0
	return load
}

// shipmentOverhead is about what a batch takes in a request beside its bytes and its topic.
const shipmentOverhead = 48

// leastRequest is how large a request with several batches may be at first, and after one
// that failed: a request must be written within seconds, whatever the line.
const leastRequest = 1 << 20

// fit lets requests grow while they are answered fast.
func (s *sink) fit(ok bool, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !ok:
		s.most = leastRequest
	case took < time.Second:
		s.most = min(2*s.most, maxRequest)
	}
}

// withdraw takes batches of a lane back that are not on their way yet.
func (s *sink) withdraw(answers chan<- answer, which func(b *batch) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = slices.DeleteFunc(s.queue, func(one shipment) bool {
		if one.answers != answers || !which(one.batch) {
			return false
		}
		answers <- answer{batch: one.batch, offset: -1, err: errWithdrawn, unsent: true}
		return true
	})
}

var errWithdrawn = errors.New("it was not sent")

// produceRequest tells when it is written to its connection: requests for one partition
// must be in the order of their sequence numbers, and franz-go writes those of one broker
// in the order in which they come to it.
type produceRequest struct {
	*kmsg.ProduceRequest
	size    int
	started func()
}

func (r *produceRequest) AppendTo(dst []byte) []byte {
	r.started()
	return r.ProduceRequest.AppendTo(slices.Grow(dst, r.size))
}

// send sends sealed batches in one request, waits for the answer and passes it on. It calls
// started once, at the latest when it returns. The error is that of the request as a whole.
func (p *producer) send(by *kgo.Client, to int32, txn *string, load []shipment, started func()) error {
	var once sync.Once
	req := &produceRequest{ProduceRequest: kmsg.NewPtrProduceRequest(), started: func() { once.Do(started) }}
	req.Acks, req.TimeoutMillis, req.TransactionID = -1, int32(requestTimeout/time.Millisecond), txn
	for _, one := range load {
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = int32(one.partition), one.batch.data
		at := slices.IndexFunc(req.Topics, func(t kmsg.ProduceRequestTopic) bool { return t.Topic == one.topic })
		if at < 0 {
			t := kmsg.NewProduceRequestTopic()
			t.Topic = one.topic
			at, req.Topics = len(req.Topics), append(req.Topics, t)
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, part)
		req.size += one.size()
	}
	got, err := by.Broker(int(to)).Request(p.life, req)
	unsent := false
	once.Do(func() { unsent = err != nil; started() })
	resp, ok := got.(*kmsg.ProduceResponse)
	if err == nil && !ok {
		err = errStrangeAnswer
	}
	for _, one := range load {
		a := answer{batch: one.batch, offset: -1, err: err, unsent: unsent}
		if err == nil {
			a.read(one, resp)
		}
		one.answers <- a
	}
	return err
}

var errStrangeAnswer = errors.New("the broker's answer is about something else")

// read takes what a response says of a batch.
func (a *answer) read(one shipment, resp *kmsg.ProduceResponse) {
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			p := &resp.Topics[i].Partitions[j]
			if resp.Topics[i].Topic != one.topic || int(p.Partition) != one.partition {
				continue
			}
			if a.offset = p.BaseOffset; p.ErrorCode == kerr.DuplicateSequenceNumber.Code { // stored by an earlier attempt
				a.offset = -1
				return
			}
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				a.code, _ = errors.AsType[*kerr.Error](err)
			}
			return
		}
	}
	a.err = errStrangeAnswer
}
