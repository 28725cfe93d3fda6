// Command hubferry replicates event streams. A program with drivers or editors of its own
// is a copy of this file with another list.
package main

import (
	"os"

	checkpoints "github.com/hubferry/hubferry/checkpoint/all"
	"github.com/hubferry/hubferry/cli"
	"github.com/hubferry/hubferry/config"
	drivers "github.com/hubferry/hubferry/driver/all"
)

// version is set by the linker.
var version string

func main() { os.Exit(cli.Main(options())) }

// options is the list of what this program is made of.
func options() cli.Options {
	return cli.Options{
		Version:  version,
		Registry: config.Registry{Drivers: drivers.Drivers(), Stores: checkpoints.Stores()},
	}
}
