package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

var (
	_ hubferry.Maker     = (*target)(nil)
	_ hubferry.Describer = (*source)(nil)
)

// The values of TargetOptions.Ensure.
const (
	EnsureOff    = "off"
	EnsureCheck  = "check"
	EnsureCreate = "create"
)

const defaultSyncInterval = 10 * time.Minute

// carriedSettings are copied and compared with their effective values, also when they are
// the defaults of the source's brokers: other brokers have others.
var carriedSettings = []string{"cleanup.policy", "compression.type", configMaxMessage, "retention.bytes", "retention.ms"}

// ownSettings stay the target's. They are about a cluster and its brokers; or, as the type
// of timestamps, would change records on their way.
var ownSettings = []string{
	"confluent.", "follower.replication.throttled.replicas", "leader.replication.throttled.replicas",
	"local.retention.", "message.timestamp.", "min.insync.replicas", "remote.", "unclean.leader.election.enable",
}

// Describe implements hubferry.Describer: with the settings that were made for the topic,
// and the effective values of those that matter most.
func (s *source) Describe(ctx context.Context, hub string) (hubferry.Blueprint, error) {
	if isDone(s.done) {
		return hubferry.Blueprint{}, hubferry.ErrClosed
	}
	selected := s.topics
	if hub != "" {
		selected = selection{names: []string{hub}}
	}
	topics, err := selected.find(ctx, s.conn)
	if err != nil {
		return hubferry.Blueprint{}, err
	}
	b := hubferry.Blueprint{Service: "kafka"}
	for i := range topics {
		b.Partitions = max(b.Partitions, topics[i].count)
	}
	if len(topics) != 1 {
		return b, nil
	}
	if b.Settings, err = settingsOf(ctx, s.conn.admin, topics[0].name); err != nil {
		return hubferry.Blueprint{}, hinted(err, "give the user DescribeConfigs on the source's topic, or set the target's ensure: off")
	}
	return b, nil
}

// settingsOf returns the settings of a topic that go along with it.
func settingsOf(ctx context.Context, admin *kadm.Client, topic string) (map[string]string, error) {
	op := "describe the settings of topic " + topic
	found, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return nil, classify(op, err)
	}
	if len(found) != 1 {
		return nil, &hubferry.Error{Kind: hubferry.Transient, Op: op, Err: errors.New("the broker answered for another topic")}
	}
	if found[0].Err != nil {
		return nil, classify(op, found[0].Err)
	}
	settings := map[string]string{}
	for _, c := range found[0].Configs {
		set := c.Source == kmsg.ConfigSourceDynamicTopicConfig
		own := slices.ContainsFunc(ownSettings, func(prefix string) bool { return strings.HasPrefix(c.Key, prefix) })
		if c.Value != nil && !c.Sensitive && (slices.Contains(carriedSettings, c.Key) || set && !own) {
			settings[c.Key] = *c.Value
		}
	}
	return settings, nil
}

// Make implements hubferry.Maker by TargetOptions.Ensure and SyncConfig.
func (t *target) Make(ctx context.Context, hub string, like func(ctx context.Context) (hubferry.Blueprint, error)) error {
	if t.options.Ensure == EnsureOff && !t.options.SyncConfig {
		return nil
	}
	want, err := t.wanted(ctx, like)
	if err != nil {
		return fmt.Errorf("ensure topic %s: %w", hub, err)
	}
	found, err := t.producer.ask(ctx, hub)
	switch {
	case err == nil:
	case hubferry.KindOf(err) == hubferry.NotFound && t.options.Ensure == EnsureCreate:
		return errors.Join(t.create(ctx, hub, want), t.keepInSync(hub, like))
	default:
		return err
	}
	differ, err := t.differences(ctx, hub, found.count, want)
	if err != nil {
		return err
	}
	switch {
	case t.options.SyncConfig:
		if err := t.sync(ctx, hub, like); err != nil {
			return err
		}
		return t.keepInSync(hub, like)
	case t.options.Ensure == EnsureCheck && len(differ) > 0:
		return &hubferry.Error{
			Kind: hubferry.Fatal, Op: "check topic " + hub, Err: errors.New("it is not as it should be: " + strings.Join(differ, "; ")),
			Hint: "change the topic, set the target's topicConfig or syncConfig, or ensure: off",
		}
	case len(differ) > 0:
		t.conn.env.Log.Warn("a topic is there already and differs from what would be created", "topic", hub, "differences", strings.Join(differ, "; "))
	}
	return nil
}

// wanted returns how a topic should be: like the source's hub, and what the options say.
func (t *target) wanted(ctx context.Context, like func(ctx context.Context) (hubferry.Blueprint, error)) (hubferry.Blueprint, error) {
	want, err := like(ctx)
	if err != nil {
		return want, err
	}
	settings := map[string]string{}
	if want.Service == "kafka" {
		maps.Copy(settings, want.Settings)
	}
	maps.Copy(settings, t.options.TopicConfig)
	want.Settings = settings
	return want, nil
}

