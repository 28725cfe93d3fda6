package kafka

import (
	"testing"
	"testing/synctest"
	"time"
)

// A claim is lost before the session can have ended for the coordinator, which counts from
// a heartbeat that it got after we began to send it (INV-9). A heartbeat that is confirmed
// late changes nothing about that, and each one prolongs the lease.
func TestLeaseEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const session = 6 * time.Second
		c := &coordinator{source: &source{options: &SourceOptions{SessionTimeout: session}}, held: map[partitionName]*claim{}}
		c.lease = newLease(c)
		defer c.lease.timer.Stop()
		k := &claim{c: c, lost: make(chan struct{})}
		c.held[partitionName{}] = k
		var begun time.Time
		for range 3 {
			begun = time.Now()
			time.Sleep(2 * time.Second) // on its way
			c.lease.confirm(begun)
			if !c.lease.certain(time.Now()) {
				t.Fatal("the lease is over while heartbeats are confirmed")
			}
		}
		<-k.lost
		if d := time.Since(begun); d != session-session/6 {
			t.Errorf("the claim was lost %v after the last heartbeat, in a session of %v", d, session)
		}
		if c.lease.certain(time.Now()) {
			t.Error("the lease is certain although the claim was lost")
		}
	})
}
