package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/cli/internal/functions"
)

const functionsHelp = `Turn a replication app of Azure Functions into a configuration of Hubferry.

APP is the folder with the host.json of the function app, or the function.json of one
function in it. Each function with an Event Hubs or Kafka trigger and such outputs becomes
a task. The new configuration goes to standard output. Standard error tells what could not
be carried and what to do; --all tells of the rest too. Secrets are never copied: the new
configuration names environment variables in their place, those of the app's own settings
where their names allow.

The checkpoint store of the new configuration is the container in which the function app
keeps its checkpoints (azure-webjobs-eventhub in the account of AzureWebJobsStorage), with
shared: true at the sources: the tasks go on where the functions stopped. Stop the function
app first, or the two share its partitions.

With --checkpoints it makes, in the place of that, the function app's checkpoints those of
the tasks of --config: what the Functions extension 5 and later stored, or else what the
versions before it did, or an EventProcessorHost whose blobs begin with --prefix. Nothing
is moved; the tasks then own the consumer groups, and shared: true can be removed.`

const functionsExample = `  hubferry import functions ./replication-app -o hubferry.yaml
  hubferry import functions ./replication-app/Eh1ToEh2/function.json --all
  hubferry import functions --checkpoints --dry-run`

// functionsFlags are the flags of import functions.
type functionsFlags struct {
	changeFlags
	output, prefix   string
	all, checkpoints bool
}

func (e *environment) functionsCommand() *cobra.Command {
	var f functionsFlags
	c := &cobra.Command{
		Use: "functions APP", Short: "Take over from a replication app of Azure Functions", Long: functionsHelp, Example: functionsExample,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.checkpoints:
				return e.importLegacy(c.Context(), &f)
			case len(args) == 0:
				return &exitError{ExitUsage, errors.New("name the folder of the function app, or ask for --checkpoints")}
			}
			return e.importFunctions(&f, args[0])
		},
	}
	f.changeFlags.add(c)
	for _, other := range []string{"group", "read-group"} {
		_ = c.Flags().MarkHidden(other) // the tasks say it
	}
	c.Flags().BoolVar(&f.checkpoints, "checkpoints", false, "make the function app's checkpoints those of the tasks")
	c.Flags().StringVar(&f.prefix, "prefix", "", "with --checkpoints: how the blobs of an EventProcessorHost begin, before the consumer group")
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to a new `FILE` instead of standard output")
	c.Flags().BoolVar(&f.all, "all", false, "tell of every setting, of those that were carried too")
	return c
}

func (e *environment) importFunctions(f *functionsFlags, path string) error {
	app, err := functions.Read(path)
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	t, err := functions.Translate(app)
	if err != nil {
		return &exitError{ExitUsage, fmt.Errorf("%s: %w", path, err)}
	}
	for _, x := range t.Findings {
		if !f.all && !x.Lost {
			continue
		}
		where := x.Function
		if where == "" {
			where = "host"
		}
		if x.Key != "" {
			where += ": " + x.Key
		}
		fmt.Fprintf(e.stderr, "%s: %s\n", where, x.Text)
	}
	if t.Tasks == 0 {
		return failed(fmt.Errorf("%s: none of its %d functions can become a task", path, len(app.Functions)))
	}
	fmt.Fprintf(e.stderr, "%s: %d of %d functions became tasks\n", path, t.Tasks, len(app.Functions))
	if f.output == "" {
		_, err = e.stdout.Write(t.YAML)
		return failed(err)
	}
	return e.writeConfig(f.output, t.YAML)
}

// legacyStore is a store that can read the records of older processors.
type legacyStore interface {
	Legacy(ctx context.Context, group hubferry.ID, prefix string) (map[string]hubferry.Checkpoint, error)
}

// importLegacy marks checkpoints of a function app as those of the tasks that take over.
func (e *environment) importLegacy(ctx context.Context, f *functionsFlags) error {
	return e.withLedger(ctx, &f.checkpointFlags, func(l *ledger) error {
		store, ok := l.store.CheckpointStore.(legacyStore)
		if !ok {
			return &exitError{ExitUsage, fmt.Errorf("%s: the checkpoint store must be the Blob container of the function app; \"checkpoints copy\" moves them from there to another store", f.config)}
		}
		to := map[hubferry.ID]hubferry.Checkpoint{}
		for _, t := range l.app.Tasks {
			if t.Source.Group == "" {
				continue // its service keeps positions itself
			}
			s, err := l.subject(ctx, &f.checkpointFlags, t.Name)
			if err != nil {
				return err
			}
			if l.store.Expiry == 0 {
				l.store.Expiry = s.expiry
			}
			n, err := e.takeOver(ctx, store, s, f.prefix, to)
			if err != nil {
				return failed(err)
			}
			if n == 0 {
				fmt.Fprintf(e.stderr, "task %s: there are no checkpoints of %s\n", t.Name, s.group)
			}
		}
		return e.change(ctx, &f.changeFlags, &l.store, to)
	})
}

// takeOver adds the checkpoints of one group: those of today's layout, and of the older one
// where there is none.
func (e *environment) takeOver(ctx context.Context, store legacyStore, s *subject, prefix string, to map[hubferry.ID]hubferry.Checkpoint) (int, error) {
	legacy, err := store.Legacy(ctx, s.group, prefix)
	if err != nil {
		return 0, err
	}
	today, err := store.(hubferry.CheckpointStore).ListCheckpoints(ctx, s.group)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, info := range s.infos {
		id := s.group
		id.Partition = info.Place.Partition
		c, ok := today[id]
		if !ok || c.Err != nil {
			if c, ok = legacy[id.Partition]; !ok {
				continue
			}
			c.Time = time.Now()
		}
		if c.Err != nil {
			fmt.Fprintf(e.stderr, "%s left out: %v\n", id, c.Err)
			continue
		}
		to[id] = checkpoint.MadeFor(c, s.task)
		n++
	}
	return n, nil
}
