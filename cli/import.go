package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/internal/mirrormaker"
)

func (e *environment) importCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "import", Short: "Take over from another program", Args: noSuchCommand, SuggestionsMinimumDistance: 2,
		Long: "Turn the configuration of another program into one of Hubferry.",
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(e.functionsCommand(), e.mirrormakerCommand())
	return c
}

const mirrormakerHelp = `Turn a configuration of MirrorMaker 2 into one of Hubferry.

FILE is what connect-mirror-maker.sh was given, or what a Connect worker runs as a
MirrorSourceConnector: properties, or the JSON of Connect's REST interface. The new
configuration goes to standard output. Standard error tells, line by line, what could not
be carried, why, and what to do; --all tells of the rest too. Secrets are never copied:
the new configuration names environment variables and files in their place.

With --positions it reads, in the place of that, how far MirrorMaker has come (its offsets
topic on the target cluster) and stores it as the progress of the tasks of --config, so
that hubferry run goes on from there. Stop MirrorMaker first and leave it stopped. Nothing
is lost; what MirrorMaker had sent beyond what it stored comes twice, as it would have
with MirrorMaker itself. Where a task has progress of its own that says something else,
nothing at all is stored, unless --overwrite says so; --dry-run only shows.`

const mirrormakerExample = `  hubferry import mirrormaker mm2.properties -o hubferry.yaml
  hubferry import mirrormaker mm2.properties --all > /dev/null
  hubferry import mirrormaker mm2.properties --positions --dry-run
  hubferry import mirrormaker mm2.properties --positions && hubferry run`

// mirrormakerFlags are the flags of import mirrormaker.
type mirrormakerFlags struct {
	output, config                    string
	all, positions, overwrite, dryRun bool
	json                              bool
	log                               logFlags
}

func (e *environment) mirrormakerCommand() *cobra.Command {
	var f mirrormakerFlags
	c := &cobra.Command{
		Use: "mirrormaker FILE", Short: "Take over from MirrorMaker 2", Long: mirrormakerHelp, Example: mirrormakerExample,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if f.positions {
				return e.importPositions(c.Context(), &f, args[0])
			}
			return e.importMirrormaker(&f, args[0])
		},
	}
	c.Flags().StringVarP(&f.output, "output", "o", "", "write to a new `FILE` instead of standard output")
	c.Flags().BoolVar(&f.all, "all", false, "tell of every setting, of those that were carried too")
	c.Flags().BoolVar(&f.positions, "positions", false, "store how far MirrorMaker has come as the progress of the tasks")
	addConfigFlag(c, &f.config)
	c.Flags().BoolVar(&f.dryRun, "dry-run", false, "with --positions: show, and store nothing")
	c.Flags().BoolVar(&f.overwrite, "overwrite", false, "with --positions: replace progress that the tasks have")
	c.Flags().BoolVar(&f.json, "json", false, "with --positions: print one JSON object per partition")
	f.log.add(c, slog.LevelWarn)
	c.MarkFlagsMutuallyExclusive("positions", "output")
	c.MarkFlagsMutuallyExclusive("positions", "all")
	c.MarkFlagsMutuallyExclusive("dry-run", "overwrite")
	return c
}

func (e *environment) importMirrormaker(f *mirrormakerFlags, file string) error {
	t, err := translate(file)
	if err != nil {
		return err
	}
	if f.output == "" {
		_, err = e.stdout.Write(t.YAML)
	} else {
		err = e.writeConfig(f.output, t.YAML)
	}
	if err != nil {
		return err
	}
	counts := map[mirrormaker.Verdict]int{}
	for _, x := range t.Findings {
		counts[x.Verdict]++
		if f.all || x.Verdict > mirrormaker.Needless {
			fmt.Fprintln(e.stderr, describe(file, x))
		}
	}
	var parts []string
	for v := mirrormaker.Carried; v <= mirrormaker.Unknown; v++ {
		if counts[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[v], v))
		}
	}
	fmt.Fprintln(e.stderr, file+":", strings.Join(parts, ", "))
	return nil
}

// translate reads a configuration of MirrorMaker and translates it.
func translate(file string) (*mirrormaker.Translation, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, &exitError{ExitUsage, err}
	}
	defer func() { _ = in.Close() }() // it was only read
	properties, err := mirrormaker.Parse(in)
	if err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("%s: %w", file, err)}
	}
	t, err := mirrormaker.Translate(filepath.Base(file), properties)
	if err != nil {
		return nil, &exitError{ExitUsage, fmt.Errorf("%s: %w", file, err)}
	}
	return t, nil
}

// writeConfig writes a new configuration and, if there is none, the schema beside it.
func (e *environment) writeConfig(file string, data []byte) error {
	if err := writeNew(file, data); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &exitError{ExitUsage, fmt.Errorf("%s is there already; remove it, or name another with --output", file)}
		}
		return failed(err)
	}
	err := writeNew(filepath.Join(filepath.Dir(file), schemaFile), config.Schema(&e.Registry))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return failed(err)
}

// describe is a line of the report.
func describe(file string, x mirrormaker.Finding) string {
	var b strings.Builder
	b.WriteString(file)
	if x.Line > 0 {
		fmt.Fprintf(&b, ":%d", x.Line)
	}
	if x.Key != "" {
		b.WriteString(": " + x.Key)
	}
	fmt.Fprintf(&b, ": %s", x.Verdict)
	if x.Text != "" {
		b.WriteString(": " + x.Text)
	}
	return b.String()
}
