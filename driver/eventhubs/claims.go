package eventhubs

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// claims keeps the tokens fresh that one AMQP connection has shown to the service, one
// per audience. A token that runs out makes the service detach the links that rest on
// it, so each is renewed before that.
type claims struct {
	tokens tokens
	// put shows a token to the service.
	put func(ctx context.Context, audience string, t token) error
	log *slog.Logger

	mu    sync.Mutex
	held  map[string]*claim
	added chan struct{} // a claim was made: the next renewal may be earlier
}

type claim struct {
	flight  flight[struct{}]
	expires time.Time // of the token last shown; zero: never
	renew   time.Time // when to show the next; zero: never
	shown   bool
	failing bool // the last renewal failed, and that was logged
}

// When claims are renewed: a quarter of a token's life before its end, at most
// renewAhead; not sooner after the last try than renewPause, because a credential may
// hand out the same token until shortly before its end.
const (
	renewAhead = 10 * time.Minute
	renewPause = 30 * time.Second
	putTimeout = 30 * time.Second
)

func newClaims(t tokens, log *slog.Logger, put func(ctx context.Context, audience string, t token) error) *claims {
	return &claims{tokens: t, put: put, log: log, held: map[string]*claim{}, added: make(chan struct{}, 1)}
}

// ensure returns when the service has a valid token for the audience.
func (c *claims) ensure(ctx context.Context, audience string, spawn spawner) error {
	c.mu.Lock()
	held := c.held[audience]
	if held == nil {
		held = &claim{}
		c.held[audience] = held
	}
	valid := held.shown && (held.expires.IsZero() || time.Now().Before(held.expires))
	c.mu.Unlock()
	if valid {
		return nil
	}
	_, err := held.flight.join(ctx, spawn, func(life context.Context) (struct{}, error) {
		return struct{}{}, c.show(life, audience, held)
	})
	return err
}

// forget has the next who needs the audience show a token again: the service says that
// the one it has is not good enough, which may have changed meanwhile.
func (c *claims) forget(audience string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if held := c.held[audience]; held != nil {
		held.shown = false
	}
}

// show makes a token and shows it.
func (c *claims) show(ctx context.Context, audience string, held *claim) error {
	ctx, cancel := context.WithTimeout(ctx, putTimeout)
	defer cancel()
	now := time.Now()
	t, err := c.tokens.token(ctx, audience)
	if err == nil {
		err = c.put(ctx, audience, t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		held.renew = now.Add(renewPause)
		return err
	}
	held.shown, held.expires, held.renew = true, t.expires, time.Time{}
	if _, fixed := c.tokens.(sasFixed); !fixed && !t.expires.IsZero() {
		ahead := min(renewAhead, t.expires.Sub(now)/4)
		held.renew = t.expires.Add(-ahead)
		if soonest := now.Add(renewPause); held.renew.Before(soonest) {
			held.renew = soonest
		}
	}
	select {
	case c.added <- struct{}{}:
	default:
	}
	return nil
}

// keep renews claims until the context ends.
func (c *claims) keep(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.added:
		case <-timer.C:
			c.renewDue(ctx)
		}
		if next := c.nextRenewal(); !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

func (c *claims) nextRenewal() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	var next time.Time
	for _, held := range c.held {
		if held.shown && !held.renew.IsZero() && (next.IsZero() || held.renew.Before(next)) {
			next = held.renew
		}
	}
	return next
}

func (c *claims) renewDue(ctx context.Context) {
	c.mu.Lock()
	due := map[string]*claim{}
	for audience, held := range c.held {
		if held.shown && !held.renew.IsZero() && !time.Now().Before(held.renew) {
			due[audience] = held
		}
	}
	c.mu.Unlock()
	for audience, held := range due {
		err := c.show(ctx, audience, held)
		if ctx.Err() != nil {
			return
		}
		// The links live on until the old token ends, and the next try may succeed: this
		// is for the operator to know, and there is no caller to tell.
		if err != nil && !held.failing {
			c.log.Warn("renewing the token failed; links will be detached when the old one ends",
				"audience", audience, "expires", held.expires, "error", err)
		}
		held.failing = err != nil
	}
}
