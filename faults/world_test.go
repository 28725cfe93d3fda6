package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/audit"
	"github.com/hubferry/hubferry/engine"
)

// What all worlds have in common.
const (
	window = 500
	// sendTimeout is how long a write may take. What the worlds hold up, they hold up for
	// less than a third of it, so that nothing is stored behind it (G-9).
	sendTimeout = 5 * time.Second
	longest     = 1500 * time.Millisecond
	patience    = 4 * time.Minute // until what must happen has happened
)

// plan is what a world is made of. All of it is drawn from the seed.
type plan struct {
	seed       uint64
	driver     string
	delivery   engine.Delivery
	store      string
	partitions [2]int
	instances  int
	expiry     time.Duration // of a claim
	idle       time.Duration // of a connection
	insist     bool          // repeat a step until its faults have hit something
	lie        int64         // by how much a store in memory makes checkpoints larger, to test the judge
	onGap      engine.GapPolicy
	steps      []step
}

// step is one fault that comes, or several at once.
type step struct {
	faults []*fault
	sides  []int // whose network or server fails
	side   int   // of the one that is being injected
	moment moment
	lasts  time.Duration // until it is healed
	pick   uint64        // of everything else that there is to choose
}

func (s *step) String() string {
	var names []string
	for i, f := range s.faults {
		names = append(names, fmt.Sprintf("%s (%s)", f.name, [...]string{"source", "target", "store"}[s.sides[i]]))
	}
	return fmt.Sprintf("%s %s for %s", strings.Join(names, " and "), s.moment, s.lasts.Round(time.Millisecond))
}

// world runs a plan.
type world struct {
	plan    plan
	ctx     context.Context
	dir     string
	log     *slog.Logger
	journal *journal
	names   *names
	hosts   map[string]func() string // where the servers are now
	service service
	store   store
	load    load
	group   hubferry.ID
	result  result
	locked  atomic.Bool // an instance may have been refused because of its token or key

	mu        sync.Mutex
	instances []*instance
	started   int
	counts    hubferry.Counts // of the instances that are gone
	dropped   int64
	claims    int
	added     [2]int           // partitions, at source and target
	owners    map[string]owner // by path of the place
	armed     map[moment]func(*instance)
	errs      []error
}

type owner struct {
	name  string
	lease hubferry.Leased
}

// result is what a world tells in the end.
type result struct {
	plan     plan
	injected []injected
	missed   []injected      // those that found nothing to hit
	times    []time.Duration // how long each step took
	laps     []string
	report   audit.Report
	counts   hubferry.Counts
	claims   int
	took     time.Duration
	errs     []error
	log      string
}

// injected is a fault that has hit something.
type injected struct {
	fault, driver string
	moment        moment
}

// run makes a world of a plan, lets it go on to its end, and judges it.
func run(ctx context.Context, dir string, p plan) result {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	j := &journal{began: time.Now()}
	w := &world{
		plan: p, ctx: ctx, dir: dir, journal: j, log: slog.New(j.handler()),
		hosts: map[string]func() string{}, owners: map[string]owner{}, armed: map[moment]func(*instance){},
	}
	w.result.plan = p
	if err := w.open(); err != nil {
		w.fail(err)
	} else {
		w.play()
	}
	ended := time.Now()
	w.close()
	w.result.laps = append(w.result.laps, fmt.Sprintf("closed %.1fs", time.Since(ended).Seconds()))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.counts, w.result.claims, w.result.errs, w.result.took = w.counts, w.claims, w.errs, time.Since(j.began)
	if len(w.errs) > 0 || os.Getenv("HUBFERRY_FAULTS_LOG") != "" {
		w.result.log = j.String()
	}
	return w.result
}

// fail notes what must not be.
func (w *world) fail(err error) {
	w.log.Error("FAILED", "error", err)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

func (w *world) open() (err error) {
	if w.names, err = newNames(); err != nil {
		return err
	}
	if w.service, err = newService(w); err != nil {
		return err
	}
	if w.store, err = w.newStore(); err != nil {
		return err
	}
	namespace, hub, _ := strings.Cut(w.service.place(), "/")
	w.group = hubferry.ID{Namespace: namespace, Hub: hub, ConsumerGroup: taskName}
	w.load = load{w: w, random: rand.New(rand.NewPCG(w.plan.seed, 2))}
	for range w.plan.instances {
		if err := w.join(); err != nil {
			return err
		}
	}
	return nil
}

// join starts one more instance.
func (w *world) join() error {
	x, err := w.startInstance()
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.instances = append(w.instances, x)
	w.mu.Unlock()
	return nil
}

// running returns the instances, the oldest first.
func (w *world) running() []*instance {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.instances)
}

