package drivertest_test

import (
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/drivertest"
)

const secret = "kJ8-very-secret-key"

var fields = []string{
	hubferry.MessageID, hubferry.UserID, hubferry.To, hubferry.Subject, hubferry.ReplyTo, hubferry.CorrelationID,
	hubferry.ContentType, hubferry.ContentEncoding, hubferry.AbsoluteExpiryTime, hubferry.CreationTime, hubferry.GroupID,
	hubferry.GroupSequence, hubferry.ReplyToGroupID, hubferry.Durable, hubferry.Priority, hubferry.TTL,
	hubferry.FirstAcquirer, hubferry.DeliveryCount,
}

// harness makes harnesses over a broker in memory.
func harness(shape drivertest.Shape, o mem.HubOptions) func(t testing.TB) *drivertest.Harness {
	return func(t testing.TB) *drivertest.Harness {
		t.Helper()
		b := mem.NewBroker()
		b.Create("ns", "hub", o)
		b.Protect("ns", secret)
		hub := func() *mem.Hub { return b.Hub("ns", "hub") }
		d := mem.Driver(b)
		d.Caps.MaxEvent = 128 << 10
		h := &drivertest.Harness{
			Driver: d, Shape: shape, Fields: fields,
			Connection: &mem.ConnectionOptions{Namespace: "ns", Key: hubferry.NewSecret(secret)},
			Source:     &mem.SourceOptions{}, Target: &mem.TargetOptions{},
			BadConnection: &mem.ConnectionOptions{Namespace: "ns", Key: hubferry.NewSecret("wrong-" + secret)},
			Secrets:       []string{secret},
			Hub:           "hub", Unknown: "nowhere",
			Inject: func(_ testing.TB, p int, events []hubferry.Event) { hub().Inject(p, events...) },
			Dump:   func(_ testing.TB, p int) []hubferry.Event { return hub().Dump(p) },
			Send:   func(_ testing.TB, events []hubferry.Event) { hub().Send(events...) },
			Cut:    func(testing.TB) { b.Cut("ns") },
			Stall: func(testing.TB) func() {
				block := make(chan struct{})
				hub().Fail(mem.Fault{Partition: mem.AllPartitions, Block: block, Times: -1})
				return func() { hub().Heal(); close(block) }
			},
			Trim:     func(_ testing.TB, p int, upTo int64) { hub().Trim(p, upTo) },
			Hole:     func(_ testing.TB, p int) { hub().Skip(p, 2) },
			Recreate: func(testing.TB) { b.Create("ns", "hub", o) },
			Rejected: func(testing.TB) int { return len(hub().Rejected()) },
			Patience: 2 * time.Second,
		}
		return h
	}
}

// shapeOf is a sort of entity to run the suite on.
type shapeOf struct {
	name  string
	shape drivertest.Shape
	hub   mem.HubOptions
}

var shapes = []shapeOf{
	{"log", drivertest.Log, mem.HubOptions{Partitions: 4, MaxEvent: 128 << 10}},
	{"encoded log", drivertest.Log, mem.HubOptions{Partitions: 4, MaxEvent: 128 << 10, Encoded: true}},
	{"pipelined log", drivertest.Log, mem.HubOptions{Partitions: 4, MaxEvent: 128 << 10, Pipeline: 5}},
	{"log with transactions", drivertest.Log, mem.HubOptions{Partitions: 4, MaxEvent: 128 << 10, Transactions: true}},
	{"queue", drivertest.Queue, mem.HubOptions{Kind: mem.Queue, MaxEvent: 128 << 10, Lock: 50 * time.Millisecond}},
	{"table", drivertest.Table, mem.HubOptions{Kind: mem.Table, MaxEvent: 128 << 10}},
}

func TestConformance(t *testing.T) {
	for _, s := range shapes {
		t.Run(s.name, func(t *testing.T) { drivertest.Run(t, harness(s.shape, s.hub)) })
	}
}
