package checkpoint_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/mem"
)

var group = hubferry.ID{Namespace: "west.example.net", Hub: "telemetry", ConsumerGroup: "ferry"}

// source is a hub with empty partitions.
type source struct {
	mu     sync.Mutex
	places []*hubferry.Place
	err    error // of all reads
	closed error // of all openings
}

func newSource(n int) *source {
	s := &source{}
	s.grow(n)
	return s
}

func (s *source) grow(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.places); i < n; i++ {
		s.places = append(s.places, hubferry.NewPlace(group.Namespace, group.Hub, strconv.Itoa(i), "", i))
	}
}

func (s *source) Partitions(context.Context) ([]hubferry.PartitionInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := make([]hubferry.PartitionInfo, len(s.places))
	for i, p := range s.places {
		infos[i].Place = p
	}
	return infos, nil
}

func (s *source) Resolve(context.Context, *hubferry.Place, hubferry.Start) (hubferry.Position, error) {
	return hubferry.Position{Sequence: -1}, nil
}

func (s *source) Open(context.Context, *hubferry.Place, hubferry.Position, int64) (hubferry.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		return nil, s.closed
	}
	return &emptyReader{s}, nil
}

// refuse makes all openings return an error.
func (s *source) refuse(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = err
}

// fail makes all reads return an error.
func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *source) Close(context.Context) error { return nil }

// emptyReader waits, or fails as its source says.
type emptyReader struct{ s *source }

func (r *emptyReader) Read(ctx context.Context, _ *hubferry.Batch) error {
	r.s.mu.Lock()
	err := r.s.err
	r.s.mu.Unlock()
	if err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (r *emptyReader) Close(context.Context) error { return nil }

// instance is a small engine around a balancer: it holds what it gets, and gives back
// what it is asked for.
type instance struct {
	t      *testing.T
	name   string
	b      *checkpoint.Balancer
	store  *mem.Store
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu   sync.Mutex
	held map[string]*hubferry.Claim
	errs []error
	got  int           // how often Next has returned a claim
	slow time.Duration // the last partition is given back so much later than the first
}

// lag makes the instance give partitions back one after the other.
func (i *instance) lag(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.slow = d
}

// grants returns how often the instance was given a partition.
func (i *instance) grants() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.got
}

func start(t *testing.T, name string, s hubferry.Source, store *mem.Store, change func(*checkpoint.Options)) *instance {
	t.Helper()
	o := checkpoint.Options{Source: s, Store: store, Group: group, Owner: checkpoint.OwnerName("task", name)}
	if change != nil {
		change(&o)
	}
	b, err := checkpoint.NewBalancer(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	i := &instance{t: t, name: name, b: b, store: store, cancel: cancel, held: map[string]*hubferry.Claim{}}
	i.done.Go(func() { i.run(ctx) })
	return i
}

func (i *instance) run(ctx context.Context) {
	for {
		c, err := i.b.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			i.mu.Lock()
			i.errs = append(i.errs, err)
			i.mu.Unlock()
			time.Sleep(time.Second)
			continue
		}
		i.mu.Lock()
		if i.held[c.Place.Partition] != nil {
			i.t.Errorf("%s: partition %s was handed out twice", i.name, c.Place.Partition)
		}
		i.held[c.Place.Partition] = c
		i.got++
		i.mu.Unlock()
		i.done.Go(func() {
			select {
			case <-c.Ending:
				i.mu.Lock()
				late := i.slow * time.Duration(c.Place.Index) / 64
				i.mu.Unlock()
				time.Sleep(late)
			case <-c.Lost:
			case <-ctx.Done():
				return
			}
			i.release(c)
		})
	}
}

func (i *instance) release(c *hubferry.Claim) {
	i.mu.Lock()
	delete(i.held, c.Place.Partition)
	i.mu.Unlock()
	_ = c.Release(context.WithoutCancel(i.t.Context()))
}

func (i *instance) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.held)
}

// stop ends the instance as a clean stop of the engine does.
func (i *instance) stop() {
	i.cancel()
	i.done.Wait()
	i.mu.Lock()
	var claims []*hubferry.Claim
	for _, c := range i.held {
		claims = append(claims, c)
	}
	i.mu.Unlock()
	for _, c := range claims {
		i.release(c)
	}
	if err := i.b.Close(i.t.Context()); err != nil {
		i.t.Errorf("close %s: %v", i.name, err)
	}
}

func TestTwoInstancesShareFourAndFour(t *testing.T) {
	for _, strategy := range []checkpoint.Strategy{checkpoint.Balanced, checkpoint.Greedy} {
		t.Run(fmt.Sprint(strategy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hub, data := newSource(8), mem.New()
				set := func(o *checkpoint.Options) { o.Strategy = strategy }
				a := start(t, "a", hub, data.Handle(), set)
				defer a.stop()
				time.Sleep(time.Second)
				if n := a.count(); n != 8 {
					t.Fatalf("alone it holds %d partitions, want all 8", n)
				}
				b := start(t, "b", hub, data.Handle(), set)
				defer b.stop()
				time.Sleep(2 * time.Minute)
				if a.count() != 4 || b.count() != 4 {
					t.Errorf("they hold %d and %d partitions, want 4 and 4", a.count(), b.count())
				}
			})
		})
	}
}
