package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

// topic is what the cluster says of a topic.
type topic struct {
	name    string
	cluster string
	id      [16]byte
	count   int
}

// place returns the place of a partition.
func (t *topic) place(partition int) *hubferry.Place {
	return hubferry.NewPlace(t.cluster, t.name, fmt.Sprint(partition), t.incarnation(), partition)
}

// incarnation is the topic id, or "" where the cluster has none.
func (t *topic) incarnation() string {
	if t.id == [16]byte{} {
		return ""
	}
	return kadm.TopicID(t.id).String()
}

// deleted says in an error about a topic that is missing that it was there before.
func deleted(err error) error {
	if hubferry.KindOf(err) != hubferry.NotFound {
		return err
	}
	return hinted(err, "it was deleted: create it again, or take it out of the task's source")
}

// describe asks for a topic. It asks the cluster each time: what a client remembers may
// be of a topic that was deleted since.
func (c *connection) describe(ctx context.Context, name string) (topic, error) {
	topics, err := c.metadata(ctx, []string{name})
	if err != nil {
		return topic{}, err
	}
	if len(topics) != 1 {
		return topic{}, &hubferry.Error{
			Kind: hubferry.Transient, Op: "describe topic " + name,
			Err: fmt.Errorf("the broker answered for %d topics", len(topics)),
		}
	}
	return topics[0].topic, topics[0].err
}

// described is a topic, or why it could not be described.
type described struct {
	topic
	internal bool
	err      error
}

// metadata asks for topics, or for all if names is nil. They come sorted by name.
func (c *connection) metadata(ctx context.Context, names []string) ([]described, error) {
	if isDone(c.done) {
		return nil, hubferry.ErrClosed
	}
	req := kmsg.NewPtrMetadataRequest()
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = new(name)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, c.client)
	if err != nil {
		return nil, classify("describe topics", err)
	}
	cluster, err := c.namespace(resp.ClusterID)
	if err != nil {
		return nil, err
	}
	list := make([]described, 0, len(resp.Topics))
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			continue
		}
		err := classify("describe topic "+*t.Topic, kerr.ErrorForCode(t.ErrorCode))
		if err == nil {
			c.seen.Store(*t.Topic, nil)
		} else if _, was := c.seen.Load(*t.Topic); was {
			err = deleted(err)
		}
		list = append(list, described{
			topic:    topic{name: *t.Topic, cluster: cluster, id: t.TopicID, count: len(t.Partitions)},
			internal: t.IsInternal, err: err,
		})
	}
	slices.SortFunc(list, func(a, b described) int { return cmp.Compare(a.name, b.name) })
	return list, nil
}

// selection says which topics a source reads: named ones, or those that a pattern
// matches.
type selection struct {
	names   []string
	pattern *regexp.Regexp // nil: the names
	exclude []*regexp.Regexp
}

// private are topics that no pattern matches: those of Kafka's programs and of
// MirrorMaker. Who wants one names it.
var private = []*regexp.Regexp{
	regexp.MustCompile(`^__`),
	regexp.MustCompile(`[.-]internal$`),
	regexp.MustCompile(`^mm2-`),
	regexp.MustCompile(`\.replica$`),
	regexp.MustCompile(`^(.*\.)?heartbeats$`),
}

func newSelection(s hubferry.Selection) (selection, error) {
	sel := selection{names: s.Hubs}
	if s.Pattern == "" {
		return sel, nil
	}
	var err error
	if sel.pattern, err = whole(s.Pattern); err != nil {
		return sel, err
	}
	for _, text := range s.Exclude {
		x, err := whole(text)
		if err != nil {
			return sel, err
		}
		sel.exclude = append(sel.exclude, x)
	}
	return sel, nil
}

// whole compiles a pattern of a whole name, as Kafka's tools take them.
func whole(pattern string) (*regexp.Regexp, error) {
	x, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return nil, &hubferry.Error{Kind: hubferry.Fatal, Op: "select topics", Err: err}
	}
	return x, nil
}

// matches reports whether a topic is among those of a pattern.
func (s *selection) matches(t *described) bool {
	if t.internal || t.err != nil || !s.pattern.MatchString(t.name) {
		return false
	}
	hidden := func(x *regexp.Regexp) bool { return x.MatchString(t.name) }
	return !slices.ContainsFunc(private, hidden) && !slices.ContainsFunc(s.exclude, hidden)
}

// find returns the topics that are there now, sorted by name. A pattern may match none.
// Of several named topics those that exist are returned; it is an error when none does.
func (s *selection) find(ctx context.Context, c *connection) ([]topic, error) {
	names := s.names
	if s.pattern != nil {
		names = nil // all
	}
	list, err := c.metadata(ctx, names)
	if err != nil {
		return nil, err
	}
	var topics []topic
	var missing error
	for i := range list {
		t := &list[i]
		switch {
		case s.pattern != nil && !s.matches(t):
		case t.err == nil:
			topics = append(topics, t.topic)
		case hubferry.KindOf(t.err) == hubferry.NotFound && len(names) > 1:
			missing = errors.Join(missing, t.err)
		default:
			return nil, t.err
		}
	}
	if len(topics) == 0 {
		return nil, missing
	}
	return topics, nil
}
