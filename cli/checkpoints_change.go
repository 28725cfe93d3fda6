package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/admin"
)

// changeFlags are the flags of commands that write checkpoints.
type changeFlags struct {
	checkpointFlags
	admin.Permission
	readGroup string
	dryRun    bool
}

func (f *changeFlags) add(c *cobra.Command) {
	f.checkpointFlags.add(c)
	c.Flags().BoolVar(&f.Overwrite, "overwrite", false, "replace checkpoints that are there")
	c.Flags().BoolVar(&f.Force, "force", false, "write although somebody owns the partition; its next checkpoint may replace this one")
	c.Flags().StringVar(&f.readGroup, "read-group", "", "consumer `GROUP` to look an event's offset up with, where the group itself is owned")
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what would be written, and write nothing")
}

// change shows what writing the checkpoints changes, and writes them if that is allowed.
func (e *environment) change(ctx context.Context, f *changeFlags, store *admin.Store, to map[hubferry.ID]hubferry.Checkpoint) error {
	planned, err := store.Plan(ctx, to)
	if err != nil {
		return failed(err)
	}
	if err := e.showChanges(f.json, planned); err != nil {
		return failed(err)
	}
	if err := admin.Refused(planned, f.Permission); err != nil {
		return failed(fmt.Errorf("%w\nnothing was written%s", err, permit(err)))
	}
	if f.dryRun {
		fmt.Fprintln(e.stderr, "nothing was written, because of --dry-run")
		return nil
	}
	n, err := store.Apply(ctx, planned, f.Permission)
	if err != nil {
		return failed(fmt.Errorf("%w\n%d of %d were written", err, n, len(planned)))
	}
	fmt.Fprintf(e.stderr, "%d written, %d as they were\n", n, len(planned)-n)
	return nil
}

// permit says which flag would allow what was refused.
func permit(err error) string {
	flags := "; --force writes all the same"
	if over, ok := errors.AsType[*admin.OverwriteError](err); ok && over != nil {
		flags = "; --overwrite replaces what is there"
		if strings.Contains(err.Error(), "is owned by") {
			flags += ", --force does so while it is owned"
		}
	}
	return flags
}

// changeLine is the JSON form of a change.
type changeLine struct {
	Namespace string `json:"namespace"`
	Hub       string `json:"hub"`
	Group     string `json:"consumerGroup"`
	Partition string `json:"partition"`
	From      *int64 `json:"from,omitempty"`
	To        int64  `json:"to"`
	Offset    string `json:"offset"`
	Owner     string `json:"owner,omitempty"`
}

func (e *environment) showChanges(inJSON bool, planned []admin.Change) error {
	cells := [][]string{{"GROUP", "PARTITION", "FROM", "TO", "OWNER"}}
	out := json.NewEncoder(e.stdout)
	for i := range planned {
		c := &planned[i]
		line := changeLine{
			Namespace: c.ID.Namespace, Hub: c.ID.Hub, Group: c.ID.ConsumerGroup, Partition: c.ID.Partition,
			To: c.To.Position.Sequence, Offset: c.To.Position.OffsetText(),
		}
		from, owner := "-", "-"
		if c.Active {
			line.Owner, owner = c.Owner, c.Owner
		}
		switch old := c.Checkpoint; {
		case old == nil:
		case old.Err != nil:
			from = "unreadable"
		default:
			line.From = &old.Position.Sequence
			from = strconv.FormatInt(*line.From, 10)
		}
		if inJSON {
			if err := out.Encode(line); err != nil {
				return err
			}
			continue
		}
		cells = append(cells, []string{c.ID.Group().String(), c.ID.Partition, from, strconv.FormatInt(line.To, 10), owner})
	}
	return e.printTable(inJSON, cells)
}

