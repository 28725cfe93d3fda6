package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint/admin"
)

func (e *environment) checkpointsListCommand() *cobra.Command {
	var f checkpointFlags
	c := &cobra.Command{
		Use: "list", Short: "List the consumer groups of the store, with their progress",
		Long: `List the consumer groups that the store has records of, those of other programs too:
how many partitions have a checkpoint, how many are owned and by how many owners, when
progress was last stored, and the lag against the hub, where a connection of the
configuration leads to it.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return e.withLedger(c.Context(), &f, func(l *ledger) error { return e.listGroups(c.Context(), &f, l) })
		},
	}
	f.add(c)
	return c
}

// groupLine is a group of the store in one line, and its JSON form.
type groupLine struct {
	Namespace   string     `json:"namespace"`
	Hub         string     `json:"hub"`
	Group       string     `json:"consumerGroup"`
	Partitions  int        `json:"partitions"`
	Checkpoints int        `json:"checkpoints"`
	Unreadable  int        `json:"unreadable,omitempty"`
	Owned       int        `json:"owned"`
	Owners      []string   `json:"owners"`
	Stored      *time.Time `json:"stored,omitempty"` // of the newest checkpoint
	Lag         *int64     `json:"lag,omitempty"`
}

func (e *environment) listGroups(ctx context.Context, f *checkpointFlags, l *ledger) error {
	groups, err := l.groupsOf(ctx, f, nil)
	if err != nil {
		return failed(err)
	}
	if len(groups) == 0 {
		fmt.Fprintln(e.stderr, "the store has no records yet")
		return nil
	}
	hubs := l.hubs(ctx, e, groups)
	cells := [][]string{{"NAMESPACE", "HUB", "GROUP", "PARTS", "STORED", "OWNED", "OWNERS", "LAST", "LAG"}}
	out := json.NewEncoder(e.stdout)
	for _, g := range groups {
		records, err := l.store.Read(ctx, g, hubs[g])
		if err != nil {
			return failed(err)
		}
		line := summary(g, records)
		if f.json {
			if err := out.Encode(line); err != nil {
				return failed(err)
			}
			continue
		}
		cells = append(cells, line.cells())
	}
	return failed(e.printTable(f.json, cells))
}

// summary adds up the records of a group.
func summary(g hubferry.ID, records []admin.Record) *groupLine {
	line := &groupLine{Namespace: g.Namespace, Hub: g.Hub, Group: g.ConsumerGroup, Partitions: len(records), Owners: []string{}}
	var lag int64
	known := len(records) > 0
	for i := range records {
		r := &records[i]
		if r.Active {
			line.Owned++
			if !slices.Contains(line.Owners, r.Owner) {
				line.Owners = append(line.Owners, r.Owner)
			}
		}
		n, ok := r.Lag()
		lag, known = lag+n, known && ok
		switch c := r.Checkpoint; {
		case c == nil:
		case c.Err != nil:
			line.Unreadable++
		default:
			line.Checkpoints++
			if !c.Time.IsZero() && (line.Stored == nil || c.Time.After(*line.Stored)) {
				line.Stored = &c.Time
			}
		}
	}
	if known {
		line.Lag = &lag
	}
	return line
}

func (g *groupLine) cells() []string {
	last, lag := "-", "-"
	if g.Stored != nil {
		last = ago(*g.Stored)
	}
	if g.Lag != nil {
		lag = strconv.FormatInt(*g.Lag, 10)
	}
	stored := strconv.Itoa(g.Checkpoints)
	if g.Unreadable > 0 {
		stored += fmt.Sprintf(" (%d unreadable)", g.Unreadable)
	}
	return []string{g.Namespace, g.Hub, g.Group, strconv.Itoa(g.Partitions), stored, strconv.Itoa(g.Owned), strconv.Itoa(len(g.Owners)), last, lag}
}

// ago is an age for a person.
func ago(t time.Time) string { return seconds(max(0, time.Since(t).Seconds())) + " ago" }

// printTable prints cells as columns, unless JSON was printed instead.
func (e *environment) printTable(json bool, cells [][]string) error {
	if json {
		return nil
	}
	_, err := fmt.Fprintln(e.stdout, strings.Join(columns(cells, 2), "\n"))
	return err
}

func (e *environment) checkpointsShowCommand() *cobra.Command {
	var f checkpointFlags
	c := &cobra.Command{
		Use: "show SUBJECT...", Short: "Show a consumer group partition by partition",
		Long: `Show a consumer group partition by partition: the checkpoint, the hub's first and last
event, the lag between them, who owns the partition and when that was last renewed.

` + checkpointsHelp,
		Example: `  hubferry checkpoints show telemetry
  hubferry checkpoints show west/telemetry --group '$Default' --json`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return e.withLedger(c.Context(), &f, func(l *ledger) error {
				for _, name := range args {
					if err := e.showGroup(c.Context(), &f, l, name); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f.add(c)
	return c
}

// recordLine is the JSON form of a record.
type recordLine struct {
	Namespace string     `json:"namespace"`
	Hub       string     `json:"hub"`
	Group     string     `json:"consumerGroup"`
	Partition string     `json:"partition"`
	Sequence  *int64     `json:"sequence,omitempty"`
	Offset    string     `json:"offset,omitempty"`
	Stored    *time.Time `json:"stored,omitempty"`
	Clean     bool       `json:"clean,omitempty"`
	Error     string     `json:"error,omitempty"`
	Owner     string     `json:"owner,omitempty"`
	Active    bool       `json:"active,omitempty"`
	Renewed   *time.Time `json:"renewed,omitempty"`
	Begin     *int64     `json:"begin,omitempty"` // the first retained event
	End       *int64     `json:"end,omitempty"`   // the last event
	Lag       *int64     `json:"lag,omitempty"`
}

func (e *environment) showGroup(ctx context.Context, f *checkpointFlags, l *ledger, name string) error {
	s, err := l.subject(ctx, f, name)
	if err != nil {
		return err
	}
	records, err := l.read(ctx, s)
	if err != nil {
		return failed(err)
	}
	cells := [][]string{{"PARTITION", "CHECKPOINT", "STORED", "FIRST", "LAST", "LAG", "OWNER", "RENEWED"}}
	out := json.NewEncoder(e.stdout)
	for i := range records {
		line := newRecordLine(&records[i])
		if f.json {
			if err := out.Encode(line); err != nil {
				return failed(err)
			}
			continue
		}
		cells = append(cells, line.cells())
	}
	if !f.json {
		fmt.Fprintln(e.stdout, s.group)
	}
	return failed(e.printTable(f.json, cells))
}

func newRecordLine(r *admin.Record) *recordLine {
	line := &recordLine{
		Namespace: r.ID.Namespace, Hub: r.ID.Hub, Group: r.ID.ConsumerGroup, Partition: r.ID.Partition,
		Owner: r.Owner, Active: r.Active,
	}
	if !r.Renewed.IsZero() {
		line.Renewed = &r.Renewed
	}
	if r.Info != nil {
		begin := r.Info.Begin.Sequence + 1
		line.Begin, line.End = &begin, &r.Info.End.Sequence
	}
	if lag, ok := r.Lag(); ok {
		line.Lag = &lag
	}
	c := r.Checkpoint
	switch {
	case c == nil:
	case c.Err != nil:
		line.Error = c.Err.Error()
	default:
		line.Sequence, line.Offset, line.Clean = &c.Position.Sequence, c.Position.OffsetText(), c.Clean
		if !c.Time.IsZero() {
			line.Stored = &c.Time
		}
	}
	return line
}

func (r *recordLine) cells() []string {
	number := func(n *int64) string {
		if n == nil {
			return "-"
		}
		return strconv.FormatInt(*n, 10)
	}
	at, stored, renewed, owner := number(r.Sequence), "-", "-", r.Owner
	if r.Error != "" {
		at = "unreadable"
	}
	if r.Stored != nil {
		stored = ago(*r.Stored)
	}
	switch {
	case owner == "":
		owner = "-"
	case !r.Active:
		owner += " (expired)"
	}
	if r.Renewed != nil && r.Owner != "" {
		renewed = ago(*r.Renewed)
	}
	return []string{r.Partition, at, stored, number(r.Begin), number(r.End), number(r.Lag), owner, renewed}
}

func (e *environment) checkpointsDoctorCommand() *cobra.Command {
	var f checkpointFlags
	c := &cobra.Command{
		Use: "doctor [SUBJECT...]", Short: "Find what is wrong with the records of the store",
		Long: `Find what is wrong with the records of the store, in all groups or in some: checkpoints
that cannot be read, that are beyond the hub's end, behind its first event or of a hub
that was deleted; owners that died; and fleets that share nothing although they mean to,
because their names for the hub differ in case, in the port or in the namespace.

Exit codes: 0 nothing but notices, 1 warnings or trouble.`,
		Example: `  hubferry checkpoints doctor
  hubferry checkpoints doctor west/telemetry --group '$Default'`,
		RunE: func(c *cobra.Command, args []string) error {
			return e.withLedger(c.Context(), &f, func(l *ledger) error { return e.doctor(c.Context(), &f, l, args) })
		},
	}
	f.add(c)
	return c
}

// findingLine is the JSON form of a finding.
type findingLine struct {
	Namespace string `json:"namespace"`
	Hub       string `json:"hub"`
	Group     string `json:"consumerGroup"`
	Partition string `json:"partition,omitempty"`
	admin.Finding
}

// spellings finds records of a group under names that differ from ours in case, where the
// store can look for them.
func (l *ledger) spellings(ctx context.Context, group hubferry.ID) ([]admin.Finding, error) {
	store, ok := l.store.CheckpointStore.(interface {
		Spellings(ctx context.Context, group hubferry.ID) ([]string, error)
	})
	if !ok {
		return nil, nil
	}
	names, err := store.Spellings(ctx, group)
	var found []admin.Finding
	for _, name := range names {
		found = append(found, admin.Finding{
			Severity: admin.Trouble, ID: group, Text: "another program keeps records of this group as " + name + " and does not see these",
			Hint: "give it the namespace, hub and group in lower case: the SDKs for Go and Java keep the case they are given",
		})
	}
	return found, err
}

func (e *environment) doctor(ctx context.Context, f *checkpointFlags, l *ledger, names []string) error {
	groups, err := l.groupsOf(ctx, f, names)
	if err != nil {
		return failed(err)
	}
	hubs := l.hubs(ctx, e, groups)
	found := admin.ExamineNames(groups)
	for _, g := range groups {
		records, err := l.store.Read(ctx, g, hubs[g])
		if err != nil {
			return failed(err)
		}
		found = append(found, admin.Examine(records, time.Now())...)
		spelled, err := l.spellings(ctx, g)
		if err != nil {
			return failed(err)
		}
		found = append(found, spelled...)
	}
	bad := false
	out := json.NewEncoder(e.stdout)
	for _, x := range found {
		bad = bad || x.Severity > admin.Notice
		if f.json {
			line := findingLine{x.ID.Namespace, x.ID.Hub, x.ID.ConsumerGroup, x.ID.Partition, x}
			if err := out.Encode(line); err != nil {
				return failed(err)
			}
			continue
		}
		fmt.Fprintf(e.stdout, "%s: %s: %s\n", x.Severity, x.ID, x.Text)
		if x.Hint != "" {
			fmt.Fprintln(e.stdout, "  "+x.Hint)
		}
	}
	if !f.json {
		fmt.Fprintf(e.stdout, "%d groups examined, %d findings\n", len(groups), len(found))
	}
	if bad {
		return &exitError{code: ExitFailure} // printed already
	}
	return nil
}
