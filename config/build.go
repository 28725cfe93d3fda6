package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/engine"
)

// BuildOptions are what tasks need beside their configuration.
type BuildOptions struct {
	// Env is what drivers, editors and stores are given. Instance must be unique for
	// each start of a process. Budget is set by Build, and so is Fetch if it is nil:
	// files are then read relative to the folder of the configuration.
	Env hubferry.Env
	// Tasks names the tasks to be built; empty means all.
	Tasks []string
}

// Built are tasks that are ready for the engine, and what they hold open.
type Built struct {
	Tasks   []engine.Task
	closers []func(context.Context) error
}

// Close closes what the tasks hold open, after the engine has ended. It may be called
// twice.
func (b *Built) Close(ctx context.Context) error {
	var errs []error
	for _, c := range slices.Backward(b.closers) {
		errs = append(errs, c(ctx))
	}
	b.closers = nil
	return errors.Join(errs...)
}

// Build opens the connections, the checkpoint store, the sources and the targets of the
// tasks. After an error nothing stays open.
func (a *Application) Build(ctx context.Context, o BuildOptions) (*Built, error) {
	tasks, err := a.selectTasks(o.Tasks)
	if err != nil {
		return nil, err
	}
	b := builder{app: a, env: a.complete(o.Env), built: &Built{}, open: map[*Connection]hubferry.Connection{}}
	b.env.Budget = b.share(tasks)
	for _, t := range tasks {
		def, err := b.task(ctx, t)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("task %s: %w", t.Name, err), b.built.Close(context.WithoutCancel(ctx)))
		}
		b.built.Tasks = append(b.built.Tasks, def)
	}
	return b.built, nil
}

// Connect opens one connection by its name, for work without a task. The budget of the
// environment, if there is none, is the connections' part of the memory.
func (a *Application) Connect(ctx context.Context, name string, env hubferry.Env) (hubferry.Connection, error) {
	c := a.Connection(name)
	if c == nil {
		names := make([]string, len(a.Connections))
		for i := range a.Connections {
			names[i] = a.Connections[i].Name
		}
		return nil, fmt.Errorf("%s: there is no connection %q%s", a.File, name, suggest(name, names))
	}
	env = a.complete(env)
	if env.Budget == 0 {
		env.Budget = int64(a.buffers())
	}
	return connect(ctx, c, env)
}

// OpenStore opens the configured checkpoint store, for work without a task. The caller
// closes it.
func (a *Application) OpenStore(ctx context.Context, env hubferry.Env) (hubferry.CheckpointStore, error) {
	kind := a.Store.Kind
	if kind.Open == nil {
		return nil, errors.New(`no checkpoint store is configured; name one under "checkpoints"`)
	}
	store, err := kind.Open(ctx, a.Store.Options, a.complete(env))
	if err != nil {
		return nil, fmt.Errorf("open checkpoint store %s: %w", kind.Name, err)
	}
	return store, nil
}

func connect(ctx context.Context, c *Connection, env hubferry.Env) (hubferry.Connection, error) {
	env.Log = env.Log.With("connection", c.Name)
	opened, err := c.Driver.Connect(ctx, c.Options, env)
	if err != nil {
		return nil, fmt.Errorf("connect %s: %w", c.Name, err)
	}
	return opened, nil
}

// selectTasks returns the tasks of these names, or all.
func (a *Application) selectTasks(names []string) ([]*Task, error) {
	if len(a.Tasks) == 0 {
		return nil, fmt.Errorf("%s: there are no tasks", a.File)
	}
	if len(names) == 0 {
		return a.Tasks, nil
	}
	all := make([]string, len(a.Tasks))
	for i := range a.Tasks {
		all[i] = a.Tasks[i].Name
	}
	var tasks []*Task
	for _, name := range names {
		t := a.Task(name)
		if t == nil {
			return nil, fmt.Errorf("%s: there is no task %q%s", a.File, name, suggest(name, all))
		}
		if !slices.Contains(tasks, t) {
			tasks = append(tasks, t)
		}
	}
	return tasks, nil
}

// complete fills in what the caller left out.
func (a *Application) complete(env hubferry.Env) hubferry.Env {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	if env.Fetch == nil {
		folder := filepath.Dir(a.File)
		env.Fetch = func(name string) ([]byte, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(folder, name)
			}
			return os.ReadFile(name)
		}
	}
	return env
}

// builder is one call of Build.
type builder struct {
	app   *Application
	env   hubferry.Env
	built *Built
	open  map[*Connection]hubferry.Connection
	store hubferry.CheckpointStore
}

// share returns the part of the memory for one connection's buffers.
func (b *builder) share(tasks []*Task) int64 {
	used := map[*Connection]bool{}
	for _, t := range tasks {
		used[t.Source.Connection] = true
		for i := range t.Targets {
			used[t.Targets[i].Connection] = true
		}
		if t.DeadLetters != nil {
			used[t.DeadLetters.Connection] = true
		}
	}
	return int64(b.app.buffers()) / int64(max(len(used), 1))
}

// later remembers what Built.Close closes, the last first.
func (b *builder) later(c func(context.Context) error) {
	b.built.closers = append(b.built.closers, c)
}

// connection opens a connection when it is first used.
func (b *builder) connection(ctx context.Context, c *Connection) (hubferry.Connection, error) {
	if opened := b.open[c]; opened != nil {
		return opened, nil
	}
	opened, err := connect(ctx, c, b.env)
	if err != nil {
		return nil, err
	}
	b.open[c] = opened
	b.later(opened.Close)
	return opened, nil
}

