package engine

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		asked := 0
		full := func() { asked++ }
		take := func(ctx context.Context, n int64) chan error {
			done := make(chan error, 1)
			go func() { done <- b.acquire(ctx, n, full) }()
			synctest.Wait()
			return done
		}
		state := func(done chan error) string {
			synctest.Wait()
			select {
			case err := <-done:
				if err != nil {
					return "failed"
				}
				return "taken"
			default:
				return "waits"
			}
		}
		want := func(what string, done chan error, s string) {
			t.Helper()
			if got := state(done); got != s {
				t.Errorf("%s: %s, want %s", what, got, s)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		want("60 of 100", take(ctx, 60), "taken")
		want("30 more", take(ctx, 30), "taken")
		if asked != 0 || b.scarce() {
			t.Errorf("asked %d times, scarce %v, want nothing of it while there is room", asked, b.scarce())
		}
		large := take(ctx, 500)
		small := take(t.Context(), 5)
		want("an oversized request beside others", large, "waits")
		want("a small one behind it", small, "waits")
		b.release(60)
		want("the oversized one while 30 are held", large, "waits")
		b.release(30)
		want("the oversized one alone", large, "taken")
		want("the small one beside the oversized one", small, "waits")
		b.release(500)
		want("the small one after it", small, "taken")

		large = take(ctx, 500)
		small = take(t.Context(), 10)
		cancel()
		want("a request that is given up", large, "failed")
		want("who waited behind it", small, "taken")
		if b.used != 15 || b.scarce() || asked != 4 {
			t.Errorf("used %d, scarce %v, asked %d times", b.used, b.scarce(), asked)
		}
		if err := b.acquire(ctx, 1000, full); !errors.Is(err, context.Canceled) {
			t.Errorf("after the end: %v", err)
		}
	})
}
