package e2e

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// TestShare runs two instances that share eight partitions four and four: a stopped one's
// partitions are taken over at once, a killed one's when its ownership expires.
func TestShare(t *testing.T) {
	h := startHubs(t, "load:8:hubferry")
	const task = `
defaults: { balance: { interval: 1s, expiry: EXPIRY } }
tasks:
  load: { source: { hub: west/load, consumerGroup: hubferry }, target: east/load }
`
	config := h.writeConfig(t, strings.Replace(task, "EXPIRY", "1h", 1))
	a, b := startRun(t, config), startRun(t, config)
	evenly := func() bool { return a.status("load").Partitions == 4 && b.status("load").Partitions == 4 }
	eventually(t, 3*time.Minute, "two instances have four partitions each", evenly)
	b.stop()
	eventually(t, 3*time.Minute, "the other takes over what was given up, long before its expiry", func() bool { return a.status("load").Partitions == 8 })
	a.stop()

	const expiry = 15 * time.Second
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte("expiry: 1h"), []byte("expiry: "+expiry.String()), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b = startRun(t, config), startRun(t, config)
	eventually(t, 3*time.Minute, "two instances have four partitions each again", evenly)
	b.kill()
	killed := time.Now()
	eventually(t, 3*time.Minute, "the other takes over what was orphaned", func() bool { return a.status("load").Partitions == 8 })
	if took := time.Since(killed); took < expiry/3 {
		t.Errorf("taking over after a kill took %s, before the ownership can have expired", took)
	}

	s := &sender{connection: h.west, hub: "load", keys: 50, perSecond: 10_000}
	if err := s.run(t, 2000); err != nil {
		t.Fatal(err)
	}
	if r := settled(t, h, "load", "load"); !r.Faultless() || r.Duplicates != 0 {
		t.Errorf("after two take-overs without load: %+v", r)
	}
	a.stop()
}
