package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
)

func TestPositions(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	c := s.consumer("one", "$Default")
	for i := range 5 {
		send(t, p, azeventhubs.EventDataBatchOptions{}, &azeventhubs.EventData{Body: []byte(strconv.Itoa(i))})
		time.Sleep(3 * time.Millisecond) // distinct enqueued times
	}
	all := receive(t, receiver(t, c, "0", earliest()), 5)
	third := all[2]
	for name, tc := range map[string]struct {
		start azeventhubs.StartPosition
		want  []string
	}{
		"earliest":                 {azeventhubs.StartPosition{Earliest: new(true)}, []string{"0", "1", "2", "3", "4"}},
		"earliest, inclusive":      {azeventhubs.StartPosition{Earliest: new(true), Inclusive: true}, []string{"0", "1", "2", "3", "4"}},
		"sequence":                 {azeventhubs.StartPosition{SequenceNumber: new(int64(2))}, []string{"3", "4"}},
		"sequence, inclusive":      {azeventhubs.StartPosition{SequenceNumber: new(int64(2)), Inclusive: true}, []string{"2", "3", "4"}},
		"offset":                   {azeventhubs.StartPosition{Offset: &third.Offset}, []string{"3", "4"}},
		"offset, inclusive":        {azeventhubs.StartPosition{Offset: &third.Offset, Inclusive: true}, []string{"2", "3", "4"}},
		"time":                     {azeventhubs.StartPosition{EnqueuedTime: third.EnqueuedTime}, []string{"3", "4"}},
		"time, inclusive":          {azeventhubs.StartPosition{EnqueuedTime: third.EnqueuedTime, Inclusive: true}, []string{"2", "3", "4"}},
		"time before all":          {azeventhubs.StartPosition{EnqueuedTime: new(time.UnixMilli(-62135596800000))}, []string{"0", "1", "2", "3", "4"}},
		"latest, inclusive":        {azeventhubs.StartPosition{Latest: new(true), Inclusive: true}, []string{"4"}},
		"last sequence, inclusive": {azeventhubs.StartPosition{SequenceNumber: new(int64(4)), Inclusive: true}, []string{"4"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := receiver(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: tc.start})
			if diff := cmp.Diff(tc.want, bodies(receive(t, r, len(tc.want)))); diff != "" {
				t.Error(diff)
			}
			_ = r.Close(context.Background())
		})
	}
}

func TestPositionsBeyondTheEnd(t *testing.T) {
	s := start(t, nil)
	c := s.consumer("one", "$Default")
	r := receiver(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Offset: new("0")}})
	wantError(t, receiveError(t, r), "com.microsoft:argument-error", "The supplied offset '0' is invalid. The last offset in the system is '-1'")
	send(t, s.producer("one"), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	r = receiver(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{SequenceNumber: new(int64(7))}})
	wantError(t, receiveError(t, r), "com.microsoft:argument-error", "The supplied sequence number '7' is invalid. The last sequence number in the system is '0'")
}

// The start is fixed when the attach is answered: what is published behind that
// is behind "latest", also while nobody asks for events.
func TestLatest(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(3, "early %d")...)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachReceiver(0, allOfOne, "amqp.annotation.x-opt-offset > '@latest'")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(2, "late %d")...)
	c.credit(0, 0, 2)
	for _, want := range []string{"late 0", "late 1"} {
		if got := c.expect(&amqp.Transfer{}); !bytes.HasSuffix(got, []byte(want)) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFutureTimeWaits(t *testing.T) {
	var ahead atomic.Int64
	ahead.Store(-int64(3 * time.Hour)) // never beyond the present, or tokens would be expired
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	s := start(t, func(o *hub.Options) { o.Now = now })
	p := s.producer("one")
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachReceiver(0, allOfOne, fmt.Sprintf("amqp.annotation.x-opt-enqueued-time > '%d'", now().Add(time.Hour).UnixMilli()))
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "early %d")...)
	ahead.Store(0)
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "late %d")...)
	c.credit(0, 0, 2)
	if got := c.expect(&amqp.Transfer{}); !bytes.HasSuffix(got, []byte("late 0")) {
		t.Errorf("got %q", got)
	}
}

