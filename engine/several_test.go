package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// several is a source of several hubs. It deals its partitions out itself, also those of
// hubs that come later.
type several struct {
	mu      sync.Mutex
	order   []string
	sources map[string]hubferry.Source
	claims  chan *hubferry.Claim
	saved   map[string]int64 // by path
}

func (s *several) add(t *testing.T, hub string, source hubferry.Source) {
	t.Helper()
	infos, err := source.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.order = append(s.order, hub)
	s.sources[hub] = source
	for i := range infos {
		s.claims <- &hubferry.Claim{Place: infos[i].Place, Holder: &severalHolder{s, infos[i].Place}}
	}
}

func (s *several) of(hub string) hubferry.Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sources[hub]
}

func (s *several) Partitions(ctx context.Context) ([]hubferry.PartitionInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []hubferry.PartitionInfo
	for _, hub := range s.order {
		infos, err := s.sources[hub].Partitions(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, infos...)
	}
	return all, nil
}

func (s *several) Resolve(ctx context.Context, p *hubferry.Place, start hubferry.Start) (hubferry.Position, error) {
	return s.of(p.Hub).Resolve(ctx, p, start)
}

func (s *several) Open(ctx context.Context, p *hubferry.Place, after hubferry.Position, epoch int64) (hubferry.Reader, error) {
	return s.of(p.Hub).Open(ctx, p, after, epoch)
}

func (s *several) Close(context.Context) error { return nil }

func (s *several) Next(ctx context.Context) (*hubferry.Claim, error) {
	select {
	case c := <-s.claims:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type severalHolder struct {
	s     *several
	place *hubferry.Place
}

func (h *severalHolder) Open(ctx context.Context, after hubferry.Position) (hubferry.Reader, error) {
	return h.s.Open(ctx, h.place, after, 0)
}

func (h *severalHolder) Save(_ context.Context, c *hubferry.Checkpoint) error {
	h.s.mu.Lock()
	defer h.s.mu.Unlock()
	h.s.saved[h.place.Path()] = c.Position.Sequence
	return nil
}

func (h *severalHolder) Release(context.Context) error { return nil }

// severalRig runs a task over the hubs of a namespace.
type severalRig struct {
	broker *mem.Broker
	source *several
	engine *engine.Engine
	finish func()
}

func newSeveralRig(t *testing.T, target string) *severalRig {
	t.Helper()
	b := mem.NewBroker()
	return severalRigTo(t, b, mem.NewTarget(b, "west"), target)
}

func severalRigTo(t *testing.T, b *mem.Broker, to hubferry.Target, target string) *severalRig {
	t.Helper()
	s := &several{sources: map[string]hubferry.Source{}, claims: make(chan *hubferry.Claim, 100), saved: map[string]int64{}}
	task := engine.Task{
		Name: "mirror", Source: s, SourceName: "west",
		Coordinate: func(context.Context) (hubferry.Coordinator, error) { return s, nil },
		Routes:     []engine.Route{{Name: "out", Target: to, Hub: target, Address: "west/" + target}},
	}
	e, err := engine.New([]engine.Task{task}, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	return &severalRig{b, s, e, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}}
}

// create makes a hub with so many partitions, fills it, and lets the task have it.
func (r *severalRig) create(t *testing.T, hub string, partitions, events int) {
	t.Helper()
	h := r.broker.Create("west", hub, mem.HubOptions{Partitions: partitions})
	for i := range events {
		h.Send(event(hub, i))
	}
	r.source.add(t, hub, mem.NewSource(r.broker, "west", hub, nil))
}

// Partitions of several hubs have the same numbers and are told apart by their hub; each
// hub goes to a target of its name, also one that comes while the task runs.
func TestSeveralHubs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newSeveralRig(t, "copy-of-{hub}")
		outs := map[string]*mem.Hub{}
		for _, hub := range []string{"a", "b", "c"} {
			partitions := 1 + len(outs)
			outs[hub] = r.broker.Create("west", "copy-of-"+hub, mem.HubOptions{Partitions: partitions})
			r.create(t, hub, partitions, 300)
			time.Sleep(time.Minute)
		}
		owned := r.engine.Status()[0].Owned
		if len(owned) != 1+2+3 || owned[1].Hub != "b" || owned[5].Hub != "c" || owned[5].Partition != "2" {
			t.Errorf("%+v", owned)
		}
		r.finish()
		for hub, out := range outs {
			n := 0
			for p := range out.Partitions() {
				for i, e := range out.Dump(p) {
					if e.Key.String() != hub || hubferry.Hops(&e)[0].Sequence != "0" && i == 0 {
						t.Errorf("%s/%d has %s as number %d", hub, p, e.Key, i)
					}
					n++
				}
			}
			if n != 300 {
				t.Errorf("%d events of %s arrived", n, hub)
			}
		}
		if len(r.source.saved) != 6 {
			t.Errorf("saved: %v", r.source.saved)
		}
	})
}

// A target that is not there yet holds up the partitions of its source only.
func TestSeveralHubsMissingTarget(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newSeveralRig(t, "{topic}-copy")
		r.create(t, "late", 2, 10)
		out := r.broker.Create("west", "soon-copy", mem.HubOptions{Partitions: 1})
		r.create(t, "soon", 1, 10)
		time.Sleep(time.Minute)
		if n := len(out.Dump(0)); n != 10 {
			t.Errorf("%d events arrived", n)
		}
		if s := r.engine.Status()[0]; s.State != hubferry.Failed || !strings.Contains(s.Error, "west/late-copy") {
			t.Errorf("%v %s", s.State, s.Error)
		}
		r.broker.Create("west", "late-copy", mem.HubOptions{Partitions: 2})
		if err := r.engine.Resume("mirror"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if n := r.engine.Status()[0].Counts.Moved; n != 20 {
			t.Errorf("%d events were moved", n)
		}
		r.finish()
	})
}

// A task does not write to a hub that it reads, whichever way it got there.
func TestRefusesItsOwnHub(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newSeveralRig(t, "loop")
		r.broker.Create("west", "other", mem.HubOptions{Partitions: 1})
		loop := r.broker.Create("west", "loop", mem.HubOptions{Partitions: 1})
		loop.Send(event("k", 1))
		r.source.add(t, "loop", mem.NewSource(r.broker, "west", "loop", nil))
		time.Sleep(time.Minute)
		s := r.engine.Status()[0]
		if s.State != hubferry.Failed || !strings.Contains(s.Error, "west/loop is the hub that is read") {
			t.Errorf("%v %s", s.State, s.Error)
		}
		if n := len(loop.Dump(0)); n != 1 {
			t.Errorf("the hub has %d events", n)
		}
		r.finish()
	})
}

// Each target is made like the hub of the source whose name it has.
func TestSeveralHubsAreMadeEachLikeItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := mem.NewBroker()
		m := &making{Target: mem.NewTarget(b, "west"), broker: b, namespace: "west"}
		r := severalRigTo(t, b, m, "copy-of-{hub}")
		for i, hub := range []string{"a", "b", "c"} {
			r.create(t, hub, 3-i, 10)
			time.Sleep(time.Minute)
		}
		r.finish()
		if len(m.made) != 3 || m.made[0].Partitions != 3 || m.made[1].Partitions != 2 || m.made[2].Partitions != 1 {
			t.Errorf("%+v", m.made)
		}
	})
}
