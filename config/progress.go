package config

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
)

// Progress is where a task keeps how far it has come, opened by who does not run it.
type Progress struct {
	Source hubferry.Source
	store  hubferry.Checkpoints
	task   string
	group  hubferry.ID
	expiry time.Duration
	built  *Built
}

// Progress opens the progress of a task.
func (a *Application) Progress(ctx context.Context, name string, env hubferry.Env) (*Progress, error) {
	tasks, err := a.selectTasks([]string{name})
	if err != nil {
		return nil, err
	}
	b := builder{app: a, env: a.complete(env), built: &Built{}, open: map[*Connection]hubferry.Connection{}}
	b.env.Budget = b.share(tasks)
	p, err := b.progress(ctx, tasks[0])
	if err != nil {
		return nil, errors.Join(fmt.Errorf("task %s: %w", name, err), b.built.Close(context.WithoutCancel(ctx)))
	}
	return p, nil
}

func (b *builder) progress(ctx context.Context, t *Task) (*Progress, error) {
	c, err := b.connection(ctx, t.Source.Connection)
	if err != nil {
		return nil, err
	}
	p := &Progress{task: t.Name, expiry: t.Balance.Expiry, built: b.built}
	if p.expiry == 0 {
		p.expiry = max(checkpoint.DefaultExpiry, 6*t.Balance.Interval)
	}
	if p.Source, err = openSource(ctx, c, &t.Source); err != nil {
		return nil, err
	}
	b.later(p.Source.Close)
	if p.group, err = t.GroupID(ctx, c, p.Source); err != nil {
		return nil, err
	}
	if own, ok := p.Source.(hubferry.Checkpoints); ok {
		p.store = own
		return p, nil
	}
	if _, ok := p.Source.(hubferry.Coordinated); ok {
		return nil, errors.New("the source's service keeps the progress, and nobody else can write it")
	}
	store, err := b.checkpoints(ctx)
	if err != nil {
		return nil, err
	}
	p.store = store
	return p, nil
}

// of names the progress in one hub of the source.
func (p *Progress) of(hub string) hubferry.ID {
	id := p.group.Group()
	id.Hub = hub
	return id
}

// List returns the checkpoints of one hub of the source by partition.
func (p *Progress) List(ctx context.Context, hub string) (map[string]hubferry.Checkpoint, error) {
	all, err := p.store.ListCheckpoints(ctx, p.of(hub))
	list := make(map[string]hubferry.Checkpoint, len(all))
	for id, c := range all {
		list[id.Partition] = c
	}
	return list, err
}

// Save stores a checkpoint as one of the task.
func (p *Progress) Save(ctx context.Context, place *hubferry.Place, c hubferry.Checkpoint) error {
	id := p.of(place.Hub)
	id.Partition = place.Partition
	return p.store.SaveCheckpoint(ctx, id, checkpoint.MadeFor(c, p.task))
}

// Owners returns who moves partitions of the task just now, by its store. A source that
// keeps its progress itself refuses to have it written meanwhile.
func (p *Progress) Owners(ctx context.Context, hub string) ([]string, error) {
	store, ok := p.store.(hubferry.CheckpointStore)
	if !ok {
		return nil, nil
	}
	list, err := store.ListOwnership(ctx, p.of(hub))
	if err != nil {
		return nil, err
	}
	var owners []string
	for _, o := range list {
		if o.Owner != "" && time.Since(o.Modified) < p.expiry {
			owners = append(owners, o.Owner)
		}
	}
	return owners, nil
}

// Close closes what Progress holds open. It may be called twice.
func (p *Progress) Close(ctx context.Context) error { return p.built.Close(ctx) }
