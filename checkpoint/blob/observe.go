package blob

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/hubferry/hubferry"
)

// version has requests speak another version of the interface than azblob's own. It
// comes before the request is signed.
type version string

// Do implements policy.Policy.
func (v version) Do(req *policy.Request) (*http.Response, error) {
	// azblob's own spelling of the key: another one would make a second header.
	req.Raw().Header["x-ms-version"] = []string{string(v)}
	return req.Next()
}

// observer sees every try of every request, and the answers.
type observer struct {
	gate  *gate  // nil for the secondary host, which is not busy because the other one is
	clock *clock // nil for the secondary host, whose clock is not the one that counts
	trace func(line string)
}

// Do implements policy.Policy.
func (o *observer) Do(req *policy.Request) (*http.Response, error) {
	if o.gate != nil {
		if err := o.gate.wait(req.Raw().Context()); err != nil {
			return nil, err
		}
	}
	began := time.Now()
	resp, err := req.Next()
	if o.trace != nil {
		o.trace(line(req.Raw(), resp, err, time.Since(began)))
	}
	if err != nil {
		return nil, err
	}
	if o.clock != nil && resp.Header.Get("X-Ms-Request-Id") != "" {
		o.clock.note(resp.Header, time.Now())
	}
	busy := resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests
	if o.gate != nil && busy {
		o.gate.shut(cmp.Or(retryAfter(resp.Header), defaultPause))
	}
	return resp, nil
}

// traceLine returns where requests are to be told of, or nil.
func traceLine(o *Options, env hubferry.Env) func(line string) {
	switch {
	case env.Trace != nil:
		return env.Trace
	case o.Trace:
		return func(line string) { env.Log.Info("request", slog.String("request", line)) }
	default:
		return nil
	}
}

// line tells of one request: method, path, the query without a signature, what matters
// of the headers, and the answer.
func line(req *http.Request, resp *http.Response, err error, took time.Duration) string {
	var b strings.Builder
	b.WriteString(req.Method + " " + req.URL.EscapedPath())
	query := req.URL.Query()
	for _, name := range []string{"restype", "comp", "prefix", "delimiter", "include", "marker"} {
		if v := query.Get(name); v != "" {
			fmt.Fprintf(&b, " %s=%s", name, v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(req.Header)) {
		switch lower := strings.ToLower(name); {
		case lower == "if-match", lower == "if-none-match", lower == "x-ms-version", strings.HasPrefix(lower, "x-ms-meta-"):
			fmt.Fprintf(&b, " %s: %s", lower, strings.Join(req.Header[name], ","))
		}
	}
	if err != nil {
		fmt.Fprintf(&b, " -> %v", cause(err))
	} else {
		fmt.Fprintf(&b, " -> %d", resp.StatusCode)
		if code := resp.Header.Get("X-Ms-Error-Code"); code != "" {
			b.WriteString(" " + code)
		}
		if tag := resp.Header.Get("Etag"); tag != "" {
			b.WriteString(" " + tag)
		}
	}
	fmt.Fprintf(&b, " in %s", took.Round(time.Microsecond))
	return b.String()
}

// clock is the service's, as its answers tell it.
type clock struct {
	mu   sync.Mutex
	time time.Time
	at   time.Time // monotonic, not before the answer was made
}

// note takes the later one of the answer's date and that of what was written.
func (c *clock) note(h http.Header, at time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	if written, err := http.ParseTime(h.Get("Last-Modified")); err == nil && written.After(date) {
		date = written
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.Before(at) {
		c.time, c.at = date, at
	}
}

// now returns the service's time, or false if it has not answered yet.
func (c *clock) now() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() {
		return time.Time{}, false
	}
	return c.time.Add(time.Since(c.at)).UTC(), true
}

// gate holds requests back while the service asks to.
type gate struct {
	mu    sync.Mutex
	until time.Time
}

// maxPause bounds what a service may ask for, so that a lease has a chance, and
// defaultPause is for one that does not say how long it is busy.
const (
	maxPause     = 20 * time.Second
	defaultPause = 500 * time.Millisecond
)

// shut closes the gate for a time.
func (g *gate) shut(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until := time.Now().Add(min(d, maxPause)); until.After(g.until) {
		g.until = until
	}
}

// busyError says that the service has asked for a pause that is longer than the caller
// can wait. Nothing was sent.
type busyError struct{ left time.Duration }

func (e *busyError) Error() string {
	return "the service is busy and asked for a pause of another " + e.left.Round(time.Millisecond).String()
}

// NonRetriable tells azcore's retry policy that the same is true for its next try.
func (e *busyError) NonRetriable() {}

// wait returns when the gate is open.
func (g *gate) wait(ctx context.Context) error {
	for {
		g.mu.Lock()
		left := time.Until(g.until)
		g.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= left {
			return &busyError{left}
		}
		t := time.NewTimer(left)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// retryAfter returns the pause that a busy service asks for: 0 if it names none.
func retryAfter(h http.Header) time.Duration {
	for name, unit := range map[string]time.Duration{"Retry-After-Ms": time.Millisecond, "X-Ms-Retry-After-Ms": time.Millisecond, "Retry-After": time.Second} {
		if n, err := strconv.Atoi(h.Get(name)); err == nil && n > 0 {
			return time.Duration(n) * unit
		}
	}
	if at, err := http.ParseTime(h.Get("Retry-After")); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