// task builds one task.
func (b *builder) task(ctx context.Context, t *Task) (engine.Task, error) {
	def := engine.Task{
		Name: t.Name, SourceName: t.Source.Address(),
		Match: engine.Match(t.Match), OnError: engine.Policy(t.OnError), OnGap: engine.GapPolicy(t.OnGap),
		Retry: engine.Retry{Min: t.Retry.Min, Max: t.Retry.Max, Attempts: t.Retry.Attempts},
		Start: t.Source.Start.Start, Starts: t.Source.Start.Partitions,
		Window: t.Window.Events, Budget: int64(t.Window.Bytes),
		SaveEvents: t.CheckpointEvery.Events, SaveInterval: t.CheckpointEvery.Time,
		Trail:    t.Provenance.Trail(),
		Delivery: engine.Delivery(t.Delivery), Fingerprint: t.fingerprint(),
		Editors: b.steps(t.Edit),
	}
	if err := b.source(ctx, t, &def); err != nil {
		return def, fmt.Errorf("source %s: %w", t.Source.Address(), err)
	}
	for i := range t.Targets {
		route, err := b.route(ctx, &t.Targets[i])
		if err != nil {
			return def, err
		}
		def.Routes = append(def.Routes, *route)
	}
	if t.DeadLetters != nil && t.OnError == OnErrorDeadLetter {
		route, err := b.route(ctx, t.DeadLetters)
		if err != nil {
			return def, err
		}
		def.DeadLetters = route
	}
	return def, nil
}

// steps makes editors of what was configured.
func (b *builder) steps(list []Edit) []engine.Step {
	var steps []engine.Step
	for _, e := range list {
		steps = append(steps, engine.Step{Name: e.Name, New: func() (hubferry.Editor, error) { return e.Kind.New(e.Options, b.env) }})
	}
	return steps
}

// route opens a target.
func (b *builder) route(ctx context.Context, t *Target) (*engine.Route, error) {
	c, err := b.connection(ctx, t.Connection)
	if err != nil {
		return nil, err
	}
	target, err := c.Target(ctx, t.Options)
	if err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Address(), err)
	}
	b.later(target.Close)
	return &engine.Route{
		Name: t.Name, Target: target, Hub: t.Hub, Address: t.Address(),
		When: t.Condition, Editors: b.steps(t.Edit),
	}, nil
}

// source opens a source and says who deals out its partitions.
func (b *builder) source(ctx context.Context, t *Task, def *engine.Task) error {
	c, err := b.connection(ctx, t.Source.Connection)
	if err != nil {
		return err
	}
	source, err := openSource(ctx, c, &t.Source)
	if err != nil {
		return err
	}
	b.later(source.Close)
	def.Source = source
	if coordinated, ok := source.(hubferry.Coordinated); ok {
		member := hubferry.Member{Task: t.Name, Shared: t.Source.Shared}
		def.Coordinate = func(ctx context.Context) (hubferry.Coordinator, error) { return coordinated.Coordinate(ctx, member) }
		return nil
	}
	store, err := b.checkpoints(ctx)
	if err != nil {
		return err
	}
	def.Coordinate = func(ctx context.Context) (hubferry.Coordinator, error) {
		return b.balancer(ctx, t, c, source, store)
	}
	return nil
}

func openSource(ctx context.Context, c hubferry.Connection, s *Source) (hubferry.Source, error) {
	if !s.several() {
		return c.Source(ctx, s.Hub, s.Options)
	}
	selecting, ok := c.(hubferry.Selecting)
	if !ok {
		return nil, fmt.Errorf("%s connections read one hub at a time", s.Connection.Driver.Name)
	}
	return selecting.SourceOf(ctx, s.selection(), s.Options)
}

// checkpoints opens the store when it is first needed: sources whose service keeps
// positions itself do without.
func (b *builder) checkpoints(ctx context.Context) (hubferry.CheckpointStore, error) {
	if b.store != nil {
		return b.store, nil
	}
	store, err := b.app.OpenStore(ctx, b.env)
	if err != nil {
		return nil, err
	}
	b.store = store
	b.later(store.Close)
	return store, nil
}

// balancer begins to share the partitions of a source with other instances.
func (b *builder) balancer(ctx context.Context, t *Task, c hubferry.Connection, source hubferry.Source, store hubferry.CheckpointStore) (hubferry.Coordinator, error) {
	group, err := t.GroupID(ctx, c, source)
	if err != nil {
		return nil, err
	}
	strategy := checkpoint.Balanced
	if t.Balance.Strategy == "greedy" {
		strategy = checkpoint.Greedy
	}
	return checkpoint.NewBalancer(checkpoint.Options{
		Source: source, Store: store, Group: group, Owner: checkpoint.OwnerName(t.Name, b.env.Instance),
		Strategy: strategy, Interval: t.Balance.Interval, Expiry: t.Balance.Expiry,
		Shared: t.Source.Shared, Log: b.env.Log.With("task", t.Name),
	})
}

// GroupID returns the name under which a task's progress is stored: the hub's canonical
// one (G-1), which the places of its partitions know best.
func (t *Task) GroupID(ctx context.Context, c hubferry.Connection, source hubferry.Source) (hubferry.ID, error) {
	id := hubferry.ID{Hub: t.Source.Hub, ConsumerGroup: t.Source.Group}
	if id.ConsumerGroup == "" {
		id.ConsumerGroup = t.Name // the driver has no groups: progress belongs to the task
	}
	places, err := hubferry.PlacesOf(ctx, source)
	if err != nil {
		return id, err
	}
	if len(places) > 0 {
		id.Namespace, id.Hub = places[0].Namespace, places[0].Hub
		return id, nil
	}
	id.Namespace, err = c.Namespace(ctx)
	return id, err
}
