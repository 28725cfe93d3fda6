package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

// refuse makes the cluster answer produce requests with codes, by their number from 0 on.
// A request without a code is dealt with as usual.
func (c *cluster) refuse(code func(n int) *kerr.Error) {
	n := -1
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		n++
		with := code(n)
		if with == nil {
			return nil, nil, false
		}
		produce, ok := req.(*kmsg.ProduceRequest)
		if !ok {
			return nil, nil, false
		}
		resp, ok := produce.ResponseKind().(*kmsg.ProduceResponse)
		if !ok {
			return nil, nil, false
		}
		for _, t := range produce.Topics {
			answer := kmsg.NewProduceResponseTopic()
			answer.Topic = t.Topic
			for _, p := range t.Partitions {
				part := kmsg.NewProduceResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, with.Code
				answer.Partitions = append(answer.Partitions, part)
			}
			resp.Topics = append(resp.Topics, answer)
		}
		return resp, nil, true
	})
}

func named(from, n int) []*hubferry.Event {
	events := make([]*hubferry.Event, n)
	for i := range events {
		e := hubferry.NewEvent(&hubferry.Content{Body: fmt.Appendf(nil, "%d", from+i)})
		e.Origin = hubferry.NewPlace("elsewhere", "hub", "0", "", 0)
		e.Pos.Sequence = int64(from + i)
		events[i] = &e
	}
	return events
}

// outcome is what a run came to.
type outcome struct {
	receipt hubferry.Receipt
	err     error
}

func submit(ctx context.Context, w hubferry.Writer, events []*hubferry.Event) <-chan outcome {
	result := make(chan outcome, 1)
	sub, ok := w.(hubferry.Submitter)
	if !ok {
		result <- outcome{err: errors.New("the writer is no Submitter")}
		return result
	}
	sub.Submit(ctx, hubferry.Run{Events: events}, func(r hubferry.Receipt, err error) { result <- outcome{r, err} })
	return result
}

func (c *cluster) bodies(t testing.TB) []string {
	t.Helper()
	var all []string
	for _, e := range c.dump(t, 0) {
		content, err := e.Content()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(content.Body))
	}
	return all
}

// A batch that is refused takes everything behind it along, what is in flight too, and
// nothing goes until a Write has succeeded (G-5).
func TestNothingPassesAFailure(t *testing.T) {
	c := newCluster(t)
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	if _, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 1)}); err != nil {
		t.Fatal(err)
	}
	release := c.stall() // so that all of them are in flight or queued
	var results []<-chan outcome
	for i := range 7 {
		results = append(results, submit(t.Context(), w, named(1+i, 1)))
	}
	c.refuse(func(n int) *kerr.Error {
		if n == 2 {
			return kerr.TopicAuthorizationFailed
		}
		return nil
	})
	release()
	for i, result := range results {
		o := <-result
		want := hubferry.Aborted
		switch {
		case i < 2 && o.err == nil && o.receipt.N == 1:
			continue
		case i == 2:
			want = hubferry.Unauthorized
		}
		if i < 2 || hubferry.KindOf(o.err) != want || o.receipt.N != 0 {
			t.Errorf("run %d: %+v, %v", i, o.receipt, o.err)
		}
	}
	if o := <-submit(t.Context(), w, named(9, 1)); hubferry.KindOf(o.err) != hubferry.Aborted {
		t.Errorf("a run before a Write: %v", o.err)
	}
	if _, err := w.Write(t.Context(), hubferry.Run{Events: named(3, 5)}); err != nil {
		t.Fatal(err)
	}
	if o := <-submit(t.Context(), w, named(8, 1)); o.err != nil {
		t.Errorf("a run after a Write: %v", o.err)
	}
	if got := fmt.Sprint(c.bodies(t)); got != "[0 1 2 3 4 5 6 7 8]" {
		t.Error(got)
	}
}

// Poison in the middle of a run lets what is before it pass, and nothing behind it.
func TestPoisonInTheMiddle(t *testing.T) {
	c := newCluster(t)
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	run := named(0, 4)
	big := sized(2 << 20)
	big.Origin, big.Pos.Sequence = run[0].Origin, 77
	run[2] = big
	first, second := submit(t.Context(), w, run), submit(t.Context(), w, named(4, 2))
	o := <-first
	e, ok := errors.AsType[*hubferry.Error](o.err)
	if !ok || e.Kind != hubferry.TooLarge || o.receipt.N != 2 || e.Unsure || e.Place == nil {
		t.Errorf("%+v, %v", o.receipt, o.err)
	}
	const want = "write " // the place follows
	if text := fmt.Sprint(o.err); text[:len(want)] != want || !strings.Contains(text, "event 77 of elsewhere/hub/0: the record takes 2097") || !strings.Contains(text, "max.message.bytes") {
		t.Error(text)
	}
	if o := <-second; hubferry.KindOf(o.err) != hubferry.Aborted {
		t.Errorf("the run behind it: %v", o.err)
	}
	if got := fmt.Sprint(c.bodies(t)); got != "[0 1]" {
		t.Error(got)
	}
}

