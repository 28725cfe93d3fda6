package engine_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// storm is a task with targets that keep positions, and what befalls it.
type storm struct {
	*rig
	rng   *rand.Rand
	hubs  []*mem.Hub // that keep positions; the first is the rig's target
	read  *mem.Hub   // one that is read instead, or nil
	parts func(n int64) int
	runs  []*run // the last one is who owns the partitions; the others believe that they do
}

// newStorm makes up a task: one to three routes, with or without editors.
func newStorm(t *testing.T, seed uint64) *storm {
	t.Helper()
	s := &storm{rng: rand.New(rand.NewPCG(seed, 12)), parts: func(int64) int { return 1 }}
	s.rig = newCommitRig(t, 1+s.rng.IntN(3), 1+s.rng.IntN(4))
	s.hubs = []*mem.Hub{s.target}
	s.task.Window = 200 + s.rng.IntN(2000)
	route := func(hub string, o mem.HubOptions) *mem.Hub {
		r := s.task.Routes[0]
		r.Name, r.Hub, r.Address = hub, hub, "east/"+hub
		s.task.Routes = append(s.task.Routes, r)
		return s.broker.Create("east", hub, o)
	}
	switch s.rng.IntN(4) {
	case 0:
		s.hubs = append(s.hubs, route("second", mem.HubOptions{Kind: mem.Table}))
	case 2:
		s.read = route("read", mem.HubOptions{Partitions: 2})
	case 1:
		s.task.OnError = engine.OnErrorDeadLetter
		s.broker.Create("east", "dead", mem.HubOptions{Partitions: 2})
		s.task.DeadLetters = &engine.Route{Target: s.task.Routes[0].Target, Hub: "dead", Address: "east/dead"}
		s.task.Editors = append(s.task.Editors, rejectFives)
		s.parts = func(n int64) int { return min(int(n%5), 1) }
	}
	switch s.rng.IntN(4) {
	case 0:
		s.task.Editors = append(s.task.Editors, dropOdd, triple)
		before := s.parts
		s.parts = func(n int64) int { return 3 * before(n) * int((n+1)%2) }
	case 1:
		s.task.Routes[0].Editors = []engine.Step{{Name: "pairs", New: func() (hubferry.Editor, error) { return &pairs{}, nil }}}
	}
	return s
}

func (s *storm) now() *run { return s.runs[len(s.runs)-1] }

// end ends every instance, by a kill or cleanly.
func (s *storm) end(how func(*run)) {
	for _, x := range s.runs {
		how(x)
	}
	s.runs = nil
}

// begin starts an instance; those before it are no longer believed by the store.
func (s *storm) begin() {
	for _, x := range s.runs {
		x.deal.forsaken.Store(true)
	}
	s.runs = append(s.runs, s.start())
}

// fault makes commits or adoptions fail for a while.
func (s *storm) fault() {
	f := mem.Fault{Op: mem.OpCommit, Partition: mem.AllPartitions, Skip: s.rng.IntN(3), Times: 1 + s.rng.IntN(4)}
	unsure := s.rng.IntN(2) == 0
	if unsure && s.rng.IntN(2) == 0 {
		f.Store = mem.StoreAll
	}
	if s.rng.IntN(4) == 0 {
		f.Op, f.Store = mem.OpAdopt, 0
	}
	if s.rng.IntN(3) == 0 {
		f.Delay = time.Duration(s.rng.IntN(2000)) * time.Millisecond
	}
	f.Err = &hubferry.Error{Kind: hubferry.Transient, Op: "commit", Unsure: unsure, Err: errors.New("a fault")}
	s.hubs[s.rng.IntN(len(s.hubs))].Fail(f)
}

// restore takes the main target back to a backup.
func (s *storm) restore(events [][]hubferry.Event, held []*hubferry.Checkpoint) {
	n := s.target.Partitions()
	s.target = s.broker.Create("east", "out", mem.HubOptions{Partitions: n, Transactions: true})
	s.hubs[0] = s.target
	for p := range events {
		s.target.Inject(p, events[p]...)
	}
	for p, c := range held {
		if c != nil {
			s.target.Restore(s.positionID(p), c)
		}
	}
}

