package rules

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// room is a part of the house and what its packages may depend on, in code that is not a test.
type room struct {
	// dirs are the packages it is about: a folder, or a folder with /... for all below. A * stands for one name, and
	// then each such folder is a room of its own.
	dirs []string
	// ours are the packages of this module that they may reach, directly or not, beside those of the room itself.
	ours []string
	// foreign are the modules that they may import themselves. With none, nothing but the standard library may be
	// reached, directly or not.
	foreign []string
	why     string
}

const anyModule = "*"

// rooms are in order: the first that a package fits is its room.
var rooms = []room{
	{
		dirs: []string{"."},
		why:  "the contract is what everybody must agree on: it is read in ten minutes and pulls nothing in",
	},
	{
		dirs: []string{"internal/amqpevent"}, ours: []string{".", "internal/amqp"},
		why: "the bridge between the wire and the contract's event knows both and nothing else",
	},
	{
		dirs: []string{"internal/amqp", "internal/amqpserver", "internal/keyhash"}, ours: []string{"internal/amqp"},
		why: "the codec is pure and fuzzed; client and server are both built on it, so it knows neither",
	},
	{
		dirs: []string{"internal/amqpclient"}, ours: []string{"internal/amqp"},
		why: "the client's side of AMQP moves encoded messages: it knows neither events nor Event Hubs",
	},
	{
		dirs: []string{"internal/entra"}, ours: []string{"."}, foreign: []string{"github.com/Azure/azure-sdk-for-go/sdk/azcore", "github.com/Azure/azure-sdk-for-go/sdk/azidentity"},
		why: "signing in to Azure is the same for every driver and store, and is all it does",
	},
	{
		dirs: []string{"internal/..."}, ours: []string{".", "internal/..."},
		why: "what several rooms need must not drag one of them into the others",
	},
	{
		dirs: []string{"hub/..."}, ours: []string{"internal/amqp", "internal/amqpserver", "internal/keyhash"},
		foreign: []string{"github.com/coder/websocket", "golang.org/x/sync", "golang.org/x/sys"},
		why:     "the hub is a separate room: with internal/amqp it could be a module of its own; it knows no tasks and no checkpoints",
	},
	{
		dirs: []string{"engine/..."}, ours: []string{"."},
		why: "the engine moves events and knows no driver, store or configuration by name: it takes interfaces of the contract",
	},
	{
		dirs: []string{"driver/all", "checkpoint/all"}, ours: []string{".", "driver/...", "checkpoint/...", "internal/..."},
		foreign: []string{anyModule},
		why:     "the lists of what the standard binary links, and nothing else",
	},
	{
		dirs: []string{"driver/*/..."}, ours: []string{".", "internal/..."}, foreign: []string{anyModule},
		why: "a driver knows the contract and its service: no other driver, no engine, no configuration",
	},
	{
		dirs: []string{"checkpoint", "checkpoint/checkpointtest", "checkpoint/admin"}, ours: []string{".", "checkpoint"},
		foreign: []string{"github.com/google/go-cmp"},
		why:     "the balancer works on any store; the suite judges any store, and a person looks into any",
	},
	{
		dirs: []string{"checkpoint/azprocessor"}, ours: []string{".", "checkpoint"},
		foreign: []string{"github.com/Azure/azure-sdk-for-go/sdk/azcore", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs"},
		why:     "it stands between the SDK's processor and any store, so it knows none",
	},
	{
		dirs: []string{"checkpoint/*/..."}, ours: []string{".", "internal/..."}, foreign: []string{anyModule},
		why: "a store keeps records; who should own what is the balancer's business",
	},
	{
		dirs: []string{"drivertest/..."}, ours: []string{"."}, foreign: []string{"github.com/google/go-cmp"},
		why: "the suite judges any driver, of this module or not, so it knows none",
	},
	{
		dirs: []string{"audit"}, ours: []string{"."},
		why: "who judges what was moved shares no code with what moves it",
	},
	{
		dirs: []string{"audit/azure"}, ours: []string{".", "audit"},
		foreign: []string{"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs", "github.com/coder/websocket"},
		why:     "the judge's eyes are Microsoft's own SDK: our drivers and our codec must not be between it and the hub",
	},
	{
		dirs: []string{"edit/..."}, ours: []string{"."}, foreign: []string{"github.com/google/go-cmp"},
		why: "who embeds the engine compiles only the editors that he uses",
	},
	{
		dirs: []string{"loglevel"}, foreign: []string{"github.com/google/go-cmp"},
		why: "it sorts lines of a log by an attribute, whoever writes them",
	},
	{
		dirs: []string{"config/..."}, ours: []string{".", "engine", "checkpoint"}, foreign: []string{"github.com/goccy/go-yaml"},
		why: "configuration learns drivers and stores from the lists it is given, so that a custom binary can bring its own",
	},
	{
		dirs: []string{"bench/...", "cli/...", "cmd/...", "demo/...", "e2e/...", "examples/...", "faults", "interop/...", "rules", "simulation/..."}, ours: []string{"./..."}, foreign: []string{anyModule},
		why: "the programs put everything together",
	},
}

// own returns the patterns of the part of the room that a package is in, and whether it is in it at all.
func (r *room) own(dir string) ([]string, bool) {
	for _, p := range r.dirs {
		if before, after, ok := strings.Cut(p, "*"); ok {
			rest, inside := strings.CutPrefix(dir, before)
			name, _, _ := strings.Cut(rest, "/")
			if one := before + name + after; inside && under(dir, one) {
				return []string{one}, true
			}
		} else if under(dir, p) {
			return r.dirs, true
		}
	}
	return nil, false
}

func (r *room) check(t *testing.T, p *pkg, all map[string]*pkg) {
	t.Helper()
	own, _ := r.own(p.dir())
	reachable := append(slices.Clone(own), r.ours...)
	for _, d := range p.Deps {
		switch {
		case isOurs(d):
			if dir := all[d].dir(); !under(dir, reachable...) && !slices.Contains(r.ours, "./...") {
				t.Errorf("%s depends on %s: %s\n%s", p.dir(), dir, r.why, chain(all, p, d))
			}
		case len(r.foreign) == 0 && isForeign(d):
			t.Errorf("%s depends on %s: %s\n%s", p.dir(), d, r.why, chain(all, p, d))
		}
	}
	for _, i := range p.Imports {
		allowed := func(m string) bool { return m == anyModule || i == m || strings.HasPrefix(i, m+"/") }
		if len(r.foreign) > 0 && isForeign(i) && !slices.ContainsFunc(r.foreign, allowed) {
			t.Errorf("%s imports %s: %s", p.dir(), i, r.why)
		}
	}
}

// chain tells one way on which a package came in.
func chain(all map[string]*pkg, from *pkg, to string) string {
	for _, i := range from.Imports {
		if i == to {
			return "\t" + from.ImportPath + " imports " + to
		}
		if next := all[i]; next != nil && slices.Contains(next.Deps, to) {
			return "\t" + from.ImportPath + " imports " + i + "\n" + chain(all, next, to)
		}
	}
	return ""
}

func TestImports(t *testing.T) {
	for _, p := range ourPackages(t) {
		i := slices.IndexFunc(rooms, func(r room) bool { _, ok := r.own(p.dir()); return ok })
		if i < 0 {
			t.Errorf("%s is in no room: decide what it may depend on and write that down in rules/imports_test.go", p.dir())
			continue
		}
		rooms[i].check(t, p, allPackages(t))
	}
}

// A service's own library is the business of one package.
func TestOneServiceOneDriver(t *testing.T) {
	for _, c := range []struct {
		library string
		only    []string
		why     string
	}{
		{"github.com/Azure/go-amqp", []string{"driver/eventhubs/..."}, "its types and its errors end at the driver"},
		{"github.com/Azure/azure-sdk-for-go/sdk/azidentity", []string{"internal/entra"}, "credentials are made in one place"},
		{
			"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs",
			[]string{"audit/azure", "demo", "interop/...", "checkpoint/azprocessor", "bench/eventhubs", "bench/checkpoint"},
			"it is the independent judge of what we moved: it must not be what moves it (and it gives every event a message id)",
		},
		{"github.com/twmb/franz-go", []string{"driver/kafka/...", "bench/kafka"}, "its types and its errors end at the driver; the benchmark compares with it"},
		{"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", []string{"checkpoint/blob/...", "bench/checkpoint"}, "Blob storage is a detail of one store; the benchmark compares with the SDK's"},
		{"github.com/jackc/pgx", []string{"checkpoint/postgres/..."}, "the database is a detail of one store"},
		{"modernc.org/sqlite", []string{"checkpoint/sqlite/..."}, "the database is a detail of one store"},
		{"github.com/coder/websocket", []string{"hub/...", "driver/eventhubs/..."}, "a transport of AMQP, at its two ends"},
		{"testing", []string{"drivertest/...", "checkpoint/checkpointtest/...", "edit/edittest/...", "internal/kafkatest", "interop/..."}, "test code must not be linked into programs"},
	} {
		for _, p := range ourPackages(t) {
			for _, i := range p.Imports {
				if (i == c.library || strings.HasPrefix(i, c.library+"/")) && !under(p.dir(), c.only...) {
					t.Errorf("%s imports %s, which only %s may: %s", p.dir(), i, strings.Join(c.only, ", "), c.why)
				}
			}
		}
	}
}

func allPackages(t *testing.T) map[string]*pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatalf("list the packages: %v", err)
	}
	return all
}

// ourPackages are the packages of this module, by path.
func ourPackages(t *testing.T) []*pkg {
	t.Helper()
	all := allPackages(t)
	var list []*pkg
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if isOurs(name) {
			list = append(list, all[name])
		}
	}
	return list
}
