package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/internal/mirrormaker"
)

// What import --positions does with a partition.
const (
	actStore  = "store"   // there is no progress yet, or it is replaced
	actSame   = "same"    // the progress says the same
	actRefuse = "differs" // the progress says something else
	actNone   = "none"    // MirrorMaker has no position: the task's start says where to begin
	actBeyond = "beyond"  // the position is beyond the partition's end: it is of another topic of that name
)

// change is what becomes of the progress in one partition.
type change struct {
	Task        string `json:"task"`
	Place       string `json:"place"`
	MirrorMaker *int64 `json:"mirrorMaker"` // offset of the last record that it has copied for certain
	Progress    *int64 `json:"progress"`    // the same of the task
	Action      string `json:"action"`
	at          *hubferry.Place
	checkpoint  hubferry.Checkpoint
	missing     int64 // records that the source has dropped already
}

// groups is the optional side of a connection that can say whether a consumer group has
// members.
type groups interface {
	Members(ctx context.Context, group string) (int, error)
}

func (e *environment) importPositions(ctx context.Context, f *mirrormakerFlags, file string) error {
	t, err := translate(file)
	if err != nil {
		return err
	}
	app, err := e.load(f.config)
	if err != nil {
		return err
	}
	env, err := e.environ(&f.log, 0)
	if err != nil {
		return err
	}
	p := &positioner{environment: e, flags: f, app: app, env: env}
	tasks := 0
	for i := range t.Flows {
		n, err := p.flow(ctx, &t.Flows[i])
		if err != nil {
			return failed(err)
		}
		tasks += n
	}
	if tasks == 0 {
		return &exitError{ExitUsage, fmt.Errorf("%s has no task for a flow of %s: make it with hubferry import mirrormaker %[2]s -o hubferry.yaml, and keep the names of its connections", f.config, file)}
	}
	return nil
}

// positioner is one run of import --positions.
type positioner struct {
	*environment
	flags *mirrormakerFlags
	app   *config.Application
	env   hubferry.Env
}

// flow deals with all tasks of one flow and returns how many there are.
func (p *positioner) flow(ctx context.Context, w *mirrormaker.Flow) (int, error) {
	var tasks []*config.Task
	for _, t := range p.app.Tasks {
		if t.Source.Connection.Name == w.SourceConnection && len(t.Targets) > 0 && t.Targets[0].Connection.Name == w.TargetConnection {
			tasks = append(tasks, t)
		}
	}
	if len(tasks) == 0 {
		return 0, nil
	}
	target, err := p.app.Connect(ctx, w.TargetConnection, p.env)
	if err != nil {
		return 0, err
	}
	defer func() { _ = target.Close(context.WithoutCancel(ctx)) }() // it was only read
	if err := p.stopped(ctx, target, w); err != nil {
		return 0, err
	}
	found, err := readPositions(ctx, target, p.app.Connection(w.TargetConnection).Driver, w)
	if err != nil {
		return 0, fmt.Errorf("read MirrorMaker's positions from %s/%s: %w", w.TargetConnection, w.OffsetsTopic, err)
	}
	left := maps.Clone(found)
	for _, t := range tasks {
		if err := p.task(ctx, t, found, left); err != nil {
			return 0, err
		}
	}
	for _, at := range left.Sorted() {
		fmt.Fprintf(p.stderr, "MirrorMaker has a position for %s/%d of %s, which no task reads\n", at.Topic, at.Index, w.Source)
	}
	return len(tasks), nil
}

// stopped refuses to go on while MirrorMaker is running: its positions would be old at
// once.
func (p *positioner) stopped(ctx context.Context, target hubferry.Connection, w *mirrormaker.Flow) error {
	g, ok := target.(groups)
	if !ok || w.Group == "" {
		fmt.Fprintf(p.stderr, "make sure that MirrorMaker does not run for %s->%s: that cannot be seen from here\n", w.Source, w.Target)
		return nil
	}
	var n int
	if err := patiently(ctx, func() (err error) {
		n, err = g.Members(ctx, w.Group)
		return err
	}); err != nil {
		return fmt.Errorf("ask whether MirrorMaker still runs (group %s on %s): %w", w.Group, w.TargetConnection, err)
	}
	if n > 0 {
		err := fmt.Errorf("MirrorMaker still runs: its group %s on %s has %d members; stop it (one that was killed is a member for 10 s more)", w.Group, w.TargetConnection, n)
		if !p.flags.dryRun {
			return err
		}
		fmt.Fprintln(p.stderr, err)
	}
	return nil
}