// leave stops one instance.
func (w *world) leave(x *instance) error {
	w.mu.Lock()
	w.instances = slices.DeleteFunc(w.instances, func(y *instance) bool { return x == y })
	w.mu.Unlock()
	return x.leave()
}

func (w *world) close() {
	for _, x := range w.running() {
		if err := w.leave(x); err != nil {
			w.fail(err)
		}
	}
	ctx := context.WithoutCancel(w.ctx)
	if w.store != nil {
		w.store.close(ctx)
	}
	if w.service != nil {
		w.service.close(ctx)
	}
	if w.names != nil {
		w.names.close()
	}
}

// hostOf returns the name of the host behind an address.
func (w *world) hostOf(addr string) string {
	if k, ok := w.service.(*kafkaClusters); ok {
		for _, c := range k.clusters {
			if host, ok := c.hostOf(addr); ok {
				return host
			}
		}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// claimed checks that nobody else is certain of the partition (INV-9).
func (w *world) claimed(x *instance, c *hubferry.Claim) {
	lease, ok := c.Holder.(hubferry.Leased)
	w.mu.Lock()
	w.claims++
	place := c.Place.Path()
	before := w.owners[place]
	if ok {
		w.owners[place] = owner{x.name, lease}
	}
	w.mu.Unlock()
	if before.lease == nil || before.name == x.name {
		return
	}
	if until := before.lease.Until(); time.Until(until) > 0 {
		w.fail(fmt.Errorf("INV-9: %s got %s while %s was certain of it for another %s", x.name, place, before.name, time.Until(until)))
	}
}

// play has the faults come one after the other, and waits until all is well again.
func (w *world) play() {
	loading, stop := context.WithCancel(w.ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.load.run(loading) }()
	w.load.allow(perStep)
	w.eventually("events arrive", func() bool { return w.progress().Moved > 50 })
	for i, s := range w.plan.steps {
		began := time.Now()
		w.revive()
		for missed := true; missed && w.ctx.Err() == nil; {
			w.load.allow(perStep)
			missed = !w.inject(s) && w.plan.insist
			if missed && time.Since(began) > patience {
				w.fail(fmt.Errorf("%s could not be injected within %s; %s", &s, patience, w.states()))
				missed = false
			}
		}
		w.result.times = append(w.result.times, time.Since(began))
		if i%5 == 4 {
			w.checkCheckpoints()
		}
		if w.failed() {
			break
		}
	}
	stop()
	if err := <-done; err != nil {
		w.fail(err)
	}
	w.settle()
}

// revive does what an operator does about a task, or a partition of it, that has stopped
// because it was not let in: it is resumed. Anything else that stops one is a defect, and
// there is nothing to wait for any more.
func (w *world) revive() bool {
	for _, x := range w.running() {
		s := x.status()
		stopped := s.State == hubferry.Failed
		for _, p := range s.Owned {
			stopped = stopped || p.State == hubferry.Failed
		}
		switch {
		case !stopped:
		case w.locked.Load():
			_ = x.engine.Resume(taskName) // it knows the task
		default:
			w.fail(fmt.Errorf("%s has stopped, and nothing but a person makes it go on: %s", x.name, w.states()))
			return false
		}
	}
	return true
}

func (w *world) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.errs) > 0
}

// partitions is how many a side has now.
func (w *world) partitions(side int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.partitions[side] + w.added[side]
}

// grown notes that a side has one more partition.
func (w *world) grown(side int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.added[side]++
}

// progress sums up what the running instances have done.
func (w *world) progress() (sum hubferry.Counts) {
	for _, x := range w.running() {
		c := x.status().Counts
		sum.Moved += c.Moved
		sum.Written += c.Written
		sum.Retries += c.Retries
	}
	return sum
}

