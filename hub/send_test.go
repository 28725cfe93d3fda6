package hub_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/keyhash"
)

func TestSendByPartition(t *testing.T) {
	s := start(t, nil)
	p := s.producer("four")
	send(t, p, azeventhubs.EventDataBatchOptions{PartitionID: new("2")}, texts(3, "event %d")...)
	got := receive(t, receiver(t, s.consumer("four", "$Default"), "2", earliest()), 3)
	if diff := cmp.Diff([]string{"event 0", "event 1", "event 2"}, bodies(got)); diff != "" {
		t.Error(diff)
	}
	for i, e := range got {
		if e.SequenceNumber != int64(i) || e.PartitionKey != nil || e.EnqueuedTime == nil {
			t.Errorf("event %d: sequence %d, key %v, time %v", i, e.SequenceNumber, e.PartitionKey, e.EnqueuedTime)
		}
	}
}

func TestSendByKey(t *testing.T) {
	s := start(t, nil)
	p := s.producer("many")
	c := s.consumer("many", "$Default")
	for _, key := range []string{"a", "7149583486996073602", "日本語", " "} {
		send(t, p, azeventhubs.EventDataBatchOptions{PartitionKey: &key}, texts(2, "of "+key+" %d")...)
		partition := fmt.Sprint(keyhash.EventHubs(key, 32))
		got := receive(t, receiver(t, c, partition, earliest()), 2)
		for _, e := range got {
			if e.PartitionKey == nil || *e.PartitionKey != key || !strings.Contains(string(e.Body), key) {
				t.Errorf("key %q: got %v, %q", key, e.PartitionKey, e.Body)
			}
		}
	}
}

