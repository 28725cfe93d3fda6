package interop

import (
	"time"
)

var refusalCases = []testCase{
	{"wrong key refused", wrongKey},
	{"unknown key name refused", unknownKeyName},
	{"signature instead of a key", signature},
	{"expired signature refused", expiredSignature},
	{"send with a listen-only key refused", sendListenOnly},
	{"receive with a send-only key refused", receiveSendOnly},
	{"unknown hub refused", unknownHub},
	{"unknown group refused", unknownGroup},
	{"unknown partition refused", unknownPartition},
	{"position beyond the end refused", beyondEnd},
}

// tokenRefused checks a refusal of the token itself, before any link.
func (t *trial) tokenRefused(err *sdkError, text string) {
	t.Helper()
	switch {
	case t.is("go"):
		t.refused(err, "status code 401", text)
	case t.is("python"):
		// With an error-condition in the reply, as the service sends it, the SDK drops status and text.
		t.only("the SDK shows that the token was refused, not why")
		t.refused(err, "AuthenticationError", "CBS Token authentication failed")
	default:
		t.refused(err, "unauthorized", text)
	}
}

// receiverRefused opens a receiver that the hub must refuse, and checks the refusal.
func (t *trial) receiverRefused(r request, words ...string) {
	t.Helper()
	r.Conn.Retries = 0
	wait := receiveWait
	if t.c.name() == "python-aio" {
		wait = time.Second
	}
	got, err := t.open(r).read(1, wait)
	if t.c.name() == "python-aio" && err == nil && len(got) == 0 {
		t.only("the asyncio client keeps the refusal of a receiver to itself and tries for ever")
		return
	}
	t.refused(err, words...)
}

// refuseAll tries to send, receive and ask with one connection, and returns the errors in this order.
func (t *trial) refuseAll(c *conn) [3]*sdkError {
	t.Helper()
	c.Retries = 0
	var out [3]*sdkError
	_, out[0] = t.try(request{Op: "send", Conn: c, Partition: new("0"), Events: numbered("x", 1)})
	_, out[1] = t.open(request{Conn: c, Partition: new("0"), From: &earliest}).read(1, receiveWait)
	_, out[2] = t.try(request{Op: "properties", Conn: c})
	return out
}

func wrongKey(t *trial) {
	hub := t.newHub(t.T, 1)
	for _, err := range t.refuseAll(t.connAs(hub, rootRule, "bm90IHRoZSBrZXk=")) {
		t.tokenRefused(err, "InvalidSignature")
	}
}

func unknownKeyName(t *trial) {
	hub := t.newHub(t.T, 1)
	for _, err := range t.refuseAll(t.connAs(hub, "Nobody", rootKey)) {
		t.tokenRefused(err, "InvalidSignature")
	}
}

func signature(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.conn(hub)
	c.String = t.signed(sas(t.resource(hub), rootRule, rootKey, time.Now().Add(time.Hour)))
	t.do(request{Op: "send", Conn: c, Partition: new("0"), Events: numbered("s", 1)})
	got, err := t.open(request{Conn: c, Partition: new("0"), From: &earliest}).read(1, receiveWait)
	if err != nil {
		t.Fatal(err)
	}
	wantBodies(t, got, "s-0")
}

func expiredSignature(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.conn(hub)
	c.String = t.signed(sas(t.resource(hub), rootRule, rootKey, time.Now().Add(-time.Hour)))
	for _, err := range t.refuseAll(c) {
		t.tokenRefused(err, "ExpiredToken: The token is expired. Expiration time:")
	}
}

func sendListenOnly(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("l", 1)...)
	c := t.connAs(hub, listenRule, listenKey)
	c.Retries = 0
	got, err := t.open(request{Conn: c, Partition: new("0"), From: &earliest}).read(1, receiveWait)
	if err != nil || len(got) != 1 {
		t.Fatalf("the listen-only key reads %d events: %v", len(got), err)
	}
	_, err = t.try(request{Op: "send", Conn: c, Partition: new("0"), Events: numbered("x", 1)})
	t.refused(err, "unauthorized", "Unauthorized access. 'Send' claim(s) are required to perform this operation.")
}

func receiveSendOnly(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.connAs(hub, sendRule, sendKey)
	t.do(request{Op: "send", Conn: c, Partition: new("0"), Events: numbered("x", 1)})
	t.receiverRefused(request{Conn: c, Partition: new("0"), From: &earliest}, "unauthorized", "'Listen' claim(s) are required to perform this operation.")
}

func unknownHub(t *trial) {
	errs := t.refuseAll(t.conn("no-such-hub"))
	for _, err := range errs {
		if t.is("python") {
			t.only("the SDK shows that the token was refused, not why")
			t.refused(err, "CBS Token authentication failed")
		} else {
			t.refused(err, "The messaging entity", "could not be found")
		}
	}
}

func unknownGroup(t *trial) {
	hub := t.newHub(t.T, 1)
	t.receiverRefused(request{Conn: t.conn(hub), Partition: new("0"), From: &earliest, Group: "nobody"}, "The messaging entity", "could not be found")
}

func unknownPartition(t *trial) {
	hub := t.newHub(t.T, 2)
	c := t.conn(hub)
	c.Retries = 0
	const said = "The specified partition is invalid for an EventHub partition sender or receiver. It should be between 0 and"
	_, sending := t.try(request{Op: "send", Conn: c, Partition: new("2"), Events: numbered("x", 1)})
	_, receiving := t.open(request{Conn: c, Partition: new("2"), From: &earliest}).read(1, receiveWait)
	_, asking := t.try(request{Op: "partition", Conn: c, Partition: new("2")})
	if t.is("python") {
		// The SDK knows the partitions before it sends or receives, and shows no text of a reply to a question.
		t.refused(sending, "Invalid partition 2")
		t.refused(receiving, "Wrong partition id:2")
		t.refused(asking, "Status code: 400")
		return
	}
	for _, err := range []*sdkError{sending, receiving, asking} {
		t.refused(err, said)
	}
}

func beyondEnd(t *trial) {
	hub := t.newHub(t.T, 1)
	t.send(hub, "0", numbered("x", 3)...)
	t.receiverRefused(request{Conn: t.conn(hub), Partition: new("0"), From: &position{Kind: "sequence", Value: "99"}},
		"The supplied sequence number '99' is invalid. The last sequence number in the system is '2'")
	t.receiverRefused(request{Conn: t.conn(hub), Partition: new("0"), From: &position{Kind: "offset", Value: "999999999"}},
		"The supplied offset '999999999' is invalid. The last offset in the system is")
}
