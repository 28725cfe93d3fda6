package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"github.com/hubferry/hubferry"
)

var _ hubferry.Committer = (*writer)(nil)

// transaction is the transactional producer of one source partition. It is a few numbers:
// all share the connections of the target, so that a thousand partitions cost a thousand of
// these and nothing more.
type transaction struct {
	w   *writer
	id  hubferry.ID
	key string // of the stored position
	txn string // transactional id

	mu        sync.Mutex // held by Adopt and Commit to see that nobody else is in it
	busy      bool
	producer  producerID
	sequences map[topicPartition]int32
	stored    *hubferry.Checkpoint
	lost      atomic.Bool // another instance has adopted the partition
	unsure    bool        // nobody knows whether the last transaction was committed
	dirty     bool        // something of a transaction may still be on its way: the producer needs a new epoch

	coordinator *kgo.Broker // nil if it is not known
}

type topicPartition struct {
	topic     string
	partition int
}

// txnPause is how long to wait for a coordinator that is ending a transaction, as the Java
// client does.
const txnPause = 20 * time.Millisecond

// transactionOf returns the transaction of a source partition, made if it is new.
func (w *writer) transactionOf(id hubferry.ID, create bool) *transaction {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.transactions[id]
	if t == nil && create {
		key := id.String() + "|" + w.topic
		t = &transaction{w: w, id: id, key: key, txn: w.target.options.TransactionalIDPrefix + "|" + key}
		w.transactions[id] = t
	}
	return t
}

// enter takes the turn in a transaction.
func (t *transaction) enter() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy {
		return t.error(hubferry.Fatal, errors.New("it is in use by another call"), "")
	}
	t.busy = true
	return nil
}

func (t *transaction) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy = false
}

func (t *transaction) error(kind hubferry.ErrorKind, err error, hint string) *hubferry.Error {
	return &hubferry.Error{Kind: kind, Op: "commit " + t.id.String() + " to topic " + t.w.topic, Err: err, Hint: hint}
}

const (
	hintNone   = "does the service have transactions? if not, choose a delivery that reads the target's end instead"
	hintLost   = "another instance has taken the partition over"
	hintUnsure = "it is not known whether the transaction was committed; adopting the partition again tells"
)

// Adopt implements hubferry.Committer. It ends a transaction that an earlier adopter left
// open, one way or the other, before it reads the position.
func (w *writer) Adopt(ctx context.Context, id hubferry.ID) (*hubferry.Checkpoint, error) {
	if w.life.Err() != nil {
		return nil, hubferry.ErrClosed
	}
	if !w.target.producer.idempotent() {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: "adopt " + id.String(), Err: errors.New("transactions need an idempotent producer"), Hint: "remove the target's idempotence: off"}
	}
	t := w.transactionOf(id, true)
	if err := t.enter(); err != nil {
		return nil, err
	}
	defer t.leave()
	found, err := t.begin(ctx)
	if err != nil {
		return nil, err
	}
	t.stored, t.unsure = found, false
	t.lost.Store(false)
	t.dirty = false
	return found, nil
}

// begin fences whoever was there before, and returns the position that is stored. It leaves
// the transaction dirty: whether one can go on from there is for the caller to judge.
func (t *transaction) begin(ctx context.Context) (*hubferry.Checkpoint, error) {
	t.dirty = true
	if err := t.initialize(ctx); err != nil {
		return nil, err
	}
	return t.w.target.positions.find(ctx, t.key)
}

// initialize gets the producer id and a new epoch, which fences all earlier ones and aborts
// what they have left open.
func (t *transaction) initialize(ctx context.Context) error {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &t.txn
	req.TransactionTimeoutMillis = int32(t.w.target.options.TransactionTimeout / time.Millisecond)
	var resp *kmsg.InitProducerIDResponse
	err := t.insist(ctx, func() (code int16, err error) {
		if resp, err = req.RequestWith(ctx, t.w.target.producer.client); err != nil {
			return 0, t.w.target.producer.unknown(ctx, kmsg.InitProducerID, err)
		}
		return resp.ErrorCode, nil
	})
	if err != nil {
		err = t.judge(err, "begin transactions")
		if e, ok := errors.AsType[*hubferry.Error](err); ok && e.Kind == hubferry.Fatal && e.Hint == "" {
			e.Hint = hintNone
		}
		return err
	}
	t.producer = producerID{resp.ProducerID, resp.ProducerEpoch}
	t.sequences = map[topicPartition]int32{}
	return nil
}

