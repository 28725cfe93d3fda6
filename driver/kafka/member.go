package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/hubferry/hubferry"
)

// taskBalancer is the cooperative balancer under a name that only the instances of one task
// know. A broker lets nobody into a group who does not know the protocol of all members,
// so a group belongs to one task, whoever came first (G-10).
type taskBalancer struct {
	kgo.GroupBalancer
	task string
}

// ProtocolName implements kgo.GroupBalancer.
func (b *taskBalancer) ProtocolName() string { return "hubferry/" + b.task }

// balancerFor returns how the members of a group divide the partitions.
func balancerFor(m hubferry.Member) kgo.GroupBalancer {
	if m.Shared {
		return kgo.CooperativeStickyBalancer()
	}
	return &taskBalancer{kgo.CooperativeStickyBalancer(), m.Task}
}

// othersTimeout bounds the question who has the group: the answer is a help and no more.
const othersTimeout = 5 * time.Second

// others adds to an error who the members of the group are that keep us out.
func (c *coordinator) others(err error) error {
	ctx, cancel := context.WithTimeout(c.life, othersTimeout)
	defer cancel()
	group := c.source.options.ConsumerGroup
	described, failed := c.admin.DescribeGroups(ctx, group)
	g, ok := described[group]
	if failed != nil || !ok || g.Err != nil || len(g.Members) == 0 {
		return err
	}
	clients := map[string]bool{}
	for _, m := range g.Members {
		clients[fmt.Sprintf("%s at %s", m.ClientID, strings.TrimPrefix(m.ClientHost, "/"))] = true
	}
	return fmt.Errorf("the group has %d members that use the protocol %q (%s): %w",
		len(g.Members), g.Protocol, strings.Join(slices.Sorted(maps.Keys(clients)), ", "), err)
}
