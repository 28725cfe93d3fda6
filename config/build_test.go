package config_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	checkpointmem "github.com/hubferry/hubferry/checkpoint/mem"
	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/driver/mem"
	"github.com/hubferry/hubferry/engine"
)

// upper is an editor that reads its word from a file.
type upperOptions struct {
	File string `yaml:"file,short"`
}

func (o *upperOptions) Validate() []hubferry.Problem { return nil }

func buildRegistry(b *mem.Broker) *config.Registry {
	return &config.Registry{
		Drivers: []hubferry.Driver{mem.Driver(b)},
		Stores:  []hubferry.StoreKind{checkpointmem.Kind()},
		Editors: []hubferry.EditorKind{{
			Name: "append", Options: options[upperOptions],
			New: func(o hubferry.Options, env hubferry.Env) (hubferry.Editor, error) {
				word, err := env.Fetch(o.(*upperOptions).File)
				if err != nil {
					return nil, err
				}
				return hubferry.EditorFunc(func(_ context.Context, e *hubferry.Event) ([]hubferry.Event, error) {
					c, err := e.Edit()
					if err == nil {
						c.Body = append(bytes.Clone(c.Body), word...)
					}
					return nil, err
				}), nil
			},
		}},
		Condition: func(expression string) (hubferry.Condition, error) {
			return func(e *hubferry.Event) (bool, error) {
				c, err := e.Content()
				return err == nil && strings.HasPrefix(string(c.Body), expression), err
			}, nil
		},
	}
}

const buildConfig = `
version: 1
connections:
  west: { mem: { namespace: west } }
  east: { mem: { namespace: east } }
checkpoints: { mem: {} }
defaults:
  checkpointEvery: { time: 1s }
tasks:
  copy:
    source: west/a
    edit: [ append: word.txt ]
    match: first
    targets: [ { hub: east/a, when: a, name: first }, east/b ]
    provenance: standard
  idle: { source: west/b, target: east/c }
`

