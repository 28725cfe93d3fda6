package kafka_test

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/kafka"
	"github.com/hubferry/hubferry/internal/kafkatest"
)

// What a real broker refuses has its kind, and a text that says what to do.
func TestRealBrokerRefuses(t *testing.T) {
	s := realService(t)
	guest := s.options()
	guest.SASL.Username = kafkatest.Guest
	closed := context.WithoutCancel(t.Context())
	tests := []struct {
		name string
		do   func(o *kafka.TargetOptions) error
		kind hubferry.ErrorKind
		text string
	}{
		{"no permission", func(o *kafka.TargetOptions) error {
			target, err := connect(t, guest, hubferry.Env{}).Target(t.Context(), o)
			if err != nil {
				return err
			}
			defer target.Close(closed)
			_, err = target.Open(t.Context(), s.topic, hubferry.Trail{})
			return err
		}, hubferry.Unauthorized, "give the user access to the topic"},
		{"no such topic", func(o *kafka.TargetOptions) error {
			target, err := s.connect(t).Target(t.Context(), o)
			if err != nil {
				return err
			}
			defer target.Close(closed)
			_, err = target.Open(t.Context(), "nowhere-"+s.topic, hubferry.Trail{})
			return err
		}, hubferry.NotFound, "create the topic"},
		{"a setting that there is not", func(o *kafka.TargetOptions) error {
			o.Ensure, o.TopicConfig = kafka.EnsureCreate, map[string]string{"no.such": "1"}
			target, err := s.connect(t).Target(t.Context(), o)
			if err != nil {
				return err
			}
			defer target.Close(closed)
			m, ok := target.(hubferry.Maker)
			if !ok {
				t.Fatal("the target is no Maker")
			}
			return m.Make(t.Context(), "new-"+s.topic, like(hubferry.Blueprint{Partitions: 1}))
		}, hubferry.Fatal, "no.such"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.do(&kafka.TargetOptions{})
			if hubferry.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.text) {
				t.Errorf("%v, of kind %v", err, hubferry.KindOf(err))
			}
		})
	}
}

// A record without a key on a compacted topic is poison: the error names the event, what is
// before it is stored, and what is behind it waits for the decision.
func TestRealBrokerRefusesARecord(t *testing.T) {
	s := realService(t)
	w := s.writerWith(t, "cleanup.policy", "compact")
	events := named(0, 9)
	for i := range events {
		if i != 6 {
			events[i].Key = hubferry.Text("k")
		}
	}
	r, err := w.Write(t.Context(), hubferry.Run{Events: events})
	if hubferry.KindOf(err) != hubferry.Refused || r.N != 6 || !strings.Contains(fmt.Sprint(err), "event 6 of elsewhere/hub/0") {
		t.Errorf("%+v, %v, of kind %v", r, err, hubferry.KindOf(err))
	}
	if n := len(s.dump(t, 0)); n != 6 {
		t.Errorf("%d events are there", n)
	}
}