// at returns a checkpoint at a position of a partition, for readers to begin behind it. It
// is clean: who moves a checkpoint by hand wants what follows to be sent, also where a
// target has it already.
func (l *ledger) at(ctx context.Context, f *changeFlags, s *subject, info *hubferry.PartitionInfo, p hubferry.Position) (hubferry.Checkpoint, error) {
	source := s.source
	if f.readGroup != "" {
		other := &subject{address: s.address}
		if err := l.open(ctx, other, nil, f.readGroup); err != nil {
			return hubferry.Checkpoint{}, err
		}
		source = other.source
	}
	p, err := withOffset(ctx, source, info, p)
	if err != nil {
		return hubferry.Checkpoint{}, err
	}
	c := hubferry.Checkpoint{Position: p, Incarnation: info.Place.Incarnation, Time: time.Now(), Clean: true}
	there, err := l.store.ListCheckpoints(ctx, s.group)
	if err != nil {
		return c, err
	}
	id := s.group
	id.Partition = info.Place.Partition
	c.Beginning = there[id].Beginning
	for name, state := range there[id].States {
		// The engine's notes stay: which target partition a key belongs to does not change
		// because a checkpoint is moved. What editors remember belongs to the old position.
		if strings.HasPrefix(name, "engine.") {
			if c.States == nil {
				c.States = map[string][]byte{}
			}
			c.States[name] = state
		}
	}
	return checkpoint.MadeFor(c, s.task), nil
}

// withOffset completes a position with the offset of its event, because readers of the
// Azure SDKs resume by that. Where the event is gone, or was never there, the position
// stays as it is.
func withOffset(ctx context.Context, source hubferry.Source, info *hubferry.PartitionInfo, p hubferry.Position) (hubferry.Position, error) {
	switch {
	case p.Offset != "" || p.Sequence <= info.Begin.Sequence || p.Sequence > info.End.Sequence:
		return p, nil
	case p.Sequence == info.End.Sequence:
		return info.End, nil
	}
	r, err := source.Open(ctx, info.Place, hubferry.Position{Sequence: p.Sequence - 1}, hubferry.NoEpoch)
	if err != nil {
		return p, err
	}
	b := hubferry.Batch{Limit: hubferry.Limit{Events: 1}}
	err = r.Read(ctx, &b)
	if closed := r.Close(ctx); err == nil {
		err = closed
	}
	if err != nil {
		return p, err
	}
	if len(b.Events) > 0 && b.Events[0].Pos.Sequence == p.Sequence {
		return b.Events[0].Pos, nil
	}
	return p, nil // a hole of a compacted hub
}

func (e *environment) checkpointsSetCommand() *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use: "set ADDRESS...", Short: "Set checkpoints to events",
		Long: `Set checkpoints. Each address is CONNECTION/HUB/PARTITION@SEQUENCE and says that the event
of that sequence number and all before it are done: reading resumes with the next one.
--force also allows a number that the hub does not have.

` + checkpointsHelp,
		Example: `  hubferry checkpoints set west/telemetry/3@1841
  hubferry checkpoints set west/telemetry/0@99 west/telemetry/1@99 --group '$Default' --overwrite`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.withLedger(c.Context(), &f.checkpointFlags, func(l *ledger) error {
				to := map[hubferry.ID]hubferry.Checkpoint{}
				for _, a := range args {
					if err := l.set(c.Context(), &f, a, to); err != nil {
						return failed(err)
					}
				}
				return e.change(c.Context(), &f, &l.store, to)
			})
		},
	}
	f.add(c)
	return c
}

// set adds the checkpoint that an address means.
func (l *ledger) set(ctx context.Context, f *changeFlags, address string, to map[hubferry.ID]hubferry.Checkpoint) error {
	s, err := l.subject(ctx, &f.checkpointFlags, address)
	if err != nil {
		return err
	}
	if err := l.unowned(ctx, f, s); err != nil {
		return err
	}
	if !s.address.HasSequence {
		return &exitError{ExitUsage, fmt.Errorf("expected the event to stand at, as in west/telemetry/3@1841, found %q", address)}
	}
	info, n := s.info(s.partition), s.address.Sequence
	if (n > info.End.Sequence || n < info.Begin.Sequence) && !f.Force {
		return fmt.Errorf("%s: the hub has the events %d to %d; --force sets the checkpoint all the same", address, info.Begin.Sequence+1, info.End.Sequence)
	}
	c, err := l.at(ctx, f, s, info, hubferry.Position{Sequence: n})
	if err != nil {
		return err
	}
	id := s.group
	id.Partition = s.partition
	to[id] = c
	return nil
}