// idle reports whether nothing is under way and nothing is left to do.
func (w *world) idle() bool {
	owned := map[string]bool{}
	for _, x := range w.running() {
		for _, p := range x.status().Owned {
			if p.State != hubferry.Running || p.InFlight > 0 || p.Lag > 0 {
				return false
			}
			owned[p.Partition] = true
		}
	}
	return len(owned) == w.partitions(source)
}

// eventually waits for something that must happen.
func (w *world) eventually(what string, holds func() bool) bool {
	for end := time.Now().Add(patience); !holds(); pause(w.ctx, 20*time.Millisecond) {
		if !w.revive() {
			return false
		}
		if time.Now().After(end) || w.ctx.Err() != nil {
			w.fail(fmt.Errorf("not within %s: %s; %s", patience, what, w.states()))
			return false
		}
	}
	return true
}

// states tells what the instances are doing.
func (w *world) states() string {
	var b strings.Builder
	for _, x := range w.running() {
		s := x.status()
		fmt.Fprintf(&b, "\n%s: %s %s, moved %d", x.name, s.State, s.Error, s.Counts.Moved)
		for _, p := range s.Owned {
			fmt.Fprintf(&b, "\n  %s: %s read %d checkpoint %d end %d in flight %d %s %+v", p.Partition, p.State, p.Read, p.Checkpoint, p.End, p.InFlight, p.Error, p.Search)
		}
	}
	return b.String()
}

// load sends events to the source.
type load struct {
	w      *world
	random *rand.Rand

	mu      sync.Mutex
	paused  bool
	sent    int
	allowed int
}

const (
	keys    = 40
	perStep = 250 // events, so that a world does not grow when it takes long
)

func (l *load) allow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.allowed = max(l.allowed, l.sent) + n
}

func (l *load) pause(paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = paused
}

// run sends some two hundred events a second.
func (l *load) run(ctx context.Context) error {
	for ctx.Err() == nil {
		l.mu.Lock()
		paused := l.paused || l.sent > l.allowed
		l.mu.Unlock()
		if !paused {
			key := ""
			if k := l.random.IntN(keys + 4); k < keys {
				key = fmt.Sprint("key-", k)
			}
			texts := make([]string, 1+l.random.IntN(20))
			l.mu.Lock()
			for i := range texts {
				texts[i] = fmt.Sprintf("%d of %s %s", l.sent, key, strings.Repeat("x", l.random.IntN(400)))
				l.sent++
			}
			l.mu.Unlock()
			// What was begun is sent to its end.
			if err := l.w.service.send(context.WithoutCancel(ctx), key, texts); err != nil {
				return err
			}
		}
		pause(ctx, 50*time.Millisecond)
	}
	return nil
}

// compare reads both sides back and compares them.
func (w *world) compare() (audit.Report, error) {
	in, sources, err := w.service.read(w.ctx, source)
	if err != nil {
		return audit.Report{}, err
	}
	out, targets, err := w.service.read(w.ctx, target)
	if err != nil {
		return audit.Report{}, err
	}
	if sources != w.plan.partitions[source] || targets != w.plan.partitions[target] {
		targets = sources + 1 // what has grown is mapped as before (G-4), and no longer one to one
	}
	return audit.Compare(in, out, audit.Options{Source: w.service.place(), SourcePartitions: sources, TargetPartitions: targets}), nil
}

// settle waits until everything has arrived, and judges what has.
func (w *world) settle() {
	var report audit.Report
	var err error
	began := time.Now()
	lap := func(what string) {
		w.result.laps = append(w.result.laps, fmt.Sprintf("%s %.1fs", what, time.Since(began).Seconds()))
		began = time.Now()
	}
	defer func() { lap("judged") }()
	w.eventually("everything arrives", func() bool {
		if !w.idle() {
			return false
		}
		report, err = w.compare()
		return err == nil && report.Lost == 0
	})
	lap("arrived")
	w.checkCheckpoints()
	lap("checked")
	for _, x := range w.running() {
		if err := w.leave(x); err != nil {
			w.fail(err)
		}
	}
	lap("left")
	pause(w.ctx, longest) // for what is stored late
	if err := w.service.over(w.ctx); err != nil {
		w.fail(err)
	}
	if report, err = w.compare(); err != nil {
		w.fail(err)
		return
	}
	w.result.report = report
	w.judge(&report)
}

