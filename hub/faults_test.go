package hub_test

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
)

// stored waits until the one partition of "one" holds n events.
func stored(t *testing.T, s *testServer, n int64) {
	t.Helper()
	p := s.producer("one")
	deadline := time.Now().Add(60 * time.Second)
	for {
		props, err := p.GetPartitionProperties(t.Context(), "0", nil)
		if err != nil {
			t.Fatal(err)
		}
		if props.LastEnqueuedSequenceNumber == n-1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("last sequence number %d, want %d", props.LastEnqueuedSequenceNumber, n-1)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestFaultRefuse(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	s.faults.Add(hub.Fault{Kind: hub.FaultRefuse, Skip: 1, Times: 1})
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	wantError(t, trySend(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...), "com.microsoft:server-busy")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	stored(t, s, 2)
	remove := s.faults.Add(hub.Fault{Kind: hub.FaultRefuse, Condition: hub.InternalError, Text: "own text", Place: hub.Place{Namespace: "TEST", Hub: "ONE", Partition: "0"}})
	wantError(t, trySend(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...), "amqp:internal-error", "own text")
	remove()
	s.faults.Add(hub.Fault{Kind: hub.FaultRefuse, Place: hub.Place{Hub: "four"}})
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	s.faults.Clear()
	stored(t, s, 3)
}

func TestFaultDelay(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	s.faults.Add(hub.Fault{Kind: hub.FaultDelay, After: 50 * time.Millisecond, Times: 1})
	began := time.Now()
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	if d := time.Since(began); d < 50*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
}

// What the sender sees is the same in these cases, what is stored is not.
func TestFaultCuts(t *testing.T) {
	for name, tc := range map[string]struct {
		kind       hub.FaultKind
		now, later int64
	}{
		"before":     {hub.FaultCutBefore, 0, 0},
		"after":      {hub.FaultCutAfter, 1, 1},
		"store late": {hub.FaultCutStoreLate, 0, 1},
		"no answer":  {hub.FaultNoAnswer, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			s := start(t, nil)
			p := s.producer("one")
			b, err := p.NewEventDataBatch(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := b.AddEventData(texts(1, "%d")[0], nil); err != nil {
				t.Fatal(err)
			}
			s.faults.Add(hub.Fault{Kind: tc.kind, After: 10 * time.Second, Times: 1})
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := p.SendEventDataBatch(ctx, b, nil); err == nil {
				t.Error("the sender got an answer")
			}
			stored(t, s, tc.now)
			stored(t, s, tc.later)
		})
	}
}

// Azure's client attaches again by itself, so these look at the frames.
func TestFaultDetach(t *testing.T) {
	for name, tc := range map[string]struct {
		kind   hub.FaultKind
		stored int64
	}{
		"before": {hub.FaultDetachBefore, 0},
		"after":  {hub.FaultDetachAfter, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil)
			s.faults.Add(hub.Fault{Kind: tc.kind, Times: 1})
			c := dial(t, s.addr)
			c.open("root", rootKey)
			c.attachSender(0, "one")
			c.deliver(0, 0, 0, amqp.AppendData(nil, []byte("x")))
			var d amqp.Detach
			c.expect(&d)
			if !d.Closed || d.Error == nil || d.Error.Condition != amqp.ErrDetachForced {
				t.Errorf("detach %+v", d)
			}
			stored(t, s, tc.stored)
		})
	}
}

func TestDetachAtOnce(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "one/Partitions/0")
	c.attachReceiver(1, allOfOne, nil)
	c.attachSender(2, "four")
	if n := s.faults.Detach(hub.Place{Namespace: "test", Hub: "One", Partition: "0"}, hub.InternalError, "moved"); n != 2 {
		t.Errorf("%d links, want 2", n)
	}
	for range 2 {
		var d amqp.Detach
		c.expect(&d)
		if d.Handle == 2 || !d.Closed || d.Error == nil || d.Error.Condition != amqp.ErrInternalError || d.Error.Description != "moved" {
			t.Errorf("detach %+v", d)
		}
	}
}

func TestCutAtOnce(t *testing.T) {
	s := start(t, nil)
	retry := azeventhubs.RetryOptions{MaxRetries: 3, RetryDelay: time.Millisecond}
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connection("one", "root", rootKey), "", &azeventhubs.ProducerClientOptions{RetryOptions: retry})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close(context.Background()) }()
	for range 3 {
		send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
		if n := s.faults.Cut("test"); n == 0 {
			t.Error("no connection to cut")
		}
	}
	if n := s.faults.Cut("elsewhere"); n != 0 {
		t.Errorf("%d connections cut", n)
	}
	stored(t, s, 3)
}

// A disk that is full refuses sends, and keeps what it has; a slow one takes its time. Both
// pass.
func TestFaultDisk(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Dir = t.TempDir() })
	p := s.producer("one")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	s.faults.SetDisk(hub.Disk{Full: true})
	if err := trySend(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...); err == nil {
		t.Error("a full disk took an event")
	}
	if s.faults.Hits() == 0 {
		t.Error("the disk was not asked")
	}
	s.faults.SetDisk(hub.Disk{Delay: 20 * time.Millisecond})
	began := time.Now()
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	if d := time.Since(began); d < 20*time.Millisecond {
		t.Errorf("a slow disk answered after %v", d)
	}
	s.faults.SetDisk(hub.Disk{})
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	stored(t, s, 3)
}

// A hub that is changed while it is used gets partitions and keys; the old key no longer signs.
func TestUpdateHub(t *testing.T) {
	const first, second = "first-key-of-four", "second-key-of-four"
	s := start(t, nil)
	update := func(o hub.HubOptions) error { return s.UpdateHub(t.Context(), "test", o) }
	rules := func(key string) []hub.Rule { return []hub.Rule{{Name: "own", Key: key, Rights: hub.Manage}} }
	if err := update(hub.HubOptions{Name: "four", Partitions: 4, Rules: rules(first)}); err != nil {
		t.Fatal(err)
	}
	send(t, s.producerAs("four", "own", first), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	if err := update(hub.HubOptions{Name: "four", Partitions: 5, Rules: rules(second)}); err != nil {
		t.Fatal(err)
	}
	wantError(t, trySend(t, s.producerAs("four", "own", first), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...), "401")
	properties, err := s.producerAs("four", "own", second).GetEventHubProperties(t.Context(), nil)
	if err != nil || len(properties.PartitionIDs) != 5 {
		t.Errorf("%v, %v", properties.PartitionIDs, err)
	}
	if update(hub.HubOptions{Name: "four", Partitions: 3}) == nil {
		t.Error("a hub lost partitions")
	}
	if update(hub.HubOptions{Name: "nobody"}) == nil || s.UpdateHub(t.Context(), "nowhere", hub.HubOptions{Name: "four"}) == nil {
		t.Error("what is not there was changed")
	}
}
