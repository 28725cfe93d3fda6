package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hubferry/hubferry/config"
)

var update = flag.Bool("update", false, "rewrite the wanted results in testdata")

// now is later than all times in testdata but those that are to be in the future.
var now = time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC)

// archive is a test case: hubferry.yaml, what it refers to, and what is wanted. Lines
// of its comment say "env NAME=value" or "without expressions".
type archive struct {
	*txtar.Archive
	name string
}

func (a archive) file(name string) []byte {
	for _, f := range a.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// input returns the case as Load takes it. The yaml is written with these escapes where
// text files cannot hold the bytes: <BOM>, <TAB>, <CR>, <NUL>, <FF>, <FE>.
func (a archive) input() config.Input {
	return config.Input{
		File: "hubferry.yaml",
		Lookup: func(name string) (string, bool) {
			for line := range strings.SplitSeq(string(a.Comment), "\n") {
				if value, ok := strings.CutPrefix(line, "env "+name+"="); ok {
					return value, true
				}
			}
			return "", false
		},
		ReadFile: func(name string) ([]byte, error) {
			data := a.file(name)
			if data == nil {
				return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("no such file or directory")}
			}
			return unescape.Replace(data), nil
		},
		Now: now,
	}
}

type byteReplacer struct{ *strings.Replacer }

func (r byteReplacer) Replace(b []byte) []byte { return []byte(r.Replacer.Replace(string(b))) }

var unescape = byteReplacer{strings.NewReplacer("<BOM>", "\xEF\xBB\xBF", "<TAB>", "\t", "<CR>", "\r", "<NUL>", "\x00", "<FF>", "\xFF", "<FE>", "\xFE")}

func (a archive) registry() *config.Registry {
	reg := registry()
	if bytes.Contains(a.Comment, []byte("without expressions")) {
		reg.Condition = nil
	}
	return reg
}

// want compares a result with the archive's file "want", or rewrites it.
func (a archive) want(t *testing.T, got string) {
	t.Helper()
	if *update {
		data := []byte(got)
		found := false
		for i := range a.Files {
			if a.Files[i].Name == "want" {
				a.Files[i].Data, found = data, true
			}
		}
		if !found {
			a.Files = append(a.Files, txtar.File{Name: "want", Data: data})
		}
		if err := os.WriteFile(a.name, txtar.Format(a.Archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(a.file("want")), got); diff != "" {
		t.Errorf("result differs (-want +got):\n%s", diff)
	}
}

func archives(t testing.TB, folder string) map[string]archive {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", folder, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases in testdata/%s (%v)", folder, err)
	}
	all := map[string]archive{}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(name), ".txtar")] = archive{a, name}
	}
	return all
}

// TestBad loads every file of testdata/bad, which must give exactly the problems that
// stand beside it.
func TestBad(t *testing.T) {
	cases := archives(t, "bad")
	if len(cases) < 60 {
		t.Errorf("only %d bad configurations; there were more", len(cases))
	}
	for name, a := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(a.input(), a.registry())
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			a.want(t, err.Error()+"\n")
		})
	}
}

// TestGood loads every file of testdata/good and compares what came out.
func TestGood(t *testing.T) {
	for name, a := range archives(t, "good") {
		t.Run(name, func(t *testing.T) {
			app, err := config.Load(a.input(), a.registry())
			if err != nil {
				t.Fatal(err)
			}
			a.want(t, describe(app))
		})
	}
}

// describe prints what an application holds.
func describe(app *config.Application) string {
	var b strings.Builder
	for _, w := range app.Warnings {
		fmt.Fprintln(&b, w)
	}
	for _, c := range app.Connections {
		fmt.Fprintf(&b, "connection %s: %s %s\n", c.Name, c.Driver.Name, show(c.Options))
	}
	fmt.Fprintf(&b, "store %s %s\n", app.Store.Kind.Name, show(app.Store.Options))
	if app.Memory != 0 || app.Drain != 0 {
		fmt.Fprintf(&b, "memory %s drain %s\n", app.Memory, app.Drain)
	}
	for _, t := range app.Tasks {
		fmt.Fprintf(&b, "task %s\n", t.Name)
		fmt.Fprintf(&b, "  source %s %s start %s\n", t.Source.Address(), show(t.Source.Options), &t.Source.Start)
		showEdit(&b, "  ", t.Edit)
		for _, x := range t.Targets {
			fmt.Fprintf(&b, "  target %s %s", x.Address(), show(x.Options))
			if x.Name != x.Address() {
				fmt.Fprintf(&b, " name %s", x.Name)
			}
			if x.When != "" {
				fmt.Fprintf(&b, " when %s (compiled %t)", x.When, x.Condition != nil)
			}
			b.WriteString("\n")
			showEdit(&b, "    ", x.Edit)
		}
		if t.DeadLetters != nil {
			fmt.Fprintf(&b, "  deadLetters %s %s\n", t.DeadLetters.Address(), show(t.DeadLetters.Options))
		}
		s := t.Settings
		fmt.Fprintf(&b, "  settings %s|%s|%s|%s %+v %+v %+v %+v\n",
			s.Delivery, s.OnError, s.OnGap, s.Match, s.Retry, s.CheckpointEvery, s.Window, s.Provenance)
	}
	return b.String()
}

func showEdit(b *strings.Builder, indent string, list []config.Edit) {
	for _, e := range list {
		fmt.Fprintf(b, "%sedit %s: %s %s\n", indent, e.Name, e.Kind.Name, show(e.Options))
	}
}

// show prints options, the secrets in them as well: these are no secrets.
func show(o any) string {
	text := fmt.Sprintf("%+v", reveal(o))
	return strings.TrimPrefix(text, "&")
}

func reveal(o any) any {
	switch o := o.(type) {
	case *eventHubsConnection:
		return fmt.Sprintf("{%q namespace=%s %s %s %d %s}", o.ConnectionString.Reveal(), o.Namespace, o.Credential, o.Transport, o.Prefetch, o.KeepAlive)
	case *kafkaConnection:
		text := fmt.Sprintf("{brokers=%v", o.Brokers)
		if o.TLS != nil {
			text += fmt.Sprintf(" tls=%+v", *o.TLS)
		}
		if o.SASL != nil {
			text += fmt.Sprintf(" sasl=%s %s %q", o.SASL.Mechanism, o.SASL.Username, o.SASL.Password.Reveal())
		}
		return text + "}"
	}
	return o
}

// TestProblemsHaveAPlace checks that every problem of every bad file says where it is.
func TestProblemsHaveAPlace(t *testing.T) {
	for name, a := range archives(t, "bad") {
		_, err := config.Load(a.input(), a.registry())
		var problems config.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%s: %T is not Problems", name, err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 {
				t.Errorf("%s: no position: %s", name, p)
			}
		}
	}
}