func TestSendWithoutKeyGoesRound(t *testing.T) {
	s := start(t, nil)
	p := s.producer("four")
	for range 8 {
		send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "event %d")...)
	}
	for _, id := range []string{"0", "1", "2", "3"} {
		props, err := p.GetPartitionProperties(t.Context(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if props.LastEnqueuedSequenceNumber != 1 || props.IsEmpty {
			t.Errorf("partition %s: last %d, want 1", id, props.LastEnqueuedSequenceNumber)
		}
	}
}

func TestEventComesBackAsItWas(t *testing.T) {
	s := start(t, nil)
	id, kind := "id-1", "application/json"
	sent := &azeventhubs.EventData{
		Body: []byte{0, 1, 2, 0xff}, MessageID: &id, ContentType: &kind, CorrelationID: uint64(77),
		Properties: map[string]any{
			"null": nil, "bool": true, "int8": int8(-3), "int16": int16(-300), "int32": int32(-70000), "int64": int64(-1 << 40),
			"uint8": uint8(3), "uint16": uint16(300), "uint32": uint32(70000), "uint64": uint64(1 << 63),
			"float": float32(1.5), "double": 2.25, "text": "häß", "empty": "", "bytes": []byte{9, 8},
			"time": time.UnixMilli(1_700_000_000_123).UTC(), "long": strings.Repeat("x", 70000),
		},
	}
	send(t, s.producer("one"), azeventhubs.EventDataBatchOptions{}, sent)
	got := receive(t, receiver(t, s.consumer("one", "$Default"), "0", earliest()), 1)[0]
	if diff := cmp.Diff(*sent, got.EventData); diff != "" {
		t.Error(diff)
	}
	if len(got.SystemProperties) != 0 {
		t.Errorf("unexpected annotations %v", got.SystemProperties)
	}
}

func TestAnnotatedMessageComesBackAsItWas(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	message := &azeventhubs.AMQPAnnotatedMessage{
		MessageAnnotations:    map[any]any{"own": "annotation", "number": int64(5), "x-opt-sequence-number": int64(99)},
		DeliveryAnnotations:   map[any]any{"gone": "is"},
		ApplicationProperties: map[string]any{"p": "v"},
		Body:                  azeventhubs.AMQPAnnotatedMessageBody{Sequence: [][]any{{"a", int64(1)}, {[]byte{2}}}},
		Footer:                map[any]any{"foot": "er"},
		Header:                &azeventhubs.AMQPAnnotatedMessageHeader{Durable: true, Priority: 4},
		Properties:            &azeventhubs.AMQPAnnotatedMessageProperties{GroupID: new("g"), To: new("to")},
	}
	b, err := p.NewEventDataBatch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.AddAMQPAnnotatedMessage(message, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.SendEventDataBatch(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	got := receive(t, receiver(t, s.consumer("one", "$Default"), "0", earliest()), 1)[0]
	raw := got.RawAMQPMessage
	delete(raw.MessageAnnotations, "x-opt-offset")
	delete(raw.MessageAnnotations, "x-opt-enqueued-time")
	annotations := map[any]any{"own": "annotation", "number": int64(5), "x-opt-sequence-number": int64(0)}
	if raw.Properties.MessageID == nil {
		t.Error("the client did not add a message id")
	}
	raw.Properties.MessageID = nil
	if diff := cmp.Diff(annotations, raw.MessageAnnotations); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(message.Body, raw.Body); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(message.Properties, raw.Properties); diff != "" {
		t.Error(diff)
	}
	if raw.DeliveryAnnotations != nil || raw.Header != nil && *raw.Header != (azeventhubs.AMQPAnnotatedMessageHeader{}) { // the service drops both
		t.Errorf("delivery annotations %v, header %v", raw.DeliveryAnnotations, raw.Header)
	}
	if len(raw.Footer) != 1 || raw.ApplicationProperties["p"] != "v" {
		t.Errorf("footer %v, properties %v", raw.Footer, raw.ApplicationProperties)
	}
}

func TestLargeEvents(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	r := receiver(t, s.consumer("one", "$Default"), "0", earliest())
	for _, size := range []int{0, 1, 65000, 65536, 200_000, 1<<20 - 1000} {
		body := bytes.Repeat([]byte{byte(size)}, size)
		send(t, p, azeventhubs.EventDataBatchOptions{}, &azeventhubs.EventData{Body: body})
		if got := receive(t, r, 1)[0]; !bytes.Equal(got.Body, body) {
			t.Errorf("size %d: got %d bytes", size, len(got.Body))
		}
	}
}

func TestFullBatch(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Trace = nil })
	p := s.producer("one")
	b, err := p.NewEventDataBatch(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err := b.AddEventData(&azeventhubs.EventData{Body: fmt.Appendf(nil, "event %d", i)}, nil); err != nil {
			if err != azeventhubs.ErrEventDataTooLarge { //nolint:errorlint // as the client documents it
				t.Fatal(err)
			}
			break
		}
	}
	if err := p.SendEventDataBatch(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	n := int(b.NumEvents())
	got := receive(t, receiver(t, s.consumer("one", "$Default"), "0", earliest()), n)
	for i, e := range got {
		if want := fmt.Sprintf("event %d", i); string(e.Body) != want || e.SequenceNumber != int64(i) {
			t.Fatalf("event %d is %q with sequence %d", i, e.Body, e.SequenceNumber)
		}
	}
}

func TestReadYourWrite(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	before, err := p.GetPartitionProperties(t.Context(), "0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !before.IsEmpty || before.LastEnqueuedSequenceNumber != -1 || before.BeginningSequenceNumber != -1 || before.LastEnqueuedOffset != "-1" {
		t.Errorf("empty partition: %+v", before)
	}
	for i := range 20 {
		send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
		after, err := p.GetPartitionProperties(t.Context(), "0", nil)
		if err != nil {
			t.Fatal(err)
		}
		if after.LastEnqueuedSequenceNumber != int64(i) || after.BeginningSequenceNumber != 0 || after.IsEmpty {
			t.Fatalf("after %d: %+v", i, after)
		}
	}
}

func TestHubProperties(t *testing.T) {
	s := start(t, nil)
	props, err := s.consumer("FOUR", "$Default").GetEventHubProperties(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"0", "1", "2", "3"}, props.PartitionIDs); diff != "" || props.Name != "four" || props.GeoReplicationEnabled {
		t.Errorf("%+v %s", props, diff)
	}
	if age := time.Since(props.CreatedOn); age < 0 || age > time.Minute {
		t.Errorf("created %v", props.CreatedOn)
	}
}

func TestDeletedHubDetaches(t *testing.T) {
	s := start(t, nil)
	p := s.producer("one")
	send(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...)
	r := receiver(t, s.consumer("one", "$Default"), "0", earliest())
	receive(t, r, 1)
	if err := s.DeleteHub(t.Context(), "test", "one"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	if _, err := r.ReceiveEvents(ctx, 1, nil); err == nil || ctx.Err() != nil {
		t.Errorf("receiving from a deleted hub: %v", err)
	}
	wantError(t, trySend(t, p, azeventhubs.EventDataBatchOptions{}, texts(1, "%d")...), "could not be found")
}
