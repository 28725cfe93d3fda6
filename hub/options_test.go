package hub_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/hubferry/hubferry/hub"
)

func one(change func(*hub.Options)) hub.Options {
	o := hub.Options{Namespaces: []hub.NamespaceOptions{{Name: "n", Hubs: []hub.HubOptions{{Name: "h"}}}}}
	if change != nil {
		change(&o)
	}
	return o
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(o *hub.Options){
		"the least": nil,
		"ports":     func(o *hub.Options) { o.Namespaces[0].Listen = "127.0.0.1:0" },
		"IPv6":      func(o *hub.Options) { o.Namespaces[0].Listen = "[::1]:5672" },
		"localhost": func(o *hub.Options) { o.Namespaces[0].Listen = "localhost:5672" },
		"everywhere, with a key": func(o *hub.Options) {
			o.Namespaces[0].Listen = ":5672"
			o.Namespaces[0].Rules = []hub.Rule{{Name: "r", Key: "k", Rights: hub.Manage}}
		},
		"everything": func(o *hub.Options) {
			o.Fsync, o.FsyncEvery, o.SegmentSize = hub.FsyncBatch, time.Minute, 1<<20
			o.Namespaces[0].Hubs[0] = hub.HubOptions{Name: "h", Partitions: 32, ConsumerGroups: []string{"$Default", "a"}, Retention: hub.Retention{For: time.Hour, Size: 1, Compact: true}}
		},
	} {
		o := one(change)
		if err := o.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	first := func(f func(n *hub.NamespaceOptions)) func(o *hub.Options) {
		return func(o *hub.Options) { f(&o.Namespaces[0]) }
	}
	for want, change := range map[string]func(o *hub.Options){
		"namespaces: there is none":                func(o *hub.Options) { o.Namespaces = nil },
		"fsync: ":                                  func(o *hub.Options) { o.Fsync = "always" },
		"fsyncEvery: it is negative":               func(o *hub.Options) { o.FsyncEvery = -1 },
		"segmentSize: 1KiB is not":                 func(o *hub.Options) { o.SegmentSize = 1024 },
		"retention.for: ":                          func(o *hub.Options) { o.Retention.For = -1 },
		"tls: both":                                func(o *hub.Options) { o.TLSFiles = &hub.TLSFiles{Key: "x"} },
		"limits.hubs: ":                            func(o *hub.Options) { o.Limits.Hubs = -1 },
		"limits.messageBytes: it is more":          func(o *hub.Options) { o.Limits.MessageBytes = 1 << 30 },
		"limits.idle: ":                            func(o *hub.Options) { o.Limits.Idle = -1 },
		`namespaces[1].name: "N" is given twice`:   func(o *hub.Options) { o.Namespaces = append(o.Namespaces, hub.NamespaceOptions{Name: "N"}) },
		"namespaces[0].name: it is empty":          first(func(n *hub.NamespaceOptions) { n.Name = "" }),
		`namespaces[0].name: ".." is not allowed`:  first(func(n *hub.NamespaceOptions) { n.Name = ".." }),
		`namespaces[0].name: "a/b" is not allowed`: first(func(n *hub.NamespaceOptions) { n.Name = "a/b" }),
		`namespaces[0].listen: "nowhere" is not`:   first(func(n *hub.NamespaceOptions) { n.Listen = "nowhere" }),
		`namespaces[0].listen: "x:99999" is not`:   first(func(n *hub.NamespaceOptions) { n.Listen = "x:99999" }),
		"namespaces[0].rules: 0.0.0.0:5672 can be reached from other machines": first(func(n *hub.NamespaceOptions) { n.Listen = "0.0.0.0:5672" }),
		"namespaces[0].rules: :5672 can be reached":                            first(func(n *hub.NamespaceOptions) { n.Listen = ":5672" }),
		"namespaces[0].rules: authorization rule: 'r' has no key":              first(func(n *hub.NamespaceOptions) { n.Rules = []hub.Rule{{Name: "r"}} }),
		`namespaces[0].hubs[1].name: "H" is given twice`:                       first(func(n *hub.NamespaceOptions) { n.Hubs = append(n.Hubs, hub.HubOptions{Name: "H"}) }),
		"namespaces[0].hubs[0].name: hub name: 'a b' is not allowed":           first(func(n *hub.NamespaceOptions) { n.Hubs[0].Name = "a b" }),
		"namespaces[0].hubs[0].partitions: 33 is not between 1 and 32":         first(func(n *hub.NamespaceOptions) { n.Hubs[0].Partitions = 33 }),
		`namespaces[0].hubs[0].consumerGroups[1]: "A" is given twice`:          first(func(n *hub.NamespaceOptions) { n.Hubs[0].ConsumerGroups = []string{"a", "A"} }),
		"namespaces[0].hubs[0].consumerGroups[0]: consumer group name":         first(func(n *hub.NamespaceOptions) { n.Hubs[0].ConsumerGroups = []string{"/"} }),
		"namespaces[0].hubs[0].consumerGroups: there are 21":                   first(func(n *hub.NamespaceOptions) { n.Hubs[0].ConsumerGroups = make([]string, 20) }),
		"namespaces[0].hubs[0].retention.size: it is negative":                 first(func(n *hub.NamespaceOptions) { n.Hubs[0].Retention.Size = -1 }),
		"namespaces[0].hubs[0].rules: authorization rule: the name is empty":   first(func(n *hub.NamespaceOptions) { n.Hubs[0].Rules = []hub.Rule{{Key: "k"}} }),
	} {
		o := one(change)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	// All problems at once.
	o := one(func(o *hub.Options) { o.Fsync, o.Namespaces[0].Name, o.Namespaces[0].Hubs[0].Partitions = "x", "", 99 })
	if err := o.Validate(); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Error(err)
	}
	if _, err := hub.New(t.Context(), o); err == nil || !strings.HasPrefix(err.Error(), "hub options: ") {
		t.Error(err)
	}
}

func TestListenAddress(t *testing.T) {
	o := hub.Options{Namespaces: []hub.NamespaceOptions{{Name: "a"}, {Name: "b"}, {Name: "c", Listen: "127.0.0.1:0"}}}
	for i, want := range []string{"127.0.0.1:5672", "127.0.0.1:5673", "127.0.0.1:0"} {
		if got := o.ListenAddress(i); got != want {
			t.Errorf("namespace %d listens on %s, want %s", i, got, want)
		}
	}
}

// Every option can be written in YAML, and reads back the same.
func TestOptionsYAML(t *testing.T) {
	const text = `
dir: /var/lib/hub
fsync: batch
fsyncEvery: 5s
segmentSize: 16MiB
retention: { for: 24h, size: 1GiB, compact: true, tombstones: 30m }
acceptJwt: true
tls: { certificate: a.pem, key: b.pem }
limits: { connections: 1, messageBytes: 2, handshake: 3s, write: 4s, idle: 5s, hubs: 6, partitions: 7, consumerGroups: 8, receivers: 9, blobBytes: 10, accountBytes: 11 }
blob: [{ name: ours, listen: "127.0.0.1:0", key: a2V5, secondaryKey: a2V6, containers: [checkpoints] }]
namespaces:
  - name: west
    listen: 127.0.0.1:0
    rules: [{ name: r, key: k, secondaryKey: k2, rights: "listen,send" }]
    hubs: [{ name: h, partitions: 2, consumerGroups: [g], retention: { for: 1h }, rules: [{ name: s, key: k, rights: manage }] }]
`
	want := hub.Options{
		Dir: "/var/lib/hub", Fsync: hub.FsyncBatch, FsyncEvery: 5 * time.Second, SegmentSize: 16 << 20, AcceptJWT: true,
		Retention: hub.Retention{For: 24 * time.Hour, Size: 1 << 30, Compact: true, Tombstones: 30 * time.Minute},
		TLSFiles:  &hub.TLSFiles{Certificate: "a.pem", Key: "b.pem"},
		Limits: hub.Limits{
			Connections: 1, MessageBytes: 2, Handshake: 3 * time.Second, Write: 4 * time.Second, Idle: 5 * time.Second,
			Hubs: 6, Partitions: 7, ConsumerGroups: 8, Receivers: 9, BlobBytes: 10, AccountBytes: 11,
		},
		Blob: []hub.AccountOptions{{Name: "ours", Listen: "127.0.0.1:0", Key: "a2V5", SecondaryKey: "a2V6", Containers: []string{"checkpoints"}}},
		Namespaces: []hub.NamespaceOptions{{
			Name: "west", Listen: "127.0.0.1:0",
			Rules: []hub.Rule{{Name: "r", Key: "k", SecondaryKey: "k2", Rights: hub.Listen | hub.Send}},
			Hubs: []hub.HubOptions{{
				Name: "h", Partitions: 2, ConsumerGroups: []string{"g"}, Retention: hub.Retention{For: time.Hour},
				Rules: []hub.Rule{{Name: "s", Key: "k", Rights: hub.Manage}},
			}},
		}},
	}
	var got hub.Options
	if err := yaml.UnmarshalWithOptions([]byte(text), &got, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]hub.Size{"0": 0, "17": 17, "64MiB": 64 << 20, "1 GiB": 1 << 30, "5kB": 5000, "2TB": 2e12, "3B": 3} {
		var s hub.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("%s = %d, %v", text, s, err)
		}
		var again hub.Size
		if b, err := s.MarshalText(); err != nil || again.UnmarshalText(b) != nil || again != s {
			t.Errorf("%s became %s", text, b)
		}
	}
	for _, text := range []string{"", "-1", "x", "1.5MiB", "9999999TiB", "MiB"} {
		var s hub.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q = %d", text, s)
		}
	}
}

