package amqp_test

import (
	"bytes"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/internal/amqp"
)

// TestWindows follows a session whose ids run over the end of their numbers.
func TestWindows(t *testing.T) {
	const first = math.MaxUint32 - 1
	w := amqp.NewWindows(first, 100, &amqp.Begin{NextOutgoingID: math.MaxUint32, IncomingWindow: 5})
	if w.Room() != 5 {
		t.Errorf("room for %d frames, want the 5 of begin", w.Room())
	}
	w.Sent(5)
	if w.Room() != 0 {
		t.Errorf("room for %d frames after 5 of 5", w.Room())
	}
	w.Sent(1) // an abort goes even so
	if w.Room() != 0 {
		t.Errorf("room for %d frames after 6 of 5", w.Room())
	}
	w.Widen(&amqp.Flow{NextIncomingID: amqp.Some[uint32](2), IncomingWindow: 10}, first) // 4 have arrived
	if w.Room() != 8 {
		t.Errorf("room for %d frames, want 10 less the 2 on their way", w.Room())
	}
	if w.Received(49) {
		t.Error("a flow is due before half of the window is used")
	}
	if !w.Received(1) {
		t.Error("no flow is due at half of the window")
	}
	want := amqp.Flow{NextIncomingID: amqp.Some[uint32](49), IncomingWindow: 100, NextOutgoingID: 4, OutgoingWindow: 100}
	if diff := cmp.Diff(want, w.Flow()); diff != "" {
		t.Errorf("flow (-want +got):\n%s", diff)
	}
	if w.Received(49) {
		t.Error("a flow is due soon after the last one")
	}
	fresh := amqp.NewWindows(first, 100, &amqp.Begin{})
	fresh.Widen(&amqp.Flow{IncomingWindow: 3}, first) // from a peer that has not seen our begin
	if fresh.Room() != 3 {
		t.Errorf("room for %d frames, want 3 from the first on", fresh.Room())
	}
}

// TestEndlessWindow has a peer give the largest window there is.
func TestEndlessWindow(t *testing.T) {
	for _, window := range []uint32{math.MaxInt32, math.MaxInt32 + 1, math.MaxUint32} {
		w := amqp.NewWindows(7, 100, &amqp.Begin{IncomingWindow: window})
		if w.Sent(3); w.Room() != math.MaxInt32-3 {
			t.Errorf("begin with a window of %d: room for %d frames", window, w.Room())
		}
		w.Widen(&amqp.Flow{NextIncomingID: amqp.Some[uint32](10), IncomingWindow: window}, 7)
		if w.Room() != math.MaxInt32 {
			t.Errorf("flow with a window of %d: room for %d frames", window, w.Room())
		}
	}
}

// TestAppendDelivery puts the frames of deliveries together again.
func TestAppendDelivery(t *testing.T) {
	payload := make([]byte, 5000)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	first := amqp.Transfer{
		Handle: 300, DeliveryID: amqp.Some[uint32](9), DeliveryTag: []byte{1, 2}, MessageFormat: amqp.Some(amqp.FormatBatch), Settled: true,
	}
	for _, size := range []int{0, 1, 480, 481, 482, 483, 484, 485, 486, 487, 488, 489, 490, 1000, 5000} {
		var got []byte
		rest, tr, frames := payload[:size], first, 0
		for begun := false; !begun || rest != nil; begun = true {
			var out []byte
			var n int
			out, rest, n = amqp.AppendDelivery(nil, 7, tr, rest, 512, 2) // two frames at a time
			tr = amqp.Transfer{Handle: 300, Settled: true}
			r := amqp.NewFrameReader(bytes.NewReader(out), 512)
			for i := range n {
				f, err := r.Next()
				if err != nil {
					t.Fatalf("%d bytes, frame %d: %v", size, frames, err)
				}
				var x amqp.Transfer
				part, err := x.Decode(f.Body)
				last := rest == nil && i == n-1
				if err != nil || f.Channel != 7 || x.Handle != 300 || !x.Settled || x.More == last || x.DeliveryID.OK != (frames == 0) || x.MessageFormat.OK != (frames == 0) {
					t.Fatalf("%d bytes, frame %d: %+v, %v", size, frames, x, err)
				}
				got = append(got, part...)
				frames++
			}
			if r.Buffered() != 0 {
				t.Fatalf("%d bytes: more frames than were said", size)
			}
		}
		if !bytes.Equal(got, payload[:size]) {
			t.Errorf("%d bytes became %d", size, len(got))
		}
		if size > 512 && frames < size/512+1 || size == 0 && frames != 1 {
			t.Errorf("%d bytes in %d frames", size, frames)
		}
	}
}

// TestDataWithoutLength writes data sections whose length is known at the end: they are those
// of AppendData to the byte.
func TestDataWithoutLength(t *testing.T) {
	var got, want []byte
	for _, size := range []int{0, 1, 254, 255, 256, 70000} {
		data := bytes.Repeat([]byte{byte(size)}, size)
		out, mark := amqp.BeginData(got)
		got = amqp.EndData(append(out, data...), mark)
		want = amqp.AppendData(want, data)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
}
