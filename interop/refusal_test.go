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

// unauthorised is how each SDK shows a 401 or amqp:unauthorized-access.
func (t *trial) unauthorised(err *sdkError, words ...string) {
	t.Helper()
	word := "unauthorized"
	if t.is("python") {
		word = "" // the class differs by place and by version; the text decides
	}
	t.refused(err, append([]string{word}, words...)...)
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
		t.unauthorised(err)
	}
}

func unknownKeyName(t *trial) {
	hub := t.newHub(t.T, 1)
	for _, err := range t.refuseAll(t.connAs(hub, "Nobody", rootKey)) {
		t.unauthorised(err)
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
		t.unauthorised(err, "expired")
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
	t.unauthorised(err, "Unauthorized access. 'Send' claim(s) are required to perform this operation.")
}

func receiveSendOnly(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.connAs(hub, sendRule, sendKey)
	c.Retries = 0
	t.do(request{Op: "send", Conn: c, Partition: new("0"), Events: numbered("x", 1)})
	_, err := t.open(request{Conn: c, Partition: new("0"), From: &earliest}).read(1, receiveWait)
	t.unauthorised(err, "'Listen' claim(s) are required to perform this operation.")
}

func unknownHub(t *trial) {
	errs := t.refuseAll(t.conn("no-such-hub"))
	if t.is("python") {
		// The SDK asks for the properties before it sends, and shows no text of a reply to such a question.
		t.refused(errs[0], "not-found", "Status code: 404")
		t.refused(errs[2], "not-found", "Status code: 404")
		errs[0], errs[2] = errs[1], errs[1]
	}
	for _, err := range errs {
		t.refused(err, "The messaging entity", "could not be found")
	}
}

func unknownGroup(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.conn(hub)
	c.Retries = 0
	_, err := t.open(request{Conn: c, Partition: new("0"), From: &earliest, Group: "nobody"}).read(1, receiveWait)
	t.refused(err, "The messaging entity", "could not be found")
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
	c := t.conn(hub)
	c.Retries = 0
	_, err := t.open(request{Conn: c, Partition: new("0"), From: &position{Kind: "sequence", Value: "99"}}).read(1, receiveWait)
	t.refused(err, "The supplied sequence number '99' is invalid. The last sequence number in the system is '2'")
	_, err = t.open(request{Conn: c, Partition: new("0"), From: &position{Kind: "offset", Value: "999999999"}}).read(1, receiveWait)
	t.refused(err, "The supplied offset '999999999' is invalid. The last offset in the system is")
}
