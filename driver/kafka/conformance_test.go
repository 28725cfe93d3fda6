package kafka_test

import (
	"testing"

	"github.com/hubferry/hubferry/drivertest"
)

func TestConformance(t *testing.T) {
	t.Run("fake", func(t *testing.T) { drivertest.Run(t, fakeHarness) })
	t.Run("real", func(t *testing.T) {
		broker.Broker(t) // or skip it all
		drivertest.Run(t, realHarness)
	})
}
