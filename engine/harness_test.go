package engine_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// rig is a source hub, a target hub and what lies between two runs of a task: the
// checkpoints. Everything lives in one synctest bubble.
type rig struct {
	t      *testing.T
	broker *mem.Broker
	source *mem.Hub
	target *mem.Hub
	store  *positions
	task   engine.Task
	log    logBuffer
}

// logBuffer keeps what is logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newRig returns a rig with hubs "west/in" and "east/out".
func newRig(t *testing.T, sources, targets int) *rig {
	t.Helper()
	b := mem.NewBroker()
	r := &rig{
		t: t, broker: b, store: &positions{saved: map[string]hubferry.Checkpoint{}},
		source: b.Create("west", "in", mem.HubOptions{Partitions: sources}),
		target: b.Create("east", "out", mem.HubOptions{Partitions: targets}),
	}
	r.task = engine.Task{
		Name: "copy", Source: mem.NewSource(b, "west", "in", nil), SourceName: "west/in",
		Routes: []engine.Route{{Name: "out", Target: mem.NewTarget(b, "east"), Hub: "out", Address: "east/out"}},
	}
	return r
}

// run is one instance of the engine that runs the rig's task.
type run struct {
	*engine.Engine
	rig  *rig
	stop context.CancelFunc
	done chan error
	deal *dealer
}

