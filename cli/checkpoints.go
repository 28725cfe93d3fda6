package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/admin"
	"github.com/hubferry/hubferry/config"
)

const checkpointsHelp = `Look at the checkpoint store of a configuration, and change what stands in it.

A subject is a task of the configuration, or an address CONNECTION/HUB[/PARTITION] with
--group: any consumer group of any program that keeps its checkpoints in this store.

Commands that write do so at once where nothing is there yet. Where a checkpoint would be
overwritten they show what they would do and end with exit code 1, unless --overwrite is
given. They refuse to move a partition that somebody owns, unless --force is given.`

// checkpointFlags are the flags that all of these commands have.
type checkpointFlags struct {
	config string
	group  string
	expiry time.Duration
	json   bool
	log    logFlags
}

func (f *checkpointFlags) add(c *cobra.Command) {
	addConfigFlag(c, &f.config)
	c.Flags().StringVar(&f.group, "group", "", "consumer `GROUP`, for an address that no task of the configuration reads")
	c.Flags().DurationVar(&f.expiry, "expiry", 0, "age at which ownership that was not renewed is anybody's (default the task's, else 2m)")
	c.Flags().BoolVar(&f.json, "json", false, "print JSON lines")
	f.log.add(c, slog.LevelWarn)
}

func (e *environment) checkpointsCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "checkpoints", Short: "Look at checkpoints and change them", Long: checkpointsHelp,
		Args: noSuchCommand, RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(
		e.checkpointsListCommand(), e.checkpointsShowCommand(), e.checkpointsDoctorCommand(),
		e.checkpointsSetCommand(), e.checkpointsInitCommand(), e.checkpointsCopyCommand(),
		e.checkpointsExportCommand(), e.checkpointsImportCommand(),
	)
	return c
}

// ledger is an opened checkpoint store, with the configuration that leads to its hubs.
type ledger struct {
	app   *config.Application
	store admin.Store
	env   hubferry.Env
	conns map[string]hubferry.Connection
}

// ledger opens the store of a configuration.
func (e *environment) ledger(ctx context.Context, f *checkpointFlags) (*ledger, error) {
	app, err := e.load(f.config)
	if err != nil {
		return nil, err
	}
	env, err := e.environ(&f.log, 16<<20)
	if err != nil {
		return nil, err
	}
	store, err := app.OpenStore(ctx, env)
	if err != nil {
		return nil, failed(err)
	}
	return &ledger{app: app, store: admin.Store{CheckpointStore: store, Expiry: f.expiry}, env: env, conns: map[string]hubferry.Connection{}}, nil
}

// close closes the store and the connections. What was to be written is written: an error
// changes nothing.
func (l *ledger) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	_ = l.store.Close(ctx)
	for _, c := range l.conns {
		_ = c.Close(ctx)
	}
}

// with opens the ledger for one command.
func (e *environment) withLedger(ctx context.Context, f *checkpointFlags, do func(*ledger) error) error {
	l, err := e.ledger(ctx, f)
	if err != nil {
		return err
	}
	defer l.close(ctx)
	return do(l)
}

// connection opens a connection of the configuration when it is first needed.
func (l *ledger) connection(ctx context.Context, name string) (hubferry.Connection, error) {
	if c := l.conns[name]; c != nil {
		return c, nil
	}
	c, err := l.app.Connect(ctx, name, l.env)
	if err != nil {
		return nil, err
	}
	l.conns[name] = c
	return c, nil
}

// subject is a consumer group of a hub, or one partition of it.
type subject struct {
	group     hubferry.ID
	partition string // "" means all
	source    hubferry.Source
	infos     []hubferry.PartitionInfo
	task      string        // the task that reads with the group, or ""
	start     *config.Start // the task's
	expiry    time.Duration // the task's
	address   config.Address
}

// subject opens what an argument of a command names: a task, or an address.
func (l *ledger) subject(ctx context.Context, f *checkpointFlags, name string) (*subject, error) {
	if !strings.Contains(name, "/") {
		t := l.app.Task(name)
		if t == nil {
			return nil, &exitError{ExitUsage, fmt.Errorf("%s: there is no task %q; an address looks like west/telemetry", l.app.File, name)}
		}
		s := &subject{address: config.Address{Connection: t.Source.Connection.Name, Entity: t.Source.Hub}}
		return s, l.open(ctx, s, t, t.Source.Connection.GroupName(f.group))
	}
	a, err := config.ParseAddress(name)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	group := l.groupName(a, f.group)
	t, err := l.reader(ctx, a, group)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	s := &subject{address: a, partition: a.Partition}
	return s, l.open(ctx, s, t, group)
}

// groupName returns the canonical name of a consumer group of an address (G-1).
func (l *ledger) groupName(a config.Address, group string) string {
	if c := l.app.Connection(a.Connection); c != nil {
		return c.GroupName(group)
	}
	return group
}