// A topic whose limit has become smaller refuses batches that were made for the old one.
// They are divided until the event at fault is found.
func TestBatchesAreDivided(t *testing.T) {
	c := newCluster(t)
	conn := connect(t, c.options(), hubferry.Env{})
	w := writer(t, conn)
	cl := c.client(t)
	defer cl.Close()
	limit := "2000"
	if _, err := kadm.NewClient(cl).AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "max.message.bytes", Value: &limit}}, topicName); err != nil {
		t.Fatal(err)
	}
	events := []*hubferry.Event{sized(900), sized(900), sized(900), sized(900), sized(3000), sized(10)}
	r, err := w.Write(t.Context(), hubferry.Run{Events: events})
	if hubferry.KindOf(err) != hubferry.TooLarge || r.N != 4 {
		t.Errorf("receipt %+v, %v", r, err)
	}
	if r, err = w.Write(t.Context(), hubferry.Run{Events: events[5:]}); err != nil || r.N != 1 {
		t.Errorf("receipt %+v, %v", r, err)
	}
	if n := len(c.dump(t, 0)); n != 5 {
		t.Errorf("%d events are there", n)
	}
}

// A caller who does not wait any more gets his run back soon, and a later Write is stored
// behind whatever becomes of it.
func TestCancelledRunIsUnsure(t *testing.T) {
	c := newCluster(t)
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	release := c.stall()
	ctx, cancel := context.WithCancel(t.Context())
	first, second := submit(ctx, w, named(0, 1)), submit(t.Context(), w, named(1, 1))
	time.AfterFunc(50*time.Millisecond, cancel)
	o := <-first
	e, ok := errors.AsType[*hubferry.Error](o.err)
	if !ok || e.Kind != hubferry.Transient {
		t.Errorf("%+v, %v", o.receipt, o.err)
	}
	if o := <-second; hubferry.KindOf(o.err) != hubferry.Aborted {
		t.Errorf("the run behind it: %v", o.err)
	}
	release()
	if _, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 2)}); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(c.bodies(t))
	if got != "[0 1]" && got != "[0 0 1]" {
		t.Error(got)
	}
	if got == "[0 0 1]" && !e.Unsure {
		t.Error("it was stored, and the error does not say that it may be")
	}
}

// Whatever brokers answer and connections do, first deliveries are complete and in order,
// and no run is stored twice unless its error said Unsure.
func TestSubmitUnderFaults(t *testing.T) {
	c := newCluster(t)
	rnd, ill := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(3, 4)) // ill is the cluster's
	codes := []*kerr.Error{
		kerr.NotLeaderForPartition, kerr.NotEnoughReplicas, kerr.UnknownTopicOrPartition, kerr.LeaderNotAvailable,
		kerr.TopicAuthorizationFailed, kerr.InvalidRecord, kerr.MessageTooLarge,
	}
	var faults sync.WaitGroup
	c.refuse(func(int) *kerr.Error {
		switch n := ill.IntN(40); {
		case n < 3:
			return codes[ill.IntN(len(codes))]
		case n == 3:
			faults.Go(c.cut)
		}
		return nil
	})
	w := writer(t, connect(t, c.options(), hubferry.Env{}))
	const total = 1500
	repeats := 0
	for from := 0; from < total; {
		type sent struct {
			n      int
			result <-chan outcome
		}
		var flight []sent
		for next := from; next < min(from+200, total); {
			n := min(1+rnd.IntN(20), total-next)
			flight = append(flight, sent{n, submit(t.Context(), w, named(next, n))})
			next += n
		}
		failed := false
		for _, s := range flight {
			o := <-s.result
			if failed && (o.err == nil || o.receipt.N > 0) {
				t.Fatalf("a run stored %d events after one that failed, %v", o.receipt.N, o.err)
			}
			failed = failed || o.err != nil
			from += o.receipt.N
			if e, ok := errors.AsType[*hubferry.Error](o.err); ok && e.Unsure {
				repeats += s.n
			}
		}
		for failed && from < total {
			n := min(5, total-from)
			r, err := w.Write(t.Context(), hubferry.Run{Events: named(from, n)})
			from += r.N
			failed = err != nil
			if e, ok := errors.AsType[*hubferry.Error](err); ok && e.Unsure {
				repeats += n
			}
		}
	}
	faults.Wait()
	next, extra := 0, 0
	for _, body := range c.bodies(t) {
		switch {
		case body == fmt.Sprint(next):
			next++
		default:
			extra++
			var n int
			if _, err := fmt.Sscan(body, &n); err != nil || n > next {
				t.Fatalf("%s comes where %d was to come", body, next)
			}
		}
	}
	if next != total || extra > repeats {
		t.Errorf("%d of %d events are there, %d more than once; at most %d were in doubt", next, total, extra, repeats)
	}
	t.Logf("%d repeated, %d in doubt", extra, repeats)
}