// unowned refuses a subject that somebody owns, before its events are looked at: an owner's
// epoch keeps other readers out. From here on the store judges by the expiry of the task.
func (l *ledger) unowned(ctx context.Context, f *changeFlags, s *subject) error {
	if l.store.Expiry == 0 {
		l.store.Expiry = s.expiry
	}
	records, err := l.read(ctx, s)
	if err != nil {
		return err
	}
	var owned []admin.Change
	for _, r := range records {
		if r.Active {
			owned = append(owned, admin.Change{Record: admin.Record{ID: r.ID, Owner: r.Owner, Renewed: r.Renewed, Active: true}})
		}
	}
	if err := admin.Refused(owned, f.Permission); err != nil {
		return fmt.Errorf("%w\nnothing was written%s", err, permit(err))
	}
	return nil
}

func (e *environment) checkpointsInitCommand() *cobra.Command {
	var f changeFlags
	var at string
	c := &cobra.Command{
		Use: "init SUBJECT...", Short: "Position a consumer group before it begins",
		Long: `Write a checkpoint for every partition of a consumer group, of a task or of any other
program that uses this store: at the first event (earliest), behind the last (latest), or
before the first event of a time. Without --at a task's own start is taken.

` + checkpointsHelp,
		Example: `  hubferry checkpoints init telemetry --at latest
  hubferry checkpoints init east/telemetry --group billing --at 2026-11-01T00:00:00Z`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.withLedger(c.Context(), &f.checkpointFlags, func(l *ledger) error {
				to := map[hubferry.ID]hubferry.Checkpoint{}
				for _, name := range args {
					if err := l.init(c.Context(), &f, name, at, to); err != nil {
						return failed(err)
					}
				}
				return e.change(c.Context(), &f, &l.store, to)
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&at, "at", "", "`WHERE`: earliest, latest or a time such as 2026-11-01T00:00:00Z (default the task's start)")
	return c
}

// init adds the checkpoints of a subject at a start.
func (l *ledger) init(ctx context.Context, f *changeFlags, name, at string, to map[hubferry.ID]hubferry.Checkpoint) error {
	s, err := l.subject(ctx, &f.checkpointFlags, name)
	if err != nil {
		return err
	}
	if err := l.unowned(ctx, f, s); err != nil {
		return err
	}
	if s.address.HasSequence {
		return &exitError{ExitUsage, fmt.Errorf("%s: \"checkpoints set\" takes a sequence number, init takes --at", name)}
	}
	for _, info := range s.wanted() {
		start, err := s.startAt(at, info.Place.Partition)
		if err != nil {
			return &exitError{ExitUsage, err}
		}
		p, err := s.source.Resolve(ctx, info.Place, start)
		if err != nil {
			return err
		}
		c, err := l.at(ctx, f, s, info, p)
		if err != nil {
			return err
		}
		id := s.group
		id.Partition = info.Place.Partition
		to[id] = c
	}
	return nil
}

// startAt returns where a partition is to begin.
func (s *subject) startAt(at, partition string) (hubferry.Start, error) {
	if at != "" {
		return parseStart("--at", at)
	}
	if s.start == nil {
		return hubferry.Start{}, errors.New("--at is required for a group that is no task's: earliest, latest or a time")
	}
	if own, ok := s.start.Partitions[partition]; ok {
		return own, nil
	}
	return s.start.Start, nil
}

// parseStart reads the value of a flag that says where to begin.
func parseStart(flag, text string) (hubferry.Start, error) {
	switch text {
	case "earliest":
		return hubferry.Start{Kind: hubferry.StartEarliest}, nil
	case "latest":
		return hubferry.Start{Kind: hubferry.StartLatest}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return hubferry.Start{}, fmt.Errorf("%s %s: expected earliest, latest or a time such as 2026-11-01T00:00:00Z", flag, text)
	}
	return hubferry.Start{Kind: hubferry.StartTime, Time: t}, nil
}
