package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry/hub"
)

// fault is a row of the table.
type fault struct {
	name string
	// late says that what it holds up may be stored behind newer events.
	late bool
	// sides are whose network or server it may be; empty means that it does not matter.
	sides []int
	// drivers are those that can have it.
	drivers []string
	// inject lets it come, and returns what ends it and whether anything was hit. It is called in
	// the moment, and must not wait.
	inject func(w *world, x *instance, s step) (heal func(), hit func() bool)
}

const (
	goAMQP = "go-amqp"
	native = "native"
	kafkas = "kafka"
	memory = "mem"
	stores = 2 // the side that is the checkpoint store
)

var (
	amqps   = []string{goAMQP, native}
	network = []string{goAMQP, native, kafkas}
)

func nothing() {}

func always() bool { return true }

// relaysOf are the relays of the side that a step is about, of one instance or of all.
func (w *world) relaysOf(x *instance, s step) (list []*relay) {
	all := w.running()
	if s.pick%2 == 0 {
		all = []*instance{x}
	}
	for _, y := range all {
		for host, r := range y.relays {
			if sideOf(host) == s.side {
				list = append(list, r)
			}
		}
	}
	return list
}

// sideOf returns to which side a host belongs.
func sideOf(host string) int {
	switch {
	case strings.HasPrefix(host, "west"):
		return source
	case strings.HasPrefix(host, "east"):
		return target
	default:
		return stores
	}
}

// onFlows is a fault of connections that are open.
func onFlows(do func(r *relay, s step) int, undo func(r *relay, s step)) func(*world, *instance, step) (func(), func() bool) {
	return func(w *world, x *instance, s step) (func(), func() bool) {
		n := 0
		list := w.relaysOf(x, s)
		for _, r := range list {
			n += do(r, s)
		}
		heal := func() {
			for _, r := range list {
				undo(r, s)
			}
		}
		return heal, func() bool { return n > 0 }
	}
}

// onSends is a fault of what is sent to an embedded hub. Some deliveries are hit, and some
// pass before.
func onSends(kinds ...hub.Fault) func(*world, *instance, step) (func(), func() bool) {
	return func(w *world, _ *instance, s step) (func(), func() bool) {
		server := w.service.(*amqpHubs).servers[target]
		f := kinds[s.pick%uint64(len(kinds))]
		f.Times, f.Skip = 1+int(s.pick/8%4), int(s.pick/32%3)
		if f.Kind == hub.FaultDelay || f.Kind == hub.FaultCutStoreLate {
			f.After = s.lasts
		}
		before := server.faults.Hits()
		return server.faults.Add(f), func() bool { return server.faults.Hits() > before }
	}
}

