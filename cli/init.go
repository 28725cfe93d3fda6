package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/config"
)

const initHelp = `Write a commented configuration to start from, and beside it the JSON Schema with which
editors complete and check it. A file that is there is never overwritten.

--from and --to name the drivers of the source and of the target. --local writes one that
works as it is, between two embedded namespaces on this machine. With --config - the
configuration goes to standard output and nothing is written.`

const initExample = `  hubferry init
  hubferry init --local
  hubferry init --from kafka --to eventhubs
  hubferry init --config - > /etc/hubferry.yaml`

// schemaFile is the name of the JSON Schema that init writes beside the configuration.
const schemaFile = "hubferry.schema.json"

// initFlags are the flags of init.
type initFlags struct {
	config, from, to string
	local            bool
}

func (e *environment) initCommand() *cobra.Command {
	f := initFlags{from: "eventhubs", to: "eventhubs"}
	c := &cobra.Command{
		Use: "init", Short: "Write a configuration to start from", Long: initHelp, Example: initExample,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return e.init(&f) },
	}
	addConfigFlag(c, &f.config)
	names := strings.Join(e.startNames(), ", ")
	c.Flags().StringVar(&f.from, "from", f.from, "driver of the source: "+names)
	c.Flags().StringVar(&f.to, "to", f.to, "driver of the target: "+names)
	c.Flags().BoolVar(&f.local, "local", false, "between two embedded namespaces on this machine")
	c.MarkFlagsMutuallyExclusive("local", "from")
	c.MarkFlagsMutuallyExclusive("local", "to")
	for _, flag := range []string{"from", "to"} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(e.startNames(), cobra.ShellCompDirectiveNoFileComp)) // it fails only for an unknown flag
	}
	return c
}

// startNames are the drivers that init can write.
func (e *environment) startNames() []string {
	var names []string
	for _, d := range e.Registry.Drivers {
		if _, ok := starters[d.Name]; ok {
			names = append(names, d.Name)
		}
	}
	return names
}

func (e *environment) init(f *initFlags) error {
	text := localStarter(f.config)
	if !f.local {
		for _, flag := range []struct{ name, value string }{{"from", f.from}, {"to", f.to}} {
			if names := e.startNames(); !slices.Contains(names, flag.value) {
				return &exitError{ExitUsage, fmt.Errorf("--%s %s: this program can write %s", flag.name, flag.value, strings.Join(names, ", "))}
			}
		}
		text = starter(f.from, f.to)
	}
	if f.config == "-" {
		_, err := fmt.Fprint(e.stdout, text)
		return failed(err)
	}
	if err := writeNew(f.config, []byte(text)); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return &exitError{ExitUsage, fmt.Errorf("%s is there already; remove it, or name another with --config", f.config)}
		}
		return failed(err)
	}
	schema := filepath.Join(filepath.Dir(f.config), schemaFile)
	if err := writeNew(schema, config.Schema(&e.Registry)); err != nil && !errors.Is(err, fs.ErrExist) {
		return failed(err)
	}
	fmt.Fprintf(e.stderr, "%s is written. Next:\n", f.config)
	for _, step := range nextSteps(f) {
		fmt.Fprintln(e.stderr, "  "+step)
	}
	return nil
}

// nextSteps are the commands that follow.
func nextSteps(f *initFlags) []string {
	option := ""
	if f.config != defaultConfig {
		option = " --config " + f.config
	}
	if f.local {
		return []string{
			"hubferry hub --config " + f.config + "    serves both namespaces, in a terminal of its own",
			"hubferry run" + option + "    moves events from west to east",
			`echo '{"n":1}' | hubferry send` + option + " west/telemetry",
			"hubferry peek" + option + " east/telemetry",
		}
	}
	var steps []string
	for _, v := range slices.Compact(append(variables(f.from, "west"), variables(f.to, "east")...)) {
		steps = append(steps, "export "+v+"=...")
	}
	return append(steps, "hubferry validate"+option, "hubferry run"+option)
}

// writeNew writes a file that is not there yet.
func writeNew(name string, data []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // it holds no secret: references only
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