// renew gets a new epoch for an adopter that goes on. Nobody else may have moved the position
// meanwhile: it is then theirs. To name the epoch that we have, as clients do for that since
// KIP-360, would not do: a coordinator that ends an open transaction takes a new epoch for it,
// and then refuses the one before.
func (t *transaction) renew(ctx context.Context) error {
	found, err := t.begin(ctx)
	if err != nil {
		return err
	}
	if !samePosition(found, t.stored) {
		t.lost.Store(true)
		return t.error(hubferry.Lost, errors.New("the stored position is another one"), hintLost)
	}
	t.dirty = false
	return nil
}

// insist repeats a request to the coordinator while that is busy with the transaction
// before, or not there.
func (t *transaction) insist(ctx context.Context, ask func() (code int16, err error)) error {
	begin := time.Now()
	for tries := 0; ; tries++ {
		code, err := ask()
		if err == nil {
			err = kerr.ErrorForCode(code)
		}
		e, ok := errors.AsType[*kerr.Error](err)
		switch {
		case !ok:
			return err
		case e.Code == kerr.ConcurrentTransactions.Code:
		case fenced(e) || !e.Retriable || time.Since(begin) > lanePatience:
			return err
		}
		if err := pause(ctx, "wait for the transaction coordinator", txnPause); err != nil {
			return err
		}
	}
}

// fenced reports whether an error says that the producer has no right to go on: there is a
// newer one, or the coordinator has ended its transaction after the time-out.
func fenced(e *kerr.Error) bool {
	switch e.Code {
	case kerr.ProducerFenced.Code, kerr.InvalidProducerEpoch.Code, kerr.InvalidProducerIDMapping.Code, kerr.TransactionCoordinatorFenced.Code:
		return true
	}
	return false
}

// judge classifies an error of a transaction.
func (t *transaction) judge(err error, what string) error {
	if e, ok := errors.AsType[*kerr.Error](err); ok {
		if fenced(e) {
			t.lost.Store(true)
			return t.error(hubferry.Lost, e, hintLost+", or the transaction took longer than transactionTimeout")
		}
		switch e.Code {
		case kerr.InvalidTransactionTimeout.Code:
			return t.error(hubferry.Fatal, e, "set the target's transactionTimeout below the brokers' transaction.max.timeout.ms")
		case kerr.TransactionalIDAuthorizationFailed.Code:
			return t.error(hubferry.Unauthorized, e, "give the user Write and Describe on transactional ids that begin with "+t.w.target.options.TransactionalIDPrefix)
		case kerr.UnsupportedVersion.Code, kerr.UnsupportedForMessageFormat.Code:
			return t.error(hubferry.Fatal, e, hintNone)
		case kerr.InvalidTxnState.Code, kerr.TransactionAbortable.Code, kerr.OutOfOrderSequenceNumber.Code, kerr.UnknownProducerID.Code:
			return t.error(hubferry.Aborted, e, "")
		}
	}
	return classify(what, err)
}