func load(t *testing.T, text string, reg *config.Registry) *config.Application {
	t.Helper()
	folder := t.TempDir()
	file := filepath.Join(folder, "hubferry.yaml")
	for name, data := range map[string]string{file: text, filepath.Join(folder, "word.txt"): "!"} {
		if err := os.WriteFile(name, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	app, err := config.Load(config.Input{File: file}, reg)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// TestBuild runs what a configuration says on the memory broker.
func TestBuild(t *testing.T) {
	broker := mem.NewBroker()
	for namespace, hubs := range map[string][]string{"west": {"a", "b"}, "east": {"a", "b", "c"}} {
		for _, h := range hubs {
			broker.Create(namespace, h, mem.HubOptions{Partitions: 2})
		}
	}
	app := load(t, buildConfig, buildRegistry(broker))
	built, err := app.Build(t.Context(), config.BuildOptions{Env: hubferry.Env{Instance: "one"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for range 2 {
			if err := built.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}()
	if len(built.Tasks) != 2 || built.Tasks[0].Budget != 32<<20 {
		t.Errorf("%d tasks, budget %d", len(built.Tasks), built.Tasks[0].Budget)
	}
	e, err := engine.New(built.Tasks, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	source := broker.Hub("west", "a")
	source.Inject(0, hubferry.NewEvent(&hubferry.Content{Body: []byte("abc")}))
	source.Inject(1, hubferry.NewEvent(&hubferry.Content{Body: []byte("xyz")}))
	for len(bodies(broker, "a"))+len(bodies(broker, "b")) < 2 {
		select {
		case err := <-done:
			t.Fatal(err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := bodies(broker, "a"); len(got) != 1 || got[0] != "abc!" {
		t.Errorf("east/a has %q", got)
	}
	if got := bodies(broker, "b"); len(got) != 1 || got[0] != "xyz!" {
		t.Errorf("east/b has %q", got)
	}
}

func bodies(b *mem.Broker, hub string) []string {
	var list []string
	h := b.Hub("east", hub)
	for p := range h.Partitions() {
		for _, e := range h.Dump(p) {
			if c, err := e.Content(); err == nil {
				list = append(list, string(c.Body))
			}
		}
	}
	return list
}

func TestBuildSome(t *testing.T) {
	broker := mem.NewBroker()
	broker.Create("west", "b", mem.HubOptions{})
	app := load(t, buildConfig, buildRegistry(broker))
	built, err := app.Build(t.Context(), config.BuildOptions{Tasks: []string{"idle", "idle"}, Env: hubferry.Env{Instance: "one"}})
	if err != nil || len(built.Tasks) != 1 || built.Tasks[0].Name != "idle" {
		t.Fatalf("%+v %v", built, err)
	}
	if err := built.Close(t.Context()); err != nil {
		t.Error(err)
	}
	_, err = app.Build(t.Context(), config.BuildOptions{Tasks: []string{"idel"}})
	if err == nil || !strings.HasSuffix(err.Error(), `there is no task "idel"; did you mean "idle"?`) {
		t.Error(err)
	}
	if _, err := app.Connect(t.Context(), "wset", hubferry.Env{}); err == nil || !strings.HasSuffix(err.Error(), `there is no connection "wset"; did you mean "west"?`) {
		t.Error(err)
	}
	c, err := app.Connect(t.Context(), "west", hubferry.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if name, err := c.Namespace(t.Context()); name != "west" || err != nil {
		t.Error(name, err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// closing counts what is open, and fails where it is told to.
type closing struct {
	open   int
	failOn string
}

func (c *closing) driver() hubferry.Driver {
	return hubferry.Driver{
		Name: "count", Connection: options[none], Source: options[none], Target: options[none],
		Connect: func(context.Context, hubferry.Options, hubferry.Env) (hubferry.Connection, error) {
			return &counted{c}, c.add("connect")
		},
	}
}

func (c *closing) add(what string) error {
	if c.failOn == what {
		return errors.New("refused")
	}
	c.open++
	return nil
}

type counted struct{ c *closing }

func (x *counted) Namespace(context.Context) (string, error) { return "n", nil }
func (x *counted) Source(context.Context, string, hubferry.Options) (hubferry.Source, error) {
	return &countedSource{counted: counted{x.c}}, x.c.add("source")
}

func (x *counted) Target(context.Context, hubferry.Options) (hubferry.Target, error) {
	return &countedTarget{counted: counted{x.c}}, x.c.add("target")
}

func (x *counted) Close(context.Context) error {
	x.c.open--
	return nil
}

type countedSource struct {
	counted
	hubferry.Source
}

func (x *countedSource) Close(ctx context.Context) error { return x.counted.Close(ctx) }

type countedTarget struct {
	counted
	hubferry.Target
}

func (x *countedTarget) Close(ctx context.Context) error { return x.counted.Close(ctx) }

type countedStore struct {
	counted
	hubferry.CheckpointStore
}

func (x *countedStore) Close(ctx context.Context) error { return x.counted.Close(ctx) }

// TestBuildFails checks that nothing stays open when a part cannot be opened, and that
// the error says which.
func TestBuildFails(t *testing.T) {
	for what, want := range map[string]string{
		"connect": "task copy: source a/x: connect a: refused",
		"source":  "task copy: source a/x: refused",
		"store":   "task copy: source a/x: open checkpoint store s: refused",
		"target":  "task copy: target b/y: refused",
	} {
		c := &closing{failOn: what}
		reg := &config.Registry{
			Drivers: []hubferry.Driver{c.driver()},
			Stores: []hubferry.StoreKind{{
				Name: "s", Options: options[none],
				Open: func(context.Context, hubferry.Options, hubferry.Env) (hubferry.CheckpointStore, error) {
					return &countedStore{counted: counted{c}}, c.add("store")
				},
			}},
		}
		app := load(t, "version: 1\nconnections: { a: { count: }, b: { count: } }\ncheckpoints: { s: }\ntasks: { copy: { source: a/x, target: b/y } }\n", reg)
		_, err := app.Build(t.Context(), config.BuildOptions{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", what, err, want)
		}
		if c.open != 0 {
			t.Errorf("%s: %d parts stay open", what, c.open)
		}
	}
}

func TestLoadInto(t *testing.T) {
	in := config.Input{
		File: "x/hub.yaml",
		ReadFile: func(name string) ([]byte, error) {
			if name != "x/hub.yaml" {
				return nil, fs.ErrNotExist
			}
			return []byte("version: 1\nhub: { listen: \"${L}\", namespaces: { a: { port: 5672, hubs: { h: {} } } } }\ntasks: not looked at\n"), nil
		},
		Lookup: func(string) (string, bool) { return "::1", true },
	}
	var o hubSection
	if err := config.LoadInto(in, "hub", &o); err != nil || o.Listen != "::1" || o.Namespaces["a"].Port != 5672 {
		t.Errorf("%+v %v", o, err)
	}
	if err := config.LoadInto(in, "other", &o); err != nil {
		t.Error(err)
	}
	err := config.LoadInto(in, "tasks", &o)
	if err == nil || err.Error() != `x/hub.yaml:3:8: expected a map of listen, data, namespaces, found "not looked at"` {
		t.Error(err)
	}
}

// TestUnreadable checks the errors that have no place in the file.
func TestUnreadable(t *testing.T) {
	_, err := config.Load(config.Input{File: filepath.Join(t.TempDir(), "none.yaml")}, registry())
	if !errors.Is(err, fs.ErrNotExist) || !strings.HasSuffix(err.Error(), "none.yaml: the file cannot be read: no such file or directory") {
		t.Error(err)
	}
	folder := t.TempDir()
	_, err = config.Load(config.Input{File: folder}, registry())
	if err == nil || err.Error() != folder+": the file cannot be read: is a directory" {
		t.Error(err)
	}
}

// A task's fingerprint changes with what decides its outputs, and with nothing else (G-8).
func TestFingerprint(t *testing.T) {
	broker := mem.NewBroker()
	for _, hub := range []string{"west/a", "west/b", "east/a", "east/b", "east/c"} {
		namespace, name, _ := strings.Cut(hub, "/")
		broker.Create(namespace, name, mem.HubOptions{})
	}
	of := func(text string) string {
		t.Helper()
		built, err := load(t, text, buildRegistry(broker)).Build(t.Context(), config.BuildOptions{Env: hubferry.Env{Instance: "one"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = built.Close(t.Context()) }()
		if d := built.Tasks[0].Delivery; d != engine.EffectivelyOnce {
			t.Fatalf("delivery is %q", d)
		}
		return built.Tasks[0].Fingerprint
	}
	base := strings.ReplaceAll(buildConfig, "provenance: standard", "delivery: effectively-once")
	first := of(base)
	for from, c := range map[string]struct {
		to   string
		same bool
	}{
		"time: 1s":         {"time: 2s", true},
		"append: word.txt": {"append: ./word.txt", false},
		"when: a":          {"when: b", false},
		"name: first":      {"name: other", false},
		"match: first":     {"match: all", false},
		"east/b ]":         {"east/c ]", false},
	} {
		changed := strings.Replace(base, from, c.to, 1)
		if changed == base {
			t.Fatalf("there is no %q", from)
		}
		if same := of(changed) == first; same != c.same {
			t.Errorf("%q in place of %q: the same fingerprint %t, want %t", c.to, from, same, c.same)
		}
	}
}