// start starts an instance that claims every partition.
func (r *rig) start() *run {
	r.t.Helper()
	d := newDealer(r)
	task := r.task
	task.Coordinate = func(context.Context) (hubferry.Coordinator, error) { return d, nil }
	e, err := engine.New([]engine.Task{task}, engine.Options{Log: slog.New(slog.NewTextHandler(io.MultiWriter(r.t.Output(), &r.log), nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	out := &run{Engine: e, rig: r, stop: cancel, done: make(chan error, 1), deal: d}
	go func() { out.done <- e.Run(ctx) }()
	r.t.Cleanup(cancel)
	return out
}

// finish stops the instance cleanly.
func (x *run) finish() {
	x.rig.t.Helper()
	x.stop()
	if err := <-x.done; err != nil {
		x.rig.t.Errorf("stop: %v", err)
	}
}

// kill takes every claim away at once, as a process that dies loses them: nothing is
// saved any more.
func (x *run) kill() {
	x.deal.lose()
	x.stop()
	<-x.done //nolint:errcheck // a process that dies has no last word
}

// settled waits, in fake time, until n inputs are settled and saved.
func (x *run) settled(n int64) {
	x.rig.t.Helper()
	for range 10_000 {
		if x.Status()[0].Counts.Moved >= n {
			return
		}
		time.Sleep(time.Second)
	}
	x.rig.t.Fatalf("only %d of %d inputs were settled: %+v", x.Status()[0].Counts.Moved, n, x.Status()[0])
}

// drained waits, in fake time, until an instance has moved everything that the source holds.
func (r *rig) drained(x *run) {
	r.t.Helper()
	for range 10_000 {
		behind := int64(0)
		owned := x.Status()[0].Owned
		for _, p := range owned {
			i, _ := strconv.Atoi(p.Partition)
			behind += int64(len(r.source.Dump(i))) - 1 - p.Checkpoint
		}
		if behind == 0 && len(owned) == r.source.Partitions() {
			return
		}
		time.Sleep(time.Second)
	}
	r.t.Fatalf("the task does not come to the end: %+v", x.Status()[0])
}

// bubble runs f in a synctest bubble.
func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// positions is where checkpoints survive an instance.
type positions struct {
	mu    sync.Mutex
	saved map[string]hubferry.Checkpoint
	saves int
	fail  error
}

// count returns how many checkpoints were saved.
func (p *positions) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.saves
}

func (p *positions) get(place *hubferry.Place) *hubferry.Checkpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.saved[place.Partition]; ok {
		return &c
	}
	return nil
}

// dealer is a coordinator that deals out every partition at once.
type dealer struct {
	rig    *rig
	claims chan *hubferry.Claim

	forsaken atomic.Bool // the store does not answer it

	mu       sync.Mutex
	released map[string]bool
	ending   map[string]chan struct{}
	gone     map[string]chan struct{} // closed when a claim is lost
}

func newDealer(r *rig) *dealer {
	d := &dealer{
		rig: r, claims: make(chan *hubferry.Claim, 1000),
		released: map[string]bool{}, ending: map[string]chan struct{}{}, gone: map[string]chan struct{}{},
	}
	infos, err := r.task.Source.Partitions(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range infos {
		place := infos[i].Place
		d.ending[place.Partition] = make(chan struct{})
		d.gone[place.Partition] = make(chan struct{})
		d.claims <- &hubferry.Claim{
			Place: place, Checkpoint: r.store.get(place), Lost: d.gone[place.Partition], Ending: d.ending[place.Partition],
			Holder: &holder{dealer: d, place: place},
		}
	}
	return d
}

func (d *dealer) lose() {
	for partition := range d.gone {
		d.loseOne(partition)
	}
}

// loseOne takes the claim on one partition away.
func (d *dealer) loseOne(partition string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case <-d.gone[partition]:
	default:
		close(d.gone[partition])
	}
}

func (d *dealer) Next(ctx context.Context) (*hubferry.Claim, error) {
	select {
	case c := <-d.claims:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (d *dealer) Close(context.Context) error { return nil }

type holder struct {
	dealer *dealer
	place  *hubferry.Place
}

func (h *holder) Open(ctx context.Context, after hubferry.Position) (hubferry.Reader, error) {
	return h.dealer.rig.task.Source.Open(ctx, h.place, after, 0)
}

func (h *holder) Save(_ context.Context, c *hubferry.Checkpoint) error {
	s := h.dealer.rig.store
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-h.dealer.gone[h.place.Partition]:
		return &hubferry.Error{Kind: hubferry.Lost, Op: "save"}
	default:
	}
	if h.dealer.forsaken.Load() {
		return &hubferry.Error{Kind: hubferry.Transient, Op: "save"}
	}
	if s.fail != nil {
		return s.fail
	}
	if old, ok := s.saved[h.place.Partition]; ok && c.Behind(&old) {
		h.dealer.rig.t.Errorf("checkpoint of %s went back from %d to %d", h.place.Partition, old.Position.Sequence, c.Position.Sequence)
		return &hubferry.Error{Kind: hubferry.Fatal, Op: "save"}
	}
	saved := *c
	saved.States = maps.Clone(c.States)
	s.saved[h.place.Partition] = saved
	s.saves++
	return nil
}

func (h *holder) Release(context.Context) error {
	h.dealer.mu.Lock()
	defer h.dealer.mu.Unlock()
	h.dealer.released[h.place.Partition] = true
	return nil
}

// event makes an event with a body that tells its key and number.
func event(key string, n int) hubferry.Event {
	e := hubferry.NewEvent(&hubferry.Content{
		Body:       fmt.Appendf(nil, "%s#%d", key, n),
		Properties: hubferry.Properties{{Name: "n", Value: hubferry.Int(int32(n))}},
	})
	if key != "" {
		e.Key = hubferry.Text(key)
	}
	return e
}

// produce sends n events over the given number of keys to the source; with 0 keys they
// are keyless.
func (r *rig) produce(n, keys int) {
	for i := range n {
		key := ""
		if keys > 0 {
			key = fmt.Sprintf("key-%d", i%keys)
		}
		r.source.Send(event(key, i))
	}
}

// verdict is what check found.
type verdict struct {
	events, lost, duplicates, reordered, altered int
}

// check compares source and target event by event.
func (r *rig) check() verdict {
	r.t.Helper()
	var v verdict
	arrived := map[string]map[string]int{} // source path → sequence → copies
	order := map[string][]string{}         // target partition and key and source → sequences, first deliveries
	bodies := map[string]string{}
	for p := range r.target.Partitions() {
		for _, e := range r.target.Dump(p) {
			hops := hubferry.Hops(&e)
			if len(hops) == 0 {
				r.t.Errorf("event %d of target partition %d has no provenance", e.Pos.Sequence, p)
				continue
			}
			hop := hops[len(hops)-1]
			if arrived[hop.Source] == nil {
				arrived[hop.Source] = map[string]int{}
			}
			arrived[hop.Source][hop.Sequence]++
			if arrived[hop.Source][hop.Sequence] > 1 {
				v.duplicates++
				continue
			}
			k := hop.Source + "\x00" + e.Key.String()
			order[k] = append(order[k], hop.Sequence)
			c, _ := e.Content()
			bodies[hop.Source+"@"+hop.Sequence] = string(c.Body)
		}
	}
	for p := range r.source.Partitions() {
		next := map[string]int{}
		for _, e := range r.source.Dump(p) {
			v.events++
			path, seq := r.source.Place(p).Path(), fmt.Sprint(e.Pos.Sequence)
			if arrived[path][seq] == 0 {
				v.lost++
				continue
			}
			c, _ := e.Content()
			if bodies[path+"@"+seq] != string(c.Body) {
				v.altered++
			}
			k := path + "\x00" + e.Key.String()
			if e.Key.Kind != hubferry.NoKey || r.source.Partitions() == r.target.Partitions() {
				if list := order[k]; next[k] >= len(list) || list[next[k]] != seq {
					v.reordered++
				}
			}
			next[k]++
		}
	}
	return v
}

// exact fails the test unless every event arrived once, in order and unchanged.
func (r *rig) exact(events int) {
	r.t.Helper()
	if got, want := r.check(), (verdict{events: events}); got != want {
		r.t.Errorf("got %+v, want %+v", got, want)
	}
}
