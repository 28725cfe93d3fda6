package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestKills kills the replicating process and the hub at random moments, with kill -9,
// while events pass: nothing is lost or reordered, and a kill repeats at most one window
// per partition (INV-1 to INV-4). HUBFERRY_KILLS=20 makes it the long form: so many kills
// of the process, a quarter as many of the hub, 10,000 events for each.
func TestKills(t *testing.T) {
	kills := 4
	if testing.Short() {
		kills = 2
	}
	if n, err := strconv.Atoi(os.Getenv("HUBFERRY_KILLS")); err == nil && n > 0 {
		kills = n
	}
	const partitions, window = 8, 1000
	events, hubKills := kills*10_000, (kills+3)/4
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("HUBFERRY_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("HUBFERRY_SEED=%d repeats this run's moments", seed)
	random := rand.New(rand.NewPCG(seed, 1))

	h := startHubs(t, "load:8:hubferry")
	for i := range h.clients {
		h.clients[i] = []string{"go-amqp", "native"}[random.IntN(2)]
	}
	t.Logf("AMQP clients: %v", h.clients)
	config := h.writeConfig(t, `
defaults:
  window: { events: 1000 }
  balance: { interval: 300ms, expiry: 1500ms }
  retry: { min: 500ms, max: 2s }
tasks:
  load:
    source: { hub: west/load, consumerGroup: hubferry }
    target: east/load
`)
	s := &sender{connection: h.west, hub: "load", keys: 300, perSecond: 4000}
	sent := make(chan error, 1)
	go func() { sent <- s.run(t, events) }()
	ferry := startRun(t, config)
	for i := range kills + hubKills {
		time.Sleep(time.Duration(500+random.IntN(2500)) * time.Millisecond)
		if i%5 == 3 || (i == kills+hubKills-1 && hubKills == 1 && kills < 4) {
			h.kill()
			h.start(t)
			continue
		}
		ferry.kill()
		ferry = startRun(t, config)
	}
	if err := <-sent; err != nil {
		t.Fatalf("send: %v", err)
	}
	caughtUp(t, h, "load", "load", 3*time.Minute)
	r := settled(t, h, "load", "load")
	ferry.stop()
	t.Logf("%d kills of run, %d of the hub: %+v", kills, hubKills, r)
	if !r.Faultless() || r.Foreign != 0 || r.Events < events {
		t.Errorf("a promise was broken: %+v", r)
	}
	if r.DeepestRepeat > window {
		t.Errorf("a repeat went back %d events of its partition, more than the window of %d (G-6)", r.DeepestRepeat, window)
	}
	if most := (kills + hubKills) * partitions * window; r.Duplicates > most {
		t.Errorf("%d duplicates are more than %d, one window for each kill and partition", r.Duplicates, most)
	}
}