// create makes a topic.
func (t *target) create(ctx context.Context, hub string, want hubferry.Blueprint) error {
	settings := make(map[string]*string, len(want.Settings))
	for k, v := range want.Settings {
		settings[k] = &v
	}
	replication := int16(cmp.Or(t.options.ReplicationFactor, -1))
	resp, err := t.conn.admin.CreateTopic(ctx, int32(want.Partitions), replication, settings, hub)
	if err = cmp.Or(err, resp.Err); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		err = classify("create topic "+hub, err)
		if resp.ErrMessage != "" {
			err = hinted(err, resp.ErrMessage)
		}
		return err
	}
	t.conn.env.Log.Info("created a topic", "topic", hub, "partitions", want.Partitions, "settings", describe(want.Settings))
	return t.producer.ready(ctx, hub, want.Partitions)
}

func describe(settings map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, k+"="+settings[k])
	}
	return strings.Join(all, " ")
}

// differences says what of a topic is not as it should be.
func (t *target) differences(ctx context.Context, hub string, count int, want hubferry.Blueprint) ([]string, error) {
	var differ []string
	if count != want.Partitions {
		differ = append(differ, fmt.Sprintf("it has %d partitions, not %d", count, want.Partitions))
	}
	changes, err := t.changes(ctx, hub, want)
	for _, k := range slices.Sorted(maps.Keys(changes)) {
		differ = append(differ, fmt.Sprintf("%s is %q, not %q", k, changes[k], want.Settings[k]))
	}
	return differ, err
}

// changes returns the settings of a topic that are not as they should be, with their
// present values.
func (t *target) changes(ctx context.Context, hub string, want hubferry.Blueprint) (map[string]string, error) {
	if len(want.Settings) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to compare
	}
	found, err := t.conn.admin.DescribeTopicConfigs(ctx, hub)
	if err == nil && len(found) == 1 {
		err = found[0].Err
	}
	if err != nil || len(found) != 1 {
		return nil, hinted(classify("describe the settings of topic "+hub, err), "give the user DescribeConfigs on the topic, or set the target's ensure: off")
	}
	have := map[string]string{}
	for _, c := range found[0].Configs {
		have[c.Key] = c.MaybeValue()
	}
	changes := map[string]string{}
	for k, v := range want.Settings {
		if have[k] != v {
			changes[k] = have[k]
		}
	}
	return changes, nil
}

// sync makes the settings of a topic what they should be. Partitions stay: a key must not
// move while a task runs (G-4).
func (t *target) sync(ctx context.Context, hub string, like func(ctx context.Context) (hubferry.Blueprint, error)) error {
	want, err := t.wanted(ctx, like)
	if err != nil {
		return err
	}
	changes, err := t.changes(ctx, hub, want)
	if err != nil || len(changes) == 0 {
		return err
	}
	var alter []kadm.AlterConfig
	for k := range changes {
		value := want.Settings[k]
		alter = append(alter, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: &value})
	}
	answers, err := t.conn.admin.AlterTopicConfigs(ctx, alter, hub)
	for _, a := range answers {
		err = cmp.Or(err, a.Err)
	}
	if err != nil {
		return hinted(classify("change the settings of topic "+hub, err), "give the user AlterConfigs on the topic, or remove the target's syncConfig")
	}
	t.conn.env.Log.Info("changed the settings of a topic to those of its source", "topic", hub, "were", describe(changes))
	return nil
}

// keepInSync goes on with sync in the background until the target is closed.
func (t *target) keepInSync(hub string, like func(ctx context.Context) (hubferry.Blueprint, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.options.SyncConfig || t.closed || t.synced[hub] {
		return nil
	}
	t.synced[hub] = true
	t.background.Go(func() {
		ticker := time.NewTicker(t.options.SyncInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
			case <-t.producer.life.Done():
				return
			}
			if err := t.sync(t.producer.life, hub, like); err != nil && t.producer.life.Err() == nil {
				t.conn.env.Log.Warn("the settings of a topic were not compared with those of its source", "topic", hub, "error", err)
			}
		}
	})
	return nil
}

// ready waits until a topic that was just made has leaders.
func (p *producer) ready(ctx context.Context, topic string, partitions int) error {
	for i := range partitions {
		_, err := p.leader(ctx, topic, i)
		for tries := 0; err != nil; tries++ {
			if kind := hubferry.KindOf(err); tries > scanTries || kind != hubferry.NotFound && kind != hubferry.Transient {
				return err
			}
			p.forget(topic)
			if err := pause(ctx, "describe topic "+topic, backoff(tries)); err != nil {
				return err
			}
			_, err = p.leader(ctx, topic, i)
		}
	}
	return nil
}
