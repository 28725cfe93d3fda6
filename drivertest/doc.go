// Package drivertest is the conformance suite of drivers: what the contract of package
// hubferry says, as cases that every driver passes or skips with a reason.
//
// # Use
//
// A driver's conformance_test.go makes a Harness and calls Run:
//
//	func TestConformance(t *testing.T) {
//		t.Run("fake", func(t *testing.T) { drivertest.Run(t, newHarness) })
//		t.Run("real", func(t *testing.T) { drivertest.Run(t, newRealHarness) }) // skips without an address
//	}
//
// Each case gets a Harness of its own, with an empty hub. What a service cannot do is
// said by Caps and by the functions of the Harness that are nil; the cases that need it
// are skipped by name, so that a log shows what was not tried. A service that deviates
// in one point names the case in Harness.Skip, with the reason.
//
// # How the suite looks at a driver
//
// It puts events in and takes them out behind the driver's back (Harness.Inject and
// Harness.Dump), so that a driver whose two sides agree on a mistake is found. It holds
// every event it was given until the end of the case, to see that nobody reuses bytes.
// It searches every error and log line for the harness's secrets (INV-8), and looks for
// goroutines that are left when everything is closed.
//
// # What the suite cannot know
//
// Whether the service itself keeps what it confirmed: that is for tests that kill it.
//
// The suite is held to its own standard: it is run against package driver/mem with one
// promise broken at a time, and must fail every time.
package drivertest
