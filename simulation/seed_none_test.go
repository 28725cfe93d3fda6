//go:build !simulation

package simulation

// seeded says that the runtime's choices follow from a seed: it was built with package
// overlay.
const seeded = false

// seedRuntime would bind the runtime's choices to a seed. The runtime is as it always is.
func seedRuntime(uint64) (end func()) { return func() {} }
