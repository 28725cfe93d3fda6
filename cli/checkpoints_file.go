package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/admin"
	"github.com/hubferry/hubferry/config"
)

// portable is a checkpoint as a line of JSON, with everything that Hubferry keeps of it.
type portable struct {
	Namespace   string                      `json:"namespace"`
	Hub         string                      `json:"hub"`
	Group       string                      `json:"consumerGroup"`
	Partition   string                      `json:"partition"`
	Sequence    int64                       `json:"sequence"`
	Offset      string                      `json:"offset,omitempty"`
	Epoch       int32                       `json:"epoch,omitempty"`
	Incarnation string                      `json:"incarnation,omitempty"`
	Beginning   int64                       `json:"beginning,omitempty"`
	Time        *time.Time                  `json:"time,omitempty"`
	Clean       bool                        `json:"clean,omitempty"`
	Marks       map[string]portablePosition `json:"marks,omitempty"`
	States      map[string][]byte           `json:"states,omitempty"`
}

type portablePosition struct {
	Sequence int64  `json:"sequence"`
	Offset   string `json:"offset,omitempty"`
	Epoch    int32  `json:"epoch,omitempty"`
}

func export(id hubferry.ID, c *hubferry.Checkpoint) *portable {
	p := &portable{
		Namespace: id.Namespace, Hub: id.Hub, Group: id.ConsumerGroup, Partition: id.Partition,
		Sequence: c.Position.Sequence, Offset: c.Position.Offset, Epoch: c.Position.Epoch,
		Incarnation: c.Incarnation, Beginning: c.Beginning, Clean: c.Clean, States: c.States,
	}
	if !c.Time.IsZero() {
		p.Time = &c.Time
	}
	for path, m := range c.Marks {
		if p.Marks == nil {
			p.Marks = map[string]portablePosition{}
		}
		p.Marks[path] = portablePosition(m)
	}
	return p
}

func (p *portable) checkpoint() (hubferry.ID, hubferry.Checkpoint, error) {
	id := hubferry.ID{Namespace: p.Namespace, Hub: p.Hub, ConsumerGroup: p.Group, Partition: p.Partition}
	if id.Namespace == "" || id.Hub == "" || id.ConsumerGroup == "" || id.Partition == "" {
		return id, hubferry.Checkpoint{}, errors.New("namespace, hub, consumerGroup and partition are required")
	}
	c := hubferry.Checkpoint{
		Position:    hubferry.Position{Sequence: p.Sequence, Offset: p.Offset, Epoch: p.Epoch},
		Incarnation: p.Incarnation, Beginning: p.Beginning, Clean: p.Clean, States: p.States,
	}
	if p.Time != nil {
		c.Time = *p.Time
	}
	for path, m := range p.Marks {
		if c.Marks == nil {
			c.Marks = map[string]hubferry.Position{}
		}
		c.Marks[path] = hubferry.Position(m)
	}
	return id, c, nil
}

func (e *environment) checkpointsExportCommand() *cobra.Command {
	var f checkpointFlags
	c := &cobra.Command{
		Use: "export [SUBJECT...]", Short: "Print checkpoints as JSON lines, for \"checkpoints import\"",
		Long: `Print the checkpoints of the store, or of some consumer groups, as JSON lines: a backup, or
what "checkpoints import" writes into another store. Ownership is not exported.`,
		Example: `  hubferry checkpoints export > checkpoints.ndjson
  hubferry checkpoints export telemetry | hubferry checkpoints import --config new.yaml`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.withLedger(c.Context(), &f, func(l *ledger) error {
				all, err := l.checkpoints(c.Context(), e, &f, args)
				if err != nil {
					return failed(err)
				}
				out := json.NewEncoder(e.stdout)
				for _, r := range all {
					if err := out.Encode(export(r.ID, r.Checkpoint)); err != nil {
						return failed(err)
					}
				}
				return nil
			})
		},
	}
	f.add(c)
	return c
}

// checkpoints returns the records that have a readable checkpoint. Others are told on
// standard error.
func (l *ledger) checkpoints(ctx context.Context, e *environment, f *checkpointFlags, names []string) ([]admin.Record, error) {
	groups, err := l.groupsOf(ctx, f, names)
	if err != nil {
		return nil, err
	}
	var all []admin.Record
	for _, g := range groups {
		records, err := l.store.Read(ctx, g, nil)
		if err != nil {
			return nil, err
		}
		for i := range records {
			switch c := records[i].Checkpoint; {
			case c == nil:
			case c.Err != nil:
				fmt.Fprintf(e.stderr, "%s left out: %v\n", records[i].ID, c.Err)
			default:
				all = append(all, records[i])
			}
		}
	}
	return all, nil
}

