package cli_test

import (
	"flag"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"

	checkpoints "github.com/hubferry/hubferry/checkpoint/all"
	"github.com/hubferry/hubferry/cli"
	"github.com/hubferry/hubferry/config"
	drivers "github.com/hubferry/hubferry/driver/all"
)

var update = flag.Bool("update", false, "rewrite the wanted results in testdata/script")

// TestMain runs the tests, or, started by a script under the name "hubferry", the
// program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hubferry": func() {
			os.Exit(cli.Main(cli.Options{
				Version:  "v1.2.3",
				Registry: config.Registry{Drivers: drivers.Drivers(), Stores: checkpoints.Stores()},
			}))
		},
	})
}

// TestScripts runs testdata/script: the program as a person or a script uses it. Each has
// a Kafka cluster of its own, at $KAFKA, with the topics state of three partitions and
// mm2-offsets.A.internal of one.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "state"), kfake.SeedTopics(1, "mm2-offsets.A.internal"))
			if err != nil {
				return err
			}
			e.Defer(c.Close)
			e.Setenv("KAFKA", c.ListenAddrs()[0])
			return nil
		},
	})
}
