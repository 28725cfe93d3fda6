package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
)

// simTarget is the target as one process reaches it.
type simTarget struct {
	*mem.Target
	x *instance
}

// Open implements hubferry.Target.
func (t *simTarget) Open(ctx context.Context, hub string, trail hubferry.Trail) (hubferry.Writer, error) {
	if t.x.dead.Load() {
		return nil, errDead
	}
	w, err := t.Target.Open(ctx, hub, trail)
	if err != nil {
		return nil, err
	}
	inner, ok := w.(simInner)
	if !ok {
		return nil, fmt.Errorf("%T cannot be read", w)
	}
	// What is under way outlives the connection of a process that dies.
	sink, err := mem.NewTarget(t.x.world.broker, "east").Open(ctx, hub, trail)
	sim := &simWriter{simInner: inner, x: t.x, sink: sink}
	if t.x.number%2 == 0 {
		return &piecemealWriter{sim}, err
	}
	return sim, err
}

type simInner interface {
	hubferry.Writer
	hubferry.Tailer
}

// piecemealWriter is a writer that can be asked about one partition.
type piecemealWriter struct{ *simWriter }

// Partition implements hubferry.PiecemealTailer.
func (w *piecemealWriter) Partition(ctx context.Context, partition int) (hubferry.PartitionInfo, error) {
	infos, err := w.Partitions(ctx)
	if err != nil {
		return hubferry.PartitionInfo{}, err
	}
	return infos[partition], nil
}

// simWriter is a writer with whose writes everything goes wrong that can.
type simWriter struct {
	simInner
	x    *instance
	sink hubferry.Writer
}

func (w *simWriter) Layout(ctx context.Context) (hubferry.Layout, error) {
	l, err := w.simInner.Layout(ctx)
	switch w.x.world.scene.broken {
	case late:
		l.Late = 0
	case mapping:
		hash := l.Partition
		shift := w.x.number
		l.Partition = func(k hubferry.Key, n int) int { return (hash(k, n) + shift) % n }
	default:
	}
	return l, err
}

// none is the receipt of a write that confirms nothing.
var none = hubferry.Receipt{Last: hubferry.Position{Sequence: -1}}

// unsure is the error of a write whose answer is lost.
func unsure() error {
	return &hubferry.Error{Kind: hubferry.Transient, Op: "write", Unsure: true, Err: errors.New("the answer is lost")}
}

// Write implements hubferry.Writer. The caller sees the answer, and nothing else of what is
// decided here.
func (w *simWriter) Write(ctx context.Context, r hubferry.Run) (hubferry.Receipt, error) {
	x := w.x
	deadline := time.Now().Add(lateBy)
	x.world.note(int64(x.number), int64(r.Partition), r.Events[0].Pos.Sequence, int64(len(r.Events)))
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	if x.dead.Load() {
		return none, errDead
	}
	// The way there takes a moment: others come in between.
	if err := pause(ctx, x.upTo(20*time.Millisecond)); err != nil {
		return none, &hubferry.Error{Kind: hubferry.Transient, Op: "write", Err: err}
	}
	x.thaw()
	switch {
	case x.dead.Load():
		return none, errDead
	case time.Now().After(deadline) && !x.world.scene.residue: // as drivers do
		x.world.happened(writeMissed)
		return none, &hubferry.Error{Kind: hubferry.Transient, Op: "write", Err: context.DeadlineExceeded}
	case x.world.scene.broken == order && len(r.Events) > 1 && x.chance(0.3):
		return w.outOfOrder(r)
	case x.chance(x.rough):
		return w.trouble(ctx, r, deadline)
	}
	if _, err := w.store(r.Partition, r.Events); err != nil {
		return none, err
	}
	if err := pause(ctx, x.upTo(20*time.Millisecond)); err != nil {
		return none, unsure()
	}
	x.thaw()
	return hubferry.Receipt{N: len(r.Events), Last: none.Last}, nil
}

// outOfOrder stores the last event first, and perhaps no other.
func (w *simWriter) outOfOrder(r hubferry.Run) (hubferry.Receipt, error) {
	last := len(r.Events) - 1
	if _, err := w.store(r.Partition, r.Events[last:]); err != nil {
		return none, unsure()
	}
	if w.x.chance(0.3) {
		w.x.die()
		return none, unsure()
	}
	_, err := w.store(r.Partition, r.Events[:last])
	return hubferry.Receipt{N: len(r.Events)}, err
}

