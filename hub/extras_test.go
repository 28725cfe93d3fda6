package hub_test

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/amqp"
	"github.com/hubferry/hubferry/internal/keyhash"
)

// annotationsOf decodes a map section of a message.
func annotationsOf(t *testing.T, span amqp.Span, payload []byte) amqp.Map {
	t.Helper()
	if span.Empty() {
		return nil
	}
	d := amqp.NewDecoder(span.Of(payload))
	d.Descriptor()
	m, ok := d.Value().(amqp.Map)
	if !ok {
		t.Fatalf("section % x", span.Of(payload))
	}
	return m
}

func TestPublisher(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "four/Publishers/device-7")
	c.deliver(0, 0, 0, amqp.AppendData(nil, []byte("x")))
	c.expect(&amqp.Disposition{})
	partition := string(rune('0' + keyhash.EventHubs("device-7", 4)))
	c.attachReceiver(1, "four/ConsumerGroups/$Default/Partitions/"+partition, nil)
	c.credit(1, 0, 1)
	payload := c.expect(&amqp.Transfer{})
	sections, err := amqp.Scan(payload)
	if err != nil {
		t.Fatal(err)
	}
	m := annotationsOf(t, sections.MessageAnnotations, payload)
	for name, want := range map[string]any{
		"x-opt-partition-key": "device-7", "x-opt-publisher-name": "device-7", "x-opt-sequence-number": int64(0), "x-opt-offset": "0",
	} {
		if got, _ := m.Get(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if v, _ := m.Get("x-opt-enqueued-time"); time.Since(v.(amqp.Timestamp).Time()) > time.Minute {
		t.Errorf("enqueued %v", v)
	}
}

func TestRuntimeMetric(t *testing.T) {
	s := start(t, nil)
	fill(t, s, 3, 10)
	for _, metric := range []bool{false, true} {
		c := dial(t, s.addr)
		c.open("root", rootKey)
		attach := &amqp.Attach{Name: "r", Receiver: true, Source: &amqp.Source{Address: allOfOne}, Target: &amqp.Target{}}
		if metric {
			attach.DesiredCapabilities = []amqp.Symbol{"com.microsoft:enable-receiver-runtime-metric"}
		}
		c.perform(0, attach)
		c.expect(&amqp.Attach{})
		c.credit(0, 0, 1)
		payload := c.expect(&amqp.Transfer{})
		sections, err := amqp.Scan(payload)
		if err != nil {
			t.Fatal(err)
		}
		m := annotationsOf(t, sections.DeliveryAnnotations, payload)
		if !metric {
			if m != nil {
				t.Errorf("delivery annotations %v that nobody asked for", m)
			}
			continue
		}
		if v, _ := m.Get("last_enqueued_sequence_number"); v != int64(2) {
			t.Errorf("last sequence number %v", v)
		}
		if v, _ := m.Get("last_enqueued_offset"); v == "" || v == nil {
			t.Errorf("last offset %v", v)
		}
		for _, name := range []string{"last_enqueued_time_utc", "runtime_info_retrieval_time_utc"} {
			if v, _ := m.Get(name); time.Since(v.(amqp.Timestamp).Time()) > time.Minute {
				t.Errorf("%s is %v", name, v)
			}
		}
	}
}

// manage asks $management and returns status code and body.
func (c *rawClient) manage(properties amqp.Map) (status int64, body any) {
	c.t.Helper()
	c.perform(8, &amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100})
	c.expect(&amqp.Begin{})
	c.perform(8, &amqp.Attach{Name: "m", Handle: 0, Source: &amqp.Source{}, Target: &amqp.Target{Address: "$management"}})
	c.expect(&amqp.Attach{})
	c.perform(8, &amqp.Attach{Name: "m", Handle: 1, Receiver: true, Source: &amqp.Source{Address: "$management"}, Target: &amqp.Target{Address: "me"}})
	c.expect(&amqp.Attach{})
	c.perform(8, &amqp.Flow{
		NextIncomingID: amqp.Some[uint32](1), IncomingWindow: 100, OutgoingWindow: 100,
		Handle: amqp.Some[uint32](1), DeliveryCount: amqp.Some[uint32](0), LinkCredit: amqp.Some[uint32](1),
	})
	b, mark := amqp.BeginFrame(nil, amqp.TypeAMQP, 8)
	tr := amqp.Transfer{DeliveryID: amqp.Some[uint32](0), DeliveryTag: []byte{}, Settled: true}
	b = amqp.AppendSection(tr.Append(b), amqp.CodeApplicationProperties)
	b, err := amqp.AppendValue(b, properties)
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(amqp.EndFrame(b, mark))
	payload := c.expect(&tr)
	s, err := amqp.Scan(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	items, _, _ := amqp.MapSection(s.ApplicationProperties.Of(payload))
	items.Skip()
	status = items.Int()
	d := amqp.NewDecoder(s.Body.Of(payload))
	d.Descriptor()
	body = d.Value()
	c.perform(8, &amqp.End{})
	c.expect(&amqp.End{})
	return status, body
}

// .NET asks $management without a put-token, with the token in the request.
func TestManagement(t *testing.T) {
	s := start(t, nil)
	read := func(kind, name, partition, token string) amqp.Map {
		m := amqp.Map{{Key: "operation", Value: "READ"}, {Key: "type", Value: kind}, {Key: "name", Value: name}}
		if partition != "" {
			m = append(m, amqp.Pair{Key: "partition", Value: partition})
		}
		return append(m, amqp.Pair{Key: "security_token", Value: token})
	}
	const hubType, partitionType = "com.microsoft:eventhub", "com.microsoft:partition"
	good, listen := signature("sb://x/four", "root", rootKey, time.Hour), signature("sb://x/four", "listen", listenKey, time.Hour)
	c := dial(t, s.addr)
	c.send(amqp.AppendSASLFrame(amqp.HeaderSASL[:8:8], &amqp.SASLInit{Mechanism: amqp.MechExternal}))
	if _, err := c.frames.Header(); err != nil {
		t.Fatal(err)
	}
	c.expect(&amqp.SASLMechanisms{})
	c.expect(&amqp.SASLOutcome{})
	c.send(append(amqp.HeaderAMQP[:8:8], amqp.AppendFrame(nil, 0, &amqp.Open{ContainerID: "x"})...))
	if _, err := c.frames.Header(); err != nil {
		t.Fatal(err)
	}
	c.expect(&amqp.Open{})
	for name, tc := range map[string]struct {
		request amqp.Map
		want    int64
	}{
		"hub":             {read(hubType, "four", "", good), 200},
		"listen suffices": {read(hubType, "FOUR", "", listen), 200},
		"partition":       {read(partitionType, "four", "3", good), 200},
		"no token":        {read(hubType, "four", "", ""), 401},
		"wrong token":     {read(hubType, "one", "", good), 401},
		"no such hub":     {read(hubType, "nohub", "", good), 404},
		"no such part":    {read(partitionType, "four", "4", good), 400},
		"no such type":    {read("com.microsoft:x", "four", "", good), 400},
		"no operation":    {amqp.Map{}, 501},
	} {
		status, body := c.manage(tc.request)
		if status != tc.want {
			t.Errorf("%s: status %d, want %d", name, status, tc.want)
		}
		if m, ok := body.(amqp.Map); ok != (tc.want == 200) {
			t.Errorf("%s: body %v", name, m)
		}
	}
	_, body := c.manage(read(hubType, "four", "", good))
	m := body.(amqp.Map)
	for key, want := range map[string]any{"name": "four", "type": hubType, "partition_count": int32(4), "georeplication_factor": int32(1)} {
		if got, _ := m.Get(key); got != want {
			t.Errorf("%s is %v (%T)", key, got, got)
		}
	}
	ids, _ := m.Get("partition_ids")
	if a, ok := ids.(amqp.Array); !ok || len(a.Items) != 4 || a.Items[3] != "3" {
		t.Errorf("partition_ids is %v", ids)
	}
	_, body = c.manage(read(partitionType, "four", "0", good))
	for key, want := range map[string]any{
		"partition": "0", "begin_sequence_number": int64(-1), "last_enqueued_sequence_number": int64(-1),
		"last_enqueued_offset": "-1", "is_partition_empty": true, "last_enqueued_time_utc": amqp.Timestamp(-62135596800000),
	} {
		if got, _ := body.(amqp.Map).Get(key); got != want {
			t.Errorf("%s is %v (%T)", key, got, got)
		}
	}
}

// A link whose token has run out is detached, a while after.
func TestExpiredClaimDetaches(t *testing.T) {
	var ahead atomic.Int64
	s := start(t, func(o *hub.Options) {
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	c := dial(t, s.addr)
	c.send(append(amqp.HeaderAMQP[:8:8], amqp.AppendFrame(nil, 0, &amqp.Open{ContainerID: "x", IdleTimeout: amqp.Some[uint32](100)})...))
	if _, err := c.frames.Header(); err != nil {
		t.Fatal(err)
	}
	c.expect(&amqp.Open{})
	c.perform(0, &amqp.Begin{IncomingWindow: 100, OutgoingWindow: 100})
	c.expect(&amqp.Begin{})
	if status := c.putToken(signature("sb://x/one", "root", rootKey, time.Minute), "sb://x/one"); status != 202 {
		t.Fatalf("status %d", status)
	}
	if a := c.attachSender(0, "one"); a.Target == nil {
		t.Fatalf("attach %+v", a)
	}
	ahead.Store(int64(time.Hour))
	var d amqp.Detach
	c.expect(&d)
	if d.Error == nil || d.Error.Condition != amqp.ErrUnauthorizedAccess {
		t.Errorf("detach %+v", d)
	}
}

// Char and decimals, which some clients cannot decode, go through unchanged.
func TestRareTypes(t *testing.T) {
	s := start(t, nil)
	c := dial(t, s.addr)
	c.open("root", rootKey)
	c.attachSender(0, "one")
	event := amqp.AppendSection(nil, amqp.CodeApplicationProperties)
	event, err := amqp.AppendValue(event, amqp.Map{
		{Key: "char", Value: amqp.Char('日')},
		{Key: "d32", Value: amqp.Decimal32{1}},
		{Key: "d64", Value: amqp.Decimal64{2}},
		{Key: "d128", Value: amqp.Decimal128{3}},
		{Key: "twice", Value: nil},
		{Key: "twice", Value: amqp.Array{Code: amqp.CodeUUID, Items: []any{amqp.UUID{4}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	event = amqp.AppendData(event, []byte("x"))
	c.deliver(0, 0, 0, event)
	c.expect(&amqp.Disposition{})
	c.attachReceiver(1, allOfOne, nil)
	c.credit(1, 0, 1)
	payload := c.expect(&amqp.Transfer{})
	sections, err := amqp.Scan(payload)
	if err != nil || !bytes.Equal(sections.Bare(payload), event) {
		t.Errorf("got  % x\nwant % x\n%v", payload, event, err)
	}
}

// Many receivers on one connection each get everything of their partition.
func TestManyReceivers(t *testing.T) {
	s := start(t, func(o *hub.Options) { o.Trace = nil })
	const partitions, perPartition, events = 32, 5, 20
	c := dial(t, s.addr)
	c.open("root", rootKey)
	for i := range uint32(partitions * perPartition) {
		a := amqp.Attach{
			Name: fmt.Sprint("r", i), Handle: i, Receiver: true, Target: &amqp.Target{},
			Source: &amqp.Source{Address: fmt.Sprintf("many/ConsumerGroups/$Default/Partitions/%d", i%partitions)},
		}
		c.perform(0, &a)
		c.expect(&a)
		c.credit(i, 0, 1000)
	}
	go func() {
		p := dial(t, s.addr)
		p.open("root", rootKey)
		for i := range uint32(partitions) {
			p.attachSender(i, fmt.Sprintf("many/Partitions/%d", i))
		}
		for i := range uint32(partitions * events) {
			p.deliver(i%partitions, i, 0, amqp.AppendData(nil, fmt.Appendf(nil, "%d", i/partitions)))
		}
	}()
	next := make([]int, partitions*perPartition)
	for range partitions * perPartition * events {
		var tr amqp.Transfer
		payload := c.expect(&tr)
		sections, err := amqp.Scan(payload)
		if err != nil {
			t.Fatal(err)
		}
		d := amqp.NewDecoder(sections.Body.Of(payload))
		d.Descriptor()
		if want := fmt.Sprint(next[tr.Handle]); string(d.Binary()) != want {
			t.Fatalf("link %d: got % x, want %s", tr.Handle, payload, want)
		}
		next[tr.Handle]++
	}
}