// Commit implements hubferry.Committer: the runs and the position go in one transaction.
func (w *writer) Commit(ctx context.Context, id hubferry.ID, runs []hubferry.Run, prev, next *hubferry.Checkpoint) error {
	if w.life.Err() != nil {
		return hubferry.ErrClosed
	}
	t := w.transactionOf(id, false)
	if t == nil {
		return &hubferry.Error{Kind: hubferry.Lost, Op: "commit " + id.String(), Err: errors.New("the partition was not adopted")}
	}
	if err := t.enter(); err != nil {
		return err
	}
	defer t.leave()
	switch {
	case t.unsure:
		e := t.error(hubferry.Transient, errors.New("the outcome of the transaction before is not known"), hintUnsure)
		e.Unsure = true
		return e
	case t.lost.Load():
		return t.error(hubferry.Lost, nil, hintLost)
	case !samePosition(t.stored, prev):
		return t.error(hubferry.Lost, errors.New("the stored position is another one"), hintLost)
	}
	cost := int64(0)
	for _, r := range runs {
		cost += w.estimate(r.Events, 1<<30)
	}
	cost = min(cost, w.target.producer.conn.batchMemory().most)
	if err := w.target.producer.conn.batchMemory().Acquire(ctx, cost); err != nil {
		return t.error(hubferry.Transient, context.Cause(ctx), "")
	}
	defer w.target.producer.conn.batchMemory().Release(cost)
	parts, err := t.encode(ctx, runs, next)
	if err != nil {
		return err
	}
	if t.dirty {
		if err := t.renew(ctx); err != nil {
			return err
		}
	}
	if err := t.store(ctx, parts); err != nil {
		return err
	}
	if err := t.finish(ctx); err != nil {
		return err
	}
	stored := *next
	t.stored = &stored
	return nil
}

func samePosition(a, b *hubferry.Checkpoint) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Position.Sequence == b.Position.Sequence && a.Incarnation == b.Incarnation && a.Beginning == b.Beginning
}

// encode makes the batches of a transaction, by partition.
func (t *transaction) encode(ctx context.Context, runs []hubferry.Run, next *hubferry.Checkpoint) (map[topicPartition][]*batch, error) {
	p := t.w.target.producer
	parts := map[topicPartition][]*batch{}
	for _, run := range runs {
		l, err := t.w.lane(run.Partition)
		if err != nil {
			return nil, err
		}
		to := topicPartition{t.w.topic, run.Partition}
		x := &batcher{w: t.w, place: l.place, take: func(b *batch) { parts[to] = append(parts[to], b) }}
		x.reserve = func(bytes int64) (*batch, error) { return &batch{data: p.buffer(int(bytes))}, nil }
		if err := x.encode(ctx, run.Events); err != nil {
			return nil, err
		}
	}
	value, err := encodePosition(next)
	if err != nil {
		return nil, t.error(hubferry.Fatal, err, "")
	}
	b := &batch{data: make([]byte, batchOverhead)}
	r := &record{key: []byte(t.key), value: value, time: time.Now().UnixMilli()}
	r.measure()
	b.add(r)
	parts[topicPartition{t.w.target.options.PositionsTopic, 0}] = []*batch{b}
	return parts, nil
}

// store adds the partitions to the transaction and writes the batches. When it fails the
// transaction is given up, and nothing of it will be seen.
func (t *transaction) store(ctx context.Context, parts map[topicPartition][]*batch) error {
	err := t.add(ctx, parts)
	if err == nil {
		var mu sync.Mutex
		next := maps.Clone(t.sequences)
		group, ctx := errgroup.WithContext(ctx)
		for to, batches := range parts {
			group.Go(func() error {
				n, err := t.storeAll(ctx, to, t.sequences[to], batches)
				mu.Lock()
				defer mu.Unlock()
				next[to] = n
				return err
			})
		}
		err = group.Wait()
		t.sequences = next
	}
	if err != nil {
		t.giveUp(ctx)
	}
	return err
}

// giveUp ends a transaction that must not be seen. A new epoch aborts it and keeps out what
// may still be on its way to a broker, which an abort alone would not.
func (t *transaction) giveUp(ctx context.Context) {
	t.dirty = true
	if t.lost.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lanePatience)
	defer cancel()
	_ = t.renew(ctx) // or before the next one; the broker aborts it in the end
}

