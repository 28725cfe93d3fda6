package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/Azure/go-amqp"

	"github.com/hubferry/hubferry/audit/azure"
)

// message is what a test sends: an event, and how it is addressed.
type message struct {
	azeventhubs.AMQPAnnotatedMessage
	key       string
	partition string
}

// varied returns events of every shape that Microsoft's SDK for Go can send.
func varied() []message {
	at := time.Date(2026, 11, 1, 12, 30, 15, 123_000_000, time.UTC)
	text := func(s string) *string { return &s }
	number := func(n uint32) *uint32 { return &n }
	data := func(parts ...string) azeventhubs.AMQPAnnotatedMessageBody {
		var b azeventhubs.AMQPAnnotatedMessageBody
		for _, p := range parts {
			b.Data = append(b.Data, []byte(p))
		}
		return b
	}
	bodies := []azeventhubs.AMQPAnnotatedMessageBody{
		data(""), data("plain"), data("\x00\xff\xfe not UTF-8"), data("two", "sections"), data("", "", "x"),
		data(strings.Repeat("large ", 50_000)),
		{Value: "a value"},
		{Value: int64(-7)},
		{Value: map[string]any{"a": int32(1), "b": []any{"x", true}}},
		{Value: []byte{1, 2}},
		{Sequence: [][]any{{int32(1), "two"}, {nil}}},
	}
	properties := []map[string]any{
		nil,
		{},
		{"bool": true, "byte": int8(-8), "short": int16(-16), "int": int32(-32), "long": int64(math.MinInt64), "ubyte": uint8(8), "ushort": uint16(16), "uint": uint32(32), "ulong": uint64(math.MaxUint64)},
		{"float": float32(1.5), "double": math.Pi, "infinite": math.Inf(1), "negative zero": math.Copysign(0, -1)},
		{"string": "naïve", "empty": "", "symbol": amqp.Symbol("sym"), "binary": []byte{0, 255}, "no bytes": []byte{}, "uuid": amqp.UUID{1, 2, 3}, "time": at, "early": time.UnixMilli(-62_135_596_800_000).UTC(), "null": nil},
		{"": "a name without letters", "ünïcode 🦀": "x", strings.Repeat("long", 100): strings.Repeat("value", 1000)},
		{"repl-enqueue-time": "2026-10-01T00:00:00.000Z", "repl-sequence": "17", "repl-offset": "1234", "repl-source": "north/telemetry/3", "repl-id": "t/r/0"},
		{"repl-enqueue-time": "2026-10-01T00:00:00.000Z;2026-10-02T00:00:00.000Z", "repl-sequence": "17;18", "repl-offset": "1234;5", "repl-source": "north/telemetry/3;south/telemetry/1", "repl-id": "t/r/0"},
	}
	fields := []*azeventhubs.AMQPAnnotatedMessageProperties{
		nil,
		{MessageID: "id-1", CorrelationID: "other", ContentType: text("application/json"), ContentEncoding: text("gzip"), Subject: text("s")},
		{MessageID: uint64(7), CorrelationID: amqp.UUID{9}, To: text("to"), ReplyTo: text("from"), UserID: []byte("me"), GroupID: text("g"), GroupSequence: number(5), ReplyToGroupID: text("r"), AbsoluteExpiryTime: &at, CreationTime: &at},
		{MessageID: []byte("binary id"), Subject: text("")},
	}
	annotations := []map[any]any{nil, {"x-opt-custom": "mine", "x-number": int32(4)}}
	footers := []map[any]any{nil, {"signature": []byte("abc")}}
	var all []message
	n := max(len(bodies), len(properties)) * 8
	for i := range n {
		m := message{AMQPAnnotatedMessage: azeventhubs.AMQPAnnotatedMessage{
			Body: bodies[i%len(bodies)], ApplicationProperties: properties[i%len(properties)], Properties: fields[i%len(fields)],
			MessageAnnotations: annotations[i%len(annotations)], Footer: footers[i/2%len(footers)],
		}}
		switch i % 3 {
		case 0:
			m.key = []string{"a", "b", "device-0001", "ключ", strings.Repeat("k", 128)}[i/3%5]
		case 1:
			m.partition = fmt.Sprint(i % 3)
		}
		all = append(all, m)
	}
	return all
}