// grant lets the guest do something on what bears a name.
func (s *service) grant(t *testing.T, b *kadm.ACLBuilder, ops ...kadm.ACLOperation) {
	t.Helper()
	b = b.Allow("User:" + kafkatest.Guest).ResourcePatternType(kadm.ACLPatternLiteral).Operations(ops...)
	results, err := s.admin.CreateACLs(t.Context(), b)
	for _, r := range results {
		err = cmp.Or(err, r.Err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Each right that is missing is named: to read, to be in the group, to use transactions. So
// is a topic that is not there, for a source as well.
func TestRealBrokerRefusesSteps(t *testing.T) {
	s := realService(t)
	guest := &service{topic: s.topic, brokers: s.brokers, admin: s.admin, conns: s.conns}
	guest.options = func() *kafka.ConnectionOptions {
		o := s.options()
		o.SASL.Username = kafkatest.Guest
		return o
	}
	wants := func(what string, err error, kind hubferry.ErrorKind, text string) {
		t.Helper()
		if hubferry.KindOf(err) != kind || !strings.Contains(fmt.Sprint(err), text) {
			t.Errorf("%s: %v, of kind %v", what, err, hubferry.KindOf(err))
		}
	}
	next := func(s *service, topic string) error {
		_, err := s.join(t, kafka.SourceOptions{}, hubferry.Selection{Hubs: []string{topic}}).Next(t.Context())
		return err
	}
	wants("a topic that is missing", next(s, "nowhere-"+s.topic), hubferry.NotFound, "describe topic nowhere-"+s.topic+": UNKNOWN_TOPIC_OR_PARTITION")
	wants("a topic that may not be read", next(guest, s.topic), hubferry.Unauthorized, "TOPIC_AUTHORIZATION_FAILED")
	topic := func() *kadm.ACLBuilder { return kadm.NewACLs().Topics(s.topic) }
	s.grant(t, topic(), kadm.OpRead, kadm.OpDescribe)
	wants("a group", next(guest, s.topic), hubferry.Unauthorized, "give the user access to the group")
	s.grant(t, topic(), kadm.OpWrite)
	target, err := guest.connect(t).Target(t.Context(), &kafka.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close(context.WithoutCancel(t.Context()))
	w, err := target.Open(t.Context(), s.topic, hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = committer(t, w).Adopt(t.Context(), sourceID)
	wants("transactions", err, hubferry.Unauthorized, "give the user Write and Describe on transactional ids that begin with hubferry")
	if _, err := w.Write(t.Context(), hubferry.Run{Events: named(0, 1)}); err != nil {
		t.Errorf("what the guest may do: %v", err)
	}
}

// An event that is larger than the topic takes is named with what to raise.
func TestRealBrokerRefusesALargeRecord(t *testing.T) {
	s := realService(t)
	w := s.writerWith(t, "max.message.bytes", "5000")
	events := named(0, 3)
	events[1] = sized(9000)
	events[1].Origin, events[1].Pos.Sequence = events[0].Origin, 1
	r, err := w.Write(t.Context(), hubferry.Run{Events: events})
	text := fmt.Sprint(err)
	if hubferry.KindOf(err) != hubferry.TooLarge || r.N != 1 || !strings.Contains(text, "event 1 of elsewhere/hub/0") || !strings.Contains(text, "raise the topic's max.message.bytes") {
		t.Errorf("%+v, %v", r, err)
	}
}

// A cluster that is away is trouble that passes, and the text tells where it was looked for.
func TestBrokerIsAway(t *testing.T) {
	const addr = "127.0.0.1:1" // nobody listens there, and no kernel gives this port to anybody
	c := connect(t, &kafka.ConnectionOptions{Brokers: []string{addr}}, hubferry.Env{})
	ctx, cancel := context.WithTimeout(t.Context(), longWait)
	defer cancel()
	src, err := c.Source(ctx, topicName, &kafka.SourceOptions{})
	if err == nil {
		_, err = src.Partitions(ctx)
	}
	if hubferry.KindOf(err) != hubferry.Transient || !strings.Contains(fmt.Sprint(err), addr) || ctx.Err() != nil {
		t.Errorf("the source: %v", err)
	}
	target, err := c.Target(ctx, &kafka.TargetOptions{})
	if err == nil {
		_, err = target.Open(ctx, topicName, hubferry.Trail{})
	}
	if hubferry.KindOf(err) != hubferry.Transient || !strings.Contains(fmt.Sprint(err), addr) || ctx.Err() != nil {
		t.Errorf("the target: %v", err)
	}
}

// writerWith returns a writer to the topic, of which a setting is changed.
func (s *service) writerWith(t *testing.T, name, value string) hubferry.Writer {
	t.Helper()
	if _, err := s.admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: name, Value: &value}}, s.topic); err != nil {
		t.Fatal(err)
	}
	target, err := s.connect(t).Target(t.Context(), &kafka.TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = target.Close(context.WithoutCancel(t.Context())) })
	w, err := target.Open(t.Context(), s.topic, hubferry.Trail{})
	if err != nil {
		t.Fatal(err)
	}
	return w
}