// add tells the coordinator which partitions the transaction writes to.
func (t *transaction) add(ctx context.Context, parts map[topicPartition][]*batch) error {
	req := kmsg.NewPtrAddPartitionsToTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch = t.txn, t.producer.id, t.producer.epoch
	byTopic := map[string][]int32{}
	for to := range parts {
		byTopic[to.topic] = append(byTopic[to.topic], int32(to.partition))
	}
	for name, partitions := range byTopic {
		topic := kmsg.NewAddPartitionsToTxnRequestTopic()
		topic.Topic, topic.Partitions = name, partitions
		req.Topics = append(req.Topics, topic)
	}
	err := t.insist(ctx, func() (int16, error) {
		resp, err := req.RequestWith(ctx, t.w.target.producer.client)
		if err != nil {
			return 0, err
		}
		worst := resp.ErrorCode
		for _, topic := range resp.Topics {
			for _, p := range topic.Partitions {
				// A partition that was not tried says nothing: another one is at fault.
				if p.ErrorCode != 0 && (worst == 0 || worst == kerr.OperationNotAttempted.Code) {
					worst = p.ErrorCode
				}
			}
		}
		return worst, nil
	})
	if err != nil {
		return t.judge(err, "add partitions to a transaction")
	}
	return nil
}

// storeAll writes the batches of one partition, one after the other, and returns the
// sequence number behind them.
func (t *transaction) storeAll(ctx context.Context, to topicPartition, sequence int32, batches []*batch) (int32, error) {
	p := t.w.target.producer
	for len(batches) > 0 {
		b := batches[0]
		b.sequence = sequence
		b.seal(t.producer, true)
		code, err := t.storeOne(ctx, to, b)
		kind, _ := kindOf(code)
		switch {
		case err != nil:
			return sequence, err
		case code == nil:
			sequence = nextSequence(sequence, b.n)
			p.recycle(b.data)
			batches = batches[1:]
		case kind.Poison() && b.n > 1:
			half, err := t.w.rebatch(b.events[:b.n/2], b)
			if err != nil {
				return sequence, err
			}
			rest, err := t.w.rebatch(b.events[b.n/2:], b)
			if err != nil {
				return sequence, err
			}
			batches = slices.Concat([]*batch{half, rest}, batches[1:])
		case kind.Poison() && len(b.events) == 1:
			e := t.error(kind, eventError(b.events[0], code), "")
			e.Event = b.events[0]
			return sequence, e
		default:
			return sequence, t.judge(code, fmt.Sprintf("write to %s/%d", to.topic, to.partition))
		}
	}
	return sequence, nil
}

// storeOne writes a batch, repeating it under its sequence number while its fate is not
// known. The code is what a broker said against it.
func (t *transaction) storeOne(ctx context.Context, to topicPartition, b *batch) (code error, err error) {
	p := t.w.target.producer
	begin := time.Now()
	op := fmt.Sprintf("write to %s/%d", to.topic, to.partition)
	for tries := 0; ; tries++ {
		var cause error
		leader, err := p.leader(ctx, to.topic, to.partition)
		if err == nil {
			a, err := p.sendAndWait(ctx, leader, &t.txn, to, b)
			if err != nil {
				return nil, t.judge(err, op)
			}
			retriable := a.code != nil && (a.code.Retriable || a.code.Code == kerr.ConcurrentTransactions.Code)
			switch {
			case a.err == nil && a.code == nil:
				return nil, nil
			case a.err == nil && (!retriable || fenced(a.code)):
				return a.code, nil
			case a.err != nil:
				cause = a.err
			default:
				cause = a.code
			}
		} else if cause = err; hubferry.KindOf(err) != hubferry.Transient {
			return nil, err
		}
		if time.Since(begin) > p.conn.options.deliveryTimeout() {
			return nil, t.judge(cause, op)
		}
		p.forget(to.topic)
		if err := pause(ctx, op, backoff(tries)); err != nil {
			return nil, err
		}
	}
}

// sendAndWait sends a batch and waits for the answer, but not longer than its context: to
// cut the request itself short would break the connection for everybody.
func (p *producer) sendAndWait(ctx context.Context, leader int32, txn *string, to topicPartition, b *batch) (answer, error) {
	result := make(chan answer, 1)
	one := shipment{topic: to.topic, partition: to.partition, batch: b, answers: result}
	go func() { _ = p.send(p.client, leader, txn, []shipment{one}, func() {}) }() // the answer says it all
	select {
	case a := <-result:
		return a, nil
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	}
}

