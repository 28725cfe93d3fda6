package cli

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

const versionHelp = `Print the version of the program and what it was built with: the drivers, checkpoint
stores and editors that a configuration can name.`

const versionExample = `  hubferry version
  hubferry version --json | jq -r .version`

func (e *environment) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "version", Short: "Print the version", Long: versionHelp, Example: versionExample,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return failed(e.version(asJSON)) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// build is what the program tells about itself, and its JSON form.
type build struct {
	Version  string   `json:"version"`
	Revision string   `json:"revision,omitempty"`
	Go       string   `json:"go"`
	Platform string   `json:"platform"`
	Drivers  []string `json:"drivers"`
	Stores   []string `json:"stores"`
	Editors  []string `json:"editors"`
}

// about describes this program.
func (e *environment) about() build {
	b := build{
		Version: e.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		Drivers: []string{}, Stores: []string{}, Editors: []string{},
	}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Revision = s.Value
			}
		}
	}
	if b.Version == "" && ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version // installed with "go install"
	}
	if b.Version == "" {
		b.Version = "development"
	}
	for _, d := range e.Registry.Drivers {
		b.Drivers = append(b.Drivers, d.Name)
	}
	for _, s := range e.Registry.Stores {
		b.Stores = append(b.Stores, s.Name)
	}
	for _, k := range e.Registry.Editors {
		b.Editors = append(b.Editors, k.Name)
	}
	return b
}

func (e *environment) version(asJSON bool) error {
	b := e.about()
	if asJSON {
		return json.NewEncoder(e.stdout).Encode(b)
	}
	_, err := fmt.Fprintf(e.stdout, "hubferry %s (%s, %s)\ndrivers: %s\nstores:  %s\n",
		b.Version, b.Go, b.Platform, strings.Join(b.Drivers, ", "), strings.Join(b.Stores, ", "))
	if err == nil && len(b.Editors) > 0 {
		_, err = fmt.Fprintf(e.stdout, "editors: %s\n", strings.Join(b.Editors, ", "))
	}
	return err
}
