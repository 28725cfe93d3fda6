package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/config"
)

const validateHelp = `Read a configuration, check it, and print everything that is wrong, all at once: file,
line and column, what it is and what would be right. No service is asked anything.

Standard output gets the problems and, when there is no error, the tasks. With --json it is
one object with "file", "valid", "problems" (each with file, line, column, severity, path
and message) and "tasks" (each with name, source and targets).

Exit codes: 0 no errors (warnings are allowed, unless --strict), 2 errors.`

const validateExample = `  hubferry validate
  hubferry validate --config /etc/hubferry.yaml --json | jq '.problems[].message'
  hubferry validate --strict && hubferry run
  hubferry validate --schema > hubferry.schema.json`

// validateFlags are the flags of validate.
type validateFlags struct {
	config               string
	json, strict, schema bool
}

func (e *environment) validateCommand() *cobra.Command {
	var f validateFlags
	c := &cobra.Command{
		Use: "validate", Short: "Check a configuration", Long: validateHelp, Example: validateExample,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return e.validate(&f) },
	}
	addConfigFlag(c, &f.config)
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON object")
	c.Flags().BoolVar(&f.strict, "strict", false, "treat warnings as errors")
	c.Flags().BoolVar(&f.schema, "schema", false, "print the JSON Schema of the configuration, for editors, and check nothing")
	c.MarkFlagsMutuallyExclusive("schema", "json")
	c.MarkFlagsMutuallyExclusive("schema", "strict")
	return c
}

// verdict is the report of validate, and its JSON form.
type verdict struct {
	File     string          `json:"file"`
	Valid    bool            `json:"valid"`
	Problems config.Problems `json:"problems"`
	Tasks    []taskLine      `json:"tasks"`
}

// taskLine is a task in one line.
type taskLine struct {
	Name    string   `json:"name"`
	Source  string   `json:"source"`
	Targets []string `json:"targets"`
}

func (e *environment) validate(f *validateFlags) error {
	if f.schema {
		_, err := e.stdout.Write(config.Schema(&e.Registry))
		return failed(err)
	}
	v := e.judge(f)
	report := v.print
	if f.json {
		report = v.printJSON
	}
	if err := report(e.stdout); err != nil {
		return failed(err)
	}
	if !v.Valid {
		return &exitError{code: ExitUsage} // printed already
	}
	return nil
}

// judge loads the configuration.
func (e *environment) judge(f *validateFlags) *verdict {
	v := &verdict{File: f.config, Problems: config.Problems{}, Tasks: []taskLine{}}
	app, err := config.Load(e.input(f.config), &e.Registry)
	if err != nil {
		v.Problems, _ = errors.AsType[config.Problems](err)
		return v
	}
	v.Problems = append(v.Problems, app.Warnings...)
	v.Valid = len(v.Problems) == 0 || !f.strict
	for _, t := range app.Tasks {
		line := taskLine{Name: t.Name, Source: t.Source.Address()}
		for i := range t.Targets {
			line.Targets = append(line.Targets, t.Targets[i].Address())
		}
		v.Tasks = append(v.Tasks, line)
	}
	return v
}

func (v *verdict) printJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

func (v *verdict) print(w io.Writer) error {
	for _, p := range v.Problems {
		if _, err := fmt.Fprintln(w, p); err != nil {
			return err
		}
	}
	if !v.Valid {
		return nil
	}
	state := "no problems"
	if n := len(v.Problems); n == 1 {
		state = "1 warning"
	} else if n > 1 {
		state = fmt.Sprintf("%d warnings", n)
	}
	tasks := fmt.Sprintf("%d tasks", len(v.Tasks))
	if len(v.Tasks) == 1 {
		tasks = "1 task"
	}
	if _, err := fmt.Fprintf(w, "%s: %s, %s\n", v.File, tasks, state); err != nil {
		return err
	}
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, t := range v.Tasks {
		if _, err := fmt.Fprintf(columns, "  %s\t%s -> %s\n", t.Name, t.Source, strings.Join(t.Targets, ", ")); err != nil {
			return err
		}
	}
	return columns.Flush()
}