// finish commits. From here on the outcome may be unknown.
func (t *transaction) finish(ctx context.Context) error {
	if ctx.Err() != nil { // nothing was decided: INV-9
		t.giveUp(ctx)
		return t.error(hubferry.Transient, context.Cause(ctx), "")
	}
	begin := time.Now()
	doubt := false
	for tries := 0; ; tries++ {
		err := t.insist(ctx, func() (int16, error) {
			code, err := t.end(ctx)
			doubt = doubt || err != nil || undecided(code)
			return code, err
		})
		if err == nil {
			t.dirty = doubt
			return nil
		}
		// After a broken connection an answer is to a second request: that a coordinator is not
		// ready tells nothing of what it did with the first.
		e, said := errors.AsType[*kerr.Error](err)
		doubt = doubt || !said || e.Retriable
		if said {
			return t.refused(ctx, err, doubt)
		}
		if ctx.Err() != nil || time.Since(begin) > t.w.target.conn.options.deliveryTimeout() {
			return t.refused(ctx, err, true)
		}
		if pause(ctx, "commit", backoff(tries)) != nil {
			return t.refused(ctx, context.Cause(ctx), true)
		}
	}
}

// undecided reports whether a coordinator that answers so to a commit may have it in its log
// all the same, for the next coordinator to complete: it says that it is none any more, or
// that it was not copied in time. One that is busy or loading has not begun.
func undecided(code int16) bool {
	e := kerr.TypedErrorForCode(code)
	return e != nil && e.Retriable && code != kerr.ConcurrentTransactions.Code && code != kerr.CoordinatorLoadInProgress.Code
}

// end asks the coordinator once to commit. The request names no transaction, only a producer
// and its epoch, so a copy that a broken connection delivers late commits whatever the
// producer has written by then: half of the next transaction, its position without its
// events perhaps. So the client must not repeat it by itself, and a transaction that follows
// a repeated request gets a new epoch. (Since Kafka 4 every transaction can have its own:
// KIP-890, part 2.)
func (t *transaction) end(ctx context.Context) (code int16, err error) {
	if t.coordinator == nil {
		if err := t.findCoordinator(ctx); err != nil {
			return 0, err
		}
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = t.txn, t.producer.id, t.producer.epoch, true
	got, err := t.coordinator.Request(ctx, req)
	resp, ok := got.(*kmsg.EndTxnResponse)
	if err == nil && !ok {
		err = errors.New("the broker's answer is about something else")
	}
	if err != nil {
		t.coordinator = nil
		return 0, err
	}
	if resp.ErrorCode == kerr.NotCoordinator.Code {
		t.coordinator = nil
	}
	return resp.ErrorCode, nil
}

// findCoordinator asks which broker coordinates the transaction, and where brokers are.
func (t *transaction) findCoordinator(ctx context.Context) error {
	client := t.w.target.producer.client
	brokers := kmsg.NewPtrMetadataRequest()
	brokers.Topics = []kmsg.MetadataRequestTopic{} // none: null would be all
	if _, err := brokers.RequestWith(ctx, client); err != nil {
		return err
	}
	found := kadm.NewClient(client).FindTxnCoordinators(ctx, t.txn)[t.txn]
	if found.Err != nil {
		return found.Err
	}
	t.coordinator = client.Broker(int(found.NodeID))
	return nil
}

// refused ends a transaction whose commit failed. If an answer was lost before, it may be
// committed all the same.
func (t *transaction) refused(ctx context.Context, err error, doubt bool) error {
	err = t.judge(err, "commit "+t.id.String())
	if !doubt {
		if !t.lost.Load() {
			t.giveUp(ctx)
		}
		return err
	}
	t.unsure = true
	e, ok := errors.AsType[*hubferry.Error](err)
	if !ok {
		return err
	}
	own := *e
	own.Unsure, own.Hint = true, hintUnsure
	return &own
}
