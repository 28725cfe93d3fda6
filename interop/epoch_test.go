package interop

import (
	"fmt"
	"time"
)

var epochCases = []testCase{
	{"higher owner level takes over", epochSteals},
	{"equal owner level takes over", epochEqual},
	{"lower owner level refused", epochLower},
	{"owner level drives out readers without one", epochDrivesOut},
	{"reader without owner level refused beside one", epochPlainRefused},
	{"sixth reader refused", sixthReader},
}

// own opens a receiver with an owner level and waits until it reads, which proves that it is attached.
func own(t *trial, hub string, level *int64) *reader {
	t.Helper()
	r := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest, Epoch: level})
	if got, err := r.read(1, receiveWait); err != nil || len(got) != 1 {
		t.Fatalf("a receiver with owner level %s read %d events: %v", show(level), len(got), err)
	}
	return r
}

func show(level *int64) string {
	if level == nil {
		return "none"
	}
	return fmt.Sprint(*level)
}

// driven waits until a receiver has lost its partition.
func driven(t *trial, r *reader, words ...string) {
	t.Helper()
	got, err := r.read(1000, receiveWait)
	if err == nil {
		t.Fatalf("the old receiver still reads: %v", bodies(got))
	}
	if !err.says(words...) {
		t.Errorf("the old receiver ended with %v, want all of %q in it", err, words)
	}
}

// stolen is what a receiver says that lost its partition; azeventhubs has a code of its own for it.
func stolen(t *trial) []string {
	if t.is("go") {
		return []string{"ownershiplost"}
	}
	if t.is("js") {
		return []string{"ReceiverDisconnectedError", "is created hence current receiver"}
	}
	return []string{"stolen", "is created hence current receiver"}
}

func epochSteals(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	old := own(t, hub, new(int64(1)))
	fresh := own(t, hub, new(int64(2)))
	driven(t, old, stolen(t)...)
	t.send(hub, "0", numbered("f", 1)...)
	if got, err := fresh.read(1, receiveWait); err != nil || len(got) != 1 {
		t.Errorf("the new owner reads %d events: %v", len(got), err)
	}
}

func epochEqual(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	old := own(t, hub, new(int64(7)))
	own(t, hub, new(int64(7)))
	driven(t, old, stolen(t)...)
}

func epochLower(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	own(t, hub, new(int64(5)))
	low := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest, Epoch: new(int64(4))})
	_, err := low.read(1, receiveWait)
	t.refused(err, "with a higher epoch '5' already exists", "with epoch 4 cannot be created")
}

func epochDrivesOut(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	plain := own(t, hub, nil)
	level := int64(0)
	if t.is("js") {
		level = 1
		t.only("the SDK takes level 0 for none")
	}
	own(t, hub, &level)
	driven(t, plain, stolen(t)[:1]...)
}

func epochPlainRefused(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	owner := own(t, hub, new(int64(3)))
	plain := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest})
	_, err := plain.read(1, receiveWait)
	t.refused(err, "At least one receiver for the endpoint is created with epoch of '3'")
	// The level goes with its receiver.
	plain.close()
	owner.close()
	for end := time.Now().Add(receiveWait); ; {
		again := t.open(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest})
		got, err := again.read(1, receiveWait)
		again.close()
		if len(got) == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("a reader without owner level is refused after the owner has closed: %v", err)
		}
	}
}

func sixthReader(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("e", 1)...)
	for range 5 {
		own(t, hub, nil)
	}
	t.receiverRefused(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest},
		"Exceeded the maximum number of allowed receivers per partition in a consumer group which is 5")
}