// sendAll sends each message as a batch of its own.
func sendAll(t *testing.T, connection, hub string, messages []message) {
	t.Helper()
	client, err := azeventhubs.NewProducerClientFromConnectionString(connection, hub, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(t.Context()) }()
	for i := range messages {
		m := &messages[i]
		var options azeventhubs.EventDataBatchOptions
		if m.key != "" {
			options.PartitionKey = &m.key
		}
		if m.partition != "" {
			options.PartitionID = &m.partition
		}
		batch, err := client.NewEventDataBatch(t.Context(), &options)
		if err != nil {
			t.Fatal(err)
		}
		one := m.AMQPAnnotatedMessage
		if err := batch.AddAMQPAnnotatedMessage(&one, nil); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		if err := client.SendEventDataBatch(t.Context(), batch, nil); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
}

// TestFaithful replicates events of every shape over equal and unequal partition counts
// (INV-4, INV-5).
func TestFaithful(t *testing.T) {
	h := startHubs(t, "west/in8:8:one,two", "west/in3:3:one", "east/out8:8", "east/out5:5", "east/out3:8")
	config := h.writeConfig(t, `
tasks:
  equal:   { source: { hub: west/in8, consumerGroup: one }, target: east/out8 }
  fewer:   { source: { hub: west/in8, consumerGroup: two }, target: east/out5 }
  more:    { source: { hub: west/in3, consumerGroup: one }, target: east/out3 }
`)
	ferry := startRun(t, config)
	messages := varied()
	for _, hub := range []string{"in8", "in3"} {
		sendAll(t, h.west, hub, messages)
		s := &sender{connection: h.west, hub: hub, keys: 200, perSecond: 100_000}
		if err := s.run(t, 5000); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ source, target string }{{"in8", "out8"}, {"in8", "out5"}, {"in3", "out3"}} {
		caughtUp(t, h, c.source, c.target, 3*time.Minute)
		r := settled(t, h, c.source, c.target)
		if !r.Faultless() || r.Duplicates != 0 || r.Foreign != 0 || r.Events != len(messages)+5000 {
			t.Errorf("%s to %s: %+v", c.source, c.target, r)
		}
	}
	ferry.stop()
}

// TestNearTheLimit sends an event a hundred bytes under the limit of the SDK, which fits
// the target with its provenance, and the largest there is, which has no room for it: that
// one is poison, and only that one, and arrives where no provenance is added.
func TestNearTheLimit(t *testing.T) {
	h := startHubs(t, "west/in:1:one,two", "east/out:1", "east/bare:1")
	config := h.writeConfig(t, `
tasks:
  t: { source: { hub: west/in, consumerGroup: one }, target: east/out, onError: drop }
  bare: { source: { hub: west/in, consumerGroup: two }, target: east/bare, provenance: none }
`)
	ferry := startRun(t, config)
	body := func(n int) azeventhubs.AMQPAnnotatedMessageBody {
		return azeventhubs.AMQPAnnotatedMessageBody{Data: [][]byte{bytes.Repeat([]byte{'x'}, n)}}
	}
	largest := 1 << 20
	client, err := azeventhubs.NewProducerClientFromConnectionString(h.west, "in", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close(t.Context()) }()
	for ; ; largest-- {
		batch, err := client.NewEventDataBatch(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if batch.AddAMQPAnnotatedMessage(&azeventhubs.AMQPAnnotatedMessage{Body: body(largest)}, nil) == nil {
			break
		}
	}
	var messages []message
	for _, n := range []int{largest - 100, largest, 10} {
		messages = append(messages, message{AMQPAnnotatedMessage: azeventhubs.AMQPAnnotatedMessage{Body: body(n)}})
	}
	sendAll(t, h.west, "in", messages)
	eventually(t, 3*time.Minute, "the small event arrives", func() bool {
		n, err := total(t, h.east, "out")
		return err == nil && n >= 2
	})
	r := compare(t, h, "in", "out")
	if r.Lost != 1 || r.Altered+r.Duplicates+r.Reordered != 0 || !strings.Contains(strings.Join(r.Examples, " "), "@1 is lost") {
		t.Errorf("got %+v, want just event 1 missing", r)
	}
	drops := func() int { return strings.Count(ferry.log.String(), "event dropped as onError says") }
	eventually(t, 3*time.Minute, "the log tells of the drop", func() bool { return drops() > 0 }) // it comes another way than the events
	if n := drops(); n != 1 {
		t.Errorf("the log tells of %d drops, want 1:\n%s", n, ferry.log)
	}
	eventually(t, 3*time.Minute, "all arrive where no provenance is added", func() bool {
		n, err := total(t, h.east, "bare")
		return err == nil && n == len(messages)
	})
	copies, _, err := azure.ReadHub(t.Context(), h.east, "bare")
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range messages {
		if want := len(m.Body.Data[0]); strings.Count(copies[i].Parts["body"], "x") != want || len(copies[i].Provenance) != 0 {
			t.Errorf("copy %d without provenance is not the event, of %d bytes", i, want)
		}
	}
	ferry.stop()
}

// withProperty returns an encoded message with one property, given by its encoding.
func withProperty(value ...byte) []byte {
	entry := append([]byte{0xa1, 1, 'p'}, value...)
	properties := append([]byte{0x00, 0x53, 0x74, 0xc1, byte(len(entry) + 1), 2}, entry...)
	return append(properties, 0x00, 0x53, 0x75, 0xa0, 2, 'h', 'i')
}

// TestTypesThatGoCannotDecode sends char and decimal properties, as .NET producers do:
// they stop Microsoft's clients for Go, and must not stop us. It also shows that an event
// without a message id gets none.
func TestTypesThatGoCannotDecode(t *testing.T) {
	h := startHubs(t, "west/in:1:one", "east/out:1")
	config := h.writeConfig(t, "tasks:\n  t: { source: { hub: west/in, consumerGroup: one }, target: east/out }\n")
	ferry := startRun(t, config)
	plain := []byte{0x00, 0x53, 0x75, 0xa0, 2, 'o', 'k'}
	sendRaw(t, h, "in/Partitions/0", [][]byte{
		plain, withProperty(0x73, 0, 0, 0, 'c'), plain, withProperty(0x84, 1, 2, 3, 4, 5, 6, 7, 8), plain,
	})
	eventually(t, 3*time.Minute, "all five arrive", func() bool {
		n, err := total(t, h.east, "out")
		return err == nil && n == 5
	})
	ferry.stop()
	for i, want := range []string{"", `"c"`, "", `"0x102030405060708"`, ""} {
		cmd := exec.CommandContext(t.Context(), program, "peek", "--config", config, fmt.Sprintf("east/out/0@%d", i), "--count", "1", "--json")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("peek: %v", err)
		}
		var e struct {
			Properties map[string]json.RawMessage
			Message    map[string]any
		}
		if err := json.Unmarshal(out, &e); err != nil {
			t.Fatal(err)
		}
		if string(e.Properties["p"]) != want || len(e.Message) != 0 {
			t.Errorf("event %d arrived as %s, want property %s and no message properties", i, out, want)
		}
	}
}

// sendRaw sends encoded messages as they are, each as a batch of one.
func sendRaw(t *testing.T, h *hubs, address string, messages [][]byte) {
	t.Helper()
	conn, err := amqp.Dial(t.Context(), "amqp://"+h.ports[0], &amqp.ConnOptions{SASLType: amqp.SASLTypePlain("RootManageSharedAccessKey", "SAS_KEY_VALUE")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	session, err := conn.NewSession(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	link, err := session.NewSender(t.Context(), address, nil)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 0x80013700
	for _, m := range messages {
		if err := link.Send(t.Context(), &amqp.Message{Format: batch, Data: [][]byte{m}}, nil); err != nil {
			t.Fatal(err)
		}
	}
}