func TestConnectionString(t *testing.T) {
	r := hub.Rule{Name: "r", Key: "a+/=="}
	for _, test := range []struct{ addr, hub, want string }{
		{"127.0.0.1:5672", "h", "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;EntityPath=h;"},
		{"127.0.0.1:5672", "", "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{"[::]:1", "", "Endpoint=sb://localhost:1;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{"0.0.0.0:1", "", "Endpoint=sb://localhost:1;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{":1", "", "Endpoint=sb://localhost:1;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{"[::1]:1", "", "Endpoint=sb://[::1]:1;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{"::1", "", "Endpoint=sb://[::1];SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
		{"host", "", "Endpoint=sb://host;SharedAccessKeyName=r;SharedAccessKey=a+/==;UseDevelopmentEmulator=true;"},
	} {
		if got := hub.ConnectionString(test.addr, r, test.hub); got != test.want {
			t.Errorf("%s: %s", test.addr, got)
		}
	}
	if got := hub.ConnectionString("localhost", hub.DefaultRule(), ""); got != "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;" {
		t.Error("not the official emulator's string:", got)
	}
}

// A server on disk: what was there is there again, retention and partitions
// follow the options, a second server is refused.
func TestServerOnDisk(t *testing.T) {
	o := one(func(o *hub.Options) { o.Dir = t.TempDir() })
	s, err := hub.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Hubs("n")
	if err != nil || len(before) != 1 || before[0].Partitions != 4 {
		t.Fatalf("%+v, %v", before, err)
	}
	if _, err := hub.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), filepath.Join(o.Dir, "n")+" is in use by process") {
		t.Error(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Namespaces[0].Hubs[0].Partitions = 6
	if s, err = hub.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	after, err := s.Hubs("n")
	if err != nil || after[0].ID != before[0].ID || after[0].Partitions != 6 {
		t.Errorf("%+v, %v", after, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Namespaces[0].Hubs[0].Partitions = 2
	if _, err = hub.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "cannot be lowered to 2") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "n", "namespace.json")); err != nil {
		t.Error(err)
	}
}
