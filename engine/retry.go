package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/hubferry/hubferry"
)

// Retry says how an operation that failed is repeated: three quick tries for blips,
// then exponentially from Min to Max for outages, as Microsoft's federation guidance
// has it.
type Retry struct {
	Min, Max time.Duration // defaults 5 s and 5 min
	Attempts int           // 0 means for ever
}

func (r Retry) withDefaults() Retry {
	setDefault(&r.Min, 5*time.Second)
	setDefault(&r.Max, 5*time.Minute)
	r.Max = max(r.Max, r.Min)
	return r
}

// blips are the pauses before the first tries: most failures are a connection that was
// cut and works again at once.
var blips = [...]time.Duration{0, 200 * time.Millisecond, time.Second}

// delay returns how long to wait before attempt n, the first repeat being 1, and whether
// there is to be one at all.
func (r Retry) delay(n int, err error) (time.Duration, bool) {
	if r.Attempts > 0 && n > r.Attempts {
		return 0, false
	}
	var d time.Duration
	if n <= len(blips) {
		d = blips[n-1]
	} else {
		d = r.Max
		if shift := n - len(blips) - 1; shift < 30 && r.Min<<shift > 0 {
			d = min(r.Min<<shift, r.Max)
		}
		// Jitter keeps a fleet that failed together from returning together.
		d += time.Duration((rand.Float64() - 0.5) * 0.4 * float64(d))
	}
	if e, ok := errors.AsType[*hubferry.Error](err); ok && e.Kind == hubferry.Throttled {
		d = max(d, e.After, time.Second)
	}
	return d, true
}

// gaveUp is the error of what was tried as often as the task allows. It is Fatal, because
// beginning anew would be one more attempt.
func gaveUp(attempts int, err error) error {
	return &hubferry.Error{
		Kind: hubferry.Fatal, Op: fmt.Sprintf("gave up after %d attempts", attempts), Err: err,
		Hint: "resume or restart the task to try again",
	}
}

// retryLevel is the level at which a repeat after d is logged: blips are nobody's business,
// outages are.
func retryLevel(d time.Duration) slog.Level {
	if d <= blips[len(blips)-1] {
		return slog.LevelDebug
	}
	return slog.LevelWarn
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
