package engine_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/engine"
)

// ailing is a coordinator whose store is away for a while. It tries again by itself.
type ailing struct {
	*dealer
	until time.Time
}

func (a *ailing) Next(ctx context.Context) (*hubferry.Claim, error) {
	if time.Now().Before(a.until) {
		time.Sleep(time.Second)
		return nil, errors.New("the store is away")
	}
	return a.dealer.Next(ctx)
}

// When the store is back, what the coordinator claims is moved soon, and a task without a
// partition is well.
func TestCoordinatorIsBack(t *testing.T) {
	for name, partitions := range map[string]int{"with a partition": 1, "without": 0} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, partitions, 1)
				task := r.task
				if partitions > 0 {
					r.produce(10, 1)
				}
				deal := newDealer(r)
				away := 27 * time.Minute // in the middle of one of the longest pauses of Retry
				task.Coordinate = func(context.Context) (hubferry.Coordinator, error) {
					return &ailing{deal, time.Now().Add(away)}, nil
				}
				e, err := engine.New([]engine.Task{task}, engine.Options{})
				if err != nil {
					t.Fatal(err)
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- e.Run(ctx) }()
				time.Sleep(away - time.Minute)
				if s := e.Status()[0]; s.State != hubferry.Retrying || s.Error == "" {
					t.Errorf("while the store is away: %s, %q", s.State, s.Error)
				}
				time.Sleep(time.Minute + 20*time.Second)
				if n := len(r.target.Dump(0)); n != 10*partitions {
					t.Errorf("%d events were moved, want %d", n, 10*partitions)
				}
				time.Sleep(2 * time.Minute)
				if s := e.Status()[0]; s.State != hubferry.Running || s.Error != "" {
					t.Errorf("when the store is back: %s, %q", s.State, s.Error)
				}
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
