package cli

import "github.com/spf13/cobra"

// commands lists the subcommands in the order of a first day with the program.
func (e *environment) commands() []*cobra.Command {
	return []*cobra.Command{
		e.demoCommand(),
		e.initCommand(),
		e.importCommand(),
		e.validateCommand(),
		e.runCommand(),
		e.hubCommand(),
		e.sendCommand(),
		e.peekCommand(),
		e.checkpointsCommand(),
		e.replayCommand(),
		e.versionCommand(),
	}
}
