package kafkatest

import (
	"context"
	"os"
	"sync"
	"testing"
)

// Start starts a broker for one test and stops it at the test's end. It skips the test
// without HUBFERRY_INTEROP=1. The data and the log of a broker whose test failed stay, and
// the test says where.
func Start(t testing.TB, o Options) *Broker {
	t.Helper()
	Require(t)
	b, err := Launch(context.WithoutCancel(t.Context()), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.end(t) })
	return b
}

// Require skips the test without HUBFERRY_INTEROP=1, which says that all of the set-up is
// there.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("HUBFERRY_INTEROP") != "1" {
		t.Skip("needs a real Apache Kafka: run make setup, and set HUBFERRY_INTEROP=1")
	}
}

func (b *Broker) end(t testing.TB) {
	t.Helper()
	if t.Failed() {
		t.Logf("the broker's data and log stay in %s; the end of the log:\n%s", b.dir, b.tail())
		_ = b.Kill()
		return
	}
	if err := b.Remove(); err != nil {
		t.Errorf("remove the broker: %v", err)
	}
}

// Shared is one broker for all tests of a package, started by the first that asks. It is
// a variable of the test package, and TestMain closes it:
//
//	var shared kafkatest.Shared
//
//	func TestMain(m *testing.M) {
//		code := m.Run()
//		shared.Close()
//		os.Exit(code)
//	}
type Shared struct {
	// Options are those of the broker.
	Options Options

	once   sync.Once
	broker *Broker
	err    error
}

// Broker returns the running broker, or skips the test like Start. Tests that stop or
// pause it must not run in parallel with others.
func (s *Shared) Broker(t testing.TB) *Broker {
	t.Helper()
	Require(t)
	s.once.Do(func() { s.broker, s.err = Launch(context.WithoutCancel(t.Context()), s.Options) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the broker's log:\n%s", s.broker.tail())
		}
	})
	return s.broker
}

// Close ends the broker, if there is one, and removes its data.
func (s *Shared) Close() {
	if s.broker != nil {
		_ = s.broker.Remove()
	}
}
