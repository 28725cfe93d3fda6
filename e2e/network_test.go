package e2e

import (
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// relay forwards connections to one address. Frozen ones stay open and carry nothing any
// more, as when a firewall forgets them or a cable is pulled.
type relay struct {
	address string
	mu      sync.Mutex
	frozen  []*atomic.Bool // of the connections so far
	open    sync.Map       // connections
	away    atomic.Bool    // new connections are closed at once
}

func startRelay(t *testing.T, to string) *relay {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: ln.Addr().String()}
	var all sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		r.cut()
		all.Wait()
	})
	all.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			if r.away.Load() {
				_ = client.Close()
				continue
			}
			server, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", to)
			if err != nil {
				_ = client.Close()
				continue
			}
			r.open.Store(client, true)
			r.open.Store(server, true)
			frozen := &atomic.Bool{}
			r.mu.Lock()
			r.frozen = append(r.frozen, frozen)
			r.mu.Unlock()
			for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
				all.Go(func() {
					_, _ = io.Copy(way[1], &tap{way[0], frozen})
					if !frozen.Load() { // else the other side must not learn of it
						_, _ = client.Close(), server.Close()
					}
				})
			}
		}
	})
	return r
}

// cut closes all connections.
func (r *relay) cut() {
	r.open.Range(func(c, _ any) bool { return c.(net.Conn).Close() == nil || true })
}

// tap reads a connection and drops what comes once it is frozen.
type tap struct {
	net.Conn
	frozen *atomic.Bool
}

func (c *tap) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.frozen.Load() {
			return n, err
		}
	}
}

// freeze freezes all connections that are open, and returns how many that are.
func (r *relay) freeze() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.frozen {
		f.Store(true)
	}
	return len(r.frozen)
}

// TestHalfOpen freezes the connections to the source, to the target, and to both: they
// look alive and are not. Reading and writing go on over new ones, and what was under way
// is repeated, in order (INV-3, INV-4).
func TestHalfOpen(t *testing.T) {
	for name, which := range map[string][]int{"source": {0}, "target": {1}, "both": {0, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they mostly wait
			h := startHubs(t, "load:4:one")
			direct := h.ports
			relays := []*relay{startRelay(t, direct[0]), startRelay(t, direct[1])}
			through := *h
			for i, c := range []*string{&through.west, &through.east} {
				through.ports[i] = relays[i].address
				*c = strings.Replace(*c, direct[i], relays[i].address, 1)
			}
			config := through.writeConfig(t, `
defaults: { window: { events: 1000 }, retry: { min: 200ms, max: 1s } }
tasks:
  t: { source: { hub: west/load, consumerGroup: one }, target: { hub: east/load, sendTimeout: 10s } }
`)
			text, err := os.ReadFile(config)
			if err != nil {
				t.Fatal(err)
			}
			patient := strings.ReplaceAll(string(text), `;" } }`, `;", idleTimeout: 5s } }`)
			if err := os.WriteFile(config, []byte(patient), 0o600); err != nil {
				t.Fatal(err)
			}
			ferry := startRun(t, config)
			s := &sender{connection: h.west, hub: "load", keys: 100, perSecond: 2000}
			sent := make(chan error, 1)
			go func() { sent <- s.run(t, 10_000) }()
			eventually(t, 3*time.Minute, "events arrive", func() bool { n, err := total(t, h.east, "load"); return err == nil && n > 1000 })
			for _, i := range which {
				if relays[i].freeze() == 0 {
					t.Error("there was no connection to freeze")
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			caughtUp(t, h, "load", "load", 3*time.Minute)
			through.west, through.east = h.west, h.east // the judge takes the direct way
			r := settled(t, &through, "load", "load")
			if !r.Faultless() || r.Events < 10_000 || r.DeepestRepeat > 1000 {
				t.Errorf("%+v", r)
			}
			ferry.stop()
		})
	}
}