// table is all that can go wrong.
func table() []*fault {
	set := func(way int, m mode) func(*relay, step) int {
		return func(r *relay, _ step) int { return r.set(way, m, 0) }
	}
	both := func(m mode) func(*relay, step) int {
		return func(r *relay, _ step) int { return max(r.set(fromClient, m, 0), r.set(fromServer, m, 0)) }
	}
	on := func(r *relay, _ step) { r.set(fromClient, forward, 0); r.set(fromServer, forward, 0) }
	cut := func(r *relay, _ step) { r.cut() }
	return []*fault{
		{
			name: "cut connection", drivers: network, sides: []int{source, target, stores},
			inject: onFlows(func(r *relay, _ step) int { return r.cut() }, func(*relay, step) {}),
		},
		{
			name: "half-open connection", drivers: network, sides: []int{source, target, stores},
			inject: onFlows(both(drop), func(*relay, step) {}),
		},
		{
			name: "stall", drivers: network, sides: []int{source, target, stores}, late: true,
			inject: onFlows(both(wait), on),
		},
		{
			name: "lost answers, then cut", drivers: network, sides: []int{target, stores},
			inject: onFlows(set(fromServer, drop), cut),
		},
		{
			name: "late delivery", drivers: network, sides: []int{target}, late: true,
			inject: onFlows(func(r *relay, s step) int { return r.set(fromClient, hold, s.lasts) }, func(r *relay, _ step) { r.lose() }),
		},
		{
			name: "refused", drivers: network, sides: []int{source, target, stores},
			inject: onFlows(func(r *relay, _ step) int {
				if r.refuse(true) != nil {
					return 0
				}
				return r.cut()
			}, func(r *relay, _ step) { _ = r.refuse(false) }),
		},
		{name: "DNS failure", drivers: network, sides: []int{source, target}, inject: noNames},
		{
			name: "throttling", drivers: amqps,
			inject: onSends(hub.Fault{Kind: hub.FaultRefuse, Condition: hub.ServerBusy}),
		},
		{
			name: "service error", drivers: amqps,
			inject: onSends(hub.Fault{Kind: hub.FaultRefuse, Condition: hub.InternalError}, hub.Fault{Kind: hub.FaultRefuse, Condition: hub.Timeout}),
		},
		{
			name: "slow answer", drivers: amqps,
			inject: onSends(hub.Fault{Kind: hub.FaultDelay}),
		},
		{
			name: "lost before storing", drivers: amqps,
			inject: onSends(hub.Fault{Kind: hub.FaultCutBefore}, hub.Fault{Kind: hub.FaultDetachBefore}),
		},
		{
			name: "lost answer after storing", drivers: amqps,
			inject: onSends(hub.Fault{Kind: hub.FaultCutAfter}, hub.Fault{Kind: hub.FaultDetachAfter}, hub.Fault{Kind: hub.FaultNoAnswer}),
		},
		{
			name: "late storing", drivers: amqps, late: true,
			inject: onSends(hub.Fault{Kind: hub.FaultCutStoreLate}),
		},
		{
			name: "service error", drivers: []string{kafkas},
			inject: onRequests(target, []kmsg.Key{kmsg.Produce}, hubName, kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.KafkaStorageError),
		},
		{name: "slow answer", drivers: []string{kafkas}, inject: slowRequests},
		{
			name: "lost answer after storing", drivers: []string{kafkas},
			inject: onRequests(target, []kmsg.Key{kmsg.Produce}, hubName, kerr.NotEnoughReplicasAfterAppend, kerr.RequestTimedOut),
		},
		{name: "detached link", drivers: amqps, sides: []int{source, target}, inject: detach},
		{name: "leader moved", drivers: []string{kafkas}, sides: []int{source, target}, inject: moveLeader},
		{name: "server restart", drivers: amqps, sides: []int{source, target, stores}, inject: restart},
		{name: "server restart", drivers: []string{kafkas}, sides: []int{source, target}, inject: restartCluster},
		{name: "slow disk", drivers: amqps, sides: []int{source, target}, late: true, inject: onDisk(false)},
		{name: "full disk", drivers: amqps, sides: []int{source, target}, inject: onDisk(true)},
		{name: "expired token", drivers: amqps, sides: []int{source, target}, inject: expiredToken},
		{name: "rotated key", drivers: amqps, sides: []int{source, target}, inject: rotatedKey},
		{name: "stolen link", drivers: amqps, sides: []int{source}, inject: stolenLink},
		{name: "partitions added", drivers: amqps, sides: []int{source, target}, inject: grow},
		{name: "partitions added", drivers: []string{kafkas}, sides: []int{source, target}, inject: growTopic},
		{name: "clock jump", drivers: amqps, sides: []int{source, target}, inject: clockJump},
	}
}

// noNames makes names unknown, and has all connect anew.
func noNames(w *world, x *instance, s step) (func(), func() bool) {
	before := w.names.answered.Load()
	w.names.trouble.Store(namesFail + int32(s.pick/2%3))
	for _, r := range w.relaysOf(x, s) {
		r.cut()
	}
	return func() { w.names.trouble.Store(namesWork) }, func() bool { return w.names.answered.Load() > before }
}

// detach has a server detach the links to a partition, or to all.
func detach(w *world, _ *instance, s step) (func(), func() bool) {
	server := w.service.(*amqpHubs).servers[s.side]
	place := hub.Place{Hub: hubName}
	if s.pick/2%2 == 0 {
		place.Partition = fmt.Sprint(int(s.pick/4) % w.partitions(s.side))
	}
	condition := []string{hub.DetachForced, hub.InternalError, hub.ServerBusy}[s.pick/64%3]
	n := server.faults.Detach(place, condition, "")
	return nothing, func() bool { return n > 0 }
}

// restart ends a server, and starts it again.
func restart(w *world, _ *instance, s step) (func(), func() bool) {
	server := w.serverOf(s.side)
	if server == nil {
		return nothing, func() bool { return false }
	}
	over := make(chan struct{})
	go func() { // not in the moment: the server waits for who asks it just now
		defer close(over)
		if err := server.end(w.ctx); err != nil {
			w.fail(fmt.Errorf("end a server: %w", err))
		}
	}()
	return func() {
		<-over
		if err := server.start(w.ctx); err != nil {
			w.fail(fmt.Errorf("start a server again: %w", err))
		}
	}, always
}

// serverOf returns the embedded hub of a side, or nil.
func (w *world) serverOf(side int) *server {
	if side == stores {
		if b, ok := w.store.(*blobStore); ok {
			return b.server
		}
		return nil
	}
	return w.service.(*amqpHubs).servers[side]
}

// onDisk has the disk of a server be slow, or full.
func onDisk(full bool) func(*world, *instance, step) (func(), func() bool) {
	return func(w *world, _ *instance, s step) (func(), func() bool) {
		server := w.serverOf(s.side)
		before := server.faults.Hits()
		d := hub.Disk{Full: full}
		if !full {
			d.Delay = min(s.lasts, 300*time.Millisecond)
		}
		server.faults.SetDisk(d)
		return func() { server.faults.SetDisk(hub.Disk{}) }, func() bool { return server.faults.Hits() > before }
	}
}