// reader returns the task that reads an address in a group, or nil when a group is named
// that no task has.
func (l *ledger) reader(ctx context.Context, a config.Address, group string) (*config.Task, error) {
	if l.app.Connection(a.Connection) == nil {
		_, err := l.app.Connect(ctx, a.Connection, l.env) // it says which there are
		return nil, err
	}
	var found []*config.Task
	for _, t := range l.app.Tasks {
		if t.Source.Connection.Name == a.Connection && t.Source.Hub == a.Entity && (group == "" || t.Source.Group == group) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case group != "":
		return nil, nil //nolint:nilnil // a group of somebody else
	case len(found) == 0:
		return nil, fmt.Errorf("no task reads %s/%s: name the consumer group with --group", a.Connection, a.Entity)
	default:
		return nil, fmt.Errorf("several tasks read %s/%s: name the task, or the consumer group with --group", a.Connection, a.Entity)
	}
}

// open opens the hub of a subject, as the task does that reads it, or without one.
func (l *ledger) open(ctx context.Context, s *subject, t *config.Task, group string) error {
	c, err := l.connection(ctx, s.address.Connection)
	if err != nil {
		return failed(err)
	}
	if t == nil {
		t = &config.Task{Source: config.Source{Connection: l.app.Connection(s.address.Connection), Hub: s.address.Entity, Group: group}}
		if t.Source.Connection.Driver.Source == nil {
			return failed(hubferry.ErrNoRole)
		}
		t.Source.Options = t.Source.Connection.Driver.Source()
		if err := decodeOptions(map[string]any{"consumerGroup": group}, t.Source.Options); err != nil {
			return failed(err)
		}
	} else {
		s.task, s.start, s.expiry = t.Name, &t.Source.Start, t.Balance.Expiry
	}
	if s.source, err = c.Source(ctx, t.Source.Hub, t.Source.Options); err != nil {
		return failed(err)
	}
	if s.infos, err = s.source.Partitions(ctx); err != nil {
		return failed(err)
	}
	if s.group, err = t.GroupID(ctx, c, s.source); err != nil {
		return failed(err)
	}
	if group != "" && group != s.group.ConsumerGroup {
		s.group.ConsumerGroup, s.task = group, ""
	}
	if s.partition != "" && s.info(s.partition) == nil {
		return noSuchPartition(s.partition, len(s.infos))
	}
	return nil
}

// info returns what the hub says of a partition, or nil.
func (s *subject) info(partition string) *hubferry.PartitionInfo {
	for i := range s.infos {
		if s.infos[i].Place.Partition == partition {
			return &s.infos[i]
		}
	}
	return nil
}

// wanted returns the partitions that the subject is about.
func (s *subject) wanted() []*hubferry.PartitionInfo {
	var list []*hubferry.PartitionInfo
	for i := range s.infos {
		if s.partition == "" || s.infos[i].Place.Partition == s.partition {
			list = append(list, &s.infos[i])
		}
	}
	return list
}

// read returns the records of a subject.
func (l *ledger) read(ctx context.Context, s *subject) ([]admin.Record, error) {
	store := l.store
	if store.Expiry == 0 {
		store.Expiry = s.expiry
	}
	records, err := store.Read(ctx, s.group, s.infos)
	if err != nil || s.partition == "" {
		return records, err
	}
	for _, r := range records {
		if r.ID.Partition == s.partition {
			return []admin.Record{r}, nil
		}
	}
	return nil, nil
}

// groupsOf returns the groups that names mean, or all of the store.
func (l *ledger) groupsOf(ctx context.Context, f *checkpointFlags, names []string) ([]hubferry.ID, error) {
	if len(names) == 0 {
		groups, err := l.store.Groups(ctx)
		if errors.Is(err, errors.ErrUnsupported) {
			err = fmt.Errorf("%w; name tasks or addresses", err)
		}
		return groups, err
	}
	var groups []hubferry.ID
	for _, name := range names {
		s, err := l.subject(ctx, f, name)
		if err != nil {
			return nil, err
		}
		groups = append(groups, s.group)
	}
	return groups, nil
}

// hubs asks the hubs of groups for their partitions, as far as a connection of the
// configuration leads to their namespace. What cannot be asked is told on standard error
// once and left out.
func (l *ledger) hubs(ctx context.Context, e *environment, groups []hubferry.ID) map[hubferry.ID][]hubferry.PartitionInfo {
	ways := map[string]string{} // connections by namespace
	for _, c := range l.app.Connections {
		if c.Driver.Source == nil {
			continue
		}
		conn, err := l.connection(ctx, c.Name)
		if err == nil {
			var namespace string
			if namespace, err = conn.Namespace(ctx); err == nil {
				ways[strings.ToLower(namespace)] = c.Name
			}
		}
		if err != nil {
			fmt.Fprintf(e.stderr, "%s: %v\n", c.Name, err)
		}
	}
	answers := map[hubferry.ID][]hubferry.PartitionInfo{}
	asked := map[hubferry.ID][]hubferry.PartitionInfo{} // by hub
	for _, g := range groups {
		way := ways[strings.ToLower(g.Namespace)]
		if way == "" {
			continue
		}
		hub := hubferry.ID{Namespace: strings.ToLower(g.Namespace), Hub: strings.ToLower(g.Hub)}
		infos, known := asked[hub]
		if !known {
			s := &subject{address: config.Address{Connection: way, Entity: g.Hub}}
			if err := l.open(ctx, s, nil, g.ConsumerGroup); err != nil {
				fmt.Fprintf(e.stderr, "%s/%s: %v\n", way, g.Hub, err)
			}
			infos = s.infos
			asked[hub] = infos
		}
		answers[g] = infos
	}
	return answers
}