// trouble is one of the ways in which a write goes wrong.
func (w *simWriter) trouble(ctx context.Context, r hubferry.Run, deadline time.Time) (hubferry.Receipt, error) {
	x := w.x
	half := r.Events[:len(r.Events)/2]
	kinds := [...]fault{writeThrottled, writeLost, writeVanished, writeHalf, writeHalfLost, writeLate, writeSlow, diedWriting}
	kind := kinds[x.pick(len(kinds))]
	x.world.happened(kind)
	switch kind {
	case writeThrottled:
		return none, &hubferry.Error{Kind: hubferry.Throttled, Op: "write"}
	case writeLost:
		_, _ = w.store(r.Partition, r.Events) // the answer is lost
		return none, unsure()
	case writeVanished:
		return none, unsure()
	case writeHalf:
		n, _ := w.store(r.Partition, half)
		return hubferry.Receipt{N: n}, &hubferry.Error{Kind: hubferry.Transient, Op: "write"}
	case writeHalfLost:
		n, _ := w.store(r.Partition, half)
		_, _ = w.store(r.Partition, r.Events[n:]) // the answer is lost
		return hubferry.Receipt{N: n}, unsure()
	case writeLate: // when nobody expects it any more
		w.storeLate(r.Partition, r.Events, deadline)
		return none, unsure()
	case writeSlow:
		if err := pause(ctx, x.upTo(3*time.Second)); err != nil {
			return none, &hubferry.Error{Kind: hubferry.Transient, Op: "write", Err: err}
		}
		n, err := w.store(r.Partition, r.Events)
		return hubferry.Receipt{N: n}, err
	default: // before or after it is stored, or while it is on its way
		switch x.pick(3) {
		case 0:
			_, _ = w.store(r.Partition, r.Events) // who could hear of it is dead
		case 1:
			w.storeLate(r.Partition, r.Events, deadline)
		}
		x.die()
		return none, errDead
	}
}

// store stores events at once.
func (w *simWriter) store(partition int, events []*hubferry.Event) (int, error) {
	r, err := w.sink.Write(context.WithoutCancel(w.x.world.t.Context()), hubferry.Run{Partition: partition, Events: events})
	return r.N, err
}

// storeLate stores events some time before the deadline that the layout names, whatever
// becomes of who sent them.
func (w *simWriter) storeLate(partition int, events []*hubferry.Event, deadline time.Time) {
	copies := make([]*hubferry.Event, len(events))
	for i, e := range events {
		c := e.Share()
		copies[i] = &c
	}
	time.AfterFunc(w.x.upTo(time.Until(deadline)), func() { _, _ = w.store(partition, copies) }) // the hub does not fail
}

// Tail implements hubferry.Tailer.
func (w *simWriter) Tail(ctx context.Context, partition int, after hubferry.Position) (hubferry.Reader, error) {
	x := w.x
	x.world.note(int64(x.number), int64(partition), after.Sequence)
	x.thaw()
	switch {
	case x.dead.Load():
		return nil, errDead
	case x.chance(x.rough / 4):
		x.world.happened(readRefused)
		return nil, &hubferry.Error{Kind: hubferry.Transient, Op: "read tail"}
	case x.world.scene.broken == tail:
		infos, err := w.simInner.Partitions(ctx)
		if err != nil {
			return nil, err
		}
		after = infos[partition].End
	}
	r, err := w.simInner.Tail(ctx, partition, after)
	if err == nil && x.world.scene.broken == identity {
		r = &nameless{Reader: r, task: x.task}
	}
	if err == nil && x.chance(x.rough/4) {
		r = &brittle{Reader: r, world: x.world, left: x.pick(3)}
	}
	return r, err
}

// Partitions implements hubferry.Tailer.
func (w *simWriter) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	x := w.x
	x.thaw()
	if x.dead.Load() {
		return nil, errDead
	}
	infos, err := w.simInner.Partitions(ctx)
	if err == nil && x.world.scene.broken == watermark {
		for i := range infos { // a mark that is too high
			infos[i].End.Sequence += 40
		}
	}
	// The answer takes a moment, in which more is written.
	if waited := pause(ctx, x.upTo(300*time.Millisecond)); waited != nil {
		return nil, waited
	}
	return infos, err
}

// nameless is a reader of events that do not tell which task wrote them: whoever looks
// takes all of them for its own.
type nameless struct {
	hubferry.Reader
	task string
}

func (n *nameless) Read(ctx context.Context, batch *hubferry.Batch) error {
	if err := n.Reader.Read(ctx, batch); err != nil {
		return err
	}
	for i := range batch.Events {
		e := &batch.Events[i]
		id, ok := hubferry.IdentityOf(e)
		if !ok || id.Task == n.task {
			continue
		}
		c, err := e.Content()
		if err != nil {
			return err
		}
		own := *c
		own.Properties = slices.Clone(c.Properties)
		for j := range own.Properties {
			if p := &own.Properties[j]; p.Name == hubferry.ReplID {
				text, _ := p.Value.AsText()
				_, rest, _ := strings.Cut(text, "/")
				p.Value = hubferry.String(n.task + "/" + rest)
			}
		}
		claimed := hubferry.NewEvent(&own)
		claimed.Key, claimed.Pos, claimed.Time, claimed.Origin = e.Key, e.Pos, e.Time, e.Origin
		*e = claimed
	}
	return nil
}

// brittle is a reader that breaks after some batches.
type brittle struct {
	hubferry.Reader
	world *world
	left  int
}

func (b *brittle) Read(ctx context.Context, batch *hubferry.Batch) error {
	if b.left--; b.left < 0 {
		b.world.happened(readBroken)
		return &hubferry.Error{Kind: hubferry.Transient, Op: "read tail", Err: errors.New("cut")}
	}
	return b.Reader.Read(ctx, batch)
}