// expiredToken makes every token of a server expired, and has clients show theirs again.
func expiredToken(w *world, x *instance, s step) (func(), func() bool) {
	w.locked.Store(true)
	const life = 3 * time.Hour // longer than any token's, and shorter than retention
	server := w.serverOf(s.side)
	server.ahead.Add(int64(life))
	n := 0
	for _, r := range w.relaysOf(x, s) {
		n += r.cut()
	}
	return func() { server.ahead.Add(-int64(life)) }, func() bool { return n > 0 }
}

// rotatedKey replaces the key of a server's hub. In the end the instances are replaced by
// such that know the new one.
func rotatedKey(w *world, _ *instance, s step) (func(), func() bool) {
	w.locked.Store(true)
	server := w.serverOf(s.side)
	if server.update(w.ctx, func(o *hub.HubOptions) {
		o.Rules = []hub.Rule{rule(fmt.Sprintf("%s-%d", o.Rules[0].Key, s.pick%1000))}
	}) != nil { // its disk is full, or it is away
		return nothing, func() bool { return false }
	}
	s.pick = 1 // all
	for _, r := range w.relaysOf(nil, s) {
		r.cut()
	}
	return func() {
		for _, old := range w.running() {
			if err := errors.Join(w.join(), w.leave(old)); err != nil {
				w.fail(fmt.Errorf("replace an instance: %w", err))
			}
		}
	}, always
}

// stolenLink has somebody else read a partition as one who has more right to it.
func stolenLink(w *world, _ *instance, s step) (func(), func() bool) {
	server := w.serverOf(source)
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan struct{})
	var hit atomic.Bool
	go func() {
		defer close(done)
		client, err := azeventhubs.NewConsumerClientFromConnectionString(server.direct(), hubName, taskName, nil)
		if err != nil {
			return
		}
		closing := context.WithoutCancel(ctx)
		defer func() { _ = client.Close(closing) }()
		level, earliest := int64(7), true
		p, err := client.NewPartitionClient(fmt.Sprint(int(s.pick/4)%w.partitions(source)), &azeventhubs.PartitionClientOptions{
			OwnerLevel: &level, StartPosition: azeventhubs.StartPosition{Earliest: &earliest},
		})
		if err != nil {
			return
		}
		defer func() { _ = p.Close(closing) }()
		if events, _ := p.ReceiveEvents(ctx, 1, nil); len(events) > 0 {
			hit.Store(true)
			<-ctx.Done()
		}
	}()
	return func() { cancel(); <-done }, hit.Load
}

// grow adds a partition to a hub, up to six.
func grow(w *world, _ *instance, s step) (func(), func() bool) {
	n := w.partitions(s.side)
	hit := n < mostPartitions
	if hit && w.serverOf(s.side).update(w.ctx, func(o *hub.HubOptions) { o.Partitions = n + 1 }) == nil { // else its disk is full, or it is away
		w.grown(s.side)
		return nothing, always
	}
	return nothing, func() bool { return false }
}

const mostPartitions = 6

// clockJump sets the clock of a server to another time, and leaves it there.
func clockJump(w *world, _ *instance, s step) (func(), func() bool) {
	d := time.Duration(s.pick%20_000)*time.Millisecond - 10*time.Second
	w.serverOf(s.side).ahead.Add(int64(d))
	return nothing, always
}

// inject waits for the moment of a step, lets its faults come, and ends them again. It
// reports whether each has hit something.
func (w *world) inject(s step) bool {
	var ends []func() // of what was injected
	var hits []func() bool
	act := func(x *instance) {
		for i, f := range s.faults {
			own := s
			own.side, own.pick = s.sides[i], s.pick>>(8*i)
			w.log.Info("FAULT", "name", f.name, "side", own.side, "moment", s.moment, "lasts", s.lasts, "instance", x.name)
			heal, hit := f.inject(w, x, own)
			ends, hits = append(ends, heal), append(hits, hit)
		}
	}
	if !w.at(s.moment, act) {
		s.moment = underLoad
		act(w.running()[0])
	}
	began := time.Now()
	for done := false; !done && w.ctx.Err() == nil; pause(w.ctx, 5*time.Millisecond) {
		lasted := time.Since(began)
		done = lasted >= s.lasts && (lasted >= s.lasts+time.Second || !slices.ContainsFunc(hits, func(hit func() bool) bool { return !hit() }))
	}
	all := true
	for i, f := range s.faults {
		ends[i]()
		hit := hits[i]()
		all = all && hit
		w.log.Info("HEALED", "name", f.name, "hit", hit)
		i := injected{f.name, w.plan.driver, s.moment}
		if hit {
			w.result.injected = append(w.result.injected, i)
		} else {
			w.result.missed = append(w.result.missed, i)
		}
	}
	return all
}

// can reports whether a driver can have a fault.
func (f *fault) can(driver string) bool { return slices.Contains(f.drivers, driver) }
