package eventhubs

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
)

// fakeTokens hands out tokens of a given life, and the same one until shortly before its
// end, as azidentity does.
type fakeTokens struct {
	life, reuse time.Duration

	mu   sync.Mutex
	err  error
	made int
	last token
}

func (f *fakeTokens) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeTokens) token(context.Context, string) (token, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return token{}, f.err
	}
	if time.Until(f.last.expires) < f.reuse || f.reuse == 0 {
		f.made++
		f.last = token{text: strings.Repeat("t", f.made), expires: time.Now().Add(f.life)}
	}
	return f.last, nil
}

// claimsRun is a set of claims with what was put, in a bubble.
type claimsRun struct {
	*claims
	spawn spawner
	log   strings.Builder

	mu    sync.Mutex
	puts  []time.Duration // since the start
	valid time.Time       // until when the service knows a valid token
	gaps  int             // times at which it knew none
}

func runClaims(t *testing.T, tokens tokens) *claimsRun {
	t.Helper()
	r := &claimsRun{}
	start := time.Now()
	r.claims = newClaims(tokens, slog.New(slog.NewTextHandler(&r.log, nil)), func(_ context.Context, _ string, tok token) error {
		time.Sleep(time.Second) // the round trip
		r.mu.Lock()
		defer r.mu.Unlock()
		r.puts = append(r.puts, time.Since(start).Round(time.Second))
		if !r.valid.IsZero() && time.Now().After(r.valid) {
			r.gaps++
		}
		r.valid = tok.expires
		return nil
	})
	life, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	r.spawn = func(f func(context.Context)) { wg.Go(func() { f(life) }) }
	r.spawn(r.keep)
	t.Cleanup(func() { end(); wg.Wait() })
	return r
}

func TestClaimsAreRenewed(t *testing.T) {
	for _, c := range []struct {
		name   string
		tokens *fakeTokens
		least  int // put-tokens in 24 hours
		most   int
	}{
		{"shared access key", &fakeTokens{life: sasLife}, 27, 30},
		{"entra", &fakeTokens{life: time.Hour, reuse: 5 * time.Minute}, 24, 24 * 14},
		{"short life", &fakeTokens{life: 4 * time.Minute}, 24 * 15, 24 * 21},
		{"absurdly short life", &fakeTokens{life: 40 * time.Second}, 24 * 60, 24 * 60 * 60},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := runClaims(t, c.tokens)
				if err := r.ensure(t.Context(), "amqps://ns/hub", r.spawn); err != nil {
					t.Fatal(err)
				}
				time.Sleep(24 * time.Hour)
				synctest.Wait()
				r.mu.Lock()
				defer r.mu.Unlock()
				if n := len(r.puts); n < c.least || n > c.most || r.gaps > 0 {
					t.Errorf("%d put-tokens in a day, want %d to %d; %d times without a valid token", n, c.least, c.most, r.gaps)
				}
				if time.Now().After(r.valid) {
					t.Error("no valid token at the end of the day")
				}
			})
		})
	}
}

func TestClaimsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := runClaims(t, &fakeTokens{life: time.Hour})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if err := r.ensure(t.Context(), "amqps://ns/a", r.spawn); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			if err := r.ensure(t.Context(), "amqps://ns/b", r.spawn); err != nil {
				t.Error(err)
			}
		})
		// Somebody who gives up takes nothing away from the others.
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := r.ensure(ctx, "amqps://ns/a", r.spawn); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		wg.Wait()
		if len(r.puts) != 2 {
			t.Errorf("%d put-tokens for two audiences", len(r.puts))
		}
	})
}

func TestClaimsSurviveFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := &fakeTokens{life: time.Hour}
		r := runClaims(t, tokens)
		if err := r.ensure(t.Context(), "a", r.spawn); err != nil {
			t.Fatal(err)
		}
		tokens.fail(errors.New("the directory is down"))
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		// Told once, not once in half a minute; and the next who asks is told again.
		if n := strings.Count(r.log.String(), "the directory is down"); n != 1 {
			t.Errorf("told %d times:\n%s", n, r.log.String())
		}
		if err := r.ensure(t.Context(), "a", r.spawn); err == nil {
			t.Error("an expired token counts as valid")
		}
		tokens.fail(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if time.Now().After(r.valid) {
			t.Error("not renewed when the directory was back")
		}
	})
}

func TestFixedSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until := time.Now().Add(time.Hour)
		fixed := newSASFixed("SharedAccessSignature sr=x&sig=secret&se=" + itoa(until.Unix()) + "&skn=k")
		r := runClaims(t, fixed)
		if err := r.ensure(t.Context(), "a", r.spawn); err != nil {
			t.Fatal(err)
		}
		time.Sleep(59 * time.Minute)
		if err := r.ensure(t.Context(), "a", r.spawn); err != nil || len(r.puts) != 1 {
			t.Errorf("%d put-tokens of one that cannot be renewed, %v", len(r.puts), err)
		}
		time.Sleep(2 * time.Minute)
		err := r.ensure(t.Context(), "a", r.spawn)
		if hubferry.KindOf(err) != hubferry.Unauthorized || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v", err)
		}
	})
}

func TestPacer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pacer{}
		time.Sleep(time.Minute)
		start := time.Now()
		const n = 400
		var at []time.Duration
		for range n {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(start))
		}
		const allowed = 50 // by the service, in any second
		for i := allowed; i < n; i++ {
			if at[i]-at[i-allowed] < time.Second {
				t.Fatalf("%d reads between %v and %v", allowed+1, at[i-allowed], at[i])
			}
		}
		least := time.Second * (n - readBurst) / readsPerSecond
		if took := time.Since(start); took < least-time.Second || took > least+time.Second {
			t.Errorf("%d reads in %v, want about %v", n, took, least)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		spawn := func(f func(context.Context)) { wg.Go(func() { f(context.WithoutCancel(t.Context())) }) }
		defer wg.Wait()
		var mu sync.Mutex
		runs := 0
		run := func(context.Context) (time.Time, error) {
			mu.Lock()
			runs++
			mu.Unlock()
			began := time.Now()
			time.Sleep(time.Second)
			return began, nil
		}
		var joined, fresh flight[time.Time]
		var callers sync.WaitGroup
		for i := range 20 {
			callers.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				if _, err := joined.join(t.Context(), spawn, run); err != nil {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		if runs != 1 {
			t.Errorf("%d runs for callers who join", runs)
		}
		runs = 0
		for i := range 20 {
			callers.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				asked := time.Now()
				began, err := fresh.fresh(t.Context(), spawn, run)
				if err != nil || began.Before(asked) {
					t.Errorf("asked at %v, the run began at %v, %v", asked, began, err)
				}
			})
		}
		callers.Wait()
		if runs != 2 {
			t.Errorf("%d runs for callers who want it fresh, want 2", runs)
		}
	})
}

func TestCredit(t *testing.T) {
	var c credit
	c.init(500)
	const share = 8 << 20
	issued := int64(c.more(share))
	if issued != share/firstSize {
		t.Errorf("%d events to begin with", issued)
	}
	// Small events: the window grows to the prefetch.
	for range 2000 {
		c.received(200, 200)
		issued += int64(c.more(share)) - 1
		if issued != c.outstanding || c.outstanding > 500 {
			t.Fatalf("outstanding %d, issued %d", c.outstanding, issued)
		}
	}
	if c.outstanding < 250 {
		t.Errorf("only %d events on their way", c.outstanding)
	}
	// Large events: it shrinks to what fits, as fast as they come in.
	for range 500 {
		c.received(1<<20, 1<<20)
		c.more(share)
	}
	if c.outstanding*(1<<20) > share {
		t.Errorf("%d events of a megabyte on their way, with %d bytes", c.outstanding, share)
	}
	// However little there is, reading goes on.
	for range 100 {
		c.received(1<<20, 1<<20)
		c.more(1)
	}
	if c.outstanding < 1 {
		t.Error("reading has stopped")
	}
}

func TestBudget(t *testing.T) {
	b := newBudget(120)
	if b.reader() != 60 || b.writer() != 20 {
		t.Errorf("alone: %d, %d", b.reader(), b.writer())
	}
	b.add(3, 2)
	if b.reader() != 20 || b.writer() != 10 {
		t.Errorf("three readers and two writers: %d, %d", b.reader(), b.writer())
	}
	if newBudget(0).total != defaultBudget {
		t.Error("no default")
	}
}