// judge compares what was found with what is promised.
func (w *world) judge(r *audit.Report) {
	w.mu.Lock()
	told, claims, dropped, gaps, retries := w.counts.Unproven+w.counts.DuplicatesSeen, w.claims, w.dropped, w.counts.Gaps, w.counts.Retries
	w.mu.Unlock()
	if !r.Faultless() || r.Foreign != 0 {
		w.fail(fmt.Errorf("INV-3, INV-4, INV-5: %+v", *r))
	}
	if r.Events < w.load.sent {
		w.fail(fmt.Errorf("the source has %d events, and %d were sent", r.Events, w.load.sent))
	}
	if dropped > 0 || gaps > 0 {
		w.fail(fmt.Errorf("%d events were dropped and %d gaps counted", dropped, gaps))
	}
	switch {
	case w.plan.delivery == engine.EffectivelyOnce:
		if r.Duplicates > int(told) {
			w.fail(fmt.Errorf("G-8, G-9: %d duplicates, and the program tells of %d: %+v", r.Duplicates, told, *r))
		}
	case r.Duplicates > (claims+int(retries))*window:
		w.fail(fmt.Errorf("INV-3: %d duplicates are more than a window of %d for each of %d claims and %d retries", r.Duplicates, window, claims, retries))
	}
	if w.plan.instances == 1 && !w.late() && r.DeepestRepeat > window {
		w.fail(fmt.Errorf("G-6: a repeat went back %d events, further than the window of %d", r.DeepestRepeat, window))
	}
}

// late reports whether something of this world may be stored behind newer events.
func (w *world) late() bool {
	return slices.ContainsFunc(w.plan.steps, func(s step) bool {
		return slices.ContainsFunc(s.faults, func(f *fault) bool { return f.late })
	})
}

// checkCheckpoints checks that the target has everything that checkpoints pass (INV-2).
func (w *world) checkCheckpoints() {
	stored, err := w.checkpoints()
	if err != nil {
		w.fail(fmt.Errorf("read checkpoints: %w", err))
		return
	}
	records, _, err := w.service.read(w.ctx, target)
	if err != nil {
		w.fail(err)
		return
	}
	for _, err := range beyond(records, w.service.place(), stored) {
		w.fail(err)
	}
}

// checkpoints returns the sequence numbers of the stored checkpoints, by partition.
func (w *world) checkpoints() (map[string]int64, error) {
	found := map[string]int64{}
	list, err := w.store.checkpoints(w.ctx, w.group)
	for id, c := range list {
		if c.Err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", id, c.Err))
		}
		found[id.Partition] = c.Position.Sequence
	}
	return found, err
}

// beyond returns which checkpoints pass an event that is not on the target.
func beyond(records []audit.Record, place string, stored map[string]int64) (errs []error) {
	arrived := map[string]map[int64]bool{}
	for i := range records {
		partition, sequence, ok := origin(&records[i], place)
		if !ok {
			continue
		}
		if arrived[partition] == nil {
			arrived[partition] = map[int64]bool{}
		}
		arrived[partition][sequence] = true
	}
	for _, partition := range slices.Sorted(maps.Keys(stored)) {
		for n := range stored[partition] + 1 {
			if !arrived[partition][n] {
				errs = append(errs, fmt.Errorf("INV-2: the checkpoint of partition %s is at %d, and %d is not on the target", partition, stored[partition], n))
				break
			}
		}
	}
	return errs
}

// origin returns where an event came from, by its last hop.
func origin(r *audit.Record, place string) (partition string, sequence int64, ok bool) {
	last := func(list string) string { return list[strings.LastIndexByte(list, ';')+1:] }
	partition, ok = strings.CutPrefix(last(r.Provenance[hubferry.ReplSource]), place+"/")
	if !ok {
		return "", 0, false
	}
	_, err := fmt.Sscan(last(r.Provenance[hubferry.ReplSequence]), &sequence)
	return partition, sequence, err == nil
}

// newService makes the hubs that the plan asks for.
func newService(w *world) (service, error) {
	if w.plan.driver == kafkas {
		return newKafkaClusters(w)
	}
	return newAMQPHubs(w)
}