// More events than credit and session window hold at a time.
func TestManyEvents(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Trace = nil })
	p := s.producer("one")
	const n = 12_000
	go func() {
		for i := 0; i < n; i += 1000 {
			events := make([]*azeventhubs.EventData, 1000)
			for j := range events {
				events[j] = &azeventhubs.EventData{Body: []byte(strconv.Itoa(i + j))}
			}
			if err := trySend(t, p, azeventhubs.EventDataBatchOptions{}, events...); err != nil {
				t.Error(err)
			}
		}
	}()
	for name, prefetch := range map[string]int32{"default": 0, "none": -1, "small": 3, "large": 5000} {
		t.Run(name, func(t *testing.T) {
			o := earliest()
			o.Prefetch = prefetch
			r := receiver(t, s.consumer("one", "$Default"), "0", o)
			next := int64(0)
			for next < n {
				for _, e := range receive(t, r, min(500, n-int(next))) {
					if e.SequenceNumber != next || string(e.Body) != strconv.FormatInt(next, 10) {
						t.Fatalf("event %d is %q with sequence %d", next, e.Body, e.SequenceNumber)
					}
					next++
				}
			}
		})
	}
}

func TestGroupsAreIndependent(t *testing.T) {
	s := start(t, nil)
	send(t, s.producer("four"), azeventhubs.EventDataBatchOptions{PartitionID: new("0")}, texts(3, "%d")...)
	for _, group := range []string{"$Default", "$default", "second", "SECOND"} {
		if got := receive(t, receiver(t, s.consumer("four", group), "0", earliest()), 3); len(got) != 3 {
			t.Errorf("group %s: %d events", group, len(got))
		}
	}
}

func TestEpochs(t *testing.T) {
	s := start(t, nil)
	send(t, s.producer("one"), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	withEpoch := func(level int64) *azeventhubs.PartitionClient {
		o := earliest()
		o.OwnerLevel = &level
		return receiver(t, s.consumer("one", "$Default"), "0", o)
	}
	plain := receiver(t, s.consumer("one", "$Default"), "0", earliest())
	receive(t, plain, 1)

	first := withEpoch(3)
	receive(t, first, 1)
	wantError(t, receiveError(t, plain), "link:stolen",
		"New receiver 'reader' with higher epoch of '3' is created hence current receiver 'reader' with epoch '-1' is getting disconnected.")

	second := withEpoch(3) // equal: the last one wins
	receive(t, second, 1)
	err := receiveError(t, first)
	wantError(t, err, "link:stolen", "New receiver 'reader' with higher epoch of '3' is created hence current receiver 'reader' with epoch '3' is getting disconnected. If you are recreating the receiver, make sure a higher epoch is used.")
	if got := codeOf(err); got != azeventhubs.ErrorCodeOwnershipLost {
		t.Errorf("code %q", got)
	}

	wantError(t, receiveError(t, withEpoch(2)), "link:stolen",
		"Receiver 'reader' with a higher epoch '3' already exists. Receiver 'reader' with epoch 2 cannot be created. Make sure you are creating receiver with increasing epoch value to ensure connectivity, or ensure all old epoch receivers are closed or disconnected.")
	wantError(t, receiveError(t, receiver(t, s.consumer("one", "$Default"), "0", earliest())), "link:stolen",
		"At least one receiver for the endpoint is created with epoch of '3', and so non-epoch receiver is not allowed. Either reconnect with a higher epoch, or make sure all epoch receivers are closed or disconnected.")

	if err := second.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	receive(t, withEpoch(0), 1) // free again
}

func TestSixthReceiver(t *testing.T) {
	s := start(t, nil)
	send(t, s.producer("one"), azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	c := s.consumer("one", "$Default")
	for range 5 {
		receive(t, receiver(t, c, "0", earliest()), 1)
	}
	wantError(t, receiveError(t, receiver(t, c, "0", earliest())), "amqp:resource-limit-exceeded",
		"Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5. List of connected receivers - reader, reader, reader, reader, reader.")
}

func TestNoSuchPlace(t *testing.T) {
	s := start(t, nil)
	wantError(t, receiveError(t, receiver(t, s.consumer("four", "nobody"), "0", earliest())), "not-found", "The messaging entity 'sb://test/", "could not be found")
	wantError(t, receiveError(t, receiver(t, s.consumer("nohub", "$Default"), "0", earliest())), "could not be found")
	for _, id := range []string{"4", "-1", "x", "00"} {
		err := receiveError(t, receiver(t, s.consumer("four", "$Default"), id, earliest()))
		wantError(t, err, "com.microsoft:argument-out-of-range", "The specified partition is invalid")
	}
	p := s.producer("four")
	wantError(t, trySend(t, p, azeventhubs.EventDataBatchOptions{PartitionID: new("4")}, texts(1, "%d")...), "argument-out-of-range")
	_, err := p.GetPartitionProperties(t.Context(), "9", nil)
	wantError(t, err, "The specified partition is invalid")
	_, err = s.producer("nohub").GetEventHubProperties(t.Context(), nil)
	wantError(t, err, "could not be found")
}