// patiently repeats what may go well a moment later: a cluster that has never had a
// consumer group makes what it needs for them when it is first asked.
func patiently(ctx context.Context, do func() error) error {
	for end := time.Now().Add(30 * time.Second); ; {
		err := do()
		if kind := hubferry.KindOf(err); err == nil || time.Now().After(end) || (kind != hubferry.Transient && kind != hubferry.Throttled) {
			return err
		}
		if wait(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

// readPositions reads a Connect worker's offsets topic to its end as of now.
func readPositions(ctx context.Context, c hubferry.Connection, d hubferry.Driver, w *mirrormaker.Flow) (mirrormaker.Positions, error) {
	source, err := c.Source(ctx, w.OffsetsTopic, d.Source())
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close(context.WithoutCancel(ctx)) }() // it was only read
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams, err := peekPartitions(ctx, source, "", hubferry.Start{Kind: hubferry.StartEarliest}, false)
	if err != nil {
		return nil, err
	}
	found := mirrormaker.Positions{}
	for _, stream := range streams { // a key is in one partition only
		for x := range stream {
			if x.err != nil {
				return nil, x.err
			}
			content, err := x.event.Content()
			if err != nil {
				return nil, err
			}
			if err := found.Add(w.Connector, w.Source, x.event.Key.Bytes, content.Body); err != nil {
				return nil, err
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("it holds no position of the connector %s for the cluster %s", w.Connector, w.Source)
	}
	return found, nil
}

// task compares and stores the progress of one task. What it uses is taken from left.
func (p *positioner) task(ctx context.Context, t *config.Task, found, left mirrormaker.Positions) error {
	progress, err := p.app.Progress(ctx, t.Name, p.env)
	if err != nil {
		return err
	}
	defer func() { _ = progress.Close(context.WithoutCancel(ctx)) }() // everything is stored
	changes, err := plan(ctx, t, progress, found, left)
	if err != nil {
		return err
	}
	differs, beyond := 0, 0
	for i := range changes {
		c := &changes[i]
		if c.Action == actRefuse && p.flags.overwrite {
			c.Action = actStore
		}
		switch c.Action {
		case actRefuse:
			differs++
		case actBeyond:
			beyond++
		}
		p.show(c)
	}
	switch {
	case p.flags.dryRun:
		return nil
	case beyond > 0:
		return fmt.Errorf("task %s: nothing was stored: positions are beyond the end of %d partitions, so they are of topics that were deleted and created again since", t.Name, beyond)
	case differs > 0:
		return fmt.Errorf("task %s: nothing was stored: it has progress of its own in %d partitions; --overwrite replaces it", t.Name, differs)
	}
	return p.store(ctx, t, progress, changes)
}

// plan says what is to be done with each partition of a task.
func plan(ctx context.Context, t *config.Task, progress *config.Progress, found, left mirrormaker.Positions) ([]change, error) {
	infos, err := progress.Source.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	own := map[string]map[string]hubferry.Checkpoint{} // by hub and partition
	var changes []change
	for i := range infos {
		place := infos[i].Place
		if own[place.Hub] == nil {
			owners, err := progress.Owners(ctx, place.Hub)
			if err != nil {
				return nil, err
			}
			if len(owners) > 0 {
				return nil, fmt.Errorf("task %s is running (%s): stop it first", t.Name, strings.Join(owners, ", "))
			}
			if err := patiently(ctx, func() (err error) {
				own[place.Hub], err = progress.List(ctx, place.Hub)
				return err
			}); err != nil {
				return nil, err
			}
		}
		at := mirrormaker.Partition{Topic: place.Hub, Index: place.Index}
		c := change{Task: t.Name, Place: place.Path(), Action: actNone, at: place}
		present, has := own[place.Hub][place.Partition]
		if has {
			if present.Err != nil {
				return nil, fmt.Errorf("progress of %s: %w", c.Place, present.Err)
			}
			c.Progress = &present.Position.Sequence
		}
		if offset, ok := found[at]; ok {
			delete(left, at)
			c.MirrorMaker = &offset
			c.checkpoint = hubferry.Checkpoint{Position: hubferry.Position{Sequence: offset}, Incarnation: place.Incarnation, Time: time.Now()}
			c.missing = max(infos[i].Begin.Sequence-offset, 0)
			switch {
			case offset > infos[i].End.Sequence:
				c.Action = actBeyond
			case !has:
				c.Action = actStore
			case present.Position.Sequence == offset:
				c.Action = actSame
			default:
				c.Action = actRefuse
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

func (p *positioner) store(ctx context.Context, t *config.Task, progress *config.Progress, changes []change) error {
	n := 0
	for i := range changes {
		c := &changes[i]
		if c.Action != actStore {
			continue
		}
		if err := patiently(ctx, func() error { return progress.Save(ctx, c.at, c.checkpoint) }); err != nil {
			return fmt.Errorf("store the progress in %s (%d partitions are stored): %w", c.Place, n, err)
		}
		n++
	}
	fmt.Fprintf(p.stderr, "task %s: stored the progress in %d of %d partitions\n", t.Name, n, len(changes))
	return nil
}

// show prints what is done with a partition.
func (p *positioner) show(c *change) {
	if p.flags.json {
		_ = json.NewEncoder(p.stdout).Encode(c) // a pipe that is closed ends the command anyway
	} else {
		text := func(n *int64) string {
			if n == nil {
				return "-"
			}
			return strconv.FormatInt(*n, 10)
		}
		fmt.Fprintf(p.stdout, "%s  %s  MirrorMaker %s  progress %s  %s\n", c.Task, c.Place, text(c.MirrorMaker), text(c.Progress), c.Action)
	}
	switch {
	case c.missing > 0:
		fmt.Fprintf(p.stderr, "%s: the source has dropped %d records that MirrorMaker had not copied\n", c.Place, c.missing)
	case c.Action == actNone:
		fmt.Fprintf(p.stderr, "%s: MirrorMaker has copied nothing yet: the task begins at its start\n", c.Place)
	}
}
