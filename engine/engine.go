package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hubferry/hubferry"
)

// Options are the settings of an Engine.
type Options struct {
	Log *slog.Logger // nil discards
	// Drain is how long a stopping task may finish what is under way; 0 means 30 s.
	Drain time.Duration
}

// Engine runs tasks. Its methods may be called by several goroutines at once.
type Engine struct {
	tasks []*task
	drain time.Duration
}

// New returns an engine for these tasks, whose names must differ. It checks that the
// definitions make sense; it opens nothing yet.
func New(tasks []Task, o Options) (*Engine, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Log = o.Log.With("component", "engine")
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	e := &Engine{drain: o.Drain}
	var problems []error
	for i := range tasks {
		t := tasks[i].withDefaults()
		if err := t.check(); err != nil {
			problems = append(problems, err)
		}
		if slices.ContainsFunc(e.tasks, func(u *task) bool { return u.Name == t.Name }) {
			problems = append(problems, fmt.Errorf("task %s: two tasks have this name", t.Name))
		}
		e.tasks = append(e.tasks, newTask(t, o.Log.With("task", t.Name)))
	}
	return e, errors.Join(problems...)
}

// Run moves events until ctx ends, then stops cleanly. A task that fails does not stop
// the others: see Status. The error joins those of tasks that could not stop cleanly.
// Run is called once.
func (e *Engine) Run(ctx context.Context) error {
	// hard ends what a clean stop does not finish in time.
	hard, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(e.drain, cancel)
		context.AfterFunc(hard, func() { timer.Stop() })
	})()
	errs := make([]error, len(e.tasks))
	var all sync.WaitGroup
	for i, t := range e.tasks {
		all.Go(func() {
			if err := t.run(ctx, hard); err != nil {
				errs[i] = fmt.Errorf("task %s: %w", t.Name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// Status returns what the tasks are doing, in the order of their definition.
func (e *Engine) Status() []hubferry.TaskStatus {
	list := make([]hubferry.TaskStatus, len(e.tasks))
	for i, t := range e.tasks {
		list[i] = t.snapshot()
	}
	return list
}

// Pause makes a task stop reading. What it has read is still delivered; its partitions
// stay claimed. Pausing a paused task does nothing.
func (e *Engine) Pause(name string) error {
	t, err := e.task(name)
	if err == nil {
		t.gate.pause()
	}
	return err
}

// Resume ends a pause, and starts again what has failed.
func (e *Engine) Resume(name string) error {
	t, err := e.task(name)
	if err == nil {
		t.gate.resume()
	}
	return err
}

func (e *Engine) task(name string) (*task, error) {
	for _, t := range e.tasks {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, fmt.Errorf("no task is named %q", name)
}
