package interop

import "fmt"

var transportCases = []testCase{
	{"TLS with a certificate of one's own", overTLS},
	{"WebSockets over TLS", overWebSocket},
	{"custom endpoint address", customEndpoint},
}

// roundTrip sends and receives over a connection: small events, one of many frames, and properties.
func roundTrip(t *trial, c *conn, hub string) {
	t.Helper()
	large := filler(300_000)
	events := append(numbered("t", 2), withBody(large))
	t.do(request{Op: "send", Conn: c, Partition: new("0"), Events: events})
	got, err := t.open(request{Conn: c, Partition: new("0"), From: &earliest}).read(3, receiveWait)
	if err != nil || len(got) != 3 {
		t.Fatalf("received %d of 3 events: %v", len(got), err)
	}
	wantBodies(t, got, "t-0", "t-1", string(large))
	if info := t.do(request{Op: "properties", Conn: c}).HubInfo; info.Name != hub {
		t.Errorf("the hub calls itself %q", info.Name)
	}
}

func overTLS(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.connTLS(hub, "")
	t.pythonPort(c)
	roundTrip(t, c, hub)
}

func overWebSocket(t *trial) {
	hub := t.newHub(t.T, 1)
	c := t.connTLS(hub, "websocket")
	t.pythonPort(c)
	roundTrip(t, c, hub)
}

// pythonPort tells azure-eventhub the port apart: over TLS it takes no notice of one in the connection string.
func (t *trial) pythonPort(c *conn) {
	if t.is("python") {
		c.Endpoint = fmt.Sprintf("localhost:%d", t.proxy.port())
	}
}

func customEndpoint(t *trial) {
	hub := t.newHub(t.T, 1)
	roundTrip(t, t.connElsewhere(hub), hub)
}