// backup returns what the main target holds.
func (s *storm) backup() (events [][]hubferry.Event, held []*hubferry.Checkpoint) {
	for p := range s.target.Partitions() {
		events = append(events, s.target.Dump(p))
	}
	for p := range s.source.Partitions() {
		held = append(held, s.target.Committed(s.positionID(p)))
	}
	return events, held
}

// blow is one thing that happens.
func (s *storm) blow() {
	switch s.rng.IntN(12) {
	case 0, 1, 2, 3:
		s.fault()
	case 4:
		s.end((*run).kill)
		s.begin()
	case 5: // the one before goes on, and does not know
		s.begin()
	case 6:
		s.now().deal.loseOne(strconv.Itoa(s.rng.IntN(s.source.Partitions())))
	case 7: // a stop that faults may make take too long
		x := s.now()
		x.stop()
		<-x.done //nolint:errcheck // see above
		s.runs = s.runs[:len(s.runs)-1]
		s.begin()
	case 8:
		for _, h := range s.hubs {
			h.Cut(mem.AllPartitions)
		}
	}
}

// judge counts what each target that keeps positions has, by input and part.
func (s *storm) judge(hub *mem.Hub) (lost, duplicates, reordered int) {
	seen := map[string]int{}
	last := map[string]int64{} // by source, key and target partition
	for p := range hub.Partitions() {
		for _, e := range hub.Dump(p) {
			hop := hubferry.Hops(&e)[0]
			v, _ := e.Property(hubferry.ReplID)
			id, _ := v.AsText()
			at := hop.Source + "@" + hop.Sequence
			seen[at+id]++
			if seen[at+id] > 1 {
				duplicates++
			}
			seen[at]++
			n, _ := strconv.ParseInt(hop.Sequence, 10, 64)
			k := fmt.Sprint(hop.Source, e.Key, p)
			if before, ok := last[k]; ok && n < before {
				reordered++
			}
			last[k] = n
		}
	}
	for p := range s.source.Partitions() {
		for _, e := range s.source.Dump(p) {
			if seen[fmt.Sprintf("%s@%d", s.source.Place(p), e.Pos.Sequence)] < s.parts(number(&e)) {
				lost++
			}
		}
	}
	return lost, duplicates, reordered
}

// Lost answers, kills, zombies, lost claims, restored targets, editors and several routes, in
// whatever order: at each target that keeps positions, every event arrives once and in order
// (G-12).
func TestCommitUnderRandomFaults(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newStorm(t, seed)
				s.begin()
				events, held := s.backup()
				sent := 0
				for i := range 60 {
					n := s.rng.IntN(150)
					for j := range n {
						s.source.Send(event(fmt.Sprint("key-", j%20), sent+j))
					}
					sent += n
					s.blow()
					time.Sleep(time.Duration(s.rng.IntN(500)) * time.Millisecond)
					if i%20 == 10 && len(s.hubs) == 1 && seed%3 == 0 {
						s.end((*run).kill)
						s.restore(events, held)
						s.begin()
					}
					if i%20 == 2 {
						events, held = s.backup()
					}
				}
				for _, h := range s.hubs {
					h.Heal()
				}
				s.end((*run).kill)
				s.begin()
				s.drained(s.now())
				s.now().finish()
				for i, h := range s.hubs {
					if lost, duplicates, reordered := s.judge(h); lost+duplicates+reordered != 0 {
						t.Errorf("target %d of %d: %d lost, %d duplicates, %d reordered of %d", i, len(s.hubs), lost, duplicates, reordered, sent)
					}
				}
				if s.read != nil { // nothing but a lease keeps a zombie from writing there
					if lost, _, _ := s.judge(s.read); lost != 0 {
						t.Errorf("%d of %d are lost where the target is read", lost, sent)
					}
				}
			})
		})
	}
}
