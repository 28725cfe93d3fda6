package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
)

// suite is what one case works with.
type suite struct {
	t      testing.TB
	h      *Harness
	caps   *hubferry.Caps
	before map[string]bool // goroutines that are not the driver's
	closes []func()
	kept   keeper

	mu    sync.Mutex
	texts []string // of errors
	logs  syncBuffer
}

// syncBuffer collects log lines from any goroutine.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func newSuite(t testing.TB, h *Harness) *suite {
	t.Helper()
	s := &suite{t: t, h: h, caps: h.caps(), before: goroutines(nil)}
	if h.Env.Log == nil {
		h.Env.Log = slog.New(slog.NewTextHandler(&s.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	if h.Env.Instance == "" {
		h.Env.Instance = "drivertest"
	}
	if h.Env.Budget == 0 {
		h.Env.Budget = 64 << 20
	}
	return s
}

// ctx returns a context that outlives the test, so that closing works.
func (s *suite) ctx() context.Context { return context.WithoutCancel(s.t.Context()) }

// finish closes everything, newest first, and looks at what is left.
func (s *suite) finish() {
	s.t.Helper()
	for _, closeIt := range slices.Backward(s.closes) {
		closeIt()
	}
	s.kept.check(s.t)
	left := s.leaked()
	for _, stack := range left {
		s.t.Errorf("a goroutine is left after everything was closed:\n%s", stack)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, secret := range s.h.Secrets {
		for _, text := range s.texts {
			if strings.Contains(text, secret) {
				s.t.Errorf("an error shows a secret (INV-8): %s", strings.ReplaceAll(text, secret, "<the secret>"))
			}
		}
		if strings.Contains(s.logs.String(), secret) {
			s.t.Error("a log line shows a secret (INV-8)")
		}
	}
}

// do runs one call of the driver, bounded by the harness's patience, and notes its error.
func (s *suite) do(what string, call func(ctx context.Context) error) error {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx(), s.h.patience())
	defer cancel()
	return s.doWith(ctx, what, call)
}

// doWith is do with a context of the caller, who ends it.
func (s *suite) doWith(ctx context.Context, what string, call func(ctx context.Context) error) error {
	s.t.Helper()
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	select {
	case err := <-done:
		s.note(what, err)
		return err
	case <-ctx.Done():
	}
	timer := time.NewTimer(max(s.h.patience()/2, 200*time.Millisecond))
	defer timer.Stop()
	select {
	case err := <-done:
		s.note(what, err)
		return err
	case <-timer.C:
		s.t.Fatalf("%s does not end with its context", what)
		return nil
	}
}

// must is do for a call that has to succeed.
func (s *suite) must(what string, call func(ctx context.Context) error) {
	s.t.Helper()
	if err := s.do(what, call); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// note remembers the text of an error, in all the ways it can be printed.
func (s *suite) note(what string, err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, fmt.Sprintf("%s: %v %+v %#v", what, err, err, err))
}

// wants checks the kind of an error.
func (s *suite) wants(what string, err error, kinds ...hubferry.ErrorKind) {
	s.t.Helper()
	if err == nil {
		s.t.Errorf("%s: no error, want one of kind %v", what, kinds)
		return
	}
	classified, ok := errors.AsType[*hubferry.Error](err)
	for _, k := range kinds {
		if ok && classified.Kind == k {
			return
		}
	}
	s.t.Errorf("%s: %v; it is of kind %v, want %v", what, err, hubferry.KindOf(err), kinds)
}

// closed checks that an error is ErrClosed.
func (s *suite) closed(what string, err error) {
	s.t.Helper()
	if !errors.Is(err, hubferry.ErrClosed) {
		s.t.Errorf("%s after Close: %v, want ErrClosed", what, err)
	}
}

// close has something closed at the end of the case, at the latest.
func (s *suite) close(what string, c interface {
	Close(ctx context.Context) error
},
) {
	s.closes = append(s.closes, func() {
		if err := s.do("close "+what, c.Close); err != nil {
			s.t.Errorf("close %s: %v", what, err)
		}
	})
}

func (s *suite) connect(o hubferry.Options) hubferry.Connection {
	s.t.Helper()
	var c hubferry.Connection
	s.must("connect", func(ctx context.Context) (err error) {
		c, err = s.h.Driver.Connect(ctx, o, s.h.Env)
		return err
	})
	s.close("connection", c)
	return c
}

func (s *suite) source() hubferry.Source {
	s.t.Helper()
	return s.sourceOf(s.connect(s.h.Connection), s.h.Hub)
}

func (s *suite) sourceOf(c hubferry.Connection, hub string) hubferry.Source {
	s.t.Helper()
	var src hubferry.Source
	s.must("make a source", func(ctx context.Context) (err error) {
		src, err = c.Source(ctx, hub, s.h.Source)
		return err
	})
	s.close("source", src)
	return src
}

func (s *suite) target() hubferry.Target {
	s.t.Helper()
	return s.targetOf(s.connect(s.h.Connection))
}

func (s *suite) targetOf(c hubferry.Connection) hubferry.Target {
	s.t.Helper()
	var target hubferry.Target
	s.must("make a target", func(ctx context.Context) (err error) {
		target, err = c.Target(ctx, s.h.Target)
		return err
	})
	s.close("target", target)
	return target
}

// writer opens a writer that adds no provenance.
func (s *suite) writer() hubferry.Writer {
	s.t.Helper()
	return s.writerOf(s.target(), hubferry.Trail{Mode: hubferry.TrailNone})
}

func (s *suite) writerOf(target hubferry.Target, trail hubferry.Trail) hubferry.Writer {
	s.t.Helper()
	var w hubferry.Writer
	s.must("open a writer", func(ctx context.Context) (err error) {
		w, err = target.Open(ctx, s.h.Hub, trail)
		return err
	})
	s.close("writer", w)
	return w
}

// write writes all of a run.
func (s *suite) write(w hubferry.Writer, partition int, events []hubferry.Event) hubferry.Receipt {
	s.t.Helper()
	receipt, err := s.tryWrite(w, partition, events)
	if err != nil || receipt.N != len(events) {
		s.t.Fatalf("write %d events: %d are durable, %v", len(events), receipt.N, err)
	}
	return receipt
}

// tryWrite writes a run once, and overwrites the slice afterwards: it is the engine's
// again.
func (s *suite) tryWrite(w hubferry.Writer, partition int, events []hubferry.Event) (hubferry.Receipt, error) {
	s.t.Helper()
	run := hubferry.Run{Partition: partition, Events: pointers(events)}
	var receipt hubferry.Receipt
	err := s.do("write", func(ctx context.Context) (err error) {
		receipt, err = w.Write(ctx, run)
		return err
	})
	junk := hubferry.NewEvent(&hubferry.Content{Body: []byte("the run's slice was kept")})
	for i := range run.Events {
		run.Events[i] = &junk
	}
	if receipt.N < 0 || receipt.N > len(events) || (err == nil && receipt.N != len(events)) {
		s.t.Fatalf("write %d events: the receipt says %d, the error %v", len(events), receipt.N, err)
	}
	return receipt, err
}

func pointers(events []hubferry.Event) []*hubferry.Event {
	run := make([]*hubferry.Event, len(events))
	for i := range events {
		run[i] = &events[i]
	}
	return run
}

// places returns the source's partitions.
func (s *suite) places(src hubferry.Source) []hubferry.PartitionInfo {
	s.t.Helper()
	var infos []hubferry.PartitionInfo
	s.must("list partitions", func(ctx context.Context) (err error) {
		infos, err = src.Partitions(ctx)
		return err
	})
	if len(infos) == 0 {
		s.t.Fatal("the source has no partitions")
	}
	if p, ok := src.(hubferry.Piecemeal); ok {
		s.piecemeal(p, infos)
	}
	return infos
}

// piecemeal wants the same of the partitions one by one as of all together.
func (s *suite) piecemeal(src hubferry.Piecemeal, infos []hubferry.PartitionInfo) {
	s.t.Helper()
	s.must("list places", func(ctx context.Context) error {
		places, err := src.Places(ctx)
		if err != nil {
			return err
		}
		if len(places) != len(infos) {
			s.t.Fatalf("there are %d places and %d partitions", len(places), len(infos))
		}
		for i, p := range places {
			if p != infos[i].Place {
				s.t.Errorf("place %d is %s, and that of the partition %s", i, p, infos[i].Place)
			}
			info, err := src.Partition(ctx, p)
			if err != nil {
				return err
			}
			if before := infos[i]; info.Place != p || info.Sparse != before.Sparse || info.Begin.Sequence < before.Begin.Sequence || info.End.Sequence < before.End.Sequence {
				s.t.Errorf("of %s alone it says %+v, and before %+v", p, info, before)
			}
		}
		return nil
	})
}

// open opens a reader.
func (s *suite) open(src hubferry.Source, p *hubferry.Place, after hubferry.Position, epoch int64) hubferry.Reader {
	s.t.Helper()
	r, err := s.tryOpen(src, p, after, epoch)
	if err != nil {
		s.t.Fatalf("open a reader after %d: %v", after.Sequence, err)
	}
	return r
}

func (s *suite) tryOpen(src hubferry.Source, p *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	s.t.Helper()
	var r hubferry.Reader
	err := s.do("open a reader", func(ctx context.Context) (err error) {
		r, err = src.Open(ctx, p, after, epoch)
		return err
	})
	if err == nil {
		s.close("reader", r)
	}
	return r, err
}

// fromStart opens a reader of everything in a partition.
func (s *suite) fromStart(src hubferry.Source, partition int) hubferry.Reader {
	s.t.Helper()
	info := s.places(src)[partition]
	return s.open(src, info.Place, info.Begin, hubferry.NoEpoch)
}

// read reads exactly n events, and checks what every batch promises.
func (s *suite) read(r hubferry.Reader, n int) []hubferry.Event {
	s.t.Helper()
	events, err := s.tryRead(r, n, hubferry.Limit{Events: 100, Bytes: 1 << 20})
	if err != nil {
		s.t.Fatalf("read %d events: got %d, then %v", n, len(events), err)
	}
	return events
}

func (s *suite) tryRead(r hubferry.Reader, n int, limit hubferry.Limit) ([]hubferry.Event, error) {
	s.t.Helper()
	var events []hubferry.Event
	b := hubferry.Batch{Limit: limit}
	for len(events) < n {
		b.Limit.Events = min(limit.Events, n-len(events))
		if err := s.do("read", func(ctx context.Context) error { return r.Read(ctx, &b) }); err != nil {
			return events, err
		}
		s.checkBatch(&b, events)
		s.kept.keep(b.Events)
		events = append(events, b.Events...)
	}
	return events, nil
}

// checkBatch checks what holds for every batch.
func (s *suite) checkBatch(b *hubferry.Batch, before []hubferry.Event) {
	s.t.Helper()
	size := 0
	for i := range b.Events {
		e := &b.Events[i]
		size += e.Size()
		if i > 0 && (i >= b.Limit.Events || size > b.Limit.Bytes) {
			s.t.Fatalf("a batch of %d events and %d bytes or more, the limit is %d events and %d bytes",
				len(b.Events), size, b.Limit.Events, b.Limit.Bytes)
		}
		if len(before) > 0 && e.Pos.Sequence <= before[len(before)-1].Pos.Sequence {
			s.t.Fatalf("event %d was delivered after event %d", e.Pos.Sequence, before[len(before)-1].Pos.Sequence)
		}
		before = append(before, *e)
		if e.Origin == nil || e.Time.IsZero() {
			s.t.Fatalf("event %d has the origin %v and the time %v", e.Pos.Sequence, e.Origin, e.Time)
		}
	}
	if n := len(b.Events); n > 0 && b.Next.Sequence < b.Events[n-1].Pos.Sequence {
		s.t.Fatalf("Next is %d, although event %d was delivered", b.Next.Sequence, b.Events[n-1].Pos.Sequence)
	}
}

// nothing checks that a reader delivers nothing more for a short while.
func (s *suite) nothing(r hubferry.Reader) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.ctx(), min(s.h.patience()/10, 300*time.Millisecond))
	defer cancel()
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 10, Bytes: 1 << 20}}
	for {
		err := s.doWith(ctx, "read", func(ctx context.Context) error { return r.Read(ctx, &b) })
		switch {
		case err != nil && ctx.Err() == nil:
			s.t.Errorf("read at the end of a partition: %v", err)
			return
		case err != nil:
			return
		case len(b.Events) > 0:
			s.t.Errorf("read delivers event %d (%s), although there is no more", b.Events[0].Pos.Sequence, label(&b.Events[0]))
			return
		}
	}
}

// pause waits a moment, so that times differ.
func (s *suite) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// eventually waits until a condition holds.
func (s *suite) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(s.h.patience()); !ok(); s.pause(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within %v", what, s.h.patience())
		}
	}
}
