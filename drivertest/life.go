package drivertest

import (
	"context"
	"errors"

	"github.com/hubferry/hubferry"
)

func isEnd(err error) bool { return errors.Is(err, hubferry.ErrEnd) }

func unknownHub(s *suite) {
	c := s.connect(s.h.Connection)
	if s.caps.Source && s.h.Shape != Table {
		src := s.sourceOf(c, s.h.Unknown)
		err := s.do("list partitions of an unknown hub", func(ctx context.Context) error {
			_, err := src.Partitions(ctx)
			return err
		})
		s.wants("list partitions of an unknown hub", err, hubferry.NotFound)
	}
	if !s.caps.Target {
		return
	}
	target := s.targetOf(c)
	err := s.useWriter(target, s.h.Unknown)
	s.wants("write to an unknown hub", err, hubferry.NotFound)
}

// useWriter opens a writer and asks it for its layout, and writes if that succeeds.
func (s *suite) useWriter(target hubferry.Target, hub string) error {
	s.t.Helper()
	var w hubferry.Writer
	err := s.do("open a writer", func(ctx context.Context) (err error) {
		w, err = target.Open(ctx, hub, hubferry.Trail{Mode: hubferry.TrailNone})
		return err
	})
	if err != nil {
		return err
	}
	s.close("writer", w)
	err = s.do("ask for the layout", func(ctx context.Context) error {
		_, err := w.Layout(ctx)
		return err
	})
	if err != nil {
		return err
	}
	_, err = s.tryWrite(w, 0, withOrigin(numbered(1)))
	return err
}

func badCredential(s *suite) {
	var c hubferry.Connection
	err := s.do("connect", func(ctx context.Context) (err error) {
		c, err = s.h.Driver.Connect(ctx, s.h.BadConnection, s.h.Env)
		return err
	})
	if err != nil {
		s.wants("connect with a bad credential", err, hubferry.Unauthorized)
		return
	}
	s.close("connection", c)
	if s.caps.Source && s.h.Shape != Table {
		src := s.sourceOf(c, s.h.Hub)
		err := s.do("list partitions", func(ctx context.Context) error {
			_, err := src.Partitions(ctx)
			return err
		})
		s.wants("list partitions with a bad credential", err, hubferry.Unauthorized)
	}
	if s.caps.Target {
		s.wants("write with a bad credential", s.useWriter(s.targetOf(c), s.h.Hub), hubferry.Unauthorized)
	}
}

func useAfterClose(s *suite) {
	ctx := s.ctx()
	if s.caps.Source && s.h.Shape != Table {
		src := s.source()
		info := s.places(src)[0]
		r := s.open(src, info.Place, info.Begin, hubferry.NoEpoch)
		s.must("close the reader", r.Close)
		s.closed("Read", s.do("read", func(ctx context.Context) error {
			return r.Read(ctx, &hubferry.Batch{Limit: hubferry.Limit{Events: 1, Bytes: 1}})
		}))
		if settler, ok := r.(hubferry.Settler); ok {
			s.closed("Settle", settler.Settle(ctx, []hubferry.Settlement{{}}))
		}
		s.must("close the source", src.Close)
		_, err := src.Partitions(ctx)
		s.closed("Partitions", err)
		_, err = src.Resolve(ctx, info.Place, hubferry.Start{})
		s.closed("Resolve", err)
		_, err = src.Open(ctx, info.Place, info.Begin, hubferry.NoEpoch)
		s.closed("Source.Open", err)
	}
	if !s.caps.Target {
		return
	}
	target := s.target()
	w := s.writerOf(target, hubferry.Trail{})
	other := s.writerOf(target, hubferry.Trail{})
	s.write(w, 0, withOrigin(numbered(1)))
	s.must("close the writer", w.Close)
	s.writerClosed(w)
	s.write(other, 0, withOrigin(numbered(1))) // a writer's Close is its own
	s.must("close the target", target.Close)
	s.writerClosed(other) // the target's Close is that of all its writers
	_, err := target.Open(ctx, s.h.Hub, hubferry.Trail{})
	s.closed("Target.Open", err)
}

func (s *suite) writerClosed(w hubferry.Writer) {
	s.t.Helper()
	_, err := w.Layout(s.ctx())
	s.closed("Layout", err)
	receipt, err := s.tryWrite(w, 0, withOrigin(numbered(1)))
	s.closed("Write", err)
	if receipt.N != 0 {
		s.t.Errorf("a closed writer wrote %d events", receipt.N)
	}
	if tailer, ok := w.(hubferry.Tailer); ok {
		_, err := tailer.Tail(s.ctx(), 0, hubferry.Position{Sequence: -1})
		s.closed("Tail", err)
	}
	if sub, ok := w.(hubferry.Submitter); ok {
		done := make(chan struct{})
		sub.Submit(s.ctx(), hubferry.Run{Events: pointers(numbered(1))}, func(_ hubferry.Receipt, err error) {
			s.closed("Submit", err)
			close(done)
		})
		s.await("a run that was submitted after Close", done)
	}
}

func closeTwice(s *suite) {
	twice := func(what string, c interface {
		Close(ctx context.Context) error
	},
	) {
		s.t.Helper()
		for range 2 {
			if err := s.do("close "+what, c.Close); err != nil {
				s.t.Errorf("close %s: %v", what, err)
			}
		}
	}
	conn := s.connect(s.h.Connection)
	if s.caps.Source && s.h.Shape != Table {
		src := s.sourceOf(conn, s.h.Hub)
		unused := s.sourceOf(conn, s.h.Hub)
		twice("reader", s.fromStart(src, 0))
		twice("source", src)
		twice("source that was never used", unused)
	}
	if s.caps.Target {
		target := s.targetOf(conn)
		w := s.writerOf(target, hubferry.Trail{})
		s.write(w, 0, withOrigin(numbered(1)))
		twice("writer", w)
		twice("writer that was never used", s.writerOf(target, hubferry.Trail{}))
		twice("target", target)
	}
	twice("connection", conn)
}
