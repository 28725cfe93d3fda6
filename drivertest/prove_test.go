package drivertest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/drivertest"
)

// recorder is a testing.TB that notes failures in the place of failing.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
	skipped  bool
	cleanups []func()
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, text)
}

func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprint(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }
func (r *recorder) Fail()                             { r.fail("failed") }
func (r *recorder) Fatal(args ...any)                 { r.fail(fmt.Sprint(args...)); runtime.Goexit() }
func (r *recorder) FailNow()                          { r.fail("failed"); runtime.Goexit() }
func (r *recorder) Log(...any)                        {}
func (r *recorder) Logf(string, ...any)               {}
func (r *recorder) Helper()                           {}
func (r *recorder) Cleanup(f func())                  { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Skip(...any)                       { r.skipped = true; runtime.Goexit() }
func (r *recorder) Fatalf(format string, args ...any) {
	r.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.failures) > 0
}

// record runs one case and returns what it found wrong.
func record(t *testing.T, c drivertest.Case, newHarness func(t testing.TB) *drivertest.Harness) []string {
	t.Helper()
	r := &recorder{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, f := range slices.Backward(r.cleanups) {
				f()
			}
		}()
		c.Run(r, newHarness)
	}()
	<-done
	if r.skipped {
		t.Fatalf("case %q was skipped", c.Name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures
}

// sabotage is one broken promise and the case that must notice it.
type sabotage struct {
	name  string
	by    string
	shape string // of the shapes in TestConformance; default "log"
	says  string // part of the failure, where another cause is likely
	b     broken
}

// TestTheSuiteNotices breaks one promise after the other and runs the case that stands
// for it.
func TestTheSuiteNotices(t *testing.T) {
	over := make(chan struct{})
	t.Cleanup(func() { close(over) })
	cases := map[string]drivertest.Case{}
	for _, c := range drivertest.Cases() {
		cases[c.Name] = c
	}
	for _, sab := range sabotages(over) {
		t.Run(sab.name, func(t *testing.T) {
			c, ok := cases[sab.by]
			if !ok {
				t.Fatalf("there is no case %q", sab.by)
			}
			if sab.shape == "" {
				sab.shape = "log"
			}
			i := slices.IndexFunc(shapes, func(s shapeOf) bool { return s.name == sab.shape })
			good := harness(shapes[i].shape, shapes[i].hub)
			failures := record(t, c, func(t testing.TB) *drivertest.Harness {
				h := good(t)
				h.Driver = sab.b.driver(h.Driver)
				h.Patience = 150 * time.Millisecond
				return h
			})
			if len(failures) == 0 {
				t.Fatalf("case %q does not notice", sab.by)
			}
			if all := strings.Join(failures, "\n"); !strings.Contains(all, sab.says) {
				t.Errorf("case %q says\n%s\nwithout %q", sab.by, all, sab.says)
			}
		})
	}
}

// TestEveryCaseCanFail makes sure that no case of the suite is without a sabotage.
func TestEveryCaseCanFail(t *testing.T) {
	proven := map[string]bool{}
	for _, sab := range sabotages(nil) {
		proven[sab.by] = true
	}
	for _, c := range drivertest.Cases() {
		if !proven[c.Name] {
			t.Errorf("no sabotage shows that case %q can fail", c.Name)
		}
	}
}

func sabotages(over chan struct{}) []sabotage {
	all := slices.Concat(fidelitySabotages(), readSabotages(over), positionSabotages(), writeSabotages(over), lifeSabotages(over))
	return all
}

// textOf turns every value into a text, as a driver does that knows strings only.
func textOf(_ *hubferry.Event, c *hubferry.Content) {
	for i := range c.Properties {
		c.Properties[i].Value = hubferry.String(c.Properties[i].Value.String())
	}
}

func noKey(e *hubferry.Event, _ *hubferry.Content) { e.Key = hubferry.Key{} }

func noEmptyKey(e *hubferry.Event, _ *hubferry.Content) {
	if len(e.Key.Bytes) == 0 {
		e.Key = hubferry.Key{}
	}
}

func utf8Body(_ *hubferry.Event, c *hubferry.Content) {
	c.Body = []byte(strings.ToValidUTF8(string(c.Body), "?"))
}

func lastNames(_ *hubferry.Event, c *hubferry.Content) {
	for _, p := range slices.Clone(c.Properties) {
		c.Properties.Set(p.Name, p.Value)
	}
}

func inventID(_ *hubferry.Event, c *hubferry.Content) {
	if _, ok := c.Message.Get(hubferry.MessageID); !ok {
		c.Message.Set(hubferry.MessageID, hubferry.String("invented"))
	}
}

func emptyForNull(_ *hubferry.Event, c *hubferry.Content) {
	if c.BodyKind == hubferry.BodyNull {
		c.BodyKind = hubferry.BodyData
	}
}

func firstSection(_ *hubferry.Event, c *hubferry.Content) {
	if c.BodyKind == hubferry.BodyAMQP && bytes.Count(c.Body, []byte{0x00, 0x53}) > 1 {
		c.Body = c.Body[:bytes.LastIndex(c.Body, []byte{0x00, 0x53})]
	}
}

func fidelitySabotages() []sabotage {
	spoilings := []struct {
		name, by string
		change   func(e *hubferry.Event, c *hubferry.Content)
	}{
		{"bodies become UTF-8", "bodies", utf8Body},
		{"keys are lost", "keys", noKey},
		{"an empty key is no key", "empty key", noEmptyKey},
		{"types become text", "property types", textOf},
		{"names do not repeat", "repeated names", lastNames},
		{"a message id is invented", "fields", inventID},
		{"annotations are lost", "fields", func(_ *hubferry.Event, c *hubferry.Content) { c.Annotations = nil }},
		{"a null body becomes an empty one", "null body", emptyForNull},
		{"only the first body section is kept", "AMQP bodies", firstSection},
	}
	var all []sabotage
	for _, s := range spoilings {
		all = append(all,
			sabotage{name: "read: " + s.name, by: "read/" + s.by, b: broken{read: spoilEvents(s.change)}},
			sabotage{name: "write: " + s.name, by: "write/" + s.by, b: broken{write: spoilRun(s.change)}})
	}
	return append(all,
		sabotage{name: "both sides agree on a mistake", by: "write/bodies", b: broken{
			write: spoilRun(func(_ *hubferry.Event, c *hubferry.Content) { c.Body = append([]byte("!"), c.Body...) }),
			read: spoilEvents(func(_ *hubferry.Event, c *hubferry.Content) {
				if len(c.Body) > 0 {
					c.Body = c.Body[1:]
				}
			}),
		}},
		sabotage{name: "encoded events lose their types", by: "write/encoded events", b: broken{write: spoilRun(textOf)}},
		sabotage{name: "an event that cannot be decoded is skipped", by: "write/undecodable event", b: broken{
			write: func(ctx context.Context, w *writer, run hubferry.Run) (hubferry.Receipt, error) {
				n := len(run.Events)
				run.Events = slices.DeleteFunc(slices.Clone(run.Events), func(e *hubferry.Event) bool { _, err := e.Content(); return err != nil })
				r, err := w.Writer.Write(ctx, run)
				r.N = n
				return r, err
			},
		}},
		sabotage{name: "no provenance", by: "write/provenance", b: broken{trail: func(hubferry.Trail) hubferry.Trail {
			return hubferry.Trail{Mode: hubferry.TrailNone}
		}}},
		sabotage{name: "the helper's form is ignored", by: "write/provenance", b: broken{trail: func(t hubferry.Trail) hubferry.Trail {
			t.HelperForm = false
			return t
		}}},
		sabotage{name: "earlier hops are forgotten", by: "write/provenance of earlier hops", b: broken{
			write: spoilRun(func(_ *hubferry.Event, c *hubferry.Content) {
				c.Properties = slices.DeleteFunc(c.Properties, func(p hubferry.Property) bool { return strings.HasPrefix(p.Name, "repl-") })
			}),
		}},
		sabotage{name: "properties are written in lower case", by: "round trip", b: broken{
			write: spoilRun(func(_ *hubferry.Event, c *hubferry.Content) {
				for i := range c.Properties {
					c.Properties[i].Name = strings.ToLower(c.Properties[i].Name)
				}
			}),
		}},
	)
}

func readSabotages(over chan struct{}) []sabotage {
	type readFunc = func(ctx context.Context, r *reader, b *hubferry.Batch) error
	after := func(f func(r *reader, b *hubferry.Batch)) readFunc {
		return func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			err := r.Reader.Read(ctx, b)
			if err == nil {
				f(r, b)
			}
			return err
		}
	}
	ignoresCancel := func(ctx context.Context, r *reader, b *hubferry.Batch) error {
		free, cancel := context.WithCancel(context.WithoutCancel(ctx))
		defer cancel()
		context.AfterFunc(ctx, func() { hang(over); cancel() })
		return r.Reader.Read(free, b)
	}
	reuses := after(func(r *reader, b *hubferry.Batch) {
		if r.buf == nil {
			r.buf = make([]byte, 1<<20)
		}
		buf := r.buf
		for i := range b.Events {
			spoil(&b.Events[i], func(_ *hubferry.Event, c *hubferry.Content) {
				n := copy(buf, c.Body)
				c.Body, buf = buf[:n:n], buf[n:]
			})
		}
	})
	return []sabotage{
		{name: "the last event of a batch is dropped", by: "read/order", b: broken{read: after(func(r *reader, b *hubferry.Batch) {
			if n := len(b.Events); n > 1 {
				b.Events = b.Events[:n-1]
			}
		})}},
		{name: "events are swapped", by: "read/order", b: broken{read: after(func(_ *reader, b *hubferry.Batch) {
			if n := len(b.Events); n > 2 {
				b.Events[0], b.Events[1] = b.Events[1], b.Events[0]
			}
		})}},
		{name: "event bytes are used again", by: "read/order", says: "changed after it was delivered", b: broken{read: reuses}},
		{name: "each event has a place of its own", by: "read/order", b: broken{read: after(func(_ *reader, b *hubferry.Batch) {
			for i := range b.Events {
				p := *b.Events[i].Origin
				b.Events[i].Origin = &p
			}
		})}},
		{name: "no origin", by: "read/bodies", b: broken{read: after(func(_ *reader, b *hubferry.Batch) {
			for i := range b.Events {
				b.Events[i].Origin = nil
			}
		})}},
		{name: "no time", by: "read/bodies", b: broken{read: after(func(_ *reader, b *hubferry.Batch) {
			for i := range b.Events {
				b.Events[i].Time = time.Time{}
			}
		})}},
		{name: "the limit of events is ignored", by: "read/limits", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			limit := b.Limit
			b.Limit.Events = 1000
			err := r.Reader.Read(ctx, b)
			b.Limit = limit
			return err
		}}},
		{name: "the limit of bytes is ignored", by: "read/limits", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			limit := b.Limit
			b.Limit.Bytes = 1 << 30
			err := r.Reader.Read(ctx, b)
			b.Limit = limit
			return err
		}}},
		{name: "Next lags", by: "read/limits", b: broken{read: after(func(_ *reader, b *hubferry.Batch) { b.Next.Sequence-- })}},
		{name: "Next runs ahead", by: "read/limits", b: broken{read: after(func(_ *reader, b *hubferry.Batch) { b.Next.Sequence++ })}},
		{name: "delivers twice after Next", by: "read/two readers", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			if r.n%2 == 0 && len(r.saved) > 0 {
				b.Events = append(b.Events[:0], r.saved[len(r.saved)-1])
				b.Next = b.Events[0].Pos
				r.saved = nil
				return nil
			}
			err := r.Reader.Read(ctx, b)
			r.saved = slices.Clone(b.Events)
			return err
		}}},
		{name: "waits for a full batch", by: "read/what is there", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			var all []hubferry.Event
			for limit := b.Limit.Events; len(all) < limit; b.Limit.Events = limit - len(all) {
				if err := r.Reader.Read(ctx, b); err != nil {
					return err
				}
				all = append(all, b.Events...)
			}
			b.Events = all
			return nil
		}}},
		{name: "Next stays at the last event", by: "read/what is no event", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			for {
				if err := r.Reader.Read(ctx, b); err != nil {
					return err
				}
				if n := len(b.Events); n > 0 {
					b.Next = b.Events[n-1].Pos
					return nil
				}
			}
		}}},
		{name: "does not wait for events", by: "read/waits", b: broken{read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			return r.Reader.Read(ctx, b)
		}}},
		{name: "ignores its context", by: "read/cancel", b: broken{read: ignoresCancel}},
		{name: "Close does not end Read", by: "read/close ends it", b: broken{
			closeReader: func(context.Context, *reader) error { return nil },
			closeSource: func(context.Context, *source) error { return nil },
		}},
		{name: "the source's Close leaves its readers", by: "read/close ends it", b: broken{
			closeSource: func(context.Context, *source) error { return nil },
		}},
		{name: "readers are not ended by others", by: "read/stolen", b: broken{
			open: func(after hubferry.Position, _ int64) (hubferry.Position, int64) { return after, hubferry.NoEpoch },
		}},
		{name: "a stolen partition is a transient error", by: "read/stolen", b: broken{
			read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
				err := r.Reader.Read(ctx, b)
				if hubferry.KindOf(err) == hubferry.Lost {
					return &hubferry.Error{Kind: hubferry.Transient, Op: "read", Err: err}
				}
				return err
			},
		}},
		{name: "events are lost when the connection is", by: "read/cut", b: broken{
			read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
				if r.n == 1 && b.Next.Sequence > 10 {
					if err := r.Reader.Read(ctx, b); err != nil {
						return err
					}
				}
				return r.Reader.Read(ctx, b)
			},
		}},
		{name: "a cut connection is fatal", by: "read/cut", b: broken{
			read: func(ctx context.Context, r *reader, b *hubferry.Batch) error {
				if err := r.Reader.Read(ctx, b); err != nil {
					return &hubferry.Error{Kind: hubferry.Fatal, Op: "read", Err: err}
				}
				return nil
			},
		}},
		{name: "the tail does not end", by: "tail", b: broken{tail: func(r hubferry.Reader) hubferry.Reader {
			return &endless{r}
		}}},
		{name: "the tail skips its last event", by: "tail", b: broken{tail: func(r hubferry.Reader) hubferry.Reader {
			return &short{r}
		}}},
		{name: "a tailer's ends lie behind", by: "tail", b: broken{ends: func(infos []hubferry.PartitionInfo) []hubferry.PartitionInfo {
			infos[0].End.Sequence--
			return infos
		}}},
		{name: "settling does nothing", by: "settle", shape: "queue", b: broken{
			settle: func(_ context.Context, _ *reader, s []hubferry.Settlement) error {
				for i := range s {
					s[i].Outcome = hubferry.Release
				}
				return nil
			},
		}},
		{name: "Close settles", by: "settle/close settles nothing", shape: "queue", b: broken{
			read: after(func(r *reader, b *hubferry.Batch) { r.saved = append(r.saved, b.Events...) }),
			closeReader: func(ctx context.Context, r *reader) error {
				settler, ok := r.Reader.(hubferry.Settler)
				for i := range r.saved {
					if ok {
						_ = settler.Settle(ctx, []hubferry.Settlement{{Position: r.saved[i].Pos}})
					}
				}
				return r.Reader.Close(ctx)
			},
		}},
	}
}

// endless is a tail that waits for more at its end.
type endless struct{ hubferry.Reader }

func (e *endless) Read(ctx context.Context, b *hubferry.Batch) error {
	err := e.Reader.Read(ctx, b)
	if errors.Is(err, hubferry.ErrEnd) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// short is a tail that leaves the last event of each batch out.
type short struct{ hubferry.Reader }

func (s *short) Read(ctx context.Context, b *hubferry.Batch) error {
	err := s.Reader.Read(ctx, b)
	if n := len(b.Events); err == nil && n > 0 {
		b.Events = b.Events[:n-1]
	}
	return err
}