func (e *environment) checkpointsImportCommand() *cobra.Command {
	var f changeFlags
	c := &cobra.Command{
		Use: "import [FILE]", Short: "Write checkpoints that were exported",
		Long: `Write checkpoints from JSON lines, as "checkpoints export" prints them, of a file or of
standard input. All lines are checked before the first is written.`,
		Example: `  hubferry checkpoints import checkpoints.ndjson --dry-run`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, name := e.stdin, "standard input"
			if len(args) == 1 {
				file, err := os.Open(args[0])
				if err != nil {
					return &exitError{ExitUsage, err}
				}
				defer file.Close() //nolint:errcheck // it was only read
				in, name = file, args[0]
			}
			to, err := readPortable(in, name)
			if err != nil {
				return &exitError{ExitUsage, err}
			}
			return e.withLedger(c.Context(), &f.checkpointFlags, func(l *ledger) error {
				return e.change(c.Context(), &f, &l.store, to)
			})
		},
	}
	f.add(c)
	return c
}

// readPortable reads exported checkpoints.
func readPortable(r io.Reader, name string) (map[hubferry.ID]hubferry.Checkpoint, error) {
	to := map[hubferry.ID]hubferry.Checkpoint{}
	in := json.NewDecoder(r)
	in.DisallowUnknownFields()
	for n := 1; ; n++ {
		var p portable
		err := in.Decode(&p)
		if errors.Is(err, io.EOF) {
			return to, nil
		}
		var id hubferry.ID
		var c hubferry.Checkpoint
		if err == nil {
			id, c, err = p.checkpoint()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: checkpoint %d: %w", name, n, err)
		}
		if _, twice := to[id]; twice {
			return nil, fmt.Errorf("%s: checkpoint %d: %s is there twice", name, n, id)
		}
		to[id] = c
	}
}

func (e *environment) checkpointsCopyCommand() *cobra.Command {
	var f changeFlags
	var toConfig, toGroup string
	c := &cobra.Command{
		Use: "copy [SUBJECT...]", Short: "Copy checkpoints to another store, or to another consumer group",
		Long: `Copy the checkpoints of the store, or of some consumer groups: into the store of another
configuration (--to-config), to another consumer group of the same hub (--to-group), or
both. Ownership is not copied. The originals stay.

` + checkpointsHelp,
		Example: `  hubferry checkpoints copy --to-config with-blob.yaml
  hubferry checkpoints copy telemetry --to-group hubferry.telemetry-2`,
		RunE: func(c *cobra.Command, args []string) error {
			if toConfig == "" && toGroup == "" {
				return &exitError{ExitUsage, errors.New("say where to: --to-config, --to-group, or both")}
			}
			if toGroup != "" && len(args) != 1 {
				return &exitError{ExitUsage, errors.New("--to-group needs one subject to copy from")}
			}
			return e.withLedger(c.Context(), &f.checkpointFlags, func(from *ledger) error {
				return e.copyCheckpoints(c.Context(), &f, from, toConfig, toGroup, args)
			})
		},
	}
	f.add(c)
	c.Flags().StringVar(&toConfig, "to-config", "", "configuration `FILE` whose store is written to")
	c.Flags().StringVar(&toGroup, "to-group", "", "consumer `GROUP` that is written to")
	_ = c.MarkFlagFilename("to-config", "yaml", "yml") // it fails only for an unknown flag
	return c
}

func (e *environment) copyCheckpoints(ctx context.Context, f *changeFlags, from *ledger, toConfig, toGroup string, names []string) error {
	all, err := from.checkpoints(ctx, e, &f.checkpointFlags, names)
	if err != nil {
		return failed(err)
	}
	var task string
	if toGroup != "" {
		toGroup, task = from.otherGroup(ctx, toGroup, names[0])
	}
	to := map[hubferry.ID]hubferry.Checkpoint{}
	for _, r := range all {
		c := *r.Checkpoint
		if toGroup != "" {
			r.ID.ConsumerGroup = toGroup
			c = checkpoint.MadeFor(c, task)
		}
		to[r.ID] = c
	}
	if toConfig == "" {
		return e.change(ctx, f, &from.store, to)
	}
	other := f.checkpointFlags
	other.config = toConfig
	return e.withLedger(ctx, &other, func(l *ledger) error { return e.change(ctx, f, &l.store, to) })
}

// otherGroup returns the canonical name of another group of the hub of a subject, and the
// task that reads with it, or "".
func (l *ledger) otherGroup(ctx context.Context, group, subject string) (canonical, task string) {
	a, err := config.ParseAddress(subject)
	if t := l.app.Task(subject); t != nil {
		a, err = config.Address{Connection: t.Source.Connection.Name, Entity: t.Source.Hub}, nil
	}
	if err != nil {
		return group, ""
	}
	group = l.groupName(a, group)
	t, err := l.reader(ctx, a, group)
	if t == nil || err != nil {
		return group, ""
	}
	return group, t.Name
}
