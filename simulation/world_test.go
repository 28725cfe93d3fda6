package simulation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	store "github.com/hubferry/hubferry/checkpoint/mem"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// world is what outlives the instances of its tasks: hubs and store.
type world struct {
	t      *testing.T
	scene  scene
	log    io.Writer
	broker *mem.Broker
	source *mem.Hub
	target *mem.Hub
	store  *store.Store
	random *rand.Rand // of the schedule; only the bubble's first goroutine uses it
	tasks  []engine.Task
	judge  *judge
	number int

	mu     sync.Mutex
	counts hubferry.Counts // of the instances that are gone
	faults map[fault]int
	hash   uint64 // of what has happened, in its order
}

// scene says what a world is like.
type scene struct {
	sources, targets int
	keys             int // 0: events have no key
	window           int
	delivery         engine.Delivery
	broken           rule // that is out of force; the judge must notice
	retention        bool // the target forgets its oldest events
	compaction       bool // the target keeps the newest event of each key
	growth           bool // both hubs gain partitions
	changes          bool // the configuration changes from instance to instance
	residue          bool // a process can be frozen between its driver's last look and the send
}

// lateBy is how long after a write has begun its events may still be stored.
const lateBy = 20 * time.Second

func newWorld(t *testing.T, seed uint64, s scene, log io.Writer) *world {
	t.Helper()
	b := mem.NewBroker()
	w := &world{
		t: t, scene: s, log: log, broker: b, store: store.New(), random: rand.New(rand.NewPCG(seed, 7)),
		source: b.Create("west", "in", mem.HubOptions{Partitions: s.sources}),
		target: b.Create("east", "out", mem.HubOptions{Partitions: s.targets, Late: lateBy, Sparse: s.compaction}),
		faults: map[fault]int{}, hash: 14695981039346656037,
	}
	for _, name := range []string{"copy", "other"} {
		task := engine.Task{Name: name, Delivery: s.delivery, Window: s.window, Fingerprint: "1"}
		if s.broken == window {
			task.Window, task.SaveEvents, task.SaveInterval = 1<<20, 1<<20, time.Hour
		}
		w.tasks = append(w.tasks, task)
	}
	w.judge = newJudge(w)
	return w
}

// happened counts a fault.
func (w *world) happened(f fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[f]++
}

// note adds something that has happened to the hash of the run.
func (w *world) note(words ...int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range append(words, time.Now().UnixNano()) {
		w.hash = (w.hash ^ uint64(n)) * 1099511628211
	}
}

// instance is one process that runs one task.
type instance struct {
	*engine.Engine
	world  *world
	number int
	name   string
	task   string
	dead   atomic.Bool
	stop   context.CancelFunc
	done   chan struct{}
	rough  float64 // how often something goes wrong with a write

	mu   sync.Mutex
	rnd  *rand.Rand
	away time.Time // until then the store cannot be reached
	ice  time.Time // until then nothing moves
}

var errDead = errors.New("the process is dead")

// start starts an instance of the first task.
func (w *world) start(rough float64) *instance { return w.run(w.tasks[0], rough) }

// run starts an instance of a task. Each has connections of its own, which die with it.
func (w *world) run(task engine.Task, rough float64) *instance {
	w.t.Helper()
	w.number++
	x := &instance{
		world: w, number: w.number, name: fmt.Sprintf("instance-%d", w.number), task: task.Name, done: make(chan struct{}), rough: rough,
		rnd: rand.New(rand.NewPCG(w.random.Uint64(), 3)),
	}
	handle := w.store.Handle()
	handle.SetFault(x.storeFault)
	group := task.Name
	if w.scene.broken == lease {
		group = x.name // then nobody pushes anybody's reader out
	}
	inner := mem.NewSource(w.broker, "west", "in", &mem.SourceOptions{ConsumerGroup: group})
	source := &simSource{inner, x}
	task.Source, task.SourceName = source, "west/in"
	task.Routes = []engine.Route{{Name: "out", Target: &simTarget{mem.NewTarget(w.broker, "east"), x}, Hub: "out", Address: "east/out"}}
	if w.scene.changes {
		task.Fingerprint = fmt.Sprint(w.number % 3)
	}
	log := slog.New(slog.DiscardHandler)
	if w.log != nil {
		log = slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("instance", x.name)
	}
	task.Coordinate = func(context.Context) (hubferry.Coordinator, error) {
		b, err := checkpoint.NewBalancer(checkpoint.Options{
			Source: source, Store: &simStore{handle, w}, Group: w.group(task.Name),
			Owner: checkpoint.OwnerName(task.Name, x.name), Log: log,
		})
		if err == nil && w.scene.broken == lease {
			return &heedless{b}, nil
		}
		return b, err
	}
	e, err := engine.New([]engine.Task{task}, engine.Options{Log: log, Drain: 30 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	x.Engine = e
	ctx, cancel := context.WithCancel(w.t.Context())
	x.stop = cancel
	go func() {
		defer close(x.done)
		_ = e.Run(ctx) // how it ends is no matter: the judge looks at what it has done
		_ = inner.Close(ctx)
	}()
	return x
}

func (w *world) group(task string) hubferry.ID {
	return hubferry.ID{Namespace: "west", Hub: "in", ConsumerGroup: task}
}

func (x *instance) chance(p float64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rnd.Float64() < p
}

func (x *instance) upTo(d time.Duration) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return time.Duration(x.rnd.Float64() * float64(d))
}

func (x *instance) pick(n int) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.rnd.IntN(n)
}

// die makes everything that the process does from now on come to nothing, as kill -9.
func (x *instance) die() { x.dead.Store(true) }

// kill ends the process at once. It has no last word.
func (x *instance) kill() {
	x.die()
	x.gone()
}

// gone stops the process and waits until it is over.
func (x *instance) gone() {
	x.stop()
	<-x.done
	x.world.mu.Lock()
	defer x.world.mu.Unlock()
	c, sum := x.Status()[0].Counts, &x.world.counts
	sum.Found += c.Found
	sum.DuplicatesSeen += c.DuplicatesSeen
	sum.Unproven += c.Unproven
}

// lose keeps the instance away from the store for a while.
func (x *instance) lose(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.away = time.Now().Add(d)
}

// freeze stops the process for a while, as far as its connections can tell.
func (x *instance) freeze(d time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ice = time.Now().Add(d)
}

// frozen returns how long the process stands still yet.
func (x *instance) frozen() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return max(0, time.Until(x.ice))
}

// thaw waits until the process moves again. No context ends it.
func (x *instance) thaw() {
	if d := x.frozen(); d > 0 {
		<-time.After(d)
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
