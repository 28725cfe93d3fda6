package eventhubs

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"
)

// TestAttachesLikeTheSDK compares the links to a partition, to send and to receive, with those
// of Microsoft's SDK, field by field. What else differs between the two is listed in
// docs/amqp.md.
func TestAttachesLikeTheSDK(t *testing.T) {
	want := sdkFrames(t)
	for _, client := range []string{ClientGoAMQP, ClientNative} {
		got := framesOf(t, client)
		for what, part := range map[string]string{
			"to send":    " {Address:Telemetry/Partitions/1 ",
			"to receive": "/ConsumerGroups/copy/Partitions/1 ",
		} {
			if diff := cmp.Diff(attachOf(t, want, part), attachOf(t, got, part)); diff != "" {
				t.Errorf("%s, a link %s (-SDK +ours):\n%s", client, what, diff)
			}
		}
	}
}

// attachOf finds the attach of a link, without what is documented to differ.
func attachOf(t *testing.T, lines []string, address string) string {
	t.Helper()
	i := slices.IndexFunc(lines, func(line string) bool {
		return strings.Contains(line, address) && strings.Contains(line, "{Name: Handle:")
	})
	if i < 0 {
		t.Fatalf("no link to %q in:\n%s", address, strings.Join(lines, "\n"))
	}
	_, line, _ := strings.Cut(lines[i], " ") // the channel
	line = strings.ReplaceAll(line, capMetrics+" ", "")
	const name = "{Key:com.microsoft:receiver-name Value:"
	if _, rest, ok := strings.Cut(line, name); ok {
		value, _, _ := strings.Cut(rest, "}")
		line = strings.ReplaceAll(line, name+value+"}", name+"}")
		line = strings.ReplaceAll(line, "{Address:"+value+" ", "{Address: ")
	}
	return line
}

// sdkFrames has Microsoft's SDK send to a partition and read it, and returns what it wrote.
func sdkFrames(t *testing.T) []string {
	t.Helper()
	s := startServer(t, nil)
	ctx := withTimeout(t)
	var made []*recorder
	dial := func(ctx context.Context, _ azeventhubs.WebSocketConnParams) (net.Conn, error) {
		nc, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.address)
		made = append(made, &recorder{Conn: nc})
		return made[len(made)-1], err
	}
	p, err := azeventhubs.NewProducerClientFromConnectionString(s.connString(testKeyName, testKey), testHub, &azeventhubs.ProducerClientOptions{NewWebSocketConn: dial})
	if err != nil {
		t.Fatal(err)
	}
	partition := "1"
	b, err := p.NewEventDataBatch(ctx, &azeventhubs.EventDataBatchOptions{PartitionID: &partition})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"one", "two"} {
		if err := b.AddEventData(&azeventhubs.EventData{Body: []byte(body)}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.SendEventDataBatch(ctx, b, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(ctx); err != nil {
		t.Fatal(err)
	}
	c, err := azeventhubs.NewConsumerClientFromConnectionString(s.connString(testKeyName, testKey), testHub, "copy", &azeventhubs.ConsumerClientOptions{NewWebSocketConn: dial})
	if err != nil {
		t.Fatal(err)
	}
	sequence, level := int64(0), int64(3)
	pc, err := c.NewPartitionClient(partition, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{SequenceNumber: &sequence}, OwnerLevel: &level,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pc.ReceiveEvents(ctx, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := pc.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range made {
		r.mu.Lock()
		lines = append(lines, describe(t, r.sent, s.address)...)
		r.mu.Unlock()
	}
	return lines
}
