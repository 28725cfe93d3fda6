package kafka

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hubferry/hubferry"
)

// lease knows until when the membership of the group is certain (INV-9). The client keeps
// it alive by itself, but does not tell when it last heard so. So the lease asks too: a
// heartbeat that the coordinator confirms, at whatever time it arrived there, leaves the
// session open for its whole length from when it was sent. That is also so while a
// rebalance is under way, when the client itself sends none.
type lease struct {
	c      *coordinator
	length time.Duration
	timer  *time.Timer

	mu    sync.Mutex
	begun time.Time // start of the last heartbeat that was confirmed
}

func newLease(c *coordinator) *lease {
	session := c.source.options.sessionTimeout()
	l := &lease{c: c, length: session - session/6} // what is on its way has time to arrive, or not
	l.timer = time.AfterFunc(time.Hour, l.runOut)
	return l
}

// certain reports whether the membership is certain. The monotonic clock decides (G-9).
// The wall clock is asked as well, because the other one stands still while a machine
// sleeps.
func (l *lease) certain(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return now.Sub(l.begun) < l.length && now.Round(0).Sub(l.begun.Round(0)) < l.length
}

// until returns until when the membership is certain as of now.
func (l *lease) until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.begun.Add(l.length)
}

func (l *lease) confirm(begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if begun.After(l.begun) {
		l.begun = begun
		l.timer.Reset(time.Until(begun.Add(l.length)))
	}
}

// runOut ends all claims if the lease is over.
func (l *lease) runOut() {
	if l.certain(time.Now()) {
		return
	}
	l.loseAll("the group's coordinator has confirmed no heartbeat in time")
}

func (l *lease) loseAll(why string) {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	for _, k := range l.c.held {
		k.lose(why)
	}
}

// run renews the lease until ctx ends.
func (l *lease) run(ctx context.Context) {
	defer l.timer.Stop()
	every := l.length / 15
	for {
		l.c.mu.Lock()
		member := len(l.c.assigned) > 0 || len(l.c.held) > 0
		l.c.mu.Unlock()
		if member {
			_ = l.renew(ctx) // the next one may be heard; the lease ends by itself
		}
		if !wait(ctx, every) {
			return
		}
	}
}

// renew sends a heartbeat. An error says that it was not confirmed.
func (l *lease) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.length/3)
	defer cancel()
	for {
		member, generation := l.c.client.GroupMetadata()
		begun := time.Now()
		code, err := l.heartbeat(ctx, member, generation)
		if err != nil {
			return classify("send a heartbeat to the group", err)
		}
		switch code {
		case 0, kerr.RebalanceInProgress.Code:
			l.confirm(begun)
			return nil
		case kerr.UnknownMemberID.Code, kerr.FencedInstanceID.Code:
			if m, _ := l.c.client.GroupMetadata(); m == member { // else the client has joined anew
				l.loseAll(kerr.ErrorForCode(code).Error())
			}
			return classify("send a heartbeat to the group", kerr.ErrorForCode(code))
		case kerr.IllegalGeneration.Code: // a rebalance has ended, and the client hears of it soon
			if !wait(ctx, commitPause) {
				return &hubferry.Error{Kind: hubferry.Transient, Op: "send a heartbeat to the group", Err: kerr.IllegalGeneration}
			}
		default:
			return classify("send a heartbeat to the group", kerr.ErrorForCode(code))
		}
	}
}

func (l *lease) heartbeat(ctx context.Context, member string, generation int32) (int16, error) {
	if member == "" {
		return 0, errors.New("this instance is no member of the group yet")
	}
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group = l.c.source.options.ConsumerGroup
	req.MemberID, req.Generation = member, generation
	if id := l.c.source.options.InstanceID; id != "" {
		req.InstanceID = &id
	}
	resp, err := req.RequestWith(ctx, l.c.client)
	if err != nil {
		return 0, err
	}
	return resp.ErrorCode, nil
}
