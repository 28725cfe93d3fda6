package blob

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hubferry/hubferry"
	"github.com/hubferry/hubferry/checkpoint"
	"github.com/hubferry/hubferry/checkpoint/checkpointtest"
	"github.com/hubferry/hubferry/internal/azuritetest"
)

var (
	_ checkpoint.Clock   = (*Store)(nil)
	_ checkpoint.Forward = (*Store)(nil)
	_ checkpoint.Joint   = (*Store)(nil)
	_ checkpoint.Lister  = (*Store)(nil)
)

// account starts Azurite and returns the URL of its account. Without Azurite the test is
// skipped, or fails where HUBFERRY_INTEROP asks for it.
func account(t *testing.T) string {
	t.Helper()
	if os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip("set HUBFERRY_INTEROP=1 to test against Azurite, which scripts/setup-azurite.sh installs")
	}
	program, err := azuritetest.Find(t.Context(), "../..")
	if err != nil || program == "" {
		t.Fatalf("Azurite is not installed, see scripts/setup-azurite.sh: %v", err)
	}
	server, err := azuritetest.Start(context.WithoutCancel(t.Context()), program)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server.Endpoint
}

// fresh returns options for a container of its own.
func fresh(endpoint string) Options {
	return Options{
		Container:        fmt.Sprintf("c%x", rand.Uint64()),
		ConnectionString: hubferry.NewSecret(azuritetest.ConnectionString(endpoint)),
		CreateContainer:  true,
	}
}

// open opens a store and closes it at the end.
func open(t testing.TB, o Options, env hubferry.Env) *Store {
	t.Helper()
	s, err := Open(t.Context(), o, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.WithoutCancel(t.Context())) })
	return s
}

// harness makes stores in a new container each.
func harness(account string) func(t testing.TB) checkpointtest.Harness {
	return func(t testing.TB) checkpointtest.Harness {
		o := fresh(account)
		var proxies sync.Map // by store
		proxyOf := func(s hubferry.CheckpointStore) *azuritetest.Proxy {
			p, _ := proxies.Load(s)
			return p.(*azuritetest.Proxy)
		}
		return checkpointtest.Harness{
			Open: func(tb testing.TB) hubferry.CheckpointStore {
				p := newProxy(t, account)
				mine := o
				mine.ConnectionString = hubferry.NewSecret(azuritetest.ConnectionString(p.URL))
				s, err := Open(tb.Context(), mine, hubferry.Env{})
				if err != nil {
					tb.Fatal(err)
				}
				proxies.Store(s, p)
				return s
			},
			Break: func(t testing.TB, id hubferry.ID) {
				raw(t, o, blobName(id, folderCheckpoint), metadata{"offset": "100", "sequencenumber": "abc"})
			},
			Lose: func(_ testing.TB, s hubferry.CheckpointStore) { proxyOf(s).LoseNext() },
			Away: func(_ testing.TB, s hubferry.CheckpointStore, away bool) {
				if away {
					proxyOf(s).Set(func(*http.Request) *azuritetest.Fault { return &azuritetest.Fault{Cut: true} })
				} else {
					proxyOf(s).Set(nil)
				}
			},
		}
	}
}

// raw writes a blob behind the store's back.
func raw(t testing.TB, o Options, name string, m metadata) {
	t.Helper()
	if _, err := open(t, o, hubferry.Env{}).upload(t.Context(), name, m, nil, nil); err != nil {
		t.Fatalf("write %s: %v", name, err)
	}
}

func TestConformance(t *testing.T) {
	t.Run("hub", func(t *testing.T) {
		account := service(t)
		checkpointtest.Run(t, harness(account))
	})
	t.Run("Azurite", func(t *testing.T) { checkpointtest.Run(t, harness(account(t))) })
}

// Owners that die, and a service that is away, with a service whose clock is right and one
// whose clock is an hour ahead of ours.
func TestLeases(t *testing.T) {
	if testing.Short() {
		t.Skip("leases take their time")
	}
	account := service(t)
	for name, skew := range map[string]time.Duration{"right": 0, "ahead": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := account
			if skew != 0 {
				p := newProxy(t, account)
				p.Skew = skew
				at = p.URL
			}
			checkpointtest.RunLeases(t, harness(at))
		})
	}
}
